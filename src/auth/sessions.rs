//! Sessions: begun by a log-in, kept by refresh tokens that are good once, ended by whoever may.

use std::net::IpAddr;
use std::time::Duration;

use super::access::Shown;
use super::secret::{self, Secret};
use super::tokens::Claims;
use super::{Access, Caller, Denied, trail};
use crate::audit::{Action, Actor, ObjectKind, Outcome};
use crate::clock::Timestamp;
use crate::db::sessions::{self, Holder, Refresh, Session};
use crate::db::users::{self, User};
use crate::db::{Batch, DbError};
use crate::ids;
use crate::telemetry::metrics::auth as metric;

/// Bytes of a User-Agent that are kept.
const AGENT_BYTES_MAX: usize = 200;

/// Where somebody is, with what, and in the course of which request.
#[derive(Debug, Clone, Default)]
pub struct Client {
    pub address: Option<IpAddr>,
    pub agent: Option<String>,
    pub request_id: Option<String>,
}

/// What a log-in or a refresh gives.
#[derive(Debug)]
pub struct Granted {
    pub access: Secret,
    pub access_lifetime: Duration,
    pub refresh: Secret,
    pub refresh_lifetime: Duration,
    pub refresh_expires_at: Timestamp,
    pub session: Session,
    pub user: User,
}

/// A refresh token that is about to exist.
struct NewRefresh {
    token: Secret,
    digest: secret::Digest,
    provider_token: Option<Vec<u8>>,
    expires_at: Timestamp,
}

impl NewRefresh {
    fn row(&self) -> Refresh<'_> {
        Refresh {
            digest: &self.digest,
            expires_at: self.expires_at,
            provider_token: self.provider_token.as_deref(),
        }
    }
}

/// What somebody has proved by who he is.
pub(super) enum Proof {
    Password,
    /// The provider's word, and what it can be asked by again.
    Provider(Option<Secret>),
}

impl Access {
    pub async fn log_in(&self, name: &str, password: &str, client: &Client) -> Result<Granted, Denied> {
        let known = users::credentials(&self.db, name).await?;
        let attempt = Shown { name, known, password, action: Action::LogIn };
        let user = self.check_password(attempt, client).await?;
        self.begin_session(user, Proof::Password, client).await
    }

    /// For somebody who has proved who he is.
    pub(super) async fn begin_session(
        &self,
        user: User,
        proof: Proof,
        client: &Client,
    ) -> Result<Granted, Denied> {
        let now = self.clock.now();
        let (means, vouched_at, provider_token) = match proof {
            Proof::Password => ("password", None, None),
            Proof::Provider(token) => ("provider", Some(now), token),
        };
        let session = Session {
            id: ids::row_id(),
            account: user.id.clone(),
            means: means.to_owned(),
            client: client.address.map(|address| address.to_string()).unwrap_or_default(),
            agent: client.agent.as_deref().map(cut),
            created_at: now,
            auth_time: now,
            last_used_at: now,
            expires_at: now.plus(self.settings.session_max()),
            ended_at: None,
            vouched_at,
        };
        let refresh = self.new_refresh(&session, provider_token.as_ref(), now)?;
        let mut batch = sessions::begin(&session, refresh.row());
        batch.push(sessions::end_oldest(&user.id, self.settings.sessions_max, "too-many", now));
        batch.push(users::logged_in(&user.id, now));
        let actor = trail::at_the_door(Some(&user), client, means);
        let object = (ObjectKind::Session, session.id.as_str());
        batch.push(trail::done(&actor, Action::LogIn, object, Outcome::Success, now));
        self.db.run(batch).await?;
        self.grant(Holder { session, user }, refresh, now).await
    }

    /// A refresh token for the next one. One that was used before ends the session: either the
    /// thief or the victim has it.
    pub async fn refresh(&self, token: &str, client: &Client) -> Result<Granted, Denied> {
        let now = self.clock.now();
        let shown = secret::digest(token);
        let issued = sessions::issued(&self.db, &shown).await?.ok_or(Denied::Token)?;
        if issued.is_used {
            return self.reused(&issued.session, client, now).await;
        }
        let holder = sessions::holder(&self.db, &issued.session).await?.ok_or(Denied::SessionEnded)?;
        if issued.expires_at <= now || holder.session.expires_at <= now {
            return Err(Denied::Expired);
        }
        let provider_token = issued.provider_token.and_then(|sealed| secret::opened(&sealed, token));
        let (holder, provider_token) = self.vouched_again(holder, provider_token, now).await?;
        let refresh = self.new_refresh(&holder.session, provider_token.as_ref(), now)?;
        let actor = trail::at_the_door(Some(&holder.user), client, "refresh-token");
        let object = (ObjectKind::Session, issued.session.as_str());
        let batch = sessions::rotate(&holder.session, &shown, refresh.row(), now);
        let batch = batch.then(trail::done(&actor, Action::RefreshSession, object, Outcome::Success, now));
        match self.db.run(batch).await {
            Ok(_) => self.grant(holder, refresh, now).await,
            Err(DbError::Affected { statement: sessions::USE, .. }) => {
                self.reused(&issued.session, client, now).await
            }
            Err(DbError::Affected { .. }) => Err(Denied::SessionEnded),
            Err(error) => Err(error.into()),
        }
    }

