//! Between those who ask and the one thread that answers: a line in which it is waited.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::ai::Priority;
use crate::ai::line::Line;
use crate::clock::Timestamp;

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
    use std::time::Duration;

    use super::*;
    use Priority::{Routine, Stat, Urgent};

    #[test]
    fn a_closed_queue_is_emptied_and_an_abandoned_one_refuses() {
        let queue = Queue::new(Line::new(1, Duration::from_secs(1800)));
        queue.join("a", Routine, Timestamp(0)).unwrap();
        assert_eq!(queue.join("b", Urgent, Timestamp(0)), Err(Refusal::Full));
        queue.close();
        assert!(queue.wait());
        queue.abandon();
        assert!(!queue.wait());
        assert_eq!(queue.join("c", Stat, Timestamp(0)), Err(Refusal::Gone));
    }
}
