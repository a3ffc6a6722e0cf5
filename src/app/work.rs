//! The drivers of background work: deciding about studies, and analysing them.

use std::sync::Arc;

use tokio::sync::broadcast::{self, error::RecvError};
use tokio_util::sync::CancellationToken;

use crate::analysis::{self, Analyses, Event, Model};
use crate::blobs::Keeping;
use crate::config::{Config, Role};
use crate::export::commitment::{self, Commitments};
use crate::export::content::{self, Downloads};
use crate::export::plan::Plan;
use crate::export::scu::Directory;
use crate::export::{self, ExportError, Exports};
use crate::jobs::completeness::{Deliveries, Patience};
use crate::jobs::driver::Driver;
use crate::jobs::{Bell, Handler, JobKind};
use crate::query::decoding::Decodes;
use crate::reporting::{self, Reporting};
use crate::upkeep::retention::{Retention, RetentionJob};
use crate::uploads::{self, Uploads};

use super::Archive;

/// Deciding is quick and costs a few rows: some studies at a time.
const DECIDERS: usize = 2;
/// Uploads whose files are stored at the same time.
const UPLOADERS: usize = 2;

/// A storage commitment is reported on the association that asked, which is of the instance that serves.
pub(super) fn is_done_by(role: Role, kind: JobKind) -> bool {
    match kind {
        JobKind::ReportCommitment => role.serves(),
        _ => role.works(),
    }
}

/// Everything that happens to studies once they are stored.
pub(super) struct Work {
    pub(super) deliveries: Deliveries,
    pub(super) analyses: Arc<Analyses>,
    pub(super) commitments: Arc<Commitments>,
    pub(super) exports: Arc<Exports>,
    pub(super) reporting: Arc<Reporting>,
    pub(super) uploads: Arc<Uploads>,
    pub(super) downloads: Arc<Downloads>,
    pub(super) retention: Arc<RetentionJob>,
    /// Wakes the drivers.
    bell: Bell,
}

impl Work {
    pub(super) fn new(
        config: &Config,
        archive: &Archive,
        model: Model,
        directory: Directory,
        decodes: Decodes,
    ) -> Result<Self, ExportError> {
        let bell = Bell::default();
        let deliveries = Deliveries {
            db: archive.db.clone(),
            clock: archive.clock.clone(),
            bell: bell.clone(),
            patience: patience(config),
        };
        let analyses = Analyses::new(analysis::Parts {
            db: archive.db.clone(),
            blobs: archive.blobs.clone(),
            ingest: archive.ingest.as_ref().clone(),
            clock: archive.clock.clone(),
            bell: bell.clone(),
            deliveries: deliveries.clone(),
            settings: config.analysis.clone(),
            exports: Plan::new(config),
            model,
            serial_number: archive.serial_number.clone(),
        });
        let reporting = Arc::new(reporting(config, archive, &bell));
        let commitments = Arc::new(Commitments::new(commitment::Parts {
            db: archive.db.clone(),
            blobs: archive.blobs.clone(),
            clock: archive.clock.clone(),
            bell: bell.clone(),
            directory: directory.clone(),
            settings: commitment::Settings::new(config),
        }));
        let downloads = Arc::new(Downloads::new(content::Parts {
            db: archive.db.clone(),
            blobs: archive.blobs.clone(),
            clock: archive.clock.clone(),
            bell: bell.clone(),
            decodes: decodes.clone(),
            settings: config.downloads.clone(),
            keeping: keeping(archive),
            folder: config.server.data_dir.join(content::FOLDER),
        }));
        let parts = export::Parts {
            db: archive.db.clone(),
            blobs: archive.blobs.clone(),
            clock: archive.clock.clone(),
            bell: bell.clone(),
            decodes,
            directory,
            commitments: Arc::clone(&commitments),
        };
        let exports = Arc::new(Exports::new(parts, config)?);
        let uploads = Arc::new(Uploads::new(uploads::Parts {
            db: archive.db.clone(),
            blobs: archive.blobs.clone(),
            ingest: archive.ingest.as_ref().clone(),
            clock: archive.clock.clone(),
            bell: bell.clone(),
            settings: config.uploads.clone(),
            keeping: keeping(archive),
            server: archive.serial_number.clone(),
            instance_bytes_max: config.ingest.instance_bytes_max,
            release_delay: config.analysis.release_delay(),
        }));
        let analyses = Arc::new(analyses);
        Ok(Self {
            deliveries,
            analyses,
            commitments,
            exports,
            downloads,
            reporting,
            uploads,
            retention: Arc::new(retention(config, archive)),
            bell,
        })
    }

