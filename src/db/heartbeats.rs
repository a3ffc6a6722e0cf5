//! When each server last wrote: what its readiness stands on.

use super::{Batch, Statement};
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
