//! Buckets that several instances draw from. Each counts what it let through and tells the index after a part
//! of a burst, so that a request hardly ever waits for it; from the answer it knows what the others let
//! through. What has not been told yet is all that can be let through too much.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use governor::Quota;
use sha2::{Digest, Sha256};

use super::Key;
use crate::clock::{Clock, Timestamp};
use crate::db::{Db, rate_limits};
use crate::ids::hex;

/// Where instances meet.
#[derive(Clone)]
pub(super) struct Meeting {
    pub(super) db: Db,
    pub(super) clock: Clock,
    /// Of a burst: after one of so many parts the others are told.
    pub(super) parts: u32,
}

/// The buckets of one kind as this instance knows them.
pub(super) struct Accounts {
    meeting: Meeting,
    policy: &'static str,
    /// What one request costs, and a whole burst.
    each: Duration,
    burst: Duration,
    told_after: u32,
    known: Mutex<HashMap<Key, Account>>,
}

#[derive(Debug, Clone, Copy)]
struct Account {
    /// When the bucket will be full again, by all that was told.
    full_at: Timestamp,
    /// Let through here since.
    untold: u32,
    /// The first of them.
    since: Timestamp,
}

/// A request that is let through.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Drawn {
    pub(super) left: u32,
    /// Requests that the others are to be told of now.
    pub(super) tell: Option<u32>,
}

impl Accounts {
    pub(super) fn new(meeting: Meeting, policy: &'static str, quota: Quota) -> Self {
        let burst_size = quota.burst_size().get();
        Self {
            policy,
            each: quota.replenish_interval(),
            burst: quota.replenish_interval() * burst_size,
            told_after: (burst_size / meeting.parts.max(1)).max(1),
            known: Mutex::default(),
            meeting,
        }
    }

    /// # Errors
    /// How long the next request has to wait.
    pub(super) fn draw(&self, key: &Key) -> Result<Drawn, Duration> {
        let now = self.meeting.clock.now();
        let mut known = self.known();
        let fresh = Account { full_at: now, untold: 0, since: now };
        let account = known.entry(key.clone()).or_insert(fresh);
        if !self.is_remembered(account, now) {
            *account = fresh;
        }
        let spent = account.full_at.since(now) + self.each * (account.untold + 1);
        if spent > self.burst {
            return Err(spent - self.burst);
        }
        account.untold += 1;
        let tell = (account.untold >= self.told_after).then_some(account.untold);
        if let Some(requests) = tell {
            // As if they were told already, until the index says what it is.
            let from = if account.full_at > now { account.full_at } else { now };
            *account = Account { full_at: from.plus(self.each * requests), untold: 0, since: now };
        }
        let left = (self.burst - spent).as_nanos() / self.each.as_nanos().max(1);
        Ok(Drawn { left: u32::try_from(left).unwrap_or(u32::MAX), tell })
    }

    /// Who has drawn nothing for as long as it takes to fill the bucket has a full one.
    fn is_remembered(&self, account: &Account, now: Timestamp) -> bool {
        account.full_at > now || (account.untold > 0 && now.since(account.since) <= self.burst)
    }

    /// Without the index each instance has its own bucket.
    pub(super) async fn tell(&self, key: Key, requests: u32) {
        let now = self.meeting.clock.now();
        let told = rate_limits::draw(&self.meeting.db, &self.name(&key), self.each * requests, now).await;
        match told {
            Ok(full_at) => {
                if let Some(account) = self.known().get_mut(&key) {
                    account.full_at = account.full_at.max(full_at);
                }
            }
            Err(error) => tracing::warn!(%error, "other instances could not be told of a limit of requests"),
        }
    }

    /// Tells nobody who it is.
    fn name(&self, key: &Key) -> String {
        let text = match key {
            Key::Address(address) => format!("address {address}"),
            Key::Subject(id) => format!("subject {id}"),
            Key::Crowd(number) => format!("crowd {number}"),
        };
        hex(&Sha256::digest(format!("{} {text}", self.policy))[..16])
    }

    pub(super) fn len(&self) -> usize {
        self.known().len()
    }

    pub(super) fn forget_idle(&self) {
        let now = self.meeting.clock.now();
        self.known().retain(|_, account| self.is_remembered(account, now));
    }

    /// Every change is one step.
    fn known(&self) -> MutexGuard<'_, HashMap<Key, Account>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    const BURST: u32 = 64;

    fn instance(db: &Db, clock: &Clock) -> Accounts {
        let quota =
            Quota::per_second(NonZeroU32::new(1).unwrap()).allow_burst(NonZeroU32::new(BURST).unwrap());
        let meeting = Meeting { db: db.clone(), clock: clock.clone(), parts: 32 };
        Accounts::new(meeting, "address", quota)
    }

    async fn let_through(accounts: &Accounts, key: &Key) -> bool {
        let drawn = accounts.draw(key);
        if let Ok(Drawn { tell: Some(requests), .. }) = drawn {
            accounts.tell(key.clone(), requests).await;
        }
        drawn.is_ok()
    }

    #[tokio::test]
    async fn who_sprays_over_instances_gets_one_burst_and_what_is_untold() {
        let dir = tempfile::tempdir().unwrap();
        let (db, clock) = (Db::for_test(dir.path()), Clock::manual(Timestamp(1)));
        let fleet = [(); 3].map(|()| instance(&db, &clock));
        let (mut through, key) = (0, Key::Subject("a".to_owned()));
        for _ in 0..3 * BURST {
            for instance in &fleet {
                through += u32::from(let_through(instance, &key).await);
            }
        }
        let slack = 3 * fleet[0].told_after;
        assert!((BURST..=BURST + slack).contains(&through), "{through}");
    }

    #[tokio::test]
    async fn alone_an_instance_lets_through_the_burst_and_then_as_it_fills_up() {
        let dir = tempfile::tempdir().unwrap();
        let (db, clock) = (Db::for_test(dir.path()), Clock::manual(Timestamp(1)));
        let one = instance(&db, &clock);
        let key = Key::Subject("b".to_owned());
        assert_eq!(one.draw(&key), Ok(Drawn { left: BURST - 1, tell: None }));
        let mut through = 1;
        while let_through(&one, &key).await {
            through += 1;
        }
        assert_eq!((through, one.draw(&key)), (BURST, Err(Duration::from_secs(1))));
        clock.advance(Duration::from_secs(1));
        assert!(let_through(&one, &key).await && one.draw(&key).is_err());
        clock.advance(Duration::from_secs(1000));
        one.forget_idle();
        assert_eq!(one.len(), 0);
    }
}
