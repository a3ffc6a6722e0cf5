//! When each server last wrote: what its readiness stands on.

use super::{Batch, Db, DbError, Statement};
use crate::clock::Timestamp;

/// One row for each server, overwritten.
pub fn beat(server: &str, now: Timestamp) -> Batch {
    let statement = Statement::named(
        "heartbeat",
        "insert into heartbeat (server, at) values ($1, $2)
         on conflict (server) do update set at = excluded.at",
    );
    Batch::new().then(statement.bind(server).bind(now))
}

/// The server that wrote last, and when; none where none has.
pub async fn latest(db: &Db) -> Result<Option<(String, Timestamp)>, DbError> {
    let sql = "select server, at from heartbeat order by at desc limit 1";
    let row = db.read_one(Statement::named("latest_heartbeat", sql)).await?;
    row.map(|row| Ok((row.text(0)?.to_owned(), Timestamp(row.int(1)?)))).transpose()
}
