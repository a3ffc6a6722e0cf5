//! The REST API under `/api/v1`, and the probes.

mod analyses;
mod api_keys;
mod audit;
mod auth;
mod changefeed;
mod commitments;
mod conditions;
mod deleted;
mod downloads;
mod etag;
mod events;
mod exports;
mod fields;
mod findings;
mod groups;
pub(crate) mod health;
mod holds;
pub(super) mod hooks;
mod idempotency;
mod jobs;
mod nodes;
mod openapi;
mod page;
mod patients;
mod reports;
pub(crate) mod routes;
mod series;
mod server;
mod sessions;
mod studies;
mod study_filter;
mod time;
pub(super) mod tus;
mod uploads;
mod users;
mod volumes;

use std::sync::Arc;

use futures::stream::TryStreamExt;
use http::header::{CONTENT_TYPE, HeaderValue, LOCATION};
use http::{Method, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::State;
use super::body::{self, Body, BodyStopped, Inbound};
use super::dicomweb::delete::explain_absence;
use super::endpoint::RouteError;
use super::error::HttpError;
use super::service::{Answer, Asked};
use super::{limit_hit, visible};
use crate::json::Object;
use crate::query::Scope;
use auth::oidc as auth_provider;

pub use self::openapi::document as api_document;
use self::routes::Call;
pub(super) use self::routes::Matched;
use self::routes::Route;

/// Every endpoint of `/api/v1`, and what the modules say about theirs.
macro_rules! modules {
    ($($module:ident,)+) => {
        pub(crate) const TABLE: &[&[Route]] = &[$($module::ROUTES),+];

        fn documents() -> Vec<utoipa::openapi::OpenApi> {
            vec![$(<$module::Doc as utoipa::OpenApi>::openapi()),+]
        }
    };
}

modules! {
    downloads,
    patients,
    studies,
    series,
    analyses,
    findings,
    reports,
    changefeed,
    deleted,
    holds,
    commitments,
    exports,
    audit,
    auth,
    auth_provider,
    users,
    sessions,
    api_keys,
    groups,
    events,
    tus,
    uploads,
    volumes,
    jobs,
    nodes,
    server,
    openapi,
}

pub(crate) fn find(method: &Method, segments: &[&str]) -> Result<Matched, RouteError> {
    routes::find(TABLE, method, segments)
}

pub(crate) async fn handle(state: Arc<State>, matched: Matched, asked: Asked, body: Inbound) -> Answer {
    let Matched { route, parameters: path } = matched;
    visible::path(&state, &asked.caller, route, &path).await?;
    let study = path.has("study").then(|| path.study()).transpose()?;
    let key = idempotency::key(route, &asked.headers)?;
    conditions::hold(&state, route, &path, &asked).await?;
    let call = Call { state: Arc::clone(&state), path, asked, body };
    let answer = match key {
        Some(key) => idempotency::once(key, route, call).await,
        None => (route.handler)(call).await,
    };
    match study {
        Some(study) => explain_absence(&state, &Scope::Study(study), answer).await,
        None => answer,
    }
}

/// `application/json` of any value that can be written as such.
fn json<T: Serialize>(status: StatusCode, value: &T) -> Answer {
    let text = serde_json::to_vec(value).map_err(HttpError::internal("writing an answer"))?;
    let mut response: Response<Body> = Response::new(body::full(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// 204.
fn no_content() -> Response<Body> {
    let mut response = Response::new(body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// What is asked for lies there.
fn elsewhere(url: &str) -> Answer {
    let mut response: Response<Body> = Response::new(body::empty());
    *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    let location = HeaderValue::from_str(url).map_err(HttpError::internal("leading elsewhere"))?;
    response.headers_mut().insert(LOCATION, location);
    Ok(response)
}

/// A JSON column as the JSON it holds; text that is none stays text.
fn stored_json(bytes: &[u8]) -> serde_json::Value {
    serde_json::from_slice(bytes).unwrap_or_else(|_| String::from_utf8_lossy(bytes).into_owned().into())
}

/// A body of a few words.
async fn collected(body: Inbound, bytes_max: usize) -> Result<Vec<u8>, HttpError> {
    let collect = |mut all: Vec<u8>, chunk: bytes::Bytes| async move {
        all.extend_from_slice(&chunk);
        if all.len() > bytes_max { Err(std::io::ErrorKind::FileTooLarge.into()) } else { Ok(all) }
    };
    let too_large = HttpError::TooLarge { bytes_max: bytes_max as u64 };
    body.try_fold(Vec::new(), collect).await.map_err(|error| match BodyStopped::find(&error) {
        Some(reason) => reason.into(),
        None if error.kind() == std::io::ErrorKind::FileTooLarge => too_large,
        None => HttpError::bad_request("the body does not come to its end"),
    })
}

/// What the body of a request wishes for; no body wishes for nothing in particular. `form` says what
/// it should be.
async fn wish<T: DeserializeOwned>(body: Inbound, form: &str) -> Result<T, HttpError> {
    let bytes_max = body.json_bytes_max();
    let wish = wish_up_to(bytes_max, body, form).await;
    if matches!(wish, Err(HttpError::TooLarge { .. })) {
        limit_hit("http.json_bytes_max");
    }
    wish
}

/// As [`wish`], of so many bytes.
async fn wish_up_to<T: DeserializeOwned>(
    bytes_max: usize,
    body: Inbound,
    form: &str,
) -> Result<T, HttpError> {
    let bytes = collected(body, bytes_max).await?;
    let json = if bytes.is_empty() { b"{}" } else { &bytes[..] };
    let wish = serde_json::from_slice(json).map(|Object(wish)| wish);
    wish.map_err(|_| HttpError::bad_request(format!("the body is {form}")))
}
