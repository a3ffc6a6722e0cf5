//! What a retrieval reads, page by page in the order of arrival.

mod selection;

use crate::db::{Db, DbError, Row, Statement, Value, groups};
use crate::query::Scope;
use crate::query::retrieve::{Held, StoredInstance, StoredMetadata};

pub use selection::{count, portion, studies_of};

/// Rows of one page; a study of any size takes this much memory.
const PAGE: i64 = 100;

/// The instances of a scope behind the row `after`.
pub async fn instances(db: &Db, scope: &Scope, after: i64) -> Result<Vec<StoredInstance>, DbError> {
    if is_past(scope, after) {
        return Ok(Vec::new());
    }
    let rows = db.look_up(page("retrieve_instances", STORED_INSTANCE, scope, after)).await?;
    rows.iter().map(stored_instance).collect()
}

/// Their metadata.
pub async fn metadata(db: &Db, scope: &Scope, after: i64) -> Result<Vec<StoredMetadata>, DbError> {
    if is_past(scope, after) {
        return Ok(Vec::new());
    }
    const COLUMNS: &str = "instance.id, series.series_uid, instance.sop_instance_uid, instance.metadata";
    let rows = db.look_up(page("retrieve_metadata", COLUMNS, scope, after)).await?;
    rows.iter().map(stored_metadata).collect()
}

/// Behind the only instance of a scope there is none.
fn is_past(scope: &Scope, after: i64) -> bool {
    after > 0 && scope.instance().is_some()
}

/// What a scope holds; `None` when nothing of it is stored. A series of another study is not found.
pub async fn held(db: &Db, scope: &Scope) -> Result<Option<Held>, DbError> {
    let statement = match scope {
        Scope::Study(study) => Statement::named(
            "held_by_study",
            "select study.instance_count, study.id, study.created_at, coalesce(study_version.version, 0)
             from study left join study_version on study_version.study = study.id
             where study.study_uid = $1",
        )
        .bind(study),
        Scope::Released(study) => Statement::named("held_released", held_released()).bind(study),
        Scope::Series(study, series) => Statement::named(
            "held_by_series",
            "select series.instance_count, series.id, series.created_at, coalesce(series_version.version, 0)
             from series join study on study.id = series.study
                left join series_version on series_version.series = series.id
             where series.series_uid = $1 and study.study_uid = $2",
        )
        .bind(series)
        .bind(study),
        Scope::Instance(study, series, instance) => Statement::named(
            "held_by_instance",
            "select 1, instance.sha256
             from instance join series on series.id = instance.series join study on study.id = instance.study
             where instance.sop_instance_uid = $1 and series.series_uid = $2 and study.study_uid = $3",
        )
        .bind(instance)
        .bind(series)
        .bind(study),
    };
    let row = db.look_up_one(statement).await?;
    let held = row.map(|row| read_held(scope, &row)).transpose()?;
    Ok(held.filter(|held| held.instances > 0))
}

fn held_released() -> String {
    let released = groups::is_released("series.series_uid");
    format!(
        "select (select count(*) from instance join series on series.id = instance.series
                where instance.study = study.id and {released}),
            study.id, study.created_at, coalesce(study_version.version, 0)
         from study left join study_version on study_version.study = study.id
         where study.study_uid = $1"
    )
}

/// A number alone would come again after the study was removed and sent anew.
fn read_held(scope: &Scope, row: &Row) -> Result<Held, DbError> {
    let instances = row.int(0)?.unsigned_abs();
    let version = match scope {
        Scope::Instance(..) => row.bytes(1)?.to_vec(),
        Scope::Study(_) | Scope::Series(..) => {
            format!("{} {} {}", row.int(1)?, row.int(2)?, row.int(3)?).into_bytes()
        }
        Scope::Released(_) => {
            format!("released {} {} {}", row.int(1)?, row.int(2)?, row.int(3)?).into_bytes()
        }
    };
    Ok(Held { instances, version })
}

/// Which rows of the first page have an image.
pub async fn with_rows(db: &Db, scope: &Scope) -> Result<Vec<i64>, DbError> {
    let mut values = Vec::new();
    let clause = scope_clause(scope, &mut values);
    values.push(Value::Int(PAGE));
    let sql = format!(
        "select instance.id, instance.rows from {FROM} where {clause} order by instance.id limit ${}",
        values.len()
    );
    let rows = db.look_up(bind(Statement::named("retrieve_images", sql), values)).await?;
    let has_rows = |row: &Row| row.opt_int(1)?.map(|_| row.int(0)).transpose();
    rows.iter().filter_map(|row| has_rows(row).transpose()).collect()
}

