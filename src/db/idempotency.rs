//! The first answers to requests that may be repeated.

use super::{Batch, Db, DbError, Row, Statement};
use crate::clock::Timestamp;

/// One request that may be repeated.
#[derive(Debug, Clone)]
pub struct Claim {
    pub caller: String,
    pub endpoint: String,
    pub key: String,
    /// Of this attempt to answer it.
    pub id: String,
    pub body_sha256: Vec<u8>,
}

/// What there is already under the key of a claim.
#[derive(Debug, PartialEq, Eq)]
pub struct Known {
    pub body_sha256: Vec<u8>,
    /// None while the first request is under way.
    pub kept: Option<Kept>,
    pub at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    pub status: i64,
    /// JSON.
    pub headers: Vec<u8>,
    pub answer: Vec<u8>,
}

/// What is kept at most.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Nothing from before.
    pub since: Timestamp,
    /// Of one caller.
    pub keys_max: u32,
}

/// Takes the key for this claim, and lets go of what is too old or too much.
///
/// # Errors
/// [`DbError::Unique`] when there is something under the key.
pub async fn claim(db: &Db, claim: &Claim, bounds: Bounds, now: Timestamp) -> Result<(), DbError> {
    let insert = Statement::named(
        "claim_idempotency",
        "insert into idempotency (caller, endpoint, key, claim, body_sha256, state, at)
         values ($1, $2, $3, $4, $5, 'open', $6)",
    )
    .bind(claim.caller.as_str())
    .bind(claim.endpoint.as_str())
    .bind(claim.key.as_str())
    .bind(claim.id.as_str())
    .bind(claim.body_sha256.clone())
    .bind(now);
    let too_old =
        Statement::named("forget_idempotency", "delete from idempotency where at < $1").bind(bounds.since);
    let too_many = Statement::named(
        "bound_idempotency",
        "delete from idempotency where caller = $1 and at < (select at from idempotency
            where caller = $1 order by at desc limit 1 offset $2)",
    )
    .bind(claim.caller.as_str())
    .bind(bounds.keys_max.saturating_sub(1));
    db.run(Batch::new().then(too_old).then(insert).then(too_many)).await.map(|_| ())
}

pub async fn known(db: &Db, claim: &Claim) -> Result<Option<Known>, DbError> {
    let statement = Statement::named(
        "known_idempotency",
        "select body_sha256, status, headers, answer, at from idempotency
         where caller = $1 and endpoint = $2 and key = $3",
    );
    let row = db.look_up_one(of(statement, claim)).await?;
    row.map(|row| known_row(&row)).transpose()
}

fn known_row(row: &Row) -> Result<Known, DbError> {
    let kept = match row.opt_int(1)? {
        None => None,
        Some(status) => {
            Some(Kept { status, headers: row.bytes(2)?.to_vec(), answer: row.bytes(3)?.to_vec() })
        }
    };
    Ok(Known { body_sha256: row.bytes(0)?.to_vec(), kept, at: Timestamp(row.int(4)?) })
}

/// Whether the claim now has what another left `open` since before `given_up`.
pub async fn take_over(db: &Db, claim: &Claim, given_up: Timestamp, now: Timestamp) -> Result<bool, DbError> {
    let statement = Statement::named(
        "take_over_idempotency",
        "update idempotency set claim = $1, at = $2
         where caller = $3 and endpoint = $4 and key = $5 and state = 'open' and at < $6",
    );
    let statement = of(statement.bind(claim.id.as_str()).bind(now), claim).bind(given_up);
    let effects = db.run(Batch::new().then(statement)).await?;
    Ok(effects.iter().any(|effect| effect.affected == 1))
}

/// Keeps the answer of the claim.
pub async fn keep(db: &Db, claim: &Claim, kept: Kept) -> Result<(), DbError> {
    let statement = Statement::named(
        "keep_idempotency",
        "update idempotency set state = 'done', status = $1, headers = $2, answer = $3
         where caller = $4 and endpoint = $5 and key = $6 and claim = $7",
    );
    let statement = of(statement.bind(kept.status).bind(kept.headers).bind(kept.answer), claim);
    db.run(Batch::new().then(statement.bind(claim.id.as_str()))).await.map(|_| ())
}

/// Lets the key go: nothing came of the claim.
pub async fn release(db: &Db, claim: &Claim) -> Result<(), DbError> {
    let statement = Statement::named(
        "release_idempotency",
        "delete from idempotency where caller = $1 and endpoint = $2 and key = $3 and claim = $4",
    );
    db.run(Batch::new().then(of(statement, claim).bind(claim.id.as_str()))).await.map(|_| ())
}

fn of(statement: Statement, claim: &Claim) -> Statement {
    statement.bind(claim.caller.as_str()).bind(claim.endpoint.as_str()).bind(claim.key.as_str())
}
