//! Objects in an archive, for the tests of what reads them.

use std::time::Duration;

use dicom_core::{DataElement, PrimitiveValue, VR, dicom_value};
use dicom_dictionary_std::tags;
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};

use super::*;
use crate::clock::Timestamp;
use crate::config::Preamble;

/// Stores files one after the other.
pub(crate) async fn hold(db: &Db, blobs: &Blobs, files: &[Vec<u8>]) {
    let ingest = Ingest::new(db.clone(), blobs.clone(), Clock::manual(Timestamp(1)), policy());
    let origin = Origin::of(Source::Import);
    for file in files {
        let body = Body::Part10(file.as_slice());
        ingest.store(Received { body, origin: &origin, only_study: None }).await.unwrap();
    }
}

pub(crate) fn policy() -> Policy {
    Policy {
        instance_bytes_max: 1 << 20,
        header: header::Limits {
            inline_bytes_max: 1024,
            header_bytes_max: 1 << 19,
            depth_max: 8,
            elements_max: 1000,
            fragments_max: 100,
        },
        sop_classes_extra: vec!["*".into()],
        on_duplicate: OnDuplicate::Reject,
        preamble: Preamble::Keep,
        picture_bytes_max: 1 << 20,
        concurrency: 4,
        quiet_time: Duration::from_secs(1),
    }
}

/// An image of patient P1, study 1.2.3 and series 1.2.3.4, until something else is put in.
pub(crate) fn image(sop_class: &str, instance: &str) -> InMemDicomObject {
    let short = |tag, value: u16| DataElement::new(tag, VR::US, dicom_value!(U16, [value]));
    InMemDicomObject::from_element_iter([
        DataElement::new(tags::SOP_CLASS_UID, VR::UI, sop_class),
        DataElement::new(tags::SOP_INSTANCE_UID, VR::UI, instance),
        DataElement::new(tags::PATIENT_ID, VR::LO, "P1"),
        DataElement::new(tags::STUDY_INSTANCE_UID, VR::UI, "1.2.3"),
        DataElement::new(tags::SERIES_INSTANCE_UID, VR::UI, "1.2.3.4"),
        short(tags::SAMPLES_PER_PIXEL, 1),
        DataElement::new(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2"),
        short(tags::ROWS, 20),
        short(tags::COLUMNS, 20),
        short(tags::BITS_ALLOCATED, 16),
        short(tags::BITS_STORED, 12),
        short(tags::HIGH_BIT, 11),
        short(tags::PIXEL_REPRESENTATION, 0),
        DataElement::new(tags::PIXEL_DATA, VR::OW, PrimitiveValue::U16((0..400).collect())),
    ])
}

pub(crate) fn file(object: InMemDicomObject, syntax: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let meta = FileMetaTableBuilder::new().transfer_syntax(syntax);
    object.with_meta(meta).unwrap().write_all(&mut bytes).unwrap();
    bytes
}
