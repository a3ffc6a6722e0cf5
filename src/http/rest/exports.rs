//! What is sent to whom: destinations as they stand, every export with its state, and what a
//! person does about them.

use http::StatusCode;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::etag::{self, Etag};
use super::page::{self, ConfiguredParameters, List, Page, PageParameters};
use super::routes::{PathParameters, Route, routes};
use super::time::Time;
use crate::auth::{Permission, may};
use crate::db::exports::{self, Export as Stored, Filter};
use crate::dicom::uid::StudyUid;
use crate::export::{ControlError, State as Standing};
use crate::http::State;
use crate::http::body::Inbound;
use crate::http::error::HttpError;
use crate::http::service::{Answer, Asked};
use crate::http::urls::Urls;
use crate::http::visible;
use crate::outbound::breaker::Phase;

pub(super) const ROUTES: &[Route] = routes! {
    GET "destinations", "api-destinations", may(Permission::ExportStudies),
        |call| destinations(&call.state, &call.asked).await;
    GET "destinations/{destination}", "api-destination", may(Permission::ExportStudies),
        |call| destination(&call.state, call.path.text("destination"), &call.asked).await;
    POST "destinations/{destination}/pause", "api-pause-destination", may(Permission::OperateServer),
        |call| pause(&call.state, call.path.text("destination"), &call.asked).await;
    POST "destinations/{destination}/resume", "api-resume-destination", may(Permission::OperateServer),
        |call| resume(&call.state, call.path.text("destination"), &call.asked).await;
    POST "destinations/{destination}/requeue", "api-requeue-dead", may(Permission::OperateServer),
        |call| requeue_dead(&call.state, call.path.text("destination"), &call.asked).await;
    GET "exports", "api-exports", may(Permission::ExportStudies),
        |call| list(&call.state, &call.asked).await;
    GET "exports/{export}", "api-export", may(Permission::ExportStudies),
        |call| one(&call.state, id(&call.path)?, &call.asked).await;
    POST "exports/{export}/requeue", "api-requeue-export", may(Permission::OperateServer),
        |call| requeue(&call.state, id(&call.path)?, &call.asked).await;
    GET "studies/{study}/exports", "api-study-exports", may(Permission::ExportStudies),
        |call| list_of_study(&call.state, call.path.study()?, &call.asked).await;
    POST "studies/{study}/exports", "api-send-study", may(Permission::ExportStudies),
        |call| send(&call.state, call.path.study()?, &call.asked, call.body).await;
};

#[derive(utoipa::OpenApi)]
#[openapi(paths(
    destinations,
    destination,
    pause,
    resume,
    requeue_dead,
    list,
    list_of_study,
    one,
    requeue,
    send
))]
pub(super) struct Doc;

const STATES: [&str; 6] = ["queued", "sending", "sent", "committed", "failed", "dead"];

const LIST: List = List {
    name: "exports",
    filters: &["study", "destination", "state"],
    sorts: &[("id", "id"), ("updated_at", "updated_at")],
    default: "id",
    key: "id",
};

/// A destination of the configuration as it stands.
#[derive(Serialize, ToSchema)]
struct Destination {
    name: String,
    kind: &'static str,
    /// `closed`: it is used; `open`: it is left alone; `half-open`: it is asked.
    breaker: &'static str,
    breaker_until: Option<Time>,
    /// A person has stopped it.
    paused_since: Option<Time>,
    queued: i64,
    sending: i64,
    failed: i64,
    dead: i64,
    /// When the oldest of what waits was asked for.
    oldest: Option<Time>,
    last_success: Option<Time>,
    last_error: Option<DestinationError>,
    links: DestinationLinks,
}

#[derive(Serialize, ToSchema)]
struct DestinationError {
    at: Time,
    reason: String,
}

#[derive(Serialize, ToSchema)]
struct DestinationLinks {
    #[serde(rename = "self")]
    own: String,
    exports: String,
}

/// One object or event on its way to one destination.
#[derive(Serialize, ToSchema)]
struct Export {
    id: i64,
    destination: String,
    /// `study-complete`, `analysis-done` or `report-signed`; null: an object.
    event: Option<String>,
    study_uid: StudyUid,
    series_uid: Option<String>,
    /// Of an object.
    sop_instance_uid: Option<String>,
    /// The id of an event.
    delivery: Option<String>,
    /// The rule of the configuration that asked for it, `source` or `request`.
    rule: String,
    state: String,
    /// Why it waits, or how it ended.
    reason: Option<String>,
    attempts: i64,
    retry_at: Option<Time>,
    created_at: Time,
    updated_at: Time,
    links: ExportLinks,
}

#[derive(Serialize, ToSchema)]
struct ExportLinks {
    #[serde(rename = "self")]
    own: String,
}

