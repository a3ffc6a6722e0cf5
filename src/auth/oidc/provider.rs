//! What is asked of the provider: its description, its keys, a token for a code.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use reqwest::{Client, RequestBuilder, Response, Url, redirect};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::Mutex;
use tokio_rustls::rustls::RootCertStore;

use super::{OidcError, Vouched};
use crate::auth::{Role, Secret};
use crate::clock::Timestamp;
use crate::config::{self, ClientCertificates};
use crate::tls;

const ANSWER_BYTES_MAX: usize = 256 << 10;
const KNOWN_FOR: Duration = Duration::from_secs(3600);
/// Whoever shows a token with a key that is not known has the keys fetched, but not more often.
const KEYS_AGAIN_AFTER: Duration = Duration::from_secs(30);
/// Asymmetric ones: no secret of ours verifies what the provider says.
const ALGORITHMS: [Algorithm; 4] = [Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::EdDSA];

pub(super) struct Provider {
    settings: config::Oidc,
    roles: Vec<(String, Role)>,
    secret: Option<Secret>,
    http: Client,
    known: Mutex<Option<Known>>,
}

#[derive(Clone)]
struct Known {
    description: Description,
    read_at: Timestamp,
    keys: JwkSet,
    keys_at: Timestamp,
}

/// OpenID Connect Discovery 1.0, 3.
#[derive(Debug, Clone, Deserialize)]
struct Description {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    userinfo_endpoint: Option<String>,
}

/// What a code or a refresh token is good for.
#[derive(Deserialize)]
pub(super) struct Given {
    pub(super) id_token: Option<Secret>,
    pub(super) refresh_token: Option<Secret>,
    access_token: Option<Secret>,
}

/// RFC 6749 5.2.
#[derive(Deserialize)]
struct Refusal {
    error: String,
}

#[derive(Debug, Deserialize)]
struct IdClaims {
    sub: String,
    aud: Option<Audience>,
    nonce: Option<String>,
    azp: Option<String>,
    #[serde(flatten)]
    others: BTreeMap<String, Value>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl IdClaims {
    /// OpenID Connect Core 1.0, 3.1.3.7: a token that others may hold as well has to say that we asked for
    /// it, and a token that another asked for is not ours, whoever may hold it.
    fn was_asked_for_by(&self, client_id: &str) -> bool {
        let alone = match &self.aud {
            None => true,
            Some(Audience::One(only)) => only == client_id,
            Some(Audience::Several(all)) => all.iter().all(|one| one == client_id),
        };
        self.azp.as_deref().map_or(alone, |party| party == client_id)
    }
}

impl Provider {
    pub(super) fn new(settings: &config::Oidc) -> Result<Self, OidcError> {
        let role = |mapping: &config::RoleMapping| {
            let role = Role::named(&mapping.role).ok_or_else(|| OidcError::Role(mapping.role.clone()))?;
            Ok((mapping.value.clone(), role))
        };
        let secret = settings.client_secret_file.as_ref().map(std::fs::read_to_string).transpose();
        let secret = secret.map_err(OidcError::Secret)?.map(|text| Secret::new(text.trim()));
        let roles = settings.roles.iter().map(role).collect::<Result<_, OidcError>>()?;
        Ok(Self {
            settings: settings.clone(),
            roles,
            secret,
            http: client(settings)?,
            known: Mutex::default(),
        })
    }

    /// Where the browser is sent.
    pub(super) async fn authorize(
        &self,
        state: &str,
        nonce: &str,
        challenge: &str,
        callback: &str,
        now: Timestamp,
    ) -> Result<String, OidcError> {
        let endpoint = self.known(now).await?.description.authorization_endpoint;
        let scopes = self.settings.scopes.join(" ");
        let parameters = [
            ("response_type", "code"),
            ("client_id", self.settings.client_id.as_str()),
            ("redirect_uri", callback),
            ("scope", scopes.as_str()),
            ("state", state),
            ("nonce", nonce),
            ("code_challenge", challenge),
            ("code_challenge_method", "S256"),
        ];
        let url = Url::parse_with_params(&endpoint, parameters);
        url.map(String::from).map_err(|_| OidcError::Unreachable("authorization endpoint"))
    }

    /// The tokens that a code stands for.
    pub(super) async fn exchange(
        &self,
        code: &str,
        verifier: &str,
        callback: &str,
        now: Timestamp,
    ) -> Result<Given, OidcError> {
        let form = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", callback),
            ("code_verifier", verifier),
        ];
        self.tokens(form, now).await
    }

