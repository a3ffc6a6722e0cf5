//! The status page: one static file that reads the REST API.

use http::Response;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};

use super::body::{self, Body};

const PAGE: &str = include_str!("console.html");

pub(crate) fn page() -> Response<Body> {
    let mut response = Response::new(body::full(PAGE));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
