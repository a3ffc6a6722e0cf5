//! What happens, as Server-Sent Events (HTML 9.2).
//!
//! The id of an event is its sequence in the index: a reader that comes back with Last-Event-ID
//! misses nothing, whichever process it comes to. What it missed for good is told by `gap`.

mod watch;

use std::sync::Arc;

use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

use self::watch::Watch;
use super::routes::{Call, Route, routes};
use crate::auth::{Caller, Needs, Permission, may};
use crate::db::events::{self, EventKind, Told, Wanted};
use crate::db::results;
use crate::dicom::uid::StudyUid;
use crate::http::error::HttpError;
use crate::http::service::{Answer, Asked};
use crate::http::{body, limit_hit};

pub(super) const ROUTES: &[Route] = routes! {
    GET "events", "api-events", Needs::Identity, |call| all(call).await;
    GET "analyses/{analysis}/events", "api-analysis-events", may(Permission::ReadDrafts),
        |call| of_analysis(call).await;
};

#[derive(utoipa::OpenApi)]
#[openapi(paths(all, of_analysis), components(schemas(EventMessage, EventKind)))]
pub(super) struct Doc;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Proxies that would collect a stream before they pass it on are asked not to.
const BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// The `data` of an event.
#[derive(Debug, Serialize, ToSchema)]
struct EventMessage<'a> {
    /// Also the `id` of the event.
    sequence: i64,
    /// RFC 3339.
    at: String,
    /// Also the `event`; [`EventKind`].
    kind: &'a str,
    study_uid: Option<&'a str>,
    /// Id of the analysis, report, upload, export or job.
    subject: Option<&'a str>,
    /// Counts, states and reasons, by kind.
    #[schema(value_type = Option<Object>)]
    detail: Option<serde_json::Value>,
}

/// What happens
///
/// Server-Sent Events, from now on or from behind an id.
#[utoipa::path(
    get, path = "/events", operation_id = "streamEvents", tag = "events",
    params(
        ("study" = Option<String>, Query, description = "events about this study alone"),
        ("kind" = Option<String>, Query, description = "kinds, separated by commas"),
        ("after" = Option<i64>, Query, description = "a sequence to begin behind; Last-Event-ID wins"),
        ("Last-Event-ID" = Option<i64>, Header, description = "the id of the last event that was seen"),
    ),
    responses(
        (status = 200, description = "a stream of events; a `gap` event says that some are gone",
            content_type = "text/event-stream", body = Object),
        (status = 400, description = "a parameter is malformed"),
        (status = 401, description = "nobody is known"),
        (status = 429, description = "the caller has as many streams as one may have"),
    )
)]
async fn all(call: Call) -> Answer {
    let study = call.asked.query.get("study").map(str::parse::<StudyUid>).transpose();
    let study = study.map_err(HttpError::bad_request)?;
    let after = match after(&call.asked)? {
        Some(after) => after,
        None => events::kept(&call.state.db).await?.map_or(0, |(_, last)| last),
    };
    stream(call, Wanted { study, subject: None }, after)
}

/// What happens to an analysis
///
/// Its whole life as Server-Sent Events, and what is to come of it.
#[utoipa::path(
    get, path = "/analyses/{analysis}/events", operation_id = "streamAnalysisEvents", tag = "events",
    params(
        ("analysis" = String, Path, description = "id of the analysis"),
        ("kind" = Option<String>, Query, description = "kinds, separated by commas"),
        ("after" = Option<i64>, Query, description = "a sequence to begin behind; Last-Event-ID wins"),
        ("Last-Event-ID" = Option<i64>, Header, description = "the id of the last event that was seen"),
    ),
    responses(
        (status = 200, description = "a stream of events", content_type = "text/event-stream", body = Object),
        (status = 400, description = "a parameter is malformed"),
        (status = 401, description = "nobody is known"),
        (status = 403, description = "the caller may not read drafts"),
        (status = 404, description = "there is no such analysis"),
        (status = 429, description = "the caller has as many streams as one may have"),
    )
)]
async fn of_analysis(call: Call) -> Answer {
    let id = call.path.text("analysis");
    let analysis = results::analysis(&call.state.db, id).await?.ok_or(HttpError::NotFound("analysis"))?;
    let after = match after(&call.asked)? {
        Some(after) => after,
        // From its beginning: what was let go of before is no gap of this analysis.
        None => events::kept(&call.state.db).await?.map_or(0, |(first, _)| first - 1),
    };
    stream(call, Wanted { study: None, subject: Some(analysis.id) }, after)
}

