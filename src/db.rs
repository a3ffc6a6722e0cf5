//! The index: typed statements in, typed rows out, one text of SQL for every engine.
//!
//! Nothing outside this module contains SQL. Writes travel as a [`Batch`], all or nothing, and
//! are durable when [`Db::run`] returns; the engine may commit many batches with one sync.

use std::borrow::Cow;
use std::path::Path;

use postgres::Fault;
use sqlite::Extent;

use crate::dicom::person_name::NameKeys;
use crate::telemetry::metrics::{Timed, db as metric};

pub mod analyses;
pub mod api_keys;
pub mod audit;
pub mod changes;
pub mod commitments;
pub mod contents;
pub mod copy;
pub mod deletions;
pub mod derived;
pub mod downloads;
pub mod events;
pub mod exports;
pub mod findings;
pub mod groups;
pub mod heartbeats;
pub mod holds;
pub mod idempotency;
pub mod instances;
pub mod integrity;
pub mod jobs;
pub mod login_failures;
pub mod migration;
pub mod moments;
pub mod page;
mod postgres;
pub mod priors;
pub mod provider_logins;
pub mod rate_limits;
pub mod reports;
pub mod results;
pub mod retention;
pub mod retrieve;
pub mod search;
pub mod sessions;
pub mod signing_keys;
mod sqlite;
pub mod studies;
pub mod tables;
#[cfg(test)]
pub(crate) mod testing;
pub mod transfer;
pub mod uploads;
pub mod users;
pub mod worklist;

pub use postgres::PostgresSettings;
#[cfg(test)]
pub(crate) use sqlite::first_version_of;

