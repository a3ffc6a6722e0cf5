//! What was refused for want of identity or permission: counted, and told to the audit.

use http::StatusCode;

use super::endpoint::Endpoint;
use super::error::HttpError;
use super::service::Visit;
use super::{State, recorded};
use crate::auth::Means;
use crate::telemetry::metrics::http as metric;

/// Counts a refusal, wherever it was made.
pub(super) fn count(endpoint: &'static str, status: StatusCode) {
    if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS) {
        let status = status.as_u16().to_string();
        metrics::counter!(metric::DENIALS, "endpoint" => endpoint, "status" => status).increment(1);
    }
}

/// Who does not get as far as a handler: the trail has nothing of him otherwise. Too many requests
/// would be too many rows.
pub(super) async fn at_the_door(state: &State, visit: &Visit, endpoint: &Endpoint, error: &HttpError) {
    let status = error.status();
    let is_known = visit.caller.means != Means::Nothing;
    let is_told = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
    if is_told && (is_known || state.rate_limits.may_record(visit.client).await) {
        recorded::turned_away(state, visit, endpoint, status).await;
    }
}
