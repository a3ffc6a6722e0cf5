//! DELETE of studies, series and instances. The standard has no such transaction; what is here is
//! what clients of other servers send.

use http::{Response, StatusCode};

use crate::db::deletions;
use crate::http::State;
use crate::http::body;
use crate::http::error::HttpError;
use crate::http::service::{Answer, Asked};
use crate::ingest::DeleteError;
use crate::query::Scope;

/// What a client may say about its reasons.
const REASON_BYTES_MAX: usize = 256;

pub(super) async fn delete(state: &State, scope: &Scope, asked: &Asked) -> Answer {
    if !state.settings.deletion_enabled {
        return Err(HttpError::Forbidden("deletion is turned off (deletion.enabled)"));
    }
    let reason = asked.query.get("reason");
    if reason.is_some_and(|reason| reason.len() > REASON_BYTES_MAX) {
        return Err(HttpError::bad_request(format!("a reason has up to {REASON_BYTES_MAX} bytes")));
    }
    match state.ingest.delete(scope, &asked.who(), reason).await {
        Ok(deletion) => {
            tracing::info!(deletion, study = %scope.study(), "deleted");
            let mut response = Response::new(body::empty());
            *response.status_mut() = StatusCode::NO_CONTENT;
            Ok(response)
        }
        Err(DeleteError::NothingThere) => Err(HttpError::NotFound(super::stored::noun(scope))),
        Err(error @ DeleteError::Held(_)) => Err(HttpError::Held(error.to_string())),
        Err(DeleteError::Index(error)) => Err(error.into()),
    }
}

/// What is not found and was deleted is gone (PS3.18 8.5).
pub(crate) async fn explain_absence(state: &State, scope: &Scope, answer: Answer) -> Answer {
    let Err(HttpError::NotFound(noun)) = answer else { return answer };
    let was_there = deletions::is_known(&state.db, scope).await?;
    Err(if was_there { HttpError::Gone(noun) } else { HttpError::NotFound(noun) })
}
