//! A destination as it is at work: how it is reached, and how it has been doing.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Mutex as Turn;
use tokio::time::{Instant, sleep_until};

use super::scu::{self, Directory};
use super::webhook::Hook;
use super::{ExportError, stow};
use crate::clock::Timestamp;
use crate::config::{Config, exports};
use crate::outbound::access::{Access, CONNECT_TIMEOUT};
use crate::outbound::breaker::{Breaker, Patience, Phase};
use crate::telemetry::metrics::export as metric;

/// Of a queue that is being worked off.
const SHOW_EVERY: Duration = Duration::from_secs(5);

/// How a destination is reached.
#[derive(Debug)]
pub(super) enum Kind {
    Node(NodePeer),
    Stow(stow::Service),
    Webhook(Hook),
}

/// A node of the configuration as it is called.
#[derive(Debug)]
pub(super) struct NodePeer {
    pub(super) target: scu::Destination,
    commitment: bool,
}

impl NodePeer {
    fn new(
        settings: &exports::Destination,
        ae_title: &str,
        directory: &Directory,
    ) -> Result<Self, ExportError> {
        let found = directory.destination(ae_title);
        let unknown = || ExportError::Node { name: settings.name.clone(), node: ae_title.to_owned() };
        let mut target = found.ok_or_else(unknown)?;
        target.peer.patience.response = settings.timeout();
        if !settings.transfer_syntaxes.is_empty() {
            target.transfer_syntaxes.clone_from(&settings.transfer_syntaxes);
        }
        Ok(Self { target, commitment: settings.commitment })
    }
}

#[derive(Debug)]
pub(super) struct Destination {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) concurrency: usize,
    pub(super) timeout: Duration,
    /// Of what takes objects.
    pub(super) settings: Option<exports::Destination>,
    health: Mutex<Health>,
    pacer: Option<Pacer>,
    shown: Mutex<Option<Instant>>,
}

#[derive(Debug)]
struct Health {
    breaker: Breaker,
    last_error: Option<(Timestamp, String)>,
    last_success: Option<Timestamp>,
}

/// How a destination has been doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    pub phase: Phase,
    pub last_error: Option<(Timestamp, String)>,
    pub last_success: Option<Timestamp>,
}

impl Destination {
    pub(super) fn of_objects(
        settings: &exports::Destination,
        config: &Config,
        directory: &Directory,
    ) -> Result<Self, ExportError> {
        let name = settings.name.clone();
        let kind = match (&settings.node, &settings.url) {
            (Some(node), _) => Kind::Node(NodePeer::new(settings, node, directory)?),
            (None, url) => Kind::Stow(stow::Service::new(settings, url.as_deref().unwrap_or_default())?),
        };
        let pacer = Pacer::new(settings.rate_max);
        Ok(Self {
            kind,
            concurrency: settings.concurrency.max(1),
            timeout: settings.timeout(),
            health: Mutex::new(Health::new(&name, config)),
            name,
            settings: Some(settings.clone()),
            pacer,
            shown: Mutex::default(),
        })
    }

    pub(super) fn of_events(webhook: &exports::Webhook, config: &Config) -> Result<Self, ExportError> {
        let name = webhook.name.clone();
        let access = Access::new(&name, &webhook.access, CONNECT_TIMEOUT.min(webhook.timeout()))?;
        Ok(Self {
            kind: Kind::Webhook(Hook::new(webhook, access)?),
            concurrency: webhook.concurrency.max(1),
            timeout: webhook.timeout(),
            health: Mutex::new(Health::new(&name, config)),
            name,
            settings: None,
            pacer: None,
            shown: Mutex::default(),
        })
    }