    /// What is said now of somebody who stays, OpenID Connect Core 1.0, 12, and the next refresh token.
    pub(super) async fn again(
        &self,
        refresh: &Secret,
        subject: &str,
        now: Timestamp,
    ) -> Result<(Vouched, Option<Secret>), OidcError> {
        let form = vec![("grant_type", "refresh_token"), ("refresh_token", refresh.reveal())];
        let given = self.tokens(form, now).await?;
        let claims = match &given.id_token {
            Some(token) => Some(self.claims(token, now).await?),
            None => None,
        };
        let claims = match claims.filter(|claims| self.tells_roles(&claims.others)) {
            Some(claims) => claims,
            None => self.user_info(given.access_token.as_ref(), now).await?,
        };
        match claims.sub == subject {
            true => Ok((self.vouched(claims), given.refresh_token)),
            false => Err(OidcError::IdToken("its subject")),
        }
    }

    /// OpenID Connect Core 1.0, 5.3.
    async fn user_info(&self, access: Option<&Secret>, now: Timestamp) -> Result<IdClaims, OidcError> {
        const WHAT: &str = "user information";
        let endpoint = self.known(now).await?.description.userinfo_endpoint;
        let (endpoint, access) = endpoint.zip(access).ok_or(OidcError::IdToken("its roles"))?;
        fetch(self.http.get(endpoint).bearer_auth(access.reveal()), WHAT).await
    }

    async fn tokens(&self, mut form: Vec<(&str, &str)>, now: Timestamp) -> Result<Given, OidcError> {
        let endpoint = self.known(now).await?.description.token_endpoint;
        if self.secret.is_none() {
            form.push(("client_id", self.settings.client_id.as_str()));
        }
        let body = Url::parse_with_params("http://form/", form).map_err(|_| OidcError::Refused)?;
        let request = self.http.post(endpoint).body(body.query().unwrap_or_default().to_owned());
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let request = match &self.secret {
            // RFC 6749 2.3.1
            Some(secret) => {
                request.basic_auth(encoded(&self.settings.client_id), Some(encoded(secret.reveal())))
            }
            None => request,
        };
        granted(request).await
    }

    /// OpenID Connect Core 1.0, 3.1.3.7.
    pub(super) async fn verified(
        &self,
        token: &Secret,
        nonce: &str,
        now: Timestamp,
    ) -> Result<Vouched, OidcError> {
        let claims = self.claims(token, now).await?;
        match claims.nonce.as_deref() == Some(nonce) {
            true => Ok(self.vouched(claims)),
            false => Err(OidcError::IdToken("its nonce")),
        }
    }

    async fn claims(&self, token: &Secret, now: Timestamp) -> Result<IdClaims, OidcError> {
        let header =
            jsonwebtoken::decode_header(token.reveal()).map_err(|_| OidcError::IdToken("its form"))?;
        if !ALGORITHMS.contains(&header.alg) {
            return Err(OidcError::IdToken("its algorithm"));
        }
        let key = self.key(header.kid.as_deref(), now).await?;
        let key = DecodingKey::from_jwk(&key).map_err(|_| OidcError::IdToken("its key"))?;
        let mut validation = Validation::new(header.alg);
        validation.set_issuer(&[&self.settings.issuer]);
        validation.set_audience(&[&self.settings.client_id]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.validate_nbf = true;
        let claims = jsonwebtoken::decode::<IdClaims>(token.reveal(), &key, &validation);
        let claims = claims.map_err(|_| OidcError::IdToken("its signature or its claims"))?.claims;
        if !claims.was_asked_for_by(&self.settings.client_id) {
            return Err(OidcError::IdToken("its authorized party"));
        }
        match claims.sub.is_empty() {
            true => Err(OidcError::IdToken("its subject")),
            false => Ok(claims),
        }
    }

    fn tells_roles(&self, claims: &BTreeMap<String, Value>) -> bool {
        at_path(claims, &self.settings.roles_claim).is_some()
    }

    fn vouched(&self, claims: IdClaims) -> Vouched {
        let text = |name: &str| claims.others.get(name).and_then(Value::as_str).map(str::to_owned);
        let said = said_roles(&claims.others, &self.settings.roles_claim);
        let given = self.roles.iter().filter(|(value, _)| said.contains(value.as_str()));
        Vouched {
            name: text(&self.settings.name_claim),
            display_name: text("name"),
            email: text("email"),
            roles: given.map(|(_, role)| *role).collect(),
            subject: claims.sub,
        }
    }

    async fn key(&self, kid: Option<&str>, now: Timestamp) -> Result<Jwk, OidcError> {
        let known = self.known(now).await?;
        if let Some(key) = find(&known.keys, kid) {
            return Ok(key.clone());
        }
        let mut place = self.known.lock().await;
        let known = place.as_mut().ok_or(OidcError::Unreachable("keys"))?;
        if now.since(known.keys_at) >= KEYS_AGAIN_AFTER {
            known.keys_at = now;
            known.keys = fetch(self.http.get(&known.description.jwks_uri), "keys").await?;
        }
        find(&known.keys, kid).cloned().ok_or(OidcError::IdToken("its key"))
    }

    async fn known(&self, now: Timestamp) -> Result<Known, OidcError> {
        let mut place = self.known.lock().await;
        if let Some(known) = place.as_ref().filter(|known| now.since(known.read_at) < KNOWN_FOR) {
            return Ok(known.clone());
        }
        let issuer = self.settings.issuer.trim_end_matches('/');
        let url = format!("{issuer}/.well-known/openid-configuration");
        let description: Description = fetch(self.http.get(url), "description").await?;
        if description.issuer != self.settings.issuer {
            return Err(OidcError::IdToken("its issuer"));
        }
        let keys = fetch(self.http.get(&description.jwks_uri), "keys").await?;
        Ok(place.insert(Known { description, read_at: now, keys, keys_at: now }).clone())
    }
}

/// A token that does not name its key is by the only one.
fn find<'a>(keys: &'a JwkSet, kid: Option<&str>) -> Option<&'a Jwk> {
    match (kid, keys.keys.as_slice()) {
        (Some(kid), _) => keys.find(kid),
        (None, [only]) => Some(only),
        (None, _) => None,
    }
}

