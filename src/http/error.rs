//! Every failure of a request, and the one place that turns it into a status (RFC 9457).
//!
//! Handlers return [`HttpError`] and never build an error response themselves. Variants say
//! what was wrong with the request; everything that is wrong with the server is one variant,
//! logged in full and answered without its detail.

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};

use super::body::{self, Body, BodyStopped};
use super::endpoint::RouteError;
use super::negotiation::NotAcceptable;
use super::query_string::NotUtf8;
use crate::causes;

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
    #[error("{0}")]
    Forbidden(&'static str),
    #[error("{0}")]
    Conflict(String),
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
    /// For `map_err` where the fault is ours.
    pub(crate) fn internal<E: Into<super::body::BoxError>>(step: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::Internal { step, source: source.into() }
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
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::RangeNotSatisfiable(_) => StatusCode::RANGE_NOT_SATISFIABLE,
            Self::TooLarge { .. } | Self::TooBroad(_) | Self::TooManyParts { .. } => {
                StatusCode::PAYLOAD_TOO_LARGE
            }
            Self::UriTooLong { .. } => StatusCode::URI_TOO_LONG,
            Self::HeadersTooLarge { .. } => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Timeout(_) => StatusCode::REQUEST_TIMEOUT,
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
            Self::Forbidden(_) => "forbidden",
            Self::Conflict(_) => "conflict",
            Self::RangeNotSatisfiable(_) => "range-not-satisfiable",
            Self::TooLarge { .. } => "too-large",
            Self::TooBroad(_) => "too-broad",
            Self::UriTooLong { .. } => "uri-too-long",
            Self::HeadersTooLarge { .. } => "headers-too-large",
            Self::Timeout(_) => "timeout",
            Self::TooManyParts { .. } => "too-many-parts",
            Self::BadGateway(_) => "bad-gateway",
            Self::Internal { .. } => "internal",
        }
    }

    pub(crate) fn into_response(self, request_id: &str) -> Response<Body> {
        if let Self::Internal { step, source } = &self {
            tracing::error!(request_id, step, error = causes::chain(source.as_ref()), "a request failed");
        }
        let status = self.status();
        let mut response = problem(status, self.kind(), &self.to_string(), request_id);
        match self {
            Self::Route(RouteError::MethodNotAllowed { allow }) => {
                response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
            }
            Self::RangeNotSatisfiable(size) => set_unsatisfied_range(&mut response, size),
            _ => {}
        }
        response
    }
}

fn set_unsatisfied_range(response: &mut Response<Body>, size: u64) {
    if let Ok(value) = HeaderValue::from_str(&format!("bytes */{size}")) {
        response.headers_mut().insert(http::header::CONTENT_RANGE, value);
    }
}

/// `application/problem+json`, RFC 9457.
pub(crate) fn problem(status: StatusCode, kind: &str, detail: &str, request_id: &str) -> Response<Body> {
    let problem = serde_json::json!({
        "type": format!("urn:radiant:problem:{kind}"),
        "title": status.canonical_reason().unwrap_or("Error"),
        "status": status.as_u16(),
        "detail": detail,
        "request_id": request_id,
    });
    let mut response = Response::new(body::full(problem.to_string()));
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
    fn a_wrong_method_names_the_right_ones() {
        let error = HttpError::from(RouteError::MethodNotAllowed { allow: "GET, HEAD" });
        assert_eq!(error.into_response("r").headers()[ALLOW], "GET, HEAD");
    }
}
