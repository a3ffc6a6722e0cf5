//! Metadata, PS3.18 10.4.1.1.2: the JSON that ingest made, concatenated or turned into XML.

mod keeping;

use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, Stream, StreamExt, TryStreamExt};
use http::Response;
use http::header::{CONTENT_TYPE, HeaderValue};

use self::keeping::Made;
use super::etag::Etag;
use super::json;
use super::stored;
use super::xml::{self, Described};
use crate::db;
use crate::dicom::json::INSTANCE_MARKER;
use crate::dicom::packed;
use crate::http::State;
use crate::http::body::{self, Body, BoxError};
use crate::http::negotiation::{Accept, Offer, Packaging};
use crate::http::service::{Answer, Asked};
use crate::http::urls::Urls;
use crate::query::Scope;
use crate::query::retrieve::StoredMetadata;

/// Expanded on the thread that asks when the stored form is no larger; that takes less than half a
/// millisecond.
const INLINE_BYTES_MAX: usize = 64 * 1024;

pub(super) async fn retrieve(state: Arc<State>, scope: Scope, asked: &Asked) -> Answer {
    let held = stored::held(&state, &scope).await?;
    let offers = offers(held.instances);
    let offer = Accept::of(&asked.headers, asked.query.get("accept")).choose(&offers)?;
    let form = format!("{} {offer:?}", asked.urls.study(scope.study()));
    let etag = Etag::of([held.version.as_slice()], &form);
    if let Some(response) = etag.not_modified(&asked.headers) {
        return Ok(response);
    }
    let pages = pages(Arc::clone(&state), scope.clone(), asked.urls.clone());
    let mut response = match (offer.media_type, offer.packaging) {
        (xml::MEDIA_TYPE, Packaging::Multipart) => xml::multipart(&etag, documents(pages)),
        (xml::MEDIA_TYPE, Packaging::Single) => xml::single(documents(pages)),
        (media_type, _) => {
            let made = Made { scope, held, tag: etag.as_str().to_owned() };
            json_response(media_type, array(state, made, pages))
        }
    };
    etag.mark(&mut response);
    Ok(response)
}

/// Several documents are no document: XML of more than one instance has parts.
fn offers(instances: u64) -> Vec<Offer> {
    let mut offers = vec![
        Offer::single(json::MEDIA_TYPE),
        Offer::single("application/json"),
        Offer::multipart(xml::MEDIA_TYPE),
    ];
    if instances == 1 {
        offers.push(Offer::single(xml::MEDIA_TYPE));
    }
    offers
}

fn json_response(media_type: &'static str, array: Body) -> Response<Body> {
    let mut response = Response::new(array);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

/// The metadata of one instance, its links complete.
struct Instance {
    url: String,
    json: String,
}

/// Rows in the order of arrival, some at a time, so that a study of any size takes no more memory.
fn pages(
    state: Arc<State>,
    scope: Scope,
    urls: Urls,
) -> impl Stream<Item = Result<Vec<Instance>, BoxError>> + Send + 'static {
    stream::unfold(Some(0), move |after| {
        let (state, scope, urls) = (Arc::clone(&state), scope.clone(), urls.clone());
        async move {
            match page(&state, &scope, &urls, after?).await.transpose()? {
                Ok((page, last)) => Some((Ok(page), Some(last))),
                Err(error) => Some((Err(error), None)),
            }
        }
    })
}

async fn page(
    state: &State,
    scope: &Scope,
    urls: &Urls,
    after: i64,
) -> Result<Option<(Vec<Instance>, i64)>, BoxError> {
    let rows = db::retrieve::metadata(&state.db, scope, after).await?;
    let Some(last) = rows.last().map(|last| last.row) else { return Ok(None) };
    let (scope, urls) = (scope.clone(), urls.clone());
    let is_little = rows.iter().map(|row| row.json.len()).sum::<usize>() <= INLINE_BYTES_MAX;
    let expand = move || expanded(&scope, &urls, &rows);
    let page = if is_little { expand() } else { tokio::task::spawn_blocking(expand).await? };
    Ok(Some((page?, last)))
}

/// The metadata of one instance, if it is there.
pub(super) async fn of_instance(
    state: &State,
    urls: &Urls,
    instance: &Scope,
) -> Result<Option<String>, BoxError> {
    let page = page(state, instance, urls, 0).await?;
    Ok(page.and_then(|(mut page, _)| page.pop()).map(|instance| instance.json))
}

/// The whole array: kept from the last time, or made now and kept for the next.
fn array(
    state: Arc<State>,
    made: Made,
    pages: impl Stream<Item = Result<Vec<Instance>, BoxError>> + Send + 'static,
) -> Body {
    if let Some(kept) = state.answers.get(&made.tag) {
        return body::full(kept);
    }
    let mut separator = "";
    let pages = pages.map_ok(move |page| {
        let mut text = String::with_capacity(page.iter().map(|instance| instance.json.len() + 1).sum());
        for instance in &page {
            text.push_str(separator);
            text.push_str(&instance.json);
            separator = ",";
        }
        Bytes::from(text)
    });
    let bracket = |text: &'static str| stream::iter([Ok(Bytes::from_static(text.as_bytes()))]);
    body::streamed(made.keeping(state, bracket("[").chain(pages).chain(bracket("]"))))
}

/// What turns each page into data sets.
fn documents(
    pages: impl Stream<Item = Result<Vec<Instance>, BoxError>> + Send + 'static,
) -> impl Stream<Item = Result<impl FnOnce() -> Result<Vec<Described>, BoxError> + Send, BoxError>> + Send {
    pages.map_ok(|page| || page.into_iter().map(described).collect())
}

fn described(instance: Instance) -> Result<Described, BoxError> {
    let location = format!("{}/metadata", instance.url);
    Ok(Described { location, set: serde_json::from_str(&instance.json)? })
}

fn expanded(scope: &Scope, urls: &Urls, rows: &[StoredMetadata]) -> Result<Vec<Instance>, BoxError> {
    rows.iter().map(|row| with_urls(scope, urls, row)).collect()
}

/// The marker stands where a JSON value begins; a value of the object has its quotes escaped.
fn with_urls(scope: &Scope, urls: &Urls, row: &StoredMetadata) -> Result<Instance, BoxError> {
    let json = String::from_utf8(packed::unpack(&row.json)?)?;
    let url = urls.instance(scope.study(), &row.series, &row.sop_instance);
    let marked = |target: &str| format!("\"BulkDataURI\":\"{target}/");
    Ok(Instance { json: json.replace(&marked(INSTANCE_MARKER), &marked(&url)), url })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_become_urls_and_values_stay_as_they_are_w16() {
        let json = r#"{"7FE00010":{"BulkDataURI":"@instance/bulkdata/7FE00010","vr":"OW"},"00104000":{"vr":"LT","Value":["\"BulkDataURI\":\"@instance/"]}}"#;
        let row = StoredMetadata {
            row: 1,
            series: "1.2".parse().unwrap(),
            sop_instance: "1.3".parse().unwrap(),
            json: zstd::encode_all(json.as_bytes(), 1).unwrap(),
        };
        let urls = Urls::at("http://h");
        let written = with_urls(&Scope::Study("1.1".parse().unwrap()), &urls, &row).unwrap();
        let url = "http://h/dicom-web/studies/1.1/series/1.2/instances/1.3";
        assert_eq!(written.json, json.replacen("@instance/bulkdata", &format!("{url}/bulkdata"), 1));
    }
}
