//! What happens to every request: its id, the panic net, compression, the access log.

use std::any::Any;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures::TryFutureExt;
use http::header::{
    CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, ORIGIN, RANGE, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::{Method, Request, Response, StatusCode, Version};
use http_body::Body as HttpBody;
use tokio::time::Instant;
use tower::{Service, ServiceExt};
use tower_http::CompressionLevel;
use tower_http::catch_panic::CatchPanic;
use tower_http::compression::Compression;

use super::body::{self, Body, BoxError, Inbound, InboundLimits};
use super::coding::{self, Marked};
use super::endpoint::Endpoint;
use super::error::{self, HttpError};
use super::query_string::QueryString;
use super::urls::{self, Ends, Urls};
use super::{Settings, State, capabilities, charset, console, dicomweb, limit_hit, negotiation, rest, stall};
use crate::telemetry::metrics::http as metric;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What a handler may look at; the path is parsed already.
pub(crate) struct Asked {
    pub(crate) headers: HeaderMap,
    pub(crate) query: QueryString,
    pub(crate) urls: Urls,
    /// For the audit.
    pub(crate) client: IpAddr,
}

pub(crate) type Answer = Result<Response<Body>, HttpError>;

/// The stack around [`respond`], from the outside: tags of codings, compression, panic net.
pub(crate) fn service<B>(
    state: Arc<State>,
    ends: Ends,
) -> impl Service<
    Request<B>,
    Response = Response<impl HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static>,
    Error = Infallible,
    Future: Send,
> + Clone
+ Send
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let inner = tower::service_fn(move |request: Request<B>| {
        let state = Arc::clone(&state);
        async move { Ok::<_, Infallible>(respond(state, ends, request).await) }
    });
    let caught = CatchPanic::custom(inner, answer_to_panic);
    let compressed =
        Compression::new(caught).quality(CompressionLevel::Fastest).compress_when(coding::is_text);
    tower::service_fn(move |mut request: Request<B>| {
        let marked = Marked::take_off(request.headers_mut());
        compressed.clone().oneshot(request).map_ok(move |response| marked.put_on(response))
    })
}

fn answer_to_panic(panic: Box<dyn Any + Send>) -> Response<Body> {
    let text = panic.downcast_ref::<&str>().copied().or(panic.downcast_ref::<String>().map(String::as_str));
    tracing::error!(panic = text.unwrap_or("unknown"), "a handler panicked");
    error::problem(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the server failed", "")
}

async fn respond<B>(state: Arc<State>, ends: Ends, request: Request<B>) -> Response<Body>
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let started = Instant::now();
    let request_id = crate::ids::row_id();
    let method = request.method().clone();
    let origin = request.headers().get(ORIGIN).cloned();
    let is_stream = request.version() == Version::HTTP_2;
    let (name, answer) = match method {
        Method::OPTIONS => ("options", options(&state, ends, request)),
        _ => dispatch(Arc::clone(&state), ends, request).await,
    };
    let mut response = answer.unwrap_or_else(|error| error.into_response(&request_id));
    if let Ok(id) = HeaderValue::from_str(&request_id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    // Stored bytes are what their media type says, never what a browser makes of them.
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    state.settings.cors.mark(origin.as_ref(), &mut response);
    count(name, response.status());
    let ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    tracing::info!(%method, endpoint = name, status = response.status().as_u16(), ms, request_id, "request");
    match method {
        Method::HEAD => without_body(response),
        _ if is_stream => {
            let limit = state.settings.response_stall_timeout;
            response.map(|body| stall::unless_stalled(body, limit))
        }
        _ => response,
    }
}

async fn dispatch<B>(state: Arc<State>, ends: Ends, request: Request<B>) -> (&'static str, Answer)
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let endpoint = Endpoint::parse(request.method(), request.uri().path());
    match endpoint {
        Ok(endpoint) => {
            let name = endpoint.name();
            (name, handle(state, endpoint, ends, request).await)
        }
        Err(error) => ("none", Err(error.into())),
    }
}

/// What a browser asks before a request of another origin, or what the resource can do.
fn options<B>(state: &State, ends: Ends, request: Request<B>) -> Answer {
    let (head, _) = request.into_parts();
    check_head(&state.settings, &head)?;
    let allow = capabilities::allow(head.uri.path())?;
    if let Some(response) = state.settings.cors.preflight(&head.headers, allow) {
        return Ok(response);
    }
    let query = QueryString::parse(head.uri.query().unwrap_or(""))?;
    let urls = Urls::of(&state.settings.naming, ends, &head.headers, &head.uri);
    capabilities::describe(head.uri.path(), allow, &head.headers, &query, &urls)
}

fn count(endpoint: &'static str, status: StatusCode) {
    let status = status.as_u16().to_string();
    metrics::counter!(metric::REQUESTS, "endpoint" => endpoint, "status" => status).increment(1);
}

async fn handle<B>(state: Arc<State>, endpoint: Endpoint, ends: Ends, request: Request<B>) -> Answer
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let (asked, body) = asked(&state, ends, request)?;
    if asked.query.get("accept").is_some_and(negotiation::is_range) {
        return Err(HttpError::bad_request("the accept parameter has no wildcards"));
    }
    charset::check(&asked.headers, &asked.query)?;
    match endpoint {
        Endpoint::Console => Ok(console::page()),
        Endpoint::Healthz => Ok(rest::health::alive()),
        Endpoint::Readyz => rest::health::ready(&state).await,
        Endpoint::Metrics => Ok(rest::health::metrics(&state)),
        Endpoint::Dicomweb(endpoint) => negotiated(dicomweb::handle(state, endpoint, asked, body).await),
        Endpoint::Rest(endpoint) => rest::handle(state, endpoint, asked, body).await,
    }
}

