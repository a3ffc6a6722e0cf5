//! Searches on a replica, as long as nobody could see that it is one.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use deadpool_postgres::{Object, Pool};
use metrics::counter;
use tokio::time::{Instant, timeout};
use tokio_postgres::types::PgLsn;

use super::PostgresSettings;
use crate::telemetry::metrics::db as metric;

/// A server that follows the primary. It makes searches cheaper and never slower: one that does not say
/// soon how far it is is left alone for a while.
pub(super) struct Replica {
    pool: Pool,
    timeout: Duration,
    pause: Duration,
    away_until: Mutex<Option<Instant>>,
}

impl Replica {
    pub(super) fn new(pool: Pool, settings: &PostgresSettings) -> Self {
        let (timeout, pause) = (settings.replica_timeout, settings.replica_pause);
        Self { pool, timeout, pause, away_until: Mutex::default() }
    }

    /// A connection if it has everything that any instance had committed when this was asked: whoever searches
    /// for what was just stored finds it.
    pub(super) async fn caught_up(&self, primary: &Pool) -> Option<Object> {
        if self.is_left_alone() {
            return told("away", None);
        }
        // First what is written: whatever has replayed that later has it.
        let written = position(&primary.get().await.ok()?, "select pg_current_wal_lsn()").await?;
        match timeout(self.timeout, self.replayed()).await.ok().flatten() {
            Some((replica, replayed)) if replayed >= written => told("asked", Some(replica)),
            Some(_) => told("behind", None),
            None => {
                self.leave_alone();
                told("away", None)
            }
        }
    }

    async fn replayed(&self) -> Option<(Object, PgLsn)> {
        let replica = self.pool.get().await.ok()?;
        let replayed = position(&replica, "select pg_last_wal_replay_lsn()").await?;
        Some((replica, replayed))
    }

    fn is_left_alone(&self) -> bool {
        let until = *self.away_until.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| Instant::now() < until)
    }

    pub(super) fn leave_alone(&self) {
        let until = Instant::now() + self.pause;
        *self.away_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
    }
}

fn told(outcome: &'static str, replica: Option<Object>) -> Option<Object> {
    counter!(metric::REPLICA, "outcome" => outcome).increment(1);
    replica
}

async fn position(client: &Object, sql: &'static str) -> Option<PgLsn> {
    let prepared = client.prepare_cached(sql).await.ok()?;
    client.query_one(&prepared, &[]).await.ok()?.try_get(0).ok()
}
