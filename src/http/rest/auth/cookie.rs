//! The refresh token as a cookie: for browsers, which keep it out of the reach of scripts.

use std::time::Duration;

use http::Response;
use http::header::{COOKIE, HeaderMap, HeaderName, HeaderValue, SET_COOKIE};

use crate::auth::{Denied, Secret};
use crate::http::body::Body;
use crate::http::error::HttpError;
use crate::http::urls::Urls;

#[derive(Clone, Copy)]
struct Cookie {
    name: &'static str,
    /// Sent with requests below this path of the API alone.
    below: &'static str,
    same_site: &'static str,
}

const REFRESH: Cookie = Cookie { name: "radiant-refresh", below: "auth/refresh", same_site: "Strict" };
/// Lax: it comes with a link of the provider.
const BROWSER: Cookie = Cookie { name: "radiant-log-in", below: "auth/oidc", same_site: "Lax" };
/// A form of another site cannot send it, and a script of one is asked for its origin first.
const GUARD: HeaderName = HeaderName::from_static("x-requested-with");

pub(super) fn refresh_token(headers: &HeaderMap) -> Result<Secret, HttpError> {
    let token = value(headers, REFRESH.name).ok_or(Denied::Token)?;
    match headers.contains_key(GUARD) {
        true => Ok(token),
        false => Err(HttpError::Forbidden("a cookie is taken only with the header X-Requested-With")),
    }
}

pub(super) fn set(response: &mut Response<Body>, urls: &Urls, token: &Secret, lifetime: Duration) {
    write(response, REFRESH, urls, token.reveal(), lifetime);
}

pub(super) fn clear(response: &mut Response<Body>, urls: &Urls) {
    write(response, REFRESH, urls, "", Duration::ZERO);
}

/// Which browser has begun a log-in at the provider.
pub(super) fn browser(headers: &HeaderMap) -> Option<Secret> {
    value(headers, BROWSER.name)
}

pub(super) fn set_browser(response: &mut Response<Body>, urls: &Urls, secret: &Secret, lifetime: Duration) {
    write(response, BROWSER, urls, secret.reveal(), lifetime);
}

pub(super) fn clear_browser(response: &mut Response<Body>, urls: &Urls) {
    write(response, BROWSER, urls, "", Duration::ZERO);
}

fn value(headers: &HeaderMap, wanted: &str) -> Option<Secret> {
    let lines = headers.get_all(COOKIE).into_iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == wanted).map(|(_, value)| Secret::new(value))
}

fn write(response: &mut Response<Body>, cookie: Cookie, urls: &Urls, value: &str, lifetime: Duration) {
    let Cookie { name, below, same_site } = cookie;
    let (path, max_age_s) = (path(&urls.rest(below), below), lifetime.as_secs());
    let cookie =
        format!("{name}={value}; Path={path}; Max-Age={max_age_s}; HttpOnly; Secure; SameSite={same_site}");
    if let Ok(mut cookie) = HeaderValue::from_str(&cookie) {
        cookie.set_sensitive(true);
        response.headers_mut().append(SET_COOKIE, cookie);
    }
}

/// As the browser sees it, a prefix of a proxy among it; where that is not known, as it is here.
fn path(url: &str, below: &str) -> String {
    let behind_scheme = url.split_once("://").and_then(|(_, rest)| rest.split_once('/'));
    behind_scheme.map_or_else(|| format!("/api/v1/{below}"), |(_, path)| format!("/{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn a_cookie_goes_back_to_one_path_and_to_no_script() {
        let mut response = Response::new(crate::http::body::empty());
        let urls = Urls::at("https://pacs.example.org/radiant");
        set(&mut response, &urls, &Secret::new("abc"), Duration::from_secs(60));
        let cookie = &response.headers()[SET_COOKIE];
        assert_eq!(
            cookie,
            "radiant-refresh=abc; Path=/radiant/api/v1/auth/refresh; Max-Age=60; HttpOnly; Secure; SameSite=Strict"
        );
        assert!(!format!("{cookie:?}").contains("abc"));
    }

    #[test]
    fn a_cookie_needs_a_header_that_no_form_can_send() {
        let cookie = ("cookie", "a=b; radiant-refresh=abc");
        let guarded = headers(&[cookie, ("x-requested-with", "page")]);
        assert_eq!(refresh_token(&guarded).unwrap().reveal(), "abc");
        assert!(matches!(refresh_token(&headers(&[cookie])), Err(HttpError::Forbidden(_))));
        let without = refresh_token(&headers(&[("cookie", "a=b")]));
        assert!(matches!(without, Err(HttpError::Unauthorized(Denied::Token))));
    }
}
