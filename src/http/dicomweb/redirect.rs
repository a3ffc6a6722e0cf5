//! 307 to the bucket, for a client that fetches a whole object there itself (`storage.redirect`).
//!
//! Only for who says that he follows, `Prefer: redirect` (RFC 7240), since others would send their token
//! along or not arrive; only for bytes that go out as they lie there; never for a draft.

use http::header::{CACHE_CONTROL, HeaderMap, HeaderName, HeaderValue, LOCATION, VARY};
use http::{Response, StatusCode};

use super::instances::{Wanted, content_type, is_as_stored};
use crate::blobs::BlobKey;
use crate::db::groups;
use crate::http::State;
use crate::http::body::{self, Body};
use crate::http::error::HttpError;
use crate::query::retrieve::StoredInstance;
use crate::telemetry::metrics::bucket as metric;

const PREFER: HeaderName = HeaderName::from_static("prefer");
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");
const REDIRECT: &str = "redirect";

/// `None` where the bytes go out from here.
pub(super) async fn to_bucket(
    state: &State,
    instance: &StoredInstance,
    wanted: &Wanted,
    headers: &HeaderMap,
) -> Result<Option<Response<Body>>, HttpError> {
    if !is_preferred(headers) || !is_as_stored(state, instance, wanted) {
        return Ok(None);
    }
    let key = BlobKey::from_index(&instance.blob_key);
    let stored_as = content_type(instance.transfer_syntax.as_str());
    let Some(address) = state.blobs.address_for_a_moment(&key, &stored_as).await else { return Ok(None) };
    if groups::holds_draft(&state.db, &instance.series).await? {
        return Ok(None);
    }
    metrics::counter!(metric::REDIRECTS).increment(1);
    Ok(Some(redirect(&address).map_err(HttpError::internal("writing an address"))?))
}

fn redirect(address: &str) -> Result<Response<Body>, http::header::InvalidHeaderValue> {
    let mut location = HeaderValue::from_str(address)?;
    location.set_sensitive(true);
    let mut response = Response::new(body::empty());
    *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    let headers = response.headers_mut();
    headers.insert(LOCATION, location);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    headers.insert(PREFERENCE_APPLIED, HeaderValue::from_static(REDIRECT));
    headers.append(VARY, HeaderValue::from_static("accept, prefer"));
    Ok(response)
}

/// Among other preferences; their parameters mean nothing here.
fn is_preferred(headers: &HeaderMap) -> bool {
    let listed = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
    let mut preferences = listed.flat_map(|value| value.split(','));
    preferences.any(|preference| {
        preference.split(';').next().is_some_and(|name| name.trim().eq_ignore_ascii_case(REDIRECT))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preferred(values: &[&'static str]) -> bool {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(PREFER, HeaderValue::from_static(value));
        }
        is_preferred(&headers)
    }

    #[test]
    fn a_redirect_is_for_who_asks_for_it() {
        assert!(preferred(&["redirect"]) && preferred(&["respond-async", "wait=10, Redirect; x=1"]));
        assert!(!preferred(&[]) && !preferred(&["redirects", "return=redirect"]));
    }

    #[test]
    fn an_address_is_not_shown_and_not_kept() {
        let response = redirect("https://store.example/a?sig=b").unwrap();
        assert_eq!(response.headers()[CACHE_CONTROL], "private, no-store");
        assert!(!format!("{response:?}").contains("sig=b"));
    }
}
