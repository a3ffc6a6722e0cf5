//! Claims jobs of one kind when a worker is free and runs each under its lease.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, Span};

use super::{Bell, Ending, Handler, Job, JobKind};
use crate::ai::Priority;
use crate::clock::Clock;
use crate::db::{Batch, Db, DbError, jobs};
use crate::telemetry::metrics::jobs as metric;
use crate::telemetry::{limits, trace};

/// Jobs of other processes are seen after this long at the latest.
const LOOK_EVERY: Duration = Duration::from_secs(2);
const RETRY_FIRST: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub struct Driver {
    pub db: Db,
    pub clock: Clock,
    pub bell: Bell,
    pub kind: JobKind,
    pub handler: Arc<dyn Handler>,
    pub workers: usize,
    /// More of them, who take analyses of stat studies alone.
    pub stat_workers: usize,
    pub lease: Duration,
    /// What one step of priority of a study is worth.
    pub priority_lead: Duration,
    pub attempts_max: u32,
    /// Names this process in leases.
    pub owner: String,
}

/// Runs until `stop`; jobs in hand are then put back.
pub async fn run(driver: Driver, stop: CancellationToken) {
    let workers = Workers::of(&driver);
    let tracker = TaskTracker::new();
    while let Some(worker) = workers.free(&stop).await {
        match driver.claim(worker.takes).await {
            Ok(Some(job)) => {
                let span = span_of(&job, driver.kind);
                tracker.spawn(driver.clone().work(job, worker, stop.clone()).instrument(span));
            }
            Ok(None) => driver.wait(worker.takes, &stop).await,
            Err(error) => {
                tracing::error!(kind = driver.kind.as_str(), %error, "jobs cannot be claimed");
                sleep(LOOK_EVERY, &stop).await;
            }
        }
    }
    tracker.close();
    tracker.wait().await;
}

/// One job that is due, as [`run`] does it; whether there was one.
#[cfg(test)]
pub(crate) async fn step(driver: &Driver) -> Result<bool, DbError> {
    let (workers, stop) = (Workers::of(driver), CancellationToken::new());
    let (Some(job), Some(worker)) = (driver.claim(Takes::Any).await?, workers.free(&stop).await) else {
        return Ok(false);
    };
    driver.clone().work(job, worker, stop).await;
    Ok(true)
}

/// The work goes on with the trace of what asked for it.
fn span_of(job: &Job, kind: JobKind) -> Span {
    let (kind, id, attempt) = (kind.as_str(), job.id.as_str(), job.attempts);
    let span = tracing::info_span!(parent: None, "job", kind, id, attempt, trace_id = tracing::field::Empty);
    trace::follow(span, job.trace.as_deref())
}

/// What a worker is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    Any,
    Stat,
}

impl Takes {
    fn priority_least(self) -> i64 {
        match self {
            Self::Any => i64::MIN,
            Self::Stat => Priority::Stat as i64,
        }
    }
}

/// Free again when it is dropped.
struct Worker {
    takes: Takes,
    _permit: OwnedSemaphorePermit,
}

struct Workers {
    any: Arc<Semaphore>,
    stat: Arc<Semaphore>,
}

impl Workers {
    fn of(driver: &Driver) -> Self {
        let [any, stat] = [driver.workers.max(1), driver.stat_workers];
        Self { any: Arc::new(Semaphore::new(any)), stat: Arc::new(Semaphore::new(stat)) }
    }

    /// One that takes anything, if there is one: those for what cannot wait are spared.
    async fn free(&self, stop: &CancellationToken) -> Option<Worker> {
        let (takes, permit) = tokio::select! {
            biased;
            () = stop.cancelled() => return None,
            permit = Arc::clone(&self.any).acquire_owned() => (Takes::Any, permit),
            permit = Arc::clone(&self.stat).acquire_owned() => (Takes::Stat, permit),
        };
        Some(Worker { takes, _permit: permit.ok()? })
    }
}

async fn sleep(duration: Duration, stop: &CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = tokio::time::sleep(duration) => {}
    }
}

