//! The REST API under `/api/v1`, and the probes.

mod analyses;
mod changefeed;
mod commitments;
mod deleted;
mod exports;
pub(crate) mod health;
pub(super) mod hooks;
mod reports;
mod studies;

use std::sync::Arc;

use futures::stream::TryStreamExt;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::State;
use super::body::{self, Body, Inbound};
use super::dicomweb::delete::explain_absence;
use super::endpoint::Rest;
use super::error::HttpError;
use super::query_string::QueryString;
use super::service::{Answer, Asked};
use crate::query::Scope;

pub(crate) async fn handle(state: Arc<State>, endpoint: Rest, asked: Asked, body: Inbound) -> Answer {
    match endpoint {
        Rest::Studies => studies::list(&state, &asked).await,
        Rest::Study(study) => {
            let answer = studies::one(&state, &study, &asked).await;
            explain_absence(&state, &Scope::Study(study), answer).await
        }
        Rest::StudyAnalyses(study) => analyses::of_study(&state, &study, &asked).await,
        Rest::RequestAnalysis(study) => analyses::request(&state, study, &asked, body).await,
        Rest::Analysis(id) => analyses::one(&state, &id, &asked).await,
        Rest::Reports => reports::list(&state, &asked).await,
        Rest::Report(id) => reports::one(&state, &id, &asked).await,
        Rest::ReportPdf(id) => reports::pdf(&state, &id, &asked).await,
        Rest::ChangeFeed => changefeed::list(state, &asked).await,
        Rest::LatestChange => changefeed::latest(&state).await,
        Rest::Deleted => deleted::list(&state, &asked).await,
        Rest::RestoreDeleted(id) => deleted::restore(&state, &id, &asked).await,
        Rest::Commitments => commitments::list(&state, &asked).await,
        Rest::Commitment(id) => commitments::one(&state, &id, &asked).await,
        Rest::RequestCommitment => commitments::request(&state, &asked, body).await,
        Rest::Destinations => exports::destinations(&state, &asked).await,
        Rest::Destination(name) => exports::destination(&state, &name, &asked).await,
        Rest::PauseDestination(name) => exports::pause(&state, &name, &asked).await,
        Rest::ResumeDestination(name) => exports::resume(&state, &name, &asked).await,
        Rest::RequeueDead(name) => exports::requeue_dead(&state, &name, &asked).await,
        Rest::Exports => exports::list(&state, None, &asked).await,
        Rest::StudyExports(study) => exports::list(&state, Some(study), &asked).await,
        Rest::Export(id) => exports::one(&state, id, &asked).await,
        Rest::RequeueExport(id) => exports::requeue(&state, id, &asked).await,
        Rest::SendStudy(study) => exports::send(&state, &study, &asked, body).await,
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

/// A JSON column as the JSON it holds; text that is none stays text.
fn stored_json(bytes: &[u8]) -> serde_json::Value {
    serde_json::from_slice(bytes).unwrap_or_else(|_| String::from_utf8_lossy(bytes).into_owned().into())
}

/// The body of a request is a few words.
const REQUEST_BYTES_MAX: usize = 16 << 10;

/// What the body of a request wishes for; no body wishes for nothing in particular. `form` says what
/// it should be.
async fn wish<T: DeserializeOwned>(body: Inbound, form: &str) -> Result<T, HttpError> {
    let collect = |mut all: Vec<u8>, chunk: bytes::Bytes| async move {
        all.extend_from_slice(&chunk);
        if all.len() > REQUEST_BYTES_MAX { Err(std::io::ErrorKind::FileTooLarge.into()) } else { Ok(all) }
    };
    let read = body.try_fold(Vec::new(), collect).await;
    let bytes = read.map_err(|_| HttpError::TooLarge { bytes_max: REQUEST_BYTES_MAX as u64 })?;
    let json = if bytes.is_empty() { b"{}" } else { &bytes[..] };
    serde_json::from_slice(json).map_err(|_| HttpError::bad_request(format!("the body is {form}")))
}

/// Bounds one answer.
const LIST_MAX: u32 = 1000;
const LIST_DEFAULT: u32 = 100;

fn limit(query: &QueryString) -> Result<u32, HttpError> {
    Ok(number(query, "limit")?.unwrap_or(LIST_DEFAULT).min(LIST_MAX))
}

fn number(query: &QueryString, name: &str) -> Result<Option<u32>, HttpError> {
    let parse = |text: &str| {
        text.parse().map_err(|_| HttpError::bad_request(format!("{name} is a whole number from 0")))
    };
    query.get(name).map(parse).transpose()
}
