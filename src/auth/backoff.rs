//! Who has failed too often waits, longer each time, whatever he shows: at one name from one address,
//! and from one address at any name. A name that fails from everywhere is only answered slowly: nobody
//! can keep another out by his name. In the database, so that it holds for all servers together.

use std::net::IpAddr;
use std::time::Duration;

use super::{Denied, secret};
use crate::clock::Timestamp;
use crate::config;
use crate::db::login_failures::{self, Failures};
use crate::db::users::name_key;
use crate::db::{Batch, Db};
use crate::ids::hex;
use crate::telemetry::limits;

/// An attempt that is counted as failed until it has succeeded.
pub(super) struct Attempt {
    name: String,
    /// The name from this address.
    here: String,
    address: Option<String>,
}

impl Attempt {
    /// Names that nobody has are counted like others, and kept as digests: what is typed there is a
    /// password now and then.
    pub(super) fn new(name: &str, from: Option<IpAddr>) -> Self {
        let name = hex(&secret::digest(&name_key(name)));
        let network = from.map(network);
        Self {
            here: format!("here {name} {}", network.as_deref().unwrap_or("-")),
            name: format!("name {name}"),
            address: network.map(|network| format!("address {network}")),
        }
    }

    /// What has to wait, with the failures that cost nothing.
    fn waiting<'a>(&'a self, settings: &config::Auth) -> impl Iterator<Item = (&'a str, u32)> {
        let of_address = self.address.as_deref().map(|key| (key, settings.failures_of_address_free));
        [(self.here.as_str(), settings.failures_free)].into_iter().chain(of_address)
    }

    /// Refuses without counting while there is a wait; counts otherwise, and says how long the answer
    /// is to be held back.
    pub(super) async fn begin(
        &self,
        db: &Db,
        settings: &config::Auth,
        now: Timestamp,
    ) -> Result<Duration, Denied> {
        for (key, free) in self.waiting(settings) {
            if let Some(failures) = login_failures::of(db, key).await? {
                still_to_wait(failures, free, settings, now)?;
            }
        }
        let forgotten = now.minus(settings.failures_forgotten());
        let count = |key| login_failures::count(key, now, forgotten);
        let counts = self.waiting(settings).map(|(key, _)| count(key));
        let counts = counts.fold(Batch::new(), Batch::then).then(count(self.name.as_str()));
        let effects = db.run(counts).await?;
        for (effect, (_, free)) in effects.iter().zip(self.waiting(settings)) {
            still_to_wait(login_failures::before(effect)?, free, settings, now)?;
        }
        let of_name = effects.last().map(login_failures::before).transpose()?;
        Ok(of_name.map_or(Duration::ZERO, |failures| held_back(failures, settings, now)))
    }

    /// The name begins anew. The address only loses what this attempt had cost: who has an account
    /// does not win free attempts at others.
    pub(super) fn succeeded(&self) -> Batch {
        let batch = Batch::new().then(login_failures::forget(&self.name));
        let batch = batch.then(login_failures::forget(&self.here));
        match &self.address {
            Some(address) => batch.then(login_failures::take_back(address)),
            None => batch,
        }
    }

    /// No secret was looked at.
    pub(super) fn not_made(&self) -> Batch {
        let keys = [Some(&self.name), Some(&self.here), self.address.as_ref()];
        keys.into_iter().flatten().map(|key| login_failures::take_back(key)).fold(Batch::new(), Batch::then)
    }
}

/// A household has a /64 of IPv6.
fn network(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
    }
}

fn still_to_wait(
    failures: Failures,
    free: u32,
    settings: &config::Auth,
    now: Timestamp,
) -> Result<(), Denied> {
    let until = failures.last_at.plus(pause(failures.in_a_row, free, settings));
    if failures.last_at >= now.minus(settings.failures_forgotten()) && now < until {
        limits::hit("auth.failures_free");
        return Err(Denied::Backoff(until.since(now)));
    }
    Ok(())
}

/// A refusal would be a lock that a stranger holds; a slow answer is none.
fn held_back(failures: Failures, settings: &config::Auth, now: Timestamp) -> Duration {
    match failures.last_at >= now.minus(settings.failures_forgotten()) {
        true => {
            pause(failures.in_a_row, settings.failures_of_name_free, settings).min(settings.name_slowed_max())
        }
        false => Duration::ZERO,
    }
}

/// After so many failures in a row.
fn pause(failures: i64, free: u32, settings: &config::Auth) -> Duration {
    let beyond = failures - i64::from(free);
    match u32::try_from(beyond) {
        Err(_) => Duration::ZERO,
        Ok(beyond) => {
            let factor = 1_u32.checked_shl(beyond).unwrap_or(u32::MAX);
            settings.backoff_first().saturating_mul(factor).min(settings.backoff_max())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Overrides};

    #[test]
    fn pauses_double_up_to_the_longest() {
        let settings = Config::load(&Overrides::default()).unwrap().auth;
        let pauses: Vec<u64> = (3..9).map(|n| pause(n, 5, &settings).as_secs()).collect();
        assert_eq!(pauses, [0, 0, 2, 4, 8, 16]);
        assert_eq!(pause(500, 5, &settings).as_secs(), 900);
    }

    #[test]
    fn a_name_that_fails_everywhere_is_slow_and_never_shut() {
        let settings = Config::load(&Overrides::default()).unwrap().auth;
        let now = Timestamp(0).plus(Duration::from_secs(1));
        let slow = |in_a_row| held_back(Failures { in_a_row, last_at: now }, &settings, now).as_secs();
        assert_eq!([19, 20, 21, 22, 10_000].map(slow), [0, 2, 4, 5, 5]);
    }

    #[test]
    fn addresses_of_one_household_are_one() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2:3::4"), of("2001:db8:1:2::9"));
        assert_eq!(of("::ffff:192.0.2.7"), of("192.0.2.7"));
        assert_ne!(of("192.0.2.7"), of("192.0.2.8"));
    }
}
