//! Keys of devices and programs, in SQL.

use std::collections::BTreeSet;

use super::page::{self, Conditions, Found, List, Page};
use super::{Db, DbError, Row, Statement};
use crate::auth::{Permission, Role};
use crate::clock::Timestamp;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    pub id: String,
    pub name: String,
    pub role: Role,
    /// The only ones of the role.
    pub only: Option<BTreeSet<Permission>>,
    pub created_by: String,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    pub last_used_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
}

pub fn insert(key: &ApiKey, digest: &[u8]) -> Statement {
    let only = key.only.as_ref().map(|only| {
        let names: Vec<&str> = only.iter().map(|permission| permission.as_str()).collect();
        names.join(" ")
    });
    Statement::named(
        "insert_api_key",
        "insert into api_key (id, name, digest, role, permissions, created_by, created_at, expires_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(key.id.as_str())
    .bind(key.name.as_str())
    .bind(digest.to_vec())
    .bind(key.role.as_str())
    .bind(only)
    .bind(key.created_by.as_str())
    .bind(key.created_at)
    .bind(key.expires_at)
}

/// One row where it was not revoked before.
pub fn revoke(id: &str, by: &str, now: Timestamp) -> Statement {
    let sql = "update api_key set revoked_at = $1, revoked_by = $2 where id = $3 and revoked_at is null";
    Statement::named("revoke_api_key", sql).bind(now).bind(by).bind(id)
}

/// To the minute: `before` is a minute ago.
pub fn used(id: &str, now: Timestamp, before: Timestamp) -> Statement {
    let sql = "update api_key set last_used_at = $1
        where id = $2 and (last_used_at is null or last_used_at < $3)";
    Statement::named("api_key_used", sql).bind(now).bind(id).bind(before)
}

const COLUMNS: &str =
    "id, name, role, permissions, created_by, created_at, expires_at, last_used_at, revoked_at";

/// The key whose secret has this digest.
pub async fn by_secret(db: &Db, id: &str, digest: &[u8]) -> Result<Option<ApiKey>, DbError> {
    let sql = format!("select {COLUMNS} from api_key where id = $1 and digest = $2");
    let statement = Statement::named("api_key_by_secret", sql).bind(id).bind(digest.to_vec());
    db.look_up_one(statement).await?.as_ref().map(key).transpose()
}

pub async fn one(db: &Db, id: &str) -> Result<Option<ApiKey>, DbError> {
    let sql = format!("select {COLUMNS} from api_key where id = $1");
    db.look_up_one(Statement::named("api_key", sql).bind(id)).await?.as_ref().map(key).transpose()
}

const LIST: List = List {
    names: ["api_keys", "count_api_keys"],
    columns: COLUMNS,
    from: "api_key",
    counted_from: "api_key",
};

pub async fn list(db: &Db, page: &Page) -> Result<Found<ApiKey>, DbError> {
    page::read(db, &LIST, Conditions::default(), page, key).await
}

fn key(row: &Row) -> Result<ApiKey, DbError> {
    Ok(ApiKey {
        id: row.text(0)?.to_owned(),
        name: row.text(1)?.to_owned(),
        role: Role::named(row.text(2)?).ok_or_else(|| row.mismatch(2, "a role"))?,
        only: row
            .opt_text(3)?
            .map(|names| permissions(names).ok_or_else(|| row.mismatch(3, "permissions")))
            .transpose()?,
        created_by: row.text(4)?.to_owned(),
        created_at: Timestamp(row.int(5)?),
        expires_at: row.opt_int(6)?.map(Timestamp),
        last_used_at: row.opt_int(7)?.map(Timestamp),
        revoked_at: row.opt_int(8)?.map(Timestamp),
    })
}

fn permissions(names: &str) -> Option<BTreeSet<Permission>> {
    names.split_whitespace().map(Permission::named).collect()
}