    pub(super) fn driver(&self, kind: JobKind, config: &Config, archive: &Archive) -> Driver {
        let (handler, workers, attempts_max): (Arc<dyn Handler>, _, _) = match kind {
            JobKind::CompleteStudy => (self.analyses.clone(), DECIDERS, config.analysis.attempts_max),
            JobKind::AnalyseStudy => {
                (self.analyses.clone(), config.analysis.workers, config.analysis.attempts_max)
            }
            JobKind::ReportCommitment => {
                (self.commitments.clone(), config.commitment.workers, config.commitment.attempts_max)
            }
            JobKind::PublishReport => {
                (self.reporting.clone(), config.report.workers, config.report.attempts_max)
            }
            JobKind::Download => {
                (self.downloads.clone(), config.downloads.workers, config.downloads.attempts_max)
            }
            // Never given up either: who kills servers while it runs keeps nothing for ever.
            JobKind::RetainStudies => (self.retention.clone(), 1, u32::MAX),
            // A worker for each destination. Its job is never given up: attempts are those of rows.
            JobKind::Export => (self.exports.clone(), self.exports.workers(), u32::MAX),
            JobKind::StoreUpload => (self.uploads.clone(), UPLOADERS, config.analysis.attempts_max),
        };
        Driver {
            db: archive.db.clone(),
            clock: archive.clock.clone(),
            bell: self.bell.clone(),
            kind,
            handler,
            workers,
            stat_workers: if kind == JobKind::AnalyseStudy { config.analysis.stat_workers } else { 0 },
            lease: config.analysis.lease(),
            priority_lead: config.analysis.priority_lead(),
            attempts_max,
            owner: format!("{}-{}", archive.serial_number, std::process::id()),
        }
    }
}

/// Logs what is decided about studies until the stop; analyses log their own end.
pub(super) async fn report(mut events: broadcast::Receiver<Event>, stop: &CancellationToken) {
    loop {
        match stop.run_until_cancelled(events.recv()).await {
            Some(Ok(event)) => log(&event),
            Some(Err(RecvError::Lagged(missed))) => {
                tracing::warn!(missed, "events of analyses were not logged")
            }
            Some(Err(RecvError::Closed)) | None => return,
        }
    }
}

fn log(event: &Event) {
    match event {
        Event::Decided { study, verdict, reason } => {
            tracing::info!(%study, verdict, "study decided: {reason}")
        }
        Event::Queued { study, analysis } => tracing::info!(%study, analysis, "analysis queued"),
        Event::Waiting { study, analysis, reason } => {
            tracing::warn!(%study, analysis, "analysis waiting: {reason}")
        }
        Event::Cancelled { study, analysis } => tracing::info!(%study, analysis, "analysis cancelled"),
        Event::Done { .. } | Event::Failed { .. } | Event::Progress { .. } => {}
    }
}

/// Who shares the index shares the objects.
fn keeping(archive: &Archive) -> Keeping {
    if archive.db.is_shared() { Keeping::Shared } else { Keeping::Here }
}

fn reporting(config: &Config, archive: &Archive, bell: &Bell) -> Reporting {
    Reporting::new(reporting::Parts {
        db: archive.db.clone(),
        blobs: archive.blobs.clone(),
        ingest: archive.ingest.as_ref().clone(),
        clock: archive.clock.clone(),
        bell: bell.clone(),
        exports: Plan::new(config),
        settings: config.report.clone(),
        serial_number: archive.serial_number.clone(),
    })
}

fn retention(config: &Config, archive: &Archive) -> RetentionJob {
    let (db, clock, settings) = (archive.db.clone(), archive.clock.clone(), config.retention.clone());
    RetentionJob { retention: Retention { db, clock, settings }, ingest: Arc::clone(&archive.ingest) }
}

fn patience(config: &Config) -> Patience {
    Patience {
        quiet_time: config.analysis.quiet_time(),
        release_delay: config.analysis.release_delay(),
        delivery_timeout: config.analysis.delivery_timeout(),
    }
}
