//! The analysis of studies, from the decision to the report in the study. The only module that
//! knows both the model and ingest: with analysis off the rest is a complete archive.

mod ask;
pub mod control;
mod decide;
pub mod evaluate;
mod gather;
mod limitations;
pub mod model;
pub mod outside;
mod perform;
mod progress;
mod publish;
mod reuse;
#[cfg(test)]
mod tests;
pub mod trigger;

use std::collections::BTreeMap;
use std::pin::Pin;

use tokio::sync::broadcast;

use crate::ai;
use crate::blobs::Blobs;
use crate::causes::chain;
use crate::clock::Clock;
use crate::config;
use crate::db::studies::Member;
use crate::db::{Batch, Db, DbError, analyses};
use crate::dicom::uid::StudyUid;
use crate::export::plan::Plan;
use crate::ingest::Ingest;
use crate::jobs::completeness::Deliveries;
use crate::jobs::{Bell, Ending, Handler, HandlerFuture, Job, Task};
use crate::telemetry::metrics::analysis as metric;

pub use model::{Coming, Lack, Model, NO_MODEL};

/// Milestones, for whoever shows them.
#[derive(Debug, Clone)]
pub enum Event {
    Decided { study: StudyUid, verdict: &'static str, reason: String },
    Queued { study: StudyUid, analysis: String },
    Waiting { study: StudyUid, analysis: String, reason: &'static str },
    Progress { study: StudyUid, analysis: String, stage: ai::Progress },
    Done { study: StudyUid, analysis: String },
    Failed { study: StudyUid, analysis: String, reason: String },
    Cancelled { study: StudyUid, analysis: String },
}

/// What analyses are made of.
pub struct Parts {
    pub db: Db,
    pub blobs: Blobs,
    pub ingest: Ingest,
    pub clock: Clock,
    pub bell: Bell,
    pub deliveries: Deliveries,
    pub settings: config::Analysis,
    /// What becomes of complete studies and of results.
    pub exports: Plan,
    pub model: Model,
    /// Device Serial Number of this installation in the objects it writes.
    pub serial_number: String,
}

pub struct Analyses {
    parts: Parts,
    events: broadcast::Sender<Event>,
    running: control::Running,
}

/// An analysis that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    pub analysis: String,
    pub state: String,
}

/// Why a request for an analysis was not taken.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    #[error("there is no such study")]
    UnknownStudy,
    #[error("there is no pipeline {0}")]
    UnknownPipeline(String),
    #[error("{0}")]
    NotAnalysable(String),
    #[error("the index failed")]
    Index(#[from] DbError),
}

const EVENTS: usize = 1024;

impl Analyses {
    pub fn new(parts: Parts) -> Self {
        Self { parts, events: broadcast::channel(EVENTS).0, running: control::Running::default() }
    }

    /// Events from now on; a reader that falls behind misses some.
    pub fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    pub fn has_model(&self) -> bool {
        self.parts.model.engine().is_ok()
    }

    /// Loads the model where that is to be done, and goes on with what waited for it.
    pub async fn begin(&self) -> Result<usize, DbError> {
        self.parts.model.arrive().await;
        match self.parts.model.engine() {
            Ok(engine) => {
                let ai::ModelIdentity { name, version, .. } = engine.identity();
                tracing::info!(model = name, version, "the model is ready");
            }
            Err(Lack::Failed(reason)) => tracing::error!(reason, "the model could not be loaded"),
            Err(Lack::Absent | Lack::Loading | Lack::OfOthers) => {}
        }
        self.resume_waiting().await
    }

    /// Queues again what waited for a model, if it is known by now what becomes of it.
    pub async fn resume_waiting(&self) -> Result<usize, DbError> {
        if matches!(self.parts.model.engine(), Err(Lack::Absent | Lack::Loading | Lack::OfOthers)) {
            return Ok(0);
        }
        let waiting = analyses::waiting(&self.parts.db).await?;
        for analysis in &waiting {
            self.queue_again(analysis).await?;
        }
        self.parts.bell.ring();
        Ok(waiting.len())
    }

    pub(crate) async fn queue_again(&self, analysis: &str) -> Result<(), DbError> {
        let Some(analysis) = analyses::pending(&self.parts.db, analysis).await? else { return Ok(()) };
        match self.run_batch(self.requeued(&analysis, self.parts.clock.now())).await {
            // Somebody else was first.
            Err(DbError::Affected { .. }) => Ok(()),
            other => other,
        }
    }

    /// Of the objects of a study. Where the model runs elsewhere, some of them stay.
    async fn trigger(&self, study: &StudyUid, members: &[Member]) -> Result<trigger::Trigger<'_>, DbError> {
        let settings = &self.parts.settings;
        let stays = match self.parts.model.pixels_that_leave() {
            Some(policy) => outside::staying(&self.parts.db, study, members, policy).await?,
            None => BTreeMap::new(),
        };
        Ok(trigger::Trigger {
            rules: &settings.rules,
            guard_words: &settings.guard_words,
            experimental: &settings.experimental,
            stays,
        })
    }

    fn tell(&self, event: Event) {
        let ended = |ending: &'static str| metrics::counter!(metric::ENDED, "ending" => ending).increment(1);
        match &event {
            Event::Done { .. } => ended("done"),
            Event::Failed { .. } => ended("failed"),
            Event::Cancelled { .. } => ended("cancelled"),
            _ => {}
        }
        // Nobody may be listening.
        let _ = self.events.send(event);
    }

    async fn run_batch(&self, batch: Batch) -> Result<(), DbError> {
        self.parts.db.run(batch).await.map(drop)
    }
}

impl Handler for Analyses {
    fn run<'a>(&'a self, job: &'a Job) -> HandlerFuture<'a> {
        Box::pin(async move {
            match &job.task {
                Task::CompleteStudy { study } => self.complete_study(study).await,
                Task::AnalyseStudy { analysis } => self.perform(analysis).await,
                other => Ending::Fail(format!("{} is no work of an analysis", other.kind().as_str())),
            }
        })
    }

    fn gave_up<'a>(&'a self, job: &'a Job, reason: &'a str) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(async move {
            if let Task::AnalyseStudy { analysis } = &job.task {
                self.failed(analysis, reason).await;
            }
        })
    }
}

/// A failure of the index passes; the job is tried again.
fn retry(error: &(dyn std::error::Error + 'static)) -> Ending {
    Ending::Retry(chain(error))
}
