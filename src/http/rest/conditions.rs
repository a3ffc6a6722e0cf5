//! `If-Match` on acts and deletions that need none: where it is sent, what is to change must still
//! be what was read. Compared is the entity tag that GET of the same resource answers, so every
//! resource has one tag and not two.
//!
//! The handlers that need `If-Match` (428 without) compare within the transaction of their change.
//! Here there is a moment between the comparison and the act; every act below asks for the state
//! that it begins from in its own transaction, so what is lost in that moment is no work of others.

use std::sync::Arc;

use futures::stream;
use http::Method;
use http::header::{ETAG, HeaderMap, IF_MATCH};

use super::etag::Etag;
use super::routes::{Call, PathParameters, Route};
use crate::http::State;
use crate::http::body::Inbound;
use crate::http::error::HttpError;
use crate::http::query_string::QueryString;
use crate::http::service::Asked;

/// Those that heed `If-Match` where it is sent.
pub(super) const HELD: &[&str] = &[
    "api-cancel-download",
    "api-cancel-analysis",
    "api-retry-analysis",
    "api-restore-deleted",
    "api-place-hold",
    "api-release-hold",
    "api-pause-destination",
    "api-resume-destination",
    "api-requeue-dead",
    "api-requeue-export",
    "api-reset-password",
    "api-end-session",
    "api-revoke-key",
    "api-requeue-job",
    "api-cancel-job",
];

/// # Errors
/// 412 where the resource has changed since, and whatever reading it fails with.
pub(super) async fn hold(
    state: &Arc<State>,
    route: &Route,
    path: &PathParameters,
    asked: &Asked,
) -> Result<(), HttpError> {
    if !HELD.contains(&route.name) || !asked.headers.contains_key(IF_MATCH) {
        return Ok(());
    }
    let reading = reading(route).ok_or(HttpError::NotFound("tag"))?;
    let asked_plainly = Asked { headers: HeaderMap::new(), query: QueryString::default(), ..asked.clone() };
    let body = Inbound::of(stream::empty(), 0);
    let call = Call { state: Arc::clone(state), path: path.clone(), asked: asked_plainly, body };
    let read = (reading.handler)(call).await?;
    let tag = read.headers().get(ETAG).and_then(|tag| tag.to_str().ok());
    tag.map(Etag::read).ok_or(HttpError::PreconditionFailed(WHAT))?.required(&asked.headers, WHAT)
}

const WHAT: &str = "resource";

/// GET of what is changed: of the path itself, or before the last word where that is an act.
pub(super) fn reading(route: &Route) -> Option<&'static Route> {
    let path = match route.method == Method::POST {
        true => route.path.rsplit_once('/')?.0,
        false => route.path,
    };
    let mut rows = super::TABLE.iter().flat_map(|rows| rows.iter());
    rows.find(|row| row.method == Method::GET && row.path == path)
}
