//! What a hub means when it does not give what is asked for.

use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};

use super::listing::printable;
use super::{HubError, RepoId, Revision};

/// What was asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) repo: &'a RepoId,
    pub(super) revision: &'a Revision,
    /// None: what the repository holds.
    pub(super) file: Option<&'a str>,
}

/// Who answered, and to whom.
pub(super) struct Scene<'a> {
    pub(super) host: &'a str,
    pub(super) has_token: bool,
    /// Where people look at the repository.
    pub(super) page: String,
}

/// Of the hub itself: its headers say more than its status, which is 401 also for what is not there.
pub(super) fn of_hub(status: StatusCode, headers: &HeaderMap, asked: Asked, scene: Scene) -> HubError {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let repo = asked.repo.clone();
    match (text("x-error-code"), status) {
        ("GatedRepo", _) if scene.has_token => HubError::Gated { repo, page: scene.page },
        ("GatedRepo", _) => HubError::GatedWithoutToken { repo, page: scene.page },
        ("RevisionNotFound", _) => HubError::NoRevision { repo, revision: asked.revision.clone() },
        ("EntryNotFound", _) => HubError::NoFile { repo, file: asked.file.unwrap_or_default().to_owned() },
        ("RepoNotFound", _) | ("", StatusCode::NOT_FOUND | StatusCode::UNAUTHORIZED) if !scene.has_token => {
            HubError::NotFoundWithoutToken { repo }
        }
        ("RepoNotFound", _) | (_, StatusCode::NOT_FOUND) => HubError::NotFound { repo },
        (_, StatusCode::UNAUTHORIZED) => HubError::TokenRefused,
        (_, StatusCode::FORBIDDEN) => HubError::Forbidden { said: printable(text("x-error-message")) },
        _ => elsewhere(status, headers, scene.host),
    }
}

/// Of whoever else the bytes are fetched from.
pub(super) fn elsewhere(status: StatusCode, headers: &HeaderMap, host: &str) -> HubError {
    let host = host.to_owned();
    let busy = status.is_server_error()
        || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT);
    match busy {
        true => HubError::Busy { host, status: status.as_u16(), retry_after: retry_after(headers) },
        false => HubError::Status { host, status: status.as_u16() },
    }
}

/// `Retry-After` in seconds, or the `t` of `RateLimit: "api";r=0;t=55`.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let limit = || text("ratelimit")?.split(';').find_map(|part| part.trim().strip_prefix("t="));
    let seconds = text(RETRY_AFTER.as_str()).or_else(limit)?;
    seconds.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(status: u16, headers: &[(&'static str, &str)], has_token: bool) -> HubError {
        let (repo, revision) = ("a/b".parse().unwrap(), "main".parse().unwrap());
        let asked = Asked { repo: &repo, revision: &revision, file: Some("config.json") };
        let scene = Scene { host: "hub", has_token, page: "https://hub/a/b".to_owned() };
        let headers = headers
            .iter()
            .map(|&(name, value)| (reqwest::header::HeaderName::from_static(name), value.parse().unwrap()));
        of_hub(StatusCode::from_u16(status).unwrap(), &headers.collect(), asked, scene)
    }

    #[test]
    fn each_refusal_has_its_own_error() {
        let gated = [("x-error-code", "GatedRepo")];
        assert!(matches!(refusal(403, &gated, true), HubError::Gated { .. }));
        assert!(matches!(refusal(401, &gated, false), HubError::GatedWithoutToken { .. }));
        let absent = [("x-error-code", "RepoNotFound")];
        assert!(matches!(refusal(401, &absent, false), HubError::NotFoundWithoutToken { .. }));
        assert!(matches!(refusal(404, &absent, true), HubError::NotFound { .. }));
        assert!(matches!(refusal(401, &[], true), HubError::TokenRefused));
        assert!(matches!(
            refusal(404, &[("x-error-code", "RevisionNotFound")], true),
            HubError::NoRevision { .. }
        ));
        assert!(matches!(refusal(404, &[("x-error-code", "EntryNotFound")], true), HubError::NoFile { .. }));
        assert!(matches!(refusal(403, &[("x-error-message", "no")], true), HubError::Forbidden { .. }));
    }

    #[test]
    fn a_busy_hub_says_how_long() {
        let wait = |headers: &[(&'static str, &str)]| refusal(429, headers, true).retry_after();
        assert_eq!(wait(&[("retry-after", "7")]), Some(Duration::from_secs(7)));
        assert_eq!(wait(&[("ratelimit", "\"resolvers\";r=0;t=55")]), Some(Duration::from_secs(55)));
        assert_eq!(wait(&[]), None);
        assert!(refusal(503, &[], true).is_transient() && !refusal(410, &[], true).is_transient());
    }
}
