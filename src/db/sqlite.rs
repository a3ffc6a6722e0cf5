//! SQLite: one writer at a time that commits in groups, and a pool of reader threads.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, ToSql};
use tokio::sync::Notify;

use super::audit::chain::{self, Head};
use super::{Batch, DbError, Effect, Expect, Row, SqliteSettings, Statement, Value};
pub(super) use readers::Extent;
use readers::Readers;
use writer::{LOG_PAGES_MAX, Writer};

pub(super) use copied::Copied;

mod copied;
mod earlier;
mod readers;
mod writer;

mod migrations {
    refinery::embed_migrations!("schema/sqlite");
}

const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// The threads end when the last clone is dropped.
#[derive(Clone)]
pub struct Sqlite {
    path: PathBuf,
    writer: Writer,
    readers: Readers,
    /// Wakes those who watch events.
    told: Arc<Notify>,
}

impl Sqlite {
    pub(super) fn open(path: &Path, settings: SqliteSettings) -> Result<Self, DbError> {
        Self::start(path, up_to_date(path)?, settings)
    }

    /// What is written sets off no trigger.
    pub(super) fn open_to_fill(path: &Path, settings: SqliteSettings) -> Result<Self, DbError> {
        let connection = up_to_date(path)?;
        let silenced = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false);
        silenced.map_err(|source| DbError::Open { path: path.display().to_string(), source })?;
        Self::start(path, connection, settings)
    }

    fn start(path: &Path, connection: Connection, settings: SqliteSettings) -> Result<Self, DbError> {
        let writer = Writer::start(connection, settings.group_max)?;
        let readers = Readers::start(path, settings.readers);
        let readers = readers.map_err(|source| DbError::Open { path: path.display().to_string(), source })?;
        Ok(Self { path: path.to_owned(), writer, readers, told: Arc::default() })
    }

    pub(super) fn told(&self) -> Arc<Notify> {
        Arc::clone(&self.told)
    }

    /// With one reader, and without a change to the schema.
    pub(super) fn open_beside(path: &Path) -> Result<Self, DbError> {
        let open = |source| DbError::Open { path: path.display().to_string(), source };
        let connection = connect(path, OpenFlags::default()).map_err(open)?;
        Self::start(path, connection, SqliteSettings { readers: 1, group_max: 1 })
    }

    pub(super) async fn copy_to(&self, path: &Path) -> Result<(), DbError> {
        let (from, to) = (self.path.clone(), path.to_owned());
        let copying = tokio::task::spawn_blocking(move || copied::copy(&from, &to));
        copying.await.map_err(|_| DbError::Closed)?
    }

    pub(super) async fn run(&self, batch: Batch) -> Result<Vec<Effect>, DbError> {
        let tells = batch.tells();
        let effects = self.writer.run(batch).await?;
        Ok(self.tell(&tells, effects))
    }

    /// Blocks its thread.
    pub(super) async fn run_here(&self, batch: Batch) -> Result<Vec<Effect>, DbError> {
        let tells = batch.tells();
        let effects = self.writer.run_here(batch).await?;
        Ok(self.tell(&tells, effects))
    }

    /// Wakes those who watch, where one of the steps told something.
    fn tell(&self, tells: &[usize], effects: Vec<Effect>) -> Vec<Effect> {
        if tells.iter().any(|at| effects.get(*at).is_some_and(|effect| effect.affected > 0)) {
            self.told.notify_waiters();
        }
        effects
    }

    pub(super) async fn read(&self, statement: Statement, extent: Extent) -> Result<Vec<Row>, DbError> {
        self.readers.read(statement, extent).await
    }

    pub(super) async fn look_up(&self, statement: Statement) -> Result<Vec<Row>, DbError> {
        self.readers.look_up(statement).await
    }
}

/// The connection that writes, to an index that is made or brought up to date.
fn up_to_date(path: &Path) -> Result<Connection, DbError> {
    let open = |source| DbError::Open { path: path.display().to_string(), source };
    let mut connection = connect(path, OpenFlags::default()).map_err(open)?;
    let migrated = migrations::migrations::runner().run(&mut connection);
    migrated.map_err(|error| DbError::Migrate(error.to_string()))?;
    earlier::chain(&mut connection).map_err(|error| DbError::Migrate(error.to_string()))?;
    connection.pragma_update(None, "wal_autocheckpoint", LOG_PAGES_MAX).map_err(open)?;
    Ok(connection)
}

pub(super) fn newest_schema() -> u32 {
    let runner = migrations::migrations::runner();
    let versions = runner.get_migrations().iter().map(|migration| migration.version());
    versions.filter_map(|version| u32::try_from(version).ok()).max().unwrap_or_default()
}

/// WAL with a sync at every commit: durability is never traded, only shared.
fn connect(path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.execute_batch(
        "pragma journal_mode = wal; pragma synchronous = full; pragma foreign_keys = on;
         pragma temp_store = memory; pragma cache_size = -16384; pragma mmap_size = 268435456;",
    )?;
    // A statement is planned once, not for every value that is bound to it.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.set_prepared_statement_cache_capacity(128);
    Ok(connection)
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<(), DbError> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(body)
        .map(drop)
        .map_err(|error| DbError::Migrate(format!("cannot start thread {name}: {error}")))
}

fn run_batch(connection: &Connection, batch: &Batch) -> Result<Vec<Effect>, DbError> {
    batch.steps.iter().map(|(statement, expect)| run_step(connection, statement, *expect)).collect()
}

fn run_step(connection: &Connection, statement: &Statement, expect: Expect) -> Result<Effect, DbError> {
    expect.check(statement.name, execute(connection, statement)?)
}

