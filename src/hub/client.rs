//! The HTTP side of a hub: its description of a repository, and files by redirects to wherever they
//! lie. The token goes to the hub alone.

use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{ACCEPT_ENCODING, CONTENT_RANGE, HeaderMap, LOCATION, RANGE};
use reqwest::{Client, Proxy, Response, StatusCode, Url, redirect};
use tokio_rustls::rustls::RootCertStore;

use super::digest::Digest;
use super::listing::Listing;
use super::refusal::{self, Asked, Scene};
use super::{HubError, RemoteFile, RepoId, Revision};
use crate::config::{self, ClientCertificates, Secret};
use crate::tls;

/// The largest repositories name some thousands of files.
const LISTING_BYTES_MAX: usize = 16 << 20;
const REDIRECTS_MAX: usize = 5;
/// What stays as it is in one part of a path.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

pub struct Hub {
    client: Client,
    endpoint: Url,
    token: Option<Secret>,
    pub(super) settings: config::Hub,
}

/// A file that begins to come.
pub(super) struct Coming {
    response: Response,
    host: String,
    silence_max: Duration,
    /// Where in the file its first byte lies.
    pub(super) from: u64,
}

/// An answer that is not a redirect.
struct Answer {
    response: Response,
    host: String,
    /// Whether it is the hub's own.
    is_hub: bool,
}

/// Headers of the hub about a file, which may lie elsewhere.
struct Said {
    commit: Option<String>,
    etag: Option<String>,
    bytes: Option<u64>,
}

impl Hub {
    pub fn new(settings: &config::Hub) -> Result<Self, HubError> {
        let endpoint = settings.endpoint.trim_end_matches('/');
        let endpoint =
            Url::parse(&format!("{endpoint}/")).map_err(|_| HubError::Endpoint(settings.endpoint.clone()))?;
        Ok(Self { client: client(settings)?, endpoint, token: token(settings)?, settings: settings.clone() })
    }

    pub fn endpoint(&self) -> &str {
        self.endpoint.as_str().trim_end_matches('/')
    }

    /// What the repository holds, tried again while the hub is busy.
    pub async fn listing(&self, repo: &RepoId, revision: &Revision) -> Result<Listing, HubError> {
        let url = self.url(&["api", "models", repo.as_str(), "revision", &encoded(revision.as_str())]);
        let asked = Asked { repo, revision, file: None };
        let mut attempts = super::download::Attempts::new(&self.settings);
        loop {
            match self.read_listing(&format!("{url}?blobs=true"), asked).await {
                Err(error) => attempts.wait_after(error).await?,
                Ok(json) => return Listing::parse(repo, revision, &json),
            }
        }
    }

    async fn read_listing(&self, url: &str, asked: Asked<'_>) -> Result<Vec<u8>, HubError> {
        let answer = self.get(url, asked, 0, |_| Ok(())).await?;
        let mut coming = self.coming(answer, 0);
        let mut json = Vec::new();
        while let Some(chunk) = coming.chunk().await? {
            json.extend_from_slice(&chunk);
            if json.len() > LISTING_BYTES_MAX {
                return Err(HubError::ListingTooLong { repo: asked.repo.clone() });
            }
        }
        Ok(json)
    }

    /// The file from a byte on, or from its beginning where the server gives no parts.
    pub(super) async fn open(
        &self,
        listing: &Listing,
        file: &RemoteFile,
        from: u64,
    ) -> Result<Coming, HubError> {
        let name = file.name.split('/').map(encoded).collect::<Vec<_>>().join("/");
        let url = self.url(&[listing.repo.as_str(), "resolve", &listing.commit, &name]);
        let asked = Asked { repo: &listing.repo, revision: &listing.revision, file: Some(&file.name) };
        let agrees = |headers: &HeaderMap| Said::of(headers).agrees(file, &listing.commit);
        let answer = self.get(&url, asked, from, agrees).await?;
        let from = answer.from(file, from)?;
        Ok(self.coming(answer, from))
    }

