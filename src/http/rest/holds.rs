//! Studies that nobody deletes.

use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::etag;
use super::page::{List, Page, PageParameters};
use super::routes::{Route, routes};
use super::time::Time;
use crate::auth::{Permission, may};
use crate::db::DbError;
use crate::db::holds::{self, Hold as Stored};
use crate::dicom::uid::StudyUid;
use crate::http::State;
use crate::http::body::Inbound;
use crate::http::error::HttpError;
use crate::http::query_string::QueryString;
use crate::http::service::{Answer, Asked};
use crate::http::urls::Urls;

pub(super) const ROUTES: &[Route] = routes! {
    GET "holds", "api-holds", may(Permission::DeleteStudies), |call| list(&call.state, &call.asked).await;
    GET "studies/{study}/hold", "api-hold", may(Permission::DeleteStudies),
        |call| one(&call.state, &call.path.study()?, &call.asked).await;
    PUT "studies/{study}/hold", "api-place-hold", may(Permission::DeleteStudies),
        |call| place(&call.state, &call.path.study()?, &call.asked, call.body).await;
    DELETE "studies/{study}/hold", "api-release-hold", may(Permission::DeleteStudies),
        |call| release(&call.state, &call.path.study()?, &call.asked).await;
};

#[derive(utoipa::OpenApi)]
#[openapi(paths(list, one, place, release))]
pub(super) struct Doc;

const LIST: List = List {
    name: "holds",
    filters: &["released"],
    sorts: &[("at", "hold.at")],
    default: "-at",
    key: "hold.id",
};

const REASON_BYTES_MAX: usize = 256;

/// Why a study is not to be deleted, and who said so.
#[derive(Serialize, ToSchema)]
pub(super) struct Hold {
    id: String,
    study_uid: StudyUid,
    reason: String,
    /// Who placed it.
    actor: String,
    at: Time,
    /// Null: it stands.
    released_at: Option<Time>,
    released_by: Option<String>,
    links: HoldLinks,
}

#[derive(Serialize, ToSchema)]
struct HoldLinks {
    study: String,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewHold {
    /// Up to 256 bytes.
    #[schema(min_length = 1, max_length = 256)]
    reason: String,
}

/// Holds
///
/// The last ones first, those that were released too.
#[utoipa::path(
    get, path = "/holds", operation_id = "listHolds", tag = "deletions",
    params(PageParameters,
        ("released" = Option<bool>, Query, description = "Only those that were released, or only those that stand")),
    responses((status = 200, description = "A page of holds", body = Page<Hold>))
)]
async fn list(state: &State, asked: &Asked) -> Answer {
    let wanted = LIST.wanted::<Hold>(&asked.query, "")?;
    let released = is_or_not(&asked.query, "released")?;
    let found = holds::list(&state.db, &asked.caller.reach, released, &wanted.page).await?;
    wanted.answer(found.map(|hold| shown(hold, &asked.urls)))
}

/// The hold on a study
#[utoipa::path(
    get, path = "/studies/{study}/hold", operation_id = "getHold", tag = "deletions",
    params(("study" = StudyUid, Path)),
    responses((status = 200, description = "Why it is held, and by whom", body = Hold),
        (status = 304, description = "Known"), (status = 404, description = "Nobody holds it"))
)]
async fn one(state: &State, study: &StudyUid, asked: &Asked) -> Answer {
    etag::answer(&asked.headers, &asked.query, &shown(find(state, study).await?, &asked.urls))
}

async fn find(state: &State, study: &StudyUid) -> Result<Stored, HttpError> {
    holds::of(&state.db, study).await?.ok_or(HttpError::NotFound("hold"))
}

/// Hold a study
///
/// Nobody deletes it, nor any of it, until it is released: no person, no rule of the retention. Nothing of
/// it is replaced, and what of it was deleted before stays restorable. A study that is held already is held
/// for the new reason.
#[utoipa::path(
    put, path = "/studies/{study}/hold", operation_id = "placeHold", tag = "deletions",
    params(("study" = StudyUid, Path)), request_body = NewHold,
    responses((status = 200, description = "It is held", body = Hold),
        (status = 410, description = "It was deleted: restore it first"))
)]
async fn place(state: &State, study: &StudyUid, asked: &Asked, body: Inbound) -> Answer {
    let wish: NewHold = super::wish(body, "{\"reason\": TEXT}").await?;
    let reason = wish.reason.trim();
    if reason.is_empty() || wish.reason.len() > REASON_BYTES_MAX {
        return Err(HttpError::Unprocessable(format!("a reason has 1 to {REASON_BYTES_MAX} bytes")));
    }
    match state.db.run(holds::place(study, reason, &asked.who(), state.clock.now())).await {
        Err(DbError::Affected { statement: holds::PLACE, .. }) => return Err(HttpError::NotFound("study")),
        other => other?,
    };
    super::json(StatusCode::OK, &shown(find(state, study).await?, &asked.urls))
}

/// Release a study
#[utoipa::path(
    delete, path = "/studies/{study}/hold", operation_id = "releaseHold", tag = "deletions",
    params(("study" = StudyUid, Path)),
    responses((status = 204, description = "It can be deleted again"),
        (status = 404, description = "Nobody holds it"))
)]
async fn release(state: &State, study: &StudyUid, asked: &Asked) -> Answer {
    match state.db.run(holds::release(study, &asked.who(), state.clock.now())).await {
        Err(DbError::Affected { statement: holds::RELEASE, .. }) => Err(HttpError::NotFound("hold")),
        other => {
            other?;
            Ok(super::no_content())
        }
    }
}

pub(super) fn shown(hold: Stored, urls: &Urls) -> Hold {
    let (released_at, released_by) = hold.released.unzip();
    Hold {
        links: HoldLinks { study: urls.rest(&format!("studies/{}", hold.study)) },
        id: hold.id,
        study_uid: hold.study,
        reason: hold.reason,
        actor: hold.actor,
        at: hold.at.into(),
        released_at: released_at.map(Into::into),
        released_by,
    }
}

/// `true`, `false` or nothing.
pub(super) fn is_or_not(query: &QueryString, name: &str) -> Result<Option<bool>, HttpError> {
    let word = query.get(name).map(str::parse).transpose();
    word.map_err(|_| HttpError::bad_request(format!("{name} is true or false")))
}
