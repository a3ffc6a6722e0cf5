//! How many requests one address and one user may make: a burst at once, and so many each second
//! afterwards (GCRA). What is left is told in every answer (draft-ietf-httpapi-ratelimit-headers).
//!
//! The memory for keys is bounded: strangers beyond it share buckets. Instances that share an index share
//! the buckets too ([`shared`]).

mod shared;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};
use http::Response;
use http::header::{HeaderName, HeaderValue};

use self::shared::{Accounts, Drawn, Meeting};
use super::error::HttpError;
use super::forwarded;
use super::limit_hit;
use crate::auth::{Caller, Subject};
use crate::clock;
use crate::config::{self, Network};
use crate::db::Db;

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LEFT: HeaderName = HeaderName::from_static("ratelimit");

/// Buckets that those share who come when the memory is full.
const CROWDS: u64 = 1024;
/// Requests between two looks at who can be forgotten.
const LOOK_EVERY: usize = 1024;

/// A bucket of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Address(IpAddr),
    /// The id of a user or of a key.
    Subject(String),
    Crowd(u64),
}

/// What one bucket has left.
#[derive(Debug, Clone)]
struct Left {
    policy: &'static str,
    quota: u32,
    window_s: u64,
    remaining: u32,
}

/// What an answer says about the buckets that its request drew from; nothing for who is exempt.
#[derive(Debug, Clone, Default)]
pub(super) struct Standing(Vec<Left>);

/// All buckets of the server.
pub struct RateLimits<C: Clock = DefaultClock> {
    addresses: Option<Buckets<C>>,
    subjects: Option<Buckets<C>>,
    log_ins: Option<Buckets<C>>,
    recorded_refusals: Option<Buckets<C>>,
    exempt: Vec<Network>,
}

struct Buckets<C: Clock> {
    policy: &'static str,
    /// The key of the configuration that bounds it.
    limit: &'static str,
    quota: Quota,
    keys_max: usize,
    seen: AtomicUsize,
    limiter: RateLimiter<Key, DashMapStateStore<Key>, C, StateInformationMiddleware>,
    clock: C,
    /// In place of the limiter, where instances share the buckets.
    accounts: Option<Accounts>,
}

impl RateLimits {
    pub fn from_config(section: &config::RateLimits) -> Self {
        Self::with_clock(section, &DefaultClock::default())
    }
}

impl<C: Clock + Clone> RateLimits<C> {
    /// With all instances on an index, where several can be.
    pub fn shared_by(mut self, db: &Db, clock: &clock::Clock, section: &config::RateLimits) -> Self {
        if db.is_shared() && section.told_parts > 0 {
            let meeting = Meeting { db: db.clone(), clock: clock.clone(), parts: section.told_parts };
            let all =
                [&mut self.addresses, &mut self.subjects, &mut self.log_ins, &mut self.recorded_refusals];
            for buckets in all.into_iter().flatten() {
                buckets.accounts = Some(Accounts::new(meeting.clone(), buckets.policy, buckets.quota));
            }
        }
        self
    }

    fn with_clock(section: &config::RateLimits, clock: &C) -> Self {
        let keys_max = section.keys_max;
        let buckets = |policy, limit, burst, period| {
            Buckets::new(policy, limit, quota(burst, period)?, keys_max, clock)
        };
        let each = |number: u32, of: Duration| of.checked_div(number);
        let second = Duration::from_secs(1);
        Self {
            addresses: buckets(
                "address",
                "http.rate_limits.address_burst",
                section.address_burst,
                each(section.address_per_s, second),
            ),
            subjects: buckets(
                "user",
                "http.rate_limits.user_burst",
                section.user_burst,
                each(section.user_per_s, second),
            ),
            log_ins: buckets(
                "log-in",
                "http.rate_limits.log_in_burst",
                section.log_in_burst,
                each(section.log_in_per_min, Duration::from_secs(60)),
            ),
            recorded_refusals: buckets(
                "refusal",
                "http.rate_limits.recorded_refusals_burst",
                section.recorded_refusals_burst,
                each(section.recorded_refusals_per_min, Duration::from_secs(60)),
            ),
            exempt: section.exempt.clone(),
        }
    }

    /// Whether a refusal of somebody unknown gets a row of its own: strangers do not fill the disk,
    /// from whichever address.
    pub(super) async fn may_record(&self, client: IpAddr) -> bool {
        let Some(buckets) = &self.recorded_refusals else { return true };
        buckets.draw(Key::Address(network(client)), &mut Standing::default()).await.is_ok()
    }

