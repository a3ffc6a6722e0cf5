//! What may end a request early, and what is told about it on the way.

use std::time::Duration;

use crate::ai::{Call, EngineError, Progress};
use crate::clock::{Clock, Timestamp};

pub(super) struct Watch<'a> {
    call: &'a Call,
    clock: &'a Clock,
    started: Timestamp,
}

impl<'a> Watch<'a> {
    pub(super) fn start(call: &'a Call, clock: &'a Clock) -> Self {
        Self { call, clock, started: clock.now() }
    }

    /// Called between layers and between tokens.
    pub(super) fn check(&self) -> Result<(), EngineError> {
        if self.call.cancel.is_cancelled() {
            return Err(EngineError::Cancelled);
        }
        if self.clock.now().since(self.started) > self.call.time_limit {
            return Err(EngineError::TimedOut(self.call.time_limit));
        }
        Ok(())
    }

    pub(super) fn report(&self, progress: Progress) {
        (self.call.progress)(progress);
    }

    /// Runs `step` and says how many milliseconds it took.
    pub(super) fn timed<T>(
        &self,
        step: impl FnOnce() -> Result<T, EngineError>,
    ) -> Result<(T, u64), EngineError> {
        let before = self.clock.now();
        let done = step()?;
        Ok((done, milliseconds(self.clock.now().since(before))))
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
