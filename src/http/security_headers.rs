//! What browsers are told about every answer, so that stored bytes and pages do no more than they
//! are for: Content Security Policy, framing, the origin of who may read, HTTPS.

use http::Response;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue,
    REFERRER_POLICY, STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};

const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");

/// Of a page: scripts that we deliver, and nothing of any other origin. Swagger UI writes style
/// attributes and pictures as data.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
    img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; form-action 'self'; \
    base-uri 'none'; frame-ancestors 'none'";
/// Of everything else a browser may show: it loads nothing and runs nothing.
const DATA_POLICY: &str = "default-src 'none'; frame-ancestors 'self'";
/// Viewers of PDF are pages of the browser's own, which the policy of the document would bind.
const PDF_POLICY: &str = "frame-ancestors 'self'";

/// What pages of ours have no use for.
const FEATURES: &str = "camera=(), geolocation=(), microphone=(), payment=(), usb=()";

/// How the answers of a server are to be taken.
#[derive(Debug, Clone, Copy)]
pub(super) struct Marking {
    /// Pages of other origins show what is here.
    pub(super) is_shared: bool,
    /// Seconds; 0 says nothing.
    pub(super) hsts_max_age_s: u64,
}

impl Marking {
    /// What a handler has said itself stays.
    pub(super) fn mark<B>(self, response: &mut Response<B>) {
        let kind = Kind::of(response.headers());
        let headers = response.headers_mut();
        let resource_policy = if self.is_shared { "cross-origin" } else { "same-origin" };
        for (name, value) in [
            // Stored bytes are what their media type says, never what a browser makes of them.
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (REFERRER_POLICY, "no-referrer"),
            (RESOURCE_POLICY, resource_policy),
            (CONTENT_SECURITY_POLICY, kind.policy()),
        ] {
            say(headers, name, value);
        }
        if kind == Kind::Page {
            say(headers, X_FRAME_OPTIONS, "DENY");
            say(headers, OPENER_POLICY, "same-origin");
            say(headers, PERMISSIONS_POLICY, FEATURES);
        }
        if !headers.contains_key(CACHE_CONTROL) {
            // What has an entity tag may be kept by its reader, who asks each time.
            let caching = if headers.contains_key(ETAG) { "private, no-cache" } else { "no-store" };
            say(headers, CACHE_CONTROL, caching);
        }
        if self.hsts_max_age_s > 0 {
            say(headers, STRICT_TRANSPORT_SECURITY, &format!("max-age={}", self.hsts_max_age_s));
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Page,
    Pdf,
    Data,
}

impl Kind {
    fn of(headers: &HeaderMap) -> Self {
        match headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes) {
            Some(kind) if kind.starts_with(b"text/html") => Self::Page,
            Some(kind) if kind.starts_with(b"application/pdf") => Self::Pdf,
            _ => Self::Data,
        }
    }

    fn policy(self) -> &'static str {
        match self {
            Self::Page => PAGE_POLICY,
            Self::Pdf => PDF_POLICY,
            Self::Data => DATA_POLICY,
        }
    }
}

fn say(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let (false, Ok(value)) = (headers.contains_key(&name), HeaderValue::from_str(value)) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: Marking = Marking { is_shared: false, hsts_max_age_s: 0 };

    fn marked(marking: Marking, said: &[(HeaderName, &str)]) -> HeaderMap {
        let mut response = Response::new(());
        for (name, value) in said {
            response.headers_mut().insert(name, value.parse().unwrap());
        }
        marking.mark(&mut response);
        response.into_parts().0.headers
    }

    #[test]
    fn a_page_runs_nothing_that_we_have_not_delivered() {
        let headers = marked(OURS, &[(CONTENT_TYPE, "text/html; charset=utf-8")]);
        let policy = headers[CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.contains("script-src 'self';") && policy.contains("frame-ancestors 'none'"));
        assert_eq!(
            (&headers[X_FRAME_OPTIONS], &headers[OPENER_POLICY]),
            (&"DENY".parse().unwrap(), &"same-origin".parse().unwrap())
        );
    }

    #[test]
    fn data_run_nothing_and_are_not_kept_by_caches() {
        let headers = marked(OURS, &[(CONTENT_TYPE, "application/json")]);
        assert_eq!(headers[CONTENT_SECURITY_POLICY], DATA_POLICY);
        assert_eq!(headers[CACHE_CONTROL], "no-store");
        assert_eq!(headers[RESOURCE_POLICY], "same-origin");
        assert!(!headers.contains_key(STRICT_TRANSPORT_SECURITY));
    }

    #[test]
    fn what_a_handler_says_stays() {
        let headers = marked(OURS, &[(CACHE_CONTROL, "public"), (CONTENT_SECURITY_POLICY, "sandbox")]);
        assert_eq!(
            (&headers[CACHE_CONTROL], &headers[CONTENT_SECURITY_POLICY]),
            (&"public".parse().unwrap(), &"sandbox".parse().unwrap())
        );
    }

    #[test]
    fn viewers_of_other_origins_may_show_pictures_where_there_are_any() {
        let headers = marked(Marking { is_shared: true, hsts_max_age_s: 60 }, &[(ETAG, "\"1\"")]);
        assert_eq!(headers[RESOURCE_POLICY], "cross-origin");
        assert_eq!(headers[STRICT_TRANSPORT_SECURITY], "max-age=60");
        assert_eq!(headers[CACHE_CONTROL], "private, no-cache");
    }
}
