//! Every request in the audit trail, by its endpoint: recorded before it is answered, and what became
//! of it when its answer has ended.

mod about;
mod watched;

use http::{Method, StatusCode};
use http_body::Body as _;

use super::State;
use super::endpoint::{Dicomweb, Endpoint};
use super::error::HttpError;
use super::service::{Answer, Asked, Visit};
use crate::audit::{Action, Actor, Begun, Deed, Outcome, Unrecorded};
use crate::query::Scope;

/// Nothing for what tells nobody anything. Without room in the queue the request is not answered.
pub(super) async fn begin(
    state: &State,
    endpoint: &Endpoint,
    asked: &Asked,
) -> Result<Option<Begun>, HttpError> {
    let Some(action) = action(endpoint) else { return Ok(None) };
    let mut deed = about::of(state, Deed::new(asked.who(), action), endpoint, asked).await?;
    deed.may_share = !state.settings.audit_each_request && may_share(action);
    state.audit.begin(deed).await.map(Some).map_err(unrecorded)
}

fn unrecorded(_: Unrecorded) -> HttpError {
    HttpError::Unavailable { reason: "the request cannot be recorded", retry_after_s: 10 }
}

/// Who was turned away at the door, and from what. The answer does not wait for room in the queue.
pub(super) async fn turned_away(state: &State, visit: &Visit, endpoint: &Endpoint, status: StatusCode) {
    let Some(action) = action(endpoint) else { return };
    let mut deed = Deed::new(Actor::of(&visit.caller, visit.client, &visit.request_id), action);
    deed.detail = Some(endpoint.name().to_owned());
    if let Endpoint::Dicomweb(endpoint) = endpoint {
        about::of_scope(&mut deed, endpoint.scope());
    }
    if let Ok(begun) = state.audit.begin(deed).await {
        let detail = refusal(&begun, status);
        begun.end_as(outcome(status), Some(detail));
    }
}

fn refusal(begun: &Begun, status: StatusCode) -> String {
    format!("{}, status {}", begun.detail().unwrap_or_default(), status.as_u16())
}

/// A viewer reads a study in hundreds of requests, and a list is asked for again and again.
fn may_share(action: Action) -> bool {
    matches!(action, Action::Retrieve | Action::Render | Action::ReadMetadata | Action::Query)
}

/// What became of the request is known when its body has been sent. Before the first byte of it a row
/// tells of the request: without one, what reads is not answered; a change has its row beside it.
pub(super) async fn end(begun: Option<Begun>, method: &Method, answer: Answer) -> Answer {
    let Some(begun) = begun else { return answer };
    match answer {
        Ok(response) if response.body().size_hint().exact().is_some_and(|bytes| bytes <= SHORT) => {
            match begun.end_durably(outcome(response.status()), None).await {
                Err(error) if method.is_safe() => Err(unrecorded(error)),
                _ => Ok(response),
            }
        }
        Ok(response) => match begun.durable().await {
            Err(error) if method.is_safe() => Err(unrecorded(error)),
            _ => Ok(watched::watched(response, begun)),
        },
        Err(error) => {
            refused(begun, error.status()).await;
            Err(error)
        }
    }
}

/// A server that cannot answer does not wait until it can write.
async fn refused(begun: Begun, status: StatusCode) {
    let detail = Some(refusal(&begun, status));
    match status.is_server_error() {
        true => begun.end_as(outcome(status), detail),
        // Nothing was shown.
        false => begun.end_durably(outcome(status), detail).await.unwrap_or_default(),
    }
}

/// Bytes of an answer that is as good as sent.
const SHORT: u64 = 64 << 10;

fn outcome(status: StatusCode) -> Outcome {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Outcome::Denied,
        status if status.is_server_error() => Outcome::Error,
        status if status.is_client_error() => Outcome::MinorFailure,
        _ => Outcome::Success,
    }
}

/// What a request is called in the trail.
fn action(endpoint: &Endpoint) -> Option<Action> {
    Some(match endpoint {
        Endpoint::Console | Endpoint::Healthz | Endpoint::Readyz | Endpoint::Docs(_) | Endpoint::Metrics => {
            return None;
        }
        Endpoint::Dicomweb(endpoint) => of_dicomweb(endpoint),
        Endpoint::Rest(matched) => of_rest(&matched.route.method, matched.route.path, matched.route.name)?,
    })
}

fn of_dicomweb(endpoint: &Dicomweb) -> Action {
    match endpoint {
        Dicomweb::Store { .. } => Action::ReceiveObjects,
        Dicomweb::Search { .. } => Action::Query,
        Dicomweb::Metadata(_) => Action::ReadMetadata,
        Dicomweb::Rendered(..) | Dicomweb::Thumbnail(..) => Action::Render,
        Dicomweb::Delete(Scope::Study(_) | Scope::Released(_)) => Action::DeleteStudy,
        Dicomweb::Delete(Scope::Series(..)) => Action::DeleteSeries,
        Dicomweb::Delete(Scope::Instance(..)) => Action::DeleteInstance,
        Dicomweb::Retrieve(_)
        | Dicomweb::Frames(..)
        | Dicomweb::PixelData(_)
        | Dicomweb::AllBulkdata(_)
        | Dicomweb::Bulkdata { .. }
        | Dicomweb::WadoUri => Action::Retrieve,
    }
}

