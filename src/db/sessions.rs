//! Sessions and their refresh tokens in SQL.

use super::page::{self, Conditions, Found, List, Page};
use super::users::{self, User};
use super::{Batch, Db, DbError, Row, Statement};
use crate::clock::Timestamp;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    pub id: String,
    pub account: String,
    /// `password`, `provider`.
    pub means: String,
    pub client: String,
    pub agent: Option<String>,
    pub created_at: Timestamp,
    /// When a secret was last shown.
    pub auth_time: Timestamp,
    pub last_used_at: Timestamp,
    pub expires_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    /// When the identity provider last vouched for whose it is; `None`: none ever did.
    pub vouched_at: Option<Timestamp>,
}

/// A session with whose it is.
#[derive(Debug, Clone)]
pub struct Holder {
    pub session: Session,
    pub user: User,
}

/// A refresh token that was made, as it is found again.
#[derive(Debug, Clone, Copy)]
pub struct Refresh<'a> {
    pub digest: &'a [u8],
    /// A refresh token of the provider, sealed with this one.
    pub provider_token: Option<&'a [u8]>,
    pub expires_at: Timestamp,
}

/// Rows that one sweep takes away.
const SWEPT_AT_ONCE: i64 = 500;

pub fn begin(session: &Session, refresh: Refresh<'_>) -> Batch {
    let statement = Statement::named(
        "begin_session",
        "insert into session (id, account, means, client, agent, created_at, auth_time, last_used_at, expires_at,
            vouched_at)
         values ($1, $2, $3, $4, $5, $6, $7, $6, $8, $9)",
    )
    .bind(session.id.as_str())
    .bind(session.account.as_str())
    .bind(session.means.as_str())
    .bind(session.client.as_str())
    .bind(session.agent.as_deref())
    .bind(session.created_at)
    .bind(session.auth_time)
    .bind(session.expires_at)
    .bind(session.vouched_at);
    Batch::new().then(statement).then(issue(&session.id, refresh, session.created_at))
}

fn issue(session: &str, refresh: Refresh<'_>, now: Timestamp) -> Statement {
    let sql = "insert into refresh_token (digest, session, issued_at, expires_at, provider_token)
               values ($1, $2, $3, $4, $5)";
    let statement = Statement::named("issue_refresh_token", sql).bind(refresh.digest.to_vec());
    let statement = statement.bind(session).bind(now).bind(refresh.expires_at);
    statement.bind(refresh.provider_token.map(<[u8]>::to_vec))
}

/// One token for another: the batch fails where the old one has been used meanwhile, or its session has
/// ended.
pub fn rotate(session: &Session, old: &[u8], new: Refresh<'_>, now: Timestamp) -> Batch {
    let used = Statement::named(
        USE,
        "update refresh_token set used_at = $1, provider_token = null where digest = $2 and used_at is null",
    );
    let touched = Statement::named(
        "touch_session",
        "update session set last_used_at = $1, vouched_at = $2 where id = $3 and ended_at is null",
    );
    Batch::new()
        .then_exactly(1, used.bind(now).bind(old.to_vec()))
        .then_exactly(1, touched.bind(now).bind(session.vouched_at).bind(session.id.as_str()))
        .then(issue(&session.id, new, now))
}

/// What of [`rotate`] fails where somebody has used the old token meanwhile.
pub const USE: &str = "use_refresh_token";

/// A secret was shown again.
pub fn confirm(session: &str, now: Timestamp) -> Statement {
    let sql = "update session set auth_time = $1 where id = $2 and ended_at is null";
    Statement::named("confirm_session", sql).bind(now).bind(session)
}

/// One row where it had not ended.
pub fn end(id: &str, why: &'static str, now: Timestamp) -> Statement {
    let sql = "update session set ended_at = $1, ended_why = $2 where id = $3 and ended_at is null";
    Statement::named("end_session", sql).bind(now).bind(why).bind(id)
}

/// All of an account but one.
pub fn end_all(account: &str, except: Option<&str>, why: &'static str, now: Timestamp) -> Statement {
    Statement::named(
        "end_sessions",
        "update session set ended_at = $1, ended_why = $2 where account = $3 and id <> $4 and ended_at is null",
    )
    .bind(now)
    .bind(why)
    .bind(account)
    .bind(except.unwrap_or(""))
}

