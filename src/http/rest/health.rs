//! Probes for whoever runs the server: `/healthz` lives, `/readyz` can take work.

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use serde_json::{Map, Value, json};

use super::hooks::ProbeOutcome;
use crate::http::State;
use crate::http::body::{self, Body};
use crate::http::service::Answer;

pub(crate) fn alive() -> Response<Body> {
    answer(StatusCode::OK, &json!({ "status": "ok" }))
}

/// The text format of Prometheus, version 0.0.4.
pub(crate) fn metrics(state: &State) -> Response<Body> {
    let mut response = Response::new(body::full((state.metrics)()));
    let content_type = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

/// 503 when a part has failed; a part that is only degraded leaves the server ready.
pub(crate) async fn ready(state: &State) -> Answer {
    let probes = state.readiness.probes().await;
    let failed = probes.iter().any(|(_, outcome)| matches!(outcome, ProbeOutcome::Failed(_)));
    let status = if failed { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    let parts: Map<String, Value> =
        probes.iter().map(|(name, outcome)| ((*name).into(), described(outcome))).collect();
    Ok(answer(status, &json!({ "ready": !failed, "role": state.readiness.role(), "parts": parts })))
}

fn described(outcome: &ProbeOutcome) -> Value {
    match outcome {
        ProbeOutcome::Ready => json!({ "state": "ready" }),
        ProbeOutcome::Degraded(reason) => json!({ "state": "degraded", "reason": reason }),
        ProbeOutcome::Loading(reason) => json!({ "state": "loading", "reason": reason }),
        ProbeOutcome::Lost(reason) | ProbeOutcome::Failed(reason) => {
            json!({ "state": "failed", "reason": reason })
        }
    }
}

fn answer(status: StatusCode, value: &Value) -> Response<Body> {
    let mut response = Response::new(body::full(value.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
