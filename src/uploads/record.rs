//! What became of the files of one upload: rows, some at a time, and news of how far it has come.

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Uploads, delivery, label};
use crate::auth::Reach;
use crate::clock::Timestamp;
use crate::db::audit::{self, Action, Actor, Entry, ObjectKind, Outcome as AuditOutcome};
use crate::db::events::{self, Event, EventKind};
use crate::db::uploads::{self as rows, FileRow};
use crate::db::{Batch, DbError, jobs as job_rows};
use crate::ingest::sniff::Kind;
use crate::ingest::{Ingest, Outcome, Placing, Refusal, Refused, Stored};

/// Rows that wait for one batch.
const ROWS: usize = 64;
/// Objects that are being placed while the next is received.
const PLACING: usize = 8;
/// News of one upload.
const TELL_EVERY: Duration = Duration::from_millis(500);

/// How many files came to which end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct Counts {
    pub files: u64,
    /// New in the archive.
    pub stored: u64,
    /// Here already, just so.
    pub same: u64,
    /// Another object has their UID.
    pub conflict: u64,
    /// No objects.
    pub ignored: u64,
    pub refused: u64,
}

impl Counts {
    pub fn add(&mut self, outcome: &str, files: u64) {
        self.files += files;
        match outcome {
            "stored" => self.stored += files,
            "same" => self.same += files,
            "conflict" => self.conflict += files,
            "ignored" => self.ignored += files,
            _ => self.refused += files,
        }
    }
}

/// The files of one upload, in their order.
pub struct Recorder<'a> {
    uploads: &'a Uploads,
    id: &'a str,
    owner: &'a str,
    actor: Actor,
    /// Studies that the sender cannot see are none that he adds to.
    ingest: Ingest,
    open: VecDeque<(i64, String, Placing)>,
    rows: Vec<FileRow>,
    next: i64,
    counts: Counts,
    bytes: u64,
    told_at: Option<Timestamp>,
}

impl<'a> Recorder<'a> {
    pub fn new(uploads: &'a Uploads, id: &'a str, owner: &'a str, actor: Actor, reach: &Reach) -> Self {
        Self {
            uploads,
            id,
            owner,
            actor,
            ingest: uploads.parts.ingest.within(reach),
            open: VecDeque::new(),
            rows: Vec::new(),
            next: 1,
            counts: Counts::default(),
            bytes: 0,
            told_at: None,
        }
    }

    pub(super) fn ingest(&self) -> &Ingest {
        &self.ingest
    }

    /// Who sends.
    pub fn actor(&self) -> &Actor {
        &self.actor
    }

    /// Files that were seen, settled or not.
    pub fn files(&self) -> usize {
        usize::try_from(self.next - 1).unwrap_or(usize::MAX)
    }

