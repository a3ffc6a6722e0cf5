//! What was verified a moment ago: bounded, and short.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Caller;
use super::secret::Digest;
use crate::clock::Timestamp;

/// Callers by the digest of what they showed. Two generations: when the young one is full the old
/// one goes, so that keeping costs the same whatever there is.
pub(super) struct Remembered {
    generations: Mutex<Generations>,
    /// Of each generation.
    places: usize,
}

#[derive(Default)]
struct Generations {
    young: HashMap<Digest, Entry>,
    old: HashMap<Digest, Entry>,
}

#[derive(Clone)]
struct Entry {
    caller: Caller,
    until: Timestamp,
}

impl Remembered {
    pub(super) fn new(max: usize) -> Self {
        Self { generations: Mutex::default(), places: max / 2 }
    }

    pub(super) fn get(&self, shown: &Digest, now: Timestamp) -> Option<Caller> {
        let generations = self.generations();
        let entry = generations.young.get(shown).or_else(|| generations.old.get(shown))?;
        (now < entry.until).then(|| entry.caller.clone())
    }

    pub(super) fn keep(&self, shown: Digest, caller: &Caller, until: Timestamp) {
        let mut generations = self.generations();
        if generations.young.len() >= self.places {
            generations.old = std::mem::take(&mut generations.young);
        }
        if self.places > 0 {
            generations.young.insert(shown, Entry { caller: caller.clone(), until });
        }
    }

    /// Somebody's rights have changed.
    pub(super) fn forget(&self) {
        *self.generations() = Generations::default();
    }

    /// What panicked while it held this left whole entries.
    fn generations(&self) -> MutexGuard<'_, Generations> {
        self.generations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_ends_and_is_bounded() {
        let remembered = Remembered::new(4);
        let caller = Caller::unrestricted();
        for n in 0..5 {
            remembered.keep([n; 32], &caller, Timestamp(10));
        }
        let known = |at| (0..5).filter(|n| remembered.get(&[*n; 32], Timestamp(at)).is_some()).count();
        assert_eq!((known(9), known(10)), (3, 0));
        remembered.forget();
        assert_eq!(known(9), 0);
    }
}