/// Those that have a name of their own, then by what stands in the path.
fn of_rest(method: &Method, path: &str, name: &str) -> Option<Action> {
    let words: Vec<&str> = path.split('/').filter(|word| !word.starts_with('{')).collect();
    let has = |word: &str| words.contains(&word);
    Some(match (method.as_str(), words.as_slice()) {
        // The document that describes the API, and its pages.
        _ if name.contains("openapi") || has("docs") => return None,
        ("GET", ["audit", ..]) if has("export") => Action::ExportAudit,
        ("GET", ["audit", ..]) => Action::ReadAudit,
        ("GET", ["users" | "api-keys" | "groups" | "sessions", ..]) => Action::ReadUsers,
        ("GET", ["auth" | "me", ..]) => Action::ReadOwnAccount,
        // `auth` tells how each of these ends, with whom it was about.
        (_, ["auth", ..]) => return None,
        ("GET", _) if has("events") => Action::FollowEvents,
        ("GET", ["changefeed", ..]) => Action::ReadChanges,
        ("GET", ["destinations" | "exports" | "webhooks", ..]) => Action::ReadExports,
        ("GET", _) if has("deidentified") => Action::DeIdentifyStudy,
        ("GET", _) if ["content", "zip", "csv", "fhir", "sr"].iter().any(|form| has(form)) => {
            Action::Download
        }
        ("GET", ["downloads", ..]) => Action::ReadExports,
        ("POST", ["downloads"]) => Action::ExportStudy,
        ("GET", _) if has("download") || has("export") => Action::Download,
        ("POST", ["deleted", "restore"]) => Action::Restore,
        ("POST", ["destinations", "pause"]) => Action::PauseDestination,
        ("POST", ["destinations", "resume"]) => Action::ResumeDestination,
        ("POST", ["destinations", "requeue"]) => Action::RequeueDeadExports,
        ("POST", ["exports", "requeue"]) => Action::RequeueExport,
        ("POST", _) if has("export") || has("exports") || has("de-identify") => Action::ExportStudy,
        ("POST", _) if has("send") => Action::SendStudy,
        ("POST", ["commitments", ..]) => Action::AskCommitment,
        ("GET", ["patients", "studies"] | ["studies" | "patients" | "worklist"]) if !path.contains('{') => {
            Action::Query
        }
        ("GET", ["jobs" | "nodes" | "commitments" | "deleted" | "holds" | "server", ..]) => {
            Action::ReadServer
        }
        ("GET", _) if has("reports") || has("findings") => Action::ReadReport,
        ("GET", _) if has("analyses") => Action::ReadAnalysis,
        ("GET", _) if has("thumbnail") || has("slice") => Action::Render,
        ("GET", _) if has("volumes") || has("volume") || has("volume.nii.gz") => Action::ReadVolume,
        ("GET", ["patients", ..]) => Action::ReadPatient,
        ("GET", ["studies" | "series" | "instances", ..]) => Action::ReadStudy,
        ("GET", _) => Action::ReadResource,
        ("POST", ["jobs" | "nodes", ..]) => Action::OperateServer,
        ("POST" | "PATCH" | "HEAD", ["uploads", ..]) => Action::ReceiveObjects,
        ("POST", _) if has("cancel") => Action::CancelAnalysis,
        ("POST", _) if has("retry") => Action::RetryAnalysis,
        ("POST", _) if has("analyses") => Action::RequestAnalysis,
        ("POST", _) if has("sign") => Action::SignReport,
        ("PUT", ["studies", "hold"]) => Action::HoldStudy,
        ("DELETE", ["studies", "hold"]) => Action::ReleaseStudy,
        (_, ["studies"]) => Action::ChangeStudy,
        ("POST", _) => Action::CreateResource,
        ("DELETE", _) => Action::DeleteResource,
        _ => Action::ChangeResource,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_a_name_of_its_own_is_called_by_it() {
        let named = [
            ("GET", "analyses/{analysis}/events", Action::FollowEvents),
            ("GET", "events", Action::FollowEvents),
            ("POST", "deleted/{deletion}/restore", Action::Restore),
            ("POST", "destinations/{destination}/pause", Action::PauseDestination),
            ("POST", "destinations/{destination}/resume", Action::ResumeDestination),
            ("POST", "destinations/{destination}/requeue", Action::RequeueDeadExports),
            ("POST", "exports/{export}/requeue", Action::RequeueExport),
            ("POST", "studies/{study}/exports", Action::ExportStudy),
        ];
        for (method, path, action) in named {
            assert_eq!(of_rest(&method.parse().unwrap(), path, "api"), Some(action), "{method} {path}");
        }
    }
}
