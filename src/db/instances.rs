//! Rows of patients, studies, series and instances: written together, in one batch.

mod replacement;

use super::groups::Owner;
use super::{Batch, Db, DbError, Row, Statement, downloads, uploads};
use crate::auth::Reach;
use crate::blobs::{BlobKey, Holds};
use crate::clock::Timestamp;
use crate::dicom::person_name::{self, NameKeys};
use crate::dicom::uid::{SeriesUid, SopInstanceUid, StudyUid, TransferSyntaxUid};
use crate::ingest::{InstanceIdentity, Origin, Source};

pub use replacement::{REMOVE_REPLACED, replace};

pub struct PatientRow {
    pub issuer: String,
    pub patient_id: String,
    pub name: String,
    pub keys: NameKeys,
    pub birth_date: String,
    pub sex: String,
}

pub struct StudyRow {
    pub date: String,
    pub time: String,
    pub accession_number: String,
    pub study_id: String,
    pub description: String,
    pub referring_physician: String,
    pub referring_keys: NameKeys,
    pub attributes: StudyAttributes,
}

/// What the first instance of a study says about it.
pub struct StudyAttributes {
    /// Patient and study level, DICOM JSON, zstd.
    pub json: Vec<u8>,
    pub timezone_offset: String,
}

pub struct SeriesRow {
    pub modality: String,
    pub number: Option<i64>,
    pub description: String,
    pub body_part: String,
    pub performed_start_date: String,
    pub performed_start_time: String,
    pub attributes: SeriesAttributes,
}

/// What the first instance of a series says about it.
pub struct SeriesAttributes {
    /// Series level, DICOM JSON, zstd.
    pub json: Vec<u8>,
    /// Request Attributes Sequence as a DICOM JSON element; '' where there is none.
    pub request: String,
    pub requested: Vec<Requested>,
}

/// What searches match of an item of Request Attributes Sequence.
pub struct Requested {
    pub step_id: String,
    pub procedure_id: String,
}

/// Of the columns that are computed from attributes; older rows carry a smaller number.
pub(super) const DERIVATION: i64 = 1;

/// Everything the index holds of one instance and its parents.
pub struct InstanceRow {
    pub patient: PatientRow,
    pub study: StudyRow,
    pub series: SeriesRow,
    pub identity: InstanceIdentity,
    pub transfer_syntax: TransferSyntaxUid,
    pub instance_number: Option<i64>,
    pub rows: Option<i64>,
    pub columns: Option<i64>,
    pub bits_allocated: Option<i64>,
    pub number_of_frames: Option<i64>,
    pub blob_key: BlobKey,
    pub size_bytes: u64,
    pub sha256: [u8; 32],
    pub dataset_sha256: [u8; 32],
    /// Of what was received, where the stored object was made from it.
    pub received_sha256: Option<[u8; 32]>,
    /// For the audit trail.
    pub note: Option<&'static str>,
    pub layout: Vec<u8>,
    pub frame_chunks: Vec<Vec<u8>>,
    pub metadata: Vec<u8>,
    pub origin: Origin,
    /// The groups of the study, if this is its first instance.
    pub owners: Vec<Owner>,
    /// Of who brings it.
    pub reach: Reach,
}

/// The name of the guard that fails when a series belongs to another study.
pub const INSERT_INSTANCE: &str = "insert_instance";

/// The statements that make an instance visible. Parents are created by whoever comes first;
/// the instance itself must be new.
pub fn insert(row: &InstanceRow, now: Timestamp) -> Batch {
    let mut batch = guard(row).then(insert_patient(row, now)).then(insert_study(row, now));
    batch = super::groups::receive(batch, &row.identity.study, &row.owners, &row.reach, now);
    batch.push(insert_series(row, now));
    insert_requests(&mut batch, &row.identity.series, &row.series.attributes);
    batch = batch
        .then_exactly(1, insert_instance(row, now))
        .then(count_in_series(row, now))
        .then(count_in_study(row, now))
        .then(super::events::study_received(&row.identity.study, now))
        .then(notice_series(row));
    insert_frame_chunks(row).for_each(|statement| batch.push(statement));
    if let Some(digest) = row.received_sha256 {
        batch.push(insert_built(&row.identity.sop_instance, digest));
    }
    batch.push(super::audit::stored(row, now));
    batch.push(change(&row.identity, now));
    batch
}

