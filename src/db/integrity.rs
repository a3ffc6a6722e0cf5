//! What is known of the bytes of instances, to compare them with what is stored.

use super::{Db, DbError, Row, Statement, Value};
use crate::blobs::BlobKey;
use crate::clock::Timestamp;
use crate::dicom::uid::{SopInstanceUid, StudyUid};
use crate::query::integrity::Recorded;

const COLUMNS: &str = "study.study_uid, instance.sop_class_uid, instance.blob_key, instance.size_bytes,
    instance.sha256, instance.layout";

/// What the index says of an instance, wherever in the archive it is.
pub async fn recorded(db: &Db, instance: &SopInstanceUid) -> Result<Option<Recorded>, DbError> {
    let sql = format!(
        "select {COLUMNS} from instance join study on study.id = instance.study
         where instance.sop_instance_uid = $1"
    );
    let row = db.look_up_one(Statement::named("recorded_object", sql).bind(instance)).await?;
    row.map(|row| read(&row)).transpose()
}

fn read(row: &Row) -> Result<Recorded, DbError> {
    Ok(Recorded {
        study: row.parse(0, "a Study Instance UID")?,
        sop_class: row.parse(1, "a SOP Class UID")?,
        blob_key: BlobKey::from_index(row.text(2)?),
        size_bytes: row.int(3)?.unsigned_abs(),
        sha256: row.bytes(4)?.to_vec(),
        layout: row.bytes(5)?.to_vec(),
    })
}

/// Which instances are meant.
#[derive(Debug, Clone, Default)]
pub struct Range {
    pub study: Option<StudyUid>,
    /// Those that came at this time or later.
    pub since: Option<Timestamp>,
}

impl Range {
    pub fn is_everything(&self) -> bool {
        self.study.is_none() && self.since.is_none()
    }

    fn condition(&self, values: &mut Vec<Value>) -> String {
        let mut condition = String::new();
        if let Some(study) = &self.study {
            values.push(study.into());
            condition.push_str(&format!(" and study.study_uid = ${}", values.len()));
        }
        if let Some(since) = self.since {
            values.push(since.into());
            condition.push_str(&format!(" and instance.created_at >= ${}", values.len()));
        }
        condition
    }
}

/// An instance of a range.
#[derive(Debug, Clone)]
pub struct Held {
    pub row: i64,
    pub sop_instance: SopInstanceUid,
    pub recorded: Recorded,
}

/// Rows of one page; a range of any size takes this much memory.
const PAGE: i64 = 100;

/// The instances of a range behind the row `after`, in the order of arrival.
pub async fn held(db: &Db, range: &Range, after: i64) -> Result<Vec<Held>, DbError> {
    as_held(&db.search(select_held(range, after)).await?)
}

pub(super) fn select_held(range: &Range, after: i64) -> Statement {
    let mut values = vec![Value::Int(after)];
    let condition = range.condition(&mut values);
    values.push(PAGE.into());
    let sql = format!(
        "select {COLUMNS}, instance.id, instance.sop_instance_uid
         from instance join study on study.id = instance.study
         where instance.id > $1{condition} order by instance.id limit ${}",
        values.len()
    );
    values.into_iter().fold(Statement::named("held_objects", sql), Statement::bind)
}

pub(super) fn as_held(rows: &[Row]) -> Result<Vec<Held>, DbError> {
    rows.iter().map(one).collect()
}

fn one(row: &Row) -> Result<Held, DbError> {
    Ok(Held { recorded: read(row)?, row: row.int(6)?, sop_instance: row.parse(7, "a SOP Instance UID")? })
}

/// A file that instances of the server pass on among the objects: of an upload or a download.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassedOn {
    pub key: BlobKey,
    pub size_bytes: u64,
}

/// Those behind a key, in the order of their keys.
pub async fn passed_on(db: &Db, after: &str) -> Result<Vec<PassedOn>, DbError> {
    let sql = "select blob_key, length_bytes from upload_part where blob_key > $1
        union all select blob_key, size_bytes from download where blob_key > $1 order by 1 limit $2";
    let rows = db.search(Statement::named("passed_on_objects", sql).bind(after).bind(PAGE)).await?;
    let one = |row: &Row| {
        Ok(PassedOn { key: BlobKey::from_index(row.text(0)?), size_bytes: row.int(1)?.unsigned_abs() })
    };
    rows.iter().map(one).collect()
}

/// How many instances a range has, and their bytes.
pub async fn extent(db: &Db, range: &Range, after: i64) -> Result<(u64, u64), DbError> {
    let mut values = vec![Value::Int(after)];
    let condition = range.condition(&mut values);
    let sql = format!(
        "select count(*), cast(coalesce(sum(instance.size_bytes), 0) as bigint)
         from instance join study on study.id = instance.study where instance.id > $1{condition}"
    );
    let statement = values.into_iter().fold(Statement::named("extent_of_objects", sql), Statement::bind);
    let rows = db.search(statement).await?;
    rows.first().map_or(Ok((0, 0)), |row| Ok((row.int(0)?.unsigned_abs(), row.int(1)?.unsigned_abs())))
}
