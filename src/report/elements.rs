//! Datasets and the modules that the SR and the Encapsulated PDF have in common.

use dicom_core::value::{DataSetSequence, PrimitiveValue};
use dicom_core::{DataElement, Tag, VR};
use dicom_dictionary_std::tags;
use dicom_object::{FileDicomObject, FileMetaTableBuilder, InMemDicomObject, WithMetaError};

use crate::dicom::uid::{IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME, StudyUid};

use super::codes::{Code, PRIVATE_SCHEME, shortened};
use super::document::{Device, Draft, ImageReference, Patient, Predecessor, Study, Subject};
use crate::clock::Timestamp;

pub(super) type Dataset = InMemDicomObject;

/// VR LO.
const LO_MAX: usize = 64;

pub(super) fn put(dataset: &mut Dataset, tag: Tag, vr: VR, value: impl Into<PrimitiveValue>) {
    dataset.put(DataElement::new(tag, vr, value.into()));
}

/// A backslash would part the value in two, and VR LO has no control characters (PS3.5 6.2).
pub(super) fn put_lo(dataset: &mut Dataset, tag: Tag, value: &str) {
    let allowed = |c: char| {
        if c == '\\' {
            '/'
        } else if c.is_control() {
            ' '
        } else {
            c
        }
    };
    let plain: String = value.chars().map(allowed).collect();
    put(dataset, tag, VR::LO, shortened(plain.trim(), LO_MAX));
}

pub(super) fn put_items(dataset: &mut Dataset, tag: Tag, items: Vec<Dataset>) {
    dataset.put(DataElement::new(tag, VR::SQ, DataSetSequence::from(items)));
}

/// Type 3: left out where there is no value.
fn put_present(dataset: &mut Dataset, tag: Tag, vr: VR, value: &str) {
    if !value.is_empty() {
        put(dataset, tag, vr, value);
    }
}

/// The items of a code sequence, PS3.3 Table 8.8-1.
pub(super) fn coded(code: &Code) -> Vec<Dataset> {
    let mut item = Dataset::new_empty();
    put(&mut item, tags::CODE_VALUE, VR::SH, code.value.as_ref());
    put(&mut item, tags::CODING_SCHEME_DESIGNATOR, VR::SH, code.scheme.as_ref());
    put_lo(&mut item, tags::CODE_MEANING, &code.meaning);
    vec![item]
}

/// Where an object stands: what SOP Common and the series modules need.
pub(super) struct ObjectIdentity<'a> {
    pub(super) sop_class: &'a str,
    pub(super) sop_instance: String,
    pub(super) series: String,
    pub(super) series_number: &'a str,
    pub(super) series_description: String,
    pub(super) instance_number: i64,
    pub(super) modality: &'a str,
}

/// What an object is about and what made it when.
pub(super) struct Origin<'a> {
    pub(super) subject: &'a Subject,
    pub(super) device: &'a Device,
    pub(super) made: Timestamp,
}

impl<'a> Origin<'a> {
    pub(super) fn of(draft: &'a Draft) -> Self {
        let provenance = &draft.provenance;
        Self { subject: &draft.subject, device: &provenance.device, made: provenance.finished }
    }
}

/// Patient, General Study, series and equipment modules, and SOP Common.
pub(super) fn common(origin: &Origin<'_>, identity: &ObjectIdentity<'_>) -> Dataset {
    let mut dataset = Dataset::new_empty();
    sop_common(&mut dataset, origin.made, identity);
    patient(&mut dataset, &origin.subject.patient);
    study(&mut dataset, &origin.subject.study);
    series(&mut dataset, identity);
    equipment(&mut dataset, origin.device);
    dataset
}

