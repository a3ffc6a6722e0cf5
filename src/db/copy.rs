//! A copy of the index in a file of its own, as a backup has it: read, and never changed.

use std::path::Path;

use super::integrity::{self, Held, Range};
use super::sqlite::Copied;
use super::{DbError, Row, Statement, deletions};
use crate::blobs::BlobKey;

/// The index as it was at one moment.
pub struct IndexCopy(Copied);

/// What is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Counts {
    pub studies: u64,
    pub series: u64,
    pub instances: u64,
    /// Deleted instances that can be restored.
    pub kept: u64,
}

impl IndexCopy {
    /// The file stays bit by bit what it is. Blocking, as everything else here.
    pub fn open(path: &Path) -> Result<Self, DbError> {
        Copied::open(path).map(Self)
    }

    /// Which migration it has come to.
    pub fn schema_version(&self) -> Result<u32, DbError> {
        let sql = "select max(version) from refinery_schema_history";
        let version = self.first(Statement::named("schema_version", sql))?.int(0)?;
        Ok(u32::try_from(version).unwrap_or(u32::MAX))
    }

    pub fn counts(&self) -> Result<Counts, DbError> {
        let row = self.first(Statement::named(
            "counts_of_copy",
            "select (select count(*) from study), (select count(*) from series),
                (select count(*) from instance),
                (select count(*) from deleted_instance where state = 'kept')",
        ))?;
        let count = |column| Ok::<_, DbError>(row.int(column)?.unsigned_abs());
        Ok(Counts { studies: count(0)?, series: count(1)?, instances: count(2)?, kept: count(3)? })
    }

    /// As [`integrity::held`].
    pub fn held(&self, after: i64) -> Result<Vec<Held>, DbError> {
        integrity::as_held(&self.0.read(&integrity::select_held(&Range::default(), after))?)
    }

    /// As [`deletions::kept_objects`].
    pub fn kept(&self, after: i64) -> Result<Vec<deletions::KeptObject>, DbError> {
        deletions::as_kept_objects(&self.0.read(&deletions::select_kept_objects(after))?)
    }

    /// As [`super::instances::is_referenced`].
    pub fn refers_to(&self, key: &BlobKey) -> Result<bool, DbError> {
        Ok(!self.0.read(&super::instances::select_referenced(key))?.is_empty())
    }

    fn first(&self, statement: Statement) -> Result<Row, DbError> {
        let wanted = DbError::Column { statement: statement.name, column: 0, wanted: "a row" };
        self.0.read(&statement)?.into_iter().next().ok_or(wanted)
    }
}
