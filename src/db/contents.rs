//! Patients, series and instances as lists.

use super::page::{self, Conditions, Found, List, Page};
use super::{Db, DbError, Row, Statement, groups};
use crate::auth::Reach;
use crate::clock::Timestamp;
use crate::dicom::person_name;
use crate::dicom::uid::{SeriesUid, SopInstanceUid, StudyUid};

#[derive(Debug)]
pub struct Patient {
    pub id: i64,
    pub patient_id: String,
    pub issuer: String,
    pub name: String,
    pub birth_date: String,
    pub sex: String,
    /// Those in reach.
    pub study_count: i64,
    pub created_at: Timestamp,
}

/// Patients with a study in reach; of these, those whose name or ID has words that begin like
/// those of `text`.
pub async fn patients(
    db: &Db,
    reach: &Reach,
    text: Option<&str>,
    page: &Page,
) -> Result<Found<Patient>, DbError> {
    let columns = patient_columns(reach);
    let list = List {
        names: ["patients", "count_patients"],
        columns: &columns,
        from: "patient",
        counted_from: "patient",
    };
    let mut conditions = Conditions::default();
    visible(&mut conditions, reach);
    for word in text.iter().flat_map(|text| person_name::words(text)).take(8) {
        conditions.and_value(
            "(patient.name_words like {} escape '!' or exists (select 1 from study
                where study.patient = patient.id and study.search_words like {} escape '!'))",
            format!("% {word}%"),
        );
    }
    page::read(db, &list, conditions, page, patient).await
}

pub async fn one_patient(db: &Db, reach: &Reach, id: i64) -> Result<Option<Patient>, DbError> {
    let mut conditions = Conditions::default();
    conditions.and_value("patient.id = {}", id);
    visible(&mut conditions, reach);
    let sql = format!("select {} from patient{}", patient_columns(reach), conditions.clause());
    let statement = conditions.bind(Statement::named("patient", sql));
    db.read_one(statement).await?.as_ref().map(patient).transpose()
}

fn visible(conditions: &mut Conditions, reach: &Reach) {
    if let Some(condition) = groups::condition(reach, "study.study_uid") {
        conditions
            .and(format!("exists (select 1 from study where study.patient = patient.id and {condition})"));
    }
}

fn patient_columns(reach: &Reach) -> String {
    let seen = groups::and_condition(reach, "study.study_uid");
    format!(
        "patient.id, patient.patient_id, patient.issuer, patient.name, patient.birth_date, patient.sex,
         (select count(*) from study where study.patient = patient.id{seen}), patient.created_at"
    )
}

fn patient(row: &Row) -> Result<Patient, DbError> {
    Ok(Patient {
        id: row.int(0)?,
        patient_id: row.text(1)?.to_owned(),
        issuer: row.text(2)?.to_owned(),
        name: row.text(3)?.to_owned(),
        birth_date: row.text(4)?.to_owned(),
        sex: row.text(5)?.to_owned(),
        study_count: row.int(6)?,
        created_at: Timestamp(row.int(7)?),
    })
}

#[derive(Debug)]
pub struct Series {
    pub series_uid: SeriesUid,
    pub modality: String,
    pub series_number: Option<i64>,
    pub description: String,
    pub body_part: String,
    pub instance_count: i64,
    pub arrived_at: Timestamp,
}

const SERIES: List<'_> = List {
    names: ["series_of_study", "count_series_of_study"],
    columns: "series.series_uid, series.modality, series.series_number, series.description, series.body_part,
        series.instance_count, series.created_at",
    from: "series join study on study.id = series.study",
    counted_from: "series join study on study.id = series.study",
};

