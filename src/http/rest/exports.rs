//! What is sent to whom: destinations as they stand, every export with its state, and what a
//! person does about them.

use futures::stream::TryStreamExt;
use http::StatusCode;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::clock::Timestamp;
use crate::db::exports::{self, Export, Filter};
use crate::dicom::uid::StudyUid;
use crate::export::breaker::Phase;
use crate::export::{ControlError, State as Destination};
use crate::http::State;
use crate::http::body::Inbound;
use crate::http::error::HttpError;
use crate::http::service::{Answer, Asked};
use crate::http::urls::Urls;

/// The body of a request is a few names.
const REQUEST_BYTES_MAX: usize = 16 << 10;
const STATES: [&str; 6] = ["queued", "sending", "sent", "committed", "failed", "dead"];

pub(super) async fn destinations(state: &State, asked: &Asked) -> Answer {
    let found = state.exports.states().await?;
    let destinations: Vec<Value> = found.iter().map(|one| destination_json(one, &asked.urls)).collect();
    super::json(StatusCode::OK, &json!({ "destinations": destinations }))
}

pub(super) async fn destination(state: &State, name: &str, asked: &Asked) -> Answer {
    let found = state.exports.state(name).await.map_err(refused)?;
    super::json(StatusCode::OK, &destination_json(&found, &asked.urls))
}

pub(super) async fn pause(state: &State, name: &str, asked: &Asked) -> Answer {
    let found = state.exports.pause(name, &asked.client.to_string()).await.map_err(refused)?;
    super::json(StatusCode::OK, &destination_json(&found, &asked.urls))
}

pub(super) async fn resume(state: &State, name: &str, asked: &Asked) -> Answer {
    let found = state.exports.resume(name, &asked.client.to_string()).await.map_err(refused)?;
    super::json(StatusCode::OK, &destination_json(&found, &asked.urls))
}

/// Everything dead of a destination.
pub(super) async fn requeue_dead(state: &State, name: &str, asked: &Asked) -> Answer {
    let requeued = state.exports.requeue_dead(name, &asked.client.to_string()).await.map_err(refused)?;
    super::json(StatusCode::OK, &json!({ "requeued": requeued }))
}

/// `?study=`, `?destination=`, `?state=` narrow; a reader goes on `?after=` the `next` it was given.
pub(super) async fn list(state: &State, study: Option<StudyUid>, asked: &Asked) -> Answer {
    let limit = super::limit(&asked.query)?;
    let filter = filter(study, asked)?;
    let mut found = exports::list(&state.db, &filter, limit.saturating_add(1)).await?;
    let more = found.len() > limit as usize;
    found.truncate(limit as usize);
    let next = found.last().map_or(filter.after, |export| export.id);
    let exports: Vec<Value> = found.iter().map(|export| export_json(export, &asked.urls)).collect();
    super::json(StatusCode::OK, &json!({ "exports": exports, "next": next, "more": more }))
}

fn filter(study: Option<StudyUid>, asked: &Asked) -> Result<Filter, HttpError> {
    let query = &asked.query;
    let named = query.get("study").map(str::parse::<StudyUid>).transpose().map_err(HttpError::bad_request)?;
    let after = query.get("after").map(|text| text.parse().ok().filter(|after: &i64| *after >= 0));
    let after = after.map_or(Some(0), |after| after);
    let state = query.get("state");
    if state.is_some_and(|state| !STATES.contains(&state)) {
        return Err(HttpError::bad_request(format!("state is one of {}", STATES.join(", "))));
    }
    Ok(Filter {
        study: study.or(named),
        destination: query.get("destination").map(str::to_owned),
        state: state.map(str::to_owned),
        after: after.ok_or_else(|| HttpError::bad_request("after is the id of an export"))?,
    })
}

pub(super) async fn one(state: &State, id: i64, asked: &Asked) -> Answer {
    let export = exports::one(&state.db, id).await?.ok_or(HttpError::NotFound("export"))?;
    super::json(StatusCode::OK, &export_json(&export, &asked.urls))
}

