//! An HTTP server that is asked: the client with its trust, what goes along with every request, and
//! how long it may be silent.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::stream::{Stream, StreamExt};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::{Client, RequestBuilder, Response, StatusCode, redirect};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use tokio::time::{Instant, sleep_until};
use tokio_rustls::rustls;

use super::AccessError;
use crate::clock::Timestamp;
use crate::config;
use crate::config::Secret;
use crate::telemetry::trace;

pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const IDLE_CONNECTION: Duration = Duration::from_secs(30);

/// A client and its credentials.
#[derive(Debug)]
pub struct Access {
    client: Client,
    headers: HeaderMap,
    settings: config::Access,
}

impl Access {
    /// Redirects are followed nowhere: whoever is sent something is named in the configuration.
    pub fn new(
        name: &str,
        settings: &config::Access,
        connect_timeout: Duration,
    ) -> Result<Self, AccessError> {
        let tls = |source| AccessError::Tls { name: name.to_owned(), source };
        let client = Client::builder()
            .tls_backend_preconfigured(trust(name, settings)?)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .connect_timeout(connect_timeout)
            .pool_idle_timeout(IDLE_CONNECTION)
            .user_agent(concat!("radiant/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| tls(Box::new(error)))?;
        Ok(Self { client, headers: headers(name, settings)?, settings: settings.clone() })
    }

    /// For those who write their requests themselves.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// It brings along what trace it belongs to.
    pub fn request(&self, method: reqwest::Method, url: &str) -> std::io::Result<RequestBuilder> {
        let request = self.client.request(method, url).headers(self.headers.clone());
        let request = match trace::current() {
            Some(traceparent) => request.header(trace::TRACEPARENT, traceparent),
            None => request,
        };
        let settings = &self.settings;
        if let Some(user) = &settings.username {
            return Ok(request.basic_auth(user, given(&settings.password, &settings.password_file)?));
        }
        Ok(match given(&settings.bearer, &settings.bearer_file)? {
            Some(token) => request.bearer_auth(token),
            None => request,
        })
    }
}

/// What a server answered.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub retry_after: Option<String>,
    pub location: Option<String>,
    /// No more than [`REPLY_BYTES_MAX`] of it.
    pub body: Vec<u8>,
}

/// An answer about thousands of objects fits in here.
const REPLY_BYTES_MAX: usize = 8 << 20;

#[derive(Debug, thiserror::Error)]
pub enum SendError {
    #[error("the server cannot be reached")]
    Connect(#[source] reqwest::Error),
    #[error("the request broke off")]
    Request(#[source] reqwest::Error),
    #[error("the server took and said nothing for {} s", .0.as_secs())]
    Silent(Duration),
}

impl SendError {
    /// Whether nothing of the request can have come to the server.
    pub fn was_not_reached(&self) -> bool {
        matches!(self, Self::Connect(_))
    }
}

/// Retry-After (RFC 9110 10.2.3) as a pause from `now`.
pub fn retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    let seconds = text.parse().ok().map(Duration::from_secs);
    seconds.or_else(|| Timestamp::from_http_date(text).map(|at| at.since(now)))
}

impl From<reqwest::Error> for SendError {
    fn from(error: reqwest::Error) -> Self {
        let error = error.without_url();
        if error.is_connect() { Self::Connect(error) } else { Self::Request(error) }
    }
}

/// Sees that a request goes on: a large body may take as long as it wants while it moves.
#[derive(Clone)]
pub struct Progress {
    limit: Duration,
    last: Arc<Mutex<Instant>>,
}

impl Progress {
    pub fn new(limit: Duration) -> Self {
        Self { limit, last: Arc::new(Mutex::new(Instant::now())) }
    }

    /// A body each chunk of which is progress.
    pub fn watch<S>(&self, chunks: S) -> impl Stream<Item = S::Item> + Send + 'static
    where
        S: Stream<Item: Send> + Send + 'static,
    {
        let own = self.clone();
        chunks.inspect(move |_| own.touch())
    }