impl Driver {
    async fn claim(&self, takes: Takes) -> Result<Option<Job>, DbError> {
        let now = self.clock.now();
        let claim = jobs::Claim {
            owner: &self.owner,
            now,
            lease_until: now.plus(self.lease),
            priority_lead: self.priority_lead,
            priority_least: takes.priority_least(),
        };
        jobs::claim(&self.db, self.kind, claim).await
    }

    /// Until the next job is due, somebody rings, or it is time to look anyway. Who leaves most jobs
    /// to others does not wake for theirs.
    async fn wait(&self, takes: Takes, stop: &CancellationToken) {
        let heard = self.bell.heard();
        let due = match takes {
            Takes::Any => jobs::next_due(&self.db, self.kind).await.ok().flatten(),
            Takes::Stat => None,
        };
        let pause = due.map_or(LOOK_EVERY, |due| due.since(self.clock.now()));
        let pause = pause.clamp(Duration::from_millis(5), LOOK_EVERY);
        tokio::select! {
            () = heard => {}
            () = sleep(pause, stop) => {}
        }
    }

    async fn work(self, job: Job, _worker: Worker, stop: CancellationToken) {
        let ending = tokio::select! {
            ending = self.handle(&job) => Some(ending),
            () = self.lose_lease(&job) => {
                tracing::warn!(job = job.id, "the lease was lost; the work is left to its new owner");
                None
            }
            () = stop.cancelled() => Some(Ending::Later(Duration::ZERO, "the server stopped".to_owned())),
        };
        if let Some(ending) = ending
            && let Err(error) = self.end(&job, ending).await
        {
            tracing::error!(job = job.id, %error, "the end of a job could not be recorded");
        }
        self.bell.ring();
    }

    /// Attempts that never came to an end, because the handler or the process died, count too.
    async fn handle(&self, job: &Job) -> Ending {
        if job.attempts > self.attempts_max {
            return Ending::Fail(format!("{} attempts came to no end", job.attempts - 1));
        }
        let began = Instant::now();
        let ending = self.handler.run(job).await;
        let (kind, word) = (self.kind.as_str(), ending.as_str());
        metrics::histogram!(metric::SECONDS, "kind" => kind, "ending" => word).record(began.elapsed());
        ending
    }

    /// Renews the lease; returns when that fails.
    async fn lose_lease(&self, job: &Job) {
        loop {
            tokio::time::sleep(self.lease / 3).await;
            let until = self.clock.now().plus(self.lease);
            match self.db.run(jobs::heartbeat(job, &self.owner, until)).await {
                Err(DbError::Affected { .. }) => return,
                Err(error) => tracing::warn!(job = job.id, %error, "a lease could not be renewed"),
                Ok(_) => {}
            }
        }
    }

    async fn end(&self, job: &Job, ending: Ending) -> Result<(), DbError> {
        if let Some(reason) = self.hopeless(job, &ending) {
            if matches!(ending, Ending::Retry(_)) {
                limits::hit(self.kind.attempts_limit());
            }
            self.handler.gave_up(job, &reason).await;
        }
        self.db.run(self.edge(job, &ending)).await.map(drop)
    }

    /// Why the job will not be tried again, if so.
    fn hopeless(&self, job: &Job, ending: &Ending) -> Option<String> {
        match ending {
            Ending::Fail(reason) => Some(reason.clone()),
            Ending::Retry(reason) if job.attempts >= self.attempts_max => {
                Some(format!("{reason} (after {} attempts)", job.attempts))
            }
            _ => None,
        }
    }

    fn edge(&self, job: &Job, ending: &Ending) -> Batch {
        let now = self.clock.now();
        if let Some(reason) = self.hopeless(job, ending) {
            return jobs::give_up(job, &self.owner, &reason, now);
        }
        match ending {
            Ending::Done(reason) => jobs::finish(job, &self.owner, reason, now),
            Ending::Later(pause, reason) => {
                jobs::put_back(job, &self.owner, now.plus(*pause), 0, reason, now)
            }
            Ending::Retry(reason) | Ending::Fail(reason) => {
                let pause = RETRY_FIRST * 2_u32.saturating_pow(job.attempts.saturating_sub(1)).min(64);
                jobs::put_back(job, &self.owner, now.plus(pause), job.attempts, reason, now)
            }
        }
    }
}

#[cfg(test)]
mod tests;
