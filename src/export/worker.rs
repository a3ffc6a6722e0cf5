//! The work for one destination: rows are claimed, brought and left, on some lanes at a time, for as
//! long as there are rows and the destination takes them.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::try_join_all;
use tracing::{Instrument, Span};

use super::courier::{Courier, Fate, Round, Trouble};
use super::destination::Destination;
use super::{Exports, Parts};
use crate::causes::chain;
use crate::clock::Timestamp;
use crate::db::audit::{self, Action, Actor, Entry, ObjectKind, Outcome};
use crate::db::exports::{self, Claimed, Left, Matter};
use crate::db::{Batch, DbError};
use crate::jobs::{Ending, Handler, HandlerFuture, Job, Task};
use crate::outbound::breaker::{Patience, Phase};
use crate::telemetry::metrics::export as metric;
use crate::telemetry::{limits, trace};

/// What has nothing to do looks again after this long; it is woken when there is something.
const IDLE: Duration = Duration::from_secs(3600);
/// A lane without rows waits so long for those of others to come back.
const MOMENT: Duration = Duration::from_millis(500);
const INDEX_FAILED: Duration = Duration::from_secs(5);

impl Handler for Exports {
    fn run<'a>(&'a self, job: &'a Job) -> HandlerFuture<'a> {
        Box::pin(async move {
            match &job.task {
                Task::Export { destination } => self.work_for(destination).await,
                other => Ending::Fail(format!("{} is no export", other.kind().as_str())),
            }
        })
    }

    /// Rows are given up, never the job: it always comes back.
    fn gave_up<'a>(&'a self, job: &'a Job, reason: &'a str) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(async move {
            tracing::error!(job = job.id, reason, "an export job was given up, and begins anew");
            let now = self.parts.clock.now();
            let again = crate::db::jobs::enqueue(&job.task, now.plus(self.settings.retry_max()), now);
            if let Err(error) = self.parts.db.run(Batch::new().then(again)).await {
                tracing::error!(job = job.id, error = chain(&error), "an export job could not be begun anew");
            }
        })
    }
}

impl Exports {
    async fn work_for(&self, name: &str) -> Ending {
        let Some(destination) = self.named(name) else {
            return Ending::Done("the configuration has no such destination".to_owned());
        };
        if !self.settings.enabled {
            return Ending::Later(IDLE, "export.enabled is false".to_owned());
        }
        let work = Work { exports: self, parts: &self.parts, destination };
        match work.run().await {
            Ok(ending) => ending,
            Err(error) => {
                tracing::error!(destination = name, error = chain(&error), "exports stand: the index failed");
                Ending::Later(INDEX_FAILED, chain(&error))
            }
        }
    }

    fn patience(&self) -> Patience {
        Patience {
            failures_max: self.settings.failures_max,
            first: self.settings.retry_first(),
            longest: self.settings.retry_max(),
        }
    }
}

pub(super) struct Work<'a> {
    pub(super) exports: &'a Exports,
    pub(super) parts: &'a Parts,
    pub(super) destination: &'a Destination,
}

