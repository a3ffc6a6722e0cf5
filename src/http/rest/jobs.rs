//! The work that waits, and what a person does about it.

use http::StatusCode;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::etag;
use super::page::{List, Page, PageParameters};
use super::routes::{Route, routes};
use super::study_filter;
use super::time::Time;
use crate::auth::{Permission, may};
use crate::db::jobs::listing::{self, Filter, Listed};
use crate::db::{Batch, DbError};
use crate::http::State;
use crate::http::error::HttpError;
use crate::http::service::{Answer, Asked};
use crate::http::urls::Urls;
use crate::jobs::JobKind;

pub(super) const ROUTES: &[Route] = routes! {
    GET "jobs", "api-jobs", may(Permission::OperateServer), |call| list(&call.state, &call.asked).await;
    GET "jobs/{job}", "api-job", may(Permission::OperateServer),
        |call| one(&call.state, call.path.text("job"), &call.asked).await;
    POST "jobs/{job}/requeue", "api-requeue-job", may(Permission::OperateServer),
        |call| requeue(&call.state, call.path.text("job"), &call.asked).await;
    POST "jobs/{job}/cancel", "api-cancel-job", may(Permission::OperateServer),
        |call| cancel(&call.state, call.path.text("job"), &call.asked).await;
};

#[derive(utoipa::OpenApi)]
#[openapi(paths(list, one, requeue, cancel))]
pub(super) struct Doc;

const STATES: [&str; 4] = ["queued", "leased", "done", "dead"];

const LIST: List = List {
    name: "jobs",
    filters: &["kind", "state"],
    sorts: &[("created_at", "created_at"), ("updated_at", "updated_at"), ("run_after", "run_after")],
    default: "-created_at",
    key: "id",
};

#[derive(Serialize, ToSchema)]
struct Job {
    id: String,
    kind: String,
    /// What it is about: ids and UIDs.
    #[schema(value_type = Object)]
    task: Value,
    /// `queued`, `leased`, `done` or `dead`.
    state: String,
    /// Why it waits, or how it ended.
    reason: Option<String>,
    /// Not before.
    run_after: Time,
    attempts: i64,
    created_at: Time,
    updated_at: Time,
    links: JobLinks,
}

#[derive(Serialize, ToSchema)]
struct JobLinks {
    #[serde(rename = "self")]
    own: String,
}

/// All jobs
///
/// Newest first.
#[utoipa::path(
    get, path = "/jobs", operation_id = "listJobs", tag = "jobs",
    params(PageParameters, ("kind" = Option<String>, Query, max_length = 64, description = "Only of this kind"),
        ("state" = Option<String>, Query, pattern = "^(queued|leased|done|dead)$",
            description = "Only in this state")),
    responses((status = 200, description = "A page of jobs", body = Page<Job>))
)]
async fn list(state: &State, asked: &Asked) -> Answer {
    let wanted = LIST.wanted::<Job>(&asked.query, "")?;
    let named = asked.query.get("state");
    if named.is_some_and(|state| !STATES.contains(&state)) {
        return Err(HttpError::bad_request(format!("state is one of {}", STATES.join(", "))));
    }
    let kind = study_filter::short(&asked.query, "kind", 64)?;
    let filter = Filter { kind, state: named.map(str::to_owned) };
    let found = listing::list(&state.db, filter, &wanted.page).await?;
    wanted.answer(found.map(|job| described(job, &asked.urls)))
}

/// One job
#[utoipa::path(
    get, path = "/jobs/{job}", operation_id = "getJob", tag = "jobs", params(("job" = String, Path)),
    responses((status = 200, description = "The job", body = Job), (status = 304, description = "Known"))
)]
async fn one(state: &State, id: &str, asked: &Asked) -> Answer {
    etag::answer(&asked.headers, &asked.query, &described(find(state, id).await?, &asked.urls))
}

/// Try a dead job again
#[utoipa::path(
    post, path = "/jobs/{job}/requeue", operation_id = "requeueJob", tag = "jobs", params(("job" = String, Path)),
    responses((status = 202, description = "It is queued", body = Job),
        (status = 409, description = "It is not dead, or another job for the same is open"))
)]
async fn requeue(state: &State, id: &str, asked: &Asked) -> Answer {
    not_an_analysis(&find(state, id).await?, "retry")?;
    settle(state, id, asked, listing::requeue(id, &asked.who(), state.clock.now())).await
}

/// Cancel a job
///
/// That waits; one that runs comes to its end.
#[utoipa::path(
    post, path = "/jobs/{job}/cancel", operation_id = "cancelJob", tag = "jobs", params(("job" = String, Path)),
    responses((status = 202, description = "It is dead", body = Job),
        (status = 409, description = "It does not wait"))
)]
async fn cancel(state: &State, id: &str, asked: &Asked) -> Answer {
    not_an_analysis(&find(state, id).await?, "cancel")?;
    settle(state, id, asked, listing::cancel(id, &asked.who(), state.clock.now())).await
}

/// The job of an analysis is nothing without its analysis.
fn not_an_analysis(job: &Listed, act: &str) -> Result<(), HttpError> {
    match job.kind == JobKind::AnalyseStudy.as_str() {
        true => Err(HttpError::Conflict(format!("{act} the analysis instead"))),
        false => Ok(()),
    }
}

async fn settle(state: &State, id: &str, asked: &Asked, batch: Batch) -> Answer {
    match state.db.run(batch).await {
        Ok(_) => {}
        Err(DbError::Affected { .. }) => {
            return Err(HttpError::Conflict("the job is in another state".to_owned()));
        }
        Err(DbError::Unique { .. }) => {
            return Err(HttpError::Conflict("another job for the same is open".to_owned()));
        }
        Err(error) => return Err(error.into()),
    }
    super::json(StatusCode::ACCEPTED, &described(find(state, id).await?, &asked.urls))
}

async fn find(state: &State, id: &str) -> Result<Listed, HttpError> {
    listing::one(&state.db, id).await?.ok_or(HttpError::NotFound("job"))
}

fn described(job: Listed, urls: &Urls) -> Job {
    Job {
        links: JobLinks { own: urls.rest(&format!("jobs/{}", job.id)) },
        id: job.id,
        kind: job.kind,
        task: super::stored_json(&job.payload),
        state: job.state,
        reason: job.reason,
        run_after: job.run_after.into(),
        attempts: job.attempts,
        created_at: job.created_at.into(),
        updated_at: job.updated_at.into(),
    }
}
