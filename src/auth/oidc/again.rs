//! People who stay: the provider is asked about them when their sessions are refreshed.

use super::{Oidc, OidcError, by};
use crate::audit::{Action, ObjectKind, Outcome};
use crate::auth::{Access, Denied, Secret, trail};
use crate::clock::Timestamp;
use crate::db::Batch;
use crate::db::sessions::{self, Holder};
use crate::telemetry::limits;

/// Why `session.ended_why` says that it ended.
const WHY: &str = "not-vouched-for";

impl Access {
    /// The holder of a session as he is now, and what the provider can be asked by the next time. The session
    /// ends where the provider does not know him any more, or could not say so for too long.
    pub(in crate::auth) async fn vouched_again(
        &self,
        holder: Holder,
        token: Option<Secret>,
        now: Timestamp,
    ) -> Result<(Holder, Option<Secret>), Denied> {
        let Some(vouched_at) = holder.session.vouched_at else { return Ok((holder, None)) };
        let Some(oidc) = &self.oidc else { return self.out(&holder, now).await };
        if now.since(vouched_at) < oidc.settings.ask_again() {
            return Ok((holder, token));
        }
        match self.asked_again(oidc, &holder, token.as_ref(), now).await {
            Ok((holder, next)) => Ok((holder, next.or(token))),
            Err(OidcError::None | OidcError::Unreachable(_)) => {
                self.unasked(oidc, holder, token, vouched_at, now).await
            }
            Err(OidcError::Denied(denied)) => Err(denied),
            Err(error) => {
                tracing::info!(%error, session = holder.session.id, "the identity provider vouches no longer");
                self.out(&holder, now).await
            }
        }
    }

    async fn asked_again(
        &self,
        oidc: &Oidc,
        holder: &Holder,
        token: Option<&Secret>,
        now: Timestamp,
    ) -> Result<(Holder, Option<Secret>), OidcError> {
        let token = token.ok_or(OidcError::None)?;
        let provider = holder.user.provider.as_ref().filter(|(issuer, _)| *issuer == oidc.settings.issuer);
        let (_, subject) = provider.ok_or(OidcError::NotLetIn)?;
        let (vouched, next) = oidc.provider.again(token, subject, now).await?;
        if vouched.roles.is_empty() {
            return Err(OidcError::NotLetIn);
        }
        let user = self.as_vouched(holder.user.clone(), vouched).await?;
        let session = sessions::Session { vouched_at: Some(now), ..holder.session.clone() };
        Ok((Holder { session, user }, next))
    }

    /// Nobody could be asked: for a while what was said last holds.
    async fn unasked(
        &self,
        oidc: &Oidc,
        holder: Holder,
        token: Option<Secret>,
        vouched_at: Timestamp,
        now: Timestamp,
    ) -> Result<(Holder, Option<Secret>), Denied> {
        if now.since(vouched_at) < oidc.settings.unasked_max() {
            return Ok((holder, token));
        }
        limits::hit("auth.oidc.unasked_max_h");
        self.out(&holder, now).await
    }

    async fn out<T>(&self, holder: &Holder, now: Timestamp) -> Result<T, Denied> {
        let object = (ObjectKind::Session, holder.session.id.as_str());
        let batch = Batch::new().then(sessions::end(&holder.session.id, WHY, now)).then(trail::done(
            &by(),
            Action::RevokeSession,
            object,
            Outcome::Success,
            now,
        ));
        self.db.run(batch).await?;
        self.remembered.forget();
        Err(Denied::SessionEnded)
    }
}
