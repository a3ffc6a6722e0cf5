//! Places at the service: so many requests at a time, and more for what cannot wait. Who waits for
//! one gets it by priority and age, as in the queue of a model here.

use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::ai::Priority;
use crate::ai::line::Line;
use crate::clock::Timestamp;
use crate::telemetry::metrics::remote_model as metric;

/// What decides who comes first: a conversation keeps its age through all of its requests.
#[derive(Debug, Clone, Copy)]
pub(super) struct Standing {
    pub(super) priority: Priority,
    pub(super) since: Timestamp,
}

pub(super) struct Places {
    concurrency: usize,
    /// More, for stat alone.
    stat: usize,
    state: Mutex<State>,
    changed: Notify,
}

struct State {
    taken: usize,
    line: Line<u64>,
    tickets: u64,
}

/// Free again when it is dropped.
pub(super) struct Place<'a>(&'a Places);

/// A place in the line; who gives up waiting leaves it.
struct Ticket<'a> {
    places: &'a Places,
    number: u64,
}

impl Places {
    /// `lead` is what one step of priority is worth.
    pub(super) fn new(concurrency: usize, stat: usize, lead: Duration) -> Self {
        // Whoever waits is a worker, and those are counted.
        let line = Line::new(usize::MAX, lead);
        let state = Mutex::new(State { taken: 0, line, tickets: 0 });
        Self { concurrency: concurrency.max(1), stat, state, changed: Notify::new() }
    }

    pub(super) async fn take(&self, standing: Standing) -> Place<'_> {
        let ticket = self.join(standing);
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            if self.admits(&ticket) {
                return Place(self);
            }
            changed.await;
        }
    }

    fn join(&self, standing: Standing) -> Ticket<'_> {
        let mut state = self.held();
        state.tickets += 1;
        let number = state.tickets;
        // it has room for all that there can be
        let _ = state.line.join(number, standing.priority, standing.since);
        metrics::gauge!(metric::WAITING).set(state.line.len() as f64);
        Ticket { places: self, number }
    }

    /// Whether it is the turn of this one, who has a place then.
    fn admits(&self, ticket: &Ticket<'_>) -> bool {
        let mut state = self.held();
        let taken = state.taken;
        let next = state.line.next(|waiting| taken < self.places_for(waiting.priority));
        let is_next = next.is_some_and(|waiting| waiting.item == ticket.number);
        state.taken += usize::from(is_next);
        is_next
    }

    fn places_for(&self, priority: Priority) -> usize {
        self.concurrency + if priority == Priority::Stat { self.stat } else { 0 }
    }

    /// Every change is one step: what a panicking thread left behind is whole.
    fn held(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        let mut state = self.places.held();
        drop(state.line.take_if(|waiting| waiting.item == self.number));
        metrics::gauge!(metric::WAITING).set(state.line.len() as f64);
        drop(state);
        self.places.changed.notify_waiters();
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.held().taken -= 1;
        self.0.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use Priority::{Routine, Stat, Urgent};

    use super::*;

    const HALF_AN_HOUR: Duration = Duration::from_secs(1800);

    fn standing(priority: Priority, minute: u64) -> Standing {
        Standing { priority, since: Timestamp(0).plus(Duration::from_secs(60 * minute)) }
    }

    /// The names of those who wait, in the order in which they get the only place.
    async fn order(waiting: &[(&'static str, Priority, u64)], stat: usize) -> Vec<&'static str> {
        let places = Arc::new(Places::new(1, stat, HALF_AN_HOUR));
        let (sender, mut told) = tokio::sync::mpsc::unbounded_channel();
        let held = places.take(standing(Routine, 0)).await;
        for &(name, priority, minute) in waiting {
            let (places, sender) = (Arc::clone(&places), sender.clone());
            tokio::spawn(async move {
                let _place = places.take(standing(priority, minute)).await;
                sender.send(name).unwrap();
                tokio::task::yield_now().await;
            });
            tokio::task::yield_now().await;
        }
        while stat == 0 && places.held().line.len() < waiting.len() {
            tokio::task::yield_now().await;
        }
        let mut order = Vec::new();
        if stat > 0 {
            order.push(told.recv().await.unwrap());
        }
        drop((held, sender));
        while let Some(name) = told.recv().await {
            order.push(name);
        }
        order
    }

    #[tokio::test]
    async fn who_waits_is_let_in_by_priority_and_age() {
        let waiting = [("a", Routine, 0), ("b", Urgent, 29), ("c", Stat, 20), ("d", Routine, 1)];
        assert_eq!(order(&waiting, 0).await, ["c", "b", "a", "d"]);
        assert_eq!(order(&[("old", Routine, 0), ("new", Stat, 61)], 0).await, ["old", "new"]);
    }

    #[tokio::test]
    async fn a_place_of_its_own_lets_stat_in_while_all_are_taken() {
        assert_eq!(order(&[("old", Routine, 0), ("now", Stat, 61)], 1).await, ["now", "old"]);
    }

    #[tokio::test]
    async fn who_gives_up_holds_nobody_up() {
        let places = Places::new(1, 0, HALF_AN_HOUR);
        let held = places.take(standing(Routine, 0)).await;
        let impatient = tokio::time::timeout(Duration::ZERO, places.take(standing(Stat, 0)));
        assert!(impatient.await.is_err());
        drop(held);
        drop(places.take(standing(Routine, 5)).await);
        let state = places.held();
        assert_eq!((state.taken, state.line.len()), (0, 0));
    }
}
