//! URLs of our own resources, right by construction.
//!
//! Clients dereference BulkDataURI and RetrieveURL as they are. The configured base wins; then
//! what a trusted proxy says; then `Host`. Where `Host` cannot be the whole truth (it has no port
//! and this is not port 80: some clients leave the port out, some proxies are not trusted) the
//! URL is our own address, or relative to the request, but never a guess.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use http::header::HOST;
use http::uri::{Authority, Uri};

use super::forwarded::{self, Forwarded};
use crate::config::{Network, UrlForm};
use crate::dicom::uid::{SeriesUid, SopInstanceUid, StudyUid};
use crate::query::Scope;
use crate::query::retrieve::StoredInstance;

/// How clients reach this server, from the configuration.
#[derive(Debug, Clone, Default)]
pub struct Naming {
    /// `https://pacs.example.org/radiant`
    pub public_base: Option<String>,
    pub form: UrlForm,
    pub trusted_proxies: Vec<Network>,
}

/// The two ends of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ends {
    pub(crate) local: SocketAddr,
    pub(crate) peer: SocketAddr,
    /// Over TLS, which ends here.
    pub(crate) is_secure: bool,
}

/// What stands in front of every path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Urls {
    base: String,
}

impl Urls {
    pub(crate) fn of(naming: &Naming, ends: Ends, headers: &HeaderMap, uri: &Uri) -> Self {
        let base = match (naming.form, &naming.public_base) {
            (UrlForm::Relative, _) => None,
            (UrlForm::Absolute, Some(base)) => Some(base.trim_end_matches('/').to_owned()),
            (UrlForm::Absolute, None) => {
                let forwarded = forwarded(naming, ends, headers).filter(Forwarded::names_the_server);
                match forwarded {
                    Some(said) => proxied(&said, headers, uri),
                    None => direct(ends, headers, uri),
                }
            }
        };
        Self { base: base.unwrap_or_else(|| up_to_root(uri.path())) }
    }

    /// Behind a base that is known.
    #[cfg(test)]
    pub(crate) fn at(base: &str) -> Self {
        Self { base: base.to_owned() }
    }

    /// The root of the DICOMweb service.
    pub(crate) fn dicomweb(&self) -> String {
        format!("{}/dicom-web", self.base)
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
            Scope::Study(study) | Scope::Released(study) => self.study(study),
            Scope::Series(study, series) => self.series(study, series),
            Scope::Instance(study, series, instance) => self.instance(study, series, instance),
        }
    }

    /// A page that shows the REST API.
    pub(crate) fn docs(&self, file: &str) -> String {
        format!("{}/api/docs/{file}", self.base)
    }

    /// A path of the REST API.
    pub(crate) fn rest(&self, path: &str) -> String {
        format!("{}/api/v1/{path}", self.base)
    }
}

/// Who asks: the peer, or whom a trusted proxy asks for.
pub(crate) fn client(naming: &Naming, ends: Ends, headers: &HeaderMap) -> IpAddr {
    let said = forwarded(naming, ends, headers).and_then(|said| said.client);
    said.unwrap_or_else(|| ends.peer.ip().to_canonical())
}

/// Whether nobody between the client and us reads along, as far as it is known: TLS that ends here
/// or at a trusted proxy, or no network at all.
pub(crate) fn is_private(naming: &Naming, ends: Ends, headers: &HeaderMap) -> bool {
    match forwarded(naming, ends, headers) {
        Some(said) => said.scheme == Some("https"),
        None => ends.is_secure || ends.peer.ip().to_canonical().is_loopback(),
    }
}

/// Whether the peer is a proxy whose word counts.
pub(crate) fn is_trusted(naming: &Naming, ends: Ends) -> bool {
    forwarded::contains(&naming.trusted_proxies, ends.peer.ip())
}

fn forwarded(naming: &Naming, ends: Ends, headers: &HeaderMap) -> Option<Forwarded> {
    is_trusted(naming, ends).then(|| Forwarded::of(headers, &naming.trusted_proxies))
}

/// A port that nobody names is that of the scheme: the proxy's word is whole.
fn proxied(said: &Forwarded, headers: &HeaderMap, uri: &Uri) -> Option<String> {
    let scheme = said.scheme.unwrap_or("http");
    let authority = said.authority.clone().or_else(|| asked_authority(headers, uri))?;
    let default = if scheme == "https" { 443 } else { 80 };
    let authority = match (authority.port(), said.port) {
        (None, Some(port)) if port != default => format!("{}:{port}", authority.host()),
        _ => authority.to_string(),
    };
    Some(format!("{scheme}://{authority}{}", said.prefix.as_deref().unwrap_or("")))
}

/// `None` where no absolute URL is certain.
fn direct(ends: Ends, headers: &HeaderMap, uri: &Uri) -> Option<String> {
    let Ends { local, is_secure, .. } = ends;
    let (scheme, default) = if is_secure { ("https", 443) } else { ("http", 80) };
    let authority = match asked_authority(headers, uri) {
        None => local.to_string(),
        Some(authority) if authority.port().is_some() || local.port() == default => authority.to_string(),
        Some(authority) if names(authority.host(), local.ip()) => {
            format!("{}:{}", authority.host(), local.port())
        }
        Some(_) => return None,
    };
    Some(format!("{scheme}://{authority}"))
}

