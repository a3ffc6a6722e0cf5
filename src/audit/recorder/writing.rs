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
    waiting: Vec<oneshot::Sender<()>>,
}

impl Writing {
    pub(super) fn new(db: Db, receiver: mpsc::UnboundedReceiver<Message>, linger: Duration) -> Self {
        Self { db, receiver, linger }
    }

    /// Until the last recorder is gone and the queue is empty.
    pub async fn run(mut self) {
        while let Some(first) = self.receiver.recv().await {
            let page = self.page(first).await;
            self.write(page).await;
        }
    }

    /// What comes within a moment of the first, or until somebody waits for it.
    async fn page(&mut self, first: Message) -> Page {
        let (mut page, until) = (Page::default(), Instant::now() + self.linger);
        page.take(first);
        while page.len() < ROWS_MAX && page.waiting.is_empty() {
            match timeout_at(until, self.receiver.recv()).await {
                Ok(Some(message)) => page.take(message),
                Ok(None) | Err(_) => break,
            }
        }
        page
    }

    /// Tries until it is written: nothing is dropped, and the queue fills meanwhile.
    async fn write(&self, page: Page) {
        let mut pause = RETRY_FIRST;
        while let Err(error) = self.db.run(page.batch()).await {
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
    fn take(&mut self, message: Message) {
        match message {
            Message::Begun { serial, deed, at, room } => {
                self.begun.insert(serial, self.lines.len());
                self.lines.push(Some(Line { deed, at, end: None, shared: None, _rooms: (room, None) }));
            }
            Message::Ended { serial, deed, at, began_at, end, room } => {
                let place = self.begun.remove(&serial);
                let line = match place.and_then(|place| self.lines[place].take()) {
                    Some(begun) => {
                        let _rooms = (begun._rooms.0, Some(room));
                        Line { deed, end: Some((end, at)), _rooms, ..begun }
                    }
                    None => {
                        Line { deed, at: began_at, end: Some((end, at)), shared: None, _rooms: (room, None) }
                    }
                };
                self.put(line, place);
            }
            Message::Flush(done) => self.waiting.push(done),
        }
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
        self.lines.len() + self.joined.len() / 16
    }

    fn batch(&self) -> Batch {
        let mut batch = Batch::new();
        for line in self.lines.iter().flatten() {
            batch.push(line.statement());
        }
        batch
    }
}

impl Line {
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

    fn statement(&self) -> Statement {
        let Some((end, ended_at)) = &self.end else {
            return audit::append(&self.deed.entry(Outcome::Begun, None), self.at);
        };
        let began_at = (self.at != *ended_at).then_some(self.at);
        let mut entry = self.deed.entry(end.outcome, began_at);
        entry.detail = end.detail.as_deref().or(entry.detail);
        let told = self.shared.as_ref().map(|(count, last)| {
            let last = last.as_deref().unwrap_or("unknown");
            format!("{}, {count} requests up to {last}", entry.detail.unwrap_or_default())
        });
        entry.detail = told.as_deref().or(entry.detail);
        audit::append(&entry, *ended_at)
    }
}