fn stream(call: Call, wanted: Wanted, after: i64) -> Answer {
    let kinds = kinds(&call.asked)?;
    let Call { state, asked, .. } = call;
    let settings = &state.live.events;
    let seat = state.live.watchers.take(&asked.caller.subject.key(), settings.streams_max);
    let seat = seat.ok_or_else(|| {
        limit_hit("events.streams_max");
        HttpError::TooManyAtOnce("streams of events")
    })?;
    let sight = Sight { caller: asked.caller, kinds };
    let watch = Watch::new(Arc::clone(&state), wanted, sight, after, seat);
    let mut response = Response::new(body::streamed(watch.stream()));
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(BUFFERING, HeaderValue::from_static("no"));
    Ok(response)
}

fn after(asked: &Asked) -> Result<Option<i64>, HttpError> {
    let text = last_event_id(&asked.headers)?.or_else(|| asked.query.get("after"));
    let refused = || HttpError::bad_request("Last-Event-ID and after are the id of an event, a whole number");
    text.map(|text| text.parse().ok().filter(|id: &i64| *id >= 0).ok_or_else(refused)).transpose()
}

/// Empty where the browser has seen no id yet.
fn last_event_id(headers: &HeaderMap) -> Result<Option<&str>, HttpError> {
    let Some(value) = headers.get(LAST_EVENT_ID) else { return Ok(None) };
    let text = value.to_str().map_err(HttpError::bad_request)?;
    Ok(Some(text).filter(|text| !text.is_empty()))
}

fn kinds(asked: &Asked) -> Result<Vec<EventKind>, HttpError> {
    let Some(text) = asked.query.get("kind") else { return Ok(EventKind::ALL.to_vec()) };
    let unknown = || {
        let known: Vec<&str> = EventKind::ALL.iter().map(|kind| kind.as_str()).collect();
        HttpError::bad_request(format!("kind is a list of {}", known.join(", ")))
    };
    text.split(',').map(|name| EventKind::named(name).ok_or_else(unknown)).collect()
}

/// What of the events of an archive one caller may see, and wants to.
struct Sight {
    caller: Caller,
    kinds: Vec<EventKind>,
}

impl Sight {
    /// Events about studies have been narrowed to those in reach.
    fn shows(&self, told: &Told) -> bool {
        let Some(kind) = EventKind::named(&told.kind).filter(|kind| self.kinds.contains(kind)) else {
            return false;
        };
        let is_own = told.owner.as_ref().is_some_and(|owner| *owner == self.caller.subject.key());
        match (told.study.is_some(), needed(kind)) {
            (true, needed) => self.caller.may(needed),
            (false, _) => is_own || self.caller.may(Permission::OperateServer),
        }
    }
}

/// To see an event about a study.
fn needed(kind: EventKind) -> Permission {
    use EventKind::*;
    match kind {
        StudyReceived | StudyComplete | UploadProgress | UploadDone => Permission::ViewStudies,
        AnalysisQueued | AnalysisWaiting | AnalysisLoading | AnalysisTokens | AnalysisParsing
        | AnalysisDone | AnalysisFailed | AnalysisCancelled | ReportDrafted | ReportEdited => {
            Permission::ReadDrafts
        }
        ReportSigned => Permission::ReadReports,
        ExportProgress => Permission::ExportStudies,
    }
}

/// One event as its lines.
fn written(told: &Told) -> String {
    let message = EventMessage {
        sequence: told.sequence,
        at: told.at.rfc3339(),
        kind: &told.kind,
        study_uid: told.study.as_ref().map(StudyUid::as_str),
        subject: told.subject.as_deref(),
        detail: told.detail.as_deref().map(super::stored_json),
    };
    // Two texts, two numbers and JSON that is JSON already.
    let data = serde_json::to_string(&message).unwrap_or_default();
    format!("event: {}\nid: {}\ndata: {data}\n\n", told.kind, told.sequence)
}

fn gap(first: i64) -> String {
    format!("event: gap\ndata: {{\"first\":{first}}}\n\n")
}

#[cfg(test)]
mod tests;
