//! Entity tags of what can be changed, and the conditions that requests make with them: nothing
//! unchanged is sent twice (`If-None-Match`), and no change is lost (`If-Match`, RFC 9110 13).

use std::borrow::Cow;

use http::header::{ETAG, HeaderMap, HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH};
use http::{Response, StatusCode};
use serde::Serialize;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use super::fields::Fields;
use crate::http::body::{self, Body};
use crate::http::error::HttpError;
use crate::http::query_string::QueryString;
use crate::http::service::{Answer, Asked};
use crate::ids::hex;

/// A strong tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Etag(String);

impl Etag {
    /// Of a row that counts its changes.
    pub(super) fn of_version(id: &str, version: i64) -> Self {
        Self::of_bytes(format!("{id} {version}").as_bytes())
    }

    /// Of the whole answer, where that says more than what can be overwritten: how often it was
    /// used, how far it has come. A change is let through by every tag of the same version.
    pub(super) fn saying<T: Serialize>(self, value: &T) -> Result<Self, HttpError> {
        let Self(content) = Self::of_content(value)?;
        Ok(Self(format!("{}.{}", self.0.trim_end_matches('"'), &content[1..])))
    }

    /// One that was answered.
    pub(super) fn read(tag: &str) -> Self {
        Self(of_version_alone(tag).into_owned())
    }

    /// Of an answer that is made of many rows: of all that it says.
    pub(super) fn of_content<T: Serialize>(value: &T) -> Result<Self, HttpError> {
        let text = serde_json::to_vec(value).map_err(HttpError::internal("writing an answer"))?;
        Ok(Self::of_bytes(&text))
    }

    fn of_bytes(bytes: &[u8]) -> Self {
        Self(format!("\"{}\"", hex(&Sha256::digest(bytes)[..16])))
    }

    /// A change needs `If-Match`, and that it is this version which was read.
    ///
    /// # Errors
    /// 428 without it, 412 when the resource has changed since. `what` names the resource.
    pub(super) fn required(&self, headers: &HeaderMap, what: &'static str) -> Result<(), HttpError> {
        if !headers.contains_key(IF_MATCH) {
            return Err(HttpError::PreconditionRequired(what));
        }
        // A weak tag never matches here (RFC 9110 13.1.1).
        match tags(headers, IF_MATCH).any(|tag| tag == "*" || of_version_alone(tag) == self.0) {
            true => Ok(()),
            false => Err(HttpError::PreconditionFailed(what)),
        }
    }

    /// 304 where the client has this already, else what `make` answers, with the tag.
    pub(super) fn unless_known(&self, headers: &HeaderMap, make: impl FnOnce() -> Answer) -> Answer {
        if let Some(response) = self.not_modified(headers) {
            return Ok(response);
        }
        let mut response = make()?;
        self.mark(&mut response);
        Ok(response)
    }

    /// 304 where the client has this already, before any work is done for it.
    pub(super) fn not_modified(&self, headers: &HeaderMap) -> Option<Response<Body>> {
        let mut known = tags(headers, IF_NONE_MATCH);
        known.any(|tag| tag == "*" || tag.trim_start_matches("W/") == self.0).then(|| {
            let mut response = not_modified();
            self.mark(&mut response);
            response
        })
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn mark(&self, response: &mut Response<Body>) {
        if let Ok(value) = HeaderValue::from_str(&self.0) {
            response.headers_mut().insert(ETAG, value);
        }
    }
}

/// Without what [`Etag::saying`] has put in.
fn of_version_alone(tag: &str) -> Cow<'_, str> {
    match tag.split_once('.') {
        Some((version, content)) if content.ends_with('"') => Cow::Owned(format!("{version}\"")),
        _ => Cow::Borrowed(tag),
    }
}

fn tags(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim)
}

fn not_modified() -> Response<Body> {
    let mut response = Response::new(body::empty());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    response
}

/// 200 with the tag of the whole content, 304 where that is known; `fields` narrows what is sent.
pub(super) fn answer<T: Serialize + ToSchema>(headers: &HeaderMap, query: &QueryString, value: &T) -> Answer {
    answer_under(Etag::of_content(value)?, headers, query, value)
}

/// As [`answer`], of what [`Etag::saying`] is for.
pub(super) fn answer_of<T: Serialize + ToSchema>(version: Etag, asked: &Asked, value: &T) -> Answer {
    answer_under(version.saying(value)?, &asked.headers, &asked.query, value)
}

fn answer_under<T: Serialize + ToSchema>(
    etag: Etag,
    headers: &HeaderMap,
    query: &QueryString,
    value: &T,
) -> Answer {
    let fields = Fields::of::<T>(query)?;
    etag.unless_known(headers, || super::json(StatusCode::OK, &fields.select(value)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[test]
    fn a_change_names_the_version_that_was_read() {
        let tag = Etag::of_version("a", 1);
        let check =
            |value: &str| tag.required(&headers(IF_MATCH, value), "thing").map_err(|e| e.status().as_u16());
        assert_eq!(check(&tag.0), Ok(()));
        assert_eq!(check(&format!("\"x\", {}", tag.0)), Ok(()));
        assert_eq!(check("*"), Ok(()));
        assert_eq!(check(&Etag::of_version("a", 2).0), Err(412));
        assert_eq!(check(&format!("W/{}", tag.0)), Err(412));
        assert_eq!(tag.required(&HeaderMap::new(), "thing").map_err(|e| e.status().as_u16()), Err(428));
    }

    #[test]
    fn what_nobody_overwrites_changes_the_answer_and_stands_in_no_way() {
        let tag = |version, used: &str| Etag::of_version("a", version).saying(&used).unwrap();
        let [first, used, changed] = [tag(1, "never"), tag(1, "today"), tag(2, "today")];
        assert!(first != used && used != changed);
        let status = |tag: &Etag| {
            let held = Etag::of_version("a", 1).required(&headers(IF_MATCH, &tag.0), "thing");
            held.map_err(|e| e.status().as_u16())
        };
        assert_eq!((status(&first), status(&used), status(&changed)), (Ok(()), Ok(()), Err(412)));
        assert_eq!(Etag::read(&used.0), Etag::of_version("a", 1));
        assert!(used.not_modified(&headers(IF_NONE_MATCH, &first.0)).is_none());
    }

    #[test]
    fn what_is_known_is_not_sent_again() {
        let tag = Etag::of_version("a", 1);
        let status = |value: &str| {
            let sent = || super::super::json(StatusCode::OK, &1);
            let response = tag.unless_known(&headers(IF_NONE_MATCH, value), sent).unwrap();
            assert_eq!(response.headers()[ETAG], tag.0);
            response.status().as_u16()
        };
        assert_eq!((status(&format!("W/{}", tag.0)), status("\"x\"")), (304, 200));
    }
}
