//! What happens to every request: its id, limits and access, the panic net, compression, the
//! headers of its answer, the access log.

use std::any::Any;
use std::convert::Infallible;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use bytes::Bytes;
use futures::{FutureExt, TryFutureExt};
use http::header::{CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN, RANGE, VARY};
use http::{Method, Request, Response, StatusCode, Version};
use http_body::Body as HttpBody;
use tokio::time::Instant;
use tower::{Service, ServiceExt};
use tower_http::CompressionLevel;
use tower_http::compression::Compression;
use tracing::Instrument;

use super::body::{self, Body, BoxError, Inbound, InboundLimits};
use super::coding::{self, Marked};
use super::deadline::Deadline;
use super::endpoint::Endpoint;
use super::error::HttpError;
use super::query_string::QueryString;
use super::rate_limit::Standing;
use super::security_headers::Marking;
use super::urls::{self, Ends, Urls};
use super::{Settings, State, access, capabilities, charset, console, cross_site, denials, dicomweb, docs};
use super::{limit_hit, negotiation, recorded, rest, stall};
use crate::audit::Actor;
use crate::auth::{Caller, Means};
use crate::telemetry::metrics::{UnderWay, http as metric};
use crate::telemetry::trace::{self, TRACEPARENT};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const REQUEST_ID_BYTES_MAX: usize = 128;

/// What a handler may look at; the path is parsed already.
#[derive(Clone)]
pub(crate) struct Asked {
    pub(crate) headers: HeaderMap,
    pub(crate) query: QueryString,
    pub(crate) urls: Urls,
    /// For the audit.
    pub(crate) client: IpAddr,
    pub(crate) caller: Caller,
    pub(crate) request_id: String,
}

impl Asked {
    /// Who the audit names, from where and in which request.
    pub(crate) fn who(&self) -> Actor {
        Actor::of(&self.caller, self.client, &self.request_id)
    }
}

/// What becomes known of a request on its way.
#[derive(Debug)]
pub(super) struct Visit {
    pub(super) ends: Ends,
    pub(super) request_id: String,
    pub(super) client: IpAddr,
    /// For logs, metrics and the audit.
    pub(super) endpoint: &'static str,
    /// Once it is known.
    pub(super) caller: Caller,
    /// Whether a name and a password would be taken.
    pub(super) offers_basic: bool,
    standing: Standing,
}

impl Visit {
    fn new(settings: &Settings, ends: Ends, headers: &HeaderMap) -> Self {
        Self {
            ends,
            request_id: request_id(settings, ends, headers),
            client: urls::client(&settings.naming, ends, headers),
            endpoint: "none",
            caller: Caller::anonymous(),
            offers_basic: false,
            standing: Standing::default(),
        }
    }
}

/// A trusted proxy may have given the request a name already.
fn request_id(settings: &Settings, ends: Ends, headers: &HeaderMap) -> String {
    let is_well_formed = |id: &&str| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        (1..=REQUEST_ID_BYTES_MAX).contains(&id.len()) && id.bytes().all(plain)
    };
    let said = headers.get(REQUEST_ID).filter(|_| urls::is_trusted(&settings.naming, ends));
    let said = said.and_then(|id| id.to_str().ok()).filter(is_well_formed);
    said.map_or_else(crate::ids::row_id, str::to_owned)
}

pub(crate) type Answer = Result<Response<Body>, HttpError>;

/// The stack around [`respond`], from the outside: tags of codings, compression.
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
    let compressed =
        Compression::new(inner).quality(CompressionLevel::Fastest).compress_when(coding::is_text);
    tower::service_fn(move |mut request: Request<B>| {
        let marked = Marked::take_off(request.headers_mut());
        compressed.clone().oneshot(request).map_ok(move |response| marked.put_on(response))
    })
}

fn of_panic(panic: Box<dyn Any + Send>) -> HttpError {
    let text = panic.downcast_ref::<&str>().copied().or(panic.downcast_ref::<String>().map(String::as_str));
    HttpError::internal("a handler, which panicked")(text.unwrap_or("unknown"))
}

async fn respond<B>(state: Arc<State>, ends: Ends, request: Request<B>) -> Response<Body>
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let visit = Visit::new(&state.settings, ends, request.headers());
    let given = request.headers().get(TRACEPARENT).filter(|_| urls::is_trusted(&state.settings.naming, ends));
    let given = given.and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (id, empty) = (visit.request_id.as_str(), tracing::field::Empty);
    let span = tracing::info_span!("request", request_id = id, endpoint = empty, trace_id = empty);
    let span = trace::follow(span, given.as_deref());
    respond_to(state, visit, request).instrument(span).await
}

