//! Rejections in the audit trail: the first of an address at once, the others as their number. Whoever knocks a
//! thousand times a second writes a row now and then.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::admission::Rejection;
use crate::telemetry::limits;

/// What a row tells.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// `None` of many, beyond those that are told apart.
    pub(super) address: Option<IpAddr>,
    /// '' for none, and where they differ.
    pub(super) ae_title: String,
    pub(super) reason: Rejection,
    /// Beyond the one that was told of: 0 is that one.
    pub(super) more: u64,
}

/// An address, of IPv6 the network that somebody has for himself.
type Key = (Option<IpAddr>, Rejection);

/// What came since the last row.
#[derive(Debug)]
struct Count {
    address: Option<IpAddr>,
    ae_title: String,
    more: u64,
}

/// Those that were rejected of late.
pub(super) struct TurnedAway {
    counts: Mutex<HashMap<Key, Count>>,
    keys_max: usize,
}

impl TurnedAway {
    pub(super) fn new(keys_max: usize) -> Self {
        Self { counts: Mutex::default(), keys_max }
    }

    /// The row of a rejection that is the first of its kind.
    pub(super) fn note(&self, address: IpAddr, ae_title: &str, reason: Rejection) -> Option<Row> {
        let mut counts = self.counts();
        let key = (Some(network(address)), reason);
        let (key, address) = match counts.len() < self.keys_max || counts.contains_key(&key) {
            true => (key, Some(address)),
            false => {
                limits::hit("dimse.rejections_remembered_max");
                ((None, reason), None)
            }
        };
        if let Some(count) = counts.get_mut(&key) {
            count.add(ae_title);
            return None;
        }
        counts.insert(key, Count { address, ae_title: ae_title.to_owned(), more: 0 });
        Some(Row { address, ae_title: ae_title.to_owned(), reason, more: 0 })
    }

    /// The rows of what was counted since the last time. Who has not come again is forgotten.
    pub(super) fn take(&self) -> Vec<Row> {
        let mut counts = self.counts();
        counts.retain(|_, count| count.more > 0);
        counts.iter_mut().map(|((_, reason), count)| count.row(*reason)).collect()
    }

    /// What panicked while it held this left whole counts.
    fn counts(&self) -> MutexGuard<'_, HashMap<Key, Count>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Count {
    fn add(&mut self, ae_title: &str) {
        self.more = self.more.saturating_add(1);
        if self.ae_title != ae_title {
            self.ae_title.clear();
        }
    }

    fn row(&mut self, reason: Rejection) -> Row {
        let (address, ae_title) = (self.address, self.ae_title.clone());
        Row { address, ae_title, reason, more: std::mem::take(&mut self.more) }
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from(u128::from(address) & !u128::from(u64::MAX)).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REASON: Rejection = Rejection::CalledAeTitle;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn more(rows: Vec<Row>) -> Vec<u64> {
        rows.into_iter().map(|row| row.more).collect()
    }

    #[test]
    fn the_first_is_told_at_once_and_the_others_as_a_number() {
        let away = TurnedAway::new(10);
        let first = away.note(address("192.0.2.1"), "CT", REASON).unwrap();
        assert_eq!((first.ae_title.as_str(), first.more), ("CT", 0));
        assert!((0..1000).all(|_| away.note(address("192.0.2.1"), "CT", REASON).is_none()));
        assert!(away.note(address("192.0.2.2"), "CT", REASON).is_some());
        assert!(away.note(address("192.0.2.1"), "CT", Rejection::User).is_some());
        assert_eq!(more(away.take()), [1000]);
        assert!(away.note(address("192.0.2.1"), "CT", REASON).is_none(), "it never ceased");
        assert_eq!((more(away.take()), more(away.take())), (vec![1], vec![]));
        assert!(away.note(address("192.0.2.1"), "CT", REASON).is_some());
    }

    #[test]
    fn names_that_a_stranger_makes_up_are_no_rows_of_their_own() {
        let away = TurnedAway::new(10);
        let told = (0..100).filter_map(|n| away.note(address("2001:db8::1"), &format!("AE{n}"), REASON));
        assert_eq!(told.count(), 1);
        assert!(away.note(address("2001:db8::ffff:2"), "AE", REASON).is_none(), "the same network");
        assert_eq!(away.take()[0].ae_title, "");
    }

    #[test]
    fn whoever_comes_when_the_memory_is_full_shares_a_row() {
        let away = TurnedAway::new(1);
        let told = (1..=100).filter_map(|n| away.note(address(&format!("192.0.2.{n}")), "CT", REASON));
        assert_eq!(told.map(|row| row.address.is_some()).collect::<Vec<_>>(), [true, false]);
        assert_eq!(more(away.take()), [98]);
    }
}
