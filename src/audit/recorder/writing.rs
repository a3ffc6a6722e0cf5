//! The task that empties the queue.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout_at};

use super::{Deed, End, Message, Room};
use crate::audit::Outcome;
use crate::clock::Timestamp;
use crate::db::{Batch, Db, Statement, audit};
use crate::dicom::uid::StudyUid;
use crate::telemetry::metrics::audit as metric;

/// Rows that are written with one commit at most.
const ROWS_MAX: usize = 512;

/// Rows of one commit that others may share: so many callers at a time are looked through.
const SHARED_MAX: usize = 32;

const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_LAST: Duration = Duration::from_secs(5);

/// Empties the queue of a recorder.
pub struct Writing {
    db: Db,
    receiver: mpsc::UnboundedReceiver<Message>,
    linger: Duration,
}

/// A row to be.
struct Line {
    deed: Arc<Deed>,
    at: Timestamp,
    /// When it is written, though nobody waits for it.
    due: Instant,
    /// Somebody waits for it.
    is_awaited: bool,
    /// With the end in it, the beginning has no row of its own.
    end: Option<(End, Timestamp)>,
    /// Requests that the row tells of, and the last of them.
    shared: Option<(u32, Option<String>)>,
    _rooms: (Room, Option<Room>),
}

/// Lines in their order, and who waits for them.
#[derive(Default)]
struct Page {
    /// In their order; those that joined another have left their place.
    lines: Vec<Option<Line>>,
    begun: HashMap<u64, usize>,
    /// Where a deed was told that others may share the row of.
    shared: Vec<usize>,
    /// What shares a row with another.
    joined: Vec<Line>,
    /// Rows beyond one for each line.
    further: usize,
    waiting: Vec<oneshot::Sender<()>>,
    /// Somebody waits for everything in it.
    is_whole: bool,
    /// Nothing comes any more.
    is_last: bool,
}

impl Writing {
    pub(super) fn new(db: Db, receiver: mpsc::UnboundedReceiver<Message>, linger: Duration) -> Self {
        Self { db, receiver, linger }
    }

    /// Until the last recorder is gone and the queue is empty.
    pub async fn run(mut self) {
        let mut page = Page::default();
        while !(page.is_last && page.is_blank()) {
            page = self.turn(page).await;
        }
    }

    /// Writes a page; the beginning of the next one.
    async fn turn(&mut self, mut page: Page) -> Page {
        self.fill(&mut page).await;
        let rest = page.leave(Instant::now());
        self.write(page).await;
        rest
    }

    /// What is there; while nobody waits for it, also what comes until something of it is due.
    async fn fill(&mut self, page: &mut Page) {
        while page.len() < ROWS_MAX {
            let next = match (self.receiver.try_recv(), page.due()) {
                (Ok(message), _) => Some(message),
                (Err(_), _) if !page.waiting.is_empty() => return,
                (Err(_), None) => self.receiver.recv().await,
                (Err(_), Some(due)) => match timeout_at(due, self.receiver.recv()).await {
                    Ok(next) => next,
                    Err(_) => return,
                },
            };
            match next {
                Some(message) => page.take(message, Instant::now() + self.linger),
                None => {
                    page.is_last = true;
                    return;
                }
            }
        }
    }

    /// Tries until it is written: nothing is dropped, and the queue fills meanwhile.
    async fn write(&self, page: Page) {
        let mut pause = RETRY_FIRST;
        while !page.is_blank()
            && let Err(error) = self.db.run(page.batch()).await
        {
            tracing::error!(%error, rows = page.len(), "the audit trail cannot be written, and is tried again");
            metrics::counter!(metric::WRITE_FAILURES).increment(1);
            sleep(pause).await;
            pause = (pause * 2).min(RETRY_LAST);
        }
        for waiting in page.waiting {
            let _ = waiting.send(());
        }
    }
}

impl Page {
    fn take(&mut self, message: Message, due: Instant) {
        match message {
            Message::Begun { serial, deed, at, room } => {
                self.further += deed.also.len();
                self.begun.insert(serial, self.lines.len());
                self.lines.push(Some(Line::new(deed, at, due, room)));
            }
            Message::Ended { serial, deed, at, began_at, end, room } => {
                let place = self.begun.remove(&serial);
                let line = match place.and_then(|place| self.lines[place].take()) {
                    Some(begun) => {
                        let _rooms = (begun._rooms.0, Some(room));
                        Line { deed, _rooms, ..begun }
                    }
                    None => {
                        self.further += deed.also.len();
                        Line::new(deed, began_at, due, room)
                    }
                };
                self.put(Line { end: Some((end, at)), ..line }, place);
            }
            Message::Awaited { serial, deed, done } => {
                let open = self.begun.get(&serial).and_then(|place| self.lines[*place].as_mut());
                if let Some(line) = open {
                    (line.deed, line.is_awaited) = (deed, true);
                }
                self.waiting.push(done);
            }
            Message::Flush(done) => {
                self.waiting.push(done);
                self.is_whole = true;
            }
        }
    }

