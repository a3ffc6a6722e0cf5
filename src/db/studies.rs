//! What the trigger of analyses needs to know of a study.

use super::{Db, DbError, Row, Statement};
use crate::dicom::uid::{SeriesUid, SopClassUid, SopInstanceUid, StudyUid};

/// One instance with what rules and guards look at.
#[derive(Debug, Clone)]
pub struct Member {
    pub series: SeriesUid,
    pub sop_instance: SopInstanceUid,
    pub sop_class: SopClassUid,
    pub dataset_sha256: Vec<u8>,
    pub modality: String,
    pub body_part: String,
    pub series_description: String,
    pub study_description: String,
    pub patient_name: String,
    pub source: String,
    pub calling_aet: String,
    pub rows: i64,
}

/// Every instance of a study, by SOP Instance UID.
pub async fn members(db: &Db, study: &StudyUid) -> Result<Vec<Member>, DbError> {
    let statement = Statement::named(
        "study_members",
        "select series.series_uid, instance.sop_instance_uid, instance.sop_class_uid, instance.dataset_sha256,
            series.modality, series.body_part, series.description, study.description, patient.name,
            instance.source, instance.source_aet, coalesce(instance.rows, 0)
         from study join instance on instance.study = study.id
            join series on series.id = instance.series
            join patient on patient.id = study.patient
         where study.study_uid = $1 order by instance.sop_instance_uid",
    );
    db.read(statement.bind(study)).await?.iter().map(member).collect()
}

fn member(row: &Row) -> Result<Member, DbError> {
    let text = |column| row.text(column).map(str::to_owned);
    Ok(Member {
        series: row.parse(0, "a Series Instance UID")?,
        sop_instance: row.parse(1, "a SOP Instance UID")?,
        sop_class: row.parse(2, "a SOP Class UID")?,
        dataset_sha256: row.bytes(3)?.to_vec(),
        modality: text(4)?,
        body_part: text(5)?,
        series_description: text(6)?,
        study_description: text(7)?,
        patient_name: text(8)?,
        source: text(9)?,
        calling_aet: text(10)?,
        rows: row.int(11)?,
    })
}
