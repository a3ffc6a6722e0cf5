//! Accounts in SQL.

use std::collections::BTreeSet;

use super::page::{self, Conditions, Found, List, Page};
use super::{Batch, Db, DbError, Row, Statement};
use crate::auth::Role;
use crate::clock::Timestamp;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub id: String,
    /// What is typed at log-in.
    pub name: String,
    pub display_name: String,
    pub email: Option<String>,
    pub roles: BTreeSet<Role>,
    /// The password is to be changed before anything else.
    pub must_change: bool,
    pub disabled: bool,
    /// The identity provider that knows the account, and its subject there.
    pub provider: Option<(String, String)>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub last_login_at: Option<Timestamp>,
    pub version: i64,
}

/// With the hash of the password, which nothing prints.
pub struct Credentials {
    pub user: User,
    pub password: Option<String>,
}

/// What of an account can be changed, as it is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    pub display_name: String,
    pub email: Option<String>,
    pub roles: BTreeSet<Role>,
    pub disabled: bool,
}

/// Names that differ in their case are one name.
pub fn name_key(name: &str) -> String {
    name.trim().to_lowercase()
}

pub fn insert(user: &User, password: Option<&str>) -> Statement {
    let (issuer, external) = user.provider.clone().unzip();
    Statement::named(
        "insert_account",
        "insert into account (id, name, name_key, display_name, email, password, roles, must_change, disabled,
            issuer, external_id, created_at, updated_at, password_at, version)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $12, $13, 1)",
    )
    .bind(user.id.as_str())
    .bind(user.name.as_str())
    .bind(name_key(&user.name))
    .bind(user.display_name.as_str())
    .bind(user.email.as_deref())
    .bind(password)
    .bind(role_column(&user.roles))
    .bind(i64::from(user.must_change))
    .bind(i64::from(user.disabled))
    .bind(issuer)
    .bind(external)
    .bind(user.created_at)
    .bind(password.map(|_| user.created_at))
}

/// Stands only while `version` is the one that was read.
pub fn change(id: &str, version: i64, to: &Profile, now: Timestamp) -> Batch {
    let statement = Statement::named(
        "change_account",
        "update account set display_name = $1, email = $2, roles = $3, disabled = $4, updated_at = $5,
            version = version + 1
         where id = $6 and version = $7 and deleted_at is null",
    )
    .bind(to.display_name.as_str())
    .bind(to.email.as_deref())
    .bind(role_column(&to.roles))
    .bind(i64::from(to.disabled))
    .bind(now)
    .bind(id)
    .bind(version);
    Batch::new().then_exactly(1, statement)
}

/// From now on the provider, by its issuer and its subject there, vouches for an account of ours.
pub fn link(id: &str, version: i64, (issuer, subject): (&str, &str), now: Timestamp) -> Batch {
    let statement = Statement::named(
        "link_account",
        "update account set issuer = $1, external_id = $2, password = null, must_change = 0, updated_at = $3,
            version = version + 1
         where id = $4 and version = $5 and issuer is null and deleted_at is null",
    );
    let statement = statement.bind(issuer).bind(subject).bind(now).bind(id).bind(version);
    Batch::new().then_exactly(1, statement)
}

/// The row and its name stay.
pub fn delete(id: &str, version: i64, now: Timestamp) -> Batch {
    let statement = Statement::named(
        "delete_account",
        "update account set deleted_at = $1, updated_at = $1, password = null, disabled = 1, version = version + 1
         where id = $2 and version = $3 and deleted_at is null",
    );
    Batch::new().then_exactly(1, statement.bind(now).bind(id).bind(version))
}

/// The batch stands only if somebody is left who can let others in.
pub fn and_some_administrator(batch: Batch) -> Batch {
    let statement = Statement::named(
        SOME_ADMINISTRATOR,
        "update account set version = version where id = (select min(id) from account
            where roles like '% administrator %' and disabled = 0 and deleted_at is null)",
    );
    batch.then_exactly(1, statement)
}

/// What fails where none is left.
pub const SOME_ADMINISTRATOR: &str = "some_administrator";

/// `must_change`: somebody else has set it.
pub fn set_password(id: &str, hash: &str, must_change: bool, now: Timestamp) -> Statement {
    Statement::named(
        "set_password",
        "update account set password = $1, must_change = $2, password_at = $3, updated_at = $3,
            version = version + 1
         where id = $4 and deleted_at is null",
    )
    .bind(hash)
    .bind(i64::from(must_change))
    .bind(now)
    .bind(id)
}

