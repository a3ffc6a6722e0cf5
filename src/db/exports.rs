//! The queue of what is to be sent, one row per object or event and destination. Each edge is one
//! guarded update.
//!
//! `queued → sending → sent → committed`, `sending → failed → sending`, `sending → dead → queued`.
//! Whoever holds the job of a destination moves its rows; what is found `sending` without being
//! sent was left by somebody who died.

pub mod committing;
mod listing;

use super::{Batch, Db, DbError, Row, Statement, jobs};
use crate::clock::Timestamp;
use crate::dicom::uid::{SeriesUid, SopInstanceUid, StudyUid};
use crate::jobs::Task;
use crate::telemetry::trace;

pub use listing::{Export, Filter, Summary, list, one, summary};

/// Wakes the worker of a destination.
pub fn wake(destination: &str, now: Timestamp) -> Statement {
    jobs::enqueue(&Task::Export { destination: destination.to_owned() }, now, now)
}

/// What is to be done with an object that was queued before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// Nothing, unless it has other content by now.
    OnlyChanged,
    /// It is sent again.
    Always,
}

/// Queues an instance as it is stored now; nothing when it is not stored.
pub fn queue_instance(
    destination: &str,
    instance: &SopInstanceUid,
    rule: &str,
    again: Again,
    now: Timestamp,
) -> Statement {
    let (name, condition) = match again {
        Again::OnlyChanged => ("queue_instance", "export.content <> excluded.content"),
        Again::Always => {
            ("queue_instance_again", "export.state <> 'sending' or export.content <> excluded.content")
        }
    };
    let sql = format!(
        "insert into export (destination, subject, study_uid, series_uid, content, rule, state, due_at, created_at, updated_at, trace)
         select $1, instance.sop_instance_uid, study.study_uid, series.series_uid, instance.dataset_sha256, $2,
            'queued', $3, $3, $3, cast($4 as text)
         from instance join series on series.id = instance.series join study on study.id = instance.study
         where instance.sop_instance_uid = $5
         on conflict (destination, subject) do update set state = 'queued', reason = null, attempts = 0,
            content = excluded.content, rule = excluded.rule, commitment = null, due_at = excluded.due_at,
            created_at = excluded.created_at, updated_at = excluded.updated_at, trace = excluded.trace
         where {condition}"
    );
    Statement::named(name, sql).bind(destination).bind(rule).bind(now).bind(trace::current()).bind(instance)
}

/// Something that happened, for a webhook.
pub struct EventRow<'a> {
    /// The same for the same event, so that it is queued once.
    pub id: &'a str,
    pub kind: &'static str,
    pub study: &'a StudyUid,
    pub json: Vec<u8>,
}

pub fn queue_event(webhook: &str, event: &EventRow<'_>, now: Timestamp) -> Statement {
    Statement::named(
        "queue_event",
        "insert into export (destination, subject, event, study_uid, content, rule, state, due_at, created_at, updated_at, trace)
         values ($1, $2, $3, $4, $5, $3, 'queued', $6, $6, $6, $7)
         on conflict (destination, subject) do nothing",
    )
    .bind(webhook)
    .bind(event.id)
    .bind(event.kind)
    .bind(event.study)
    .bind(event.json.clone())
    .bind(now)
    .bind(trace::current())
}

/// A row in the hands of a worker.
#[derive(Debug, Clone)]
pub struct Claimed {
    pub id: i64,
    pub study: StudyUid,
    pub matter: Matter,
    /// This one included.
    pub attempts: u32,
    /// Tells this claim from a later one of the same row.
    pub claimed_at: Timestamp,
    /// The trace of what queued it.
    pub trace: Option<String>,
}

/// What is to be brought to a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Matter {
    Object { series: SeriesUid, instance: SopInstanceUid },
    Event { id: String, kind: String, json: Vec<u8> },
}

/// sending → queued, for all that a worker who died left behind.
pub fn recover(destination: &str, now: Timestamp) -> Batch {
    let statement = Statement::named(
        "recover_exports",
        "update export set state = 'queued', updated_at = $1 where destination = $2 and state = 'sending'",
    );
    Batch::new().then(statement.bind(now).bind(destination))
}

