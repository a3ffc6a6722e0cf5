//! The attribute table: every attribute that the index knows, once.
//!
//! Search parameters, returned attributes, SQL columns, the level an attribute belongs to and
//! the conformance statement all follow from these rows (PS3.18 Tables 10.6.1-5 and 10.6.3-3
//! to 10.6.3-5, PS3.3 A.1.2).

mod levels;

use std::fmt;
use std::str::FromStr;

use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;

pub use levels::{belongs_to, level_of};

/// Levels of the information model, from the top.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    Patient,
    Study,
    Series,
    Instance,
}

/// How a value of the request is compared with the index, PS3.4 C.2.2.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Matching {
    /// Returned only.
    None,
    /// Single value or wildcard.
    Text,
    /// Single value or wildcard on this upper-case column.
    Name {
        folded: &'static str,
    },
    /// One UID or a list of them.
    Uid,
    Date,
    Time,
    Number,
    /// Any series of the study has one of the listed modalities.
    AnyModality,
}

/// Where the value lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// A text column of the index, `table.column`.
    Text(&'static str),
    /// A number column of the index, `table.column`.
    Number(&'static str),
    /// The modalities of the series below.
    Modalities,
    /// Only in the stored JSON of the level.
    Json,
}

/// When a search answers with the attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Returned {
    /// In each answer of its level, empty or not.
    Always,
    /// In each answer of its level that has a value for it.
    IfPresent,
    /// When the request includes it.
    OnRequest,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Attribute {
    pub tag: Tag,
    pub keyword: &'static str,
    pub vr: VR,
    pub level: Level,
    pub held: Held,
    pub matching: Matching,
    pub returned: Returned,
}

macro_rules! attributes {
    ($($level:ident { $($tag:ident $keyword:literal $vr:ident $held:expr, $matching:expr, $returned:ident;)+ })+) => {
        &[$($(Attribute {
            tag: tags::$tag,
            keyword: $keyword,
            vr: VR::$vr,
            level: Level::$level,
            held: $held,
            matching: $matching,
            returned: Returned::$returned,
        },)+)+]
    };
}

use Held::{Json, Modalities, Number, Text};

/// Sorted by level, then by tag.
#[expect(deprecated, reason = "objects of older devices carry attributes that are retired since")]
pub static ATTRIBUTES: &[Attribute] = attributes! {
    Patient {
        PATIENT_NAME "PatientName" PN Text("patient.name"), Matching::Name { folded: "patient.name_folded" }, Always;
        PATIENT_ID "PatientID" LO Text("patient.patient_id"), Matching::Text, Always;
        ISSUER_OF_PATIENT_ID "IssuerOfPatientID" LO Text("patient.issuer"), Matching::Text, IfPresent;
        TYPE_OF_PATIENT_ID "TypeOfPatientID" CS Json, Matching::None, OnRequest;
        PATIENT_BIRTH_DATE "PatientBirthDate" DA Text("patient.birth_date"), Matching::Date, Always;
        PATIENT_BIRTH_TIME "PatientBirthTime" TM Json, Matching::None, OnRequest;
        PATIENT_SEX "PatientSex" CS Text("patient.sex"), Matching::Text, Always;
        OTHER_PATIENT_I_DS "OtherPatientIDs" LO Json, Matching::None, OnRequest;
        OTHER_PATIENT_NAMES "OtherPatientNames" PN Json, Matching::None, OnRequest;
        OTHER_PATIENT_I_DS_SEQUENCE "OtherPatientIDsSequence" SQ Json, Matching::None, OnRequest;
        ETHNIC_GROUP "EthnicGroup" SH Json, Matching::None, OnRequest;
        PATIENT_SPECIES_DESCRIPTION "PatientSpeciesDescription" LO Json, Matching::None, OnRequest;
        PATIENT_COMMENTS "PatientComments" LT Json, Matching::None, OnRequest;
        PATIENT_IDENTITY_REMOVED "PatientIdentityRemoved" CS Json, Matching::None, OnRequest;
        DEIDENTIFICATION_METHOD "DeidentificationMethod" LO Json, Matching::None, OnRequest;
    }
    Study {
        STUDY_DATE "StudyDate" DA Text("study.study_date"), Matching::Date, Always;
        STUDY_TIME "StudyTime" TM Text("study.study_time"), Matching::Time, Always;
        ACCESSION_NUMBER "AccessionNumber" SH Text("study.accession_number"), Matching::Text, Always;
        ISSUER_OF_ACCESSION_NUMBER_SEQUENCE "IssuerOfAccessionNumberSequence" SQ Json, Matching::None, OnRequest;
        MODALITIES_IN_STUDY "ModalitiesInStudy" CS Modalities, Matching::AnyModality, IfPresent;
        REFERRING_PHYSICIAN_NAME "ReferringPhysicianName" PN Text("study.referring_physician"), Matching::Name { folded: "study.referring_folded" }, Always;
        CONSULTING_PHYSICIAN_NAME "ConsultingPhysicianName" PN Json, Matching::None, OnRequest;
        TIMEZONE_OFFSET_FROM_UTC "TimezoneOffsetFromUTC" SH Json, Matching::None, OnRequest;
        STUDY_DESCRIPTION "StudyDescription" LO Text("study.description"), Matching::Text, IfPresent;
        PROCEDURE_CODE_SEQUENCE "ProcedureCodeSequence" SQ Json, Matching::None, OnRequest;
        PHYSICIANS_OF_RECORD "PhysiciansOfRecord" PN Json, Matching::None, OnRequest;
        NAME_OF_PHYSICIANS_READING_STUDY "NameOfPhysiciansReadingStudy" PN Json, Matching::None, OnRequest;
        ADMITTING_DIAGNOSES_DESCRIPTION "AdmittingDiagnosesDescription" LO Json, Matching::None, OnRequest;
        REFERENCED_STUDY_SEQUENCE "ReferencedStudySequence" SQ Json, Matching::None, OnRequest;
        PATIENT_AGE "PatientAge" AS Json, Matching::None, OnRequest;
        PATIENT_SIZE "PatientSize" DS Json, Matching::None, OnRequest;
        PATIENT_WEIGHT "PatientWeight" DS Json, Matching::None, OnRequest;
        MEDICAL_ALERTS "MedicalAlerts" LO Json, Matching::None, OnRequest;
        ALLERGIES "Allergies" LO Json, Matching::None, OnRequest;
        OCCUPATION "Occupation" SH Json, Matching::None, OnRequest;
        ADDITIONAL_PATIENT_HISTORY "AdditionalPatientHistory" LT Json, Matching::None, OnRequest;
        PREGNANCY_STATUS "PregnancyStatus" US Json, Matching::None, OnRequest;
        STUDY_INSTANCE_UID "StudyInstanceUID" UI Text("study.study_uid"), Matching::Uid, Always;
        STUDY_ID "StudyID" SH Text("study.study_id"), Matching::Text, Always;
        NUMBER_OF_STUDY_RELATED_SERIES "NumberOfStudyRelatedSeries" IS Number("study.series_count"), Matching::None, Always;
        NUMBER_OF_STUDY_RELATED_INSTANCES "NumberOfStudyRelatedInstances" IS Number("study.instance_count"), Matching::None, Always;
        REQUESTED_PROCEDURE_DESCRIPTION "RequestedProcedureDescription" LO Json, Matching::None, OnRequest;
        ADMISSION_ID "AdmissionID" LO Json, Matching::None, OnRequest;
        REASON_FOR_THE_REQUESTED_PROCEDURE "ReasonForTheRequestedProcedure" LO Json, Matching::None, OnRequest;
    }
    Series {
        SERIES_DATE "SeriesDate" DA Json, Matching::None, OnRequest;
        SERIES_TIME "SeriesTime" TM Json, Matching::None, OnRequest;
        MODALITY "Modality" CS Text("series.modality"), Matching::Text, Always;
        MANUFACTURER "Manufacturer" LO Json, Matching::None, OnRequest;
        INSTITUTION_NAME "InstitutionName" LO Json, Matching::None, OnRequest;
        STATION_NAME "StationName" SH Json, Matching::None, OnRequest;
        SERIES_DESCRIPTION "SeriesDescription" LO Text("series.description"), Matching::Text, IfPresent;
        INSTITUTIONAL_DEPARTMENT_NAME "InstitutionalDepartmentName" LO Json, Matching::None, OnRequest;
        PERFORMING_PHYSICIAN_NAME "PerformingPhysicianName" PN Json, Matching::None, OnRequest;
        OPERATORS_NAME "OperatorsName" PN Json, Matching::None, OnRequest;
        MANUFACTURER_MODEL_NAME "ManufacturerModelName" LO Json, Matching::None, OnRequest;
        REFERENCED_PERFORMED_PROCEDURE_STEP_SEQUENCE "ReferencedPerformedProcedureStepSequence" SQ Json, Matching::None, OnRequest;
        BODY_PART_EXAMINED "BodyPartExamined" CS Text("series.body_part"), Matching::Text, IfPresent;
        DEVICE_SERIAL_NUMBER "DeviceSerialNumber" LO Json, Matching::None, OnRequest;
        SOFTWARE_VERSIONS "SoftwareVersions" LO Json, Matching::None, OnRequest;
        PROTOCOL_NAME "ProtocolName" LO Json, Matching::None, OnRequest;
        PATIENT_POSITION "PatientPosition" CS Json, Matching::None, OnRequest;
        SERIES_INSTANCE_UID "SeriesInstanceUID" UI Text("series.series_uid"), Matching::Uid, Always;
        SERIES_NUMBER "SeriesNumber" IS Number("series.series_number"), Matching::Number, Always;
        FRAME_OF_REFERENCE_UID "FrameOfReferenceUID" UI Json, Matching::None, OnRequest;
        LATERALITY "Laterality" CS Json, Matching::None, OnRequest;
        NUMBER_OF_SERIES_RELATED_INSTANCES "NumberOfSeriesRelatedInstances" IS Number("series.instance_count"), Matching::None, Always;
        PERFORMED_PROCEDURE_STEP_START_DATE "PerformedProcedureStepStartDate" DA Text("series.performed_start_date"), Matching::Date, IfPresent;
        PERFORMED_PROCEDURE_STEP_START_TIME "PerformedProcedureStepStartTime" TM Text("series.performed_start_time"), Matching::Time, IfPresent;
        PERFORMED_PROCEDURE_STEP_ID "PerformedProcedureStepID" SH Json, Matching::None, OnRequest;
        PERFORMED_PROCEDURE_STEP_DESCRIPTION "PerformedProcedureStepDescription" LO Json, Matching::None, OnRequest;
        REQUEST_ATTRIBUTES_SEQUENCE "RequestAttributesSequence" SQ Json, Matching::None, OnRequest;
    }
    Instance {
        SOP_CLASS_UID "SOPClassUID" UI Text("instance.sop_class_uid"), Matching::Uid, Always;
        SOP_INSTANCE_UID "SOPInstanceUID" UI Text("instance.sop_instance_uid"), Matching::Uid, Always;
        AVAILABLE_TRANSFER_SYNTAX_UID "AvailableTransferSyntaxUID" UI Text("instance.transfer_syntax"), Matching::None, Always;
        INSTANCE_NUMBER "InstanceNumber" IS Number("instance.instance_number"), Matching::Number, Always;
        NUMBER_OF_FRAMES "NumberOfFrames" IS Number("instance.number_of_frames"), Matching::None, IfPresent;
        ROWS "Rows" US Number("instance.rows"), Matching::None, IfPresent;
        COLUMNS "Columns" US Number("instance.columns"), Matching::None, IfPresent;
        BITS_ALLOCATED "BitsAllocated" US Number("instance.bits_allocated"), Matching::None, IfPresent;
    }
};

/// The row of a tag.
pub fn by_tag(tag: Tag) -> Option<&'static Attribute> {
    ATTRIBUTES.iter().find(|attribute| attribute.tag == tag)
}

