//! The status page: one static file that reads the REST API, and asks for a name and a password
//! where that wants them.

use std::sync::LazyLock;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::Response;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue};
use sha2::{Digest, Sha256};

use super::body::{self, Body};

const PAGE: &str = include_str!("console.html");

/// The script of the page runs, and no other.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'unsafe-inline'; img-src blob:; \
         connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        BASE64_STANDARD.encode(Sha256::digest(script()))
    )
});

fn script() -> &'static str {
    let script = PAGE.split_once("<script>").and_then(|(_, rest)| rest.split_once("</script>"));
    script.map_or("", |(script, _)| script)
}

pub(crate) fn page() -> Response<Body> {
    let mut response = Response::new(body::full(PAGE));
    for (name, value) in [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CACHE_CONTROL, "no-store"),
        (CONTENT_SECURITY_POLICY, POLICY.as_str()),
    ] {
        say(&mut response, name, value);
    }
    response
}

fn say(response: &mut Response<Body>, name: HeaderName, value: &'static str) {
    response.headers_mut().insert(name, HeaderValue::from_static(value));
}
