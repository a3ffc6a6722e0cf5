//! Who comes in: every way to prove who one is, in one place.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;

use super::backoff::Attempt;
use super::keys::{Jwk, Keys};
use super::oidc::{Oidc, OidcError};
use super::passwords::{Passwords, Verdict};
use super::remembered::Remembered;
use super::secret::{self, Digest};
use super::sessions::Client;
use super::tokens::{Claims, Parties};
use super::trail;
use super::{Caller, Denied, Means, Permission, Reach, Role, Subject, reach};
use crate::audit::{Action, ObjectKind, Outcome};
use crate::clock::{Clock, Timestamp};
use crate::config::{self, Config};
use crate::db::users::{self, Credentials, User};
use crate::db::{Batch, Db, api_keys, sessions};
use crate::telemetry::limits;
use crate::telemetry::metrics::auth as metric;

#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    #[error(transparent)]
    Settings(#[from] Denied),
    #[error(transparent)]
    Provider(#[from] OidcError),
}

impl From<secret::NoRandomness> for AccessError {
    fn from(error: secret::NoRandomness) -> Self {
        Self::Settings(error.into())
    }
}

/// Users, their sessions, keys of devices, and the keys that sign tokens. One for all listeners.
pub struct Access {
    pub(super) db: Db,
    pub(super) clock: Clock,
    pub(super) settings: config::Auth,
    pub(super) passwords: Passwords,
    pub(super) keys: Keys,
    pub(super) remembered: Remembered,
    /// Where the secret of the first administrator is shown.
    pub(super) data_dir: PathBuf,
    /// Where one is configured.
    pub(super) oidc: Option<Oidc>,
    /// Of the digests of passwords that are remembered; gone with the process.
    digests: ring::hmac::Key,
}

impl Access {
    pub fn new(db: Db, clock: Clock, config: &Config) -> Result<Self, AccessError> {
        let settings = config.auth.clone();
        Ok(Self {
            passwords: Passwords::new(&settings)?,
            oidc: Oidc::new(&settings.oidc)?,
            keys: Keys::new(db.clone(), settings.signing_key(), settings.signing_key_published()),
            remembered: Remembered::new(settings.tokens_remembered_max),
            digests: ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &secret::random::<32>()?),
            data_dir: config.server.data_dir.clone(),
            db,
            clock,
            settings,
        })
    }

    /// `Authorization: Bearer` with a token of ours. Cheap: a token that was good a moment ago is
    /// looked up in memory, and what the session and the account have become is asked of the
    /// database at most every `auth.token_recheck_s`.
    pub async fn by_access_token(&self, token: &str) -> Result<Caller, Denied> {
        let now = self.clock.now();
        let shown = secret::digest(token);
        if let Some(caller) = self.remembered.get(&shown, now) {
            return Ok(caller);
        }
        let claims = self.keys.verify(token, self.parties(), now).await?;
        let caller = self.of_claims(&claims).await?;
        let expires_at = Timestamp(claims.exp.saturating_mul(1_000_000));
        self.remember(shown, &caller, expires_at, now);
        Ok(caller)
    }

    /// Name and password: basic authentication and the user identity of an association. `from`
    /// counts towards the back-off. The same answer, after the same time, for a name that nobody has
    /// and for a wrong password.
    pub async fn by_password(&self, name: &str, password: &str, from: IpAddr) -> Result<Caller, Denied> {
        let now = self.clock.now();
        let known = users::credentials(&self.db, name).await?;
        let shown = known.as_ref().and_then(|known| self.shown(known, password));
        let remembered = shown.and_then(|shown| self.remembered.get(&shown, now));
        if let (Some(_), Some(Credentials { user, .. })) = (remembered, &known) {
            return self.of_user(user, Means::Basic, Some(now), None).await;
        }
        let client = Client { address: Some(from), ..Client::default() };
        let attempt = Shown { name, known, password, action: Action::Authenticate };
        let user = self.check_password(attempt, &client).await?;
        let caller = self.of_user(&user, Means::Basic, Some(now), None).await?;
        if let Some(shown) = shown {
            self.remembered.keep(shown, &caller, now.plus(self.settings.password_remembered()));
        }
        Ok(caller)
    }

    /// A key of a device, `rk_<id>_<secret>`: from `X-Api-Key` or as a bearer token.
    pub async fn by_api_key(&self, key: &str) -> Result<Caller, Denied> {
        let now = self.clock.now();
        let shown = secret::digest(key);
        if let Some(caller) = self.remembered.get(&shown, now) {
            return Ok(caller);
        }
        let parts = key.strip_prefix(API_KEY).and_then(|rest| rest.split_once('_'));
        let (id, end) = parts.ok_or(Denied::Token)?;
        let known = api_keys::by_secret(&self.db, id, &secret::digest(end)).await?.ok_or(Denied::Token)?;
        if known.revoked_at.is_some() {
            return Err(Denied::Token);
        }
        if known.expires_at.is_some_and(|expires_at| expires_at <= now) {
            return Err(Denied::Expired);
        }
        let subject = Subject::ApiKey { id: known.id.clone(), name: known.name.clone() };
        let roles = BTreeSet::from([known.role]);
        let caller = Caller {
            reach: self.reach(&subject, &roles, known.only.as_ref()).await?,
            subject,
            roles,
            only: known.only.clone(),
            means: Means::ApiKey,
            authenticated_at: None,
            session: None,
        };
        self.note_use(&known, now);
        self.remember(shown, &caller, known.expires_at.unwrap_or(Timestamp(i64::MAX)), now);
        Ok(caller)
    }

    /// The password of somebody who is in already, shown again: what a signature asks for. The
    /// session of the caller counts as fresh from now on.
    pub async fn confirm(&self, caller: &Caller, password: &str) -> Result<(), Denied> {
        let Subject::User { id, name, .. } = &caller.subject else { return Err(Denied::NotAPerson) };
        let now = self.clock.now();
        let known = users::credentials_of(&self.db, id).await?;
        let attempt = Shown { name, known, password, action: Action::ConfirmIdentity };
        let user = self.check_password(attempt, &Client::default()).await?;
        let actor = trail::at_the_door(Some(&user), &Client::default(), "password");
        let object = (ObjectKind::User, user.id.as_str());
        let mut batch =
            Batch::new().then(trail::done(&actor, Action::ConfirmIdentity, object, Outcome::Success, now));
        if let Some(session) = &caller.session {
            batch.push(sessions::confirm(session, now));
        }
        self.db.run(batch).await?;
        Ok(())
    }

    /// Whether a caller has shown a secret so short ago that he may sign without showing it again.
    pub fn is_fresh(&self, caller: &Caller) -> bool {
        let now = self.clock.now();
        caller.authenticated_at.is_some_and(|at| now.since(at) <= self.settings.confirmed())
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The public keys that verify our tokens.
    pub async fn public_keys(&self) -> Result<Vec<Jwk>, Denied> {
        self.keys.public(self.clock.now()).await
    }

    pub(super) fn parties(&self) -> Parties<'_> {
        Parties { issuer: &self.settings.issuer, audience: &self.settings.audience }
    }

    async fn of_claims(&self, claims: &Claims) -> Result<Caller, Denied> {
        let holder = sessions::holder(&self.db, &claims.sid).await?.ok_or(Denied::SessionEnded)?;
        if holder.user.id != claims.sub || holder.session.expires_at <= self.clock.now() {
            return Err(Denied::SessionEnded);
        }
        let at = Timestamp(claims.auth_time.saturating_mul(1_000_000));
        let session = Some(holder.session.id.clone());
        match self.of_user(&holder.user, Means::AccessToken, Some(at), session).await {
            // May be known, and nothing else.
            Err(Denied::MustChange) => Ok(self.bound(&holder.user, at, &claims.sid)),
            caller => caller,
        }
    }

    /// Rights are those of now, not those of the time when a token was made.
    async fn of_user(
        &self,
        user: &User,
        means: Means,
        authenticated_at: Option<Timestamp>,
        session: Option<String>,
    ) -> Result<Caller, Denied> {
        if user.must_change {
            return Err(Denied::MustChange);
        }
        let (subject, roles) = (subject(user), user.roles.clone());
        let reach = self.reach(&subject, &roles, None).await?;
        Ok(Caller { subject, roles, only: None, reach, means, authenticated_at, session })
    }

    async fn reach(
        &self,
        subject: &Subject,
        roles: &BTreeSet<Role>,
        only: Option<&BTreeSet<Permission>>,
    ) -> Result<Reach, Denied> {
        Ok(reach::of(&self.db, subject, roles, only, self.settings.ungrouped_studies).await?)
    }

    /// Before the password is changed.
    fn bound(&self, user: &User, authenticated_at: Timestamp, session: &str) -> Caller {
        Caller {
            subject: subject(user),
            roles: user.roles.clone(),
            only: Some(BTreeSet::new()),
            reach: Reach::nothing(),
            means: Means::AccessToken,
            authenticated_at: Some(authenticated_at),
            session: Some(session.to_owned()),
        }
    }

    /// One attempt, counted.
    pub(super) async fn check_password(&self, shown: Shown<'_>, client: &Client) -> Result<User, Denied> {
        let Shown { name, known, password, action } = shown;
        let now = self.clock.now();
        let attempt = Attempt::new(name, client.address);
        let held_back = attempt.begin(&self.db, &self.settings, now).await?;
        if !held_back.is_zero() {
            limits::hit("auth.failures_of_name_free");
            tokio::time::sleep(held_back).await;
        }
        let hash = known.as_ref().and_then(|known| known.password.as_deref());
        let verdict = match self.passwords.verify(hash, password).await {
            Err(error) => {
                self.db.run(attempt.not_made()).await?;
                return Err(error);
            }
            Ok(verdict) => verdict,
        };
        let actor = trail::at_the_door(known.as_ref().map(|known| &known.user), client, "password");
        let right = known.filter(|known| verdict != Verdict::Wrong && !known.user.disabled);
        let Some(known) = right else {
            attempted("password", "failure");
            self.db.run(Batch::new().then(trail::refused(&actor, action, now))).await?;
            return Err(Denied::Wrong);
        };
        attempted("password", "success");
        let batch = match verdict {
            Verdict::RightButOld => self.rehashed(attempt.succeeded(), &known, password).await?,
            _ => attempt.succeeded(),
        };
        self.db.run(batch).await?;
        Ok(known.user)
    }

    async fn rehashed(&self, batch: Batch, known: &Credentials, password: &str) -> Result<Batch, Denied> {
        let Some(old) = &known.password else { return Ok(batch) };
        let new = self.passwords.hash(password).await?;
        Ok(batch.then(users::rehash(&known.user.id, old, &new)))
    }

    fn remember(&self, shown: Digest, caller: &Caller, expires_at: Timestamp, now: Timestamp) {
        let until = now.plus(self.settings.token_recheck()).min(expires_at);
        self.remembered.keep(shown, caller, until);
    }

    /// Depends on the stored hash: a password that was changed anywhere is not remembered here.
    fn shown(&self, known: &Credentials, password: &str) -> Option<Digest> {
        let mut context = ring::hmac::Context::with_key(&self.digests);
        let hash = known.password.as_deref().filter(|_| !known.user.disabled)?;
        for part in [known.user.id.as_str(), hash, password] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        context.sign().as_ref().try_into().ok()
    }

    /// Nobody waits for it, and it may be lost.
    fn note_use(&self, key: &api_keys::ApiKey, now: Timestamp) {
        let minute_ago = now.minus(std::time::Duration::from_secs(60));
        if key.last_used_at.is_none_or(|at| at < minute_ago) {
            let batch = Batch::new().then(api_keys::used(&key.id, now, minute_ago));
            let db = self.db.clone();
            tokio::spawn(async move { drop(db.run(batch).await) });
        }
    }
}

/// A name and a password as somebody shows them, with what is known of the name.
pub(super) struct Shown<'a> {
    pub(super) name: &'a str,
    pub(super) known: Option<Credentials>,
    pub(super) password: &'a str,
    /// What it is shown for.
    pub(super) action: Action,
}

/// What the keys of devices begin with.
pub const API_KEY: &str = "rk_";

pub(super) fn subject(user: &User) -> Subject {
    Subject::User { id: user.id.clone(), name: user.name.clone(), display_name: user.display_name.clone() }
}

pub(super) fn attempted(means: &'static str, outcome: &'static str) {
    metrics::counter!(metric::ATTEMPTS, "means" => means, "outcome" => outcome).increment(1);
}