/// As if the instance had come at `at`. Those of a study come in the order of their times.
pub fn arrived(batch: Batch, row: &InstanceRow, at: Timestamp) -> Batch {
    let instance = Statement::named(
        "instance_arrived",
        "update instance set created_at = $1 where sop_instance_uid = $2",
    );
    let study = Statement::named(
        "study_arrived",
        "update study set last_instance_at = $1,
            created_at = case when instance_count = 1 then $1 else created_at end
         where study_uid = $2",
    );
    batch
        .then(instance.bind(at).bind(&row.identity.sop_instance))
        .then(study.bind(at).bind(&row.identity.study))
}

/// The name of the guard that fails when the study of a result is gone.
pub const REQUIRE_STUDY: &str = "require_study";

/// A study that was deleted while an analysis ran is not brought back by its results.
fn guard(row: &InstanceRow) -> Batch {
    let sql = "update study set updated_at = updated_at where study_uid = $1";
    match row.origin.source {
        Source::Analysis => {
            Batch::new().then_exactly(1, Statement::named(REQUIRE_STUDY, sql).bind(&row.identity.study))
        }
        _ => Batch::new(),
    }
}

fn insert_patient(row: &InstanceRow, now: Timestamp) -> Statement {
    let patient = &row.patient;
    Statement::named(
        "insert_patient",
        "insert into patient (issuer, patient_id, name, name_folded, name_ideographic, name_phonetic,
            name_words, name_sounds, derived, birth_date, sex, created_at, updated_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $12)
         on conflict (issuer, patient_id) do nothing",
    )
    .bind(patient.issuer.as_str())
    .bind(patient.patient_id.as_str())
    .bind(patient.name.as_str())
    .bind_names(&patient.keys)
    .bind(DERIVATION)
    .bind(patient.birth_date.as_str())
    .bind(patient.sex.as_str())
    .bind(now)
}

fn insert_study(row: &InstanceRow, now: Timestamp) -> Statement {
    let insert = Statement::named(
        "insert_study",
        "insert into study (patient, study_uid, study_date, study_time, accession_number, study_id,
            description, referring_physician, referring_folded, referring_ideographic,
            referring_phonetic, referring_words, referring_sounds, attributes, timezone_offset, derived,
            search_words, last_instance_at, created_at, updated_at)
         select id, $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $17, $17
         from patient where issuer = $18 and patient_id = $19
         on conflict (study_uid) do nothing",
    );
    bind_study(insert.bind(&row.identity.study), row, now)
}

/// The values of a study that both its first instance and a replacement write, in their order.
fn bind_study(statement: Statement, row: &InstanceRow, now: Timestamp) -> Statement {
    let study = &row.study;
    statement
        .bind(study.date.as_str())
        .bind(study.time.as_str())
        .bind(study.accession_number.as_str())
        .bind(study.study_id.as_str())
        .bind(study.description.as_str())
        .bind(study.referring_physician.as_str())
        .bind_names(&study.referring_keys)
        .bind(study.attributes.json.clone())
        .bind(study.attributes.timezone_offset.as_str())
        .bind(DERIVATION)
        .bind(search_words(row))
        .bind(now)
        .bind(row.patient.issuer.as_str())
        .bind(row.patient.patient_id.as_str())
}

/// What a person types who looks for a study, beside the name.
fn search_words(row: &InstanceRow) -> String {
    let study = &row.study;
    let texts = [&row.patient.patient_id, &study.accession_number, &study.study_id, &study.description];
    let words = texts.iter().flat_map(|text| person_name::words(text));
    format!(" {} ", words.collect::<Vec<_>>().join(" "))
}

