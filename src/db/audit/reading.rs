//! What the trail says, for auditors.

use super::chain::{HASH_BYTES, columns};
use crate::clock::Timestamp;
use crate::db::page::{self, Conditions, Found, List, Page};
use crate::db::{Db, DbError, Row, Statement};
use crate::ids::hex;

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub sequence: i64,
    pub at: Timestamp,
    pub began_at: Option<Timestamp>,
    pub actor_kind: String,
    pub actor_id: Option<String>,
    pub actor_name: String,
    pub actor_roles: String,
    pub actor_means: String,
    pub address: Option<String>,
    pub ae_title: Option<String>,
    pub action: String,
    pub study_uid: Option<String>,
    pub object_kind: Option<String>,
    pub object_id: Option<String>,
    pub outcome: String,
    pub request_id: Option<String>,
    pub detail: Option<String>,
    /// Hexadecimal.
    pub hash: String,
}

/// Everything that is given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Id or name, address or AE title.
    pub actor: Option<String>,
    pub actions: Vec<String>,
    pub study: Option<String>,
    pub object: Option<String>,
    pub outcome: Option<String>,
    pub request: Option<String>,
    /// From then on.
    pub from: Option<Timestamp>,
    /// Before then.
    pub until: Option<Timestamp>,
}

const COLUMNS: &str = concat!(columns!(), ", hash");

const LIST: List =
    List { names: ["list_audit", "count_audit"], columns: COLUMNS, from: "audit", counted_from: "audit" };

/// A page in any order.
pub async fn list(db: &Db, filter: &Filter, page: &Page) -> Result<Found<Record>, DbError> {
    page::read(db, &LIST, conditions(filter), page, record).await
}

/// How many rows there are.
pub async fn count(db: &Db, filter: &Filter) -> Result<i64, DbError> {
    let conditions = conditions(filter);
    let sql = format!("select count(*) from audit{}", conditions.clause());
    let rows = db.search(conditions.bind(Statement::named("count_audit", sql))).await?;
    rows.first().map_or(Ok(0), |row| row.int(0))
}

/// Rows behind one, in the order of the chain.
pub async fn after(db: &Db, filter: &Filter, sequence: i64, limit: u32) -> Result<Vec<Record>, DbError> {
    let mut conditions = conditions(filter);
    conditions.and_value("sequence > {}", sequence);
    let limit = conditions.place(i64::from(limit).into());
    let sql = format!("select {COLUMNS} from audit{} order by sequence limit {limit}", conditions.clause());
    let rows = db.search(conditions.bind(Statement::named("audit_after", sql))).await?;
    rows.iter().map(record).collect()
}

/// What retention has let go is not shown, even where it is not yet removed.
fn conditions(filter: &Filter) -> Conditions {
    let mut conditions = Conditions::default();
    conditions.and("sequence > (select coalesce(max(through_sequence), 0) from audit_anchor)");
    if let Some(actor) = &filter.actor {
        conditions.and_value("{} in (actor_id, actor_name, address, ae_title)", actor.as_str());
    }
    if !filter.actions.is_empty() {
        conditions.and_any("action", filter.actions.iter().map(String::as_str));
    }
    let texts = [
        ("study_uid = {}", &filter.study),
        ("object_id = {}", &filter.object),
        ("outcome = {}", &filter.outcome),
        ("request_id = {}", &filter.request),
    ];
    for (text, value) in texts {
        if let Some(value) = value {
            conditions.and_value(text, value.as_str());
        }
    }
    if let Some(from) = filter.from {
        conditions.and_value("at >= {}", from);
    }
    if let Some(until) = filter.until {
        conditions.and_value("at < {}", until);
    }
    conditions
}

fn record(row: &Row) -> Result<Record, DbError> {
    let text = |column| row.text(column).map(str::to_owned);
    let maybe = |column| Ok::<_, DbError>(row.opt_text(column)?.map(str::to_owned));
    let hash = row.bytes(17)?;
    Ok(Record {
        sequence: row.int(0)?,
        at: Timestamp(row.int(1)?),
        began_at: row.opt_int(2)?.map(Timestamp),
        actor_kind: text(3)?,
        actor_id: maybe(4)?,
        actor_name: text(5)?,
        actor_roles: text(6)?,
        actor_means: text(7)?,
        address: maybe(8)?,
        ae_title: maybe(9)?,
        action: text(10)?,
        study_uid: maybe(11)?,
        object_kind: maybe(12)?,
        object_id: maybe(13)?,
        outcome: text(14)?,
        request_id: maybe(15)?,
        detail: maybe(16)?,
        hash: hex(&hash[..hash.len().min(HASH_BYTES)]),
    })
}
