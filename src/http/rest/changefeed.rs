//! The change feed: what happened to the archive, in the order of its commits.
//!
//! A reader keeps `next` and asks for what comes `after` it: nothing is skipped, whoever writes.

use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, Stream, StreamExt};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

use super::page;
use super::routes::{Route, routes};
use super::time::Time;
use crate::auth::{Permission, may};
use crate::clock::Timestamp;
use crate::db::changes::{self, Change as Stored};
use crate::dicom::uid::{SeriesUid, SopInstanceUid, StudyUid};
use crate::http::State;
use crate::http::body::{self, BoxError};
use crate::http::dicomweb;
use crate::http::error::HttpError;
use crate::http::query_string::QueryString;
use crate::http::service::{Answer, Asked};
use crate::http::urls::Urls;

pub(super) const ROUTES: &[Route] = routes! {
    GET "changefeed", "api-changefeed", may(Permission::OperateServer), |call| list(call.state, &call.asked).await;
    GET "changefeed/latest", "api-changefeed-latest", may(Permission::OperateServer), |call| latest(&call.state, &call.asked).await;
};

#[derive(utoipa::OpenApi)]
#[openapi(paths(list, latest))]
pub(super) struct Doc;

/// What happened to the archive.
#[derive(Serialize, ToSchema)]
struct ArchiveChange {
    /// In the order of commits.
    sequence: i64,
    at: Time,
    kind: String,
    study_uid: StudyUid,
    series_uid: Option<SeriesUid>,
    sop_instance_uid: Option<SopInstanceUid>,
    /// The id of an analysis or a report.
    subject: Option<String>,
    /// Nothing has happened to the same since.
    current: bool,
}

#[derive(Serialize, ToSchema)]
struct Changes {
    changes: Vec<ArchiveChange>,
    /// What to ask for `after`.
    next: i64,
    more: bool,
}

#[derive(Serialize, ToSchema)]
struct Latest {
    change: Option<ArchiveChange>,
    next: i64,
}

/// The change feed
///
/// What happened to the archive, in the order of its commits. A reader keeps `next` and asks for what comes
/// `after` it: nothing is skipped.
#[utoipa::path(
    get, path = "/changefeed", operation_id = "listChanges", tag = "changes",
    params(("after" = Option<i64>, Query, description = "A sequence", minimum = 0),
        ("since" = Option<String>, Query, description = "A time", format = DateTime),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000),
        ("include" = Option<String>, Query, description = "`metadata`: of what is there still")),
    responses((status = 200, description = "The changes", body = Changes))
)]
async fn list(state: Arc<State>, asked: &Asked) -> Answer {
    let with_metadata = with_metadata(&asked.query)?;
    let limit = page::limit(&asked.query)?;
    let after = after(&state, &asked.query).await?;
    let mut found = changes::list(&state.db, &asked.caller.reach, after, limit.saturating_add(1)).await?;
    let more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let next = found.last().map_or(after, |change| change.sequence);
    if with_metadata {
        return Ok(streamed(state, asked.urls.clone(), found, next, more));
    }
    let changes = found.iter().map(summary).collect();
    super::json(StatusCode::OK, &Changes { changes, next, more })
}

/// The latest change
///
/// Where a reader begins that wants only what is to come.
#[utoipa::path(
    get, path = "/changefeed/latest", operation_id = "getLatestChange", tag = "changes",
    responses((status = 200, description = "The change", body = Latest))
)]
async fn latest(state: &State, asked: &Asked) -> Answer {
    let latest = changes::latest(&state.db, &asked.caller.reach).await?;
    let next = latest.as_ref().map_or(0, |change| change.sequence);
    super::json(StatusCode::OK, &Latest { change: latest.as_ref().map(summary), next })
}

fn with_metadata(query: &QueryString) -> Result<bool, HttpError> {
    match query.get("include") {
        None => Ok(false),
        Some("metadata") => Ok(true),
        Some(_) => Err(HttpError::bad_request("include knows metadata only")),
    }
}

async fn after(state: &State, query: &QueryString) -> Result<i64, HttpError> {
    let after = sequence(query)?;
    match since(query)? {
        Some(since) => Ok(changes::before(&state.db, since).await?.max(after)),
        None => Ok(after),
    }
}

fn sequence(query: &QueryString) -> Result<i64, HttpError> {
    let Some(text) = query.get("after") else { return Ok(0) };
    let number = text.parse().ok().filter(|&number: &i64| number >= 0);
    number.ok_or_else(|| HttpError::bad_request("after is a sequence, a whole number from 0"))
}

fn since(query: &QueryString) -> Result<Option<Timestamp>, HttpError> {
    let Some(text) = query.get("since") else { return Ok(None) };
    let time = Timestamp::from_rfc3339(text);
    time.map(Some).ok_or_else(|| HttpError::bad_request("since is a time as in 2026-11-23T06:00:00Z"))
}

fn summary(change: &Stored) -> ArchiveChange {
    ArchiveChange {
        sequence: change.sequence,
        at: change.at.into(),
        kind: change.kind.clone(),
        study_uid: change.study.clone(),
        series_uid: change.series.clone(),
        sop_instance_uid: change.sop_instance.clone(),
        subject: change.subject.clone(),
        current: change.is_current,
    }
}

/// One instance's metadata is in memory at a time.
fn streamed(
    state: Arc<State>,
    urls: Urls,
    changes: Vec<Stored>,
    next: i64,
    more: bool,
) -> Response<body::Body> {
    let end = format!("],\"next\":{next},\"more\":{more}}}");
    let begin = Bytes::from_static(b"{\"changes\":[");
    let chunks = stream::iter([Ok(begin)])
        .chain(with_metadata_of(state, urls, changes))
        .chain(stream::iter([Ok(Bytes::from(end))]));
    let mut response = Response::new(body::streamed(chunks));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn with_metadata_of(
    state: Arc<State>,
    urls: Urls,
    changes: Vec<Stored>,
) -> impl Stream<Item = Result<Bytes, BoxError>> + Send + 'static {
    stream::iter(changes.into_iter().enumerate()).then(move |(at, change)| {
        let (state, urls) = (Arc::clone(&state), urls.clone());
        async move {
            let metadata = dicomweb::metadata_of(&state, &urls, &change).await?;
            let mut item = serde_json::to_string(&summary(&change))?;
            item.pop();
            let metadata = metadata.as_deref().unwrap_or("null");
            let separator = if at > 0 { "," } else { "" };
            Ok(Bytes::from(format!("{separator}{item},\"metadata\":{metadata}}}")))
        }
    })
}
