//! What is read and asked, recorded beside the request: a bounded queue, and one task that writes what
//! waits in it with one commit.
//!
//! A request that begins while the queue is full waits for room. Each takes the room for its end with
//! that for its beginning, so that the end is never lost and never waits. Whoever is about to show
//! something waits until a row says so ([`Begun::durable`], [`Begun::end_durably`]): what comes while one
//! commit is under way waits for the next, together.

mod writing;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use super::{Action, Actor, Entry, ObjectKind, Outcome};
use crate::clock::{Clock, Timestamp};
use crate::config::AuditBefore;
use crate::db::Db;
use crate::dicom::uid::StudyUid;
use crate::telemetry::limits;
use crate::telemetry::metrics::audit as metric;

pub use writing::Writing;

#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Beginnings and ends that wait to be written.
    pub queue_max: usize,
    /// How long the first of them waits for others.
    pub linger: Duration,
    /// How long a request waits for room, and for its row.
    pub patience: Duration,
    /// Whether it waits for its row at all.
    pub before: AuditBefore,
}

impl Default for Settings {
    fn default() -> Self {
        let (linger, patience) = (Duration::from_millis(200), Duration::from_secs(10));
        Self { queue_max: 8192, linger, patience, before: AuditBefore::Durable }
    }
}

/// There is no room, or no row in time, and the request goes on no further: what cannot be recorded is
/// not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the audit trail cannot be written")]
pub struct Unrecorded;

/// Something that is done, as the queue holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deed {
    pub actor: Arc<Actor>,
    pub action: Action,
    pub study: Option<StudyUid>,
    /// Further studies that it is about, each with a row of its own.
    pub also: Vec<StudyUid>,
    pub object: Option<(ObjectKind, String)>,
    pub detail: Option<String>,
    /// When it succeeds at once, it may share a row with others that differ by object and request alone.
    pub may_share: bool,
}

impl Deed {
    pub fn new(actor: impl Into<Arc<Actor>>, action: Action) -> Self {
        let (study, also, object, detail) = (None, Vec::new(), None, None);
        Self { actor: actor.into(), action, study, also, object, detail, may_share: false }
    }

    /// The studies of its rows: one row without any where it is about none.
    fn studies(&self) -> impl Iterator<Item = Option<&StudyUid>> {
        std::iter::once(self.study.as_ref()).chain(self.also.iter().map(Some))
    }

    /// By the same, of the same kind, about the same study.
    fn is_like(&self, other: &Self) -> bool {
        let who = |deed: &Self| (deed.actor.kind, deed.actor.address);
        (self.action, who(self), &self.detail) == (other.action, who(other), &other.detail)
            && (&self.study, &self.also) == (&other.study, &other.also)
            && (&self.actor.id, &self.actor.name, &self.actor.ae_title)
                == (&other.actor.id, &other.actor.name, &other.actor.ae_title)
    }

    /// For one of its studies.
    fn entry<'a>(
        &'a self,
        study: Option<&'a StudyUid>,
        outcome: Outcome,
        began_at: Option<Timestamp>,
    ) -> Entry<'a> {
        Entry {
            actor: &self.actor,
            action: self.action,
            study,
            object: self.object.as_ref().map(|(kind, id)| super::Object { kind: *kind, id }),
            outcome,
            detail: self.detail.as_deref(),
            began_at,
        }
    }
}

/// In the queue, until it is written.
type Room = OwnedSemaphorePermit;

#[derive(Debug)]
enum Message {
    Begun {
        serial: u64,
        deed: Arc<Deed>,
        at: Timestamp,
        room: Room,
    },
    Ended {
        serial: u64,
        deed: Arc<Deed>,
        at: Timestamp,
        began_at: Timestamp,
        end: End,
        room: Room,
    },
    /// Somebody waits for the row of what began, with what has turned out about it by now.
    Awaited {
        serial: u64,
        deed: Arc<Deed>,
        done: oneshot::Sender<()>,
    },
    Flush(oneshot::Sender<()>),
}

#[derive(Debug)]
struct End {
    outcome: Outcome,
    /// Instead of the detail that it began with.
    detail: Option<String>,
}

/// Cheap to clone: one for everything that answers requests.
#[derive(Clone)]
pub struct Recorder {
    sender: mpsc::UnboundedSender<Message>,
    /// Bounds the queue.
    rooms: Arc<Semaphore>,
    serial: Arc<AtomicU64>,
    clock: Clock,
    patience: Duration,
    before: AuditBefore,
}