/// The same password at other costs, unless it was changed meanwhile.
pub fn rehash(id: &str, old: &str, new: &str) -> Statement {
    let sql = "update account set password = $1 where id = $2 and password = $3";
    Statement::named("rehash_password", sql).bind(new).bind(id).bind(old)
}

pub fn logged_in(id: &str, now: Timestamp) -> Statement {
    Statement::named("account_logged_in", "update account set last_login_at = $1 where id = $2")
        .bind(now)
        .bind(id)
}

pub(super) const COLUMNS: &str =
    "account.id, account.name, account.display_name, account.email, account.roles,
    account.must_change, account.disabled, account.issuer, account.external_id, account.created_at,
    account.updated_at, account.last_login_at, account.version";
/// How many they are: what else is selected comes behind them.
pub(super) const COLUMN_COUNT: usize = 13;

pub async fn one(db: &Db, id: &str) -> Result<Option<User>, DbError> {
    let sql = format!("select {COLUMNS} from account where id = $1 and deleted_at is null");
    db.look_up_one(Statement::named("account", sql).bind(id)).await?.as_ref().map(user).transpose()
}

pub async fn by_provider(db: &Db, issuer: &str, subject: &str) -> Result<Option<User>, DbError> {
    let sql = format!(
        "select {COLUMNS} from account where issuer = $1 and external_id = $2 and deleted_at is null"
    );
    let statement = Statement::named("account_of_provider", sql).bind(issuer).bind(subject);
    db.look_up_one(statement).await?.as_ref().map(user).transpose()
}

pub async fn credentials(db: &Db, name: &str) -> Result<Option<Credentials>, DbError> {
    let sql =
        format!("select {COLUMNS}, account.password from account where name_key = $1 and deleted_at is null");
    let row = db.look_up_one(Statement::named("account_credentials", sql).bind(name_key(name))).await?;
    row.as_ref().map(with_password).transpose()
}

pub async fn credentials_of(db: &Db, id: &str) -> Result<Option<Credentials>, DbError> {
    let sql = format!("select {COLUMNS}, account.password from account where id = $1 and deleted_at is null");
    let row = db.look_up_one(Statement::named("credentials_of_account", sql).bind(id)).await?;
    row.as_ref().map(with_password).transpose()
}

const LIST: List = List {
    names: ["accounts", "count_accounts"],
    columns: COLUMNS,
    from: "account",
    counted_from: "account",
};

pub async fn list(
    db: &Db,
    role: Option<Role>,
    disabled: Option<bool>,
    page: &Page,
) -> Result<Found<User>, DbError> {
    let mut conditions = Conditions::default();
    conditions.and("account.deleted_at is null");
    if let Some(role) = role {
        conditions.and_value("account.roles like {}", format!("% {} %", role.as_str()));
    }
    if let Some(disabled) = disabled {
        conditions.and_value("account.disabled = {}", i64::from(disabled));
    }
    page::read(db, &LIST, conditions, page, user).await
}

/// Whether anybody ever had an account.
pub async fn is_empty(db: &Db) -> Result<bool, DbError> {
    Ok(db.look_up_one(Statement::named("any_account", "select 1 from account limit 1")).await?.is_none())
}

fn with_password(row: &Row) -> Result<Credentials, DbError> {
    Ok(Credentials { user: user(row)?, password: row.opt_text(COLUMN_COUNT)?.map(str::to_owned) })
}

pub(super) fn user(row: &Row) -> Result<User, DbError> {
    let text = |column| row.text(column).map(str::to_owned);
    let optional = |column| Ok::<_, DbError>(row.opt_text(column)?.map(str::to_owned));
    Ok(User {
        id: text(0)?,
        name: text(1)?,
        display_name: text(2)?,
        email: optional(3)?,
        roles: roles(row, 4)?,
        must_change: row.int(5)? != 0,
        disabled: row.int(6)? != 0,
        provider: optional(7)?.zip(optional(8)?),
        created_at: Timestamp(row.int(9)?),
        updated_at: Timestamp(row.int(10)?),
        last_login_at: row.opt_int(11)?.map(Timestamp),
        version: row.int(12)?,
    })
}

/// With a space before and behind each, so that one can be looked for.
fn role_column(roles: &BTreeSet<Role>) -> String {
    roles.iter().fold(" ".to_owned(), |text, role| text + role.as_str() + " ")
}

fn roles(row: &Row, column: usize) -> Result<BTreeSet<Role>, DbError> {
    let names = row.text(column)?.split_whitespace();
    let roles: Option<BTreeSet<Role>> = names.map(Role::named).collect();
    roles.ok_or_else(|| row.mismatch(column, "names of roles"))
}
