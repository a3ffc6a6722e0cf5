//! Storage commitment: what we gave and asked for, and asking a node for it.

use http::StatusCode;
use http::header::{HeaderValue, LOCATION};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::etag;
use super::page::{List, Page, PageParameters};
use super::routes::{Route, routes};
use super::time::Time;
use crate::auth::{Permission, may};
use crate::db::commitments::{self, Commitment as Stored, Outcome, Referenced};
use crate::db::studies;
use crate::dicom::commitment::Reference;
use crate::dicom::uid::{SopClassUid, SopInstanceUid, StudyUid, TransactionUid};
use crate::export::commitment::RequestError;
use crate::http::State;
use crate::http::body::Inbound;
use crate::http::error::HttpError;
use crate::http::service::{Answer, Asked};
use crate::http::urls::Urls;

pub(super) const ROUTES: &[Route] = routes! {
    GET "commitments", "api-commitments", may(Permission::OperateServer),
        |call| list(&call.state, &call.asked).await;
    POST "commitments", "api-request-commitment", may(Permission::OperateServer),
        |call| request(&call.state, &call.asked, call.body).await;
    GET "commitments/{commitment}", "api-commitment", may(Permission::OperateServer),
        |call| one(&call.state, call.path.text("commitment"), &call.asked).await;
};

#[derive(utoipa::OpenApi)]
#[openapi(paths(list, request, one))]
pub(super) struct Doc;

const LIST: List = List {
    name: "commitments",
    filters: &[],
    sorts: &[("asked_at", "asked_at")],
    default: "-asked_at",
    key: "id",
};

#[derive(Serialize, ToSchema)]
struct CommitmentSummary {
    id: String,
    /// `given` by us to a node, or `asked` by us of a node.
    direction: &'static str,
    transaction_uid: TransactionUid,
    /// The AE title of who asked us, or whom we asked.
    node: String,
    state: &'static str,
    /// Why it is not further.
    reason: Option<String>,
    asked_at: Time,
    links: CommitmentLinks,
}

#[derive(Serialize, ToSchema)]
struct CommitmentLinks {
    #[serde(rename = "self")]
    own: String,
}

#[derive(Serialize, ToSchema)]
struct Commitment {
    #[serde(flatten)]
    summary: CommitmentSummary,
    instances: Vec<CommittedInstance>,
}

#[derive(Serialize, ToSchema)]
struct CommittedInstance {
    sop_class_uid: SopClassUid,
    sop_instance_uid: SopInstanceUid,
    /// `unknown`, `committed` or `failed`.
    outcome: &'static str,
    /// The Failure Reason (PS3.3 C.14.1.1) in four digits.
    reason: Option<String>,
}

/// Storage commitments
///
/// Given by us and asked of nodes, newest first.
#[utoipa::path(
    get, path = "/commitments", operation_id = "listCommitments", tag = "commitments", params(PageParameters),
    responses((status = 200, description = "A page of commitments", body = Page<CommitmentSummary>))
)]
async fn list(state: &State, asked: &Asked) -> Answer {
    let wanted = LIST.wanted::<CommitmentSummary>(&asked.query, "")?;
    let found = commitments::list(&state.db, &wanted.page).await?;
    wanted.answer(found.map(|one| summary(one, &asked.urls)))
}

/// One commitment
///
/// With what became of each instance.
#[utoipa::path(
    get, path = "/commitments/{commitment}", operation_id = "getCommitment", tag = "commitments",
    params(("commitment" = String, Path)),
    responses((status = 200, description = "The commitment", body = Commitment),
        (status = 304, description = "Known"))
)]
async fn one(state: &State, id: &str, asked: &Asked) -> Answer {
    let commitment = commitments::one(&state.db, id).await?.ok_or(HttpError::NotFound("commitment"))?;
    let referenced = commitments::references(&state.db, id).await?;
    let instances = referenced.into_iter().map(instance).collect();
    etag::answer(
        &asked.headers,
        &asked.query,
        &Commitment { summary: summary(commitment, &asked.urls), instances },
    )
}

/// What a client asks a node to commit to.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CommitmentWish {
    /// Its AE title.
    #[schema(max_length = 16)]
    node: String,
    study: StudyUid,
}

#[derive(Serialize, ToSchema)]
struct CommitmentAsked {
    id: String,
}

/// Ask a node to commit to a study
///
/// 202 when the node has accepted to look; its report may take a while.
#[utoipa::path(
    post, path = "/commitments", operation_id = "requestCommitment", tag = "commitments",
    request_body = CommitmentWish,
    responses((status = 202, description = "The node looks", body = CommitmentAsked),
        (status = 404, description = "There is no such study"),
        (status = 502, description = "The node did not do what was asked of it"))
)]
async fn request(state: &State, asked: &Asked, body: Inbound) -> Answer {
    let wish: CommitmentWish = super::wish(body, "{\"node\": AE TITLE, \"study\": UID}").await?;
    let members = studies::members(&state.db, &wish.study).await?;
    if members.is_empty() {
        return Err(HttpError::NotFound("study"));
    }
    let references =
        members.into_iter().map(|one| Reference { sop_class: one.sop_class, sop_instance: one.sop_instance });
    let requested = state.commitments.request(&wish.node, references.collect()).await;
    let id = requested.map_err(refused)?;
    let mut response = super::json(StatusCode::ACCEPTED, &CommitmentAsked { id: id.clone() })?;
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

fn summary(commitment: Stored, urls: &Urls) -> CommitmentSummary {
    CommitmentSummary {
        links: CommitmentLinks { own: url(&commitment.id, urls) },
        id: commitment.id,
        direction: commitment.direction.as_str(),
        transaction_uid: commitment.transaction,
        node: commitment.peer_aet,
        state: commitment.state.as_str(),
        reason: commitment.reason,
        asked_at: commitment.asked_at.into(),
    }
}

fn instance(referenced: Referenced) -> CommittedInstance {
    let (outcome, reason) = match referenced.outcome {
        Outcome::Unknown => ("unknown", None),
        Outcome::Committed => ("committed", None),
        Outcome::Failed(reason) => ("failed", Some(format!("{reason:04X}"))),
    };
    CommittedInstance {
        sop_class_uid: referenced.reference.sop_class,
        sop_instance_uid: referenced.reference.sop_instance,
        outcome,
        reason,
    }
}
