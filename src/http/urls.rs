//! Absolute URLs of our own resources.
//!
//! Clients dereference BulkDataURI and RetrieveURL as they are, so these must be absolute and
//! right also for a client that leaves the port out of `Host`.

use std::net::SocketAddr;

use http::HeaderMap;
use http::header::HOST;
use http::uri::{Authority, Uri};

use crate::dicom::uid::{SeriesUid, SopInstanceUid, StudyUid};
use crate::query::Scope;
use crate::query::retrieve::StoredInstance;

/// Scheme and authority in front of every path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Urls {
    base: String,
}

impl Urls {
    /// The configured base, or the host that the request names with our own port where it names
    /// none, or our own address.
    pub(crate) fn of(configured: Option<&str>, headers: &HeaderMap, uri: &Uri, listener: SocketAddr) -> Self {
        let base = match configured {
            Some(base) => base.trim_end_matches('/').to_owned(),
            None => format!("http://{}", requested_authority(headers, uri, listener)),
        };
        Self { base }
    }

    pub(crate) fn study(&self, study: &StudyUid) -> String {
        format!("{}/dicom-web/studies/{study}", self.base)
    }

    pub(crate) fn series(&self, study: &StudyUid, series: &SeriesUid) -> String {
        format!("{}/series/{series}", self.study(study))
    }

    pub(crate) fn instance(&self, study: &StudyUid, series: &SeriesUid, instance: &SopInstanceUid) -> String {
        format!("{}/instances/{instance}", self.series(study, series))
    }

    pub(crate) fn of_instance(&self, instance: &StoredInstance) -> String {
        self.instance(&instance.study, &instance.series, &instance.sop_instance)
    }

    pub(crate) fn of_scope(&self, scope: &Scope) -> String {
        match scope {
            Scope::Study(study) => self.study(study),
            Scope::Series(study, series) => self.series(study, series),
            Scope::Instance(study, series, instance) => self.instance(study, series, instance),
        }
    }

    /// A path of the REST API.
    pub(crate) fn rest(&self, path: &str) -> String {
        format!("{}/api/v1/{path}", self.base)
    }
}

fn requested_authority(headers: &HeaderMap, uri: &Uri, listener: SocketAddr) -> String {
    let header = headers.get(HOST).and_then(|host| host.to_str().ok()).and_then(|host| host.parse().ok());
    let asked: Option<Authority> = uri.authority().cloned().or(header);
    match asked.filter(|authority| is_plain(authority.as_str())) {
        Some(authority) if authority.port().is_some() => authority.to_string(),
        Some(authority) => format!("{}:{}", authority.host(), listener.port()),
        None => listener.to_string(),
    }
}

/// Names, addresses and ports only: no user information and nothing that could end a string.
fn is_plain(authority: &str) -> bool {
    authority.bytes().all(|b| b.is_ascii_alphanumeric() || b".-:[]_".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(configured: Option<&str>, host: &str, expected: &str) {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, host.parse().unwrap());
        let listener = "127.0.0.1:8080".parse().unwrap();
        let urls = Urls::of(configured, &headers, &Uri::from_static("/"), listener);
        assert_eq!(urls.rest("x"), format!("{expected}/api/v1/x"));
    }

    #[test]
    fn the_configured_base_wins() {
        check(Some("https://pacs.example.org/"), "127.0.0.1", "https://pacs.example.org");
    }

    #[test]
    fn a_host_without_port_gets_ours() {
        check(None, "127.0.0.1", "http://127.0.0.1:8080");
        check(None, "localhost:9000", "http://localhost:9000");
        check(None, "[::1]", "http://[::1]:8080");
    }

    #[test]
    fn a_host_that_is_none_is_not_repeated() {
        check(None, "user@evil", "http://127.0.0.1:8080");
        check(None, "a\"b", "http://127.0.0.1:8080");
    }
}