fn insert_series(row: &InstanceRow, now: Timestamp) -> Statement {
    let insert = Statement::named(
        "insert_series",
        "insert into series (study, series_uid, modality, series_number, description, body_part,
            performed_start_date, performed_start_time, attributes, request_attributes, derived,
            created_at, updated_at)
         select id, $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $11 from study where study_uid = $12
         on conflict (series_uid) do nothing",
    );
    bind_series(insert.bind(&row.identity.series), row, now).bind(&row.identity.study)
}

/// The values of a series, as [`bind_study`] those of a study.
fn bind_series(statement: Statement, row: &InstanceRow, now: Timestamp) -> Statement {
    let series = &row.series;
    statement
        .bind(series.modality.as_str())
        .bind(series.number)
        .bind(series.description.as_str())
        .bind(series.body_part.as_str())
        .bind(series.performed_start_date.as_str())
        .bind(series.performed_start_time.as_str())
        .bind(series.attributes.json.clone())
        .bind(series.attributes.request.as_str())
        .bind(DERIVATION)
        .bind(now)
}

pub(super) fn insert_requests(batch: &mut Batch, series: &SeriesUid, attributes: &SeriesAttributes) {
    for (item, requested) in attributes.requested.iter().enumerate() {
        batch.push(insert_request(series, item, requested));
    }
}

fn insert_request(series: &SeriesUid, item: usize, requested: &Requested) -> Statement {
    Statement::named(
        "insert_request",
        "insert into series_request (series, item, step_id, procedure_id)
         select id, $1, $2, $3 from series where series_uid = $4 on conflict (series, item) do nothing",
    )
    .bind(i64::try_from(item).unwrap_or(i64::MAX))
    .bind(requested.step_id.as_str())
    .bind(requested.procedure_id.as_str())
    .bind(series)
}

fn insert_instance(row: &InstanceRow, now: Timestamp) -> Statement {
    Statement::named(
        INSERT_INSTANCE,
        "insert into instance (series, study, sop_instance_uid, sop_class_uid, transfer_syntax,
            instance_number, rows, columns, bits_allocated, number_of_frames, blob_key, size_bytes,
            sha256, dataset_sha256, layout, metadata, source, source_aet, created_at)
         select series.id, study.id, $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14,
            $15, $16, $17
         from series join study on study.id = series.study
         where series.series_uid = $18 and study.study_uid = $19",
    )
    .bind(&row.identity.sop_instance)
    .bind(&row.identity.sop_class)
    .bind(&row.transfer_syntax)
    .bind(row.instance_number)
    .bind(row.rows)
    .bind(row.columns)
    .bind(row.bits_allocated)
    .bind(row.number_of_frames)
    .bind(row.blob_key.as_str())
    .bind(i64::try_from(row.size_bytes).unwrap_or(i64::MAX))
    .bind(row.sha256.to_vec())
    .bind(row.dataset_sha256.to_vec())
    .bind(row.layout.clone())
    .bind(row.metadata.clone())
    .bind(row.origin.source.as_str())
    .bind(row.origin.calling_aet.as_str())
    .bind(now)
    .bind(&row.identity.series)
    .bind(&row.identity.study)
}

fn insert_frame_chunks(row: &InstanceRow) -> impl Iterator<Item = Statement> {
    row.frame_chunks.iter().zip(0_i64..).map(|(spans, ordinal)| {
        Statement::named(
            "insert_frame_chunk",
            "insert into frame_chunk (instance, ordinal, spans)
             select id, $1, $2 from instance where sop_instance_uid = $3",
        )
        .bind(ordinal)
        .bind(spans.clone())
        .bind(&row.identity.sop_instance)
    })
}

fn insert_built(instance: &SopInstanceUid, received_sha256: [u8; 32]) -> Statement {
    Statement::named(
        "insert_built",
        "insert into built (received_sha256, instance) select $1, id from instance where sop_instance_uid = $2",
    )
    .bind(Vec::from(received_sha256))
    .bind(instance)
}

