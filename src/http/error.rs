//! Every failure of a request, and the one place that turns it into a status (RFC 9457).
//!
//! Handlers return [`HttpError`] and never build an error response themselves. Variants say
//! what was wrong with the request; everything that is wrong with the server is one variant,
//! logged in full and answered without its detail.

use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use http::{Response, StatusCode};

use super::body::{self, Body, BodyStopped};
use super::endpoint::RouteError;
use super::negotiation::NotAcceptable;
use super::query_string::NotUtf8;
use crate::auth::{Denied, Permission};
use crate::blobs::{OfAll, is_away};
use crate::causes;

pub(crate) const STORE_RETRY_AFTER_S: u64 = 5;
/// Nobody knows when one of them comes to its end.
const AT_ONCE_RETRY_AFTER_S: u64 = 10;

#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    #[error(transparent)]
    Route(#[from] RouteError),
    #[error(transparent)]
    NotAcceptable(#[from] NotAcceptable),
    #[error(transparent)]
    QueryEncoding(#[from] NotUtf8),
    #[error("{0}")]
    BadRequest(String),
    #[error("{0}")]
    UnsupportedMediaType(&'static str),
    #[error("there is no such {0}")]
    NotFound(&'static str),
    #[error("the {0} was deleted")]
    Gone(&'static str),
    /// Nobody said who he is.
    #[error("this needs a log-in")]
    LogInNeeded,
    /// Nobody came in.
    #[error(transparent)]
    Unauthorized(Denied),
    #[error("{0}")]
    Forbidden(&'static str),
    /// What the endpoint needs and no role of the caller gives.
    #[error("this needs the permission {}", .0.as_str())]
    MissingPermission(Permission),
    #[error("{0}")]
    Conflict(String),
    /// Of a study that somebody holds.
    #[error("{0}")]
    Held(String),
    /// `If-Match` names what is no longer so (RFC 9110 13.1.1).
    #[error("the {0} has changed since it was read")]
    PreconditionFailed(&'static str),
    /// RFC 6585 3: a lost update is not risked.
    #[error("changing this needs If-Match with the entity tag of the {0} that was read")]
    PreconditionRequired(&'static str),
    /// Well-formed, and wrong in content.
    #[error("{0}")]
    Unprocessable(String),
    #[error("the range lies outside the {0} bytes of the resource")]
    RangeNotSatisfiable(u64),
    #[error("the body is larger than {bytes_max} bytes")]
    TooLarge { bytes_max: u64 },
    #[error("path and query are longer than {bytes_max} bytes")]
    UriTooLong { bytes_max: usize },
    #[error("the headers are larger than {bytes_max} bytes")]
    HeadersTooLarge { bytes_max: usize },
    /// The client took too long over its body; why, says the sentence.
    #[error("{0}")]
    Timeout(BodyStopped),
    /// PS3.18 10.6.3.1: the search would cost more than it may.
    #[error("{0}")]
    TooBroad(String),
    #[error("the message has more than {parts_max} parts")]
    TooManyParts { parts_max: usize },
    #[error("too many requests; the next may follow in {retry_after_s} s")]
    TooManyRequests { retry_after_s: u64 },
    /// Another system is not there, or the server is too busy; later it may work.
    #[error("{reason}")]
    Unavailable { reason: &'static str, retry_after_s: u64 },
    /// As many as one caller may have at the same time.
    #[error("there are as many {0} of this caller as there may be")]
    TooManyAtOnce(&'static str),
    /// Somebody else is at it (RFC 4918 11.3).
    #[error("{0}")]
    Locked(&'static str),
    /// tus 1.0, Checksum: the bytes are not what was announced.
    #[error("the checksum is not that of the bytes")]
    ChecksumMismatch,
    /// Of the disk (RFC 4918 11.5); what is there is given out all the same.
    #[error("the disk has no room for more")]
    NoRoom,
    /// Another system did not do what was asked of it.
    #[error("{0}")]
    BadGateway(String),
    #[error("the server failed at {step}")]
    Internal { step: &'static str, source: super::body::BoxError },
}

impl From<crate::db::DbError> for HttpError {
    fn from(error: crate::db::DbError) -> Self {
        Self::internal("the index")(error)
    }
}

impl From<Denied> for HttpError {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Wrong | Denied::Token | Denied::Expired | Denied::SessionEnded => {
                Self::Unauthorized(denied)
            }
            Denied::Backoff(wait) => Self::TooManyRequests { retry_after_s: wait.as_secs().max(1) },
            Denied::Busy => Self::Unavailable { reason: "too many passwords are verified", retry_after_s: 1 },
            Denied::MustChange => Self::Forbidden("the password must be changed first"),
            Denied::NotAPerson => Self::Forbidden("only a person can confirm"),
            Denied::Index(_) | Denied::Randomness(_) | Denied::Broken(_) => {
                Self::internal("looking at who asks")(denied)
            }
        }
    }
}

impl From<BodyStopped> for HttpError {
    fn from(reason: BodyStopped) -> Self {
        match reason {
            BodyStopped::TooLarge { bytes_max } => Self::TooLarge { bytes_max },
            BodyStopped::Idle(_) | BodyStopped::Slow { .. } => Self::Timeout(reason),
        }
    }
}

impl From<crate::query::decoding::DecodesError> for HttpError {
    fn from(error: crate::query::decoding::DecodesError) -> Self {
        Self::internal("decoding")(error)
    }
}

impl HttpError {
    /// What one of those heard who waited for the same.
    pub(crate) fn of_all(error: &OfAll) -> Self {
        match error.cause().downcast_ref::<Self>() {
            Some(Self::NotAcceptable(refused)) => Self::NotAcceptable(refused.clone()),
            Some(Self::BadRequest(reason)) => Self::BadRequest(reason.clone()),
            Some(Self::Conflict(reason)) => Self::Conflict(reason.clone()),
            Some(Self::NotFound(what)) => Self::NotFound(what),
            Some(Self::Unavailable { reason, retry_after_s }) => {
                Self::Unavailable { reason, retry_after_s: *retry_after_s }
            }
            _ => Self::internal("making what several asked for")(error.clone()),
        }
    }

    /// For `map_err` where the fault is ours, or that of an object store that is not there.
    pub(crate) fn internal<E: Into<super::body::BoxError>>(step: &'static str) -> impl FnOnce(E) -> Self {
        move |source| {
            let source = source.into();
            if !is_away(&*source) {
                return Self::Internal { step, source };
            }
            tracing::warn!(step, error = %causes::chain(&*source), "the object store is away");
            Self::Unavailable {
                reason: "the object store does not answer",
                retry_after_s: STORE_RETRY_AFTER_S,
            }
        }
    }

    /// Why the first part of an answer could not be made.
    pub(crate) fn of_part(error: body::BoxError) -> Self {
        match error.downcast::<Self>() {
            Ok(error) => *error,
            Err(error) => Self::internal("making the first part")(error),
        }
    }

    pub(crate) fn bad_request(reason: impl std::fmt::Display) -> Self {
        Self::BadRequest(reason.to_string())
    }

    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Route(RouteError::UnknownPath) | Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Route(RouteError::MethodNotAllowed { .. }) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Route(RouteError::Uid(_) | RouteError::FrameList) => StatusCode::BAD_REQUEST,
            Self::QueryEncoding(_) | Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::NotAcceptable(_) => StatusCode::NOT_ACCEPTABLE,
            Self::UnsupportedMediaType(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Gone(_) => StatusCode::GONE,
            Self::LogInNeeded | Self::Unauthorized(_) => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) | Self::MissingPermission(_) => StatusCode::FORBIDDEN,
            Self::Conflict(_) | Self::Held(_) => StatusCode::CONFLICT,
            Self::PreconditionFailed(_) => StatusCode::PRECONDITION_FAILED,
            Self::PreconditionRequired(_) => StatusCode::PRECONDITION_REQUIRED,
            Self::Unprocessable(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::RangeNotSatisfiable(_) => StatusCode::RANGE_NOT_SATISFIABLE,
            Self::TooLarge { .. } | Self::TooBroad(_) | Self::TooManyParts { .. } => {
                StatusCode::PAYLOAD_TOO_LARGE
            }
            Self::UriTooLong { .. } => StatusCode::URI_TOO_LONG,
            Self::HeadersTooLarge { .. } => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Timeout(_) => StatusCode::REQUEST_TIMEOUT,
            Self::TooManyRequests { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::TooManyAtOnce(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Locked(_) => StatusCode::LOCKED,
            Self::ChecksumMismatch => StatusCode::from_u16(460).unwrap_or(StatusCode::BAD_REQUEST),
            Self::NoRoom => StatusCode::INSUFFICIENT_STORAGE,
            Self::BadGateway(_) => StatusCode::BAD_GATEWAY,
            Self::Internal { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The stable end of the problem's `type`; clients branch on it.
    fn kind(&self) -> &'static str {
        match self {
            Self::Route(RouteError::UnknownPath) => "unknown-path",
            Self::Route(RouteError::MethodNotAllowed { .. }) => "method-not-allowed",
            Self::Route(RouteError::Uid(_)) => "invalid-uid",
            Self::Route(RouteError::FrameList) => "invalid-frame-list",
            Self::NotAcceptable(_) => "not-acceptable",
            Self::QueryEncoding(_) | Self::BadRequest(_) => "bad-request",
            Self::UnsupportedMediaType(_) => "unsupported-media-type",
            Self::NotFound(_) => "not-found",
            Self::Gone(_) => "gone",
            Self::LogInNeeded => "log-in-needed",
            Self::Unauthorized(Denied::Token) => "invalid-token",
            Self::Unauthorized(Denied::Expired) => "expired-token",
            Self::Unauthorized(Denied::SessionEnded) => "session-ended",
            Self::Unauthorized(_) => "invalid-credentials",
            Self::Forbidden(_) => "forbidden",
            Self::MissingPermission(_) => "missing-permission",
            Self::Conflict(_) => "conflict",
            Self::Held(_) => "held",
            Self::PreconditionFailed(_) => "precondition-failed",
            Self::PreconditionRequired(_) => "precondition-required",
            Self::Unprocessable(_) => "unprocessable",
            Self::RangeNotSatisfiable(_) => "range-not-satisfiable",
            Self::TooLarge { .. } => "too-large",
            Self::TooBroad(_) => "too-broad",
            Self::UriTooLong { .. } => "uri-too-long",
            Self::HeadersTooLarge { .. } => "headers-too-large",
            Self::Timeout(_) => "timeout",
            Self::TooManyParts { .. } => "too-many-parts",
            Self::TooManyRequests { .. } => "too-many-requests",
            Self::Unavailable { .. } => "unavailable",
            Self::TooManyAtOnce(_) => "too-many-at-once",
            Self::Locked(_) => "locked",
            Self::ChecksumMismatch => "checksum-mismatch",
            Self::NoRoom => "no-room",
            Self::BadGateway(_) => "bad-gateway",
            Self::Internal { .. } => "internal",
        }
    }

    pub(crate) fn into_response(self, request_id: &str) -> Response<Body> {
        if let Self::Internal { step, source } = &self {
            tracing::error!(request_id, step, error = causes::chain(source.as_ref()), "a request failed");
        }
        let mut response = problem(self.status(), self.kind(), &self.to_string(), request_id);
        self.explain(response.headers_mut());
        response
    }

    /// What a status says in headers of its own.
    fn explain(&self, headers: &mut HeaderMap) {
        let (name, value) = match self {
            Self::Route(RouteError::MethodNotAllowed { allow }) => (ALLOW, allow.to_string()),
            Self::RangeNotSatisfiable(size) => (CONTENT_RANGE, format!("bytes */{size}")),
            Self::Unavailable { retry_after_s, .. } | Self::TooManyRequests { retry_after_s } => {
                (RETRY_AFTER, retry_after_s.to_string())
            }
            Self::TooManyAtOnce(_) => (RETRY_AFTER, AT_ONCE_RETRY_AFTER_S.to_string()),
            // RFC 6750 3: no code where no token was shown.
            Self::LogInNeeded | Self::Unauthorized(Denied::Wrong) => (WWW_AUTHENTICATE, BEARER.to_owned()),
            Self::Unauthorized(_) => (WWW_AUTHENTICATE, format!("{BEARER}, error=\"invalid_token\"")),
            _ => return,
        };
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    }
}

const BEARER: &str = "Bearer realm=\"radiant\"";

/// Every end of a `type` that there is.
pub(crate) const KINDS: &[&str] = &[
    "unknown-path",
    "method-not-allowed",
    "invalid-uid",
    "invalid-frame-list",
    "not-acceptable",
    "bad-request",
    "unsupported-media-type",
    "not-found",
    "gone",
    "invalid-token",
    "expired-token",
    "session-ended",
    "forbidden",
    "missing-permission",
    "conflict",
    "held",
    "precondition-failed",
    "precondition-required",
    "unprocessable",
    "range-not-satisfiable",
    "too-large",
    "too-broad",
    "uri-too-long",
    "headers-too-large",
    "timeout",
    "too-many-parts",
    "unavailable",
    "too-many-requests",
    "log-in-needed",
    "invalid-credentials",
    "too-many-at-once",
    "locked",
    "checksum-mismatch",
    "bad-gateway",
    "no-room",
    "internal",
];

pub(crate) fn type_of(kind: &str) -> String {
    format!("urn:radiant:problem:{kind}")
}

/// What went wrong (RFC 9457).
#[derive(serde::Serialize, utoipa::ToSchema)]
pub(crate) struct Problem<'a> {
    /// What clients branch on; it does not change.
    #[serde(rename = "type")]
    kind: String,
    /// The reason phrase of the status.
    title: &'a str,
    status: u16,
    /// One sentence for people.
    detail: &'a str,
    /// Under which the log of the server has the request.
    request_id: &'a str,
}

/// `application/problem+json`, RFC 9457.
pub(crate) fn problem(status: StatusCode, kind: &str, detail: &str, request_id: &str) -> Response<Body> {
    debug_assert!(KINDS.contains(&kind), "{kind} is not among those that the description of the API lists");
    let problem = Problem {
        kind: type_of(kind),
        title: status.canonical_reason().unwrap_or("Error"),
        status: status.as_u16(),
        detail,
        request_id,
    };
    let mut response = Response::new(body::full(serde_json::to_vec(&problem).unwrap_or_default()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    // Caches may keep a 404 or 410 otherwise (RFC 9110 15.1), longer than it is true.
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    #[tokio::test]
    async fn our_faults_are_answered_without_their_detail() {
        let error = HttpError::internal("the index")("no such table: patient");
        let response = error.into_response("r1");
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(problem["type"], "urn:radiant:problem:internal");
        assert_eq!(problem["detail"], "the server failed at the index");
        assert_eq!(problem["request_id"], "r1");
    }

    #[test]
    fn whoever_is_told_to_wait_is_told_how_long() {
        let errors = [HttpError::TooManyAtOnce("downloads"), HttpError::TooManyRequests { retry_after_s: 3 }];
        let waits = errors.map(|error| {
            let response = error.into_response("r");
            (response.status().as_u16(), response.headers()[RETRY_AFTER].to_str().unwrap().to_owned())
        });
        assert_eq!(waits, [(429, "10".to_owned()), (429, "3".to_owned())]);
    }

    #[test]
    fn a_wrong_method_names_the_right_ones() {
        let error = HttpError::from(RouteError::MethodNotAllowed { allow: "GET, HEAD".into() });
        assert_eq!(error.into_response("r").headers()[ALLOW], "GET, HEAD");
    }
}
