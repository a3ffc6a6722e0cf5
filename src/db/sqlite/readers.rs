//! Reading the index: look-ups on the thread of the caller, everything else on reader threads with
//! one queue for all of them, so that nothing waits behind a busy reader while another is idle, and
//! one reader at least that no search can hold.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, OpenFlags};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::{connect, execute};
use crate::db::{DbError, Row, Statement};

/// Statements that wait for a reader; who comes later waits for room.
const QUEUE: usize = 4096;

/// Connections for look-ups.
const AT_HAND_MAX: usize = 8;

/// How much of the index a statement may look through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::db) enum Extent {
    /// Rows found by a key, and pages of them.
    Keyed,
    /// Any number of rows.
    Search,
}

struct Read {
    statement: Statement,
    extent: Extent,
    done: oneshot::Sender<Result<Vec<Row>, DbError>>,
    _room: OwnedSemaphorePermit,
}

/// The threads end when the last clone is dropped.
#[derive(Clone)]
pub(super) struct Readers {
    desk: Arc<Desk>,
    room: Arc<Semaphore>,
    at_hand: Arc<Mutex<Vec<Connection>>>,
}

impl Readers {
    pub(super) fn start(path: &Path, count: usize) -> rusqlite::Result<Self> {
        let count = count.max(2);
        let queue = Arc::new(Queue::new(count - 1));
        let desk = Arc::new(Desk(Arc::clone(&queue)));
        for _ in 0..count {
            let connection = connect_to_read(path)?;
            let queue = Arc::clone(&queue);
            std::thread::spawn(move || answer_all(&connection, &queue));
        }
        // One for each thread that may ask at the same time; more find none and queue.
        let threads = std::thread::available_parallelism().map_or(2, usize::from).min(AT_HAND_MAX);
        let at_hand = (0..threads).map(|_| connect_to_read(path)).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { desk, room: Arc::new(Semaphore::new(QUEUE)), at_hand: Arc::new(Mutex::new(at_hand)) })
    }

    /// At once: rows that a key finds are read sooner than another thread is woken.
    pub(super) async fn look_up(&self, statement: Statement) -> Result<Vec<Row>, DbError> {
        let Some(connection) = self.connections().pop() else {
            return self.read(statement, Extent::Keyed).await;
        };
        let rows = execute(&connection, &statement).map(|effect| effect.rows);
        self.connections().push(connection);
        rows
    }

    fn connections(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.at_hand.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn read(&self, statement: Statement, extent: Extent) -> Result<Vec<Row>, DbError> {
        let (done, answer) = oneshot::channel();
        let room = Arc::clone(&self.room).acquire_owned().await.map_err(|_| DbError::Closed)?;
        self.desk.0.put(Read { statement, extent, done, _room: room });
        answer.await.map_err(|_| DbError::Closed)?
    }
}

fn connect_to_read(path: &Path) -> rusqlite::Result<Connection> {
    let connection = connect(path, OpenFlags::default())?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

fn answer_all(connection: &Connection, queue: &Queue) {
    while let Some(read) = queue.take() {
        let Read { statement, extent, done, _room } = read;
        // Who has gone away no longer wants the rows.
        let rows = (!done.is_closed()).then(|| execute(connection, &statement).map(|effect| effect.rows));
        queue.finished(extent);
        let _ = rows.map(|rows| done.send(rows));
    }
}

/// Closes the queue when nobody is left who could put something into it.
struct Desk(Arc<Queue>);

impl Drop for Desk {
    fn drop(&mut self) {
        self.0.close();
    }
}

struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    searches_max: usize,
}

#[derive(Default)]
struct Waiting {
    keyed: VecDeque<Read>,
    searches: VecDeque<Read>,
    searches_under_way: usize,
    closed: bool,
}

impl Queue {
    fn new(searches_max: usize) -> Self {
        Self { waiting: Mutex::default(), changed: Condvar::new(), searches_max }
    }

    /// What a panicking thread left behind is whole: every change is one push or pop.
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, read: Read) {
        let mut waiting = self.waiting();
        match read.extent {
            Extent::Keyed => waiting.keyed.push_back(read),
            Extent::Search => waiting.searches.push_back(read),
        }
        drop(waiting);
        self.changed.notify_one();
    }

    /// The next statement that may be run; `None` once the queue is closed.
    fn take(&self) -> Option<Read> {
        let mut waiting = self.waiting();
        while !waiting.closed {
            if let Some(read) = waiting.next(self.searches_max) {
                return Some(read);
            }
            waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        None
    }

    /// The end of a search lets another one begin.
    fn finished(&self, extent: Extent) {
        if extent == Extent::Search {
            self.waiting().searches_under_way -= 1;
            self.changed.notify_one();
        }
    }

    fn close(&self) {
        self.waiting().closed = true;
        self.changed.notify_all();
    }
}

impl Waiting {
    fn next(&mut self, searches_max: usize) -> Option<Read> {
        if let Some(read) = self.keyed.pop_front() {
            return Some(read);
        }
        if self.searches_under_way == searches_max {
            return None;
        }
        let read = self.searches.pop_front()?;
        self.searches_under_way += 1;
        Some(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &'static str, extent: Extent) -> Read {
        let room = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        Read { statement: Statement::named(name, ""), extent, done: oneshot::channel().0, _room: room }
    }

    fn next(waiting: &mut Waiting) -> Option<&'static str> {
        waiting.next(1).map(|read| read.statement.name)
    }

    #[test]
    fn a_search_leaves_a_reader_to_those_who_know_their_key() {
        let mut waiting = Waiting::default();
        waiting.searches.extend([read("first", Extent::Search), read("second", Extent::Search)]);
        assert_eq!(next(&mut waiting), Some("first"));
        assert_eq!(next(&mut waiting), None);
        waiting.keyed.push_back(read("keyed", Extent::Keyed));
        assert_eq!(next(&mut waiting), Some("keyed"));
    }

    #[test]
    fn the_end_of_a_search_lets_the_next_begin() {
        let queue = Queue::new(1);
        queue.put(read("first", Extent::Search));
        queue.put(read("second", Extent::Search));
        queue.take().unwrap();
        queue.finished(Extent::Search);
        assert_eq!(queue.take().unwrap().statement.name, "second");
    }

    #[test]
    fn a_closed_queue_gives_nothing_more() {
        let queue = Arc::new(Queue::new(1));
        queue.put(read("late", Extent::Keyed));
        drop(Desk(Arc::clone(&queue)));
        assert!(queue.take().is_none());
    }
}