fn count_in_series(row: &InstanceRow, now: Timestamp) -> Statement {
    Statement::named(
        "count_in_series",
        "update series set instance_count = instance_count + 1, updated_at = $1 where series_uid = $2",
    )
    .bind(now)
    .bind(&row.identity.series)
}

fn count_in_study(row: &InstanceRow, now: Timestamp) -> Statement {
    Statement::named(
        "count_in_study",
        "update study set instance_count = instance_count + 1, last_instance_at = $1, updated_at = $1
         where study_uid = $2",
    )
    .bind(now)
    .bind(&row.identity.study)
}

/// Only when there is a series more: the page of an index hangs on it.
fn notice_series(row: &InstanceRow) -> Statement {
    let sql = format!(
        "update study set {OF_SERIES} where study_uid = $1
            and series_count <> (select count(*) from series where series.study = study.id)"
    );
    Statement::named("notice_series", sql).bind(&row.identity.study)
}

/// What a study says about its series.
pub(super) const OF_SERIES: &str =
    "series_count = (select count(*) from series where series.study = study.id),
    modalities = coalesce((
        select '\\' || string_agg(one.modality, '\\' order by one.modality) || '\\'
        from (select distinct modality from series
              where series.study = study.id and modality <> '') one), '')";

fn change(identity: &InstanceIdentity, now: Timestamp) -> Statement {
    Statement::named(
        "insert_change",
        "insert into change (at, kind, study_uid, series_uid, sop_instance_uid)
         values ($1, 'instance-stored', $2, $3, $4)",
    )
    .bind(now)
    .bind(&identity.study)
    .bind(&identity.series)
    .bind(&identity.sop_instance)
}

/// What decides what becomes of an arriving object with the same UID.
pub struct KnownInstance {
    pub instance: SopInstanceUid,
    pub study: StudyUid,
    pub series: SeriesUid,
    /// The row of the patient.
    pub patient: i64,
    pub dataset_sha256: Vec<u8>,
    pub received_sha256: Option<Vec<u8>>,
    pub blob_key: BlobKey,
}

pub async fn known(db: &Db, instance: &SopInstanceUid) -> Result<Option<KnownInstance>, DbError> {
    let statement = Statement::named(
        "known_instance",
        "select study.study_uid, series.series_uid, study.patient, instance.dataset_sha256,
            built.received_sha256, instance.blob_key
         from instance join series on series.id = instance.series join study on study.id = instance.study
            left join built on built.instance = instance.id
         where instance.sop_instance_uid = $1",
    );
    let row = db.look_up_one(statement.bind(instance)).await?;
    row.map(|row| read_known(instance.clone(), &row)).transpose()
}

fn read_known(instance: SopInstanceUid, row: &Row) -> Result<KnownInstance, DbError> {
    Ok(KnownInstance {
        instance,
        study: row.parse(0, "a study UID")?,
        series: row.parse(1, "a series UID")?,
        patient: row.int(2)?,
        dataset_sha256: row.bytes(3)?.to_vec(),
        received_sha256: row.opt_bytes(4)?.map(<[u8]>::to_vec),
        blob_key: BlobKey::from_index(row.text(5)?),
    })
}

/// Whether any row refers to these bytes, of an instance or of a deletion that can be taken back.
pub async fn is_referenced(db: &Db, key: &BlobKey) -> Result<bool, DbError> {
    let statement = match key.holds() {
        Holds::Instance => select_referenced(key),
        Holds::Upload => uploads::select_part(key),
        Holds::Download => downloads::select_kept(key),
    };
    Ok(db.look_up_one(statement).await?.is_some())
}

pub(super) fn select_referenced(key: &BlobKey) -> Statement {
    Statement::named(
        "is_referenced",
        "select 1 from instance where sop_instance_uid = $1 and blob_key = $2
         union all select 1 from deleted_instance where blob_key = $2 limit 1",
    )
    .bind(key.instance())
    .bind(key.as_str())
}
