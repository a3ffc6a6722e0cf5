//! Entity tags: made of what is stored, so that a client can ask for changes alone
//! (RFC 9110 8.8.3 and 13.1.2).

use http::header::{ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH, IF_RANGE, VARY};
use http::{Response, StatusCode};
use sha2::{Digest, Sha256};

use crate::http::body::{self, Body};
use crate::ids::hex;

/// A strong tag over the versions of what is stored and the form it is given in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Etag(String);

impl Etag {
    pub(super) fn of<'a>(versions: impl IntoIterator<Item = &'a [u8]>, form: &str) -> Self {
        let mut hasher = Sha256::new();
        versions.into_iter().for_each(|version| hasher.update(version));
        hasher.update(form.as_bytes());
        // Another version may write or draw the same otherwise.
        hasher.update(env!("CARGO_PKG_VERSION"));
        Self(format!("\"{}\"", hex(&hasher.finalize()[..16])))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// The same for the same content: answers that differ in nothing have the same boundary.
    pub(super) fn boundary(&self) -> String {
        format!("radiant-{}", self.0.trim_matches('"'))
    }

    /// Whether a range may be cut out of what the client has (RFC 9110 13.1.5).
    pub(super) fn lets_range(&self, headers: &HeaderMap) -> bool {
        headers.get(IF_RANGE).is_none_or(|value| value.as_bytes() == self.0.as_bytes())
    }

    /// The client has this already: 304.
    pub(super) fn not_modified(&self, headers: &HeaderMap) -> Option<Response<Body>> {
        let listed = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
        let mut tags = listed.flat_map(|value| value.split(','));
        let matches = |tag: &str| tag.trim() == "*" || tag.trim().trim_start_matches("W/") == self.0;
        tags.any(matches).then(|| {
            let mut response = Response::new(body::empty());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            self.mark(&mut response);
            response
        })
    }

    pub(super) fn mark(&self, response: &mut Response<Body>) {
        if let Ok(value) = HeaderValue::from_str(&self.0) {
            response.headers_mut().insert(ETAG, value);
        }
        response.headers_mut().append(VARY, HeaderValue::from_static("accept"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_follows_the_content_and_its_form_g19() {
        let tag = Etag::of([&b"a"[..]], "dicom");
        assert_eq!(tag, Etag::of([&b"a"[..]], "dicom"));
        assert_ne!(tag, Etag::of([&b"b"[..]], "dicom"));
        assert_ne!(tag, Etag::of([&b"a"[..]], "json"));
    }

    #[test]
    fn a_known_tag_is_not_sent_again() {
        let tag = Etag::of([&b"a"[..]], "");
        let mut headers = HeaderMap::new();
        assert!(tag.not_modified(&headers).is_none());
        headers.insert(IF_NONE_MATCH, format!("\"x\", W/{}", tag.0).parse().unwrap());
        assert_eq!(tag.not_modified(&headers).unwrap().status(), StatusCode::NOT_MODIFIED);
    }
}
