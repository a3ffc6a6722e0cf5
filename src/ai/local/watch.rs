//! What may end a request early, and what is told about it on the way.

use std::time::Duration;

use metrics::histogram;
use tokio::sync::mpsc::UnboundedSender;

use crate::ai::{Cancel, EngineError, Progress, Stage, StageLimits};
use crate::clock::{Clock, Timestamp};
use crate::telemetry::metrics::model as metric;

pub(super) struct Watch {
    cancel: Cancel,
    news: UnboundedSender<Progress>,
    clock: Clock,
    started: Timestamp,
    time_limit: Duration,
    limits: StageLimits,
}

impl Watch {
    /// `news` is read by the caller's own task: a caller that is slow to listen holds nobody up.
    pub(super) fn start(
        cancel: Cancel,
        news: UnboundedSender<Progress>,
        clock: Clock,
        time_limit: Duration,
        limits: StageLimits,
    ) -> Self {
        let started = clock.now();
        Self { cancel, news, clock, started, time_limit, limits }
    }

    /// Called between layers and between tokens.
    pub(super) fn check(&self) -> Result<(), EngineError> {
        if self.cancel.is_cancelled() {
            return Err(EngineError::Cancelled);
        }
        if self.clock.now().since(self.started) > self.time_limit {
            return Err(EngineError::TimedOut(self.time_limit));
        }
        Ok(())
    }

    pub(super) fn report(&self, progress: Progress) {
        // nobody listens any more: the caller gave up, which is its right
        let _ = self.news.send(progress);
    }

    /// Begins or goes on with a stage that has taken `before` already.
    pub(super) fn spell(&self, stage: Stage, before: Duration) -> Spell {
        let limit = self.limits.of(stage);
        Spell {
            stage,
            limit,
            before,
            clock: self.clock.clone(),
            since: self.clock.now(),
            lent: Duration::ZERO,
        }
    }
}

/// The time that one request spends in a stage, without what it lends to others.
pub(super) struct Spell {
    stage: Stage,
    limit: Duration,
    before: Duration,
    clock: Clock,
    since: Timestamp,
    lent: Duration,
}

impl Spell {
    pub(super) fn spent(&self) -> Duration {
        self.before + self.clock.now().since(self.since).saturating_sub(self.lent)
    }

    /// Since it began or went on.
    pub(super) fn latest(&self) -> Duration {
        self.spent().saturating_sub(self.before)
    }

    pub(super) fn lend(&mut self, to: impl FnOnce()) {
        let before = self.clock.now();
        to();
        self.lent += self.clock.now().since(before);
    }

    pub(super) fn check(&self) -> Result<(), EngineError> {
        let (stage, limit) = (self.stage, self.limit);
        if self.spent() > limit { Err(EngineError::StageTimedOut { stage, limit }) } else { Ok(()) }
    }

    pub(super) fn record(&self) {
        histogram!(metric::STAGE_SECONDS, "stage" => self.stage.name()).record(self.latest().as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    #[test]
    fn time_that_is_lent_does_not_count_for_the_stage() {
        let clock = Clock::manual(Timestamp(0));
        let limits = StageLimits { image: Duration::from_secs(10), ..StageLimits::default() };
        let hour = Duration::from_secs(3600);
        let (news, _heard) = mpsc::unbounded_channel();
        let watch = Watch::start(Cancel::default(), news, clock.clone(), hour, limits);
        let mut spell = watch.spell(Stage::Image, Duration::from_secs(4));
        spell.lend(|| clock.advance(Duration::from_secs(60)));
        clock.advance(Duration::from_secs(6));
        assert_eq!((spell.spent(), spell.latest()), (Duration::from_secs(10), Duration::from_secs(6)));
        assert!(spell.check().is_ok() && watch.check().is_ok());
        clock.advance(Duration::from_secs(1));
        assert!(matches!(spell.check(), Err(EngineError::StageTimedOut { stage: Stage::Image, .. })));
        clock.advance(hour);
        assert!(matches!(watch.check(), Err(EngineError::TimedOut(limit)) if limit == hour));
    }
}
