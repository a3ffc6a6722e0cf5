//! Searches on a replica, as long as nobody could see that it is one.

use deadpool_postgres::Object;
use tokio_postgres::types::PgLsn;

use super::connect::Servers;

/// A connection to the replica if it has everything that any instance had committed when this was
/// asked: whoever searches for what was just stored finds it.
pub(super) async fn caught_up(servers: &Servers) -> Option<Object> {
    let replica = servers.replica.as_ref()?.get().await.ok()?;
    let primary = servers.primary.get().await.ok()?;
    let written = position(&primary, "select pg_current_wal_lsn()").await?;
    let replayed = position(&replica, "select pg_last_wal_replay_lsn()").await?;
    (replayed >= written).then_some(replica)
}

async fn position(client: &Object, sql: &'static str) -> Option<PgLsn> {
    let prepared = client.prepare_cached(sql).await.ok()?;
    client.query_one(&prepared, &[]).await.ok()?.try_get(0).ok()
}
