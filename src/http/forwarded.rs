//! What a proxy says about the request that it passes on: `Forwarded` (RFC 7239), or the older
//! `X-Forwarded-Proto`, `-Host`, `-Port`, `-Prefix` and `-For`.
//!
//! Anybody can write these headers: whoever asks has made sure that the peer is trusted.

use std::net::{IpAddr, SocketAddr};

use http::header::{FORWARDED, HeaderMap, HeaderName};
use http::uri::Authority;

use super::negotiation::split_unquoted;
use crate::config::Network;

const X_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const X_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");

/// The request as the outermost trusted proxy saw it; what no proxy said is `None`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Forwarded {
    pub(super) client: Option<IpAddr>,
    pub(super) scheme: Option<&'static str>,
    pub(super) authority: Option<Authority>,
    pub(super) port: Option<u16>,
    /// What the proxy has taken off the path, `/pacs`.
    pub(super) prefix: Option<String>,
}

impl Forwarded {
    pub(super) fn of(headers: &HeaderMap, trusted: &[Network]) -> Self {
        let said = match listed(headers, &FORWARDED).as_slice() {
            [] => Self::of_older(headers, trusted),
            elements => Self::of_elements(elements, trusted),
        };
        Self { prefix: last(headers, &X_PREFIX).and_then(|text| prefix(&text)), ..said }
    }

    /// Whether any proxy said how clients name this server.
    pub(super) fn names_the_server(&self) -> bool {
        self.scheme.is_some() || self.authority.is_some() || self.port.is_some() || self.prefix.is_some()
    }

    fn of_elements(elements: &[String], trusted: &[Network]) -> Self {
        let hops: Vec<Self> = elements.iter().map(|element| Self::of_element(element)).collect();
        let clients: Vec<Option<IpAddr>> = hops.iter().map(|hop| hop.client).collect();
        let outermost = outermost(&clients, trusted);
        hops.into_iter().nth(outermost).unwrap_or_default()
    }

    fn of_element(element: &str) -> Self {
        let mut hop = Self::default();
        for (name, value) in split_unquoted(element, ';').filter_map(|pair| pair.split_once('=')) {
            let value = value.trim().trim_matches('"');
            match name.trim().to_ascii_lowercase().as_str() {
                "for" => hop.client = address(value),
                "proto" => hop.scheme = scheme(value),
                "host" => hop.authority = authority(value),
                _ => {}
            }
        }
        hop
    }

    fn of_older(headers: &HeaderMap, trusted: &[Network]) -> Self {
        let clients: Vec<Option<IpAddr>> = listed(headers, &X_FOR).iter().map(|text| address(text)).collect();
        let behind = clients.len().saturating_sub(1).saturating_sub(outermost(&clients, trusted));
        let said = |name| {
            let all = listed(headers, name);
            let at = all.len().checked_sub(1)?.saturating_sub(behind);
            all.into_iter().nth(at)
        };
        Self {
            client: clients.get(outermost(&clients, trusted)).copied().flatten(),
            scheme: said(&X_PROTO).and_then(|text| scheme(&text)),
            authority: said(&X_HOST).and_then(|text| authority(&text)),
            port: said(&X_PORT).and_then(|text| text.parse().ok()),
            prefix: None,
        }
    }
}

/// Each proxy appends whom it was called by. From the right, one goes on as long as that is a
/// trusted proxy too: what stands further left, clients may have written themselves.
fn outermost(clients: &[Option<IpAddr>], trusted: &[Network]) -> usize {
    let is_trusted = |client: &&Option<IpAddr>| client.is_some_and(|address| contains(trusted, address));
    let proxies = clients.iter().rev().take_while(is_trusted).count();
    clients.len().saturating_sub(1).saturating_sub(proxies)
}

pub(super) fn contains(networks: &[Network], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(address))
}

/// The elements of a list header, of all its lines.
fn listed(headers: &HeaderMap, name: &HeaderName) -> Vec<String> {
    let lines: Vec<&str> = headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
    let text = lines.join(",");
    let elements = split_unquoted(&text, ',').map(|element| element.trim().to_owned());
    elements.filter(|element| !element.is_empty()).collect()
}

fn last(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    listed(headers, name).pop()
}

/// `192.0.2.1`, `192.0.2.1:80`, `[2001:db8::1]`, `[2001:db8::1]:80`; nothing for `unknown` and `_name`.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim().trim_matches('"');
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let with_port = || text.parse().ok().map(|address: SocketAddr| address.ip());
    bare.parse().ok().or_else(with_port).map(|address: IpAddr| address.to_canonical())
}

fn scheme(text: &str) -> Option<&'static str> {
    ["http", "https"].into_iter().find(|scheme| text.eq_ignore_ascii_case(scheme))
}

/// Names, addresses and ports only: no user information and nothing that could end a string.
pub(super) fn authority(text: &str) -> Option<Authority> {
    let is_plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b".-:[]_".contains(&b));
    text.parse().ok().filter(|_| is_plain)
}

/// A path without anything that could end a string or climb.
fn prefix(text: &str) -> Option<String> {
    let path = text.trim_end_matches('/');
    let is_plain = path.bytes().all(|b| b.is_ascii_alphanumeric() || b"/.-_~".contains(&b));
    let is_path = path.starts_with('/') && !path.contains("//") && !path.contains("..");
    (is_plain && is_path).then(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(lines: &[(&'static str, &str)]) -> Forwarded {
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        Forwarded::of(&headers, &trusted)
    }

    #[track_caller]
    fn check(lines: &[(&'static str, &str)], scheme: Option<&str>, host: Option<&str>) {
        let said = said(lines);
        assert_eq!(
            (said.scheme, said.authority.as_ref().map(Authority::as_str)),
            (scheme, host),
            "{lines:?}"
        );
    }

    #[test]
    fn the_standard_header_is_read_with_its_quotes() {
        let line = r#"for="[2001:db8::1]:4711";Proto=HTTPS;host="pacs.example.org:8443""#;
        check(&[("forwarded", line)], Some("https"), Some("pacs.example.org:8443"));
        assert_eq!(said(&[("forwarded", line)]).client, "2001:db8::1".parse().ok());
    }

    #[test]
    fn a_chain_is_followed_through_trusted_proxies_only() {
        let through_one = "for=203.0.113.7;proto=https;host=a, for=10.0.0.2;proto=http;host=b";
        check(&[("forwarded", through_one)], Some("https"), Some("a"));
        let invented = "for=1.1.1.1;proto=https;host=evil, for=203.0.113.7;proto=http;host=b";
        check(&[("forwarded", invented)], Some("http"), Some("b"));
    }

    #[test]
    fn the_older_headers_are_read_at_the_same_hop() {
        let host = ("x-forwarded-host", "evil, a, b");
        check(&[("x-forwarded-for", "9.9.9.9, 203.0.113.7, 10.0.0.2"), host], None, Some("a"));
        check(&[("x-forwarded-for", "203.0.113.7"), host], None, Some("b"));
        check(&[("x-forwarded-proto", "https"), ("x-forwarded-host", "a")], Some("https"), Some("a"));
    }

    #[test]
    fn what_could_break_a_url_is_not_taken() {
        check(&[("x-forwarded-host", "a\"b"), ("x-forwarded-proto", "javascript")], None, None);
        for bad in ["x", "//evil", "/a/../b", "/a\"", "/a?b"] {
            assert_eq!(said(&[("x-forwarded-prefix", bad)]).prefix, None, "{bad}");
        }
        assert_eq!(said(&[("x-forwarded-prefix", "/pacs/a/")]).prefix.as_deref(), Some("/pacs/a"));
    }
}