/// The frame and bulk-data table of an instance, as ingest wrote it; none when the instance has been
/// deleted or replaced meanwhile. Its row may then be that of another object: only together with
/// the key of the bytes is it the one that was found.
pub async fn layout(db: &Db, instance: &StoredInstance) -> Result<Option<Vec<u8>>, DbError> {
    let sql = "select layout from instance where id = $1 and blob_key = $2";
    of_instance(db, Statement::named("retrieve_layout", sql), instance).await
}

/// The metadata of an instance: DICOM JSON, zstd; none as for its layout.
pub async fn metadata_of(db: &Db, instance: &StoredInstance) -> Result<Option<Vec<u8>>, DbError> {
    let sql = "select metadata from instance where id = $1 and blob_key = $2";
    of_instance(db, Statement::named("retrieve_metadata_of", sql), instance).await
}

async fn of_instance(
    db: &Db,
    statement: Statement,
    instance: &StoredInstance,
) -> Result<Option<Vec<u8>>, DbError> {
    let statement = statement.bind(instance.row).bind(instance.blob_key.as_str());
    let row = db.look_up_one(statement).await?;
    row.map(|row| row.bytes(0).map(<[u8]>::to_vec)).transpose()
}

/// One chunk of a frame table that is kept apart; none when there is no such chunk, and as for the
/// layout.
pub async fn frame_chunk(
    db: &Db,
    instance: &StoredInstance,
    ordinal: u64,
) -> Result<Option<Vec<u8>>, DbError> {
    let statement = Statement::named(
        "retrieve_frame_chunk",
        "select frame_chunk.spans from frame_chunk join instance on instance.id = frame_chunk.instance
         where instance.id = $1 and instance.blob_key = $2 and frame_chunk.ordinal = $3",
    );
    let statement = statement.bind(instance.row).bind(instance.blob_key.as_str());
    let statement = statement.bind(i64::try_from(ordinal).unwrap_or(i64::MAX));
    let row = db.read_one(statement).await?;
    row.map(|row| row.bytes(0).map(<[u8]>::to_vec)).transpose()
}

const FROM: &str =
    "instance join series on series.id = instance.series join study on study.id = instance.study";

fn page(name: &'static str, columns: &str, scope: &Scope, after: i64) -> Statement {
    let mut values = Vec::new();
    let clause = scope_clause(scope, &mut values);
    values.extend([Value::Int(after), Value::Int(PAGE)]);
    let (behind, limit) = (values.len() - 1, values.len());
    let sql = format!(
        "select {columns} from {FROM} where {clause} and instance.id > ${behind} order by instance.id limit ${limit}"
    );
    bind(Statement::named(name, sql), values)
}

fn bind(statement: Statement, values: Vec<Value>) -> Statement {
    values.into_iter().fold(statement, Statement::bind)
}

/// Every UID of the path counts: a series of another study is not found.
fn scope_clause(scope: &Scope, values: &mut Vec<Value>) -> String {
    values.push(scope.study().into());
    let mut clause = String::from("study.study_uid = $1");
    if matches!(scope, Scope::Released(_)) {
        clause = format!("{clause} and {}", groups::is_released("series.series_uid"));
    }
    if let Some(series) = scope.series() {
        values.push(series.into());
        clause.push_str(" and series.series_uid = $2");
    }
    if let Some(instance) = scope.instance() {
        values.push(instance.into());
        clause.push_str(" and instance.sop_instance_uid = $3");
    }
    clause
}

const STORED_INSTANCE: &str = "instance.id, study.study_uid, series.series_uid, instance.sop_instance_uid, \
                               instance.sop_class_uid, instance.transfer_syntax, instance.blob_key, \
                               instance.size_bytes, instance.sha256";

fn stored_instance(row: &Row) -> Result<StoredInstance, DbError> {
    Ok(StoredInstance {
        row: row.int(0)?,
        study: row.parse(1, "a Study Instance UID")?,
        series: row.parse(2, "a Series Instance UID")?,
        sop_instance: row.parse(3, "a SOP Instance UID")?,
        sop_class: row.parse(4, "a SOP Class UID")?,
        transfer_syntax: row.parse(5, "a Transfer Syntax UID")?,
        blob_key: row.text(6)?.to_owned(),
        size_bytes: row.int(7)?.unsigned_abs(),
        sha256: row.bytes(8)?.to_vec(),
    })
}

fn stored_metadata(row: &Row) -> Result<StoredMetadata, DbError> {
    Ok(StoredMetadata {
        row: row.int(0)?,
        series: row.parse(1, "a Series Instance UID")?,
        sop_instance: row.parse(2, "a SOP Instance UID")?,
        json: row.bytes(3)?.to_vec(),
    })
}