async fn respond_to<B>(state: Arc<State>, mut visit: Visit, request: Request<B>) -> Response<Body>
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let started = Instant::now();
    let under_way = UnderWay::of(metric::UNDER_WAY);
    let method = request.method().clone();
    let origin = request.headers().get(ORIGIN).cloned();
    let is_stream = request.version() == Version::HTTP_2;
    let answering = AssertUnwindSafe(dispatch(&state, &mut visit, request)).catch_unwind();
    let answer = answering.await.unwrap_or_else(|panic| Err(of_panic(panic)));
    let mut response = answer.unwrap_or_else(|error| error.into_response(&visit.request_id));
    finish(&state.settings, &visit, origin.as_ref(), &mut response);
    let (endpoint, status) = (visit.endpoint, response.status());
    drop(under_way);
    tracing::Span::current().record("endpoint", endpoint);
    count(endpoint, status);
    metrics::histogram!(metric::SECONDS, "endpoint" => endpoint).record(started.elapsed());
    denials::count(endpoint, status);
    let ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    tracing::info!(%method, endpoint, status = status.as_u16(), ms, request_id = visit.request_id, "request");
    match method {
        Method::HEAD => without_body(response),
        _ if is_stream => {
            let limit = state.settings.response_stall_timeout;
            response.map(|body| stall::unless_stalled(body, limit))
        }
        _ => response,
    }
}

/// What every answer says beside its own.
fn finish(settings: &Settings, visit: &Visit, origin: Option<&HeaderValue>, response: &mut Response<Body>) {
    if let Ok(id) = HeaderValue::from_str(&visit.request_id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    let hsts_max_age_s = if visit.ends.is_secure { settings.hsts_max_age_s } else { 0 };
    if visit.offers_basic && response.status() == StatusCode::UNAUTHORIZED {
        access::offer_basic(response);
    }
    Marking { is_shared: !settings.cors.origins.is_empty(), hsts_max_age_s }.mark(response);
    settings.cors.mark(origin, response);
    visit.standing.mark(response);
}

async fn dispatch<B>(state: &Arc<State>, visit: &mut Visit, request: Request<B>) -> Answer
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    if request.method() == Method::OPTIONS {
        visit.endpoint = "options";
        return options(state, visit, request).await;
    }
    let endpoint = Endpoint::parse(request.method(), request.uri().path());
    match endpoint {
        Ok(endpoint) if !endpoint.is_probe() && !state.settings.role.serves() => {
            state.rate_limits.arrived(visit.client, &mut visit.standing).await?;
            Err(HttpError::NotFound(
                "resource on a worker, which answers /healthz, /readyz and /metrics alone",
            ))
        }
        Ok(endpoint) => {
            visit.endpoint = endpoint.name();
            handle(state, visit, endpoint, request).await
        }
        Err(error) => {
            state.rate_limits.arrived(visit.client, &mut visit.standing).await?;
            Err(error.into())
        }
    }
}

/// What a browser asks before a request of another origin, or what the resource can do.
async fn options<B>(state: &State, visit: &mut Visit, request: Request<B>) -> Answer {
    let (head, _) = request.into_parts();
    state.rate_limits.arrived(visit.client, &mut visit.standing).await?;
    check_head(&state.settings, &head)?;
    let allow = capabilities::allow(head.uri.path())?;
    let tus_bytes_max = state.live.uploads.parts.settings.bytes_max;
    if let Some(mut response) = state.settings.cors.preflight(&head.headers, &allow) {
        rest::tus::describe(head.uri.path(), tus_bytes_max, response.headers_mut());
        return Ok(response);
    }
    let query = QueryString::parse(head.uri.query().unwrap_or(""))?;
    let urls = Urls::of(&state.settings.naming, visit.ends, &head.headers, &head.uri);
    let mut response = capabilities::describe(head.uri.path(), &allow, &head.headers, &query, &urls)?;
    rest::tus::describe(head.uri.path(), tus_bytes_max, response.headers_mut());
    Ok(response)
}

fn count(endpoint: &'static str, status: StatusCode) {
    let status = status.as_u16().to_string();
    metrics::counter!(metric::REQUESTS, "endpoint" => endpoint, "status" => status).increment(1);
}