pub(super) fn asked_authority(headers: &HeaderMap, uri: &Uri) -> Option<Authority> {
    let header = || headers.get(HOST).and_then(|host| host.to_str().ok());
    forwarded::authority(uri.authority().map(Authority::as_str).or_else(header)?)
}

/// Whether a host is certainly our own end of the connection.
fn names(host: &str, local: IpAddr) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let is_own = bare.parse().is_ok_and(|address: IpAddr| address == local.to_canonical());
    is_own || (host == "localhost" && local.is_loopback())
}

/// From the path of the request back to the root (RFC 3986 5.2): right behind every proxy, also
/// one that has taken off a prefix.
fn up_to_root(path: &str) -> String {
    let folders = path.bytes().filter(|&b| b == b'/').count().saturating_sub(1);
    if folders == 0 { ".".to_owned() } else { vec![".."; folders].join("/") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends() -> Ends {
        Ends {
            local: "127.0.0.1:8080".parse().unwrap(),
            peer: "127.0.0.1:50000".parse().unwrap(),
            is_secure: false,
        }
    }

    fn behind(proxies: &[&str]) -> Naming {
        let trusted_proxies = proxies.iter().map(|network| network.parse().unwrap()).collect();
        Naming { trusted_proxies, ..Naming::default() }
    }

    #[track_caller]
    fn check(naming: &Naming, lines: &[(&'static str, &str)], expected: &str) {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.insert(*name, value.parse().unwrap());
        }
        let uri = Uri::from_static("/dicom-web/studies/1.2/metadata");
        let urls = Urls::of(naming, ends(), &headers, &uri);
        assert_eq!(urls.rest("x"), format!("{expected}/api/v1/x"), "{lines:?}");
    }

    #[test]
    fn the_configured_base_wins_q36() {
        let base = Some("https://pacs.example.org/radiant/".to_owned());
        let naming = Naming { public_base: base, ..behind(&["127.0.0.1"]) };
        check(&naming, &[("host", "a"), ("x-forwarded-host", "b")], "https://pacs.example.org/radiant");
    }

    #[test]
    fn a_host_without_port_is_never_guessed_at_q36() {
        check(&Naming::default(), &[("host", "127.0.0.1")], "http://127.0.0.1:8080");
        check(&Naming::default(), &[("host", "localhost")], "http://localhost:8080");
        check(&Naming::default(), &[("host", "localhost:9000")], "http://localhost:9000");
        check(&Naming::default(), &[("host", "pacs.example.org")], "../../..");
        check(&Naming::default(), &[], "http://127.0.0.1:8080");
    }

    #[test]
    fn a_host_that_is_none_is_not_repeated() {
        check(&Naming::default(), &[("host", "user@evil")], "http://127.0.0.1:8080");
        check(&Naming::default(), &[("host", "a\"b")], "http://127.0.0.1:8080");
    }

    #[test]
    fn a_proxy_is_believed_only_where_it_is_trusted_q36() {
        let lines =
            [("host", "a:1"), ("x-forwarded-proto", "https"), ("x-forwarded-host", "pacs.example.org")];
        check(&behind(&["127.0.0.0/8"]), &lines, "https://pacs.example.org");
        check(&behind(&["10.0.0.0/8"]), &lines, "http://a:1");
        check(&Naming::default(), &lines, "http://a:1");
    }

    #[test]
    fn a_trusted_proxy_names_port_and_prefix_q36() {
        let naming = behind(&["127.0.0.1"]);
        let host = ("host", "pacs.example.org");
        let port = ("x-forwarded-port", "8443");
        check(&naming, &[host, ("x-forwarded-proto", "https"), port], "https://pacs.example.org:8443");
        check(&naming, &[host, ("x-forwarded-prefix", "/pacs")], "http://pacs.example.org/pacs");
        check(&naming, &[("forwarded", "for=1.1.1.1;proto=https;host=h")], "https://h");
        check(&naming, &[("host", "127.0.0.1")], "http://127.0.0.1:8080");
    }

    #[test]
    fn relative_urls_lead_back_to_the_root() {
        let naming = Naming { form: UrlForm::Relative, ..Naming::default() };
        check(&naming, &[("host", "a:1")], "../../..");
        assert_eq!(up_to_root("/dicom-web/studies"), "..");
        assert_eq!(up_to_root("/x"), ".");
    }

    #[test]
    fn the_client_is_whom_a_trusted_proxy_asks_for() {
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-for", "203.0.113.7".parse().unwrap());
        let asks = |naming: &Naming| client(naming, ends(), &headers).to_string();
        assert_eq!(
            (asks(&behind(&["127.0.0.1"])), asks(&Naming::default())),
            ("203.0.113.7".into(), "127.0.0.1".into())
        );
    }
}
