//! Storage commitment in both directions, PS3.4 J: what nodes ask us to commit to, and what we ask
//! of nodes. Each transaction is a row, so that it survives a restart and a peer that is down.
//!
//! # Given
//! A request is accepted when it is durable. A job then reads every object again, and reports: on
//! the association that asked, while it stands and confirms in time, otherwise on a new one to the
//! node, tried again with back-off. See [`Commitments::accept`].
//!
//! # Asked
//! [`Commitments::request`] asks a node and waits a moment for the report on the same association;
//! later it comes to our SCP, which hands it to [`Commitments::record`]. [`Commitments::status`]
//! tells how far it is.

mod asked;
mod given;
mod standing;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::scu::association::Peer;
use super::scu::{Directory, ScuError};
use crate::blobs::Blobs;
use crate::causes::chain;
use crate::clock::{Clock, Timestamp};
use crate::config::{self, Config};
use crate::db::{Db, DbError};
use crate::jobs::{Bell, Ending, Handler, HandlerFuture, Job, Task};
use crate::query::integrity::Integrity;
use crate::telemetry::metrics::commitment as metric;

pub use asked::{RecordError, RequestError, Status};
pub use given::AcceptError;
pub use standing::{Delivery, ReturnPath};

use standing::Standing;

/// A node that could not be reached is left alone for this long: its other reports wait too.
const LEFT_ALONE: Duration = Duration::from_secs(5);

#[derive(Debug, Clone)]
pub struct Settings {
    /// Ours.
    pub ae_title: String,
    /// SOP classes that are stored beside the standard ones; `*` is any.
    pub sop_classes_extra: Vec<String>,
    /// Reports that are taken.
    pub report_bytes_max: u64,
    pub limits: config::Commitment,
}

impl Settings {
    pub fn new(config: &Config) -> Self {
        Self {
            ae_title: config.dimse.ae_title.clone(),
            sop_classes_extra: config.dimse.sop_classes_extra.clone(),
            report_bytes_max: config.dimse.identifier_bytes_max,
            limits: config.commitment.clone(),
        }
    }
}

pub struct Parts {
    pub db: Db,
    pub blobs: Blobs,
    pub clock: Clock,
    pub bell: Bell,
    /// The nodes that are called.
    pub directory: Directory,
    pub settings: Settings,
}

/// One for the whole server.
pub struct Commitments {
    db: Db,
    clock: Clock,
    bell: Bell,
    directory: Directory,
    settings: Settings,
    integrity: Integrity,
    standing: Standing,
    /// Nodes that could not be reached, and until when they are left alone.
    unreachable: Mutex<BTreeMap<String, Timestamp>>,
}

impl Commitments {
    /// Whom we can ask.
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    pub fn new(parts: Parts) -> Self {
        let Parts { db, blobs, clock, bell, directory, settings } = parts;
        let integrity = Integrity::new(db.clone(), blobs, settings.limits.checks);
        let (standing, unreachable) = (Standing::default(), Mutex::default());
        Self { db, clock, bell, directory, settings, integrity, standing, unreachable }
    }

    /// References of one request or report.
    pub fn references_max(&self) -> usize {
        self.settings.limits.references_max
    }

    /// How long an association has to confirm a report; none when reports go on new ones always.
    pub fn same_association(&self) -> Option<Duration> {
        Some(self.settings.limits.same_association()).filter(|wait| !wait.is_zero())
    }

    /// Where a node can be called, by its AE title.
    fn peer(&self, ae_title: &str) -> Option<Peer> {
        Some(self.directory.destination(ae_title)?.peer)
    }

    /// Whether a node has just been found out of reach.
    fn is_left_alone(&self, ae_title: &str) -> bool {
        let unreachable = self.unreachable.lock().unwrap_or_else(PoisonError::into_inner);
        unreachable.get(ae_title).is_some_and(|until| self.clock.now() < *until)
    }

    fn leave_alone(&self, ae_title: &str) {
        let mut unreachable = self.unreachable.lock().unwrap_or_else(PoisonError::into_inner);
        unreachable.insert(ae_title.to_owned(), self.clock.now().plus(LEFT_ALONE));
    }
}

impl Handler for Commitments {
    fn run<'a>(&'a self, job: &'a Job) -> HandlerFuture<'a> {
        Box::pin(async move {
            let Task::ReportCommitment { commitment } = &job.task else {
                return Ending::Fail(format!(
                    "{} is no work of storage commitment",
                    job.task.kind().as_str()
                ));
            };
            let ending = self.report(commitment).await;
            ending.unwrap_or_else(|error: DbError| Ending::Retry(chain(&error)))
        })
    }

    fn gave_up<'a>(&'a self, job: &'a Job, reason: &'a str) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(async move {
            if let Task::ReportCommitment { commitment } = &job.task
                && let Err(error) = self.keep_undelivered(commitment, reason).await
            {
                tracing::error!(commitment, %error, "a report that was given up could not be recorded");
            }
        })
    }
}

/// Why a report did not arrive, or a request was not made.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    #[error(transparent)]
    Association(#[from] ScuError),
    #[error("{0} answered with the status {1:04X}H")]
    Status(&'static str, u16),
    #[error("{0} could not be reached a moment ago")]
    LeftAlone(String),
}
