//! Instances as `application/dicom`, PS3.18 10.4.1.1.1.
//!
//! What is stored goes out as it was received, streamed; another transfer syntax is made only
//! when the client names it and only Explicit VR Little Endian can be named.

use std::sync::Arc;

use dicom_dictionary_std::uids::EXPLICIT_VR_LITTLE_ENDIAN;
use futures::stream::{self, Stream, StreamExt, TryStreamExt};
use http::Response;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};

use super::etag::Etag;
use super::stored;
use super::transcode;
use crate::db;
use crate::http::State;
use crate::http::body::{self, Body, BoxError};
use crate::http::error::HttpError;
use crate::http::multipart::{Part, Writer};
use crate::http::negotiation::{Accept, Offer, Packaging};
use crate::http::service::{Answer, Asked};
use crate::http::urls::Urls;
use crate::query::Scope;
use crate::query::retrieve::StoredInstance;
use crate::query::stored_object::StoredObject;

const DICOM: &str = "application/dicom";

/// Several stored syntaxes: matches a client that names none, or `*`.
const AS_STORED: &str = "*";

pub(super) async fn retrieve(state: Arc<State>, scope: Scope, asked: &Asked) -> Answer {
    let first = stored::first_page(&state, &scope).await?;
    let offers = offers(&scope, &first);
    let offer = Accept::of(&asked.headers, asked.query.get("accept")).choose(&offers)?.clone();
    let held = stored::held(&state, &scope).await?;
    let etag = Etag::of([held.version.as_slice()], &offer.content_type());
    if let Some(response) = etag.not_modified(&asked.headers) {
        return Ok(response);
    }
    let mut response = match offer.packaging {
        Packaging::Single => single(&state, &first[0], &offer).await?,
        Packaging::Multipart => multipart(state, scope, asked.urls.clone(), &offer)?,
    };
    etag.mark(&mut response);
    Ok(response)
}

/// As stored comes first, so that it is what a client gets that leaves the choice to us.
fn offers(scope: &Scope, first: &[StoredInstance]) -> Vec<Offer> {
    let syntax = first[0].transfer_syntax.as_str();
    let one_syntax = first.iter().all(|instance| instance.transfer_syntax.as_str() == syntax);
    let stored = if one_syntax && matches!(scope, Scope::Instance(..)) { syntax } else { AS_STORED };
    let mut offers = Vec::new();
    for syntax in [stored, EXPLICIT_VR_LITTLE_ENDIAN] {
        offers.push(Offer::multipart(DICOM).in_syntax(syntax));
        if matches!(scope, Scope::Instance(..)) {
            offers.push(Offer::single(DICOM).in_syntax(syntax));
        }
    }
    offers
}

async fn single(
    state: &State,
    instance: &StoredInstance,
    offer: &Offer,
) -> Result<Response<Body>, HttpError> {
    let mut response = if is_stored_form(instance, offer) {
        let content = StoredObject::file(&state.blobs, instance).await?;
        let mut response = Response::new(body::streamed(content.map_err(BoxError::from)));
        response.headers_mut().insert(CONTENT_LENGTH, instance.size_bytes.into());
        response
    } else {
        Response::new(body::full(transcode::to_little_endian(state, instance).await?))
    };
    set_content_type(&mut response, &offer.content_type());
    Ok(response)
}

fn is_stored_form(instance: &StoredInstance, offer: &Offer) -> bool {
    let wanted = offer.transfer_syntax.as_deref().unwrap_or(AS_STORED);
    wanted == AS_STORED || wanted == instance.transfer_syntax.as_str()
}

