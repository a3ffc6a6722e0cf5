//! What was learned of searches and holds until the archive changes: how many matches there are, and
//! where deep pages begin, so that whoever walks through an archive does not walk every page anew.
//!
//! Every change of what a search finds has its row in `change`, in the order of the commits: as long as
//! the last one is the same, an answer is the same.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::db::Value;

/// Searches and places of a search that are known at a time.
const SEARCHES_MAX: usize = 256;
const PLACES_MAX: usize = 256;
/// Longer texts than this are not kept.
const SEARCH_BYTES_MAX: usize = 4096;
/// Before this offset to walk costs nothing.
const DEEP: u32 = 500;

/// The sequence of the last change when something was read.
pub type Version = i64;

pub struct Places {
    deep: u32,
    known: Mutex<Known>,
}

/// All of one version.
#[derive(Default)]
struct Known {
    version: Version,
    searches: HashMap<String, Search>,
}

#[derive(Default)]
struct Search {
    matches: Option<u64>,
    places: BTreeMap<u32, Vec<Value>>,
}

/// The row at an offset by the columns that give the order.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Place {
    pub(super) version: Version,
    pub(super) offset: u32,
    pub(super) key: Vec<Value>,
}

impl Default for Places {
    fn default() -> Self {
        Self::deeper_than(DEEP)
    }
}

impl Places {
    pub(super) fn deeper_than(deep: u32) -> Self {
        Self { deep, known: Mutex::default() }
    }

    /// The last known place that is not behind an offset.
    pub(super) fn before(&self, search: &str, offset: u32) -> Option<Place> {
        if offset < self.deep {
            return None;
        }
        let known = self.known();
        let (&at, key) = known.searches.get(search)?.places.range(..=offset).next_back()?;
        Some(Place { version: known.version, offset: at, key: key.clone() })
    }

    pub(super) fn learn(&self, search: &str, place: Place) {
        if place.offset < self.deep {
            return;
        }
        self.of(search, place.version, |known| {
            known.places.insert(place.offset, place.key);
            if known.places.len() > PLACES_MAX {
                known.places.pop_first();
            }
        });
    }

    pub(super) fn matches(&self, search: &str, version: Version) -> Option<u64> {
        let known = self.known();
        known.searches.get(search).filter(|_| known.version == version)?.matches
    }

    pub(super) fn learn_matches(&self, search: &str, version: Version, matches: u64) {
        self.of(search, version, |known| known.matches = Some(matches));
    }

    fn of(&self, search: &str, version: Version, learn: impl FnOnce(&mut Search)) {
        if search.len() > SEARCH_BYTES_MAX {
            return;
        }
        let mut known = self.known();
        let is_full = known.searches.len() >= SEARCHES_MAX && !known.searches.contains_key(search);
        if known.version != version || is_full {
            *known = Known { version, searches: HashMap::new() };
        }
        learn(known.searches.entry(search.to_owned()).or_default());
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(version: Version, offset: u32) -> Place {
        Place { version, offset, key: vec![i64::from(offset).into()] }
    }

    #[test]
    fn the_nearest_place_before_an_offset_is_known() {
        let places = Places::deeper_than(10);
        [20, 30].into_iter().for_each(|offset| places.learn("a", place(1, offset)));
        assert_eq!(places.before("a", 29), Some(place(1, 20)));
        assert_eq!(places.before("a", 30), Some(place(1, 30)));
        assert_eq!((places.before("a", 19), places.before("b", 30)), (None, None));
    }

    #[test]
    fn near_places_are_not_kept() {
        let places = Places::deeper_than(10);
        places.learn("a", place(1, 9));
        assert_eq!(places.before("a", 12), None);
    }

    #[test]
    fn a_change_makes_everything_unknown() {
        let places = Places::deeper_than(0);
        places.learn("a", place(1, 20));
        places.learn_matches("b", 1, 7);
        assert_eq!((places.matches("b", 1), places.matches("b", 2)), (Some(7), None));
        places.learn_matches("c", 2, 8);
        assert_eq!((places.before("a", 20), places.matches("b", 1)), (None, None));
        assert_eq!(places.matches("c", 2), Some(8));
    }

    #[test]
    fn what_is_kept_has_a_bound() {
        let places = Places::deeper_than(0);
        (0..1000).for_each(|offset| places.learn("a", place(1, offset)));
        assert_eq!(places.before("a", 500), None, "the first ones went");
        (0..1000).for_each(|number| places.learn_matches(&number.to_string(), 1, 1));
        assert!(places.known().searches.len() <= SEARCHES_MAX);
        let long = "x".repeat(SEARCH_BYTES_MAX + 1);
        places.learn_matches(&long, 1, 1);
        assert_eq!(places.matches(&long, 1), None);
    }
}
