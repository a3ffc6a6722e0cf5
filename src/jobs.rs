//! Work that outlives a request: queued in the index, run under a lease, tried a bounded number
//! of times.
//!
//! `queued → leased → done | queued(run_after) | dead`. Handlers may run twice for one job: what
//! they do must be harmless to repeat.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use crate::clock::Timestamp;
use crate::dicom::uid::StudyUid;

pub mod completeness;
pub mod conditions;
pub mod driver;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JobKind {
    CompleteStudy,
    AnalyseStudy,
    ReportCommitment,
    Export,
    PublishReport,
    StoreUpload,
    Download,
    RetainStudies,
}

impl JobKind {
    pub const ALL: [Self; 8] = [
        Self::CompleteStudy,
        Self::AnalyseStudy,
        Self::ReportCommitment,
        Self::Export,
        Self::PublishReport,
        Self::StoreUpload,
        Self::Download,
        Self::RetainStudies,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::CompleteStudy => "complete-study",
            Self::AnalyseStudy => "analyse-study",
            Self::ReportCommitment => "report-commitment",
            Self::Export => "export",
            Self::PublishReport => "publish-report",
            Self::StoreUpload => "store-upload",
            Self::Download => "download",
            Self::RetainStudies => "retain-studies",
        }
    }

    /// The key of the configuration that bounds the attempts of such a job.
    pub fn attempts_limit(self) -> &'static str {
        match self {
            Self::CompleteStudy | Self::AnalyseStudy | Self::StoreUpload | Self::RetainStudies => {
                "analysis.attempts_max"
            }
            Self::ReportCommitment => "commitment.attempts_max",
            Self::PublishReport => "report.attempts_max",
            Self::Download => "downloads.attempts_max",
            Self::Export => "export.attempts_max",
        }
    }
}

/// What a job is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "task", rename_all = "kebab-case")]
pub enum Task {
    /// Decide whether the study is complete, and what to do with it.
    CompleteStudy { study: StudyUid },
    /// Carry one analysis through.
    AnalyseStudy { analysis: String },
    /// Look at what a node asked us to commit to, and tell it.
    ReportCommitment { commitment: String },
    /// Send what is queued for a destination.
    Export { destination: String },
    /// Make the documents of a signed version.
    PublishReport { report: String, version: i64 },
    /// Make objects of what was uploaded.
    StoreUpload { upload: String },
    /// Make the file of a download.
    Download { download: String },
    /// Delete the studies whose time is over, again and again.
    RetainStudies {},
}

impl Task {
    pub fn kind(&self) -> JobKind {
        match self {
            Self::CompleteStudy { .. } => JobKind::CompleteStudy,
            Self::AnalyseStudy { .. } => JobKind::AnalyseStudy,
            Self::ReportCommitment { .. } => JobKind::ReportCommitment,
            Self::Export { .. } => JobKind::Export,
            Self::PublishReport { .. } => JobKind::PublishReport,
            Self::StoreUpload { .. } => JobKind::StoreUpload,
            Self::Download { .. } => JobKind::Download,
            Self::RetainStudies {} => JobKind::RetainStudies,
        }
    }

    pub fn dedupe_key(&self) -> String {
        match self {
            Self::CompleteStudy { study } => format!("complete-study:{study}"),
            Self::AnalyseStudy { analysis } => format!("analyse-study:{analysis}"),
            Self::ReportCommitment { commitment } => format!("report-commitment:{commitment}"),
            Self::Export { destination } => format!("export:{destination}"),
            Self::PublishReport { report, version } => format!("publish-report:{report}:{version}"),
            Self::StoreUpload { upload } => format!("store-upload:{upload}"),
            Self::Download { download } => format!("download:{download}"),
            Self::RetainStudies {} => "retain-studies".to_owned(),
        }
    }

    pub fn payload(&self) -> Vec<u8> {
        // A task is two strings: nothing in it can fail to serialise.
        serde_json::to_vec(self).unwrap_or_default()
    }

    pub fn from_payload(payload: &[u8]) -> Option<Self> {
        serde_json::from_slice(payload).ok()
    }
}

/// A job under lease.
#[derive(Debug, Clone)]
pub struct Job {
    pub id: String,
    pub task: Task,
    /// This one included.
    pub attempts: u32,
    pub run_after: Timestamp,
    /// The trace of what queued it last.
    pub trace: Option<String>,
}

/// How a handler leaves its job. Reasons are for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    Done(String),
    /// Not yet: look again after this long. No failure.
    Later(Duration, String),
    /// Failed in a way that may pass.
    Retry(String),
    /// Failed for good.
    Fail(String),
}

impl Ending {
    /// For metrics.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Done(_) => "done",
            Self::Later(..) => "later",
            Self::Retry(_) => "retry",
            Self::Fail(_) => "failed",
        }
    }
}

pub type HandlerFuture<'a> = Pin<Box<dyn Future<Output = Ending> + Send + 'a>>;

/// What a kind of job does. The future is dropped midway when the lease is lost or the server
/// stops; the job then runs again elsewhere or later.
pub trait Handler: Send + Sync {
    fn run<'a>(&'a self, job: &'a Job) -> HandlerFuture<'a>;
    /// The job was given up after its last attempt.
    fn gave_up<'a>(&'a self, job: &'a Job, reason: &'a str) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>>;
}

/// Wakes the drivers of this process; other processes see new jobs by looking.
#[derive(Debug, Clone, Default)]
pub struct Bell(Arc<Notify>);

impl Bell {
    pub fn ring(&self) {
        self.0.notify_waiters();
    }

    /// Completes at the first ring after this call, not after the first poll.
    pub fn heard(&self) -> Notified<'_> {
        self.0.notified()
    }
}
