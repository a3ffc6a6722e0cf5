//! SQLite: one writer thread that commits in groups, and a pool of reader threads.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ErrorCode, OpenFlags, ToSql};
use tokio::sync::{mpsc, oneshot};

use super::{Batch, DbError, Effect, Expect, Row, SqliteSettings, Statement, Value};
pub(super) use readers::Extent;
use readers::Readers;

mod readers;

mod migrations {
    refinery::embed_migrations!("schema/sqlite");
}

const QUEUE: usize = 1024;
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

struct Write {
    batch: Batch,
    done: oneshot::Sender<Result<Vec<Effect>, DbError>>,
}

/// The threads end when the last clone is dropped.
#[derive(Clone)]
pub struct Sqlite {
    writer: mpsc::Sender<Write>,
    readers: Readers,
}

impl Sqlite {
    pub(super) fn open(path: &Path, settings: SqliteSettings) -> Result<Self, DbError> {
        let open = |source| DbError::Open { path: path.display().to_string(), source };
        let mut connection = connect(path, OpenFlags::default()).map_err(open)?;
        migrations::migrations::runner()
            .run(&mut connection)
            .map_err(|error| DbError::Migrate(error.to_string()))?;
        let (writer, writes) = mpsc::channel(QUEUE);
        spawn("sqlite-writer", move || write_loop(connection, writes, settings.group_max))?;
        let readers = Readers::start(path, settings.readers).map_err(open)?;
        Ok(Self { writer, readers })
    }

    pub(super) async fn run(&self, batch: Batch) -> Result<Vec<Effect>, DbError> {
        let (done, answer) = oneshot::channel();
        self.writer.send(Write { batch, done }).await.map_err(|_| DbError::Closed)?;
        answer.await.map_err(|_| DbError::Closed)?
    }

    pub(super) async fn read(&self, statement: Statement, extent: Extent) -> Result<Vec<Row>, DbError> {
        self.readers.read(statement, extent).await
    }

    pub(super) async fn look_up(&self, statement: Statement) -> Result<Vec<Row>, DbError> {
        self.readers.look_up(statement).await
    }
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

fn write_loop(mut connection: Connection, mut writes: mpsc::Receiver<Write>, group_max: usize) {
    let mut group = Vec::with_capacity(group_max);
    while writes.blocking_recv_many(&mut group, group_max.max(1)) > 0 {
        let (waiting, results) = commit_group(&mut connection, &mut group);
        for (done, result) in waiting.into_iter().zip(results) {
            let _ = done.send(result);
        }
    }
}

type Waiting = Vec<oneshot::Sender<Result<Vec<Effect>, DbError>>>;
type Results = Vec<Result<Vec<Effect>, DbError>>;

/// One transaction and one sync for the whole group; a batch that fails undoes only itself.
fn commit_group(connection: &mut Connection, group: &mut Vec<Write>) -> (Waiting, Results) {
    let (waiting, batches): (Waiting, Vec<Batch>) =
        group.drain(..).map(|write| (write.done, write.batch)).unzip();
    let results = match run_group(connection, &batches) {
        Ok(results) => results,
        Err(error) => {
            let failed = || match error.sqlite_error_code() {
                Some(ErrorCode::DiskFull) => DbError::Full,
                _ => DbError::Commit(error.to_string()),
            };
            batches.iter().map(|_| Err(failed())).collect()
        }
    };
    (waiting, results)
}

fn run_group(connection: &mut Connection, batches: &[Batch]) -> rusqlite::Result<Results> {
    let mut transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let mut results = Results::with_capacity(batches.len());
    for batch in batches {
        let savepoint = transaction.savepoint()?;
        match run_batch(&savepoint, batch) {
            Ok(effects) => {
                savepoint.commit()?;
                results.push(Ok(effects));
            }
            // Out of space or memory, SQLite undoes the whole transaction: nothing stands, and
            // what followed would be committed one by one.
            Err(DbError::Execute { source, .. }) if savepoint.is_autocommit() => return Err(source),
            // Dropping a savepoint rolls it back.
            Err(error) => results.push(Err(error)),
        }
    }
    transaction.commit()?;
    Ok(results)
}

fn run_batch(connection: &Connection, batch: &Batch) -> Result<Vec<Effect>, DbError> {
    batch.steps.iter().map(|(statement, expect)| run_step(connection, statement, *expect)).collect()
}

fn run_step(connection: &Connection, statement: &Statement, expect: Expect) -> Result<Effect, DbError> {
    let effect = execute(connection, statement)?;
    match expect {
        Expect::Rows(wanted) if effect.affected != wanted => {
            Err(DbError::Affected { statement: statement.name, found: effect.affected, wanted })
        }
        Expect::Rows(_) | Expect::Anything => Ok(effect),
    }
}

fn execute(connection: &Connection, statement: &Statement) -> Result<Effect, DbError> {
    let failed = |source| execution_error(statement.name, source);
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

fn execution_error(statement: &'static str, source: rusqlite::Error) -> DbError {
    match source.sqlite_error_code() {
        Some(ErrorCode::ConstraintViolation) if source.to_string().contains("UNIQUE") => {
            DbError::Unique { statement }
        }
        _ => DbError::Execute { statement, source },
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
    for table in ["patient", "study", "series", "instance", "change", "audit"] {
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

    #[tokio::test]
    async fn readers_cannot_write() {
        let (_dir, sqlite) = open();
        assert!(sqlite.read(insert("a"), Extent::Keyed).await.is_err());
        assert!(sqlite.look_up(insert("a")).await.is_err());
        assert_eq!(count(&sqlite).await, 0);
    }
}