/// `roles`, or a path as `realm_access.roles`.
fn at_path<'a>(claims: &'a BTreeMap<String, Value>, path: &str) -> Option<&'a Value> {
    let mut names = path.split('.');
    let first = names.next().and_then(|name| claims.get(name));
    names.fold(first, |value, name| value.and_then(|value| value.get(name)))
}

/// One text, or a list of them.
fn said_roles<'a>(claims: &'a BTreeMap<String, Value>, path: &str) -> BTreeSet<&'a str> {
    match at_path(claims, path) {
        Some(Value::String(one)) => BTreeSet::from([one.as_str()]),
        Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).collect(),
        _ => BTreeSet::new(),
    }
}

fn client(settings: &config::Oidc) -> Result<Client, OidcError> {
    const CA: &str = "auth.oidc.ca_file";
    let roots = match &settings.ca_file {
        Some(path) => tls::authorities(CA, path)?,
        None => {
            tls::system_authorities(CA).or_else(|error| match settings.issuer.starts_with("http://") {
                true => Ok(RootCertStore::empty()),
                false => Err(error),
            })?
        }
    };
    let files = tls::Files {
        certificate: ("", None),
        key: ("", None),
        client_ca: ("", None),
        client_certificates: ClientCertificates::default(),
    };
    Client::builder()
        .tls_backend_preconfigured(files.client(roots)?)
        .redirect(redirect::Policy::none())
        .no_proxy()
        .timeout(settings.timeout())
        .user_agent(concat!("radiant/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(OidcError::Http)
}

fn encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// What is refused for good is told from what cannot be had now.
async fn granted(request: RequestBuilder) -> Result<Given, OidcError> {
    const WHAT: &str = "token";
    let response = send(request, WHAT).await?;
    if response.status().is_client_error() {
        let refusal: Refusal = read(response, WHAT).await?;
        return Err(match refusal.error.as_str() {
            "invalid_grant" => OidcError::Refused,
            _ => OidcError::Unreachable(WHAT),
        });
    }
    let response = response.error_for_status().map_err(|error| unreachable(error, WHAT))?;
    read(response, WHAT).await
}

async fn fetch<T: DeserializeOwned>(request: RequestBuilder, what: &'static str) -> Result<T, OidcError> {
    let response = send(request, what).await?;
    read(response.error_for_status().map_err(|error| unreachable(error, what))?, what).await
}

fn unreachable(error: reqwest::Error, what: &'static str) -> OidcError {
    tracing::warn!(error = %error.without_url(), what, "the identity provider does not answer");
    OidcError::Unreachable(what)
}

async fn send(request: RequestBuilder, what: &'static str) -> Result<Response, OidcError> {
    request.header("accept", "application/json").send().await.map_err(|error| unreachable(error, what))
}

async fn read<T: DeserializeOwned>(mut response: Response, what: &'static str) -> Result<T, OidcError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| unreachable(error, what))? {
        body.extend_from_slice(&chunk);
        if body.len() > ANSWER_BYTES_MAX {
            return Err(OidcError::Unreachable(what));
        }
    }
    serde_json::from_slice(&body).map_err(|_| OidcError::Unreachable(what))
}

#[cfg(test)]
mod tests {
    use super::IdClaims;

    fn is_ours(claims: &str) -> bool {
        let claims = format!(r#"{{"sub": "1", {claims}}}"#);
        serde_json::from_str::<IdClaims>(&claims).unwrap().was_asked_for_by("radiant")
    }

    #[test]
    fn a_token_for_us_alone_needs_no_authorized_party() {
        assert!(is_ours(r#""aud": "radiant""#) && is_ours(r#""aud": ["radiant"]"#));
    }

    #[test]
    fn a_token_that_others_may_hold_too_is_ours_where_we_asked_for_it() {
        assert!(is_ours(r#""aud": ["radiant", "others"], "azp": "radiant""#));
        assert!(!is_ours(r#""aud": ["radiant", "others"]"#));
    }

    #[test]
    fn a_token_that_another_asked_for_is_not_ours() {
        assert!(!is_ours(r#""aud": "radiant", "azp": "others""#));
    }
}