    pub fn came(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// An object that was received, or why it was not.
    pub async fn object(&mut self, name: &str, received: Result<Placing, Refused>) -> Result<(), DbError> {
        match received {
            Ok(placing) => {
                let (ordinal, name) = self.named(name);
                self.open.push_back((ordinal, name, placing));
                if self.open.len() >= PLACING {
                    self.settle_oldest().await;
                }
                self.flush_some().await
            }
            Err(refused) => {
                let (ordinal, name) = self.named(name);
                self.push(settled(ordinal, name, Err(refused)));
                self.flush_some().await
            }
        }
    }

    /// A file that is no object.
    pub async fn other(&mut self, name: &str, kind: Kind) -> Result<(), DbError> {
        let reason = match kind {
            Kind::Dicomdir => "a DICOMDIR, the index of a medium",
            Kind::Zip => "a zip within a zip",
            Kind::Dicom | Kind::Other => "not a DICOM file",
        };
        self.say(name, "ignored", reason.to_owned()).await
    }

    pub async fn refused(&mut self, name: &str, reason: String) -> Result<(), DbError> {
        self.say(name, "refused", reason).await
    }

    async fn say(&mut self, name: &str, outcome: &str, reason: String) -> Result<(), DbError> {
        let (ordinal, name) = self.named(name);
        self.push(FileRow {
            ordinal,
            name,
            outcome: outcome.to_owned(),
            reason: Some(reason),
            study: None,
            sop_instance: None,
        });
        self.flush_some().await
    }

    fn named(&mut self, name: &str) -> (i64, String) {
        let ordinal = self.next;
        self.next += 1;
        (ordinal, label::shown(name, self.uploads.parts.settings.path_bytes_max))
    }

    fn push(&mut self, row: FileRow) {
        self.counts.add(&row.outcome, 1);
        self.rows.push(row);
    }

    async fn settle_oldest(&mut self) {
        if let Some((ordinal, name, placing)) = self.open.pop_front() {
            self.push(settled(ordinal, name, placing.outcome().await));
        }
    }

    async fn flush_some(&mut self) -> Result<(), DbError> {
        let now = self.uploads.parts.clock.now();
        let news = self.told_at.is_none_or(|at| now.since(at) >= TELL_EVERY);
        if self.rows.len() < ROWS && !news {
            return Ok(());
        }
        let mut batch = self.batch();
        if news {
            self.told_at = Some(now);
            batch.push(self.told(EventKind::UploadProgress, "storing", now));
        }
        self.uploads.parts.db.run(batch).await.map(drop)
    }

    fn batch(&mut self) -> Batch {
        let rows = std::mem::take(&mut self.rows);
        rows.iter().fold(Batch::new(), |batch, row| batch.then(rows::insert_file(self.id, row)))
    }

    fn told(&self, kind: EventKind, state: &str, now: Timestamp) -> crate::db::Statement {
        let mut detail: Value = json!({ "state": state, "bytes": self.bytes });
        detail["counts"] = json!(self.counts);
        let event = Event {
            kind,
            study: None,
            subject: Some(self.id),
            owner: Some(self.owner),
            detail: Some(&detail),
        };
        events::append(&event, now)
    }

    /// Every file has its row, and the upload its end; its studies may be looked at.
    pub async fn finish(mut self, state: &'static str, reason: Option<&str>) -> Result<Counts, DbError> {
        while !self.open.is_empty() {
            self.settle_oldest().await;
        }
        let now = self.uploads.parts.clock.now();
        let counts = self.counts;
        let detail = format!(
            "{} files: {} stored, {} the same again, {} in conflict, {} ignored, {} refused",
            counts.files, counts.stored, counts.same, counts.conflict, counts.ignored, counts.refused
        );
        let mut batch = self.batch();
        batch.append(rows::finish(self.id, state, reason, now));
        let outcome = if state == "done" { AuditOutcome::Success } else { AuditOutcome::MinorFailure };
        let entry = Entry::new(&self.actor, Action::ReceiveObjects).object(ObjectKind::Upload, self.id);
        batch.push(audit::append(&entry.outcome(outcome).detail(&detail), now));
        batch.push(self.told(EventKind::UploadDone, state, now));
        let parts = &self.uploads.parts;
        batch.append(job_rows::end_delivery(&delivery(self.id), now.plus(parts.release_delay)));
        parts.db.run(batch).await?;
        parts.bell.ring();
        Ok(counts)
    }
}

fn settled(ordinal: i64, name: String, outcome: Result<Stored, Refused>) -> FileRow {
    let row = |outcome: &str, reason: Option<String>, study: Option<String>, sop_instance| FileRow {
        ordinal,
        name,
        outcome: outcome.to_owned(),
        reason,
        study,
        sop_instance,
    };
    match outcome {
        Ok(stored) => {
            let (word, reason) = match stored.outcome {
                Outcome::New | Outcome::Replaced => ("stored", None),
                Outcome::SameAgain => ("same", None),
                Outcome::KeptFirst => ("conflict", Some(Refusal::Conflict.to_string())),
            };
            let identity = stored.instance;
            row(word, reason, Some(identity.study.to_string()), Some(identity.sop_instance.to_string()))
        }
        Err(refused) => {
            let word = if matches!(refused.refusal, Refusal::Conflict | Refusal::Held) {
                "conflict"
            } else {
                "refused"
            };
            let instance = refused.sop_instance.as_ref().map(ToString::to_string);
            row(word, Some(refused.refusal.to_string()), None, instance)
        }
    }
}
