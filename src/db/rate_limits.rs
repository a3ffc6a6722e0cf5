//! What was drawn from the buckets of requests, in SQL: instances that share the index share these.

use std::time::Duration;

use super::{Batch, Db, DbError, Statement};
use crate::clock::Timestamp;

/// Rows that one sweep takes away.
const SWEPT_AT_ONCE: i64 = 5000;

/// Adds what was drawn to a bucket; gives the time when it will be full again, with what all others drew.
pub async fn draw(db: &Db, bucket: &str, cost: Duration, now: Timestamp) -> Result<Timestamp, DbError> {
    let statement = Statement::named(
        "draw_rate_limit",
        "insert into rate_limit (bucket, full_at) values ($1, $2)
         on conflict (bucket) do update set full_at =
            (case when rate_limit.full_at > $3 then rate_limit.full_at else $3 end) + ($2 - $3)
         returning full_at",
    );
    let statement = statement.bind(bucket).bind(now.plus(cost)).bind(now);
    let effects = db.run(Batch::new().then(statement)).await?;
    let row = effects.first().and_then(|effect| effect.rows.first());
    row.map_or(Ok(now.plus(cost)), |row| Ok(Timestamp(row.int(0)?)))
}

/// Lets go of buckets that are full, some at a time.
pub fn forget(now: Timestamp) -> Batch {
    let statement = Statement::named(
        "forget_rate_limits",
        "delete from rate_limit where bucket in
            (select bucket from rate_limit where full_at < $1 order by full_at limit $2)",
    );
    Batch::new().then(statement.bind(now).bind(SWEPT_AT_ONCE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_several_draw_adds_up_and_time_gives_it_back() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::for_test(dir.path());
        let draw = async |seconds, now| {
            let full_at = draw(&db, "a", Duration::from_secs(seconds), Timestamp(now)).await.unwrap();
            full_at.0 / 1_000_000
        };
        assert_eq!([draw(3, 0).await, draw(2, 0).await, draw(1, 1_000_000).await], [3, 5, 6]);
        assert_eq!(draw(1, 100_000_000).await, 101, "it was full");
        db.run(forget(Timestamp(200_000_000))).await.unwrap();
        assert_eq!(draw(1, 0).await, 1);
    }
}