pub(super) async fn requeue(state: &State, id: i64, asked: &Asked) -> Answer {
    let export = state.exports.requeue(id, &asked.client.to_string()).await.map_err(refused)?;
    super::json(StatusCode::ACCEPTED, &export_json(&export, &asked.urls))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    destinations: Vec<String>,
    /// Objects that came from a destination go back to it too.
    #[serde(default)]
    also_own: bool,
}

/// 202: it is queued.
pub(super) async fn send(state: &State, study: &StudyUid, asked: &Asked, body: Inbound) -> Answer {
    let wish = wish(body).await?;
    let actor = asked.client.to_string();
    let queued = state.exports.send(study, &wish.destinations, wish.also_own, &actor).await;
    let queued: Vec<Value> = queued
        .map_err(refused)?
        .iter()
        .map(|one| json!({ "destination": one.destination, "queued": one.queued, "skipped": one.skipped }))
        .collect();
    super::json(StatusCode::ACCEPTED, &json!({ "study_uid": study, "destinations": queued }))
}

async fn wish(body: Inbound) -> Result<Wish, HttpError> {
    let collect = |mut all: Vec<u8>, chunk: bytes::Bytes| async move {
        all.extend_from_slice(&chunk);
        if all.len() > REQUEST_BYTES_MAX { Err(std::io::ErrorKind::FileTooLarge.into()) } else { Ok(all) }
    };
    let read = body.try_fold(Vec::new(), collect).await;
    let bytes = read.map_err(|_| HttpError::TooLarge { bytes_max: REQUEST_BYTES_MAX as u64 })?;
    let wish: Option<Wish> = serde_json::from_slice(&bytes).ok();
    wish.filter(|wish| !wish.destinations.is_empty()).ok_or_else(|| {
        HttpError::bad_request("the body is {\"destinations\": [NAME, …], \"also_own\": false}")
    })
}

fn refused(error: ControlError) -> HttpError {
    match error {
        ControlError::UnknownDestination(_) => HttpError::NotFound("destination"),
        ControlError::UnknownStudy => HttpError::NotFound("study"),
        ControlError::UnknownExport => HttpError::NotFound("export"),
        ControlError::NotRequeueable(_) => HttpError::Conflict(error.to_string()),
        ControlError::Index(error) => error.into(),
    }
}

fn destination_json(destination: &Destination, urls: &Urls) -> Value {
    let condition = &destination.condition;
    let until = match condition.phase {
        Phase::Open { until } => Some(until.rfc3339()),
        Phase::Closed | Phase::HalfOpen => None,
    };
    let last_error = condition.last_error.as_ref();
    let path = format!("destinations/{}", utf8_percent_encode(&destination.name, NON_ALPHANUMERIC));
    json!({
        "name": destination.name,
        "kind": destination.kind,
        "breaker": condition.phase.as_str(),
        "breaker_until": until,
        "paused_since": destination.paused.map(Timestamp::rfc3339),
        "queued": destination.summary.queued,
        "sending": destination.summary.sending,
        "failed": destination.summary.failed,
        "dead": destination.summary.dead,
        "oldest": destination.summary.oldest.map(Timestamp::rfc3339),
        "last_success": condition.last_success.map(Timestamp::rfc3339),
        "last_error": last_error.map(|(at, reason)| json!({ "at": at.rfc3339(), "reason": reason })),
        "links": { "self": urls.rest(&path), "exports": urls.rest(&format!("exports?destination={}",
            utf8_percent_encode(&destination.name, NON_ALPHANUMERIC))) },
    })
}

fn export_json(export: &Export, urls: &Urls) -> Value {
    let is_object = export.event.is_none();
    json!({
        "id": export.id,
        "destination": export.destination,
        "event": export.event,
        "study_uid": export.study,
        "series_uid": export.series,
        "sop_instance_uid": is_object.then_some(&export.subject),
        "delivery": (!is_object).then_some(&export.subject),
        "rule": export.rule,
        "state": export.state,
        "reason": export.reason,
        "attempts": export.attempts,
        "retry_at": (export.state == "failed").then(|| export.due_at.rfc3339()),
        "created_at": export.created_at.rfc3339(),
        "updated_at": export.updated_at.rfc3339(),
        "links": { "self": urls.rest(&format!("exports/{}", export.id)) },
    })
}
