//! The time that the instances of one index go by.

use super::{Db, DbError, Statement};
use crate::clock::{Clock, Timestamp};

const NOW: &str = "select (extract(epoch from clock_timestamp()) * 1000000)::bigint";

/// What the server of a shared index says; `None` where the index is this process's own.
pub async fn now(db: &Db) -> Result<Option<Timestamp>, DbError> {
    if !db.is_shared() {
        return Ok(None);
    }
    let row = db.read_one(Statement::named("now", NOW)).await?;
    row.map(|row| row.int(0).map(Timestamp)).transpose()
}

/// The clock for what is written into the index: that of the server where it is shared.
pub async fn clock(db: &Db, own: Clock) -> Result<Clock, DbError> {
    Ok(now(db).await?.map_or(own, Clock::shared))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_shared_index_tells_the_time_and_another_leaves_it_to_the_process() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::for_test(dir.path());
        let clock = clock(&db, Clock::manual(Timestamp(5))).await.unwrap();
        assert_eq!(db.is_shared(), clock.now() > Timestamp(1_700_000_000_000_000));
    }
}
