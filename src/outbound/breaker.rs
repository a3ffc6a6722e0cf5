//! A destination that fails again and again is left alone for a while, then asked once whether it
//! is back. Pure; time is passed in.

use std::time::Duration;

use crate::clock::Timestamp;

/// When a breaker opens, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Failures in a row.
    pub failures_max: u32,
    pub first: Duration,
    pub longest: Duration,
}

impl Patience {
    /// The pause after the `nth` failure, from 1: twice the one before, more or less by up to a
    /// quarter, so that not everything comes back at one moment. `seed` says by how much.
    pub fn pause(&self, nth: u32, seed: u64) -> Duration {
        let doubled = self.first.saturating_mul(2_u32.saturating_pow(nth.saturating_sub(1).min(30)));
        let share = 0.75 + 0.5 * (scattered(seed ^ u64::from(nth) << 48) as f64 / u64::MAX as f64);
        doubled.min(self.longest).mul_f64(share)
    }
}

/// Neighbours come out far apart (the finaliser of SplitMix64).
fn scattered(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Everything goes.
    Closed,
    /// Nothing goes before a time.
    Open { until: Timestamp },
    /// It is asked whether it is back.
    HalfOpen,
}

impl Phase {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open { .. } => "open",
            Self::HalfOpen => "half-open",
        }
    }
}

#[derive(Debug)]
pub struct Breaker {
    patience: Patience,
    seed: u64,
    phase: Phase,
    /// In a row.
    failures: u32,
    /// How often it opened in a row.
    openings: u32,
}

impl Breaker {
    pub fn new(patience: Patience, seed: u64) -> Self {
        Self { patience, seed, phase: Phase::Closed, failures: 0, openings: 0 }
    }

    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// What may happen now; a pause that is over leads to a question.
    pub fn at(&mut self, now: Timestamp) -> Phase {
        if matches!(self.phase, Phase::Open { until } if until <= now) {
            self.phase = Phase::HalfOpen;
        }
        self.phase
    }

    pub fn succeeded(&mut self) {
        (self.phase, self.failures, self.openings) = (Phase::Closed, 0, 0);
    }

    /// It answered the question. What is sent next decides: one failure opens again, for longer.
    pub fn answered(&mut self) {
        self.phase = Phase::Closed;
        self.failures = self.patience.failures_max.saturating_sub(1);
    }

    /// Whether this failure opened it; a destination that names a time is left alone that long. What
    /// was under way when it opened says nothing new.
    pub fn failed(&mut self, now: Timestamp, retry_after: Option<Duration>, is_refusal: bool) -> bool {
        self.failures = self.failures.saturating_add(1);
        let is_open = matches!(self.phase, Phase::Open { .. });
        if is_open && retry_after.is_none() {
            return false;
        }
        let enough = self.failures >= self.patience.failures_max || self.phase == Phase::HalfOpen;
        if !(enough || is_refusal || retry_after.is_some()) {
            return false;
        }
        self.openings = self.openings.saturating_add(u32::from(!is_open));
        let pause = self.patience.pause(self.openings, self.seed);
        let asked = retry_after.unwrap_or_default().min(self.patience.longest.max(pause));
        self.phase = Phase::Open { until: now.plus(pause.max(asked)) };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience =
        Patience { failures_max: 3, first: Duration::from_secs(10), longest: Duration::from_secs(100) };

    fn after(secs: u64) -> Timestamp {
        Timestamp(0).plus(Duration::from_secs(secs))
    }

    fn fail(breaker: &mut Breaker) -> bool {
        breaker.failed(after(0), None, false)
    }

    #[test]
    fn only_failures_in_a_row_open_it() {
        let mut breaker = Breaker::new(PATIENCE, 1);
        assert!(!fail(&mut breaker) && !fail(&mut breaker));
        breaker.succeeded();
        assert!(!fail(&mut breaker) && !fail(&mut breaker) && fail(&mut breaker));
        assert!(matches!(breaker.at(after(1)), Phase::Open { .. }));
    }

    #[test]
    fn after_the_pause_one_question_decides() {
        let mut breaker = Breaker::new(PATIENCE, 1);
        for _ in 0..3 {
            fail(&mut breaker);
        }
        assert_eq!(breaker.at(after(13)), Phase::HalfOpen);
        assert!(breaker.failed(after(13), None, false));
        assert!(matches!(breaker.at(after(13 + 14)), Phase::Open { .. }), "the second pause is longer");
        assert_eq!(breaker.at(after(13 + 26)), Phase::HalfOpen);
        breaker.answered();
        assert_eq!(breaker.at(after(40)), Phase::Closed);
        assert!(fail(&mut breaker), "one failure after the question opens it again");
    }

    #[test]
    fn a_refusal_opens_at_once_and_a_named_time_is_kept() {
        let mut refused = Breaker::new(PATIENCE, 1);
        assert!(refused.failed(after(0), None, true));
        let mut busy = Breaker::new(PATIENCE, 1);
        assert!(busy.failed(after(0), Some(Duration::from_secs(60)), false));
        assert_eq!(busy.phase(), Phase::Open { until: after(60) });
        let mut for_ever = Breaker::new(PATIENCE, 1);
        for_ever.failed(after(0), Some(Duration::from_secs(1_000_000)), false);
        assert_eq!(for_ever.phase(), Phase::Open { until: after(100) });
    }

    #[test]
    fn what_was_under_way_when_it_opened_does_not_lengthen_the_pause() {
        let mut breaker = Breaker::new(PATIENCE, 1);
        assert!((0..3).map(|_| fail(&mut breaker)).last() == Some(true));
        let opened = breaker.phase();
        assert!(!(0..5).any(|_| fail(&mut breaker)));
        assert_eq!(breaker.phase(), opened);
        assert!(breaker.failed(after(0), Some(Duration::from_secs(60)), false), "a named time is kept");
        assert_eq!(breaker.phase(), Phase::Open { until: after(60) });
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_scatter() {
        let pauses: Vec<f64> = (1..9).map(|nth| PATIENCE.pause(nth, 7).as_secs_f64()).collect();
        for (pause, middle) in pauses.iter().zip([10., 20., 40., 80., 100., 100., 100., 100.]) {
            assert!((0.75 * middle..=1.25 * middle).contains(pause), "{pauses:?}");
        }
        assert_ne!(PATIENCE.pause(1, 7), PATIENCE.pause(1, 8));
    }
}
