//! Log-ins that have gone to an identity provider and are not back, in SQL.

use super::{Batch, Db, DbError, Row, Statement};
use crate::clock::Timestamp;

/// Not printed: it holds what nobody else is to know.
pub struct ProviderLogin {
    pub nonce: String,
    /// RFC 7636.
    pub verifier: String,
    /// Where the browser goes afterwards.
    pub return_to: String,
    pub expires_at: Timestamp,
}

/// Rows that one sweep takes away.
const SWEPT_AT_ONCE: i64 = 500;

/// With the digests of the state parameter and of the cookie of the browser.
pub fn insert(login: &ProviderLogin, state: &[u8], browser: &[u8]) -> Statement {
    Statement::named(
        "insert_provider_login",
        "insert into provider_login (digest, nonce, verifier, browser, return_to, expires_at)
         values ($1, $2, $3, $4, $5, $6)",
    )
    .bind(state.to_vec())
    .bind(login.nonce.as_str())
    .bind(login.verifier.as_str())
    .bind(browser.to_vec())
    .bind(login.return_to.as_str())
    .bind(login.expires_at)
}

/// Taken once, by the browser that began.
pub async fn take(db: &Db, state: &[u8], browser: &[u8]) -> Result<Option<ProviderLogin>, DbError> {
    let sql = "delete from provider_login where digest = $1 and browser = $2
        returning nonce, verifier, return_to, expires_at";
    let statement = Statement::named("take_provider_login", sql).bind(state.to_vec()).bind(browser.to_vec());
    let effects = db.run(Batch::new().then(statement)).await?;
    effects.first().and_then(|effect| effect.rows.first()).map(login).transpose()
}

/// Those that never came back.
pub fn sweep(before: Timestamp) -> Statement {
    let sql = "delete from provider_login where digest in
        (select digest from provider_login where expires_at < $1 order by expires_at limit $2)";
    Statement::named("sweep_provider_logins", sql).bind(before).bind(SWEPT_AT_ONCE)
}

pub async fn open(db: &Db) -> Result<i64, DbError> {
    let row =
        db.read_one(Statement::named("open_provider_logins", "select count(*) from provider_login")).await?;
    row.map_or(Ok(0), |row| row.int(0))
}

fn login(row: &Row) -> Result<ProviderLogin, DbError> {
    Ok(ProviderLogin {
        nonce: row.text(0)?.to_owned(),
        verifier: row.text(1)?.to_owned(),
        return_to: row.text(2)?.to_owned(),
        expires_at: Timestamp(row.int(3)?),
    })
}
