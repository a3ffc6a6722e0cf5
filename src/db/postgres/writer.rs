//! Writing: batches that wait at the same time share one transaction and one sync.
//!
//! As with SQLite one batch is run at a time by each instance. That keeps two batches of one
//! instance from locking each other out, and lets the rows whose numbers must become visible in
//! their order (`change`, `event`, `audit`) be appended under a lock until the commit without
//! making every batch wait for a sync of its own.

use deadpool_postgres::{Object, Pool, Transaction};
use futures::future::join_all;
use tokio::sync::{mpsc, oneshot};
use tokio_postgres::Statement as Prepared;

use super::fault::{commit_error, execution_error, is_passing};
use super::{Pause, PostgresSettings, listener, parameters, value};
use crate::db::audit::chain::{self, Head};
use crate::db::{Batch, DbError, Effect, Expect, Row, Statement, Value};

/// Batches that wait to be committed; who comes later waits for room.
const QUEUE: usize = 1024;

/// Statements that are under way to the server at once. They are answered in the order in which
/// they were sent.
const AT_ONCE: usize = 16;

/// Held from the first row of an ordered table to the commit.
const ORDER_LOCK: &str = "select pg_advisory_xact_lock(8242538271936083969)";

type Outcome = Result<Vec<Effect>, DbError>;

struct Write {
    batch: Batch,
    done: oneshot::Sender<Outcome>,
}

/// The line ends when the last clone is dropped.
#[derive(Clone)]
pub(super) struct Writer {
    line: mpsc::Sender<Write>,
}

impl Writer {
    /// On the runtime of the caller.
    pub(super) fn start(pool: Pool, settings: &PostgresSettings) -> Self {
        let (line, writes) = mpsc::channel(QUEUE);
        tokio::spawn(commit_all(pool, writes, settings.clone()));
        Self { line }
    }

    pub(super) async fn run(&self, batch: Batch) -> Outcome {
        let (done, answer) = oneshot::channel();
        self.line.send(Write { batch, done }).await.map_err(|_| DbError::Closed)?;
        answer.await.map_err(|_| DbError::Closed)?
    }
}

async fn commit_all(pool: Pool, mut writes: mpsc::Receiver<Write>, settings: PostgresSettings) {
    let group_max = settings.group_max.max(1);
    let mut group = Vec::with_capacity(group_max);
    while writes.recv_many(&mut group, group_max).await > 0 {
        let (answers, batches): (Vec<_>, Vec<Batch>) =
            group.drain(..).map(|write| (write.done, write.batch)).unzip();
        let outcomes = commit_patiently(&pool, &batches, &settings).await;
        for (done, outcome) in answers.into_iter().zip(outcomes) {
            // Who has gone away does not want to know.
            let _ = done.send(outcome);
        }
    }
}

/// Nothing of a group stands before its commit, so that it is begun again when the server went away
/// or another writer was in the way. Whether a commit stands that nobody confirmed is not known.
async fn commit_patiently(pool: &Pool, batches: &[Batch], settings: &PostgresSettings) -> Vec<Outcome> {
    let mut pause = Pause::new(settings.patience);
    loop {
        match commit(pool, batches).await {
            Ok(outcomes) => return outcomes,
            Err(error) if is_passing(&error) && pause.wait().await => {}
            Err(error) => return batches.iter().map(|_| Err(error.again())).collect(),
        }
    }
}

/// An error is that of the group as a whole.
async fn commit(pool: &Pool, batches: &[Batch]) -> Result<Vec<Outcome>, DbError> {
    let mut client = pool.get().await?;
    let mut group = Group::begin(&mut client).await?;
    let mut outcomes = Vec::with_capacity(batches.len());
    for batch in batches {
        outcomes.push(group.add(batch).await?);
    }
    group.transaction.commit().await.map_err(commit_error)?;
    Ok(outcomes)
}

/// A transaction that holds several batches.
struct Group<'a> {
    transaction: Transaction<'a>,
    /// The lock of the ordered tables is held.
    is_ordered: bool,
    /// The end of the audit trail as this transaction leaves it.
    head: Option<Head>,
}

impl<'a> Group<'a> {
    async fn begin(client: &'a mut Object) -> Result<Self, DbError> {
        let transaction = client.transaction().await.map_err(|error| execution_error("begin", error))?;
        Ok(Self { transaction, is_ordered: false, head: None })
    }