/// PS3.18 8.4.2: what a DICOMweb resource answers depends on Accept.
fn negotiated(answer: Answer) -> Answer {
    answer.map(|mut response| {
        response.headers_mut().append(VARY, HeaderValue::from_static("accept"));
        response
    })
}

fn asked<B>(state: &State, ends: Ends, request: Request<B>) -> Result<(Asked, Inbound), HttpError>
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let (mut head, incoming) = request.into_parts();
    check_head(&state.settings, &head)?;
    if head.method == Method::HEAD {
        // Ranges are of GET alone (RFC 9110 14.2).
        head.headers.remove(RANGE);
    }
    let bytes_max = state.settings.body_bytes_max;
    if incoming.size_hint().lower() > bytes_max {
        return Err(HttpError::TooLarge { bytes_max });
    }
    let limits = InboundLimits {
        bytes_max,
        idle_timeout: state.settings.body_idle_timeout,
        rate_min: state.settings.body_rate_min,
    };
    let naming = &state.settings.naming;
    let asked = Asked {
        query: QueryString::parse(head.uri.query().unwrap_or(""))?,
        urls: Urls::of(naming, ends, &head.headers, &head.uri),
        client: urls::client(naming, ends, &head.headers),
        headers: head.headers,
    };
    Ok((asked, body::inbound(incoming, limits)))
}

/// hyper bounds its buffer; what fits into that may still be more than we take.
fn check_head(settings: &Settings, head: &http::request::Parts) -> Result<(), HttpError> {
    let uri_bytes = head.uri.path_and_query().map_or(0, |path| path.as_str().len());
    if uri_bytes > settings.uri_bytes_max {
        limit_hit("uri_bytes_max");
        return Err(HttpError::UriTooLong { bytes_max: settings.uri_bytes_max });
    }
    let header_bytes: usize =
        head.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if header_bytes > settings.header_bytes_max {
        limit_hit("header_bytes_max");
        return Err(HttpError::HeadersTooLarge { bytes_max: settings.header_bytes_max });
    }
    Ok(())
}

/// The headers of GET, its length included where it is known (RFC 9110 9.3.2).
fn without_body(response: Response<Body>) -> Response<Body> {
    let (mut head, full) = response.into_parts();
    if let Some(length) = full.size_hint().exact() {
        head.headers.insert(CONTENT_LENGTH, length.into());
    }
    Response::from_parts(head, body::empty())
}
