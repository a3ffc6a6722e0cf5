//! What this server is and can do.

use serde::Serialize;
use utoipa::ToSchema;

use super::etag;
use super::hooks::ProbeOutcome;
use super::page::{self, FieldsParameter};
use super::routes::{Route, routes};
use crate::auth::Needs;
use crate::http::State;
use crate::http::service::{Answer, Asked};

pub(super) const ROUTES: &[Route] = routes! {
    GET "server", "api-server", Needs::Identity, |call| describe(&call.state, &call.asked).await;
};

#[derive(utoipa::OpenApi)]
#[openapi(paths(describe))]
pub(super) struct Doc;

#[derive(Serialize, ToSchema)]
struct Server {
    name: &'static str,
    version: &'static str,
    /// What calls it by DIMSE call it.
    ae_title: String,
    features: Features,
    limits: Limits,
    /// Beside index and storage.
    parts: Vec<Part>,
    links: ServerLinks,
}

#[derive(Serialize, ToSchema)]
struct Features {
    /// Whether anything can be deleted by request.
    deletion: bool,
    /// Whether pixels of JPEG-LS can be decoded.
    jpeg_ls: bool,
}

#[derive(Serialize, ToSchema)]
struct Limits {
    /// Items on one page.
    page: u32,
    /// Of one request.
    body_bytes: u64,
    /// How long a repeated request is answered as the first.
    idempotency_retention_s: u64,
}

#[derive(Serialize, ToSchema)]
struct Part {
    name: &'static str,
    /// `ready`, `degraded`, `loading` or `failed`.
    state: &'static str,
    reason: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct ServerLinks {
    dicomweb: String,
    description: String,
    documentation: String,
}

/// This server
#[utoipa::path(
    get, path = "/server", operation_id = "getServer", tag = "server", params(FieldsParameter),
    responses((status = 200, description = "What it is and can do", body = Server),
        (status = 304, description = "Known"))
)]
async fn describe(state: &State, asked: &Asked) -> Answer {
    let probes = state.readiness.probes().await;
    let server = Server {
        name: env!("CARGO_PKG_NAME"),
        version: env!("CARGO_PKG_VERSION"),
        ae_title: state.commitments.directory().calling_aet().to_owned(),
        features: Features { deletion: state.settings.deletion_enabled, jpeg_ls: cfg!(feature = "jpeg-ls") },
        limits: Limits {
            page: page::LIMIT_MAX,
            body_bytes: state.settings.body_bytes_max,
            idempotency_retention_s: state.settings.idempotency_retention.as_secs(),
        },
        parts: probes.into_iter().map(|(name, outcome)| part(name, outcome)).collect(),
        links: ServerLinks {
            dicomweb: asked.urls.dicomweb(),
            description: asked.urls.rest("openapi.json"),
            documentation: asked.urls.docs("index.html"),
        },
    };
    etag::answer(&asked.headers, &asked.query, &server)
}

fn part(name: &'static str, outcome: ProbeOutcome) -> Part {
    let (state, reason) = match outcome {
        ProbeOutcome::Ready => ("ready", None),
        ProbeOutcome::Degraded(reason) => ("degraded", Some(reason)),
        ProbeOutcome::Loading(reason) => ("loading", Some(reason)),
        ProbeOutcome::Lost(reason) | ProbeOutcome::Failed(reason) => ("failed", Some(reason)),
    };
    Part { name, state, reason }
}