    /// Before anything is known about a request but where it comes from.
    pub(super) async fn arrived(&self, client: IpAddr, standing: &mut Standing) -> Result<(), HttpError> {
        self.draw(self.addresses.as_ref(), client, || Key::Address(network(client)), standing).await
    }

    /// Once it is known who asks.
    pub(super) async fn asked(
        &self,
        client: IpAddr,
        caller: &Caller,
        standing: &mut Standing,
    ) -> Result<(), HttpError> {
        let (Subject::User { id, .. } | Subject::ApiKey { id, .. }) = &caller.subject else { return Ok(()) };
        self.draw(self.subjects.as_ref(), client, || Key::Subject(id.clone()), standing).await
    }

    /// Before a password is tried.
    pub(super) async fn logs_in(&self, client: IpAddr, standing: &mut Standing) -> Result<(), HttpError> {
        self.draw(self.log_ins.as_ref(), client, || Key::Address(network(client)), standing).await
    }

    async fn draw(
        &self,
        buckets: Option<&Buckets<C>>,
        client: IpAddr,
        key: impl FnOnce() -> Key,
        standing: &mut Standing,
    ) -> Result<(), HttpError> {
        match buckets {
            Some(buckets) if !forwarded::contains(&self.exempt, client) => {
                buckets.draw(key(), standing).await
            }
            _ => Ok(()),
        }
    }
}

/// None where there is no limit.
fn quota(burst: u32, period: Option<Duration>) -> Option<Quota> {
    let quota = Quota::with_period(period?)?;
    Some(quota.allow_burst(NonZeroU32::new(burst)?))
}

impl<C: Clock + Clone> Buckets<C> {
    fn new(
        policy: &'static str,
        limit: &'static str,
        quota: Quota,
        keys_max: usize,
        clock: &C,
    ) -> Option<Self> {
        let limiter = RateLimiter::dashmap_with_clock(quota, clock.clone()).with_middleware();
        Some(Self {
            policy,
            limit,
            quota,
            keys_max,
            seen: AtomicUsize::new(0),
            limiter,
            clock: clock.clone(),
            accounts: None,
        })
    }

    async fn draw(&self, key: Key, standing: &mut Standing) -> Result<(), HttpError> {
        let key = self.bounded(key);
        let drawn = match &self.accounts {
            Some(accounts) => accounts.draw(&key),
            None => self.draw_alone(&key),
        };
        match drawn {
            Ok(Drawn { left, tell }) => {
                standing.0.push(Left { remaining: left, ..self.empty() });
                if let Some((accounts, requests)) = self.accounts.as_ref().zip(tell) {
                    accounts.tell(key, requests).await;
                }
                Ok(())
            }
            Err(wait) => {
                limit_hit(self.limit);
                standing.0.push(Left { remaining: 0, ..self.empty() });
                Err(HttpError::TooManyRequests { retry_after_s: whole_seconds(wait).max(1) })
            }
        }
    }

    fn draw_alone(&self, key: &Key) -> Result<Drawn, Duration> {
        match self.limiter.check_key(key) {
            Ok(snapshot) => Ok(Drawn { left: snapshot.remaining_burst_capacity(), tell: None }),
            Err(not_until) => Err(not_until.wait_time_from(self.clock.now())),
        }
    }

    /// The key, or the crowd that it belongs to when there are too many.
    fn bounded(&self, key: Key) -> Key {
        if self.seen.fetch_add(1, Ordering::Relaxed).is_multiple_of(LOOK_EVERY) {
            self.forget_idle();
        }
        if self.remembered() < self.keys_max {
            return key;
        }
        limit_hit("http.rate_limits.keys_max");
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        Key::Crowd(hasher.finish() % CROWDS)
    }

    fn forget_idle(&self) {
        match &self.accounts {
            Some(accounts) => accounts.forget_idle(),
            None => self.limiter.retain_recent(),
        }
    }

    fn remembered(&self) -> usize {
        self.accounts.as_ref().map_or_else(|| self.limiter.len(), Accounts::len)
    }

    fn empty(&self) -> Left {
        Left {
            policy: self.policy,
            quota: self.quota.burst_size().get(),
            window_s: whole_seconds(self.quota.burst_size_replenished_in()),
            remaining: 0,
        }
    }
}

fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

/// Who has one IPv6 address has the 64 bits behind it.
fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() & (u128::MAX << 64)).into()),
        v4 => v4,
    }
}

impl Left {
    /// Until the bucket is full again.
    fn full_in_s(&self) -> u64 {
        let missing = u64::from(self.quota.saturating_sub(self.remaining));
        (missing * self.window_s).div_ceil(u64::from(self.quota.max(1)))
    }
}

