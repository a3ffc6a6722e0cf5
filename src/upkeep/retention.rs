//! Studies whose time is over, deleted as a person deletes them: with the way back, and with the
//! name of the rule in the audit trail. Whole studies only: no result goes before its study.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::audit::Actor;
use crate::causes::chain;
use crate::clock::Clock;
use crate::config::{self, RetentionRule};
use crate::db::retention::{Due, due};
use crate::db::{Batch, Db, DbError, jobs};
use crate::ingest::{DeleteError, Ingest};
use crate::jobs::{Ending, Handler, HandlerFuture, Job, Task};
use crate::telemetry::limits;
use crate::telemetry::metrics::retention as metric;

#[derive(Debug, thiserror::Error)]
pub enum RetentionError {
    #[error("the index cannot be read")]
    Index(#[from] DbError),
    #[error("a study could not be deleted")]
    Delete(#[from] DeleteError),
}

/// The rules, and what they are about.
#[derive(Clone)]
pub struct Retention {
    pub db: Db,
    pub clock: Clock,
    pub settings: config::Retention,
}

impl Retention {
    /// Tells of every study that would be deleted now, once, with the first rule that is about it.
    pub async fn look(&self, mut tell: impl FnMut(&RetentionRule, &Due)) -> Result<(), DbError> {
        let mut after = 0;
        loop {
            let page = self.page(after).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.row;
            page.iter()
                .filter_map(|due| Some((self.rule(due)?, due)))
                .for_each(|(rule, due)| tell(rule, due));
        }
    }

    /// Deletes them, as many as one run may; gives how many there were.
    pub async fn run(&self, ingest: &Ingest) -> Result<u32, RetentionError> {
        let (mut deleted, mut after) = (0, 0);
        loop {
            let page = self.page(after).await?;
            let Some(last) = page.last() else { return Ok(deleted) };
            after = last.row;
            for due in &page {
                if deleted >= self.settings.studies_per_run_max {
                    limits::hit("retention.studies_per_run_max");
                    return Ok(deleted);
                }
                deleted += u32::from(self.delete(ingest, due).await?);
            }
        }
    }

    async fn page(&self, after: i64) -> Result<Vec<Due>, DbError> {
        let now = self.clock.now();
        due(&self.db, &self.settings.rules, now, self.settings.settled_before(now), after).await
    }

    fn rule(&self, due: &Due) -> Option<&RetentionRule> {
        self.settings.rules.get(due.rule)
    }

    /// What was held, deleted or asked for since it was found is left as it is.
    async fn delete(&self, ingest: &Ingest, due: &Due) -> Result<bool, DeleteError> {
        let Some(RetentionRule { name, .. }) = self.rule(due) else { return Ok(false) };
        let who = format!("retention rule {name}");
        match ingest.retire(&due.study, &Actor::program(&who), &who).await {
            Ok(deletion) => {
                metrics::counter!(metric::DELETED, "rule" => name.clone()).increment(1);
                tracing::info!(study = %due.study, deletion, rule = name, "the time of a study is over");
                Ok(true)
            }
            Err(DeleteError::Held(_) | DeleteError::NothingThere) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// A job that never ends: of several servers one has it at a time.
pub struct RetentionJob {
    pub retention: Retention,
    pub ingest: Arc<Ingest>,
}

impl RetentionJob {
    /// The first run is now; a job of an earlier start is this one.
    pub async fn begin(&self) -> Result<(), DbError> {
        if self.retention.settings.enabled {
            let now = self.retention.clock.now();
            self.retention
                .db
                .run(Batch::new().then(jobs::enqueue(&Task::RetainStudies {}, now, now)))
                .await?;
        }
        Ok(())
    }

    async fn perform(&self) -> Ending {
        let Retention { settings, .. } = &self.retention;
        if !settings.enabled {
            return Ending::Done("retention.enabled is off".to_owned());
        }
        let (outcome, told) = match self.retention.run(&self.ingest).await {
            Ok(deleted) => ("done", format!("{deleted} studies were deleted by the last run")),
            Err(error) => ("failed", chain(&error)),
        };
        if outcome == "failed" {
            tracing::warn!(error = told, "the retention ended early");
        }
        metrics::counter!(metric::RUNS, "outcome" => outcome).increment(1);
        Ending::Later(settings.run_every(), told)
    }
}

impl Handler for RetentionJob {
    fn run<'a>(&'a self, _: &'a Job) -> HandlerFuture<'a> {
        Box::pin(self.perform())
    }

    fn gave_up<'a>(&'a self, _: &'a Job, reason: &'a str) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(async move { tracing::error!(reason, "the retention is over until the next start") })
    }
}

#[cfg(test)]
mod tests;
