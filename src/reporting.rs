//! The life of a report above its documents: who may change it into what, every version kept, and
//! the documents of what was signed.
//!
//! [`state`] is the table of what may follow what, [`change`] makes the next content of an act,
//! [`sign`] closes a version, and [`publish`] brings its SR and PDF into the study. Whoever changes
//! a report names the revision that he saw: a lost update cannot be.

mod act;
mod begin;
mod change;
pub(crate) mod evidence;
mod publish;
mod sign;
pub mod state;
pub(crate) mod subject;
#[cfg(test)]
mod tests;
pub(crate) mod values;

use std::pin::Pin;

use serde::{Deserialize, Serialize};

use crate::blobs::Blobs;
use crate::clock::Clock;
use crate::config;
use crate::db::audit::Actor;
use crate::db::{Db, DbError, reports};
use crate::export::plan::Plan;
use crate::ingest::Ingest;
use crate::jobs::{Bell, Ending, Handler, HandlerFuture, Job, Task};
use crate::query::stored_object::ReadError;
use crate::report::content::{Content, Fault, Limits};
use crate::report::document::{Predecessor, Provenance, Subject};
use crate::telemetry::limits;
use state::{Act, Status};

pub use act::Edit;
pub use begin::Beginning;
pub use change::TextChanges;
pub use sign::Signer;

/// What reports are made of.
pub struct Parts {
    pub db: Db,
    pub blobs: Blobs,
    pub ingest: Ingest,
    pub clock: Clock,
    pub bell: Bell,
    /// What becomes of the documents of a signed version.
    pub exports: Plan,
    pub settings: config::Report,
    /// Device Serial Number of this installation in the objects it writes.
    pub serial_number: String,
}

pub struct Reporting {
    parts: Parts,
}

/// Who changes a report.
#[derive(Debug, Clone)]
pub struct Author {
    /// Whom the audit names.
    pub actor: Actor,
    /// The same for the same person, whatever he is called.
    pub id: String,
    /// For people and documents.
    pub name: String,
}

/// The revision that a change is made on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// Whatever it is: `If-Match: *`.
    Any,
    Revisions(Vec<i64>),
}

impl Expected {
    fn holds(&self, revision: i64) -> bool {
        match self {
            Self::Any => true,
            Self::Revisions(seen) => seen.contains(&revision),
        }
    }
}

/// A report with what it says now.
#[derive(Debug, Clone)]
pub struct Opened {
    pub head: reports::Head,
    pub status: Status,
    pub version: reports::Version,
    pub content: Content,
}

/// What does not change in the life of a report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Basis {
    pub subject: Subject,
    /// Of the images; the organization of signatures where none is configured.
    pub institution: String,
    /// Of the draft of a model.
    pub provenance: Option<Provenance>,
    /// The SR of an earlier draft that this one replaced.
    pub earlier_draft: Option<Predecessor>,
}

#[derive(Debug, thiserror::Error)]
pub enum ReportingError {
    #[error("there is no such report")]
    UnknownReport,
    #[error("there is no such study")]
    UnknownStudy,
    #[error("there is no such version")]
    UnknownVersion,
    #[error("there is no such finding")]
    UnknownFinding,
    /// The report was made before versions were kept.
    #[error("the report was written by an earlier version of the server: analyse the study again")]
    WithoutVersions,
    #[error("the report has changed since it was read")]
    Stale,
    #[error("a report that is {} does not allow this: {}", status.as_str(), act.as_str())]
    NotAllowed { status: Status, act: Act },
    #[error("{0}")]
    Refused(&'static str),
    #[error("what is written breaks the rules")]
    Faults(Vec<Fault>),
    #[error("a report has at most {0} versions")]
    TooManyVersions(i64),
    #[error("the content cannot be read or written")]
    Json(#[from] serde_json::Error),
    #[error("an image of the study could not be read")]
    Read(#[from] ReadError),
    #[error("a region cannot be measured")]
    Measure(#[from] values::ValuesError),
    #[error("the index failed")]
    Index(DbError),
}

impl From<DbError> for ReportingError {
    fn from(error: DbError) -> Self {
        match error {
            DbError::Affected { statement: reports::ADVANCE, .. } => Self::Stale,
            DbError::Affected { statement: reports::INSERT_BEGUN, .. } => Self::UnknownStudy,
            error => Self::Index(error),
        }
    }
}

impl Reporting {
    pub fn new(parts: Parts) -> Self {
        Self { parts }
    }

    pub async fn open(&self, id: &str) -> Result<Opened, ReportingError> {
        let head = reports::head(&self.parts.db, id).await?.ok_or(ReportingError::UnknownReport)?;
        let version = reports::version(&self.parts.db, id, head.version).await?;
        let version = version.ok_or(ReportingError::WithoutVersions)?;
        let status = Status::named(&head.status).ok_or(ReportingError::WithoutVersions)?;
        let content = serde_json::from_slice(&version.content)?;
        Ok(Opened { head, status, version, content })
    }

    /// The version that was signed last, of a report that says more since.
    pub async fn as_signed(&self, opened: Opened) -> Result<Opened, ReportingError> {
        let head = reports::Head { newer_draft: None, ..opened.head };
        if opened.version.signature.is_some() {
            return Ok(Opened { head, ..opened });
        }
        let versions = reports::documents(&self.parts.db, &head.id).await?;
        let signed = versions.into_iter().rfind(|version| version.signature.is_some());
        let version = signed.ok_or(ReportingError::UnknownReport)?;
        let status = Status::named(&version.status).ok_or(ReportingError::WithoutVersions)?;
        let content: Content = serde_json::from_slice(&version.content)?;
        let narrative = act::narrative(&content, status)?;
        let objects = version.objects.clone();
        let head = reports::Head {
            status: version.status.clone(),
            version: version.number,
            narrative,
            objects,
            ..head
        };
        Ok(Opened { head, status, version, content })
    }

    /// As [`Reporting::open`], for a change by somebody who saw `expected`.
    async fn open_for(&self, id: &str, expected: &Expected) -> Result<Opened, ReportingError> {
        let opened = self.open(id).await?;
        if !expected.holds(opened.head.revision) {
            return Err(ReportingError::Stale);
        }
        if opened.head.versions >= self.parts.settings.versions_max {
            limits::hit("report.versions_max");
            return Err(ReportingError::TooManyVersions(self.parts.settings.versions_max));
        }
        Ok(opened)
    }

    pub async fn content(
        &self,
        id: &str,
        number: i64,
    ) -> Result<(reports::Version, Content), ReportingError> {
        let version = reports::version(&self.parts.db, id, number).await?;
        let version = version.ok_or(ReportingError::UnknownVersion)?;
        let content = serde_json::from_slice(&version.content)?;
        Ok((version, content))
    }

    fn limits(&self) -> Limits {
        let settings = &self.parts.settings;
        Limits {
            text_characters_max: settings.text_characters_max,
            findings_max: settings.findings_max,
            images_max: settings.images_max,
        }
    }
}

impl Handler for Reporting {
    fn run<'a>(&'a self, job: &'a Job) -> HandlerFuture<'a> {
        Box::pin(async move {
            match &job.task {
                Task::PublishReport { report, version } => self.publish(report, *version).await,
                other => Ending::Fail(format!("{} is no work of reports", other.kind().as_str())),
            }
        })
    }

    fn gave_up<'a>(&'a self, job: &'a Job, reason: &'a str) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(async move {
            if let Task::PublishReport { report, version } = &job.task {
                self.note_failure(report, *version, reason).await;
            }
        })
    }
}
