//! What people see of the jobs, and do about them.

use crate::clock::Timestamp;
use crate::db::audit::{self, Action, Actor, Entry, ObjectKind};
use crate::db::page::{self, Conditions, Found, List, Page};
use crate::db::{Batch, Db, DbError, Row, Statement};

#[derive(Debug)]
pub struct Listed {
    pub id: String,
    pub kind: String,
    /// JSON.
    pub payload: Vec<u8>,
    pub state: String,
    pub reason: Option<String>,
    pub run_after: Timestamp,
    pub attempts: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// Which jobs are listed; each that is given narrows.
#[derive(Debug, Default)]
pub struct Filter {
    pub kind: Option<String>,
    pub state: Option<String>,
}

const LIST: List<'_> =
    List { names: ["jobs", "count_jobs"], columns: COLUMNS, from: "job", counted_from: "job" };

const COLUMNS: &str = "id, kind, payload, state, reason, run_after, attempts, created_at, updated_at";

pub async fn list(db: &Db, filter: Filter, page: &Page) -> Result<Found<Listed>, DbError> {
    let mut conditions = Conditions::default();
    filter.kind.into_iter().for_each(|kind| conditions.and_value("kind = {}", kind));
    filter.state.into_iter().for_each(|state| conditions.and_value("state = {}", state));
    page::read(db, &LIST, conditions, page, listed).await
}

pub async fn one(db: &Db, id: &str) -> Result<Option<Listed>, DbError> {
    let statement = Statement::named("job", format!("select {COLUMNS} from job where id = $1")).bind(id);
    db.read_one(statement).await?.as_ref().map(listed).transpose()
}

fn listed(row: &Row) -> Result<Listed, DbError> {
    Ok(Listed {
        id: row.text(0)?.to_owned(),
        kind: row.text(1)?.to_owned(),
        payload: row.bytes(2)?.to_vec(),
        state: row.text(3)?.to_owned(),
        reason: row.opt_text(4)?.map(str::to_owned),
        run_after: Timestamp(row.int(5)?),
        attempts: row.int(6)?,
        created_at: Timestamp(row.int(7)?),
        updated_at: Timestamp(row.int(8)?),
    })
}

/// Jobs of one kind and state, and since when the first of them could run.
#[derive(Debug)]
pub struct Line {
    pub kind: String,
    pub state: String,
    pub length: i64,
    pub due_since: Timestamp,
}

/// Everything that is not done.
pub async fn lines(db: &Db) -> Result<Vec<Line>, DbError> {
    let statement = Statement::named(
        "job_lines",
        "select kind, state, count(*), min(run_after) from job
         where state in ('queued', 'leased', 'dead') group by kind, state",
    );
    let rows = db.read(statement).await?;
    rows.iter().map(line).collect()
}

fn line(row: &Row) -> Result<Line, DbError> {
    Ok(Line {
        kind: row.text(0)?.to_owned(),
        state: row.text(1)?.to_owned(),
        length: row.int(2)?,
        due_since: Timestamp(row.int(3)?),
    })
}

/// dead → queued, by a person. Fails on a unique key where another job for the same is open.
pub fn requeue(id: &str, actor: &Actor, now: Timestamp) -> Batch {
    let statement = Statement::named(
        "requeue_job",
        "update job set state = 'queued', attempts = 0, reason = null, run_after = $1, updated_at = $1
         where id = $2 and state = 'dead'",
    );
    Batch::new().then_exactly(1, statement.bind(now).bind(id)).then(told("requeue-job", id, actor, now))
}

/// queued → dead, by a person.
pub fn cancel(id: &str, actor: &Actor, now: Timestamp) -> Batch {
    let statement = Statement::named(
        "cancel_job",
        "update job set state = 'dead', reason = 'cancelled by request', updated_at = $1
         where id = $2 and state = 'queued'",
    );
    Batch::new().then_exactly(1, statement.bind(now).bind(id)).then(told("cancel-job", id, actor, now))
}

fn told(detail: &str, id: &str, actor: &Actor, now: Timestamp) -> Statement {
    let entry = Entry::new(actor, Action::OperateServer).object(ObjectKind::Job, id).detail(detail);
    audit::append(&entry, now)
}
