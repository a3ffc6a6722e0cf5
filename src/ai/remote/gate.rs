//! How many requests may be under way, and whether the service is asked at all now.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::failure::{Failure, Verdict};
use super::places::{Place, Places, Standing};
use crate::ai::Health;
use crate::causes::chain;
use crate::clock::Clock;
use crate::config::RemoteModel;
use crate::ids;
use crate::outbound::breaker::{Breaker, Patience, Phase};
use crate::telemetry::limits;
use crate::telemetry::metrics::remote_model as metric;

/// While one request asks whether the service is back, others look again after this.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

pub(super) struct Gate {
    places: Places,
    clock: Clock,
    /// What a service may ask for and is waited for by the request itself.
    waited: Duration,
    state: Mutex<State>,
}

struct State {
    breaker: Breaker,
    /// A request is under way that asks whether the service is back.
    is_asking: bool,
    /// What went wrong last, as long as nothing has gone well since.
    trouble: Option<Trouble>,
}

struct Trouble {
    said: String,
    /// It was away or busy: that it is there again ends this.
    is_absence: bool,
}

/// Leave to make one request; the place is given back with it.
pub(super) struct Pass<'a> {
    gate: &'a Gate,
    asks: bool,
    outcome: &'static str,
    _place: Place<'a>,
}

/// Not now.
#[derive(Debug)]
pub(super) struct Closed {
    pub(super) again_in: Duration,
    pub(super) reason: String,
}

impl Gate {
    /// `lead` is what one step of priority is worth.
    pub(super) fn new(settings: &RemoteModel, lead: Duration, clock: Clock) -> Self {
        let patience = Patience {
            failures_max: settings.failures_max.max(1),
            first: settings.pause_first(),
            longest: settings.pause_max(),
        };
        let breaker = Breaker::new(patience, seed());
        let state = Mutex::new(State { breaker, is_asking: false, trouble: None });
        metrics::gauge!(metric::BREAKER).set(0.0);
        let places = Places::new(settings.concurrency, settings.stat_requests, lead);
        Self { places, clock, waited: settings.retry_max(), state }
    }

    /// Waits for a place.
    pub(super) async fn enter(&self, standing: Standing) -> Result<Pass<'_>, Closed> {
        let place = self.places.take(standing).await;
        let mut state = self.state();
        let now = self.clock.now();
        let asks = match state.breaker.at(now) {
            Phase::Closed => false,
            Phase::Open { until } => return Err(state.closed(until.since(now))),
            Phase::HalfOpen if state.is_asking => return Err(state.closed(LOOK_AGAIN)),
            Phase::HalfOpen => true,
        };
        state.is_asking |= asks;
        show(state.breaker.phase());
        metrics::gauge!(metric::UNDER_WAY).increment(1.0);
        Ok(Pass { gate: self, asks, outcome: "abandoned", _place: place })
    }

    pub(super) fn health(&self) -> Health {
        let mut state = self.state();
        let phase = state.breaker.at(self.clock.now());
        match (phase, &state.trouble) {
            (Phase::Closed, None) => Health::Ready,
            (phase, trouble) => {
                let said = trouble.as_ref().map_or("it failed", |trouble| &trouble.said);
                Health::Degraded(format!("the model service (breaker {}): {said}", phase.as_str()))
            }
        }
    }

    /// The state is whole between any two statements, so a panic elsewhere does not spoil it.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn closed(&self, again_in: Duration) -> Closed {
        let said = self.trouble.as_ref().map_or("it failed", |trouble| &trouble.said);
        Closed { again_in, reason: format!("it is left alone for a while: {said}") }
    }
}

impl Pass<'_> {
    pub(super) fn succeeded(mut self) {
        self.outcome = "answered";
        let mut state = self.gate.state();
        state.breaker.succeeded();
        state.trouble = None;
        show(state.breaker.phase());
    }

    /// It is there; whether it answers is another matter.
    pub(super) fn greeted(mut self) {
        self.outcome = "answered";
        let mut state = self.gate.state();
        if state.breaker.phase() == Phase::HalfOpen {
            state.breaker.answered();
        }
        state.trouble.take_if(|trouble| trouble.is_absence);
        show(state.breaker.phase());
    }

    /// What is wrong with the request says nothing of the service, except that it is there.
    pub(super) fn failed(mut self, failure: &Failure) {
        self.outcome = failure.outcome();
        let mut state = self.gate.state();
        let now = self.gate.clock.now();
        let verdict = failure.verdict();
        let is_left_alone = match verdict {
            Verdict::Away { after } => {
                let after = after.filter(|after| *after > self.gate.waited);
                state.breaker.failed(now, after, false)
            }
            Verdict::Again => state.breaker.failed(now, None, false),
            Verdict::Unauthorized | Verdict::Never => {
                state.breaker.succeeded();
                false
            }
        };
        if is_left_alone {
            limits::hit("model.remote.failures_max");
        }
        let is_absence = matches!(verdict, Verdict::Away { .. });
        state.trouble = Some(Trouble { said: chain(failure), is_absence });
        show(state.breaker.phase());
    }
}

/// Also of a request that was given up midway.
impl Drop for Pass<'_> {
    fn drop(&mut self) {
        metrics::gauge!(metric::UNDER_WAY).decrement(1.0);
        metrics::counter!(metric::REQUESTS, "outcome" => self.outcome).increment(1);
        if self.asks {
            self.gate.state().is_asking = false;
        }
    }
}

/// So that not everybody comes back at one moment.
pub(super) fn seed() -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = ids::secret();
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

fn show(phase: Phase) {
    let value = match phase {
        Phase::Closed => 0.0,
        Phase::HalfOpen => 1.0,
        Phase::Open { .. } => 2.0,
    };
    metrics::gauge!(metric::BREAKER).set(value);
}