    fn coming(&self, answer: Answer, from: u64) -> Coming {
        Coming { response: answer.response, host: answer.host, silence_max: self.settings.timeout(), from }
    }

    fn url(&self, parts: &[&str]) -> String {
        format!("{}{}", self.endpoint, parts.join("/"))
    }

    /// `agrees` judges each answer of the hub, before we go where it sends us.
    async fn get(
        &self,
        url: &str,
        asked: Asked<'_>,
        from: u64,
        agrees: impl Fn(&HeaderMap) -> Result<(), HubError>,
    ) -> Result<Answer, HubError> {
        let mut url = Url::parse(url).map_err(|_| HubError::Endpoint(url.to_owned()))?;
        for _ in 0..=REDIRECTS_MAX {
            let (is_hub, host) = (self.is_hub(&url), host_of(&url));
            let response = self.send(&url, from).await?;
            if is_hub {
                agrees(response.headers())?;
            }
            match next(&response, &url) {
                Some(to) if self.may_follow(&to) => url = to,
                Some(to) => return Err(HubError::RedirectedInTheClear { host, to: host_of(&to) }),
                None => return self.judged(Answer { response, host, is_hub }, asked),
            }
        }
        Err(HubError::Redirects { host: self.endpoint().to_owned() })
    }

    /// One request. Addresses of storage carry their own credentials: no error shows them.
    async fn send(&self, url: &Url, from: u64) -> Result<Response, HubError> {
        let (host, after) = (host_of(url), self.settings.timeout());
        // a digest is of the bytes as they are, and so is a position
        let mut request = self.client.get(url.clone()).header(ACCEPT_ENCODING, "identity");
        if from > 0 {
            request = request.header(RANGE, format!("bytes={from}-"));
        }
        if let Some(token) = self.token.as_ref().filter(|_| self.is_hub(url)) {
            request = request.bearer_auth(token.reveal());
        }
        match tokio::time::timeout(after, request.send()).await {
            Err(_) => Err(HubError::Silent { host, after }),
            Ok(sent) => sent.map_err(|error| broken(host, error)),
        }
    }

    fn judged(&self, answer: Answer, asked: Asked) -> Result<Answer, HubError> {
        let (status, headers) = (answer.response.status(), answer.response.headers());
        match status {
            StatusCode::OK | StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => Ok(answer),
            _ if answer.is_hub => {
                let page = format!("{}{}", self.endpoint, asked.repo);
                let scene = Scene { host: &answer.host, has_token: self.token.is_some(), page };
                Err(refusal::of_hub(status, headers, asked, scene))
            }
            _ => Err(refusal::elsewhere(status, headers, &answer.host)),
        }
    }

    fn is_hub(&self, url: &Url) -> bool {
        url.origin() == self.endpoint.origin()
    }

    /// Never from HTTPS into the clear, and in the clear to this machine alone.
    fn may_follow(&self, to: &Url) -> bool {
        let near = match to.host() {
            Some(url_host) => is_loopback(&url_host.to_string()),
            None => false,
        };
        to.scheme() == "https" || (to.scheme() == "http" && self.endpoint.scheme() == "http" && near)
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl Answer {
    /// Where the bytes that come begin.
    fn from(&self, file: &RemoteFile, asked: u64) -> Result<u64, HubError> {
        let differs = |problem: String| HubError::Differs { file: file.name.clone(), problem };
        match self.response.status() {
            StatusCode::PARTIAL_CONTENT => {
                let range = self.response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
                let range = range.and_then(content_range);
                match range.ok_or_else(|| differs("a part of it comes without its place".to_owned()))? {
                    (start, total) if start == asked && total.is_none_or(|total| total == file.bytes) => {
                        Ok(asked)
                    }
                    (start, _) => {
                        Err(differs(format!("byte {asked} is asked for, and it comes from byte {start}")))
                    }
                }
            }
            StatusCode::RANGE_NOT_SATISFIABLE => Err(differs(format!("it ends before byte {asked}"))),
            _ => Ok(0),
        }
    }
}

/// `bytes 10-99/100`, `bytes 10-99/*`.
fn content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let start = range.split_once('-')?.0.parse().ok()?;
    Some((start, total.parse().ok()))
}

impl Said {
    fn of(headers: &HeaderMap) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let bare = |etag: String| etag.trim_start_matches("W/").trim_matches('"').to_owned();
        Self {
            commit: text("x-repo-commit"),
            etag: text("x-linked-etag").map(bare),
            bytes: text("x-linked-size").and_then(|bytes| bytes.parse().ok()),
        }
    }

