//! The only module that reads the time.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Microseconds since 1970-01-01 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct Timestamp(pub i64);

impl Timestamp {
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(micros(duration)))
    }

    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(micros(duration)))
    }

    /// Zero when `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0).max(0).unsigned_abs())
    }

    /// RFC 3339 in UTC with milliseconds.
    pub fn rfc3339(self) -> String {
        format!("{:.3}", self.utc())
    }

    /// A time with its offset, as in `2026-11-23T06:00:00+01:00`.
    pub fn from_rfc3339(text: &str) -> Option<Self> {
        text.parse().ok().map(|time: jiff::Timestamp| Self(time.as_microsecond()))
    }

    /// The preferred form of dates in headers (RFC 9110 5.6.7).
    pub fn http_date(self) -> String {
        self.utc().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
    }

    /// A date as [`Self::http_date`] writes it.
    pub fn from_http_date(text: &str) -> Option<Self> {
        let time = jiff::fmt::rfc2822::parse(text).ok()?;
        Some(Self(time.timestamp().as_microsecond()))
    }

    /// VR DA, in UTC.
    pub fn dicom_date(self) -> String {
        self.utc().strftime("%Y%m%d").to_string()
    }

    /// VR TM, in UTC, whole seconds.
    pub fn dicom_time(self) -> String {
        self.utc().strftime("%H%M%S").to_string()
    }

    fn utc(self) -> jiff::Timestamp {
        jiff::Timestamp::from_microsecond(self.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
    }
}

/// For the times of files.
impl From<Timestamp> for std::time::SystemTime {
    fn from(at: Timestamp) -> Self {
        Self::UNIX_EPOCH + Duration::from_micros(at.0.max(0).unsigned_abs())
    }
}

impl From<std::time::SystemTime> for Timestamp {
    fn from(at: std::time::SystemTime) -> Self {
        Self(0).plus(at.duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap_or_default())
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// A clock that is passed in, so that tests can set it.
#[derive(Debug, Clone)]
pub enum Clock {
    System,
    /// Of processes that leave each other times, as of a lease: told by what they share, and kept going by what
    /// measures durations here. The wall clock of this machine may be wrong, and may jump.
    Shared(Arc<Mutex<Anchor>>),
    Manual(Arc<AtomicI64>),
}

/// A time of the shared clock, and when it was that here.
#[derive(Debug, Clone, Copy)]
pub struct Anchor {
    at: Timestamp,
    here: Instant,
}

impl Anchor {
    fn new(at: Timestamp) -> Self {
        Self { at, here: Instant::now() }
    }

    fn now(self) -> Timestamp {
        self.at.plus(self.here.elapsed())
    }
}

/// An answer that took longer says too little of the time.
const TOLD_WITHIN: Duration = Duration::from_millis(500);

impl Clock {
    pub fn manual(at: Timestamp) -> Self {
        Self::Manual(Arc::new(AtomicI64::new(at.0)))
    }

    /// One that follows another ([`Self::follow`]) from this time on.
    pub fn shared(at: Timestamp) -> Self {
        Self::Shared(Arc::new(Mutex::new(Anchor::new(at))))
    }

    /// What the shared clock says, and how long the way of the answer was. Less than that is no difference:
    /// time goes back only where it was wrong.
    pub fn follow(&self, told: Timestamp, took: Duration) {
        let Self::Shared(anchor) = self else { return };
        let mut anchor = anchor.lock().unwrap_or_else(PoisonError::into_inner);
        let now = anchor.now();
        let apart = now.since(told).max(told.since(now));
        if took <= TOLD_WITHIN && apart > TOLD_WITHIN {
            *anchor = Anchor::new(told);
        }
    }

    pub fn now(&self) -> Timestamp {
        match self {
            Self::Shared(anchor) => anchor.lock().unwrap_or_else(PoisonError::into_inner).now(),
            #[allow(clippy::disallowed_methods, reason = "this is the clock that all others ask")]
            Self::System => Timestamp(jiff::Timestamp::now().as_microsecond()),
            Self::Manual(at) => Timestamp(at.load(Ordering::SeqCst)),
        }
    }

    /// Moves a manual clock; the system's goes by itself.
    pub fn advance(&self, by: Duration) {
        if let Self::Manual(at) = self {
            at.fetch_add(micros(by), Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_dicom_dates_in_utc() {
        let at = Timestamp(1_700_000_000_000_000);
        assert_eq!((at.dicom_date(), at.dicom_time()), ("20231114".into(), "221320".into()));
        assert_eq!(at.rfc3339(), "2023-11-14T22:13:20.000Z");
        assert_eq!(Timestamp::from_rfc3339("2023-11-14T23:13:20+01:00"), Some(at));
    }

    #[test]
    fn a_shared_clock_goes_by_itself_and_follows_what_it_is_told_at_once() {
        let clock = Clock::shared(Timestamp(5_000_000));
        let before = clock.now();
        assert!(before >= Timestamp(5_000_000) && clock.now() >= before);
        clock.follow(Timestamp(900_000_000_000), Duration::from_secs(2));
        assert!(clock.now() < Timestamp(900_000_000_000), "an old answer is not followed");
        clock.follow(Timestamp(900_000_000_000), Duration::ZERO);
        assert!(clock.now() >= Timestamp(900_000_000_000));
    }

    #[test]
    fn manual_clock_moves_only_when_told() {
        let clock = Clock::manual(Timestamp(5));
        clock.advance(Duration::from_micros(7));
        assert_eq!(clock.now(), Timestamp(12));
    }
}
