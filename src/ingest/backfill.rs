//! Fills what the index derives from attributes in rows that an earlier version wrote.

use serde_json::{Map, Value};

use super::rows;
use crate::db::{Batch, Db, DbError, derived};
use crate::dicom::packed;
use crate::dicom::person_name::NameKeys;

/// Brings every row up to date, page by page, and says how many there were. Interrupted, it goes on
/// where it stopped.
pub async fn backfill(db: &Db) -> Result<usize, DbError> {
    Ok(patients(db).await? + studies(db).await? + series(db).await?)
}

async fn patients(db: &Db) -> Result<usize, DbError> {
    let mut filled = 0;
    loop {
        let stale = derived::stale_patients(db).await?;
        if stale.is_empty() {
            return Ok(filled);
        }
        filled += stale.len();
        let mut batch = Batch::new();
        for patient in &stale {
            derived::patient(&mut batch, patient.row, &NameKeys::of(&patient.name));
        }
        db.run(batch).await?;
    }
}

async fn studies(db: &Db) -> Result<usize, DbError> {
    let mut filled = 0;
    loop {
        let stale = derived::stale_studies(db).await?;
        if stale.is_empty() {
            return Ok(filled);
        }
        filled += stale.len();
        let mut batch = Batch::new();
        for study in &stale {
            let metadata = study.metadata.as_deref().and_then(readable);
            let attributes = metadata.and_then(|metadata| rows::study_attributes(&metadata).ok());
            derived::study(
                &mut batch,
                study.row,
                &NameKeys::of(&study.referring_physician),
                attributes.as_ref(),
            );
        }
        db.run(batch).await?;
    }
}

async fn series(db: &Db) -> Result<usize, DbError> {
    let mut filled = 0;
    loop {
        let stale = derived::stale_series(db).await?;
        if stale.is_empty() {
            return Ok(filled);
        }
        filled += stale.len();
        let mut batch = Batch::new();
        for series in &stale {
            let metadata = series.metadata.as_deref().and_then(readable);
            let attributes = metadata.and_then(|metadata| rows::series_attributes(&metadata).ok());
            derived::series(&mut batch, series.row, &series.series, attributes.as_ref());
        }
        db.run(batch).await?;
    }
}

/// Metadata that cannot be read leaves the columns as they are.
fn readable(stored: &[u8]) -> Option<Map<String, Value>> {
    serde_json::from_slice(&packed::unpack(stored).ok()?).ok()
}