/// The series of a study; only of these modalities, where some are given.
pub async fn series(
    db: &Db,
    reach: &Reach,
    study: &StudyUid,
    modalities: Option<&[&str]>,
    page: &Page,
) -> Result<Found<Series>, DbError> {
    let mut conditions = Conditions::default();
    conditions.and_value("study.study_uid = {}", study);
    groups::released(reach, "series.series_uid").into_iter().for_each(|released| conditions.and(released));
    if let Some(modalities) = modalities {
        conditions.and_any("series.modality", modalities.iter().copied());
    }
    page::read(db, &SERIES, conditions, page, series_row).await
}

pub async fn one_series(db: &Db, study: &StudyUid, series: &SeriesUid) -> Result<Option<Series>, DbError> {
    let sql = format!(
        "select {} from {} where study.study_uid = $1 and series.series_uid = $2",
        SERIES.columns, SERIES.from
    );
    let statement = Statement::named("one_series", sql).bind(study).bind(series);
    db.read_one(statement).await?.as_ref().map(series_row).transpose()
}

fn series_row(row: &Row) -> Result<Series, DbError> {
    Ok(Series {
        series_uid: row.parse(0, "a Series Instance UID")?,
        modality: row.text(1)?.to_owned(),
        series_number: row.opt_int(2)?,
        description: row.text(3)?.to_owned(),
        body_part: row.text(4)?.to_owned(),
        instance_count: row.int(5)?,
        arrived_at: Timestamp(row.int(6)?),
    })
}

#[derive(Debug)]
pub struct Instance {
    pub sop_instance_uid: SopInstanceUid,
    pub sop_class_uid: String,
    pub transfer_syntax: String,
    pub instance_number: Option<i64>,
    pub rows: Option<i64>,
    pub columns: Option<i64>,
    pub number_of_frames: Option<i64>,
    pub size_bytes: i64,
    pub source: String,
    pub source_aet: String,
    pub arrived_at: Timestamp,
}

const INSTANCES: List<'_> = List {
    names: ["instances_of_series", "count_instances_of_series"],
    columns: "instance.sop_instance_uid, instance.sop_class_uid, instance.transfer_syntax, instance.instance_number,
        instance.rows, instance.columns, instance.number_of_frames, instance.size_bytes, instance.source,
        instance.source_aet, instance.created_at",
    from: INSTANCE_FROM,
    counted_from: INSTANCE_FROM,
};

const INSTANCE_FROM: &str =
    "instance join series on series.id = instance.series join study on study.id = series.study";

pub async fn instances(
    db: &Db,
    study: &StudyUid,
    series: &SeriesUid,
    page: &Page,
) -> Result<Found<Instance>, DbError> {
    let mut conditions = Conditions::default();
    conditions.and_value("study.study_uid = {}", study);
    conditions.and_value("series.series_uid = {}", series);
    page::read(db, &INSTANCES, conditions, page, instance).await
}

pub async fn one_instance(
    db: &Db,
    study: &StudyUid,
    series: &SeriesUid,
    instance_uid: &SopInstanceUid,
) -> Result<Option<Instance>, DbError> {
    let sql = format!(
        "select {} from {} where study.study_uid = $1 and series.series_uid = $2
            and instance.sop_instance_uid = $3",
        INSTANCES.columns, INSTANCES.from
    );
    let statement = Statement::named("one_instance", sql).bind(study).bind(series).bind(instance_uid);
    db.read_one(statement).await?.as_ref().map(instance).transpose()
}

fn instance(row: &Row) -> Result<Instance, DbError> {
    Ok(Instance {
        sop_instance_uid: row.parse(0, "a SOP Instance UID")?,
        sop_class_uid: row.text(1)?.to_owned(),
        transfer_syntax: row.text(2)?.to_owned(),
        instance_number: row.opt_int(3)?,
        rows: row.opt_int(4)?,
        columns: row.opt_int(5)?,
        number_of_frames: row.opt_int(6)?,
        size_bytes: row.int(7)?,
        source: row.text(8)?.to_owned(),
        source_aet: row.text(9)?.to_owned(),
        arrived_at: Timestamp(row.int(10)?),
    })
}
