//! Storage commitment: what we gave and asked for, and asking a node for it.

use http::StatusCode;
use http::header::{HeaderValue, LOCATION};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::db::commitments::{self, Commitment, Outcome, Referenced};
use crate::db::studies;
use crate::dicom::commitment::Reference;
use crate::dicom::uid::StudyUid;
use crate::export::commitment::RequestError;
use crate::http::State;
use crate::http::body::Inbound;
use crate::http::error::HttpError;
use crate::http::service::{Answer, Asked};
use crate::http::urls::Urls;

/// Newest first.
pub(super) async fn list(state: &State, asked: &Asked) -> Answer {
    let limit = super::limit(&asked.query)?;
    let offset = super::number(&asked.query, "offset")?.unwrap_or(0);
    let commitments = commitments::list(&state.db, limit, offset).await?;
    let commitments: Vec<Value> = commitments.iter().map(|one| summary(one, &asked.urls)).collect();
    super::json(StatusCode::OK, &json!({ "commitments": commitments }))
}

/// With what became of each instance.
pub(super) async fn one(state: &State, id: &str, asked: &Asked) -> Answer {
    let commitment = commitments::one(&state.db, id).await?.ok_or(HttpError::NotFound("commitment"))?;
    let referenced = commitments::references(&state.db, id).await?;
    let mut answer = summary(&commitment, &asked.urls);
    answer["instances"] = referenced.iter().map(instance).collect();
    super::json(StatusCode::OK, &answer)
}

/// What a client asks a node to commit to.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    node: String,
    study: StudyUid,
}

/// 202 when the node has accepted to look; its report may take a while.
pub(super) async fn request(state: &State, asked: &Asked, body: Inbound) -> Answer {
    let wish: Wish = super::wish(body, "{\"node\": AE TITLE, \"study\": UID}").await?;
    let members = studies::members(&state.db, &wish.study).await?;
    if members.is_empty() {
        return Err(HttpError::NotFound("study"));
    }
    let references =
        members.into_iter().map(|one| Reference { sop_class: one.sop_class, sop_instance: one.sop_instance });
    let requested = state.commitments.request(&wish.node, references.collect()).await;
    let id = requested.map_err(refused)?;
    let mut response = super::json(StatusCode::ACCEPTED, &json!({ "id": id }))?;
    let location = HeaderValue::from_str(&url(&id, &asked.urls));
    let location = location.map_err(HttpError::internal("naming the commitment"))?;
    response.headers_mut().insert(LOCATION, location);
    Ok(response)
}

fn refused(error: RequestError) -> HttpError {
    match error {
        RequestError::UnknownNode(_) | RequestError::Nothing | RequestError::TooMany(_) => {
            HttpError::bad_request(error)
        }
        RequestError::Call(error) => HttpError::BadGateway(crate::causes::chain(&error)),
        RequestError::Index(error) => error.into(),
    }
}

fn url(id: &str, urls: &Urls) -> String {
    urls.rest(&format!("commitments/{id}"))
}

fn summary(commitment: &Commitment, urls: &Urls) -> Value {
    json!({
        "id": commitment.id,
        "direction": commitment.direction.as_str(),
        "transaction_uid": commitment.transaction,
        "node": commitment.peer_aet,
        "state": commitment.state.as_str(),
        "reason": commitment.reason,
        "asked_at": commitment.asked_at.rfc3339(),
        "links": { "self": url(&commitment.id, urls) },
    })
}

/// The reason in the four digits of PS3.3 C.14.1.1.
fn instance(referenced: &Referenced) -> Value {
    let (outcome, reason) = match referenced.outcome {
        Outcome::Unknown => ("unknown", None),
        Outcome::Committed => ("committed", None),
        Outcome::Failed(reason) => ("failed", Some(format!("{reason:04X}"))),
    };
    json!({
        "sop_class_uid": referenced.reference.sop_class,
        "sop_instance_uid": referenced.reference.sop_instance,
        "outcome": outcome,
        "reason": reason,
    })
}