impl Standing {
    pub(super) fn mark<B>(&self, response: &mut Response<B>) {
        if self.0.is_empty() {
            return;
        }
        let policies =
            self.0.iter().map(|left| format!("\"{}\";q={};w={}", left.policy, left.quota, left.window_s));
        let lefts = self
            .0
            .iter()
            .map(|left| format!("\"{}\";r={};t={}", left.policy, left.remaining, left.full_in_s()));
        let texts = [(POLICY, policies.collect::<Vec<_>>()), (LEFT, lefts.collect())];
        for (name, texts) in texts {
            if let Ok(value) = HeaderValue::from_str(&texts.join(", ")) {
                response.headers_mut().insert(name, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    const STRANGER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 7));

    fn section() -> config::RateLimits {
        config::RateLimits {
            address_burst: 3,
            address_per_s: 1,
            user_burst: 0,
            user_per_s: 0,
            log_in_burst: 1,
            log_in_per_min: 2,
            recorded_refusals_burst: 2,
            recorded_refusals_per_min: 1,
            keys_max: 4,
            told_parts: 32,
            exempt: vec!["127.0.0.0/8".parse().unwrap()],
        }
    }

    fn limits(clock: &FakeRelativeClock) -> RateLimits<FakeRelativeClock> {
        RateLimits::with_clock(&section(), clock)
    }

    fn wait(result: Result<(), HttpError>) -> Option<u64> {
        match result {
            Err(HttpError::TooManyRequests { retry_after_s }) => Some(retry_after_s),
            _ => None,
        }
    }

    #[tokio::test]
    async fn a_burst_is_let_through_and_what_follows_waits() {
        let clock = FakeRelativeClock::default();
        let limits = limits(&clock);
        let arrive = async || wait(limits.arrived(STRANGER, &mut Standing::default()).await);
        assert_eq!(
            [arrive().await, arrive().await, arrive().await, arrive().await],
            [None, None, None, Some(1)]
        );
        clock.advance(Duration::from_secs(1));
        assert_eq!([arrive().await, arrive().await], [None, Some(1)]);
    }

    #[tokio::test]
    async fn an_answer_says_what_is_left() {
        let limits = limits(&FakeRelativeClock::default());
        let mut standing = Standing::default();
        limits.arrived(STRANGER, &mut standing).await.unwrap();
        limits.logs_in(STRANGER, &mut standing).await.unwrap();
        let mut response = Response::new(());
        standing.mark(&mut response);
        assert_eq!(response.headers()[POLICY], "\"address\";q=3;w=3, \"log-in\";q=1;w=30");
        assert_eq!(response.headers()[LEFT], "\"address\";r=2;t=1, \"log-in\";r=0;t=30");
    }

    #[tokio::test]
    async fn who_is_exempt_and_what_has_no_limit_is_let_through_unmarked() {
        let limits = limits(&FakeRelativeClock::default());
        let mut standing = Standing::default();
        for _ in 0..9 {
            limits.arrived("127.0.0.2".parse().unwrap(), &mut standing).await.unwrap();
        }
        assert!(standing.0.is_empty() && limits.subjects.is_none());
    }

    #[tokio::test]
    async fn not_every_refusal_of_a_stranger_is_a_row() {
        let limits = limits(&FakeRelativeClock::default());
        let local = "127.0.0.1".parse().unwrap();
        let may = async || limits.may_record(local).await;
        assert_eq!([may().await, may().await, may().await], [true, true, false]);
    }

    #[tokio::test]
    async fn the_addresses_of_one_subnet_of_ipv6_are_one() {
        let limits = limits(&FakeRelativeClock::default());
        for address in ["2001:db8::1", "2001:db8::2", "2001:db8::ffff:1:2:3"] {
            limits.arrived(address.parse().unwrap(), &mut Standing::default()).await.unwrap();
        }
        let next = limits.arrived("2001:db8::9".parse().unwrap(), &mut Standing::default()).await;
        assert_eq!(wait(next), Some(1));
    }

    #[tokio::test]
    async fn strangers_beyond_the_memory_share_buckets() {
        let limits = limits(&FakeRelativeClock::default());
        for n in 0..u32::from(u16::MAX) {
            let address = IpAddr::V4((0x0A00_0000 + n).into());
            // Most are refused: that is what a crowd is.
            let _ = limits.arrived(address, &mut Standing::default()).await;
        }
        let kept = limits.addresses.unwrap().limiter.len();
        assert!(kept <= 4 + usize::try_from(CROWDS).unwrap(), "{kept}");
    }
}