    /// The inner error is that of the batch, which alone is undone.
    async fn add(&mut self, batch: &Batch) -> Result<Outcome, DbError> {
        let before = self.head;
        self.mark("savepoint batch").await?;
        match self.run(batch).await {
            Ok(effects) => {
                self.mark("release savepoint batch").await?;
                Ok(Ok(effects))
            }
            Err(error) if is_passing(&error) => Err(error),
            Err(error) => {
                self.mark("rollback to savepoint batch").await?;
                self.head = before;
                Ok(Err(error))
            }
        }
    }

    async fn mark(&self, sql: &'static str) -> Result<(), DbError> {
        self.transaction.batch_execute(sql).await.map_err(|error| execution_error("savepoint", error))
    }

    async fn run(&mut self, batch: &Batch) -> Outcome {
        if batch.is_ordered() {
            self.take_order_lock().await?;
        }
        let mut effects = Vec::with_capacity(batch.steps.len());
        for steps in batch.steps.chunks(AT_ONCE) {
            effects.extend(self.run_together(steps).await?);
        }
        if batch.tells().iter().any(|at| effects[*at].affected > 0) {
            self.mark(listener::TELL).await?;
        }
        Ok(effects)
    }

    async fn take_order_lock(&mut self) -> Result<(), DbError> {
        if !self.is_ordered {
            self.mark(ORDER_LOCK).await?;
            self.is_ordered = true;
        }
        Ok(())
    }

    /// Sent without waiting for each answer; of several errors the first is the cause.
    async fn run_together(&mut self, steps: &[(Statement, Expect)]) -> Outcome {
        let mut ready = Vec::with_capacity(steps.len());
        for (statement, expect) in steps {
            let values = self.values(statement).await?;
            let prepared = self.transaction.prepare_cached(statement.sql_of_postgres()).await;
            ready.push((statement, expect, values, prepared.map_err(failed(statement))?));
        }
        let transaction = &self.transaction;
        let under_way = ready.iter().map(|(statement, expect, values, prepared)| async move {
            let effect = execute(transaction, statement, values.as_deref(), prepared).await?;
            expect.check(statement.name, effect)
        });
        join_all(under_way).await.into_iter().collect()
    }

    /// A row of the audit trail gets its number and its hash here: the lock is held.
    async fn values(&mut self, statement: &Statement) -> Result<Option<Vec<Value>>, DbError> {
        if !statement.is_chained {
            return Ok(None);
        }
        let head = match self.head {
            Some(head) => head,
            None => self.read_head().await?,
        };
        let [sequence, hash] = head.next(&statement.values);
        self.head = Head::of(&sequence, &hash);
        let row = std::iter::once(sequence).chain(statement.values.iter().cloned()).chain([hash]);
        Ok(Some(row.collect()))
    }

    async fn read_head(&self) -> Result<Head, DbError> {
        let failed = |error| execution_error("audit_head", error);
        let prepared = self.transaction.prepare_cached(chain::HEAD).await.map_err(failed)?;
        let found = self.transaction.query_opt(&prepared, &[]).await.map_err(failed)?;
        let Some(found) = found else { return Ok(chain::ORIGIN) };
        let row = value::row("audit_head", &found)?;
        let damaged = DbError::Column { statement: "audit_head", column: 1, wanted: "a hash" };
        Head::of(&row.values[0], &row.values[1]).ok_or(damaged)
    }
}

fn failed(statement: &Statement) -> impl FnOnce(tokio_postgres::Error) -> DbError {
    let name = statement.name;
    move |error| execution_error(name, error)
}

async fn execute(
    transaction: &Transaction<'_>,
    statement: &Statement,
    values: Option<&[Value]>,
    prepared: &Prepared,
) -> Result<Effect, DbError> {
    let parameters = match values {
        Some(values) => {
            values.iter().map(|value| value as &(dyn tokio_postgres::types::ToSql + Sync)).collect()
        }
        None => parameters(statement),
    };
    if prepared.columns().is_empty() {
        let affected = transaction.execute(prepared, &parameters).await.map_err(failed(statement))?;
        return Ok(Effect { affected: usize::try_from(affected).unwrap_or(usize::MAX), rows: Vec::new() });
    }
    let found = transaction.query(prepared, &parameters).await.map_err(failed(statement))?;
    let rows: Vec<Row> = found.iter().map(|row| value::row(statement.name, row)).collect::<Result<_, _>>()?;
    Ok(Effect { affected: rows.len(), rows })
}
