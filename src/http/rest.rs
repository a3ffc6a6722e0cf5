//! The REST API under `/api/v1`, and the probes.

pub(crate) mod health;
pub mod hooks;

use std::sync::Arc;

use super::State;
use super::body::Inbound;
use super::endpoint::Rest;
use super::error::HttpError;
use super::service::{Answer, Asked};

pub(crate) async fn handle(_state: Arc<State>, _endpoint: Rest, _asked: Asked, _body: Inbound) -> Answer {
    Err(HttpError::NotFound("resource"))
}