/// queued or failed → dead for what was asked for before a time.
pub fn expire(destination: &str, before: Timestamp, reason: &str, now: Timestamp) -> Batch {
    let statement = Statement::named(
        "expire_exports",
        "update export set state = 'dead', reason = coalesce($1 || reason, $1), updated_at = $2
         where destination = $3 and state in ('queued', 'failed') and created_at < $4",
    );
    Batch::new().then(statement.bind(reason).bind(now).bind(destination).bind(before))
}

/// Forgets events that were taken before a time.
pub fn forget_events(destination: &str, before: Timestamp) -> Batch {
    let statement = Statement::named(
        "forget_events",
        "delete from export where destination = $1 and state = 'sent' and event is not null and updated_at < $2",
    );
    Batch::new().then(statement.bind(destination).bind(before))
}

/// queued or failed → sending, for what is due, the first asked for first; what failed before comes
/// first but is never more than half, so that it does not keep the rest waiting.
pub async fn claim(db: &Db, destination: &str, now: Timestamp, most: usize) -> Result<Vec<Claimed>, DbError> {
    let most = i64::try_from(most).unwrap_or(i64::MAX).max(1);
    let failed = claim_in("claim_failed_exports", "failed", destination, now, (most + 1) / 2);
    let effects = db.run(Batch::new().then(failed)).await?;
    let mut claimed = read_claimed(&effects)?;
    let left = most - claimed.len() as i64;
    if left > 0 {
        let queued = claim_in("claim_queued_exports", "queued", destination, now, left);
        claimed.extend(read_claimed(&db.run(Batch::new().then(queued)).await?)?);
    }
    claimed.sort_by_key(|claimed| claimed.id);
    Ok(claimed)
}

fn claim_in(name: &'static str, state: &str, destination: &str, now: Timestamp, most: i64) -> Statement {
    let sql = format!(
        "update export set state = 'sending', attempts = attempts + 1, updated_at = $1
         where state = '{state}' and id in (select id from export
            where destination = $2 and state = '{state}' and due_at <= $1 order by due_at, id limit $3)
         returning id, study_uid, series_uid, subject, event, content, attempts, updated_at, trace"
    );
    Statement::named(name, sql).bind(now).bind(destination).bind(most)
}

fn read_claimed(effects: &[super::Effect]) -> Result<Vec<Claimed>, DbError> {
    effects.iter().flat_map(|effect| &effect.rows).map(claimed).collect()
}

fn claimed(row: &Row) -> Result<Claimed, DbError> {
    let matter = match row.opt_text(4)? {
        None => Matter::Object {
            series: row.parse(2, "a Series Instance UID")?,
            instance: row.parse(3, "a SOP Instance UID")?,
        },
        Some(kind) => {
            Matter::Event { id: row.text(3)?.to_owned(), kind: kind.to_owned(), json: row.bytes(5)?.to_vec() }
        }
    };
    let attempts = u32::try_from(row.int(6)?).unwrap_or(u32::MAX);
    Ok(Claimed {
        id: row.int(0)?,
        study: row.parse(1, "a Study Instance UID")?,
        matter,
        attempts,
        claimed_at: Timestamp(row.int(7)?),
        trace: row.opt_text(8)?.map(str::to_owned),
    })
}

/// How a row leaves the hands of a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Left {
    /// The destination has it; the words are a warning.
    Sent(Option<String>),
    /// Tried again at a time.
    Failed(String, Timestamp),
    Dead(String),
    /// The destination was not reached: no attempt.
    Untried(String),
    /// There is nothing to send any more.
    Gone,
}

