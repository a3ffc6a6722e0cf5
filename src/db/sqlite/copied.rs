//! The whole index in another file: made beside those who write, and read without a trace.

use std::fs::File;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::{connect, execute};
use crate::db::{DbError, Row, Statement};

/// One moment of the index at `from`, compact and synced; `to` is not there yet. Blocking.
pub(super) fn copy(from: &Path, to: &Path) -> Result<(), DbError> {
    let open = |source| DbError::Open { path: from.display().to_string(), source };
    let connection = connect(from, OpenFlags::default()).map_err(open)?;
    let failed =
        |source: rusqlite::Error| DbError::Execute { statement: "vacuum_into", source: source.into() };
    connection.execute("vacuum into $1", [to.to_string_lossy()]).map_err(failed)?;
    let synced = File::open(to).and_then(|file| file.sync_all());
    synced.map_err(|error| DbError::Commit(error.to_string()))
}

/// A file that nobody writes.
pub(in crate::db) struct Copied(Connection);

impl Copied {
    pub(in crate::db) fn open(path: &Path) -> Result<Self, DbError> {
        let open = |source| DbError::Open { path: path.display().to_string(), source };
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).map(Self).map_err(open)
    }

    pub(in crate::db) fn read(&self, statement: &Statement) -> Result<Vec<Row>, DbError> {
        execute(&self.0, statement).map(|effect| effect.rows)
    }
}