fn execute(connection: &Connection, statement: &Statement) -> Result<Effect, DbError> {
    let failed = |source| execution_error(statement.name, source);
    if statement.is_chained {
        let affected = append(connection, statement).map_err(failed)?;
        return Ok(Effect { affected, rows: Vec::new() });
    }
    let mut prepared = connection.prepare_cached(&statement.sql).map_err(failed)?;
    let parameters = rusqlite::params_from_iter(&statement.values);
    if prepared.column_count() == 0 {
        let affected = prepared.execute(parameters).map_err(failed)?;
        return Ok(Effect { affected, rows: Vec::new() });
    }
    let columns = prepared.column_count();
    let rows = prepared
        .query_map(parameters, |row| (0..columns).map(|i| row.get_ref(i).map(value)).collect())
        .and_then(|rows| rows.collect::<rusqlite::Result<Vec<Vec<Value>>>>())
        .map_err(failed)?;
    let rows: Vec<Row> = rows.into_iter().map(|values| Row { statement: statement.name, values }).collect();
    Ok(Effect { affected: rows.len(), rows })
}

/// A row of the audit trail behind the last one: nobody else writes until this transaction is over.
fn append(connection: &Connection, statement: &Statement) -> rusqlite::Result<usize> {
    let [sequence, hash] = head(connection)?.next(&statement.values);
    let row = std::iter::once(&sequence).chain(&statement.values).chain([&hash]);
    connection.prepare_cached(&statement.sql)?.execute(rusqlite::params_from_iter(row))
}

fn head(connection: &Connection) -> rusqlite::Result<Head> {
    let mut prepared = connection.prepare_cached(chain::HEAD)?;
    let head = prepared.query_row([], |row| Ok(Head { sequence: row.get(0)?, hash: row.get(1)? }));
    Ok(head.optional()?.unwrap_or(chain::ORIGIN))
}

fn execution_error(statement: &'static str, source: rusqlite::Error) -> DbError {
    match source.sqlite_error_code() {
        Some(ErrorCode::ConstraintViolation) if source.to_string().contains("UNIQUE") => {
            DbError::Unique { statement }
        }
        _ => DbError::Execute { statement, source: source.into() },
    }
}

fn value(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(int) => Value::Int(int),
        ValueRef::Real(real) => Value::Real(real),
        ValueRef::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(bytes) => Value::Bytes(bytes.to_vec()),
    }
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Int(int) => ValueRef::Integer(*int),
            Self::Real(real) => ValueRef::Real(*real),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Bytes(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

/// Makes an index as the first version left it, with the rows of another one.
#[cfg(test)]
pub(crate) fn first_version_of(other: &Path, path: &Path) -> rusqlite::Result<()> {
    let mut connection = connect(path, OpenFlags::default())?;
    let first = refinery::Target::Version(1);
    migrations::migrations::runner().set_target(first).run(&mut connection).expect("the first version");
    connection.execute("attach $1 as other", [other.to_string_lossy()])?;
    for table in ["patient", "study", "series", "instance", "change"] {
        let columns = format!("select group_concat(name, ', ') from pragma_table_info('{table}')");
        let columns: String = connection.query_row(&columns, [], |row| row.get(0))?;
        let copy = format!("insert into main.{table} ({columns}) select {columns} from other.{table}");
        connection.execute(&copy, [])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open() -> (tempfile::TempDir, Sqlite) {
        let dir = tempfile::tempdir().unwrap();
        let settings = SqliteSettings { readers: 2, group_max: 8 };
        let sqlite = Sqlite::open(&dir.path().join("index.sqlite"), settings).unwrap();
        (dir, sqlite)
    }

    fn insert(id: &str) -> Statement {
        Statement::named("insert", "insert into delivery (id, study_uid, last_at) values ($1, '1.2', $2)")
            .bind(id)
            .bind(7_i64)
    }

    async fn count(sqlite: &Sqlite) -> i64 {
        let rows =
            sqlite.read(Statement::named("count", "select count(*) from delivery"), Extent::Keyed).await;
        rows.unwrap()[0].int(0).unwrap()
    }

    #[tokio::test]
    async fn a_failing_batch_leaves_nothing_and_its_neighbours_stand() {
        let (_dir, sqlite) = open();
        let (a, b, c) = tokio::join!(
            sqlite.run(Batch::new().then(insert("a"))),
            sqlite.run(Batch::new().then(insert("b")).then(insert("b"))),
            sqlite.run(Batch::new().then(insert("c"))),
        );
        assert!(a.is_ok() && c.is_ok());
        assert!(matches!(b, Err(DbError::Unique { statement: "insert" })));
        assert_eq!(count(&sqlite).await, 2);
    }

    #[tokio::test]
    async fn a_guard_that_touches_no_row_undoes_the_batch() {
        let (_dir, sqlite) = open();
        let miss = Statement::named("miss", "update delivery set last_at = 1 where id = 'x'");
        let result = sqlite.run(Batch::new().then(insert("a")).then_exactly(1, miss)).await;
        assert!(matches!(result, Err(DbError::Affected { found: 0, wanted: 1, .. })));
        assert_eq!(count(&sqlite).await, 0);
    }

    #[tokio::test]
    async fn readers_cannot_write() {
        let (_dir, sqlite) = open();
        assert!(sqlite.read(insert("a"), Extent::Keyed).await.is_err());
        assert!(sqlite.look_up(insert("a")).await.is_err());
        assert_eq!(count(&sqlite).await, 0);
    }
}
