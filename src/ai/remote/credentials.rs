//! What goes along with a request: what the configuration has, or an access token that Google gives
//! for the key of a service account (RFC 7523) or to a machine of its cloud.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::{Method, RequestBuilder};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::failure::Failure;
use super::wire::{self, Limits};
use crate::clock::{Clock, Timestamp};
use crate::config::{RemoteKind, RemoteModel, Secret, is_near};
use crate::outbound::AccessError;
use crate::outbound::access::Access;
use crate::telemetry::metrics::remote_model as metric;

const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// The longest that Google takes.
const ASSERTION_LIVES: Duration = Duration::from_secs(3600);
/// A token is fetched anew so long before it ends; one that is good for less, at half its time.
const REFRESHED_BEFORE: Duration = Duration::from_secs(300);
const LIMITS: Limits =
    Limits { silence: Some(Duration::from_secs(30)), whole: Duration::from_secs(30), bytes_max: 64 << 10 };

pub(super) enum Credentials {
    /// The client has them.
    Configured,
    Tokens(Box<Tokens>),
}

pub(super) struct Tokens {
    from: Source,
    access: Access,
    clock: Clock,
    /// Whoever fetches one holds this: others wait for the same token.
    held: Mutex<Option<Token>>,
}

enum Source {
    /// A key file, read whenever a token is fetched: keys are changed while we run.
    ServiceAccount(PathBuf),
    /// The root of a metadata server.
    Machine(String),
}

#[derive(Clone)]
struct Token {
    text: Secret,
    refresh_at: Timestamp,
}

#[derive(Deserialize)]
struct Key {
    client_email: String,
    private_key: Secret,
    #[serde(default)]
    private_key_id: Option<String>,
    token_uri: String,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    scope: &'a str,
    aud: &'a str,
    iat: i64,
    exp: i64,
}

#[derive(Deserialize)]
struct Granted {
    access_token: Secret,
    expires_in: u64,
}

impl Credentials {
    pub(super) fn new(settings: &RemoteModel, clock: &Clock) -> Result<Self, AccessError> {
        let configured = settings.access();
        let has_bearer = configured.bearer.is_some() || configured.bearer_file.is_some();
        if settings.kind != RemoteKind::Vertex || has_bearer {
            return Ok(Self::Configured);
        }
        let from = match &settings.vertex.credentials_file {
            Some(path) => Source::ServiceAccount(path.clone()),
            None => Source::Machine(settings.vertex.metadata_url.trim_end_matches('/').to_owned()),
        };
        // Headers and certificates of the configuration are for the model, not for who gives tokens.
        let access = Access::new("model.remote.vertex", &Default::default(), settings.connect_timeout())?;
        Ok(Self::Tokens(Box::new(Tokens { from, access, clock: clock.clone(), held: Mutex::default() })))
    }

    /// A token, if this needs one.
    pub(super) async fn token(&self) -> Result<Option<Secret>, Failure> {
        match self {
            Self::Configured => Ok(None),
            Self::Tokens(tokens) => tokens.token().await.map(Some),
        }
    }

    /// This token was not taken. Whether another can be had.
    pub(super) async fn forget(&self, token: Option<&Secret>) -> bool {
        let (Self::Tokens(tokens), Some(token)) = (self, token) else { return false };
        let mut held = tokens.held.lock().await;
        // Another request may have fetched a new one in the meantime.
        held.take_if(|held| held.text == *token);
        true
    }
}

impl Tokens {
    async fn token(&self) -> Result<Secret, Failure> {
        let mut held = self.held.lock().await;
        let now = self.clock.now();
        if let Some(token) = held.as_ref().filter(|token| now < token.refresh_at) {
            return Ok(token.text.clone());
        }
        let granted = self.fetch(now).await?;
        metrics::counter!(metric::ACCESS_TOKENS).increment(1);
        let lives = Duration::from_secs(granted.expires_in);
        let refresh_in = lives.saturating_sub(REFRESHED_BEFORE).max(lives / 2);
        let token = held.insert(Token { text: granted.access_token, refresh_at: now.plus(refresh_in) });
        Ok(token.text.clone())
    }

    async fn fetch(&self, now: Timestamp) -> Result<Granted, Failure> {
        let request = match &self.from {
            Source::ServiceAccount(path) => self.by_key(path, now)?,
            Source::Machine(root) => self.by_machine(root)?,
        };
        let body =
            wire::body(request, LIMITS, now).await.map_err(|failure| Failure::Token(Box::new(failure)))?;
        let none = |error: serde_json::Error| Failure::Token(Box::new(Failure::Garbage(kind_of(&error))));
        serde_json::from_slice(&body).map_err(none)
    }

    fn by_key(&self, path: &Path, now: Timestamp) -> Result<RequestBuilder, Failure> {
        let file = std::fs::read(path).map_err(Failure::Secrets)?;
        let key: Key = serde_json::from_slice(&file).map_err(|error| Failure::Key(kind_of(&error)))?;
        if !(key.token_uri.starts_with("https://") || is_near(&key.token_uri)) {
            return Err(Failure::Key("its token_uri does not begin with https://".to_owned()));
        }
        let assertion = key.assertion(now)?;
        let form = [("grant_type", GRANT), ("assertion", assertion.reveal())];
        let form = reqwest::Url::parse_with_params("http://form/", form);
        let form = form.map_err(|error| Failure::Key(error.to_string()))?;
        let request = self.access.request(Method::POST, &key.token_uri).map_err(Failure::Secrets)?;
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        Ok(request.body(form.query().unwrap_or_default().to_owned()))
    }

    fn by_machine(&self, root: &str) -> Result<RequestBuilder, Failure> {
        let url = format!("{root}/computeMetadata/v1/instance/service-accounts/default/token");
        let request = self.access.request(Method::GET, &url).map_err(Failure::Secrets)?;
        Ok(request.header("metadata-flavor", "Google"))
    }
}

impl Key {
    fn assertion(&self, now: Timestamp) -> Result<Secret, Failure> {
        let seconds = now.0.div_euclid(1_000_000);
        let claims = Claims {
            iss: &self.client_email,
            scope: SCOPE,
            aud: &self.token_uri,
            iat: seconds,
            exp: seconds + ASSERTION_LIVES.as_secs() as i64,
        };
        let key = EncodingKey::from_rsa_pem(self.private_key.reveal().as_bytes());
        let key = key.map_err(|error| Failure::Key(error.to_string()))?;
        let header = Header { kid: self.private_key_id.clone(), ..Header::new(Algorithm::RS256) };
        let assertion = jsonwebtoken::encode(&header, &claims, &key);
        assertion.map(Secret::new).map_err(|error| Failure::Key(error.to_string()))
    }
}

/// Without what the text held, which is secret.
fn kind_of(error: &serde_json::Error) -> String {
    match error.classify() {
        serde_json::error::Category::Data => "a field is missing or has another form".to_owned(),
        _ => "it is no JSON".to_owned(),
    }
}
