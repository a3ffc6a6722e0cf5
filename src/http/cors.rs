//! Cross-origin requests of browsers (Fetch 3.2): viewers are often served from another origin.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderValue, ORIGIN, VARY,
};
use http::{Response, StatusCode};

use super::body::{self, Body};

/// What scripts may read beside the headers that they always may.
const EXPOSED: &str = "Accept-Ranges, Allow, Content-Disposition, Content-Encoding, Content-Location, Content-Range, \
    ETag, Idempotency-Replayed, Link, Location, RateLimit, RateLimit-Policy, Retry-After, Tus-Checksum-Algorithm, Tus-Extension, Tus-Max-Size, \
    Tus-Resumable, Tus-Version, Upload-Expires, Upload-Length, Upload-Metadata, Upload-Offset, WWW-Authenticate, \
    Warning, X-Request-Id";

/// Which origins may read answers.
#[derive(Debug, Clone, Default)]
pub struct Cors {
    /// `https://viewer.example.org`; `*` is any.
    pub origins: Vec<String>,
    pub max_age_s: u64,
    /// A browser may add what it authenticates with itself; the configuration refuses this with `*`.
    pub credentials: bool,
}

impl Cors {
    /// Whether a browser asks first, from an origin that may.
    pub(super) fn preflight(&self, headers: &HeaderMap, allow: &str) -> Option<Response<Body>> {
        let origin = self.allowed(headers)?;
        headers.get(ACCESS_CONTROL_REQUEST_METHOD)?;
        let mut response = Response::new(body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let answered = response.headers_mut();
        answered.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        self.mark_credentials(answered);
        answered.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_str(allow).ok()?);
        answered.insert(ACCESS_CONTROL_MAX_AGE, self.max_age_s.into());
        if let Some(wanted) = headers.get(ACCESS_CONTROL_REQUEST_HEADERS) {
            answered.insert(ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
        }
        answered.append(VARY, HeaderValue::from_static("origin"));
        Some(response)
    }

    /// Lets the origin of the request read the answer.
    pub(super) fn mark(&self, asked: Option<&HeaderValue>, response: &mut Response<Body>) {
        if self.origins.is_empty() {
            return;
        }
        let headers = response.headers_mut();
        headers.append(VARY, HeaderValue::from_static("origin"));
        if let Some(origin) = asked.and_then(|origin| self.answer_to(origin)) {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            self.mark_credentials(headers);
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
        }
    }

    /// Whether the request comes from a page of one of the origins.
    pub(super) fn allows(&self, headers: &HeaderMap) -> bool {
        self.allowed(headers).is_some()
    }

    fn mark_credentials(&self, headers: &mut HeaderMap) {
        if self.credentials {
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
    }

    fn allowed(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        self.answer_to(headers.get(ORIGIN)?)
    }

    fn answer_to(&self, origin: &HeaderValue) -> Option<HeaderValue> {
        let is_known = self.origins.iter().any(|known| known == "*" || known.as_bytes() == origin.as_bytes());
        is_known.then(|| origin.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cors() -> Cors {
        Cors { origins: vec!["https://viewer.example.org".to_owned()], max_age_s: 600, credentials: false }
    }

    fn asking(origin: &'static str) -> HeaderMap {
        HeaderMap::from_iter([
            (ORIGIN, HeaderValue::from_static(origin)),
            (ACCESS_CONTROL_REQUEST_METHOD, HeaderValue::from_static("GET")),
            (ACCESS_CONTROL_REQUEST_HEADERS, HeaderValue::from_static("accept, range")),
        ])
    }

    #[test]
    fn a_known_origin_may_and_is_not_asked_again_soon() {
        let answer = cors().preflight(&asking("https://viewer.example.org"), "GET, HEAD").unwrap();
        assert_eq!(answer.status(), StatusCode::NO_CONTENT);
        assert_eq!(answer.headers()[ACCESS_CONTROL_ALLOW_ORIGIN], "https://viewer.example.org");
        assert_eq!(answer.headers()[ACCESS_CONTROL_ALLOW_METHODS], "GET, HEAD");
        assert_eq!(answer.headers()[ACCESS_CONTROL_ALLOW_HEADERS], "accept, range");
        assert_eq!(answer.headers()[ACCESS_CONTROL_MAX_AGE], "600");
    }

    #[test]
    fn scripts_read_what_tells_a_repeated_answer_and_names_a_file() {
        let mut response = Response::new(body::empty());
        cors().mark(Some(&HeaderValue::from_static("https://viewer.example.org")), &mut response);
        let exposed = response.headers()[ACCESS_CONTROL_EXPOSE_HEADERS].to_str().unwrap();
        let named = |name: &str| exposed.split(", ").any(|one| one.eq_ignore_ascii_case(name));
        assert!(named("idempotency-replayed") && named("content-disposition") && named("retry-after"));
    }

    #[test]
    fn an_unknown_origin_is_told_nothing() {
        assert!(cors().preflight(&asking("https://evil.example"), "GET").is_none());
        let mut response = Response::new(body::empty());
        cors().mark(Some(&HeaderValue::from_static("https://evil.example")), &mut response);
        assert!(response.headers().get(ACCESS_CONTROL_ALLOW_ORIGIN).is_none());
    }
}