async fn handle<B>(state: &Arc<State>, visit: &mut Visit, endpoint: Endpoint, request: Request<B>) -> Answer
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let (mut head, incoming) = request.into_parts();
    check_head(&state.settings, &head)?;
    if let Err(error) = admit(state, visit, &endpoint, &head).await {
        denials::at_the_door(state, visit, &endpoint, &error).await;
        return Err(error);
    }
    if head.method == Method::HEAD {
        // Ranges are of GET alone (RFC 9110 14.2).
        head.headers.remove(RANGE);
    }
    let method = head.method.clone();
    let deadline = Deadline::new(state.settings.answer_timeout);
    let body = deadline.watch(inbound(&state.settings, incoming)?);
    let asked = asked(&state.settings, visit, head)?;
    if asked.query.get("accept").is_some_and(negotiation::is_range) {
        return Err(HttpError::bad_request("the accept parameter has no wildcards"));
    }
    charset::check(&asked.headers, &asked.query)?;
    let begun = recorded::begin(state, &endpoint, &asked).await?;
    let answered = deadline.bound(answer(Arc::clone(state), endpoint, asked, body)).await;
    recorded::end(begun, &method, answered).await
}

/// Whether this request of this client may go on to its handler; the visit knows the caller then.
async fn admit(
    state: &State,
    visit: &mut Visit,
    endpoint: &Endpoint,
    head: &http::request::Parts,
) -> Result<(), HttpError> {
    if !endpoint.is_probe() {
        state.rate_limits.arrived(visit.client, &mut visit.standing).await?;
    }
    if endpoint.is_log_in() {
        state.rate_limits.logs_in(visit.client, &mut visit.standing).await?;
    }
    visit.caller = access::caller(state, visit, endpoint.needs(), &head.headers).await?;
    state.rate_limits.asked(visit.client, &visit.caller, &mut visit.standing).await?;
    access::check(&visit.caller, endpoint.needs())?;
    if visit.caller.means == Means::AccessControlOff {
        cross_site::check_host(&state.settings, &head.uri, &head.headers)?;
    }
    if !access::is_explicit(visit.caller.means) {
        cross_site::check(&state.settings, &head.method, &head.uri, &head.headers)?;
    }
    Ok(())
}

async fn answer(state: Arc<State>, endpoint: Endpoint, asked: Asked, body: Inbound) -> Answer {
    match endpoint {
        Endpoint::Console => Ok(console::page()),
        Endpoint::Healthz => Ok(rest::health::alive()),
        Endpoint::Readyz => rest::health::ready(&state).await,
        Endpoint::Docs(file) => docs::file(file.as_deref(), &asked.urls),
        Endpoint::Metrics => Ok(rest::health::metrics(&state)),
        // Boxed: a handler within everything that stands in front of it is more than a debug build has
        // of a stack.
        Endpoint::Dicomweb(endpoint) => {
            negotiated(Box::pin(dicomweb::handle(state, endpoint, asked, body)).await)
        }
        Endpoint::Rest(matched) => Box::pin(rest::handle(state, matched, asked, body)).await,
    }
}

/// PS3.18 8.4.2: what a DICOMweb resource answers depends on Accept.
fn negotiated(answer: Answer) -> Answer {
    answer.map(|mut response| {
        response.headers_mut().append(VARY, HeaderValue::from_static("accept"));
        response
    })
}

fn asked(settings: &Settings, visit: &Visit, head: http::request::Parts) -> Result<Asked, HttpError> {
    Ok(Asked {
        query: QueryString::parse(head.uri.query().unwrap_or(""))?,
        urls: Urls::of(&settings.naming, visit.ends, &head.headers, &head.uri),
        client: visit.client,
        headers: head.headers,
        caller: visit.caller.clone(),
        request_id: visit.request_id.clone(),
    })
}

fn inbound<B>(settings: &Settings, incoming: B) -> Result<Inbound, HttpError>
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let bytes_max = settings.body_bytes_max;
    if incoming.size_hint().lower() > bytes_max {
        return Err(HttpError::TooLarge { bytes_max });
    }
    let limits = InboundLimits {
        bytes_max,
        idle_timeout: settings.body_idle_timeout,
        rate_min: settings.body_rate_min,
    };
    Ok(body::inbound(incoming, limits, settings.json_bytes_max))
}

/// hyper bounds its buffer; what fits into that may still be more than we take.
fn check_head(settings: &Settings, head: &http::request::Parts) -> Result<(), HttpError> {
    // RFC 9112 3.2: with none or two of them, others may read the request as one to another host.
    if head.version == Version::HTTP_11 && head.headers.get_all(HOST).iter().count() != 1 {
        return Err(HttpError::bad_request("a request names one host"));
    }
    let uri_bytes = head.uri.path_and_query().map_or(0, |path| path.as_str().len());
    if uri_bytes > settings.uri_bytes_max {
        limit_hit("http.uri_bytes_max");
        return Err(HttpError::UriTooLong { bytes_max: settings.uri_bytes_max });
    }
    let header_bytes: usize =
        head.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if header_bytes > settings.header_bytes_max {
        limit_hit("http.header_bytes_max");
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
