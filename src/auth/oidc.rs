//! Log-in at an OpenID Connect provider: the code flow with PKCE, state and nonce.

mod again;
mod provider;

use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use self::provider::Provider;
use super::secret::{self, Secret};
use super::sessions::{Client, Proof};
use super::users::NewUser;
use super::{Access, Denied, Granted, Role, UserError};
use crate::audit::Actor;
use crate::config::{self, TakenNames, UnknownUsers};
use crate::db::provider_logins::{self, ProviderLogin};
use crate::db::users::{self, Profile, User};
use crate::db::{Batch, DbError};
use crate::telemetry::limits;
use crate::tls::TlsError;

/// Between leaving for the provider and coming back.
const AWAY_MAX: Duration = Duration::from_secs(600);
/// Log-ins that are away at a time.
const AWAY_AT_ONCE: i64 = 10_000;

#[derive(Debug, thiserror::Error)]
pub enum OidcError {
    #[error("there is no identity provider (auth.oidc.issuer)")]
    None,
    #[error("too many log-ins are under way")]
    TooMany,
    /// Not begun by this browser, begun too long ago, or come back before.
    #[error("this log-in was not begun here, or too long ago")]
    State,
    #[error("the identity provider has let nobody in")]
    Refused,
    #[error("what the identity provider says cannot be believed: {0}")]
    IdToken(&'static str),
    #[error("the identity provider cannot be asked for its {0}")]
    Unreachable(&'static str),
    #[error("the identity provider knows a user that has no place here")]
    NotLetIn,
    #[error(
        "the name that the identity provider gives belongs to an account of this server (auth.oidc.taken_names)"
    )]
    NameTaken,
    #[error("auth.oidc.client_secret_file cannot be read")]
    Secret(#[source] std::io::Error),
    #[error("auth.oidc.roles names the role {0}, which there is not")]
    Role(String),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("a client for the identity provider cannot be made")]
    Http(#[source] reqwest::Error),
    #[error(transparent)]
    Denied(#[from] Denied),
}

impl From<DbError> for OidcError {
    fn from(error: DbError) -> Self {
        Self::Denied(error.into())
    }
}

impl From<secret::NoRandomness> for OidcError {
    fn from(error: secret::NoRandomness) -> Self {
        Self::Denied(error.into())
    }
}

/// A browser on its way to the provider.
#[derive(Debug)]
pub struct Leaving {
    pub url: String,
    /// For a cookie: whoever comes back has it.
    pub browser: Secret,
    pub lifetime: Duration,
}

/// What the provider says about somebody.
#[derive(Debug)]
struct Vouched {
    subject: String,
    name: Option<String>,
    display_name: Option<String>,
    email: Option<String>,
    roles: BTreeSet<Role>,
}

pub(super) struct Oidc {
    provider: Provider,
    settings: config::Oidc,
}

impl Oidc {
    /// None where none is configured.
    pub(super) fn new(settings: &config::Oidc) -> Result<Option<Self>, OidcError> {
        if settings.issuer.is_empty() {
            return Ok(None);
        }
        Ok(Some(Self { provider: Provider::new(settings)?, settings: settings.clone() }))
    }
}

impl Access {
    fn oidc(&self) -> Result<&Oidc, OidcError> {
        self.oidc.as_ref().ok_or(OidcError::None)
    }

    /// Whether this is the issuer that people are sent to.
    pub fn is_provider(&self, issuer: &str) -> bool {
        self.oidc.as_ref().is_some_and(|oidc| oidc.settings.issuer == issuer)
    }

    /// `callback` is where the provider sends the browser back to, `return_to` a path of ours that it
    /// goes to in the end.
    pub async fn leave_for_provider(&self, callback: &str, return_to: &str) -> Result<Leaving, OidcError> {
        let oidc = self.oidc()?;
        if provider_logins::open(&self.db).await? >= AWAY_AT_ONCE {
            limits::hit("fixed.provider_logins");
            return Err(OidcError::TooMany);
        }
        let now = self.clock.now();
        let [state, nonce, verifier, browser] = random_texts()?;
        let challenge = URL_SAFE_NO_PAD.encode(secret::digest(&verifier));
        let url = oidc.provider.authorize(&state, &nonce, &challenge, callback, now).await?;
        let login = ProviderLogin {
            nonce,
            verifier,
            return_to: return_to.to_owned(),
            expires_at: now.plus(AWAY_MAX),
        };
        let insert = provider_logins::insert(&login, &secret::digest(&state), &secret::digest(&browser));
        self.db.run(Batch::new().then(insert)).await?;
        Ok(Leaving { url, browser: Secret::new(browser), lifetime: AWAY_MAX })
    }

    /// A browser is back with a code: a session, and where the browser goes on.
    pub async fn back_from_provider(
        &self,
        state: &str,
        browser: &str,
        code: &str,
        callback: &str,
        client: &Client,
    ) -> Result<(Granted, String), OidcError> {
        let oidc = self.oidc()?;
        let now = self.clock.now();
        let away = provider_logins::take(&self.db, &secret::digest(state), &secret::digest(browser)).await?;
        let away = away.filter(|away| now < away.expires_at).ok_or(OidcError::State)?;
        let given = oidc.provider.exchange(code, &away.verifier, callback, now).await?;
        let id_token = given.id_token.ok_or(OidcError::Refused)?;
        let vouched = oidc.provider.verified(&id_token, &away.nonce, now).await?;
        let user = self.vouched_for(oidc, vouched).await?;
        let granted = self.begin_session(user, Proof::Provider(given.refresh_token), client).await?;
        Ok((granted, away.return_to))
    }

    async fn vouched_for(&self, oidc: &Oidc, vouched: Vouched) -> Result<User, OidcError> {
        let known = users::by_provider(&self.db, &oidc.settings.issuer, &vouched.subject).await?;
        let known = match known {
            None => self.of_that_name(oidc, &vouched).await?,
            known => known,
        };
        match known {
            Some(user) if user.disabled || vouched.roles.is_empty() => Err(OidcError::NotLetIn),
            Some(user) => self.as_vouched(user, vouched).await,
            None if oidc.settings.unknown_users == UnknownUsers::Refuse || vouched.roles.is_empty() => {
                Err(OidcError::NotLetIn)
            }
            None => self.create_vouched(oidc, vouched).await,
        }
    }

    /// An account of ours that has the name: linked where the configuration has it so, and not taken for
    /// another's otherwise.
    async fn of_that_name(&self, oidc: &Oidc, vouched: &Vouched) -> Result<Option<User>, OidcError> {
        let known = match &vouched.name {
            Some(name) => users::credentials(&self.db, name).await?,
            None => None,
        };
        let Some(known) = known.map(|known| known.user) else { return Ok(None) };
        if vouched.roles.is_empty() || known.disabled {
            return Err(OidcError::NotLetIn);
        }
        if oidc.settings.taken_names == TakenNames::Refuse || known.provider.is_some() {
            return Err(OidcError::NameTaken);
        }
        let provider = (oidc.settings.issuer.as_str(), vouched.subject.as_str());
        self.link_user(&known, provider, &by()).await.map(Some).map_err(of_user)
    }

    /// Roles follow the provider.
    async fn as_vouched(&self, user: User, vouched: Vouched) -> Result<User, OidcError> {
        if user.roles == vouched.roles {
            return Ok(user);
        }
        let to = Profile {
            display_name: user.display_name.clone(),
            email: user.email.clone(),
            roles: vouched.roles,
            disabled: false,
        };
        self.change_user(&user, &to, &by()).await.map_err(of_user)
    }

    async fn create_vouched(&self, oidc: &Oidc, vouched: Vouched) -> Result<User, OidcError> {
        let name = vouched.name.unwrap_or_else(|| vouched.subject.clone());
        let new = NewUser {
            display_name: vouched.display_name.unwrap_or_else(|| name.clone()),
            name,
            email: vouched.email,
            roles: vouched.roles,
            password: None,
            provider: Some((oidc.settings.issuer.clone(), vouched.subject)),
        };
        let (user, _) = self.create_user(new, &by()).await.map_err(of_user)?;
        Ok(user)
    }
}

fn by() -> Actor {
    Actor::program("identity provider")
}

fn of_user(error: UserError) -> OidcError {
    match error {
        UserError::Denied(denied) => denied.into(),
        error => {
            tracing::warn!(%error, "somebody whom the identity provider knows cannot be let in");
            OidcError::NotLetIn
        }
    }
}

fn random_texts<const N: usize>() -> Result<[String; N], OidcError> {
    let mut texts = [const { String::new() }; N];
    for text in &mut texts {
        *text = secret::random_text()?;
    }
    Ok(texts)
}