fn multipart(
    state: Arc<State>,
    scope: Scope,
    urls: Urls,
    offer: &Offer,
) -> Result<Response<Body>, HttpError> {
    let writer = Writer::new();
    let content_type = writer.content_type(DICOM);
    let offer = offer.clone();
    let parts = all(Arc::clone(&state), scope).then(move |instance| {
        let (state, urls, offer) = (Arc::clone(&state), urls.clone(), offer.clone());
        async move { part(&state, &urls, instance?, &offer).await.map_err(BoxError::from) }
    });
    let mut response = Response::new(writer.body(parts));
    set_content_type(&mut response, &content_type);
    Ok(response)
}

/// Every instance of the scope, page by page.
pub(super) fn all(
    state: Arc<State>,
    scope: Scope,
) -> impl Stream<Item = Result<StoredInstance, BoxError>> + Send + 'static {
    let pages = stream::try_unfold(0, move |after| {
        let (state, scope) = (Arc::clone(&state), scope.clone());
        async move {
            let page = db::retrieve::instances(&state.db, &scope, after).await?;
            Ok::<_, BoxError>(page.last().map(|last| last.row).map(|last| (page, last)))
        }
    });
    pages.map_ok(|page| stream::iter(page.into_iter().map(Ok))).try_flatten()
}

async fn part(
    state: &State,
    urls: &Urls,
    instance: StoredInstance,
    offer: &Offer,
) -> Result<Part, HttpError> {
    let location = urls.instance(&instance.study, &instance.series, &instance.sop_instance);
    if is_stored_form(&instance, offer) {
        let content = StoredObject::file(&state.blobs, &instance).await?;
        let content_type = format!("{DICOM}; transfer-syntax={}", instance.transfer_syntax);
        let length = Some(instance.size_bytes);
        return Ok(Part { content_type, location, length, content: content.map_err(BoxError::from).boxed() });
    }
    let bytes = transcode::to_little_endian(state, &instance).await?;
    Ok(Part {
        content_type: offer.content_type(),
        location,
        length: Some(bytes.len() as u64),
        content: stream::iter([Ok(bytes)]).boxed(),
    })
}

pub(super) fn set_content_type(response: &mut Response<Body>, content_type: &str) {
    if let Ok(value) = HeaderValue::from_str(content_type) {
        response.headers_mut().insert(CONTENT_TYPE, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderMap;
    use http::header::ACCEPT;

    const JPEG: &str = "1.2.840.10008.1.2.4.50";

    fn instance() -> StoredInstance {
        StoredInstance {
            row: 1,
            study: "1.1".parse().unwrap(),
            series: "1.2".parse().unwrap(),
            sop_instance: "1.3".parse().unwrap(),
            sop_class: "1.4".parse().unwrap(),
            transfer_syntax: JPEG.parse().unwrap(),
            blob_key: String::new(),
            size_bytes: 0,
            sha256: Vec::new(),
        }
    }

    #[track_caller]
    fn check(accept: &str, expected: Option<(Packaging, &str)>) {
        let scope = Scope::Instance("1.1".parse().unwrap(), "1.2".parse().unwrap(), "1.3".parse().unwrap());
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, accept.parse().unwrap());
        let offers = offers(&scope, &[instance()]);
        let chosen = Accept::of(&headers, None).choose(&offers).ok();
        let found = chosen.map(|offer| (offer.packaging, offer.transfer_syntax.as_deref().unwrap()));
        assert_eq!(found, expected, "{accept}");
    }

    #[test]
    fn the_stored_form_is_given_unless_little_endian_is_named_w4_w37() {
        check("*/*", Some((Packaging::Multipart, JPEG)));
        check("application/dicom", Some((Packaging::Single, JPEG)));
        check(
            "multipart/related; type=\"application/dicom\"; transfer-syntax=*",
            Some((Packaging::Multipart, JPEG)),
        );
        check(
            "application/dicom; transfer-syntax=1.2.840.10008.1.2.1",
            Some((Packaging::Single, EXPLICIT_VR_LITTLE_ENDIAN)),
        );
        check("application/dicom; transfer-syntax=1.2.840.10008.1.2.4.90", None);
        check("image/jpeg", None);
    }
}
