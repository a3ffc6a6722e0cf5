//! One instance in the place of another with the same UID, in one batch.

use super::{InstanceRow, KnownInstance, OF_SERIES, bind_series, bind_study, insert, insert_requests};
use crate::clock::Timestamp;
use crate::db::{Batch, Statement, audit, holds};

/// The name of the guard that fails when the instance is no longer the one that was known.
pub const REMOVE_REPLACED: &str = "remove_replaced";

/// Takes the known instance out, with parents that it leaves empty, and puts `row` in. What the
/// new object says about its patient, study and series holds from now on.
pub fn replace(row: &InstanceRow, known: &KnownInstance, now: Timestamp) -> Batch {
    let mut batch = Batch::new()
        .then_exactly(1, remove_instance(known))
        .then_exactly(1, holds::require_free(&known.study, &row.identity.study))
        .then(uncount_in_series(known, now));
    let moved = (&row.identity.study, &row.identity.series) != (&known.study, &known.series);
    if moved {
        batch.push(remove_empty_series(known));
    }
    batch.push(recount_study(known, now));
    if row.identity.study != known.study {
        batch.push(remove_empty_study(known));
    }
    batch.append(insert(row, now));
    batch.push(refresh_patient(row, now));
    batch.push(refresh_study(row, now));
    batch.push(refresh_series(row, now));
    batch.push(remove_requests(row));
    insert_requests(&mut batch, &row.identity.series, &row.series.attributes);
    batch.push(summarize_series(row));
    batch.push(remove_empty_patient(known));
    batch.push(audit::replaced(row, now));
    batch
}

fn uncount_in_series(known: &KnownInstance, now: Timestamp) -> Statement {
    Statement::named(
        "uncount_in_series",
        "update series set instance_count = instance_count - 1, updated_at = $1 where series_uid = $2",
    )
    .bind(now)
    .bind(&known.series)
}

fn remove_instance(known: &KnownInstance) -> Statement {
    let sql = "delete from instance where sop_instance_uid = $1 and blob_key = $2";
    Statement::named(REMOVE_REPLACED, sql).bind(&known.instance).bind(known.blob_key.as_str())
}

fn remove_empty_series(known: &KnownInstance) -> Statement {
    Statement::named(
        "remove_empty_series",
        "delete from series where series_uid = $1
            and not exists (select 1 from instance where instance.series = series.id)",
    )
    .bind(&known.series)
}

fn recount_study(known: &KnownInstance, now: Timestamp) -> Statement {
    let sql = format!(
        "update study set instance_count = instance_count - 1, updated_at = $1, {OF_SERIES} where study_uid = $2"
    );
    Statement::named("recount_study", sql).bind(now).bind(&known.study)
}

/// The new object may have brought its series another modality.
fn summarize_series(row: &InstanceRow) -> Statement {
    let sql = format!("update study set {OF_SERIES} where study_uid = $1");
    Statement::named("summarize_series", sql).bind(&row.identity.study)
}

fn remove_requests(row: &InstanceRow) -> Statement {
    let sql = "delete from series_request where series = (select id from series where series_uid = $1)";
    Statement::named("remove_requests", sql).bind(&row.identity.series)
}

fn remove_empty_study(known: &KnownInstance) -> Statement {
    Statement::named(
        "remove_empty_study",
        "delete from study where study_uid = $1
            and not exists (select 1 from series where series.study = study.id)",
    )
    .bind(&known.study)
}

fn remove_empty_patient(known: &KnownInstance) -> Statement {
    Statement::named(
        "remove_empty_patient",
        "delete from patient where id = $1
            and not exists (select 1 from study where study.patient = patient.id)",
    )
    .bind(known.patient)
}

fn refresh_patient(row: &InstanceRow, now: Timestamp) -> Statement {
    let patient = &row.patient;
    Statement::named(
        "refresh_patient",
        "update patient set name = $1, name_folded = $2, name_ideographic = $3, name_phonetic = $4,
            name_words = $5, name_sounds = $6, birth_date = $7, sex = $8, updated_at = $9
         where issuer = $10 and patient_id = $11",
    )
    .bind(patient.name.as_str())
    .bind_names(&patient.keys)
    .bind(patient.birth_date.as_str())
    .bind(patient.sex.as_str())
    .bind(now)
    .bind(patient.issuer.as_str())
    .bind(patient.patient_id.as_str())
}

fn refresh_study(row: &InstanceRow, now: Timestamp) -> Statement {
    let refresh = Statement::named(
        "refresh_study",
        "update study set study_date = $1, study_time = $2, accession_number = $3, study_id = $4,
            description = $5, referring_physician = $6, referring_folded = $7,
            referring_ideographic = $8, referring_phonetic = $9, referring_words = $10,
            referring_sounds = $11, attributes = $12, timezone_offset = $13, derived = $14,
            search_words = $15, updated_at = $16,
            patient = (select id from patient where issuer = $17 and patient_id = $18)
         where study_uid = $19",
    );
    bind_study(refresh, row, now).bind(&row.identity.study)
}

fn refresh_series(row: &InstanceRow, now: Timestamp) -> Statement {
    let refresh = Statement::named(
        "refresh_series",
        "update series set modality = $1, series_number = $2, description = $3, body_part = $4,
            performed_start_date = $5, performed_start_time = $6, attributes = $7,
            request_attributes = $8, derived = $9, updated_at = $10
         where series_uid = $11",
    );
    bind_series(refresh, row, now).bind(&row.identity.series)
}
