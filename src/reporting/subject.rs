//! Patient, study and request as the images name them.

use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

use crate::dicom::uid::StudyUid;
use crate::report::document::{Patient, Request, Study, Subject};
use crate::volume::attributes::{items, text};

pub(crate) fn of(study: &StudyUid, object: &InMemDicomObject) -> Subject {
    let value = |tag| text(object, tag).unwrap_or_default();
    Subject {
        patient: Patient {
            name: value(tags::PATIENT_NAME),
            id: value(tags::PATIENT_ID),
            id_issuer: value(tags::ISSUER_OF_PATIENT_ID),
            birth_date: value(tags::PATIENT_BIRTH_DATE),
            sex: value(tags::PATIENT_SEX),
        },
        study: Study {
            uid: study.clone(),
            date: value(tags::STUDY_DATE),
            time: value(tags::STUDY_TIME),
            id: value(tags::STUDY_ID),
            accession_number: value(tags::ACCESSION_NUMBER),
            description: value(tags::STUDY_DESCRIPTION),
            referring_physician: value(tags::REFERRING_PHYSICIAN_NAME),
        },
        request: request(object),
    }
}

/// Where the object was made.
pub(crate) fn institution(object: &InMemDicomObject) -> String {
    text(object, tags::INSTITUTION_NAME).unwrap_or_default()
}

/// The first of the Request Attributes Sequence, PS3.3 C.7.3.1.
fn request(object: &InMemDicomObject) -> Request {
    let item = items(object, tags::REQUEST_ATTRIBUTES_SEQUENCE).first();
    let value = |tag| item.and_then(|item| text(item, tag)).unwrap_or_default();
    Request {
        procedure_id: value(tags::REQUESTED_PROCEDURE_ID),
        procedure_description: value(tags::REQUESTED_PROCEDURE_DESCRIPTION),
        reason: value(tags::REASON_FOR_THE_REQUESTED_PROCEDURE),
    }
}