fn sop_common(dataset: &mut Dataset, made: Timestamp, identity: &ObjectIdentity<'_>) {
    put(dataset, tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 192");
    put(dataset, tags::INSTANCE_CREATION_DATE, VR::DA, made.dicom_date());
    put(dataset, tags::INSTANCE_CREATION_TIME, VR::TM, made.dicom_time());
    put(dataset, tags::SOP_CLASS_UID, VR::UI, identity.sop_class);
    put(dataset, tags::SOP_INSTANCE_UID, VR::UI, identity.sop_instance.as_str());
    put(dataset, tags::INSTANCE_NUMBER, VR::IS, identity.instance_number.to_string());
    put(dataset, tags::CONTENT_DATE, VR::DA, made.dicom_date());
    put(dataset, tags::CONTENT_TIME, VR::TM, made.dicom_time());
    let mut scheme = Dataset::new_empty();
    put(&mut scheme, tags::CODING_SCHEME_DESIGNATOR, VR::SH, PRIVATE_SCHEME);
    put(&mut scheme, tags::CODING_SCHEME_NAME, VR::ST, "RadiantAI words and codes");
    put(&mut scheme, tags::CODING_SCHEME_RESPONSIBLE_ORGANIZATION, VR::ST, "RadiantAI");
    put_items(dataset, tags::CODING_SCHEME_IDENTIFICATION_SEQUENCE, vec![scheme]);
}

fn patient(dataset: &mut Dataset, patient: &Patient) {
    let sex = if matches!(patient.sex.as_str(), "M" | "F" | "O") { patient.sex.as_str() } else { "" };
    put(dataset, tags::PATIENT_NAME, VR::PN, patient.name.as_str());
    put(dataset, tags::PATIENT_ID, VR::LO, patient.id.as_str());
    put_present(dataset, tags::ISSUER_OF_PATIENT_ID, VR::LO, &patient.id_issuer);
    put(dataset, tags::PATIENT_BIRTH_DATE, VR::DA, patient.birth_date.as_str());
    put(dataset, tags::PATIENT_SEX, VR::CS, sex);
}

fn study(dataset: &mut Dataset, study: &Study) {
    put(dataset, tags::STUDY_INSTANCE_UID, VR::UI, study.uid.as_str());
    put(dataset, tags::STUDY_DATE, VR::DA, study.date.as_str());
    put(dataset, tags::STUDY_TIME, VR::TM, study.time.as_str());
    put(dataset, tags::STUDY_ID, VR::SH, study.id.as_str());
    put(dataset, tags::ACCESSION_NUMBER, VR::SH, study.accession_number.as_str());
    put(dataset, tags::REFERRING_PHYSICIAN_NAME, VR::PN, study.referring_physician.as_str());
    put_present(dataset, tags::STUDY_DESCRIPTION, VR::LO, &study.description);
}

fn series(dataset: &mut Dataset, identity: &ObjectIdentity<'_>) {
    put(dataset, tags::MODALITY, VR::CS, identity.modality);
    put(dataset, tags::SERIES_INSTANCE_UID, VR::UI, identity.series.as_str());
    put(dataset, tags::SERIES_NUMBER, VR::IS, identity.series_number);
    put_lo(dataset, tags::SERIES_DESCRIPTION, &identity.series_description);
}

pub(super) fn equipment(dataset: &mut Dataset, device: &Device) {
    put_lo(dataset, tags::MANUFACTURER, &device.manufacturer);
    put_lo(dataset, tags::MANUFACTURER_MODEL_NAME, &device.model);
    put_lo(dataset, tags::DEVICE_SERIAL_NUMBER, &device.serial_number);
    put_lo(dataset, tags::SOFTWARE_VERSIONS, &device.software_version);
}

/// What lists of series and documents show: that it is a draft comes first.
pub(super) fn title(draft: &Draft) -> String {
    let demo = if draft.provenance.model.notice.is_some() { "DEMO " } else { "" };
    format!("{demo}AI draft, unverified: {}", draft.provenance.pipeline.title)
}

/// One item of a Referenced SOP Sequence.
pub(super) fn sop_reference(sop_class: &str, sop_instance: &str) -> Dataset {
    let mut item = Dataset::new_empty();
    put(&mut item, tags::REFERENCED_SOP_CLASS_UID, VR::UI, sop_class);
    put(&mut item, tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, sop_instance);
    item
}

/// Each instance once, whatever the number of its frames that were used.
pub(super) fn distinct_instances(images: &[ImageReference]) -> Vec<&ImageReference> {
    let mut distinct: Vec<&ImageReference> = Vec::new();
    for image in images {
        if !distinct.iter().any(|known| known.sop_instance == image.sop_instance) {
            distinct.push(image);
        }
    }
    distinct
}

/// Hierarchical SOP Instance Reference Macro, PS3.3 Table C.17-3: one study here.
pub(super) fn evidence(study: &StudyUid, images: &[ImageReference]) -> Vec<Dataset> {
    let instances = distinct_instances(images);
    let mut series: Vec<(&str, Vec<Dataset>)> = Vec::new();
    for image in instances {
        let reference = sop_reference(image.sop_class.as_str(), image.sop_instance.as_str());
        match series.iter_mut().find(|(uid, _)| *uid == image.series.as_str()) {
            Some((_, references)) => references.push(reference),
            None => series.push((image.series.as_str(), vec![reference])),
        }
    }
    let series = series.into_iter().map(|(uid, references)| series_reference(uid, references)).collect();
    vec![study_reference(study, series)]
}

/// Predecessor Documents Sequence: what this document replaces, by series.
pub(super) fn predecessors(study: &Study, predecessors: &[&Predecessor]) -> Vec<Dataset> {
    let mut series: Vec<(&str, Vec<Dataset>)> = Vec::new();
    for predecessor in predecessors {
        let reference = sop_reference(predecessor.sop_class.as_str(), predecessor.sop_instance.as_str());
        match series.iter_mut().find(|(uid, _)| *uid == predecessor.series.as_str()) {
            Some((_, references)) => references.push(reference),
            None => series.push((predecessor.series.as_str(), vec![reference])),
        }
    }
    let series = series.into_iter().map(|(uid, references)| series_reference(uid, references)).collect();
    vec![study_reference(&study.uid, series)]
}

fn study_reference(study: &StudyUid, series: Vec<Dataset>) -> Dataset {
    let mut item = Dataset::new_empty();
    put(&mut item, tags::STUDY_INSTANCE_UID, VR::UI, study.as_str());
    put_items(&mut item, tags::REFERENCED_SERIES_SEQUENCE, series);
    item
}

fn series_reference(uid: &str, references: Vec<Dataset>) -> Dataset {
    let mut item = Dataset::new_empty();
    put(&mut item, tags::SERIES_INSTANCE_UID, VR::UI, uid);
    put_items(&mut item, tags::REFERENCED_SOP_SEQUENCE, references);
    item
}

/// With File Meta Information, Explicit VR Little Endian.
pub(super) fn with_meta(dataset: Dataset) -> Result<FileDicomObject<Dataset>, WithMetaError> {
    let meta = FileMetaTableBuilder::new()
        .transfer_syntax(dicom_dictionary_std::uids::EXPLICIT_VR_LITTLE_ENDIAN)
        .implementation_class_uid(IMPLEMENTATION_CLASS_UID)
        .implementation_version_name(IMPLEMENTATION_VERSION_NAME);
    dataset.with_meta(meta)
}
