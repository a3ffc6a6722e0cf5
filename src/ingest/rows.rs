//! What the index holds of an instance: the columns that searches use.

use dicom_core::Tag;
use dicom_dictionary_std::tags;
use serde_json::{Map, Value};

use super::prepare::{Prepared, text};
use super::{Origin, Refusal};
use crate::blobs::BlobKey;
use crate::db::instances::{InstanceRow, PatientRow, SeriesRow, StudyRow};
use crate::dicom::header::hex;

/// Attributes of the study that PS3.18 Table 10.6.3-3 and viewers ask for; the patient's are
/// known by their group.
const STUDY_LEVEL: [Tag; 14] = [
    tags::SPECIFIC_CHARACTER_SET,
    tags::STUDY_DATE,
    tags::STUDY_TIME,
    tags::ACCESSION_NUMBER,
    tags::ISSUER_OF_ACCESSION_NUMBER_SEQUENCE,
    tags::REFERRING_PHYSICIAN_NAME,
    tags::TIMEZONE_OFFSET_FROM_UTC,
    tags::STUDY_DESCRIPTION,
    tags::PROCEDURE_CODE_SEQUENCE,
    tags::NAME_OF_PHYSICIANS_READING_STUDY,
    tags::ADMITTING_DIAGNOSES_DESCRIPTION,
    tags::STUDY_INSTANCE_UID,
    tags::STUDY_ID,
    tags::REQUESTED_PROCEDURE_DESCRIPTION,
];

/// Attributes of the series, PS3.18 Table 10.6.3-4 and PS3.3 C.7.3.1.
const SERIES_LEVEL: [Tag; 18] = [
    tags::SPECIFIC_CHARACTER_SET,
    tags::SERIES_DATE,
    tags::SERIES_TIME,
    tags::TIMEZONE_OFFSET_FROM_UTC,
    tags::MODALITY,
    tags::MANUFACTURER,
    tags::INSTITUTION_NAME,
    tags::SERIES_DESCRIPTION,
    tags::STATION_NAME,
    tags::BODY_PART_EXAMINED,
    tags::PROTOCOL_NAME,
    tags::PATIENT_POSITION,
    tags::SERIES_INSTANCE_UID,
    tags::SERIES_NUMBER,
    tags::LATERALITY,
    tags::PERFORMED_PROCEDURE_STEP_START_DATE,
    tags::PERFORMED_PROCEDURE_STEP_START_TIME,
    tags::REQUEST_ATTRIBUTES_SEQUENCE,
];

const PATIENT_GROUP: &str = "0010";

pub(super) fn instance(prepared: &Prepared, key: &BlobKey, origin: &Origin) -> Result<InstanceRow, Refusal> {
    let value = |tag| text(&prepared.elements, tag);
    let number = |tag| value(tag).parse::<i64>().ok();
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
        blob_key: key.clone(),
        size_bytes: prepared.size_bytes,
        sha256: prepared.sha256,
        dataset_sha256: prepared.dataset_sha256,
        layout: prepared.layout.clone(),
        metadata: prepared.metadata.clone(),
        origin: origin.clone(),
    })
}

fn patient(prepared: &Prepared) -> PatientRow {
    let value = |tag| text(&prepared.elements, tag);
    let patient_id = value(tags::PATIENT_ID);
    // Studies without a Patient ID are not thereby of one patient.
    let issuer = match patient_id.is_empty() {
        true => format!("study {}", prepared.identity.study),
        false => value(tags::ISSUER_OF_PATIENT_ID),
    };
    PatientRow {
        issuer,
        patient_id,
        name: value(tags::PATIENT_NAME),
        birth_date: value(tags::PATIENT_BIRTH_DATE),
        sex: value(tags::PATIENT_SEX),
    }
}

fn study(prepared: &Prepared) -> Result<StudyRow, Refusal> {
    let value = |tag| text(&prepared.elements, tag);
    Ok(StudyRow {
        date: value(tags::STUDY_DATE),
        time: value(tags::STUDY_TIME),
        accession_number: value(tags::ACCESSION_NUMBER),
        study_id: value(tags::STUDY_ID),
        description: value(tags::STUDY_DESCRIPTION),
        referring_physician: value(tags::REFERRING_PHYSICIAN_NAME),
        attributes: level(&prepared.json, |key| {
            key.starts_with(PATIENT_GROUP) || STUDY_LEVEL.iter().any(|tag| hex(*tag) == key)
        })?,
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
        attributes: level(&prepared.json, |key| SERIES_LEVEL.iter().any(|tag| hex(*tag) == key))?,
    })
}

/// The attributes of one level as compressed DICOM JSON.
fn level(json: &Map<String, Value>, belongs: impl Fn(&str) -> bool) -> Result<Vec<u8>, Refusal> {
    let kept: Map<String, Value> = json
        .iter()
        .filter(|(key, _)| belongs(key))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let bytes = serde_json::to_vec(&kept).map_err(|error| Refusal::Unparsable(error.to_string()))?;
    zstd::encode_all(bytes.as_slice(), 3).map_err(Refusal::Storage)
}