    /// A hub that gives out another file than it lists is not believed, before a byte is written.
    fn agrees(&self, file: &RemoteFile, commit: &str) -> Result<(), HubError> {
        let differs = |problem: String| Err(HubError::Differs { file: file.name.clone(), problem });
        if let Some(other) = self.commit.as_ref().filter(|other| *other != commit) {
            return differs(format!("it is of commit {other}, not {commit}"));
        }
        if let Some(bytes) = self.bytes.filter(|bytes| *bytes != file.bytes) {
            return differs(format!("it has {bytes} bytes, not {}", file.bytes));
        }
        let digest = |text: &String| Digest::sha256(text).or_else(|| Digest::git_sha1(text));
        match self.etag.as_ref().and_then(digest).filter(|digest| *digest != file.digest) {
            Some(other) => differs(format!("its digest is {}, not {}", other.as_str(), file.digest.as_str())),
            None => Ok(()),
        }
    }
}

impl Coming {
    /// The next bytes, or none at the end.
    pub(super) async fn chunk(&mut self) -> Result<Option<bytes::Bytes>, HubError> {
        let after = self.silence_max;
        match tokio::time::timeout(after, self.response.chunk()).await {
            Err(_) => Err(HubError::Silent { host: self.host.clone(), after }),
            Ok(chunk) => chunk.map_err(|error| broken(self.host.clone(), error)),
        }
    }

    pub(super) fn ended_early(&self) -> HubError {
        HubError::Short { host: self.host.clone() }
    }
}

fn broken(host: String, error: reqwest::Error) -> HubError {
    let source = error.without_url();
    if source.is_connect() { HubError::Connect { host, source } } else { HubError::Broken { host, source } }
}

fn next(response: &Response, url: &Url) -> Option<Url> {
    let is_redirect = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
    let location = response.headers().get(LOCATION).filter(|_| is_redirect)?;
    url.join(location.to_str().ok()?).ok()
}

fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, PLAIN).to_string()
}

fn token(settings: &config::Hub) -> Result<Option<Secret>, HubError> {
    let text = match &settings.token_file {
        Some(path) => std::fs::read_to_string(path)
            .map_err(|source| HubError::ReadToken { path: path.clone(), source })?,
        None => settings.token.reveal().to_owned(),
    };
    match text.trim() {
        "" if settings.token_file.is_none() => Ok(None),
        token if !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic()) => {
            Ok(Some(Secret::new(token)))
        }
        _ => Err(HubError::BadToken),
    }
}

fn client(settings: &config::Hub) -> Result<Client, HubError> {
    const CA: &str = "model.hub.ca_file";
    let roots = match &settings.ca_file {
        Some(path) => tls::authorities(CA, path)?,
        None if settings.endpoint.starts_with("http://") => RootCertStore::empty(),
        None => tls::system_authorities(CA)?,
    };
    let files = tls::Files {
        certificate: ("", None),
        key: ("", None),
        client_ca: ("", None),
        client_certificates: ClientCertificates::default(),
    };
    let builder = Client::builder()
        .tls_backend_preconfigured(files.client(roots)?)
        .redirect(redirect::Policy::none())
        .no_proxy()
        .connect_timeout(settings.timeout())
        .user_agent(concat!("radiant/", env!("CARGO_PKG_VERSION")));
    let builder = match settings.proxy.as_str() {
        "" => builder,
        proxy => builder.proxy(Proxy::all(proxy).map_err(HubError::SetUp)?),
    };
    builder.build().map_err(HubError::SetUp)
}