/// The tags of a level.
pub fn of_level(level: Level) -> impl Iterator<Item = &'static Attribute> {
    ATTRIBUTES.iter().filter(move |attribute| attribute.level == level)
}

/// A tag as PS3.18 8.3.4.1 writes attribute identifiers: eight digits or a keyword.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttributeId(pub Tag);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("neither a tag nor a keyword of the data dictionary")]
pub struct UnknownAttribute;

impl FromStr for AttributeId {
    type Err = UnknownAttribute;

    /// Keywords are case-sensitive.
    fn from_str(text: &str) -> Result<Self, UnknownAttribute> {
        tag_of_digits(text).or_else(|| tag_of_keyword(text)).map(Self).ok_or(UnknownAttribute)
    }
}

/// A tag written as eight hexadecimal digits.
pub fn tag_of_digits(text: &str) -> Option<Tag> {
    if text.len() != 8 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let number = u32::from_str_radix(text, 16).ok()?;
    Some(Tag((number >> 16) as u16, (number & 0xFFFF) as u16))
}

fn tag_of_keyword(text: &str) -> Option<Tag> {
    use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry};
    dicom_dictionary_std::StandardDataDictionary.by_name(text).map(|entry| entry.tag())
}

impl fmt::Display for AttributeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04X}{:04X}", self.0.0, self.0.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_agrees_with_the_data_dictionary() {
        for attribute in ATTRIBUTES {
            let id: AttributeId = attribute.keyword.parse().unwrap();
            assert_eq!(id.0, attribute.tag, "{}", attribute.keyword);
        }
    }

    #[test]
    fn the_table_is_sorted_and_has_no_row_twice() {
        let keys: Vec<_> = ATTRIBUTES.iter().map(|a| (a.level, a.tag)).collect();
        assert!(keys.windows(2).all(|pair| pair[0] < pair[1]), "{keys:?}");
    }

    #[test]
    fn identifiers_are_tags_or_keywords() {
        assert_eq!("0020000d".parse(), Ok(AttributeId(tags::STUDY_INSTANCE_UID)));
        assert_eq!("PatientID".parse(), Ok(AttributeId(tags::PATIENT_ID)));
        assert_eq!("patientid".parse::<AttributeId>(), Err(UnknownAttribute));
        assert_eq!(AttributeId(tags::STUDY_INSTANCE_UID).to_string(), "0020000D");
    }
}
