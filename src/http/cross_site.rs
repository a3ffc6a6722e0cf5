//! Requests that a page of another site has a browser make (CSRF). Tokens and keys travel in
//! headers that such a page cannot set; basic authentication and cookies are added by the browser
//! itself, and where access control is off there is nothing to add.

use std::net::IpAddr;

use http::header::{HOST, HeaderMap, HeaderName, ORIGIN};
use http::{Method, Uri};

use super::error::HttpError;
use super::{Settings, urls};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Whether a request that changes something comes from a page that may: of our own origin, or of
/// one that the configuration names. What no browser sends names no origin.
pub(super) fn check(
    settings: &Settings,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<(), HttpError> {
    if method.is_safe() || settings.cors.allows(headers) || is_own(settings, uri, headers) {
        return Ok(());
    }
    Err(HttpError::Forbidden("a page of another origin may not do this"))
}

fn is_own(settings: &Settings, uri: &Uri, headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    match (text(SEC_FETCH_SITE), text(ORIGIN)) {
        (Some(site), _) => site == "same-origin" || site == "none",
        (None, Some(origin)) => {
            let asked = uri.authority().map(|authority| authority.as_str()).or_else(|| text(HOST));
            let ours = settings.naming.public_base.as_deref();
            origin.split_once("://").is_some_and(|(_, host)| asked == Some(host))
                || ours.is_some_and(|base| is_root_of(origin, base))
        }
        (None, None) => !headers.contains_key(ORIGIN),
    }
}

/// Where access control is off, whether a request names this server as its own user would. A page whose
/// name its owner has pointed at this machine (DNS rebinding) is of our origin to a browser, and asks for
/// everything: it is known by its name, which has a dot. Names without one are nobody's to point.
pub(super) fn check_host(settings: &Settings, uri: &Uri, headers: &HeaderMap) -> Result<(), HttpError> {
    let Some(asked) = urls::asked_authority(headers, uri) else { return Ok(()) };
    let host = asked.host().trim_end_matches('.');
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let is_local = bare.parse::<IpAddr>().is_ok() || !host.contains('.') || host.ends_with(".localhost");
    match is_local || is_public(settings, host) {
        true => Ok(()),
        false => {
            Err(HttpError::Forbidden("without access control only names of this machine may be asked for"))
        }
    }
}

fn is_public(settings: &Settings, host: &str) -> bool {
    let base = settings.naming.public_base.as_deref().and_then(|base| base.parse::<Uri>().ok());
    base.is_some_and(|base| base.host().is_some_and(|public| public.eq_ignore_ascii_case(host)))
}

fn is_root_of(origin: &str, base: &str) -> bool {
    base.strip_prefix(origin).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::super::urls::Naming;
    use super::*;
    use crate::http::Cors;

    fn settings() -> Settings {
        Settings {
            naming: Naming {
                public_base: Some("https://pacs.example.org/radiant".to_owned()),
                ..Naming::default()
            },
            cors: Cors { origins: vec!["https://viewer.example.org".to_owned()], ..Cors::default() },
            ..Settings::default()
        }
    }

    #[track_caller]
    fn check_from(lines: &[(&'static str, &str)], allowed: bool) {
        let settings = settings();
        let lines = lines.iter().chain(&[("host", "127.0.0.1:8080")]);
        let headers = lines.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        let uri = Uri::from_static("/api/v1/x");
        assert_eq!(
            check(&settings, &Method::POST, &uri, &headers).is_ok(),
            allowed,
            "{lines:?}",
            lines = headers
        );
        assert!(check(&settings, &Method::GET, &uri, &headers).is_ok());
    }

    #[test]
    fn pages_of_other_origins_change_nothing() {
        check_from(&[("origin", "https://evil.example")], false);
        check_from(&[("origin", "null")], false);
        check_from(&[("sec-fetch-site", "cross-site")], false);
        check_from(&[("sec-fetch-site", "same-site"), ("origin", "http://127.0.0.1:9")], false);
        check_from(&[("origin", "https://pacs.example.org.evil.example")], false);
    }

    #[track_caller]
    fn check_named(host: &str, allowed: bool) {
        let headers = [("host", host)].map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        let asked =
            check_host(&settings(), &Uri::from_static("/api/v1/studies"), &headers.into_iter().collect());
        assert_eq!(asked.is_ok(), allowed, "{host}");
    }

    #[test]
    fn a_name_that_others_can_point_here_is_refused_without_access_control() {
        for host in [
            "evil.example:8080",
            "127.0.0.1.evil.example",
            "localhost.evil.example.",
            "pacs.example.org.evil",
        ] {
            check_named(host, false);
        }
    }

    #[test]
    fn addresses_names_of_this_machine_and_the_public_base_are_asked_for_without_access_control() {
        for host in
            ["127.0.0.1:8080", "[::1]:8080", "localhost", "radiant:80", "ohif.localhost", "PACS.example.org"]
        {
            check_named(host, true);
        }
    }

    #[test]
    fn our_own_pages_named_viewers_and_programs_may() {
        check_from(&[], true);
        check_from(&[("sec-fetch-site", "same-origin"), ("origin", "http://127.0.0.1:8080")], true);
        check_from(&[("origin", "http://127.0.0.1:8080")], true);
        check_from(&[("origin", "https://pacs.example.org")], true);
        check_from(&[("sec-fetch-site", "cross-site"), ("origin", "https://viewer.example.org")], true);
    }
}