impl Recorder {
    /// The task must run for anything to be written; it ends when the last recorder is gone.
    pub fn new(db: Db, clock: Clock, settings: Settings) -> (Self, Writing) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let rooms = Arc::new(Semaphore::new(settings.queue_max.max(2)));
        let Settings { patience, before, linger, .. } = settings;
        let recorder = Self { sender, rooms, serial: Arc::default(), clock, patience, before };
        (recorder, Writing::new(db, receiver, linger))
    }

    /// Returns when there is room for the beginning and the end.
    pub async fn begin(&self, deed: Deed) -> Result<Begun, Unrecorded> {
        let mut room = self.room(2).await?;
        let end_room = room.split(1);
        let (serial, at) = (self.serial.fetch_add(1, Ordering::Relaxed), self.clock.now());
        let deed = Arc::new(deed);
        self.send(Message::Begun { serial, deed: Arc::clone(&deed), at, room });
        Ok(Begun { serial, deed, began_at: at, recorder: self.clone(), room: end_room })
    }

    /// Something that needs no beginning: it has happened, or was refused.
    pub async fn note(&self, deed: Deed, outcome: Outcome) -> Result<(), Unrecorded> {
        let room = self.room(1).await?;
        let (serial, at) = (self.serial.fetch_add(1, Ordering::Relaxed), self.clock.now());
        let end = End { outcome, detail: None };
        self.send(Message::Ended { serial, deed: Arc::new(deed), at, began_at: at, end, room });
        Ok(())
    }

    /// Returns when everything that was recorded before is durable.
    pub async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        self.send(Message::Flush(done));
        let _ = flushed.await;
    }

    async fn stands(&self, serial: u64, deed: &Arc<Deed>) -> Result<(), Unrecorded> {
        if self.before == AuditBefore::Soon {
            return Ok(());
        }
        let (done, written) = oneshot::channel();
        self.send(Message::Awaited { serial, deed: Arc::clone(deed), done });
        timeout(self.patience, written).await.ok().and_then(Result::ok).ok_or_else(unrecorded)
    }

    /// The task ends only after the last recorder: somebody receives.
    fn send(&self, message: Message) {
        if self.sender.send(message).is_err() {
            tracing::error!("the audit trail is no longer written");
        }
    }

    async fn room(&self, count: u32) -> Result<Room, Unrecorded> {
        if let Ok(room) = Arc::clone(&self.rooms).try_acquire_many_owned(count) {
            return Ok(room);
        }
        metrics::counter!(metric::QUEUE_FULL).increment(1);
        limits::hit("audit.queue_max");
        let room = timeout(self.patience, Arc::clone(&self.rooms).acquire_many_owned(count)).await;
        room.ok().and_then(Result::ok).ok_or_else(unrecorded)
    }
}

fn unrecorded() -> Unrecorded {
    metrics::counter!(metric::UNRECORDED).increment(1);
    limits::hit("audit.wait_s");
    Unrecorded
}

/// Something that is being done. Let go without an end, it failed: the client went away, or a handler
/// panicked.
#[must_use]
pub struct Begun {
    serial: u64,
    deed: Arc<Deed>,
    began_at: Timestamp,
    recorder: Recorder,
    room: Option<Room>,
}

impl Begun {
    pub fn end(self, outcome: Outcome) {
        self.end_as(outcome, None);
    }

    /// The study turns out only now.
    pub fn in_study(&mut self, study: StudyUid) {
        Arc::make_mut(&mut self.deed).study = Some(study);
    }

    /// What is asked turns out only now.
    pub fn describe(&mut self, detail: String) {
        Arc::make_mut(&mut self.deed).detail = Some(detail);
    }

    pub fn action(&self) -> Action {
        self.deed.action
    }

    pub fn detail(&self) -> Option<&str> {
        self.deed.detail.as_deref()
    }

    /// `detail` takes the place of what was known at the beginning.
    pub fn end_as(mut self, outcome: Outcome, detail: Option<String>) {
        self.send(End { outcome, detail });
    }

    /// Returns when a row tells of the beginning; at once where none has to (`audit.before`).
    pub async fn durable(&self) -> Result<(), Unrecorded> {
        self.recorder.stands(self.serial, &self.deed).await
    }

    /// As [`Self::end_as`]; returns when a row tells of it, at once where none has to.
    pub async fn end_durably(mut self, outcome: Outcome, detail: Option<String>) -> Result<(), Unrecorded> {
        self.send(End { outcome, detail });
        self.durable().await
    }

    fn send(&mut self, end: End) {
        if let Some(room) = self.room.take() {
            let (serial, deed, began_at) = (self.serial, Arc::clone(&self.deed), self.began_at);
            let at = self.recorder.clock.now();
            self.recorder.send(Message::Ended { serial, deed, at, began_at, end, room });
        }
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        let outcome = Outcome::MinorFailure;
        self.send(End { outcome, detail: Some("broken off".to_owned()) });
    }
}

#[cfg(test)]
mod tests;