#[derive(Serialize, ToSchema)]
struct Requeued {
    requeued: usize,
}

#[derive(Serialize, ToSchema)]
struct Sent {
    study_uid: StudyUid,
    destinations: Vec<SentTo>,
}

#[derive(Serialize, ToSchema)]
struct SentTo {
    destination: String,
    queued: usize,
    /// What came from there.
    skipped: usize,
}

fn id(path: &PathParameters) -> Result<i64, HttpError> {
    path.text("export").parse().map_err(|_| HttpError::NotFound("export"))
}

/// All destinations
#[utoipa::path(
    get, path = "/destinations", operation_id = "listDestinations", tag = "exports", params(ConfiguredParameters),
    responses((status = 200, description = "The destinations of the configuration", body = Page<Destination>))
)]
async fn destinations(state: &State, asked: &Asked) -> Answer {
    let found = state.exports.states().await?;
    page::configured(&asked.query, found.into_iter().map(|one| described(one, &asked.urls)).collect())
}

/// One destination
#[utoipa::path(
    get, path = "/destinations/{destination}", operation_id = "getDestination", tag = "exports",
    params(("destination" = String, Path)),
    responses((status = 200, description = "The destination", body = Destination),
        (status = 304, description = "Known"))
)]
async fn destination(state: &State, name: &str, asked: &Asked) -> Answer {
    let found = state.exports.state(name).await.map_err(refused)?;
    let version = Etag::of_content(&(name, found.paused.map(Time::from)))?;
    etag::answer_of(version, asked, &described(found, &asked.urls))
}

/// Stop a destination
#[utoipa::path(
    post, path = "/destinations/{destination}/pause", operation_id = "pauseDestination", tag = "exports",
    params(("destination" = String, Path)),
    responses((status = 200, description = "The destination, stopped", body = Destination))
)]
async fn pause(state: &State, name: &str, asked: &Asked) -> Answer {
    let found = state.exports.pause(name, &asked.who()).await.map_err(refused)?;
    super::json(StatusCode::OK, &described(found, &asked.urls))
}

/// Let a destination go on
#[utoipa::path(
    post, path = "/destinations/{destination}/resume", operation_id = "resumeDestination", tag = "exports",
    params(("destination" = String, Path)),
    responses((status = 200, description = "The destination, going on", body = Destination))
)]
async fn resume(state: &State, name: &str, asked: &Asked) -> Answer {
    let found = state.exports.resume(name, &asked.who()).await.map_err(refused)?;
    super::json(StatusCode::OK, &described(found, &asked.urls))
}

/// Try everything dead of a destination again
#[utoipa::path(
    post, path = "/destinations/{destination}/requeue", operation_id = "requeueDestination", tag = "exports",
    params(("destination" = String, Path)),
    responses((status = 200, description = "How much goes again", body = Requeued))
)]
async fn requeue_dead(state: &State, name: &str, asked: &Asked) -> Answer {
    let requeued = state.exports.requeue_dead(name, &asked.who()).await.map_err(refused)?;
    super::json(StatusCode::OK, &Requeued { requeued })
}

/// All exports
///
/// In the order in which they were queued first.
#[utoipa::path(
    get, path = "/exports", operation_id = "listExports", tag = "exports",
    params(PageParameters, ("study" = Option<StudyUid>, Query, description = "Only of this study"),
        ("destination" = Option<String>, Query, description = "Only to this destination"),
        ("state" = Option<String>, Query, description = "Only in this state")),
    responses((status = 200, description = "A page of exports", body = Page<Export>))
)]
async fn list(state: &State, asked: &Asked) -> Answer {
    listed(state, None, asked).await
}

/// The exports of a study
#[utoipa::path(
    get, path = "/studies/{study}/exports", operation_id = "listStudyExports", tag = "exports",
    params(("study" = StudyUid, Path), PageParameters,
        ("destination" = Option<String>, Query, description = "Only to this destination"),
        ("state" = Option<String>, Query, description = "Only in this state")),
    responses((status = 200, description = "A page of exports", body = Page<Export>))
)]
async fn list_of_study(state: &State, study: StudyUid, asked: &Asked) -> Answer {
    listed(state, Some(study), asked).await
}

async fn listed(state: &State, study: Option<StudyUid>, asked: &Asked) -> Answer {
    let scope = study.as_ref().map_or("", StudyUid::as_str);
    let wanted = LIST.wanted::<Export>(&asked.query, scope)?;
    let found = exports::list(&state.db, &asked.caller.reach, &filter(study, asked)?, &wanted.page).await?;
    wanted.answer(found.map(|export| export_of(export, &asked.urls)))
}

