//! The keys that sign access tokens, in SQL.

use super::{Db, DbError, Row, Statement};
use crate::clock::Timestamp;

/// Not printed: it holds the private key.
pub struct SigningKey {
    pub ordinal: i64,
    pub kid: String,
    pub pkcs8: Vec<u8>,
    pub created_at: Timestamp,
    pub signs_from: Timestamp,
}

/// Fails with [`DbError::Unique`] where another server was first.
pub fn insert(key: &SigningKey) -> Statement {
    Statement::named(
        "insert_signing_key",
        "insert into signing_key (ordinal, kid, pkcs8, created_at, signs_from) values ($1, $2, $3, $4, $5)",
    )
    .bind(key.ordinal)
    .bind(key.kid.as_str())
    .bind(key.pkcs8.clone())
    .bind(key.created_at)
    .bind(key.signs_from)
}

/// Those before `ordinal` are of no use any more.
pub fn forget(ordinal: i64) -> Statement {
    Statement::named("forget_signing_keys", "delete from signing_key where ordinal < $1").bind(ordinal)
}

/// Oldest first.
pub async fn all(db: &Db) -> Result<Vec<SigningKey>, DbError> {
    let sql = "select ordinal, kid, pkcs8, created_at, signs_from from signing_key order by ordinal";
    db.look_up(Statement::named("signing_keys", sql)).await?.iter().map(key).collect()
}

fn key(row: &Row) -> Result<SigningKey, DbError> {
    Ok(SigningKey {
        ordinal: row.int(0)?,
        kid: row.text(1)?.to_owned(),
        pkcs8: row.bytes(2)?.to_vec(),
        created_at: Timestamp(row.int(3)?),
        signs_from: Timestamp(row.int(4)?),
    })
}
