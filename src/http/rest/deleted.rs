//! What was deleted, and the way back while it is kept.

use http::StatusCode;
use serde_json::{Value, json};

use crate::db::deletions::{self, Deletion};
use crate::http::State;
use crate::http::error::HttpError;
use crate::http::service::{Answer, Asked};
use crate::http::urls::Urls;
use crate::ingest::RestoreError;

/// The last acts of deletion, first.
pub(super) async fn list(state: &State, asked: &Asked) -> Answer {
    let limit = super::limit(&asked.query)?;
    let offset = super::number(&asked.query, "offset")?.unwrap_or(0);
    let deletions = deletions::list(&state.db, limit, offset).await?;
    let deletions: Vec<Value> = deletions.iter().map(|deletion| summary(deletion, &asked.urls)).collect();
    super::json(StatusCode::OK, &json!({ "deleted": deletions }))
}

/// Stores again what is still kept of a deletion.
pub(super) async fn restore(state: &State, id: &str, asked: &Asked) -> Answer {
    if !state.settings.deletion_enabled {
        return Err(HttpError::Forbidden("deletion is turned off (deletion.enabled)"));
    }
    let restored = state.ingest.restore(id, &asked.client.to_string()).await.map_err(refused)?;
    super::json(StatusCode::OK, &json!({ "restored": restored.restored, "refused": restored.refused }))
}

fn refused(error: RestoreError) -> HttpError {
    match error {
        RestoreError::Unknown => HttpError::NotFound("deletion"),
        RestoreError::Index(error) => error.into(),
        error => HttpError::internal("storing a deleted instance again")(error),
    }
}

fn summary(deletion: &Deletion, urls: &Urls) -> Value {
    json!({
        "id": deletion.id,
        "at": deletion.at.rfc3339(),
        "actor": deletion.actor,
        "reason": deletion.reason,
        "study_uid": deletion.study,
        "series_uid": deletion.series,
        "sop_instance_uid": deletion.sop_instance,
        "instances": deletion.instances,
        "kept": deletion.kept,
        "links": { "restore": urls.rest(&format!("deleted/{}/restore", deletion.id)) },
    })
}
