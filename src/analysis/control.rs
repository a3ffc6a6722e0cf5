//! Ending an analysis before its time, and trying one again. What is asked for twice is done once.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use super::{Analyses, Event, Ticket};
use crate::clock::Timestamp;
use crate::db::analyses::{self, Pending};
use crate::db::audit::{self, Action, Actor, Entry, ObjectKind};
use crate::db::events::{self, EventKind};
use crate::db::{Batch, DbError, jobs as job_rows};
use crate::jobs::Task;

/// Why an analysis was not cancelled or tried again.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    #[error("there is no such analysis")]
    Unknown,
    /// It is in a state that this does not follow from.
    #[error("{0}")]
    State(String),
    #[error("the index failed")]
    Index(#[from] DbError),
}

/// The analyses that this process is carrying through, each with what ends it.
#[derive(Default)]
pub(super) struct Running(Mutex<BTreeMap<String, CancellationToken>>);

impl Running {
    /// Until the guard is dropped, [`Running::stop`] cancels the token.
    pub(super) fn enter(&self, analysis: &str) -> Entered<'_> {
        let token = CancellationToken::new();
        self.held().insert(analysis.to_owned(), token.clone());
        Entered { running: self, analysis: analysis.to_owned(), token }
    }

    fn stop(&self, analysis: &str) {
        if let Some(token) = self.held().get(analysis) {
            token.cancel();
        }
    }

    /// Every change is one step: what a panicking thread left behind is whole.
    fn held(&self) -> MutexGuard<'_, BTreeMap<String, CancellationToken>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) struct Entered<'a> {
    running: &'a Running,
    analysis: String,
    pub(super) token: CancellationToken,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.running.held().remove(&self.analysis);
    }
}

impl Analyses {
    /// Ends an analysis that the model has not answered yet: the engine stops before its next
    /// token and the worker is free. What has an answer is being published and comes to its end,
    /// so that there are never half of its results.
    pub async fn cancel(&self, id: &str, actor: &Actor) -> Result<Ticket, ControlError> {
        let analysis = self.known(id).await?;
        match analysis.state.as_str() {
            "cancelled" => return Ok(ticket(&analysis, "cancelled")),
            "done" | "failed" => return Err(ended(&analysis.state)),
            _ => {}
        }
        let now = self.parts.clock.now();
        let batch = analyses::cancel(id, now)
            .then(audit::append(&entry(&analysis, actor, Action::CancelAnalysis), now))
            .then(told(EventKind::AnalysisCancelled, &analysis, now));
        match self.run_batch(batch).await {
            Ok(()) => {}
            Err(DbError::Affected { .. }) => return self.overtaken(id).await,
            Err(error) => return Err(error.into()),
        }
        self.running.stop(id);
        self.parts.bell.ring();
        self.tell(Event::Cancelled { study: analysis.study.clone(), analysis: id.to_owned() });
        Ok(ticket(&analysis, "cancelled"))
    }

    /// It went on while it was being cancelled.
    async fn overtaken(&self, id: &str) -> Result<Ticket, ControlError> {
        let analysis = self.known(id).await?;
        match analysis.state.as_str() {
            "cancelled" => Ok(ticket(&analysis, "cancelled")),
            "done" | "failed" => Err(ended(&analysis.state)),
            _ => Err(ControlError::State("the model has answered and the report is being made".to_owned())),
        }
    }

    /// Queues what failed or was cancelled again; what is on its way stays as it is.
    pub async fn retry(&self, id: &str, actor: &Actor) -> Result<Ticket, ControlError> {
        let analysis = self.known(id).await?;
        match analysis.state.as_str() {
            "failed" | "cancelled" => {}
            "done" => return Err(ended("done")),
            state => return Ok(ticket(&analysis, state)),
        }
        let now = self.parts.clock.now();
        let batch = self.requeued(&analysis, now);
        let batch = batch.then(audit::append(&entry(&analysis, actor, Action::RetryAnalysis), now));
        match self.run_batch(batch).await {
            // Somebody else was first.
            Ok(()) | Err(DbError::Affected { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        self.parts.bell.ring();
        Ok(ticket(&analysis, "queued"))
    }

    /// From the state that it was seen in to the queue; all or nothing.
    pub(super) fn requeued(&self, analysis: &Pending, now: Timestamp) -> Batch {
        let task = Task::AnalyseStudy { analysis: analysis.id.clone() };
        analyses::requeue(&analysis.id, &analysis.state).then(job_rows::enqueue(&task, now, now)).then(told(
            EventKind::AnalysisQueued,
            analysis,
            now,
        ))
    }

    async fn known(&self, id: &str) -> Result<Pending, ControlError> {
        analyses::pending(&self.parts.db, id).await?.ok_or(ControlError::Unknown)
    }
}

/// An event about an analysis without more to say.
pub(super) fn told(kind: EventKind, analysis: &Pending, now: Timestamp) -> crate::db::Statement {
    events::append(&events::Event::about(kind, &analysis.study, &analysis.id), now)
}

fn ticket(analysis: &Pending, state: &str) -> Ticket {
    Ticket { analysis: analysis.id.clone(), state: state.to_owned() }
}

fn ended(state: &str) -> ControlError {
    ControlError::State(format!("the analysis has come to its end: it is {state}"))
}

fn entry<'a>(analysis: &'a Pending, actor: &'a Actor, action: Action) -> Entry<'a> {
    Entry::new(actor, action).study(&analysis.study).object(ObjectKind::Analysis, &analysis.id)
}
