//! PostgreSQL: a line of batches that are committed in groups, a pool for reading, a replica for
//! searches where there is one, and a connection that hears what other instances tell.
//!
//! Everything runs on threads of its own, so that whoever asks needs no runtime, as with SQLite.

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Object, Pool};
use tokio::runtime::{Handle, Runtime};
use tokio::sync::Notify;
use tokio_postgres::types::ToSql;

use self::fault::is_passing;
use super::{Batch, DbError, Effect, Row, Statement};
pub use connect::PostgresSettings;
use connect::Servers;
pub(super) use fault::Fault;
use writer::Writer;

mod connect;
mod fault;
mod listener;
mod migrations;
mod pooler;
mod replica;
mod value;
mod writer;

/// Between two tries of what a passing fault has ended.
const PAUSE: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// The threads end when the last clone is dropped.
#[derive(Clone)]
pub struct Postgres {
    engine: Arc<Engine>,
}

/// What becomes of the schema when an index is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Schema {
    UpToDate,
    AsItIs,
}

struct Engine {
    servers: Servers,
    writer: Writer,
    /// Wakes those who watch events, of this instance and of others.
    told: Arc<Notify>,
    threads: Threads,
}

impl Postgres {
    /// Brings the schema up to date first. Blocks its thread.
    pub(super) fn open(settings: PostgresSettings) -> Result<Self, DbError> {
        Self::open_in(settings, Schema::UpToDate)
    }

    /// Without a change to the schema. Blocks its thread.
    pub(super) fn open_beside(settings: PostgresSettings) -> Result<Self, DbError> {
        Self::open_in(settings, Schema::AsItIs)
    }

    fn open_in(settings: PostgresSettings, schema: Schema) -> Result<Self, DbError> {
        let threads = Threads::start()?;
        let told: Arc<Notify> = Arc::default();
        let heard = Arc::clone(&told);
        let (servers, writer) = threads.wait_for(async move {
            let servers = Servers::open(&settings)?;
            if schema == Schema::UpToDate {
                migrations::run(&servers, &settings).await?;
            }
            let writer = Writer::start(servers.primary.clone(), &settings);
            tokio::spawn(listener::listen(servers.clone(), heard));
            Ok::<_, DbError>((servers, writer))
        })??;
        Ok(Self { engine: Arc::new(Engine { servers, writer, told, threads }) })
    }

    pub(super) fn told(&self) -> Arc<Notify> {
        Arc::clone(&self.engine.told)
    }

    pub(super) async fn run(&self, batch: Batch) -> Result<Vec<Effect>, DbError> {
        let tells = batch.tells();
        let effects = self.engine.writer.run(batch).await?;
        if tells.iter().any(|at| effects.get(*at).is_some_and(|effect| effect.affected > 0)) {
            self.engine.told.notify_waiters();
        }
        Ok(effects)
    }

    pub(super) async fn read(&self, statement: Statement) -> Result<Vec<Row>, DbError> {
        let pool = self.engine.servers.primary.clone();
        self.engine.threads.run(read_patiently(pool, statement)).await
    }

    /// On the replica where there is one that has everything that is committed.
    pub(super) async fn search(&self, statement: Statement) -> Result<Vec<Row>, DbError> {
        let servers = self.engine.servers.clone();
        self.engine
            .threads
            .run(async move {
                if let Some(outcome) = on_replica(&servers, &statement).await {
                    return outcome;
                }
                read_patiently(servers.primary.clone(), statement).await
            })
            .await
    }
}

/// `None` where the primary is to be asked.
async fn on_replica(servers: &Servers, statement: &Statement) -> Option<Result<Vec<Row>, DbError>> {
    let replica = servers.replica.as_ref()?;
    let caught_up = replica.caught_up(&servers.primary).await?;
    match rows(&caught_up, statement).await {
        Err(error) if is_passing(&error) => None,
        outcome => Some(outcome),
    }
}

/// Reading changes nothing: it is tried again while the fault may pass.
async fn read_patiently(pool: Pool, statement: Statement) -> Result<Vec<Row>, DbError> {
    let patience = pool.timeouts().wait.unwrap_or_default();
    let mut pause = Pause::new(patience);
    loop {
        let outcome = match pool.get().await {
            Ok(client) => rows(&client, &statement).await,
            Err(error) => Err(DbError::from(error)),
        };
        match outcome {
            Err(error) if is_passing(&error) && pause.wait().await => {}
            outcome => return outcome,
        }
    }
}

/// Longer each time, until patience is at its end.
struct Pause {
    next: Duration,
    left: Duration,
}

impl Pause {
    fn new(patience: Duration) -> Self {
        Self { next: PAUSE, left: patience }
    }

    /// `false` when there is no patience left.
    async fn wait(&mut self) -> bool {
        let Some(left) = self.left.checked_sub(self.next) else { return false };
        tokio::time::sleep(self.next).await;
        (self.left, self.next) = (left, (self.next * 2).min(PAUSE_MAX));
        true
    }
}

/// What a connection answers to one statement.
async fn rows(client: &Object, statement: &Statement) -> Result<Vec<Row>, DbError> {
    let failed = |source| fault::execution_error(statement.name, source);
    let prepared = client.prepare_cached(statement.sql_of_postgres()).await.map_err(failed)?;
    let found = client.query(&prepared, &parameters(statement)).await.map_err(failed)?;
    found.iter().map(|row| value::row(statement.name, row)).collect()
}

fn parameters(statement: &Statement) -> Vec<&(dyn ToSql + Sync)> {
    statement.values.iter().map(|value| value as &(dyn ToSql + Sync)).collect()
}

/// A runtime that may be dropped anywhere.
struct Threads(Option<Runtime>);

impl Threads {
    fn start() -> Result<Self, DbError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("postgres")
            .enable_all()
            .build();
        runtime.map(|runtime| Self(Some(runtime))).map_err(|error| DbError::Migrate(error.to_string()))
    }

    fn handle(&self) -> Option<&Handle> {
        self.0.as_ref().map(Runtime::handle)
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, DbError>> + Send + 'static,
    ) -> Result<T, DbError> {
        let handle = self.handle().ok_or(DbError::Closed)?;
        handle.spawn(work).await.map_err(|_| DbError::Closed)?
    }

    /// Blocks its thread, which may be one of another runtime.
    fn wait_for<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, DbError> {
        let (done, answer) = std::sync::mpsc::channel();
        self.handle().ok_or(DbError::Closed)?.spawn(async move {
            let _ = done.send(work.await);
        });
        answer.recv().map_err(|_| DbError::Closed)
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