    pub(super) fn kind_name(&self) -> &'static str {
        match self.kind {
            Kind::Node(_) => "node",
            Kind::Stow(_) => "stow-rs",
            Kind::Webhook(_) => "webhook",
        }
    }

    /// The AE title of a node that is asked to commit to what it took.
    pub(super) fn asked_for_commitment(&self) -> Option<&str> {
        match &self.kind {
            Kind::Node(node) if node.commitment => Some(&node.target.peer.called_aet),
            _ => None,
        }
    }

    /// What may be sent now.
    pub(super) fn phase(&self, now: Timestamp) -> Phase {
        let phase = self.with_health(|health| health.breaker.at(now));
        self.show(phase);
        phase
    }

    pub(super) fn condition(&self) -> Condition {
        self.with_health(|health| Condition {
            phase: health.breaker.phase(),
            last_error: health.last_error.clone(),
            last_success: health.last_success,
        })
    }

    pub(super) fn answered(&self) {
        let phase = self.with_health(|health| {
            health.breaker.answered();
            health.breaker.phase()
        });
        self.show(phase);
    }

    /// Whether it had been failing.
    pub(super) fn succeeded(&self, now: Timestamp) -> bool {
        let was_failing = self.with_health(|health| {
            let was_failing = health.last_error.is_some() && health.last_success < health.last_error_at();
            health.breaker.succeeded();
            health.last_success = Some(now);
            was_failing
        });
        self.show(Phase::Closed);
        was_failing
    }

    /// The time until which it is left alone, when this failure led to that.
    pub(super) fn failed(&self, now: Timestamp, trouble: &super::courier::Trouble) -> Option<Timestamp> {
        let phase = self.with_health(|health| {
            health.last_error = Some((now, trouble.reason.clone()));
            let opened = health.breaker.failed(now, trouble.retry_after, trouble.is_refusal);
            opened.then(|| health.breaker.phase())
        });
        phase.inspect(|phase| self.show(*phase));
        match phase {
            Some(Phase::Open { until }) => Some(until),
            _ => None,
        }
    }

    /// A person says that it is well again.
    pub(super) fn reset(&self) {
        self.with_health(|health| health.breaker.succeeded());
        self.show(Phase::Closed);
    }

    /// Returns when one more instance may be sent.
    pub(super) async fn turn(&self) {
        if let Some(pacer) = &self.pacer {
            pacer.turn().await;
        }
    }

    /// Whether the length of the queue, which takes a look at all of it, was last told long ago.
    pub(super) fn is_time_to_show(&self) -> bool {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let is_time = shown.is_none_or(|shown| shown.elapsed() >= SHOW_EVERY);
        if is_time {
            *shown = Some(Instant::now());
        }
        is_time
    }

    fn with_health<T>(&self, look: impl FnOnce(&mut Health) -> T) -> T {
        // A panic elsewhere leaves numbers that are still good.
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        look(&mut health)
    }

    fn show(&self, phase: Phase) {
        let level = match phase {
            Phase::Closed => 0.0,
            Phase::HalfOpen => 1.0,
            Phase::Open { .. } => 2.0,
        };
        metrics::gauge!(metric::BREAKER, "destination" => self.name.clone()).set(level);
    }
}

impl Health {
    fn new(name: &str, config: &Config) -> Self {
        let patience = Patience {
            failures_max: config.export.failures_max.max(1),
            first: config.export.retry_first(),
            longest: config.export.retry_max(),
        };
        let seed = name.bytes().fold(0, |seed: u64, byte| seed.wrapping_mul(31).wrapping_add(byte.into()));
        Self { breaker: Breaker::new(patience, seed), last_error: None, last_success: None }
    }

    fn last_error_at(&self) -> Option<Timestamp> {
        self.last_error.as_ref().map(|(at, _)| *at)
    }
}

/// Hands out moments at an even rate.
#[derive(Debug)]
struct Pacer {
    pause: Duration,
    next: Turn<Option<Instant>>,
}

impl Pacer {
    fn new(rate_max: u32) -> Option<Self> {
        let pause = Duration::from_secs(1).checked_div(rate_max)?;
        Some(Self { pause, next: Turn::new(None) })
    }

    async fn turn(&self) {
        let mut next = self.next.lock().await;
        let now = Instant::now();
        let mine = next.map_or(now, |next| next.max(now));
        sleep_until(mine).await;
        *next = Some(mine + self.pause);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_pacer_spreads_its_moments() {
        let pacer = Pacer::new(100).unwrap();
        let start = Instant::now();
        for _ in 0..5 {
            pacer.turn().await;
        }
        assert!(start.elapsed() >= Duration::from_millis(40), "{:?}", start.elapsed());
        assert!(Pacer::new(0).is_none());
    }
}
