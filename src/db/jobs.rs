//! Jobs in SQL: each edge of the state table is one guarded update that must touch one row.

pub mod listing;

use std::time::Duration;

use super::instances::InstanceRow;
use super::{Batch, Db, DbError, Row, Statement};
use crate::clock::Timestamp;
use crate::ingest::{Origin, Source};
use crate::jobs::{Job, JobKind, Task};
use crate::telemetry::trace;

/// Adds to an ingest batch what completeness needs: the job that looks at the study once it is
/// quiet, and the association that is delivering. Our own results wake nobody.
pub fn and_notice_arrival(
    mut batch: Batch,
    row: &InstanceRow,
    quiet_time: Duration,
    now: Timestamp,
) -> Batch {
    if row.origin.source == Source::Analysis {
        return batch;
    }
    let task = Task::CompleteStudy { study: row.identity.study.clone() };
    batch.push(enqueue(&task, now.plus(quiet_time), now));
    if let Some(delivery) = delivering(&row.origin) {
        batch.push(
            Statement::named(
                "note_delivery",
                "insert into delivery (study_uid, id, last_at) values ($1, $2, $3)
                 on conflict (study_uid, id) do update set last_at = excluded.last_at",
            )
            .bind(&row.identity.study)
            .bind(delivery)
            .bind(now),
        );
    }
    batch
}

fn delivering(origin: &Origin) -> Option<&str> {
    origin.delivery.as_deref()
}

/// One open job per task; asking again moves its time. A job that is running is moved too, and
/// runs once more when it ends.
pub fn enqueue(task: &Task, run_after: Timestamp, now: Timestamp) -> Statement {
    Statement::named(
        "enqueue_job",
        "insert into job (id, kind, payload, dedupe_key, state, run_after, created_at, updated_at, trace)
         values ($1, $2, $3, $4, 'queued', $5, $6, $6, $7)
         on conflict (dedupe_key) where state in ('queued', 'leased')
         do update set run_after = excluded.run_after, updated_at = excluded.updated_at,
            trace = coalesce(excluded.trace, job.trace)",
    )
    .bind(crate::ids::row_id())
    .bind(task.kind().as_str())
    .bind(task.payload())
    .bind(task.dedupe_key())
    .bind(run_after)
    .bind(now)
    .bind(trace_of(task))
}

/// The job of a destination does the work of many: its rows have traces of their own.
fn trace_of(task: &Task) -> Option<String> {
    match task {
        Task::Export { .. } => None,
        _ => trace::current(),
    }
}

/// An association has ended: the studies it delivered need not wait for their quiet time.
pub fn end_delivery(delivery: &str, run_after: Timestamp) -> Batch {
    Batch::new()
        .then(
            Statement::named(
                "hasten_completion",
                "update job set run_after = $1 where state = 'queued' and run_after > $1 and dedupe_key in
                    (select 'complete-study:' || study_uid from delivery where id = $2)",
            )
            .bind(run_after)
            .bind(delivery),
        )
        .then(Statement::named("end_delivery", "delete from delivery where id = $1").bind(delivery))
}

/// Associations that delivered some of the study after `since` and have not ended.
pub async fn open_deliveries(
    db: &Db,
    study: &crate::dicom::uid::StudyUid,
    since: Timestamp,
) -> Result<i64, DbError> {
    let statement = Statement::named(
        "open_deliveries",
        "select count(*) from delivery where study_uid = $1 and last_at > $2",
    );
    let row = db.read_one(statement.bind(study).bind(since)).await?;
    row.map_or(Ok(0), |row| row.int(0))
}

/// Forgets associations that died with an earlier process, and gives up its leases. Only where
/// one process owns the database.
pub fn forget_earlier_process(now: Timestamp) -> Batch {
    Batch::new().then(Statement::named("forget_deliveries", "delete from delivery")).then(
        Statement::named(
            "forget_leases",
            "update job set state = 'queued', lease_until = null, lease_owner = null, updated_at = $1
             where state = 'leased'",
        )
        .bind(now),
    )
}

/// Who takes a job, and until when.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    pub owner: &'a str,
    pub now: Timestamp,
    pub lease_until: Timestamp,
    /// An analysis counts as if it had come this much earlier for each step of its study's
    /// priority.
    pub priority_lead: Duration,
    /// Of the study of an analysis: what has less is left to others.
    pub priority_least: i64,
}

/// Of the study that a job is about, 0 where it is about none.
macro_rules! priority_sql {
    () => {
        "coalesce((select worklist.priority from analysis
             join worklist on worklist.study_uid = analysis.study_uid
             where analysis.id = substr(job.dedupe_key, $5)), 0)"
    };
}

