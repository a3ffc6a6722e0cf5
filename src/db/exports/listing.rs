//! What people see of the queue.

use crate::auth::Reach;
use crate::clock::Timestamp;
use crate::db::page::{self, Conditions, Found, List, Page};
use crate::db::{Db, DbError, Row, Statement, Value, groups};
use crate::dicom::uid::StudyUid;

/// One object or event and its destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    pub id: i64,
    pub destination: String,
    /// SOP Instance UID, or the id of an event.
    pub subject: String,
    pub event: Option<String>,
    pub study: StudyUid,
    pub series: Option<String>,
    pub rule: String,
    pub state: String,
    pub reason: Option<String>,
    pub attempts: i64,
    pub due_at: Timestamp,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// Which exports are listed; each that is given narrows.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub study: Option<StudyUid>,
    pub destination: Option<String>,
    pub state: Option<String>,
}

const LIST: List =
    List { names: ["exports", "count_exports"], columns: COLUMNS, from: "export", counted_from: "export" };

const COLUMNS: &str = "id, destination, subject, event, study_uid, series_uid, rule, state, reason,
    attempts, due_at, created_at, updated_at";

pub async fn list(db: &Db, reach: &Reach, filter: &Filter, page: &Page) -> Result<Found<Export>, DbError> {
    let mut conditions = Conditions::default();
    conditions.and_reach(reach, "export.study_uid");
    groups::released(reach, "export.series_uid").into_iter().for_each(|released| conditions.and(released));
    let values = [
        ("study_uid = {}", filter.study.as_ref().map(Value::from)),
        ("destination = {}", filter.destination.clone().map(Value::from)),
        ("state = {}", filter.state.clone().map(Value::from)),
    ];
    for (condition, value) in values {
        value.into_iter().for_each(|value| conditions.and_value(condition, value));
    }
    page::read(db, &LIST, conditions, page, export).await
}

pub async fn one(db: &Db, id: i64) -> Result<Option<Export>, DbError> {
    let statement =
        Statement::named("export", format!("select {COLUMNS} from export where id = $1")).bind(id);
    db.read_one(statement).await?.as_ref().map(export).transpose()
}

fn export(row: &Row) -> Result<Export, DbError> {
    let optional = |column| Ok::<_, DbError>(row.opt_text(column)?.map(str::to_owned));
    Ok(Export {
        id: row.int(0)?,
        destination: row.text(1)?.to_owned(),
        subject: row.text(2)?.to_owned(),
        event: optional(3)?,
        study: row.parse(4, "a Study Instance UID")?,
        series: optional(5)?,
        rule: row.text(6)?.to_owned(),
        state: row.text(7)?.to_owned(),
        reason: optional(8)?,
        attempts: row.int(9)?,
        due_at: Timestamp(row.int(10)?),
        created_at: Timestamp(row.int(11)?),
        updated_at: Timestamp(row.int(12)?),
    })
}

/// How much waits for a destination.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    pub queued: i64,
    pub sending: i64,
    pub failed: i64,
    pub dead: i64,
    /// When the oldest of what waits was asked for.
    pub oldest: Option<Timestamp>,
}

impl Summary {
    pub fn waiting(&self) -> i64 {
        self.queued + self.sending + self.failed
    }
}

pub async fn summary(db: &Db, destination: &str) -> Result<Summary, DbError> {
    let statement = Statement::named(
        "export_summary",
        "select state, count(*), min(created_at) from export
         where destination = $1 and state in ('queued', 'sending', 'failed', 'dead') group by state",
    );
    let mut summary = Summary::default();
    for row in db.search(statement.bind(destination)).await? {
        let (count, oldest) = (row.int(1)?, Timestamp(row.int(2)?));
        let state = row.text(0)?;
        match state {
            "queued" => summary.queued = count,
            "sending" => summary.sending = count,
            "failed" => summary.failed = count,
            _ => summary.dead = count,
        }
        if state != "dead" {
            summary.oldest = Some(summary.oldest.map_or(oldest, |known| known.min(oldest)));
        }
    }
    Ok(summary)
}
