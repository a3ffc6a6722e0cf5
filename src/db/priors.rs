//! Earlier studies of a patient, for comparison.

use super::{Db, DbError, Statement};
use crate::dicom::uid::StudyUid;

/// Studies that are looked at before none is found.
const STUDIES_MAX: i64 = 16;

/// Before a study, of its patient, with a series of one of these modalities, not before a day (VR DA);
/// the last one first. Whoever sees the study must see what it is compared with: an earlier study that
/// its owner groups do not see is none.
pub async fn before(
    db: &Db,
    study: &StudyUid,
    modalities: &[&str],
    earliest: &str,
) -> Result<Vec<StudyUid>, DbError> {
    let places: Vec<String> = (3..3 + modalities.len()).map(|place| format!("${place}")).collect();
    let sql = format!(
        "select prior.study_uid from study here join study prior on prior.patient = here.patient
         where here.study_uid = $1 and prior.study_uid <> $1
            and prior.study_date >= $2 and prior.study_date <> '' and here.study_date <> ''
            and prior.study_date || prior.study_time < here.study_date || here.study_time
            and exists (select 1 from series where series.study = prior.id and series.modality in ({}))
            and not exists (select 1 from study_group mine where mine.study_uid = here.study_uid
                and not exists (select 1 from study_group its where its.study_uid = prior.study_uid
                    and its.owner_group = mine.owner_group))
            and (exists (select 1 from study_group mine where mine.study_uid = here.study_uid)
                or not exists (select 1 from study_group its where its.study_uid = prior.study_uid))
         order by prior.study_date desc, prior.study_time desc, prior.id desc limit ${}",
        places.join(", "),
        3 + modalities.len()
    );
    let statement = Statement::named("priors", sql).bind(study).bind(earliest);
    let statement = modalities.iter().fold(statement, |statement, modality| statement.bind(*modality));
    db.read(statement.bind(STUDIES_MAX))
        .await?
        .iter()
        .map(|row| row.parse(0, "a Study Instance UID"))
        .collect()
}

/// What the newest signed report of a study says, JSON.
pub async fn signed_report(db: &Db, study: &StudyUid) -> Result<Option<Vec<u8>>, DbError> {
    const SQL: &str =
        "select version.content from report join report_version version on version.report = report.id
         where report.study_uid = $1 and version.signer_name is not null and version.superseded_by is null
         order by version.at desc, version.version desc limit 1";
    let row = db.read_one(Statement::named("signed_report_of_study", SQL).bind(study)).await?;
    row.map(|row| row.bytes(0).map(<[u8]>::to_vec)).transpose()
}
