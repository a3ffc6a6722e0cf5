//! Metadata, PS3.18 10.4.1.1.2: the JSON that ingest made, concatenated.

use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, StreamExt};
use http::Response;
use http::header::{CONTENT_TYPE, HeaderValue};

use super::etag::Etag;
use super::json;
use super::stored;
use crate::db;
use crate::dicom::json::INSTANCE_MARKER;
use crate::http::State;
use crate::http::body::{self, BoxError};
use crate::http::error::HttpError;
use crate::http::negotiation::{Accept, Offer};
use crate::http::service::{Answer, Asked};
use crate::http::urls::Urls;
use crate::query::Scope;
use crate::query::retrieve::StoredMetadata;

pub(super) async fn retrieve(state: Arc<State>, scope: Scope, asked: &Asked) -> Answer {
    let offers = [Offer::single(json::MEDIA_TYPE), Offer::single("application/json")];
    let offer = Accept::of(&asked.headers, asked.query.get("accept")).choose(&offers)?;
    let digests = db::retrieve::digests(&state.db, &scope).await?;
    if digests.is_empty() {
        return Err(HttpError::NotFound(stored::noun(&scope)));
    }
    let etag = Etag::of(digests.iter().map(Vec::as_slice), &asked.urls.study(scope.study()));
    if let Some(response) = etag.not_modified(&asked.headers) {
        return Ok(response);
    }
    let mut response = Response::new(body::streamed(array(state, scope, asked.urls.clone())));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(offer.media_type));
    etag.mark(&mut response);
    Ok(response)
}

/// Where the pages of an answer stand.
struct Progress {
    after: i64,
    is_first: bool,
}

fn array(
    state: Arc<State>,
    scope: Scope,
    urls: Urls,
) -> impl stream::Stream<Item = Result<Bytes, BoxError>> + Send + 'static {
    let pages = stream::unfold(Some(Progress { after: 0, is_first: true }), move |progress| {
        let (state, scope, urls) = (Arc::clone(&state), scope.clone(), urls.clone());
        async move {
            let progress = progress?;
            let page = page(&state, &scope, &urls, progress).await.transpose()?;
            Some(match page {
                Ok((bytes, next)) => (Ok(bytes), Some(next)),
                Err(error) => (Err(error), None),
            })
        }
    });
    let bracket = |text: &'static str| stream::iter([Ok(Bytes::from_static(text.as_bytes()))]);
    bracket("[").chain(pages).chain(bracket("]"))
}

async fn page(
    state: &State,
    scope: &Scope,
    urls: &Urls,
    progress: Progress,
) -> Result<Option<(Bytes, Progress)>, BoxError> {
    let rows = db::retrieve::metadata(&state.db, scope, progress.after).await?;
    let Some(last) = rows.last() else { return Ok(None) };
    let next = Progress { after: last.row, is_first: false };
    let mut text = String::new();
    for (at, row) in rows.iter().enumerate() {
        if !progress.is_first || at > 0 {
            text.push(',');
        }
        text.push_str(&with_urls(scope, urls, row)?);
    }
    Ok(Some((text.into(), next)))
}

/// The marker stands where a JSON value begins; a value of the object has its quotes escaped.
fn with_urls(scope: &Scope, urls: &Urls, row: &StoredMetadata) -> Result<String, BoxError> {
    let json = String::from_utf8(zstd::decode_all(row.json.as_slice())?)?;
    let url = urls.instance(scope.study(), &row.series, &row.sop_instance);
    let marked = |target: &str| format!("\"BulkDataURI\":\"{target}/");
    Ok(json.replace(&marked(INSTANCE_MARKER), &marked(&url)))
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
        let listener = "127.0.0.1:80".parse().unwrap();
        let urls =
            Urls::of(Some("http://h"), &http::HeaderMap::new(), &http::Uri::from_static("/"), listener);
        let written = with_urls(&Scope::Study("1.1".parse().unwrap()), &urls, &row).unwrap();
        let url = "http://h/dicom-web/studies/1.1/series/1.2/instances/1.3";
        assert_eq!(written, json.replacen("@instance/bulkdata", &format!("{url}/bulkdata"), 1));
    }
}
