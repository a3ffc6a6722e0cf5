//! Requests that wait for the model, and in which order they get it.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::ai::Priority;
use crate::clock::Timestamp;

/// The place of a request among all: the smaller, the sooner.
///
/// A request of a higher priority counts as if it had come earlier. So it overtakes those that came
/// shortly before it, the oldest of one priority goes first, and nobody waits for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    counts_from: Timestamp,
    arrival: u64,
}

pub(super) struct Waiting<T> {
    pub(super) rank: Rank,
    pub(super) priority: Priority,
    pub(super) since: Timestamp,
    pub(super) item: T,
}

/// A bounded line, first in front.
pub(super) struct Line<T> {
    waiting: VecDeque<Waiting<T>>,
    room: usize,
    lead: Duration,
    arrivals: u64,
}

impl<T> Line<T> {
    /// `lead` is what one step of priority is worth.
    pub(super) fn new(room: usize, lead: Duration) -> Self {
        Self { waiting: VecDeque::new(), room: room.max(1), lead, arrivals: 0 }
    }

    /// How many are before it; the item itself when there is no room.
    pub(super) fn join(&mut self, item: T, priority: Priority, now: Timestamp) -> Result<usize, T> {
        if self.waiting.len() >= self.room {
            return Err(item);
        }
        self.arrivals += 1;
        let lead = self.lead.saturating_mul(priority as u32);
        let rank = Rank { counts_from: now.minus(lead), arrival: self.arrivals };
        let place = self.waiting.partition_point(|other| other.rank < rank);
        self.waiting.insert(place, Waiting { rank, priority, since: now, item });
        Ok(place)
    }

    pub(super) fn first(&self) -> Option<&Waiting<T>> {
        self.waiting.front()
    }

    pub(super) fn take_first(&mut self) -> Option<Waiting<T>> {
        self.waiting.pop_front()
    }

    /// Takes out all that `is_done` says so of.
    pub(super) fn take_if(&mut self, is_done: impl Fn(&Waiting<T>) -> bool) -> Vec<Waiting<T>> {
        let (out, stay) = self.waiting.drain(..).partition(is_done);
        self.waiting = stay;
        Vec::from(out)
    }

    pub(super) fn each(&mut self) -> impl Iterator<Item = &mut T> {
        self.waiting.iter_mut().map(|waiting| &mut waiting.item)
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// How long the oldest has waited.
    pub(super) fn age(&self, now: Timestamp) -> Duration {
        self.waiting.iter().map(|waiting| now.since(waiting.since)).max().unwrap_or_default()
    }
}

/// A line between those who ask and the one who answers.
pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

struct State<T> {
    line: Line<T>,
    asked: Open,
    answered: Open,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Open {
    Yes,
    No,
}

/// Why a request did not get into the line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Full,
    /// Nobody answers any more.
    Gone,
}

impl<T> Queue<T> {
    pub(super) fn new(line: Line<T>) -> Self {
        let state = State { line, asked: Open::Yes, answered: Open::Yes };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    pub(super) fn join(&self, item: T, priority: Priority, now: Timestamp) -> Result<(), Refusal> {
        let mut state = self.held();
        if state.answered == Open::No {
            return Err(Refusal::Gone);
        }
        state.line.join(item, priority, now).map_err(|_| Refusal::Full)?;
        self.changed.notify_all();
        Ok(())
    }

    pub(super) fn with<R>(&self, look: impl FnOnce(&mut Line<T>) -> R) -> R {
        look(&mut self.held().line)
    }

    /// Returns once somebody waits; `false` when nobody does and nobody will.
    pub(super) fn wait(&self) -> bool {
        let idle = |state: &mut State<T>| state.line.is_empty() && state.asked == Open::Yes;
        let state = self.changed.wait_while(self.held(), idle).unwrap_or_else(PoisonError::into_inner);
        !state.line.is_empty()
    }

    /// Nobody asks any more; who waits is still answered.
    pub(super) fn close(&self) {
        self.held().asked = Open::No;
        self.changed.notify_all();
    }

    /// Nobody answers any more: those who wait are sent away.
    pub(super) fn abandon(&self) {
        let mut state = self.held();
        state.answered = Open::No;
        drop(state.line.take_if(|_| true));
    }

    /// Every change is one step: what a panicking thread left behind is whole.
    fn held(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Priority::{Routine, Stat, Urgent};

    fn at(minutes: u64) -> Timestamp {
        Timestamp(0).plus(Duration::from_secs(60 * minutes))
    }

    fn line(room: usize) -> Line<&'static str> {
        Line::new(room, Duration::from_secs(1800))
    }

    fn order(arrivals: &[(&'static str, Priority, u64)]) -> Vec<&'static str> {
        let mut line = line(100);
        for &(name, priority, minute) in arrivals {
            line.join(name, priority, at(minute)).unwrap();
        }
        std::iter::from_fn(|| line.take_first()).map(|waiting| waiting.item).collect()
    }

    #[test]
    fn the_oldest_of_the_highest_priority_goes_first() {
        let arrivals =
            [("a", Routine, 0), ("b", Urgent, 1), ("c", Stat, 2), ("d", Stat, 2), ("e", Routine, 0)];
        assert_eq!(order(&arrivals), ["c", "d", "b", "a", "e"]);
    }

    #[test]
    fn who_has_waited_longer_than_the_lead_is_no_longer_overtaken() {
        assert_eq!(order(&[("old", Routine, 0), ("new", Urgent, 29)]), ["new", "old"]);
        assert_eq!(order(&[("old", Routine, 0), ("new", Urgent, 31)]), ["old", "new"]);
        assert_eq!(order(&[("old", Routine, 0), ("new", Stat, 59)]), ["new", "old"]);
        assert_eq!(order(&[("old", Routine, 0), ("new", Stat, 61)]), ["old", "new"]);
    }

    #[test]
    fn a_full_line_gives_back_what_came() {
        let mut line = line(2);
        assert_eq!(line.join("a", Routine, at(0)), Ok(0));
        assert_eq!(line.join("b", Stat, at(0)), Ok(0));
        assert_eq!(line.join("c", Stat, at(0)), Err("c"));
        assert_eq!((line.len(), line.age(at(3))), (2, Duration::from_secs(180)));
    }

    #[test]
    fn what_is_taken_out_leaves_the_others_in_order() {
        let mut line = line(9);
        for name in ["a", "b", "c"] {
            line.join(name, Routine, at(0)).unwrap();
        }
        assert_eq!(line.take_if(|waiting| waiting.item == "b").len(), 1);
        assert_eq!(line.each().map(|name| *name).collect::<Vec<_>>(), ["a", "c"]);
    }

    #[test]
    fn a_closed_queue_is_emptied_and_an_abandoned_one_refuses() {
        let queue = Queue::new(line(1));
        queue.join("a", Routine, at(0)).unwrap();
        assert_eq!(queue.join("b", Routine, at(0)), Err(Refusal::Full));
        queue.close();
        assert!(queue.wait());
        queue.abandon();
        assert!(!queue.wait());
        assert_eq!(queue.join("c", Routine, at(0)), Err(Refusal::Gone));
    }
}
