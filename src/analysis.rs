//! The analysis of studies, from the decision to the report in the study. The only module that
//! knows both the model and ingest: with analysis off the rest is a complete archive.

mod decide;
mod gather;
mod limitations;
mod perform;
mod publish;
#[cfg(test)]
mod tests;
pub mod trigger;

use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::broadcast;

use crate::ai::{self, Engine};
use crate::blobs::Blobs;
use crate::causes::chain;
use crate::clock::Clock;
use crate::config;
use crate::db::{Batch, Db, DbError, analyses, jobs as job_rows};
use crate::dicom::uid::StudyUid;
use crate::export::plan::Plan;
use crate::ingest::Ingest;
use crate::jobs::completeness::Deliveries;
use crate::jobs::{Bell, Ending, Handler, HandlerFuture, Job, Task};
use crate::telemetry::metrics::analysis as metric;

/// The model, if there is one. Nothing ever falls back to another model.
#[derive(Clone)]
pub enum Model {
    Ready(Arc<dyn Engine>),
    Absent,
}

/// What waits for a model is told so in these words.
pub const NO_MODEL: &str = "no model configured";

/// Milestones, for whoever shows them.
#[derive(Debug, Clone)]
pub enum Event {
    Decided { study: StudyUid, verdict: &'static str, reason: String },
    Queued { study: StudyUid, analysis: String },
    Waiting { study: StudyUid, analysis: String, reason: &'static str },
    Progress { study: StudyUid, analysis: String, stage: ai::Progress },
    Done { study: StudyUid, analysis: String },
    Failed { study: StudyUid, analysis: String, reason: String },
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
        Self { parts, events: broadcast::channel(EVENTS).0 }
    }

    /// Events from now on; a reader that falls behind misses some.
    pub fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    pub fn has_model(&self) -> bool {
        matches!(self.parts.model, Model::Ready(_))
    }

    /// Queues again what waited for a model, if there is one now.
    pub async fn resume_waiting(&self) -> Result<usize, DbError> {
        if !self.has_model() {
            return Ok(0);
        }
        let waiting = analyses::waiting(&self.parts.db).await?;
        for analysis in &waiting {
            self.queue_again(analysis, "waiting").await?;
        }
        self.parts.bell.ring();
        Ok(waiting.len())
    }

    async fn queue_again(&self, analysis: &str, seen: &str) -> Result<(), DbError> {
        let now = self.parts.clock.now();
        let task = Task::AnalyseStudy { analysis: analysis.to_owned() };
        let batch = analyses::requeue(analysis, seen).then(job_rows::enqueue(&task, now, now));
        self.parts.db.run(batch).await.map(drop)
    }

    fn trigger(&self) -> trigger::Trigger<'_> {
        let settings = &self.parts.settings;
        trigger::Trigger { rules: &settings.rules, guard_words: &settings.guard_words }
    }

    fn tell(&self, event: Event) {
        let ended = |ending: &'static str| metrics::counter!(metric::ENDED, "ending" => ending).increment(1);
        match &event {
            Event::Done { .. } => ended("done"),
            Event::Failed { .. } => ended("failed"),
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