/// With what keeps two claimers from waiting for each other, on an engine that has several.
macro_rules! claim_sql {
    ($locking:literal) => {
        concat!(
            "update job set state = 'leased', lease_owner = $1, lease_until = $2, attempts = attempts + 1, updated_at = $3
             where id = (select id from job where kind = $4
                           and ((state = 'queued' and run_after <= $3) or (state = 'leased' and lease_until < $3))
                           and ",
            priority_sql!(),
            " >= $6 order by run_after - $7 * ",
            priority_sql!(),
            ", run_after limit 1 ",
            $locking,
            ") and ((state = 'queued' and run_after <= $3) or (state = 'leased' and lease_until < $3))
             returning id, payload, attempts, run_after, trace"
        )
    };
}

/// Takes the job that has waited longest, or one whose lease ran out. The guard stands in the
/// outer update too, so that two claimers never get one job.
pub async fn claim(db: &Db, kind: JobKind, claim: Claim<'_>) -> Result<Option<Job>, DbError> {
    let statement = Statement::named("claim_job", claim_sql!(""))
        .or_on_postgres(claim_sql!("for update skip locked"))
        .bind(claim.owner)
        .bind(claim.lease_until)
        .bind(claim.now)
        .bind(kind.as_str())
        // what the key of such a job is about stands behind its kind and a colon
        .bind(JobKind::AnalyseStudy.as_str().len() as i64 + 2)
        .bind(claim.priority_least)
        .bind(i64::try_from(claim.priority_lead.as_micros()).unwrap_or(i64::MAX / 4));
    let effects = db.run(Batch::new().then(statement)).await?;
    effects.first().and_then(|effect| effect.rows.first()).map(read_job).transpose()
}

fn read_job(row: &Row) -> Result<Job, DbError> {
    let bad = DbError::Column { statement: "claim_job", column: 1, wanted: "a task" };
    Ok(Job {
        id: row.text(0)?.to_owned(),
        task: Task::from_payload(row.bytes(1)?).ok_or(bad)?,
        attempts: u32::try_from(row.int(2)?).unwrap_or(u32::MAX),
        run_after: Timestamp(row.int(3)?),
        trace: row.opt_text(4)?.map(str::to_owned),
    })
}

/// When the next job of a kind is due.
pub async fn next_due(db: &Db, kind: JobKind) -> Result<Option<Timestamp>, DbError> {
    let statement = Statement::named(
        "next_due",
        "select min(case state when 'queued' then run_after else lease_until end) from job
         where kind = $1 and state in ('queued', 'leased')",
    );
    let row = db.read_one(statement.bind(kind.as_str())).await?;
    Ok(row.map(|row| row.opt_int(0)).transpose()?.flatten().map(Timestamp))
}

/// Keeps a lease; fails when somebody else has it by now.
pub fn heartbeat(job: &Job, owner: &str, lease_until: Timestamp) -> Batch {
    let statement = Statement::named(
        "job_heartbeat",
        "update job set lease_until = $1 where id = $2 and state = 'leased' and lease_owner = $3",
    );
    Batch::new().then_exactly(1, statement.bind(lease_until).bind(job.id.as_str()).bind(owner))
}

/// leased → done, unless the job was asked for again meanwhile: then leased → queued.
pub fn finish(job: &Job, owner: &str, reason: &str, now: Timestamp) -> Batch {
    end("finish_job", "done", job, owner, reason, now)
}

/// leased → dead: visible, and only a person brings it back. A job that was asked for again
/// meanwhile is queued instead, as by [`finish`].
pub fn give_up(job: &Job, owner: &str, reason: &str, now: Timestamp) -> Batch {
    end("give_job_up", "dead", job, owner, reason, now)
}

fn end(
    name: &'static str,
    state: &'static str,
    job: &Job,
    owner: &str,
    reason: &str,
    now: Timestamp,
) -> Batch {
    let statement = Statement::named(
        name,
        "update job set state = case when run_after = $1 then $2 else 'queued' end,
            attempts = case when run_after = $1 then attempts else 0 end,
            reason = $3, lease_until = null, lease_owner = null, updated_at = $4
         where id = $5 and state = 'leased' and lease_owner = $6",
    )
    .bind(job.run_after)
    .bind(state)
    .bind(reason)
    .bind(now);
    Batch::new().then_exactly(1, statement.bind(job.id.as_str()).bind(owner))
}

/// leased → queued, to be looked at again; `attempts` starts anew when the wait is no failure. A job
/// that was asked for again meanwhile is looked at as early as that.
pub fn put_back(
    job: &Job,
    owner: &str,
    run_after: Timestamp,
    attempts: u32,
    reason: &str,
    now: Timestamp,
) -> Batch {
    let statement = Statement::named(
        "put_job_back",
        "update job set run_after = case when run_after <> $1 and run_after < $2 then run_after else $2 end,
            state = 'queued', attempts = $3, reason = $4, lease_until = null, lease_owner = null, updated_at = $5
         where id = $6 and state = 'leased' and lease_owner = $7",
    )
    .bind(job.run_after)
    .bind(run_after)
    .bind(attempts)
    .bind(reason)
    .bind(now);
    Batch::new().then_exactly(1, statement.bind(job.id.as_str()).bind(owner))
}
