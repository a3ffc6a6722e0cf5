//! Writing the index: batches that wait at the same time share one transaction and one sync.
//!
//! Whoever may block commits at once when nobody else does, and with that whatever waits beside
//! it; everybody else leaves it to the writer thread. A batch that comes alone is so committed
//! without waking another thread.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, ErrorCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::run_batch;
use crate::db::{Batch, DbError, Effect, EngineError};

/// Batches that wait to be committed; who comes later waits for room.
const QUEUE: usize = 1024;

/// Batches between two checkpoints, which move what they wrote out of the log. Many write the same
/// pages, which are then moved once.
const CHECKPOINT_EVERY: usize = 256;

/// A log this long is moved by the commit that made it so, as after a large batch.
pub(super) const LOG_PAGES_MAX: i64 = 16384;

type Outcome = Result<Vec<Effect>, DbError>;

struct Write {
    batch: Batch,
    done: oneshot::Sender<Outcome>,
    _room: OwnedSemaphorePermit,
}

/// The thread ends when the last clone is dropped.
#[derive(Clone)]
pub(super) struct Writer {
    desk: Arc<Desk>,
    room: Arc<Semaphore>,
}

impl Writer {
    pub(super) fn start(connection: Connection, group_max: usize) -> Result<Self, DbError> {
        let line = Arc::new(Line::new(connection, group_max));
        let served = Served(Arc::clone(&line));
        super::spawn("sqlite-writer", move || while served.0.commit_next() {})?;
        Ok(Self { desk: Arc::new(Desk(line)), room: Arc::new(Semaphore::new(QUEUE)) })
    }

    pub(super) async fn run(&self, batch: Batch) -> Outcome {
        let (write, answer) = self.write(batch).await?;
        self.desk.0.put(write);
        answer.await.map_err(|_| DbError::Closed)?
    }

    /// Blocks its thread.
    pub(super) async fn run_here(&self, batch: Batch) -> Outcome {
        let (write, answer) = self.write(batch).await?;
        if let Some(turn) = self.desk.0.put_and_begin(write) {
            turn.commit();
        }
        answer.await.map_err(|_| DbError::Closed)?
    }

    async fn write(&self, batch: Batch) -> Result<(Write, oneshot::Receiver<Outcome>), DbError> {
        let room = Arc::clone(&self.room).acquire_owned().await.map_err(|_| DbError::Closed)?;
        let (done, answer) = oneshot::channel();
        Ok((Write { batch, done, _room: room }, answer))
    }
}

/// Closes the line when nobody is left who could put something into it.
struct Desk(Arc<Line>);

impl Drop for Desk {
    fn drop(&mut self) {
        self.0.waiting().closed = true;
        self.0.changed.notify_all();
    }
}

/// Held by the thread: should it panic, nobody waits for it any longer.
struct Served(Arc<Line>);

impl Drop for Served {
    fn drop(&mut self) {
        let mut waiting = self.0.waiting();
        waiting.closed = true;
        waiting.writes.clear();
    }
}

/// Batches in the order in which they came, and the one connection that writes.
struct Line {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    writing: Mutex<Writing>,
    group_max: usize,
}

#[derive(Default)]
struct Waiting {
    writes: VecDeque<Write>,
    /// Somebody is committing a group.
    busy: bool,
    closed: bool,
}

struct Writing {
    connection: Connection,
    since_checkpoint: usize,
}

impl Line {
    fn new(connection: Connection, group_max: usize) -> Self {
        let writing = Mutex::new(Writing { connection, since_checkpoint: 0 });
        Self { waiting: Mutex::default(), changed: Condvar::new(), writing, group_max: group_max.max(1) }
    }

    /// What a panicking thread left behind is whole: every change is one step.
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, write: Write) {
        let mut waiting = self.waiting();
        if waiting.closed {
            return;
        }
        waiting.writes.push_back(write);
        if !waiting.busy {
            self.changed.notify_one();
        }
    }

    /// The turn to commit, if nobody else has it.
    fn put_and_begin(&self, write: Write) -> Option<Turn<'_>> {
        let mut waiting = self.waiting();
        if waiting.closed {
            return None;
        }
        waiting.writes.push_back(write);
        self.begin(&mut waiting)
    }

    fn begin(&self, waiting: &mut Waiting) -> Option<Turn<'_>> {
        if waiting.busy || waiting.writes.is_empty() {
            return None;
        }
        waiting.busy = true;
        let count = waiting.writes.len().min(self.group_max);
        Some(Turn { group: waiting.writes.drain(..count).collect(), line: self })
    }

    /// Waits for something to commit and commits it; `false` once the line is closed and empty.
    fn commit_next(&self) -> bool {
        let mut waiting = self.waiting();
        loop {
            if let Some(turn) = self.begin(&mut waiting) {
                drop(waiting);
                turn.commit();
                return true;
            }
            if waiting.closed {
                return false;
            }
            waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// The right and duty to commit a group. However it ends, the next may begin.
struct Turn<'a> {
    line: &'a Line,
    group: Vec<Write>,
}

impl Turn<'_> {
    fn commit(mut self) {
        let mut writing = self.line.writing.lock().unwrap_or_else(PoisonError::into_inner);
        writing.commit(std::mem::take(&mut self.group));
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut waiting = self.line.waiting();
        waiting.busy = false;
        if !waiting.writes.is_empty() {
            self.line.changed.notify_one();
        }
    }
}