/// Leaves the newest `keep`.
pub fn end_oldest(account: &str, keep: u32, why: &'static str, now: Timestamp) -> Statement {
    Statement::named(
        "end_oldest_sessions",
        "update session set ended_at = $1, ended_why = $2 where account = $3 and ended_at is null and id not in
            (select id from session where account = $3 and ended_at is null order by id desc limit $4)",
    )
    .bind(now)
    .bind(why)
    .bind(account)
    .bind(keep)
}

/// What was over before a time is forgotten, some at a time.
pub fn forget(before: Timestamp) -> Statement {
    Statement::named(
        "forget_sessions",
        "delete from session where id in (select id from session where expires_at < $1 order by expires_at limit $2)",
    )
    .bind(before)
    .bind(SWEPT_AT_ONCE)
}

const COLUMNS: &str = "session.id, session.account, session.means, session.client, session.agent,
    session.created_at, session.auth_time, session.last_used_at, session.expires_at, session.ended_at,
    session.vouched_at";

/// A session that has not ended, of an account that may come in.
pub async fn holder(db: &Db, id: &str) -> Result<Option<Holder>, DbError> {
    let sql = format!(
        "select {}, {COLUMNS} from session join account on account.id = session.account
         where session.id = $1 and session.ended_at is null and account.disabled = 0
            and account.deleted_at is null",
        users::COLUMNS
    );
    let row = db.look_up_one(Statement::named("session_holder", sql).bind(id)).await?;
    let holder =
        |row: &Row| Ok(Holder { user: users::user(row)?, session: session(row, users::COLUMN_COUNT)? });
    row.as_ref().map(holder).transpose()
}

/// A refresh token as it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    pub session: String,
    pub expires_at: Timestamp,
    pub is_used: bool,
    pub provider_token: Option<Vec<u8>>,
}

pub async fn issued(db: &Db, digest: &[u8]) -> Result<Option<Issued>, DbError> {
    let sql = "select session, expires_at, used_at, provider_token from refresh_token where digest = $1";
    let row = db.look_up_one(Statement::named("refresh_token", sql).bind(digest.to_vec())).await?;
    let issued = |row: Row| {
        let is_used = row.opt_int(2)?.is_some();
        Ok(Issued {
            session: row.text(0)?.to_owned(),
            expires_at: Timestamp(row.int(1)?),
            is_used,
            provider_token: row.opt_bytes(3)?.map(<[u8]>::to_vec),
        })
    };
    row.map(issued).transpose()
}

pub async fn one(db: &Db, id: &str) -> Result<Option<Session>, DbError> {
    let sql = format!("select {COLUMNS} from session where id = $1");
    let row = db.look_up_one(Statement::named("session", sql).bind(id)).await?;
    row.map(|row| session(&row, 0)).transpose()
}

const LIST: List = List {
    names: ["open_sessions", "count_open_sessions"],
    columns: COLUMNS,
    from: "session",
    counted_from: "session",
};

/// Those of an account that have not ended; of everybody where none is named.
pub async fn open(
    db: &Db,
    account: Option<&str>,
    now: Timestamp,
    page: &Page,
) -> Result<Found<Session>, DbError> {
    let mut conditions = Conditions::default();
    conditions.and("session.ended_at is null");
    conditions.and_value("session.expires_at > {}", now);
    if let Some(account) = account {
        conditions.and_value("session.account = {}", account);
    }
    page::read(db, &LIST, conditions, page, |row| session(row, 0)).await
}

fn session(row: &Row, first: usize) -> Result<Session, DbError> {
    let text = |column: usize| row.text(first + column).map(str::to_owned);
    let time = |column: usize| row.int(first + column).map(Timestamp);
    Ok(Session {
        id: text(0)?,
        account: text(1)?,
        means: text(2)?,
        client: text(3)?,
        agent: row.opt_text(first + 4)?.map(str::to_owned),
        created_at: time(5)?,
        auth_time: time(6)?,
        last_used_at: time(7)?,
        expires_at: time(8)?,
        ended_at: row.opt_int(first + 9)?.map(Timestamp),
        vouched_at: row.opt_int(first + 10)?.map(Timestamp),
    })
}
