//! Columns that are computed from attributes, filled in rows that are older than they.

use super::instances::{DERIVATION, SeriesAttributes, StudyAttributes, insert_requests};
use super::{Batch, Db, DbError, Row, Statement};
use crate::dicom::person_name::NameKeys;
use crate::dicom::uid::SeriesUid;

/// Rows read and written at once.
const PAGE: i64 = 64;

/// A row and the name that its keys come from.
pub struct StaleName {
    pub row: i64,
    pub name: String,
}

pub struct StaleStudy {
    pub row: i64,
    pub referring_physician: String,
    /// Of its first instance, DICOM JSON, zstd.
    pub metadata: Option<Vec<u8>>,
}

pub struct StaleSeries {
    pub row: i64,
    pub series: SeriesUid,
    /// Of its first instance, DICOM JSON, zstd.
    pub metadata: Option<Vec<u8>>,
}

pub async fn stale_patients(db: &Db) -> Result<Vec<StaleName>, DbError> {
    let sql = "select id, name from patient where derived = 0 order by id limit $1";
    let rows = db.read(Statement::named("stale_patients", sql).bind(PAGE)).await?;
    rows.iter().map(|row| Ok(StaleName { row: row.int(0)?, name: row.text(1)?.to_owned() })).collect()
}

pub async fn stale_studies(db: &Db) -> Result<Vec<StaleStudy>, DbError> {
    let sql = "select id, referring_physician, (select metadata from instance
                 where instance.study = study.id order by instance.id limit 1)
               from study where derived = 0 order by id limit $1";
    let rows = db.read(Statement::named("stale_studies", sql).bind(PAGE)).await?;
    rows.iter().map(stale_study).collect()
}

pub async fn stale_series(db: &Db) -> Result<Vec<StaleSeries>, DbError> {
    let sql = "select id, series_uid, (select metadata from instance
                 where instance.series = series.id order by instance.id limit 1)
               from series where derived = 0 order by id limit $1";
    let rows = db.read(Statement::named("stale_series", sql).bind(PAGE)).await?;
    rows.iter().map(stale_one_series).collect()
}

fn stale_study(row: &Row) -> Result<StaleStudy, DbError> {
    let metadata = row.opt_bytes(2)?.map(<[u8]>::to_vec);
    Ok(StaleStudy { row: row.int(0)?, referring_physician: row.text(1)?.to_owned(), metadata })
}

fn stale_one_series(row: &Row) -> Result<StaleSeries, DbError> {
    let metadata = row.opt_bytes(2)?.map(<[u8]>::to_vec);
    Ok(StaleSeries { row: row.int(0)?, series: row.parse(1, "a Series Instance UID")?, metadata })
}

pub fn patient(batch: &mut Batch, row: i64, keys: &NameKeys) {
    let statement = Statement::named(
        "derive_patient",
        "update patient set name_folded = $1, name_ideographic = $2, name_phonetic = $3, name_words = $4,
            name_sounds = $5, derived = $6 where id = $7",
    );
    batch.push(statement.bind_names(keys).bind(DERIVATION).bind(row));
}

/// Without attributes those that are there stay.
pub fn study(batch: &mut Batch, row: i64, referring: &NameKeys, attributes: Option<&StudyAttributes>) {
    let statement = Statement::named(
        "derive_study",
        "update study set referring_folded = $1, referring_ideographic = $2, referring_phonetic = $3,
            referring_words = $4, referring_sounds = $5, derived = $6,
            attributes = coalesce($7, attributes), timezone_offset = coalesce($8, timezone_offset)
         where id = $9",
    );
    let statement = statement
        .bind_names(referring)
        .bind(DERIVATION)
        .bind(attributes.map(|attributes| attributes.json.clone()))
        .bind(attributes.map(|attributes| attributes.timezone_offset.as_str()));
    batch.push(statement.bind(row));
}

/// Without attributes those that are there stay.
pub fn series(batch: &mut Batch, row: i64, uid: &SeriesUid, attributes: Option<&SeriesAttributes>) {
    let statement = Statement::named(
        "derive_series",
        "update series set derived = $1, attributes = coalesce($2, attributes),
            request_attributes = coalesce($3, request_attributes) where id = $4",
    );
    let statement = statement
        .bind(DERIVATION)
        .bind(attributes.map(|attributes| attributes.json.clone()))
        .bind(attributes.map(|attributes| attributes.request.as_str()));
    batch.push(statement.bind(row));
    if let Some(attributes) = attributes {
        insert_requests(batch, uid, attributes);
    }
}
