//! Attempts to come in that failed, in SQL: shared by all servers, so that none can be tried out by
//! asking another.

use super::{Db, DbError, Effect, Row, Statement};
use crate::clock::Timestamp;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failures {
    pub in_a_row: i64,
    pub last_at: Timestamp,
}

/// Rows that one sweep takes away.
const SWEPT_AT_ONCE: i64 = 500;

/// Counted before the secret is looked at: attempts at the same time do not slip through together.
/// What was last before `forgotten` does not count. Its row, for [`before`], says what was before.
pub fn count(key: &str, now: Timestamp, forgotten: Timestamp) -> Statement {
    Statement::named(
        "count_login_failure",
        "insert into login_failure (key, failures, last_at) values ($1, 1, $2)
         on conflict (key) do update set
            failures = case when login_failure.last_at < $3 then 1 else login_failure.failures + 1 end,
            before_at = login_failure.last_at, last_at = excluded.last_at
         returning failures - 1, coalesce(before_at, last_at)",
    )
    .bind(key)
    .bind(now)
    .bind(forgotten)
}

/// What had failed when [`count`] counted.
pub fn before(effect: &Effect) -> Result<Failures, DbError> {
    effect.rows.first().map_or(Ok(Failures { in_a_row: 0, last_at: Timestamp(0) }), failures)
}

/// It was no failure.
pub fn take_back(key: &str) -> Statement {
    let sql = "update login_failure set failures = failures - 1 where key = $1 and failures > 0";
    Statement::named("take_back_login_failure", sql).bind(key)
}

pub fn forget(key: &str) -> Statement {
    Statement::named("forget_login_failures", "delete from login_failure where key = $1").bind(key)
}

pub fn sweep(before: Timestamp) -> Statement {
    Statement::named(
        "sweep_login_failures",
        "delete from login_failure where key in
            (select key from login_failure where last_at < $1 order by last_at limit $2)",
    )
    .bind(before)
    .bind(SWEPT_AT_ONCE)
}

pub async fn of(db: &Db, key: &str) -> Result<Option<Failures>, DbError> {
    let sql = "select failures, last_at from login_failure where key = $1";
    let row = db.look_up_one(Statement::named("login_failures", sql).bind(key)).await?;
    row.as_ref().map(failures).transpose()
}

fn failures(row: &Row) -> Result<Failures, DbError> {
    Ok(Failures { in_a_row: row.int(0)?, last_at: Timestamp(row.int(1)?) })
}
