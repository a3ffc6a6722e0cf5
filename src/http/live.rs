//! What the endpoints share that go on for a while: streams of events, uploads.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::config::{self, Config};
use crate::db::search::Places;
use crate::query::volumes::Volumes;
use crate::uploads::Uploads;

pub struct Live {
    pub clock: Clock,
    pub events: config::Events,
    pub uploads: Arc<Uploads>,
    pub volumes: Arc<Volumes>,
    pub(super) places: Places,
    /// Ends streams when the server stops.
    pub stop: CancellationToken,
    pub(super) watchers: Seats,
    /// Forms that are being received.
    pub(super) senders: Seats,
}

impl Live {
    pub fn new(
        config: &Config,
        clock: Clock,
        uploads: Arc<Uploads>,
        volumes: Arc<Volumes>,
        stop: CancellationToken,
    ) -> Self {
        let events = config.events.clone();
        let (places, watchers, senders) = (Places::default(), Seats::default(), Seats::default());
        Self { clock, events, uploads, volumes, places, stop, watchers, senders }
    }
}

/// How many of something each caller has at the moment.
#[derive(Debug, Clone, Default)]
pub(super) struct Seats(Arc<Mutex<BTreeMap<String, usize>>>);

/// One of them; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    seats: Seats,
    owner: String,
}

impl Seats {
    /// `None` when the owner has `max` of them already.
    pub(super) fn take(&self, owner: &str, max: usize) -> Option<Seat> {
        let mut taken = self.taken();
        let count = taken.entry(owner.to_owned()).or_default();
        if *count >= max {
            return None;
        }
        *count += 1;
        Some(Seat { seats: self.clone(), owner: owner.to_owned() })
    }

    /// Every change is one step: what a panicking thread left behind is whole.
    fn taken(&self) -> MutexGuard<'_, BTreeMap<String, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.taken();
        if let Some(count) = taken.get_mut(&self.owner) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                taken.remove(&self.owner);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seat_is_free_again_when_it_is_left() {
        let seats = Seats::default();
        let first = seats.take("a", 1).unwrap();
        assert!(seats.take("a", 1).is_none());
        assert!(seats.take("b", 1).is_some());
        drop(first);
        assert!(seats.take("a", 1).is_some());
        assert!(seats.taken().is_empty());
    }
}
