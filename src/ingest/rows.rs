//! What the index holds of an instance: the columns that searches use.

use std::collections::BTreeMap;
use std::io;

use dicom_core::Tag;
use dicom_dictionary_std::tags;
use serde_json::{Map, Value};

use super::prepare::{Prepared, text};
use super::{Origin, Refusal};
use crate::auth::Reach;
use crate::blobs::BlobKey;
use crate::db::instances::{
    InstanceRow, PatientRow, Requested, SeriesAttributes, SeriesRow, StudyAttributes, StudyRow,
};
use crate::dicom::attributes::{self, AttributeId, Level};
use crate::dicom::header::hex;
use crate::dicom::packed;
use crate::dicom::person_name::NameKeys;

pub(super) fn instance(prepared: &Prepared, origin: &Origin) -> Result<InstanceRow, Refusal> {
    let value = |tag| text(&prepared.elements, tag);
    let number = |tag| value(tag).parse::<i64>().ok();
    let identity = &prepared.identity;
    Ok(InstanceRow {
        patient: patient(prepared),
        study: study(prepared)?,
        series: series(prepared)?,
        identity: prepared.identity.clone(),
        transfer_syntax: prepared.transfer_syntax.clone(),
        instance_number: number(tags::INSTANCE_NUMBER),
        rows: number(tags::ROWS),
        columns: number(tags::COLUMNS),
        bits_allocated: number(tags::BITS_ALLOCATED),
        number_of_frames: number(tags::NUMBER_OF_FRAMES),
        blob_key: BlobKey::new(&identity.study, &identity.sop_instance, &prepared.sha256),
        size_bytes: prepared.size_bytes,
        sha256: prepared.sha256,
        dataset_sha256: prepared.dataset_sha256,
        received_sha256: prepared.digests().received,
        note: note(prepared),
        layout: prepared.layout.clone(),
        frame_chunks: prepared.frame_chunks.clone(),
        metadata: prepared.metadata.clone(),
        origin: origin.clone(),
        owners: Vec::new(),
        reach: Reach::Everything,
    })
}

/// What the audit trail says of how the object came.
fn note(prepared: &Prepared) -> Option<&'static str> {
    match (prepared.rebuilt_meta, prepared.padded) {
        (true, true) => Some("file meta information rebuilt, zeros behind the data set"),
        (true, false) => Some("file meta information rebuilt"),
        (false, true) => Some("zeros behind the data set"),
        (false, false) => None,
    }
}

fn patient(prepared: &Prepared) -> PatientRow {
    let value = |tag| text(&prepared.elements, tag);
    let patient_id = value(tags::PATIENT_ID);
    // Studies without a Patient ID are not thereby of one patient.
    let issuer = match patient_id.is_empty() {
        true => format!("study {}", prepared.identity.study),
        false => value(tags::ISSUER_OF_PATIENT_ID),
    };
    let name = value(tags::PATIENT_NAME);
    PatientRow {
        issuer,
        patient_id,
        keys: NameKeys::of(&name),
        name,
        birth_date: value(tags::PATIENT_BIRTH_DATE),
        sex: value(tags::PATIENT_SEX),
    }
}

fn study(prepared: &Prepared) -> Result<StudyRow, Refusal> {
    let value = |tag| text(&prepared.elements, tag);
    let referring_physician = value(tags::REFERRING_PHYSICIAN_NAME);
    Ok(StudyRow {
        date: value(tags::STUDY_DATE),
        time: value(tags::STUDY_TIME),
        accession_number: value(tags::ACCESSION_NUMBER),
        study_id: value(tags::STUDY_ID),
        description: value(tags::STUDY_DESCRIPTION),
        referring_keys: NameKeys::of(&referring_physician),
        referring_physician,
        attributes: study_attributes(&prepared.json).map_err(Refusal::Storage)?,
    })
}

fn series(prepared: &Prepared) -> Result<SeriesRow, Refusal> {
    let value = |tag| text(&prepared.elements, tag);
    Ok(SeriesRow {
        modality: value(tags::MODALITY),
        number: value(tags::SERIES_NUMBER).parse().ok(),
        description: value(tags::SERIES_DESCRIPTION),
        body_part: value(tags::BODY_PART_EXAMINED),
        performed_start_date: value(tags::PERFORMED_PROCEDURE_STEP_START_DATE),
        performed_start_time: value(tags::PERFORMED_PROCEDURE_STEP_START_TIME),
        attributes: series_attributes(&prepared.json).map_err(Refusal::Storage)?,
    })
}

/// What the metadata of an instance says about its study.
pub(super) fn study_attributes(metadata: &Map<String, Value>) -> io::Result<StudyAttributes> {
    Ok(StudyAttributes {
        json: of_levels(metadata, &[Level::Patient, Level::Study])?,
        timezone_offset: first_text(metadata, tags::TIMEZONE_OFFSET_FROM_UTC),
    })
}

/// What the metadata of an instance says about its series.
pub(super) fn series_attributes(metadata: &Map<String, Value>) -> io::Result<SeriesAttributes> {
    let requests = metadata.get(&hex(tags::REQUEST_ATTRIBUTES_SEQUENCE));
    let items = requests.and_then(|element| element["Value"].as_array()).map(Vec::as_slice);
    Ok(SeriesAttributes {
        json: of_levels(metadata, &[Level::Series])?,
        request: requests.filter(|_| items.is_some()).map(Value::to_string).unwrap_or_default(),
        requested: items.unwrap_or_default().iter().filter_map(Value::as_object).map(requested).collect(),
    })
}

fn requested(item: &Map<String, Value>) -> Requested {
    Requested {
        step_id: first_text(item, tags::SCHEDULED_PROCEDURE_STEP_ID),
        procedure_id: first_text(item, tags::REQUESTED_PROCEDURE_ID),
    }
}

fn first_text(json: &Map<String, Value>, tag: Tag) -> String {
    let value = json.get(&hex(tag)).map(|element| &element["Value"][0]);
    value.and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// The attributes of some levels as compressed DICOM JSON.
fn of_levels(json: &Map<String, Value>, levels: &[Level]) -> io::Result<Vec<u8>> {
    let belongs = |key: &str| {
        let id: Option<AttributeId> = key.parse().ok();
        id.is_some_and(|id| levels.iter().any(|level| attributes::belongs_to(id.0, *level)))
    };
    let kept: BTreeMap<&String, &Value> = json.iter().filter(|(key, _)| belongs(key)).collect();
    packed::pack(&serde_json::to_vec(&kept)?)
}