    pub async fn send(&self, request: RequestBuilder) -> Result<Reply, SendError> {
        self.touch();
        tokio::select! {
            reply = self.exchange(request) => reply,
            () = self.silence() => Err(SendError::Silent(self.limit)),
        }
    }

    async fn exchange(&self, request: RequestBuilder) -> Result<Reply, SendError> {
        let mut response = request.send().await?;
        self.touch();
        let body = self.body(&mut response).await?;
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        Ok(Reply {
            status: response.status(),
            retry_after: header(RETRY_AFTER).map(str::to_owned),
            location: header(LOCATION).map(str::to_owned),
            body,
        })
    }

    async fn body(&self, response: &mut Response) -> Result<Vec<u8>, SendError> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            self.touch();
            body.extend_from_slice(&chunk[..chunk.len().min(REPLY_BYTES_MAX - body.len())]);
            if body.len() == REPLY_BYTES_MAX {
                break;
            }
        }
        Ok(body)
    }

    /// Returns when nothing has moved for too long.
    async fn silence(&self) {
        loop {
            let end = self.last() + self.limit;
            if end <= Instant::now() {
                return;
            }
            sleep_until(end).await;
        }
    }

    fn touch(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn last(&self) -> Instant {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Read at every request: a file changes while we run.
fn given(secret: &Option<Secret>, file: &Option<std::path::PathBuf>) -> std::io::Result<Option<String>> {
    match (secret, file) {
        (Some(secret), _) => Ok(Some(secret.reveal().to_owned())),
        (None, Some(path)) => fs::read_to_string(path).map(|text| Some(text.trim().to_owned())),
        (None, None) => Ok(None),
    }
}

fn headers(name: &str, settings: &config::Access) -> Result<HeaderMap, AccessError> {
    let mut headers = HeaderMap::new();
    for (header, value) in &settings.headers {
        let bad = || AccessError::Header { name: name.to_owned(), header: header.clone() };
        let mut value = HeaderValue::from_str(value.reveal()).map_err(|_| bad())?;
        value.set_sensitive(true);
        let header = HeaderName::from_bytes(header.as_bytes()).map_err(|_| bad())?;
        if header == AUTHORIZATION && (settings.username.is_some() || settings.bearer.is_some()) {
            return Err(bad());
        }
        headers.insert(header, value);
    }
    Ok(headers)
}

/// Certificates of the system, or those of the file alone.
fn trust(name: &str, settings: &config::Access) -> Result<ClientConfig, AccessError> {
    let tls = |source: rustls::Error| AccessError::Tls { name: name.to_owned(), source: Box::new(source) };
    let mut roots = RootCertStore::empty();
    match &settings.ca_file {
        Some(path) => {
            let certificates = certificates(name, path)?;
            certificates.into_iter().try_for_each(|one| roots.add(one)).map_err(tls)?;
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(tls)?
        .with_root_certificates(roots);
    match (&settings.certificate_file, &settings.key_file) {
        (Some(own), Some(key)) => {
            builder.with_client_auth_cert(certificates(name, own)?, private_key(name, key)?).map_err(tls)
        }
        _ => Ok(builder.with_no_client_auth()),
    }
}

fn certificates(name: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, AccessError> {
    let pem = read(name, path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let found =
        found.map_err(|source| AccessError::Tls { name: name.to_owned(), source: Box::new(source) })?;
    match found.is_empty() {
        true => {
            Err(AccessError::EmptyFile { name: name.to_owned(), path: path.to_owned(), what: "certificate" })
        }
        false => Ok(found),
    }
}

fn private_key(name: &str, path: &Path) -> Result<PrivateKeyDer<'static>, AccessError> {
    let pem = read(name, path)?;
    PrivateKeyDer::from_pem_slice(&pem).map_err(|_| AccessError::EmptyFile {
        name: name.to_owned(),
        path: path.to_owned(),
        what: "private key",
    })
}

fn read(name: &str, path: &Path) -> Result<Vec<u8>, AccessError> {
    fs::read(path).map_err(|source| AccessError::ReadFile {
        name: name.to_owned(),
        path: path.to_owned(),
        source,
    })
}
