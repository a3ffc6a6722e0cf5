//! Which of what was sent a destination has promised to keep: `sent → committed`, or back to
//! `failed` when it says that it does not have it.

use crate::clock::Timestamp;
use crate::db::{Batch, Db, DbError, Row, Statement};
use crate::dicom::uid::{SopClassUid, SopInstanceUid};

/// A row that was sent, with what a request for commitment names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uncommitted {
    pub id: i64,
    pub sop_class: SopClassUid,
    pub instance: SopInstanceUid,
}

/// What was sent and is to be asked about now, the first sent first.
pub async fn uncommitted(
    db: &Db,
    destination: &str,
    now: Timestamp,
    most: usize,
) -> Result<Vec<Uncommitted>, DbError> {
    let statement = Statement::named(
        "uncommitted_exports",
        "select export.id, instance.sop_class_uid, export.subject
         from export join instance on instance.sop_instance_uid = export.subject
         where export.destination = $1 and export.state = 'sent' and export.due_at <= $2
            and export.commitment is null and export.event is null
         order by export.due_at, export.id limit $3",
    );
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let rows = db.read(statement.bind(destination).bind(now).bind(most)).await?;
    let read = |row: &Row| {
        Ok(Uncommitted {
            id: row.int(0)?,
            sop_class: row.parse(1, "a SOP Class UID")?,
            instance: row.parse(2, "a SOP Instance UID")?,
        })
    };
    rows.iter().map(read).collect()
}

/// The rows are part of a request, by its id.
pub fn asked(rows: &[Uncommitted], request: &str, now: Timestamp) -> Batch {
    let statement = |row: &Uncommitted| {
        let sql = "update export set commitment = $1, updated_at = $2 where id = $3 and state = 'sent'";
        Statement::named("export_commitment_asked", sql).bind(request).bind(now).bind(row.id)
    };
    rows.iter().map(statement).fold(Batch::new(), Batch::then)
}

/// They could not be asked about, and are again at a time.
pub fn not_asked(rows: &[Uncommitted], reason: &str, again: Timestamp) -> Batch {
    let statement = |row: &Uncommitted| {
        let sql = "update export set reason = $1, due_at = $2 where id = $3 and state = 'sent'";
        Statement::named("export_commitment_not_asked", sql).bind(reason).bind(again).bind(row.id)
    };
    rows.iter().map(statement).fold(Batch::new(), Batch::then)
}

/// Ids of the requests that rows of a destination wait for.
pub async fn awaited(db: &Db, destination: &str) -> Result<Vec<String>, DbError> {
    let statement = Statement::named(
        "awaited_commitments",
        "select distinct commitment from export
         where destination = $1 and state = 'sent' and commitment is not null",
    );
    let rows = db.read(statement.bind(destination)).await?;
    rows.iter().map(|row| row.text(0).map(str::to_owned)).collect()
}

/// What a report says of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    Committed,
    /// It does not have it: it is sent again at a time, or given up after so many attempts.
    Lost {
        reason: String,
        again: Timestamp,
        attempts_max: u32,
    },
}

pub fn settle(request: &str, instance: &SopInstanceUid, said: &Said, now: Timestamp) -> Statement {
    match said {
        Said::Committed => Statement::named(
            "export_committed",
            "update export set state = 'committed', reason = null, commitment = null, updated_at = $1
             where commitment = $2 and subject = $3 and state = 'sent'",
        )
        .bind(now),
        Said::Lost { reason, again, attempts_max } => Statement::named(
            "export_not_committed",
            "update export set state = case when attempts >= $1 then 'dead' else 'failed' end, reason = $2,
                due_at = $3, commitment = null, updated_at = $4
             where commitment = $5 and subject = $6 and state = 'sent'",
        )
        .bind(*attempts_max)
        .bind(reason.as_str())
        .bind(*again)
        .bind(now),
    }
    .bind(request)
    .bind(instance)
}

/// What is left of a request is asked about anew, at a time.
pub fn ask_anew(request: &str, reason: &str, again: Timestamp) -> Batch {
    let sql = "update export set commitment = null, reason = $1, due_at = $2 where commitment = $3 and state = 'sent'";
    let statement = Statement::named("export_commitment_anew", sql);
    Batch::new().then(statement.bind(reason).bind(again).bind(request))
}