#[derive(Debug, thiserror::Error)]
pub enum DbError {
    #[error("cannot open the database {path}: {source}")]
    Open { path: String, source: rusqlite::Error },
    #[error("{key}: {reason}")]
    Address { key: &'static str, reason: String },
    #[error("the database does not answer: {0}")]
    Connect(Fault),
    #[error("cannot bring the schema up to date: {0}")]
    Migrate(String),
    #[error("statement {statement} failed: {source}")]
    Execute { statement: &'static str, source: EngineError },
    #[error("statement {statement} hit a unique key")]
    Unique { statement: &'static str },
    #[error("statement {statement} touched {found} rows instead of {wanted}")]
    Affected { statement: &'static str, found: usize, wanted: usize },
    /// Whether the batch will be found after a crash is not known.
    #[error("the commit failed: {0}")]
    Commit(String),
    #[error("there is no space left for the index")]
    Full,
    #[error("column {column} of {statement} is not {wanted}")]
    Column { statement: &'static str, column: usize, wanted: &'static str },
    #[error("the index is in PostgreSQL, which is backed up by its own means")]
    NotAFile,
    #[error("the rows of the table {0} cannot be told apart and put in order by keys")]
    Keyless(String),
    #[error("the database is shut down")]
    Closed,
}

impl DbError {
    /// For each of several that failed by the same cause.
    fn again(&self) -> Self {
        match self {
            Self::Full => Self::Full,
            Self::Closed => Self::Closed,
            Self::Connect(fault) => Self::Connect(fault.clone()),
            Self::Execute { statement, source: EngineError::Postgres(fault) } => {
                Self::Execute { statement, source: EngineError::Postgres(fault.clone()) }
            }
            error => Self::Commit(error.to_string()),
        }
    }
}

/// What an engine says of a statement that it did not run.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    #[error(transparent)]
    Postgres(#[from] Fault),
}

/// A value of SQL as both engines know it.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Null,
    Int(i64),
    Real(f64),
    Text(String),
    Bytes(Vec<u8>),
}

macro_rules! value_from {
    ($($source:ty => |$v:ident| $make:expr;)+) => {$(
        impl From<$source> for Value {
            fn from($v: $source) -> Self {
                $make
            }
        }
    )+};
}

value_from! {
    i64 => |v| Self::Int(v);
    u32 => |v| Self::Int(v.into());
    f64 => |v| Self::Real(v);
    &str => |v| Self::Text(v.to_owned());
    String => |v| Self::Text(v);
    Vec<u8> => |v| Self::Bytes(v);
    crate::clock::Timestamp => |v| Self::Int(v.0);
    &crate::dicom::uid::StudyUid => |v| Self::Text(v.to_string());
    &crate::dicom::uid::SeriesUid => |v| Self::Text(v.to_string());
    &crate::dicom::uid::SopInstanceUid => |v| Self::Text(v.to_string());
    &crate::dicom::uid::SopClassUid => |v| Self::Text(v.to_string());
    &crate::dicom::uid::TransferSyntaxUid => |v| Self::Text(v.to_string());
    &crate::dicom::uid::TransactionUid => |v| Self::Text(v.to_string());
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// SQL with its name (for errors and metrics) and its values; `$1 … $n` first appear in
/// ascending order.
#[derive(Debug, Clone)]
pub struct Statement {
    name: &'static str,
    sql: Cow<'static, str>,
    /// Where the dialects part: the text for PostgreSQL.
    sql_of_postgres: Option<Cow<'static, str>>,
    values: Vec<Value>,
    /// A row of the audit trail, which the writer completes.
    is_chained: bool,
}

impl Statement {
    pub fn named(name: &'static str, sql: impl Into<Cow<'static, str>>) -> Self {
        Self { name, sql: sql.into(), sql_of_postgres: None, values: Vec::new(), is_chained: false }
    }

    /// One that lacks the sequence, its first value, and the hash, its last.
    fn chained(name: &'static str, sql: &'static str) -> Self {
        Self { is_chained: true, ..Self::named(name, sql) }
    }

    /// The same for PostgreSQL, where one text does not serve both.
    fn or_on_postgres(self, sql: &'static str) -> Self {
        Self { sql_of_postgres: Some(sql.into()), ..self }
    }

    fn sql_of_postgres(&self) -> &str {
        self.sql_of_postgres.as_ref().unwrap_or(&self.sql)
    }

    pub fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    /// Five values: the groups of a name, its words and its sounds.
    fn bind_names(self, keys: &NameKeys) -> Self {
        let [alphabetic, ideographic, phonetic] = keys.groups();
        self.bind(alphabetic)
            .bind(ideographic)
            .bind(phonetic)
            .bind(keys.words.as_str())
            .bind(keys.sounds.as_str())
    }
}

/// What a step of a batch must do for the batch to stand.
#[derive(Debug, Clone, Copy)]
enum Expect {
    Anything,
    Rows(usize),
}

impl Expect {
    fn check(self, statement: &'static str, effect: Effect) -> Result<Effect, DbError> {
        match self {
            Self::Rows(wanted) if effect.affected != wanted => {
                Err(DbError::Affected { statement, found: effect.affected, wanted })
            }
            Self::Rows(_) | Self::Anything => Ok(effect),
        }
    }
}

/// Statements that stand or fall together.
#[derive(Debug, Default)]
pub struct Batch {
    steps: Vec<(Statement, Expect)>,
}

impl Batch {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn then(mut self, statement: Statement) -> Self {
        self.push(statement);
        self
    }

    pub fn push(&mut self, statement: Statement) {
        self.steps.push((statement, Expect::Anything));
    }

    /// Of its first statement: what it is called in metrics.
    fn name(&self) -> &'static str {
        self.steps.first().map_or("nothing", |(statement, _)| statement.name)
    }

    /// The steps of `other` behind the own ones.
    pub fn append(&mut self, mut other: Self) {
        self.steps.append(&mut other.steps);
    }

    /// The steps that tell something to those who watch.
    fn tells(&self) -> Vec<usize> {
        let steps = self.steps.iter().enumerate();
        steps.filter(|(_, (statement, _))| statement.name == events::APPEND).map(|(at, _)| at).collect()
    }

    /// Whether a row of it has a number that readers resume by: those become visible in their order.
    fn is_ordered(&self) -> bool {
        self.steps.iter().any(|(statement, _)| {
            statement.is_chained
                || ["insert into change", "insert into event"]
                    .iter()
                    .any(|table| statement.sql.starts_with(table))
        })
    }

    /// The batch fails unless the statement changes exactly `rows` rows.
    pub fn then_exactly(mut self, rows: usize, statement: Statement) -> Self {
        self.steps.push((statement, Expect::Rows(rows)));
        self
    }
}

/// What one step did: rows changed, and rows returned by a `returning` clause.
#[derive(Debug)]
pub struct Effect {
    pub affected: usize,
    pub rows: Vec<Row>,
}

/// One row of an answer, columns by position.
#[derive(Debug, Clone)]
pub struct Row {
    statement: &'static str,
    values: Vec<Value>,
}

impl Row {
    pub fn text(&self, column: usize) -> Result<&str, DbError> {
        self.opt_text(column)?.ok_or_else(|| self.mismatch(column, "text"))
    }

    pub fn opt_text(&self, column: usize) -> Result<Option<&str>, DbError> {
        match self.values.get(column) {
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(Value::Null) => Ok(None),
            _ => Err(self.mismatch(column, "text")),
        }
    }

    /// The text itself, which the row has no more.
    pub fn take_text(&mut self, column: usize) -> Result<String, DbError> {
        match self.values.get_mut(column) {
            Some(Value::Text(text)) => Ok(std::mem::take(text)),
            _ => Err(self.mismatch(column, "text")),
        }
    }

    pub fn int(&self, column: usize) -> Result<i64, DbError> {
        self.opt_int(column)?.ok_or_else(|| self.mismatch(column, "an integer"))
    }

    pub fn opt_int(&self, column: usize) -> Result<Option<i64>, DbError> {
        match self.values.get(column) {
            Some(Value::Int(int)) => Ok(Some(*int)),
            Some(Value::Null) => Ok(None),
            _ => Err(self.mismatch(column, "an integer")),
        }
    }

    pub fn real(&self, column: usize) -> Result<f64, DbError> {
        match self.values.get(column) {
            Some(Value::Real(real)) => Ok(*real),
            _ => Err(self.mismatch(column, "a number")),
        }
    }

    pub fn bytes(&self, column: usize) -> Result<&[u8], DbError> {
        self.opt_bytes(column)?.ok_or_else(|| self.mismatch(column, "bytes"))
    }

    pub fn opt_bytes(&self, column: usize) -> Result<Option<&[u8]>, DbError> {
        match self.values.get(column) {
            Some(Value::Bytes(bytes)) => Ok(Some(bytes)),
            Some(Value::Null) => Ok(None),
            _ => Err(self.mismatch(column, "bytes")),
        }
    }

    /// The last so many columns.
    fn last(&self, columns: usize) -> Option<&[Value]> {
        self.values.get(self.values.len().checked_sub(columns)?..)
    }

    /// A column parsed into its type, the error located.
    pub fn parse<T: std::str::FromStr>(&self, column: usize, wanted: &'static str) -> Result<T, DbError> {
        self.text(column)?.parse().map_err(|_| self.mismatch(column, wanted))
    }

    fn mismatch(&self, column: usize, wanted: &'static str) -> DbError {
        DbError::Column { statement: self.statement, column, wanted }
    }
}

/// The database in use.
#[derive(Clone)]
pub enum Db {
    Sqlite(sqlite::Sqlite),
    Postgres(postgres::Postgres),
    #[cfg(test)]
    Faulty(std::sync::Arc<testing::faults::Faulty>),
}

impl Db {
    /// Opens or creates the SQLite index at `path` and brings its schema up to date.
    pub fn open_sqlite(path: &Path, settings: SqliteSettings) -> Result<Self, DbError> {
        sqlite::Sqlite::open(path, settings).map(Self::Sqlite)
    }

    /// Connects to PostgreSQL and brings its schema up to date. Blocks its thread.
    pub fn open_postgres(settings: PostgresSettings) -> Result<Self, DbError> {
        postgres::Postgres::open(settings).map(Self::Postgres)
    }

    /// Whether other instances of the server work with it too.
    pub fn is_shared(&self) -> bool {
        match self {
            Self::Sqlite(_) => false,
            Self::Postgres(_) => true,
            #[cfg(test)]
            Self::Faulty(faulty) => faulty.inner().is_shared(),
        }
    }

    /// Woken by every commit of this process that told something (`events::append`); an engine that
    /// several processes share passes on what it hears of the others here.
    pub fn told(&self) -> std::sync::Arc<tokio::sync::Notify> {
        match self {
            Self::Sqlite(sqlite) => sqlite.told(),
            Self::Postgres(postgres) => postgres.told(),
            #[cfg(test)]
            Self::Faulty(faulty) => faulty.inner().told(),
        }
    }

    /// Opens an index that another process may be writing; its schema stays as it is.
    pub fn open_sqlite_beside(path: &Path) -> Result<Self, DbError> {
        sqlite::Sqlite::open_beside(path).map(Self::Sqlite)
    }

    /// Opens or creates an index that is filled with the rows of another one: no trigger adds to them.
    pub fn open_sqlite_to_fill(path: &Path, settings: SqliteSettings) -> Result<Self, DbError> {
        sqlite::Sqlite::open_to_fill(path, settings).map(Self::Sqlite)
    }

    /// As [`Db::open_sqlite_beside`]. Blocks its thread.
    pub fn open_postgres_beside(settings: PostgresSettings) -> Result<Self, DbError> {
        postgres::Postgres::open_beside(settings).map(Self::Postgres)
    }

    /// One moment of the index in a file that is not there yet, while others write.
    pub async fn copy_to(&self, path: &Path) -> Result<(), DbError> {
        match self {
            Self::Sqlite(sqlite) => sqlite.copy_to(path).await,
            Self::Postgres(_) => Err(DbError::NotAFile),
            #[cfg(test)]
            Self::Faulty(faulty) => Box::pin(faulty.inner().copy_to(path)).await,
        }
    }

    /// The newest schema that this program knows.
    pub fn newest_schema() -> u32 {
        sqlite::newest_schema()
    }

    /// Runs a batch; when this returns `Ok` the batch survives a power cut.
    pub async fn run(&self, batch: Batch) -> Result<Vec<Effect>, DbError> {
        let _timed = timed("run", batch.name());
        match self {
            Self::Sqlite(sqlite) => sqlite.run(batch).await,
            Self::Postgres(postgres) => postgres.run(batch).await,
            #[cfg(test)]
            Self::Faulty(faulty) => faulty.run(batch).await,
        }
    }

    /// As [`Db::run`], from a thread that may block: it is spared the change to another one.
    pub async fn run_here(&self, batch: Batch) -> Result<Vec<Effect>, DbError> {
        let _timed = timed("run", batch.name());
        match self {
            Self::Sqlite(sqlite) => sqlite.run_here(batch).await,
            Self::Postgres(postgres) => postgres.run(batch).await,
            #[cfg(test)]
            Self::Faulty(faulty) => faulty.run(batch).await,
        }
    }

    /// Some hundred rows at most, found by a key: read on the thread of the caller, which takes
    /// less time than to wake another.
    pub async fn look_up(&self, statement: Statement) -> Result<Vec<Row>, DbError> {
        let _timed = timed("look-up", statement.name);
        match self {
            Self::Sqlite(sqlite) => sqlite.look_up(statement).await,
            Self::Postgres(postgres) => postgres.read(statement).await,
            #[cfg(test)]
            Self::Faulty(faulty) => faulty.read(statement).await,
        }
    }

    /// The row that a key finds.
    pub async fn look_up_one(&self, statement: Statement) -> Result<Option<Row>, DbError> {
        Ok(self.look_up(statement).await?.into_iter().next())
    }

    /// Rows found by a key.
    pub async fn read(&self, statement: Statement) -> Result<Vec<Row>, DbError> {
        let _timed = timed("read", statement.name);
        match self {
            Self::Sqlite(sqlite) => sqlite.read(statement, Extent::Keyed).await,
            Self::Postgres(postgres) => postgres.read(statement).await,
            #[cfg(test)]
            Self::Faulty(faulty) => faulty.read(statement).await,
        }
    }

    /// For statements that may look through much of the index: however many there are, they leave
    /// a reader to [`Db::read`].
    pub async fn search(&self, statement: Statement) -> Result<Vec<Row>, DbError> {
        let _timed = timed("search", statement.name);
        match self {
            Self::Sqlite(sqlite) => sqlite.read(statement, Extent::Search).await,
            Self::Postgres(postgres) => postgres.search(statement).await,
            #[cfg(test)]
            Self::Faulty(faulty) => faulty.read(statement).await,
        }
    }

    /// The first row of an answer.
    pub async fn read_one(&self, statement: Statement) -> Result<Option<Row>, DbError> {
        Ok(self.read(statement).await?.into_iter().next())
    }
}

/// From the wish to the rows, the time in queues included.
fn timed(operation: &'static str, statement: &'static str) -> Timed {
    Timed::by(metrics::histogram!(metric::SECONDS, "operation" => operation, "statement" => statement))
}

#[derive(Debug, Clone, Copy)]
pub struct SqliteSettings {
    pub readers: usize,
    /// Batches committed with one sync at most.
    pub group_max: usize,
}
