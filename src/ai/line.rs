//! Requests that wait for a model, and in which order they get it.

use std::collections::VecDeque;
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

    /// Takes out whose turn it is, as [`Line::next`] says.
    pub(super) fn take_next(&mut self, has_place: impl Fn(&Waiting<T>) -> bool) -> Option<Waiting<T>> {
        let index = self.turn(has_place)?;
        self.waiting.remove(index)
    }

    /// Whose turn it is: the first, if there is a place for it, or else the first that is stat, which
    /// has places of its own.
    pub(super) fn next(&self, has_place: impl Fn(&Waiting<T>) -> bool) -> Option<&Waiting<T>> {
        self.waiting.get(self.turn(has_place)?)
    }

    fn turn(&self, has_place: impl Fn(&Waiting<T>) -> bool) -> Option<usize> {
        let is_stat = |waiting: &Waiting<T>| waiting.priority == Priority::Stat;
        let stat = self.waiting.iter().position(is_stat);
        let next = [Some(0), stat].into_iter().flatten();
        let next = next.filter_map(|index| Some((index, self.waiting.get(index)?)));
        next.filter(|(_, waiting)| has_place(waiting)).map(|(index, _)| index).next()
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
        std::iter::from_fn(|| line.take_next(|_| true)).map(|waiting| waiting.item).collect()
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
    fn where_there_is_a_place_for_stat_alone_it_overtakes_those_before_it() {
        let mut line = line(9);
        for (name, priority, minute) in [("old", Routine, 0), ("urgent", Urgent, 31), ("stat", Stat, 61)] {
            line.join(name, priority, at(minute)).unwrap();
        }
        let is_stat = |waiting: &Waiting<&str>| waiting.priority == Stat;
        assert_eq!(line.take_next(is_stat).map(|waiting| waiting.item), Some("stat"));
        assert!(line.take_next(is_stat).is_none());
        assert_eq!(line.take_next(|_| true).map(|waiting| waiting.item), Some("old"));
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
}
