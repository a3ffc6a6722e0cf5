//! Whether a bucket is asked at all now: one that did not answer again and again is left alone, so that
//! whoever needs it hears so at once. Now and then one request asks whether it is back.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::away::{Operation, left_alone};
use super::is_away;
use crate::clock::Clock;
use crate::config::Storage;
use crate::outbound::breaker::{Breaker, Patience, Phase};
use crate::telemetry::limits;
use crate::telemetry::metrics::bucket as metric;

pub(super) struct Gate {
    clock: Clock,
    /// None: it is asked always.
    state: Option<Mutex<State>>,
}

struct State {
    breaker: Breaker,
    /// A request is under way that asks whether it is back.
    is_asking: bool,
    /// What was said last.
    said: String,
}

/// Leave to make one request.
pub(super) struct Pass<'a> {
    gate: &'a Gate,
    asks: bool,
}

impl Gate {
    pub(super) fn new(storage: &Storage, clock: Clock) -> Self {
        let patience = Patience {
            failures_max: storage.failures_max,
            first: storage.pause_first(),
            longest: storage.pause_max(),
        };
        let breaker = Breaker::new(patience, 0);
        let state = State { breaker, is_asking: false, said: String::new() };
        show(Phase::Closed);
        Self { clock, state: (storage.failures_max > 0).then(|| Mutex::new(state)) }
    }

    /// # Errors
    /// It is left alone for a while; [`is_away`] says so too.
    pub(super) fn enter(&self, operation: Operation) -> io::Result<Pass<'_>> {
        let Some(mut state) = self.state() else { return Ok(Pass { gate: self, asks: false }) };
        let asks = match state.breaker.at(self.clock.now()) {
            Phase::Closed => false,
            Phase::HalfOpen if !state.is_asking => true,
            Phase::Open { .. } | Phase::HalfOpen => {
                limits::hit("storage.failures_max");
                return Err(left_alone(operation, &state.said));
            }
        };
        state.is_asking |= asks;
        show(state.breaker.phase());
        Ok(Pass { gate: self, asks })
    }

    /// Whoever asks for nothing but whether it is there is let through always.
    pub(super) fn ask(&self) -> Pass<'_> {
        Pass { gate: self, asks: false }
    }

    fn state(&self) -> Option<MutexGuard<'_, State>> {
        // Whole between any two statements.
        self.state.as_ref().map(|state| state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Pass<'_> {
    pub(super) fn saw<T>(&self, answer: &io::Result<T>) {
        let Some(mut state) = self.gate.state() else { return };
        match answer {
            Err(error) if is_away(error) => {
                state.said = error.to_string();
                if state.breaker.failed(self.gate.clock.now(), None, false) {
                    tracing::warn!(%error, "the object store is left alone for a while");
                }
            }
            _ => {
                if state.breaker.phase() != Phase::Closed {
                    tracing::info!("the object store answers again");
                }
                state.breaker.succeeded();
            }
        }
        show(state.breaker.phase());
    }
}

/// Who went away midway has no answer: another may ask.
impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if self.asks
            && let Some(mut state) = self.gate.state()
        {
            state.is_asking = false;
        }
    }
}

fn show(phase: Phase) {
    let value = match phase {
        Phase::Closed => 0.0,
        Phase::HalfOpen => 1.0,
        Phase::Open { .. } => 2.0,
    };
    metrics::gauge!(metric::BREAKER).set(value);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::blobs::away::not_there;
    use crate::clock::Timestamp;
    use crate::config::{Config, Overrides};

    fn gate(failures_max: u32) -> Gate {
        let mut storage = Config::load(&Overrides::default()).unwrap().storage;
        storage.failures_max = failures_max;
        Gate::new(&storage, Clock::manual(Timestamp(0)))
    }

    fn fails(gate: &Gate) {
        let answer = Err::<(), _>(not_there(Operation::Read, Duration::from_secs(1)));
        gate.enter(Operation::Read).unwrap().saw(&answer);
    }

    #[test]
    fn after_failures_in_a_row_requests_are_refused_at_once() {
        let gate = gate(3);
        fails(&gate);
        fails(&gate);
        let missing = io::Error::from(io::ErrorKind::NotFound);
        gate.enter(Operation::Look).unwrap().saw(&Err::<(), _>(missing));
        (0..3).for_each(|_| fails(&gate));
        let refused = gate.enter(Operation::Write).err().unwrap();
        assert!(is_away(&refused) && refused.to_string().contains("no answer within 1 s"), "{refused}");
    }

    #[test]
    fn one_request_asks_whether_it_is_back() {
        let gate = gate(1);
        fails(&gate);
        gate.clock.advance(Duration::from_secs(60));
        let asks = gate.enter(Operation::Read).unwrap();
        assert!(gate.enter(Operation::Read).is_err(), "the others wait for its answer");
        drop(asks);
        let asks = gate.enter(Operation::Read).unwrap();
        asks.saw(&Ok(()));
        drop(asks);
        assert!(gate.enter(Operation::Read).is_ok() && gate.enter(Operation::Read).is_ok());
    }

    #[test]
    fn a_probe_that_is_answered_ends_the_pause() {
        let gate = gate(1);
        fails(&gate);
        assert!(gate.enter(Operation::Read).is_err());
        gate.ask().saw(&Ok(()));
        assert!(gate.enter(Operation::Read).is_ok());
    }

    #[test]
    fn a_gate_that_is_off_lets_everything_through() {
        let gate = gate(0);
        (0..9).for_each(|_| fails(&gate));
        assert!(gate.enter(Operation::Read).is_ok());
    }
}
