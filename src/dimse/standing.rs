//! Rights while an association lasts: those of the moment, not those of its beginning.

use tokio::time::Instant;

use super::StoreSink;
use super::association::Association;
use super::services::ServiceClass;
use super::user_identity::Identified;
use crate::ul::command::field;
use crate::ul::connection::Transport;

/// What is known of a user, and since when.
#[derive(Debug)]
pub(super) struct Standing {
    looked_at: Instant,
    is_good: bool,
}

impl Standing {
    /// Of somebody who was let in just now.
    pub(super) fn now() -> Self {
        Self { looked_at: Instant::now(), is_good: true }
    }
}

impl<S: Transport, K: StoreSink> Association<'_, S, K> {
    /// Whether what a message asks for may still be done. Who uses the association is looked at again when that
    /// was some seconds ago; what is answered to us, and what ends something, needs no right.
    pub(super) async fn still_may(&mut self, command_field: u16, service: ServiceClass) -> bool {
        let asks = command_field & field::RESPONSE == 0 && command_field != field::C_CANCEL;
        let Some(needed) = service.needs().filter(|_| asks && self.caller.user.is_some()) else {
            return true;
        };
        if self.standing.looked_at.elapsed() >= self.shared.server.settings.recheck {
            self.look_again().await;
        }
        self.standing.is_good && self.caller.may(needed)
    }

    async fn look_again(&mut self) {
        let Some(identity) = self.caller.identity.clone() else { return };
        let found = (self.shared.server.identify)(identity.as_ref(), self.caller.address).await;
        self.standing = Standing { looked_at: Instant::now(), is_good: found != Identified::Refused };
        match found {
            Identified::Accepted { user: Some(user), .. } => self.caller.be_used_by(*user),
            Identified::Accepted { user: None, .. } => {}
            Identified::Refused => tracing::warn!("whoever uses the association may no longer"),
        }
    }
}
