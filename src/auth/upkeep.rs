//! What goes on by itself: the next key in time, and what is over forgotten.

use std::time::Duration;

use super::{Access, Denied};
use crate::db::{Batch, login_failures, provider_logins, sessions};

/// Far less than a key is published before it signs.
pub const EVERY: Duration = Duration::from_secs(600);
/// What ended a session can be asked for a while.
const ENDED_SESSIONS_KEPT: Duration = Duration::from_secs(90 * 24 * 3600);

impl Access {
    pub async fn keep_up(&self) -> Result<(), Denied> {
        let now = self.clock.now();
        self.keys.rotate(now).await?;
        let batch = Batch::new()
            .then(provider_logins::sweep(now))
            .then(sessions::forget(now.minus(ENDED_SESSIONS_KEPT)))
            .then(login_failures::sweep(now.minus(self.settings.failures_forgotten())));
        self.db.run(batch).await?;
        Ok(())
    }
}