impl Writing {
    /// One transaction and one sync for the whole group; a batch that fails undoes only itself.
    fn commit(&mut self, group: Vec<Write>) {
        let (answers, batches): (Vec<_>, Vec<Batch>) =
            group.into_iter().map(|write| (write.done, write.batch)).unzip();
        let outcomes = match run_group(&mut self.connection, &batches) {
            Ok(outcomes) => outcomes,
            Err(error) => batches.iter().map(|_| Err(commit_error(&error))).collect(),
        };
        for (done, outcome) in answers.into_iter().zip(outcomes) {
            // Who has gone away does not want to know.
            let _ = done.send(outcome);
        }
        self.checkpoint_after(batches.len());
    }

    /// When the answers are out, nobody waits for it but who comes next.
    fn checkpoint_after(&mut self, batches: usize) {
        self.since_checkpoint += batches;
        if self.since_checkpoint < CHECKPOINT_EVERY {
            return;
        }
        self.since_checkpoint = 0;
        let done = self.connection.query_row("pragma wal_checkpoint(passive)", [], |_| Ok(()));
        if let Err(error) = done {
            tracing::warn!(%error, "the log of the index could not be moved into it");
        }
    }
}

fn commit_error(error: &rusqlite::Error) -> DbError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => DbError::Full,
        _ => DbError::Commit(error.to_string()),
    }
}

fn run_group(connection: &mut Connection, batches: &[Batch]) -> rusqlite::Result<Vec<Outcome>> {
    let mut transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let mut outcomes = Vec::with_capacity(batches.len());
    for batch in batches {
        let savepoint = transaction.savepoint()?;
        match run_batch(&savepoint, batch) {
            Ok(effects) => {
                savepoint.commit()?;
                outcomes.push(Ok(effects));
            }
            // Out of space or memory, SQLite undoes the whole transaction: nothing stands, and
            // what followed would be committed one by one.
            Err(DbError::Execute { source: EngineError::Sqlite(source), .. })
                if savepoint.is_autocommit() =>
            {
                return Err(source);
            }
            // Dropping a savepoint rolls it back.
            Err(error) => outcomes.push(Err(error)),
        }
    }
    transaction.commit()?;
    Ok(outcomes)
}

#[cfg(test)]
mod tests {
    use rusqlite::OpenFlags;

    use super::super::connect;
    use super::*;
    use crate::db::Statement;

    /// SQLite itself undoes the whole transaction when it runs out of space in a statement.
    #[test]
    fn a_full_database_fails_the_whole_group_and_keeps_nothing_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut connection = connect(&dir.path().join("db"), OpenFlags::default()).unwrap();
        connection.execute_batch("create table t (b blob); pragma max_page_count = 20").unwrap();
        let batch = |bytes: usize| {
            let insert = Statement::named("insert", "insert into t (b) values ($1)");
            Batch::new().then(insert.bind(vec![1_u8; bytes]))
        };
        let results = run_group(&mut connection, &[batch(10), batch(1 << 20), batch(10)]);
        let acknowledged = results.map_or(0, |results| results.iter().filter(|one| one.is_ok()).count());
        let kept: i64 = connection.query_row("select count(*) from t", [], |row| row.get(0)).unwrap();
        assert_eq!((acknowledged, kept), (0, 0));
        assert_eq!(run_group(&mut connection, &[batch(10)]).unwrap().len(), 1);
    }

    fn writer() -> (tempfile::TempDir, Writer) {
        let dir = tempfile::tempdir().unwrap();
        let connection = connect(&dir.path().join("db"), OpenFlags::default()).unwrap();
        connection.execute_batch("create table t (a int)").unwrap();
        (dir, Writer::start(connection, 4).unwrap())
    }

    fn insert() -> Batch {
        Batch::new().then(Statement::named("insert", "insert into t (a) values (1)"))
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn batches_of_either_way_are_all_committed() {
        let (dir, writer) = writer();
        let (here, there) = (0..40).map(|_| (writer.clone(), writer.clone())).unzip::<_, _, Vec<_>, Vec<_>>();
        let here =
            here.into_iter().map(|writer| tokio::spawn(async move { writer.run_here(insert()).await }));
        let there = there.into_iter().map(|writer| tokio::spawn(async move { writer.run(insert()).await }));
        let outcomes = futures::future::join_all(here.chain(there).collect::<Vec<_>>()).await;
        assert!(outcomes.iter().all(|outcome| outcome.as_ref().unwrap().is_ok()));
        let reader = connect(&dir.path().join("db"), OpenFlags::default()).unwrap();
        let kept: i64 = reader.query_row("select count(*) from t", [], |row| row.get(0)).unwrap();
        assert_eq!(kept, 80);
    }

    #[tokio::test]
    async fn what_is_put_into_a_line_that_is_not_served_any_more_is_answered() {
        let (_dir, writer) = writer();
        drop(Served(Arc::clone(&writer.desk.0)));
        assert!(matches!(writer.run(insert()).await, Err(DbError::Closed)));
        assert!(matches!(writer.run_here(insert()).await, Err(DbError::Closed)));
    }
}