impl Work<'_> {
    async fn run(&self) -> Result<Ending, DbError> {
        self.tidy().await?;
        loop {
            if exports::paused(&self.parts.db, &self.destination.name).await?.is_some() {
                return Ok(self.later(IDLE, "a person has stopped it"));
            }
            let now = self.parts.clock.now();
            match self.destination.phase(now) {
                Phase::Open { until } => {
                    self.give_up().await?;
                    return Ok(self.later(until.since(now), "it failed again and again"));
                }
                Phase::HalfOpen => self.ask().await,
                Phase::Closed => match exports::next_due(&self.parts.db, &self.destination.name).await? {
                    Some(due) if due <= now => self.lanes().await?,
                    due => return self.rest(due.map(|due| due.since(now))).await,
                },
            }
            self.show().await?;
        }
    }

    /// Nothing is due before some time: until then commitment is asked for and looked at.
    async fn rest(&self, due: Option<Duration>) -> Result<Ending, DbError> {
        self.give_up().await?;
        let look_again = self.commitment().await?;
        let reason = match (due, look_again) {
            (Some(_), _) => "what failed waits for its time",
            (None, Some(_)) => "storage commitment is awaited",
            (None, None) => "nothing waits",
        };
        let pause = due.into_iter().chain(look_again).min().unwrap_or(IDLE);
        Ok(self.later(pause.min(IDLE), reason))
    }

    fn later(&self, pause: Duration, reason: &str) -> Ending {
        Ending::Later(pause, reason.to_owned())
    }

    /// What was left by somebody who died, and what nobody looks at.
    async fn tidy(&self) -> Result<(), DbError> {
        let (name, now) = (&self.destination.name, self.parts.clock.now());
        let mut batch = exports::recover(name, now);
        batch.append(exports::forget_events(name, now.minus(self.exports.settings.delivered_events())));
        self.parts.db.run(batch).await?;
        self.show().await
    }

    /// What has waited for too long; only when nothing more can be done for it now. While we or the
    /// destination were stopped nothing was tried.
    async fn give_up(&self) -> Result<(), DbError> {
        let (name, settings, now) = (&self.destination.name, &self.exports.settings, self.parts.clock.now());
        let hours = settings.keep_trying().as_secs() / 3600;
        let reason = format!("given up after {hours} h; last: ");
        let batch = exports::expire(name, now.minus(settings.keep_trying()), &reason, now);
        let effects = self.parts.db.run(batch).await?;
        if let Some(expired) = effects.first().map(|effect| effect.affected).filter(|expired| *expired > 0) {
            self.count("dead", expired);
            limits::hit("export.keep_trying_h");
            tracing::warn!(destination = name, exports = expired, hours, "exports were given up: too old");
        }
        self.show().await
    }

    /// The question after a pause.
    async fn ask(&self) {
        let mut courier = Courier::to(self.destination, self.parts);
        match courier.ask().await {
            Ok(()) => self.destination.answered(),
            Err(trouble) => self.trouble(&trouble),
        }
    }

    async fn lanes(&self) -> Result<(), DbError> {
        let busy = AtomicUsize::new(0);
        let lanes = (0..self.destination.concurrency).map(|_| self.lane(&busy));
        try_join_all(lanes).await.map(drop)
    }

    /// One association, or one request after the other. It ends when no lane has anything to do.
    async fn lane(&self, busy: &AtomicUsize) -> Result<(), DbError> {
        let mut courier = Courier::to(self.destination, self.parts);
        while self.may_send().await? {
            let rows = self.claim(courier.rows_max()).await?;
            if rows.is_empty() {
                if busy.load(Ordering::SeqCst) == 0 {
                    break;
                }
                courier.rest().await;
                self.wait_a_moment().await;
                continue;
            }
            busy.fetch_add(1, Ordering::SeqCst);
            let spans: Vec<Span> = rows.iter().map(|row| self.span_of(row)).collect();
            // One association or request for all of them: what it asks belongs to the first.
            let round = courier.bring(&rows).instrument(spans.first().cloned().unwrap_or(Span::none())).await;
            drop(spans);
            let went_well = match round {
                Ok(round) => self.leave(&rows, round).await,
                Err(error) => Err(error),
            };
            busy.fetch_sub(1, Ordering::SeqCst);
            if !went_well? {
                tokio::time::sleep(self.exports.settings.retry_first().min(IDLE)).await;
            }
        }
        courier.finish().await;
        Ok(())
    }

    fn span_of(&self, row: &Claimed) -> Span {
        let (id, empty, destination) = (row.id, tracing::field::Empty, self.destination.name.as_str());
        let span = tracing::info_span!(parent: None, "export", id, destination, trace_id = empty);
        trace::follow(span, row.trace.as_deref())
    }

    async fn may_send(&self) -> Result<bool, DbError> {
        let closed = self.destination.phase(self.parts.clock.now()) == Phase::Closed;
        Ok(closed && exports::paused(&self.parts.db, &self.destination.name).await?.is_none())
    }

    /// Writes only where there is something to claim.
    async fn claim(&self, most: usize) -> Result<Vec<Claimed>, DbError> {
        let (db, name, now) = (&self.parts.db, &self.destination.name, self.parts.clock.now());
        match exports::next_due(db, name).await? {
            Some(due) if due <= now => exports::claim(db, name, now, most).await,
            _ => Ok(Vec::new()),
        }
    }

    async fn wait_a_moment(&self) {
        tokio::select! {
            () = self.parts.bell.heard() => {}
            () = tokio::time::sleep(MOMENT) => {}
        }
    }

    /// Writes down what became of the rows; whether the destination is well.
    async fn leave(&self, rows: &[Claimed], round: Round) -> Result<bool, DbError> {
        let now = self.parts.clock.now();
        let trouble = round.trouble.clone().or_else(|| trouble_of(&round.fates));
        let mut batch = Batch::new();
        for (row, fate) in rows.iter().zip(&round.fates) {
            let left = self.left(row, fate, trouble.as_ref(), now);
            self.note(row, fate, &left);
            batch.push(exports::leave(row, &left, now));
            batch.append(self.told(row, &left, now));
        }
        self.parts.db.run(batch).await?;
        match &trouble {
            Some(trouble) => self.trouble(trouble),
            None if self.destination.succeeded(now) => {
                tracing::info!(destination = self.destination.name, "a destination takes exports again");
            }
            None => {}
        }
        if self.destination.is_time_to_show() {
            self.show().await?;
        }
        Ok(trouble.is_none())
    }

    /// What left the server, or never will, is in the audit trail.
    fn told(&self, row: &Claimed, left: &Left, now: Timestamp) -> Batch {
        let outcome = match left {
            Left::Sent(_) => Outcome::Success,
            Left::Dead(_) => Outcome::MinorFailure,
            Left::Failed(..) | Left::Untried(_) | Left::Gone => return Batch::new(),
        };
        let (system, id) = (Actor::system(), row.id.to_string());
        let detail = format!("to {}, export {id}", self.destination.name);
        let entry = Entry::new(&system, Action::DeliverExport).study(&row.study).outcome(outcome);
        let entry = match &row.matter {
            Matter::Object { instance, .. } => entry.object(ObjectKind::Instance, instance.as_str()),
            Matter::Event { .. } => entry.object(ObjectKind::Export, &id),
        };
        Batch::new().then(audit::append(&entry.detail(&detail), now))
    }

    fn left(&self, row: &Claimed, fate: &Fate, trouble: Option<&Trouble>, now: Timestamp) -> Left {
        let attempts_max = self.exports.settings.attempts_max;
        match fate {
            Fate::Taken { note, .. } => Left::Sent(note.clone()),
            Fate::Refused(reason) => Left::Dead(reason.clone()),
            Fate::Failed(reason) if row.attempts >= attempts_max => {
                limits::hit("export.attempts_max");
                Left::Dead(format!("{reason} (after {} attempts)", row.attempts))
            }
            Fate::Failed(reason) => {
                let pause = self.exports.patience().pause(row.attempts, row.id.unsigned_abs());
                Left::Failed(reason.clone(), now.plus(pause))
            }
            Fate::Untried => Left::Untried(trouble.map(|one| one.reason.clone()).unwrap_or_default()),
            Fate::Gone => Left::Gone,
        }
    }

    fn note(&self, row: &Claimed, fate: &Fate, left: &Left) {
        let name = &self.destination.name;
        match (left, fate) {
            (Left::Sent(_), Fate::Taken { bytes, .. }) => {
                self.count("sent", 1);
                metrics::counter!(metric::BYTES, "destination" => name.clone()).increment(*bytes);
            }
            (Left::Failed(reason, _), _) => {
                self.count("failed", 1);
                tracing::info!(
                    destination = name,
                    export = row.id,
                    reason,
                    "an export failed and will be tried again"
                );
            }
            (Left::Dead(reason), _) => {
                self.count("dead", 1);
                tracing::warn!(destination = name, export = row.id, study = %row.study, reason, "an export is dead: nobody will send it again unasked");
            }
            _ => {}
        }
    }

    pub(super) fn count(&self, outcome: &'static str, rows: usize) {
        let name = self.destination.name.clone();
        metrics::counter!(metric::EXPORTS, "destination" => name, "outcome" => outcome)
            .increment(rows as u64);
    }

    fn trouble(&self, trouble: &Trouble) {
        let (name, now) = (&self.destination.name, self.parts.clock.now());
        let reason = &trouble.reason;
        match self.destination.failed(now, trouble) {
            Some(until) => {
                limits::hit("export.failures_max");
                let pause_s = until.since(now).as_secs();
                tracing::warn!(
                    destination = name,
                    reason,
                    pause_s,
                    "a destination is left alone for a while"
                );
            }
            None => tracing::warn!(destination = name, reason, "a destination failed"),
        }
    }

    /// Length and age of the queue, for the metrics.
    async fn show(&self) -> Result<(), DbError> {
        let name = &self.destination.name;
        let summary = exports::summary(&self.parts.db, name).await?;
        let age = summary.oldest.map_or(0.0, |oldest| self.parts.clock.now().since(oldest).as_secs_f64());
        let gauge = |metric, value: f64| metrics::gauge!(metric, "destination" => name.clone()).set(value);
        gauge(metric::QUEUE, summary.waiting() as f64);
        gauge(metric::OLDEST, age);
        gauge(metric::DEAD, summary.dead as f64);
        Ok(())
    }
}

/// Of a destination that took nothing of what it was brought.
fn trouble_of(fates: &[Fate]) -> Option<Trouble> {
    let took_any = fates.iter().any(|fate| matches!(fate, Fate::Taken { .. } | Fate::Refused(_)));
    let failed = fates.iter().find_map(|fate| match fate {
        Fate::Failed(reason) => Some(reason),
        _ => None,
    });
    failed.filter(|_| !took_any).map(Trouble::passing)
}