fn filter(study: Option<StudyUid>, asked: &Asked) -> Result<Filter, HttpError> {
    let query = &asked.query;
    let named = query.get("study").map(str::parse::<StudyUid>).transpose().map_err(HttpError::bad_request)?;
    let state = query.get("state");
    if state.is_some_and(|state| !STATES.contains(&state)) {
        return Err(HttpError::bad_request(format!("state is one of {}", STATES.join(", "))));
    }
    Ok(Filter {
        study: study.or(named),
        destination: query.get("destination").map(str::to_owned),
        state: state.map(str::to_owned),
    })
}

/// One export
#[utoipa::path(
    get, path = "/exports/{export}", operation_id = "getExport", tag = "exports", params(("export" = i64, Path)),
    responses((status = 200, description = "The export", body = Export), (status = 304, description = "Known"))
)]
async fn one(state: &State, id: i64, asked: &Asked) -> Answer {
    let export = exports::one(&state.db, id).await?.ok_or(HttpError::NotFound("export"))?;
    etag::answer(&asked.headers, &asked.query, &export_of(export, &asked.urls))
}

/// Try a dead export again
#[utoipa::path(
    post, path = "/exports/{export}/requeue", operation_id = "requeueExport", tag = "exports",
    params(("export" = i64, Path)),
    responses((status = 202, description = "It goes again", body = Export),
        (status = 409, description = "It is not dead"))
)]
async fn requeue(state: &State, id: i64, asked: &Asked) -> Answer {
    let export = state.exports.requeue(id, &asked.who()).await.map_err(refused)?;
    super::json(StatusCode::ACCEPTED, &export_of(export, &asked.urls))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SendWish {
    /// Names of the configuration.
    #[schema(min_items = 1)]
    destinations: Vec<String>,
    /// Objects that came from a destination go back to it too.
    #[serde(default)]
    also_own: bool,
}

/// Send a study
///
/// To destinations of the configuration. 202: it is queued.
#[utoipa::path(
    post, path = "/studies/{study}/exports", operation_id = "sendStudy", tag = "exports",
    params(("study" = StudyUid, Path)), request_body = SendWish,
    responses((status = 202, description = "It is queued", body = Sent),
        (status = 403, description = "the caller may not read drafts, which go along"))
)]
async fn send(state: &State, study: StudyUid, asked: &Asked, body: Inbound) -> Answer {
    const FORM: &str = "{\"destinations\": [NAME, …], \"also_own\": false}";
    visible::drafts(&asked.caller)?;
    let wish: SendWish = super::wish(body, FORM).await?;
    if wish.destinations.is_empty() {
        return Err(HttpError::bad_request(format!("the body is {FORM}")));
    }
    let queued = state.exports.send(&study, &wish.destinations, wish.also_own, &asked.who()).await;
    let sent_to = queued.map_err(refused)?.into_iter().map(|one| SentTo {
        destination: one.destination,
        queued: one.queued,
        skipped: one.skipped,
    });
    let destinations = sent_to.collect();
    super::json(StatusCode::ACCEPTED, &Sent { study_uid: study, destinations })
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

fn described(destination: Standing, urls: &Urls) -> Destination {
    let condition = destination.condition;
    let breaker_until = match condition.phase {
        Phase::Open { until } => Some(until.into()),
        Phase::Closed | Phase::HalfOpen => None,
    };
    let name = utf8_percent_encode(&destination.name, NON_ALPHANUMERIC).to_string();
    Destination {
        name: destination.name,
        kind: destination.kind,
        breaker: condition.phase.as_str(),
        breaker_until,
        paused_since: destination.paused.map(Time::from),
        queued: destination.summary.queued,
        sending: destination.summary.sending,
        failed: destination.summary.failed,
        dead: destination.summary.dead,
        oldest: destination.summary.oldest.map(Time::from),
        last_success: condition.last_success.map(Time::from),
        last_error: condition.last_error.map(|(at, reason)| DestinationError { at: at.into(), reason }),
        links: DestinationLinks {
            own: urls.rest(&format!("destinations/{name}")),
            exports: urls.rest(&format!("exports?destination={name}")),
        },
    }
}

fn export_of(export: Stored, urls: &Urls) -> Export {
    let (sop_instance_uid, delivery) = match export.event {
        None => (Some(export.subject), None),
        Some(_) => (None, Some(export.subject)),
    };
    Export {
        links: ExportLinks { own: urls.rest(&format!("exports/{}", export.id)) },
        retry_at: (export.state == "failed").then(|| export.due_at.into()),
        id: export.id,
        destination: export.destination,
        event: export.event,
        study_uid: export.study,
        series_uid: export.series,
        sop_instance_uid,
        delivery,
        rule: export.rule,
        state: export.state,
        reason: export.reason,
        attempts: export.attempts,
        created_at: export.created_at.into(),
        updated_at: export.updated_at.into(),
    }
}
