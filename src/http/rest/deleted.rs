//! What was deleted, and the way back while it is kept.

use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::etag;
use super::page::{FieldsParameter, List, Page, PageParameters};
use super::routes::{Route, routes};
use super::time::Time;
use crate::auth::{Permission, may};
use crate::db::deletions::{self, Deletion as Stored};
use crate::dicom::uid::StudyUid;
use crate::http::State;
use crate::http::error::HttpError;
use crate::http::service::{Answer, Asked};
use crate::http::urls::Urls;
use crate::ingest::RestoreError;

pub(super) const ROUTES: &[Route] = routes! {
    GET "deleted", "api-deleted", may(Permission::DeleteStudies), |call| list(&call.state, &call.asked).await;
    GET "deleted/{deletion}", "api-deletion", may(Permission::DeleteStudies),
        |call| one(&call.state, call.path.text("deletion"), &call.asked).await;
    POST "deleted/{deletion}/restore", "api-restore-deleted", may(Permission::DeleteStudies),
        |call| restore(&call.state, call.path.text("deletion"), &call.asked).await;
};

#[derive(utoipa::OpenApi)]
#[openapi(paths(list, one, restore))]
pub(super) struct Doc;

const LIST: List = List {
    name: "deleted",
    filters: &[],
    sorts: &[("at", "deletion.at")],
    default: "-at",
    key: "deletion.id",
};

/// An act of deletion with what is left of it.
#[derive(Serialize, ToSchema)]
struct Deletion {
    id: String,
    at: Time,
    actor: String,
    /// As the client gave it.
    reason: Option<String>,
    study_uid: StudyUid,
    /// Null: the whole study.
    series_uid: Option<String>,
    /// Null: the whole series.
    sop_instance_uid: Option<String>,
    instances: i64,
    /// Those that can be restored.
    kept: i64,
    links: DeletionLinks,
}

#[derive(Serialize, ToSchema)]
struct DeletionLinks {
    restore: String,
}

#[derive(Serialize, ToSchema)]
struct Restored {
    restored: u64,
    /// What is there again already, or is not taken any more.
    refused: u64,
}

/// What was deleted
///
/// The last acts of deletion, first.
#[utoipa::path(
    get, path = "/deleted", operation_id = "listDeletions", tag = "deletions", params(PageParameters),
    responses((status = 200, description = "A page of deletions", body = Page<Deletion>))
)]
async fn list(state: &State, asked: &Asked) -> Answer {
    let wanted = LIST.wanted::<Deletion>(&asked.query, "")?;
    let found = deletions::list(&state.db, &asked.caller.reach, &wanted.page).await?;
    wanted.answer(found.map(|deletion| summary(deletion, &asked.urls)))
}

/// One act of deletion
#[utoipa::path(
    get, path = "/deleted/{deletion}", operation_id = "getDeletion", tag = "deletions",
    params(("deletion" = String, Path), FieldsParameter),
    responses((status = 200, description = "The deletion", body = Deletion), (status = 304, description = "Known"))
)]
async fn one(state: &State, id: &str, asked: &Asked) -> Answer {
    let found = deletions::one(&state.db, id).await?.ok_or(HttpError::NotFound("deletion"))?;
    etag::answer(&asked.headers, &asked.query, &summary(found, &asked.urls))
}

/// Take a deletion back
///
/// Stores again what is still kept of it.
#[utoipa::path(
    post, path = "/deleted/{deletion}/restore", operation_id = "restoreDeletion", tag = "deletions",
    params(("deletion" = String, Path)),
    responses((status = 200, description = "What was stored again", body = Restored))
)]
async fn restore(state: &State, id: &str, asked: &Asked) -> Answer {
    if !state.settings.deletion_enabled {
        return Err(HttpError::Forbidden("deletion is turned off (deletion.enabled)"));
    }
    let done = state.ingest.restore(id, &asked.who()).await.map_err(refused)?;
    super::json(StatusCode::OK, &Restored { restored: done.restored, refused: done.refused })
}

fn refused(error: RestoreError) -> HttpError {
    match error {
        RestoreError::Unknown => HttpError::NotFound("deletion"),
        RestoreError::Index(error) => error.into(),
        error => HttpError::internal("storing a deleted instance again")(error),
    }
}

fn summary(deletion: Stored, urls: &Urls) -> Deletion {
    Deletion {
        links: DeletionLinks { restore: urls.rest(&format!("deleted/{}/restore", deletion.id)) },
        id: deletion.id,
        at: deletion.at.into(),
        actor: deletion.actor,
        reason: deletion.reason,
        study_uid: deletion.study,
        series_uid: deletion.series,
        sop_instance_uid: deletion.sop_instance,
        instances: deletion.instances,
        kept: deletion.kept,
    }
}
