//! DICOMweb services under `/dicom-web` (PS3.18 chapter 10).

mod archive;
mod bulkdata;
pub(crate) mod delete;
mod etag;
mod frame_numbers;
mod frames;
mod instances;
mod json;
mod metadata;
mod ranged;
mod redirect;
mod rendered;
mod rendering_parameters;
mod search;
mod store;
mod stored;
mod wado_uri;
mod xml;

use std::sync::Arc;

use bytes::Bytes;
use futures::stream::BoxStream;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderValue};
use http::{HeaderMap, Response};

use super::State;
use super::body::{Body, BoxError, Inbound};
use super::endpoint::Dicomweb;
use super::error::HttpError;
use super::negotiation::{Accept, NotAcceptable, Offer};
use super::service::{Answer, Asked};
use super::urls::Urls;
use super::visible;
use crate::db::changes::Change;
use crate::db::groups::{self, Belonging};
use crate::query::Scope;

pub(super) use ranged::Selected;
pub(super) use search::parse as parse_search;

/// Bytes on their way out.
type Content = BoxStream<'static, Result<Bytes, BoxError>>;

pub(crate) async fn handle(state: Arc<State>, endpoint: Dicomweb, asked: Asked, body: Inbound) -> Answer {
    let scope = endpoint.scope().cloned();
    if let Some(scope) = &scope {
        visible(&state, &asked, scope).await?;
    }
    let endpoint = if asked.caller.reach.has_drafts() { endpoint } else { endpoint.released() };
    let answer = answer(Arc::clone(&state), endpoint, asked, body).await;
    match scope {
        Some(scope) => delete::explain_absence(&state, &scope, answer).await,
        None => answer,
    }
}

/// 404 for what is not there and for what the caller cannot see, before anything else is looked at.
async fn visible(state: &State, asked: &Asked, scope: &Scope) -> Result<(), HttpError> {
    let (study, noun) = (scope.study().as_str(), stored::noun(scope));
    visible::thing(state, &asked.caller, Belonging::Study, study, noun).await?;
    let Some(series) = scope.series() else { return Ok(()) };
    match groups::is_series_released(&state.db, &asked.caller.reach, series).await? {
        true => Ok(()),
        false => Err(HttpError::NotFound(noun)),
    }
}

async fn answer(state: Arc<State>, endpoint: Dicomweb, asked: Asked, body: Inbound) -> Answer {
    if endpoint.is_retrieval() {
        check_accept(&state, &asked)?;
    }
    let cache_control = cache_control(&state, &endpoint);
    let mut response = dispatch(state, endpoint, asked, body).await?;
    if response.headers().contains_key(ETAG) {
        response.headers_mut().entry(CACHE_CONTROL).or_insert(cache_control);
    }
    confine(&mut response);
    Ok(response)
}

/// What is found by a search is another thing at any moment, and is to be asked for again.
const ASK_AGAIN: HeaderValue = HeaderValue::from_static("private, no-cache");

fn cache_control(state: &State, endpoint: &Dicomweb) -> HeaderValue {
    match endpoint {
        Dicomweb::Search { .. } => ASK_AGAIN,
        _ => HeaderValue::from_str(&state.settings.cache_control).unwrap_or(ASK_AGAIN),
    }
}

/// What others wrote runs nothing, loads nothing and sends nothing.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'",
);

/// Pages of stored objects are opened in browsers at our own address: reports, and XML documents,
/// which can have scripts in them.
fn confine(response: &mut Response<Body>) {
    let media_type = response.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    if media_type.is_some_and(|media_type| media_type.starts_with(b"text/")) {
        response.headers_mut().insert(CONTENT_SECURITY_POLICY, POLICY);
    }
}

/// What holds for every retrieval, PS3.18 8.7.5.
fn check_accept(state: &State, asked: &Asked) -> Result<(), HttpError> {
    let query = asked.query.get("accept");
    if state.settings.accept_required && query.is_none() && !asked.headers.contains_key(ACCEPT) {
        let available = String::from("*/*");
        return Err(HttpError::NotAcceptable(NotAcceptable { available }));
    }
    Accept::check(&asked.headers, query).map_err(HttpError::bad_request)
}

async fn dispatch(state: Arc<State>, endpoint: Dicomweb, asked: Asked, body: Inbound) -> Answer {
    match endpoint {
        Dicomweb::Store { study } => store::store(&state, study, &asked, body).await,
        Dicomweb::Search { level, study, series } => {
            search::search(&state, level, study, series, &asked).await
        }
        Dicomweb::Retrieve(scope) => instances::retrieve(state, scope, &asked).await,
        Dicomweb::Metadata(scope) => metadata::retrieve(state, scope, &asked).await,
        Dicomweb::Rendered(scope, frames) => rendered::rendered(state, scope, frames, &asked).await,
        Dicomweb::Thumbnail(scope, frames) => rendered::thumbnail(state, scope, frames, &asked).await,
        Dicomweb::Frames(scope, frames) => frames::retrieve(state, scope, frames, &asked).await,
        Dicomweb::PixelData(scope) => frames::pixel_data(state, scope, &asked).await,
        Dicomweb::AllBulkdata(scope) => bulkdata::all(state, scope, &asked).await,
        Dicomweb::WadoUri => wado_uri::retrieve(state, asked).await,
        Dicomweb::Bulkdata { instance, path } => bulkdata::retrieve(state, instance, &path, &asked).await,
        Dicomweb::Delete(scope) => delete::delete(&state, &scope, &asked).await,
    }
}

/// The document of an Encapsulated PDF instance, whatever the client says it accepts.
pub(crate) async fn document(state: &State, scope: &Scope, path: &str, headers: &HeaderMap) -> Answer {
    let object = stored::open_one(state, scope).await?;
    let value = bulkdata::Value::find(state, object, path).await?.ok_or(HttpError::NotFound("document"))?;
    value.single(&Offer::single("application/pdf"), headers).await
}

/// An instance as a Part 10 file, in the transfer syntax that the client takes.
pub(crate) async fn object(state: Arc<State>, scope: Scope, asked: &Asked) -> Answer {
    instances::instance(state, scope, None, asked).await
}

/// The metadata of a change's instance as it is now; nothing when it is not there, or there is none.
pub(crate) async fn metadata_of(
    state: &State,
    urls: &Urls,
    change: &Change,
) -> Result<Option<String>, BoxError> {
    match (&change.series, &change.sop_instance) {
        (Some(series), Some(instance)) if change.is_current => {
            let scope = Scope::Instance(change.study.clone(), series.clone(), instance.clone());
            metadata::of_instance(state, urls, &scope).await
        }
        _ => Ok(None),
    }
}