    fn is_blank(&self) -> bool {
        self.lines.iter().flatten().next().is_none()
    }

    /// When the first of its lines is to be written.
    fn due(&self) -> Option<Instant> {
        self.lines.iter().flatten().map(|line| line.due).next()
    }

    /// Takes out, for the next page, what has just begun and nobody waits for: with its end it is one
    /// row, or a part of another.
    fn leave(&mut self, now: Instant) -> Self {
        let mut rest = Self { is_last: self.is_last, ..Self::default() };
        if self.is_whole || self.is_last || self.len() >= ROWS_MAX {
            return rest;
        }
        for (serial, place) in self.in_order() {
            if let Some(line) = self.lines[place].take_if(|line| !line.is_awaited && line.due > now) {
                rest.begun.insert(serial, rest.lines.len());
                rest.further += line.deed.also.len();
                rest.lines.push(Some(line));
            }
        }
        rest
    }

    /// What has begun only, in the order of the lines.
    fn in_order(&self) -> Vec<(u64, usize)> {
        let mut begun: Vec<_> = self.begun.iter().map(|(serial, place)| (*serial, *place)).collect();
        begun.sort_unstable_by_key(|(_, place)| *place);
        begun
    }

    /// Where it began, behind everything else, or into the row of another.
    fn put(&mut self, line: Line, place: Option<usize>) {
        let may_share = line.may_share();
        let other =
            may_share.then(|| self.shared.iter().copied().find(|at| self.is_like(*at, &line))).flatten();
        if let Some(Some(other)) = other.map(|at| &mut self.lines[at]) {
            other.join(&line);
            self.joined.push(line);
            return;
        }
        let place = place.unwrap_or_else(|| {
            self.lines.push(None);
            self.lines.len() - 1
        });
        self.lines[place] = Some(line);
        if may_share && self.shared.len() < SHARED_MAX {
            self.shared.push(place);
        }
    }

    fn is_like(&self, at: usize, line: &Line) -> bool {
        self.lines[at].as_ref().is_some_and(|other| other.deed.is_like(&line.deed))
    }

    fn len(&self) -> usize {
        self.lines.len() + self.joined.len() / 16 + self.further
    }

    fn batch(&self) -> Batch {
        let mut batch = Batch::new();
        for line in self.lines.iter().flatten() {
            for study in line.deed.studies() {
                batch.push(line.statement(study));
            }
        }
        batch
    }
}

impl Line {
    fn new(deed: Arc<Deed>, at: Timestamp, due: Instant, room: Room) -> Self {
        Self { deed, at, due, is_awaited: false, end: None, shared: None, _rooms: (room, None) }
    }

    fn may_share(&self) -> bool {
        let is_success =
            |(end, _): &(End, Timestamp)| end.outcome == Outcome::Success && end.detail.is_none();
        self.deed.may_share && self.end.as_ref().is_some_and(is_success)
    }

    /// The row tells of the other as well: of both objects it names none.
    fn join(&mut self, other: &Self) {
        if self.deed.object != other.deed.object {
            Arc::make_mut(&mut self.deed).object = None;
        }
        self.at = self.at.min(other.at);
        self.end = self
            .end
            .take()
            .map(|(end, at)| (end, other.end.as_ref().map_or(at, |(_, later)| at.max(*later))));
        let count = self.shared.as_ref().map_or(1, |(count, _)| *count);
        self.shared = Some((count + 1, other.deed.actor.request_id.clone()));
    }

    fn statement(&self, study: Option<&StudyUid>) -> Statement {
        let Some((end, ended_at)) = &self.end else {
            return audit::append(&self.deed.entry(study, Outcome::Begun, None), self.at);
        };
        let began_at = (self.at != *ended_at).then_some(self.at);
        let mut entry = self.deed.entry(study, end.outcome, began_at);
        entry.detail = end.detail.as_deref().or(entry.detail);
        let told = self.shared.as_ref().map(|(count, last)| {
            let last = last.as_deref().unwrap_or("unknown");
            format!("{}, {count} requests up to {last}", entry.detail.unwrap_or_default())
        });
        entry.detail = told.as_deref().or(entry.detail);
        audit::append(&entry, *ended_at)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Recorder, Settings};
    use super::*;
    use crate::audit::{Action, Actor};
    use crate::clock::Clock;

    #[tokio::test]
    async fn those_who_wait_at_once_share_a_commit() {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::manual(Timestamp(1));
        let (recorder, mut writing) = Recorder::new(Db::for_test(dir.path()), clock, Settings::default());
        let ends = (0..20).map(|_| async {
            let begun = recorder.begin(Deed::new(Actor::system(), Action::Query)).await.unwrap();
            begun.end_durably(Outcome::Success, None).await.unwrap();
        });
        let (_, rest) = tokio::join!(futures::future::join_all(ends), writing.turn(Page::default()));
        assert!(rest.is_blank());
    }
}