/// sending → whatever came of it. A row that was queued anew meanwhile, and perhaps claimed by another,
/// stays as it is.
pub fn leave(claimed: &Claimed, left: &Left, now: Timestamp) -> Statement {
    let (name, set) = match left {
        Left::Sent(_) => ("export_sent", "state = 'sent', reason = $1"),
        Left::Failed(..) => ("export_failed", "state = 'failed', reason = $1, due_at = $2"),
        Left::Dead(_) => ("export_dead", "state = 'dead', reason = $1"),
        Left::Untried(_) => ("export_untried", "state = 'queued', reason = $1, attempts = attempts - 1"),
        Left::Gone => {
            let sql = "delete from export where id = $1 and state = 'sending' and updated_at = $2";
            return Statement::named("export_gone", sql).bind(claimed.id).bind(claimed.claimed_at);
        }
    };
    let (reason, due) = match left {
        Left::Sent(note) => (note.clone(), None),
        Left::Failed(reason, due) => (Some(reason.clone()), Some(*due)),
        Left::Dead(reason) | Left::Untried(reason) => (Some(reason.clone()), None),
        Left::Gone => (None, None),
    };
    let next = if due.is_some() { 3 } else { 2 };
    let sql = format!(
        "update export set {set}, updated_at = ${next} where id = ${} and state = 'sending' and updated_at = ${}",
        next + 1,
        next + 2
    );
    let statement = Statement::named(name, sql).bind(reason);
    let statement = due.into_iter().fold(statement, Statement::bind);
    statement.bind(now).bind(claimed.id).bind(claimed.claimed_at)
}

/// When the next row of a destination is due.
pub async fn next_due(db: &Db, destination: &str) -> Result<Option<Timestamp>, DbError> {
    let statement = Statement::named(
        "next_export_due",
        "select min(due) from (select min(due_at) as due from export where destination = $1 and state = 'queued'
            union all select min(due_at) from export where destination = $1 and state = 'failed') as both_states",
    );
    let row = db.look_up_one(statement.bind(destination)).await?;
    Ok(row.map(|row| row.opt_int(0)).transpose()?.flatten().map(Timestamp))
}

const REQUEUE: &str = "update export set state = 'queued', reason = null, attempts = 0, due_at = $1, created_at = $1, updated_at = $1";

/// dead or failed → queued, of one row. The batch fails when it is neither.
pub fn requeue(id: i64, destination: &str, now: Timestamp) -> Batch {
    let sql = format!("{REQUEUE} where id = $2 and state in ('dead', 'failed')");
    let statement = Statement::named("requeue_export", sql).bind(now).bind(id);
    Batch::new().then_exactly(1, statement).then(wake(destination, now))
}

/// dead → queued, of a destination; the first effect counts them.
pub fn requeue_dead(destination: &str, now: Timestamp) -> Batch {
    let sql = format!("{REQUEUE} where destination = $2 and state = 'dead'");
    Batch::new()
        .then(Statement::named("requeue_dead_exports", sql).bind(now).bind(destination))
        .then(wake(destination, now))
}

/// failed → due now, of a destination: a person says so. How long it is tried is counted anew.
pub fn hasten(destination: &str, now: Timestamp) -> Batch {
    let statement = Statement::named(
        "hasten_exports",
        "update export set due_at = case when due_at > $1 then $1 else due_at end, created_at = $1
         where destination = $2 and state in ('queued', 'failed')",
    );
    Batch::new().then(statement.bind(now).bind(destination)).then(wake(destination, now))
}

pub fn pause(destination: &str, actor: &str, now: Timestamp) -> Batch {
    let statement = Statement::named(
        "pause_exports",
        "insert into export_pause (destination, at, actor) values ($1, $2, $3) on conflict (destination) do nothing",
    );
    Batch::new().then(statement.bind(destination).bind(now).bind(actor))
}

pub fn resume(destination: &str, now: Timestamp) -> Batch {
    let statement = Statement::named("resume_exports", "delete from export_pause where destination = $1");
    Batch::new().then(statement.bind(destination)).then(wake(destination, now))
}

/// Since when a person has stopped a destination.
pub async fn paused(db: &Db, destination: &str) -> Result<Option<Timestamp>, DbError> {
    let statement = Statement::named("export_pause", "select at from export_pause where destination = $1");
    let row = db.look_up_one(statement.bind(destination)).await?;
    row.map(|row| row.int(0).map(Timestamp)).transpose()
}

#[cfg(test)]
mod tests;