    async fn reused(&self, session: &str, client: &Client, now: Timestamp) -> Result<Granted, Denied> {
        metrics::counter!(metric::REUSED).increment(1);
        if let Some(session) = sessions::one(&self.db, session).await? {
            let user = users::one(&self.db, &session.account).await?;
            let actor = trail::at_the_door(user.as_ref(), client, "refresh-token");
            let object = (ObjectKind::Session, session.id.as_str());
            let batch = Batch::new().then(sessions::end(&session.id, "reused-token", now)).then(trail::done(
                &actor,
                Action::ReuseToken,
                object,
                Outcome::Denied,
                now,
            ));
            self.db.run(batch).await?;
            tracing::warn!(session = session.id, "a refresh token came twice: the session has ended");
        }
        self.remembered.forget();
        Err(Denied::SessionEnded)
    }

    /// Whether it had not ended before.
    pub async fn end_session(&self, id: &str, by: &Actor) -> Result<bool, Denied> {
        let now = self.clock.now();
        let own = sessions::one(&self.db, id).await?.is_some_and(|one| Some(&one.account) == by.id.as_ref());
        let (action, why) = match own {
            true => (Action::LogOut, "logged-out"),
            false => (Action::RevokeSession, "revoked"),
        };
        let object = (ObjectKind::Session, id);
        let batch = Batch::new().then_exactly(1, sessions::end(id, why, now)).then(trail::done(
            by,
            action,
            object,
            Outcome::Success,
            now,
        ));
        let written = self.db.run(batch).await;
        self.remembered.forget();
        match written {
            Ok(_) => Ok(true),
            Err(DbError::Affected { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// A new access token for somebody who has shown his password again: it says so.
    pub async fn renewed(&self, caller: &Caller) -> Result<(Secret, Duration), Denied> {
        let session = caller.session.as_deref().ok_or(Denied::NotAPerson)?;
        let holder = sessions::holder(&self.db, session).await?.ok_or(Denied::SessionEnded)?;
        self.access_token(&holder, self.clock.now()).await
    }

    fn new_refresh(
        &self,
        session: &Session,
        provider_token: Option<&Secret>,
        now: Timestamp,
    ) -> Result<NewRefresh, Denied> {
        let token = secret::random_text()?;
        let provider_token = provider_token.map(|theirs| secret::sealed(theirs, &token)).transpose()?;
        let expires_at = now.plus(self.settings.session_idle()).min(session.expires_at);
        Ok(NewRefresh {
            digest: secret::digest(&token),
            token: Secret::new(token),
            provider_token,
            expires_at,
        })
    }

    async fn grant(&self, holder: Holder, refresh: NewRefresh, now: Timestamp) -> Result<Granted, Denied> {
        let (access, access_lifetime) = self.access_token(&holder, now).await?;
        Ok(Granted {
            access,
            access_lifetime,
            refresh: refresh.token,
            refresh_lifetime: refresh.expires_at.since(now),
            refresh_expires_at: refresh.expires_at,
            session: holder.session,
            user: holder.user,
        })
    }

    pub(super) async fn access_token(
        &self,
        holder: &Holder,
        now: Timestamp,
    ) -> Result<(Secret, Duration), Denied> {
        let expires_at = now.plus(self.settings.access_token()).min(holder.session.expires_at);
        let claims = Claims {
            iss: self.settings.issuer.clone(),
            aud: self.settings.audience.clone(),
            sub: holder.user.id.clone(),
            exp: seconds(expires_at),
            nbf: seconds(now),
            iat: seconds(now),
            jti: ids::row_id(),
            sid: holder.session.id.clone(),
            roles: holder.user.roles.clone(),
            auth_time: seconds(holder.session.auth_time),
        };
        let token = self.keys.sign(&claims, now).await?;
        Ok((Secret::new(token), expires_at.since(now)))
    }
}

fn seconds(at: Timestamp) -> i64 {
    at.0.div_euclid(1_000_000)
}

fn cut(agent: &str) -> String {
    let end = (0..=AGENT_BYTES_MAX.min(agent.len())).rev().find(|at| agent.is_char_boundary(*at));
    agent[..end.unwrap_or(0)].to_owned()
}
