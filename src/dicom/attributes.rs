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

/// Where the value lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// A text column of the index, `table.column`.
    Text(&'static str),
    /// A number column of the index, `table.column`.
    Number(&'static str),
    /// A person name, `table.column`; beside it lie columns with what names are matched by.
    Name(&'static str),
    /// Several texts between backslashes.
    List(&'static str),
    /// A DICOM JSON element.
    Element(&'static str),
}

impl Held {
    pub fn column(self) -> &'static str {
        let (Self::Text(column)
        | Self::Number(column)
        | Self::Name(column)
        | Self::List(column)
        | Self::Element(column)) = self;
        column
    }
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
    pub returned: Returned,
}

macro_rules! attributes {
    ($($level:ident { $($tag:ident $keyword:literal $vr:ident $held:ident $column:literal $returned:ident;)+ })+) => {
        &[$($(Attribute {
            tag: tags::$tag,
            keyword: $keyword,
            vr: VR::$vr,
            level: Level::$level,
            held: Held::$held($column),
            returned: Returned::$returned,
        },)+)+]
    };
}

/// Sorted by level, then by tag.
pub static ATTRIBUTES: &[Attribute] = attributes! {
    Patient {
        PATIENT_NAME "PatientName" PN Name "patient.name" Always;
        PATIENT_ID "PatientID" LO Text "patient.patient_id" Always;
        ISSUER_OF_PATIENT_ID "IssuerOfPatientID" LO Text "patient.issuer" IfPresent;
        PATIENT_BIRTH_DATE "PatientBirthDate" DA Text "patient.birth_date" Always;
        PATIENT_SEX "PatientSex" CS Text "patient.sex" Always;
        NUMBER_OF_PATIENT_RELATED_STUDIES "NumberOfPatientRelatedStudies" IS Number "patient.study_count" OnRequest;
        NUMBER_OF_PATIENT_RELATED_SERIES "NumberOfPatientRelatedSeries" IS Number "patient.series_count" OnRequest;
        NUMBER_OF_PATIENT_RELATED_INSTANCES "NumberOfPatientRelatedInstances" IS Number "patient.instance_count" OnRequest;
    }
    Study {
        STUDY_DATE "StudyDate" DA Text "study.study_date" Always;
        STUDY_TIME "StudyTime" TM Text "study.study_time" Always;
        ACCESSION_NUMBER "AccessionNumber" SH Text "study.accession_number" Always;
        MODALITIES_IN_STUDY "ModalitiesInStudy" CS List "study.modalities" IfPresent;
        SOP_CLASSES_IN_STUDY "SOPClassesInStudy" UI List "study.sop_classes" OnRequest;
        REFERRING_PHYSICIAN_NAME "ReferringPhysicianName" PN Name "study.referring" Always;
        TIMEZONE_OFFSET_FROM_UTC "TimezoneOffsetFromUTC" SH Text "study.timezone_offset" IfPresent;
        STUDY_DESCRIPTION "StudyDescription" LO Text "study.description" IfPresent;
        STUDY_INSTANCE_UID "StudyInstanceUID" UI Text "study.study_uid" Always;
        STUDY_ID "StudyID" SH Text "study.study_id" Always;
        NUMBER_OF_STUDY_RELATED_SERIES "NumberOfStudyRelatedSeries" IS Number "study.series_count" Always;
        NUMBER_OF_STUDY_RELATED_INSTANCES "NumberOfStudyRelatedInstances" IS Number "study.instance_count" Always;
    }
    Series {
        MODALITY "Modality" CS Text "series.modality" Always;
        SERIES_DESCRIPTION "SeriesDescription" LO Text "series.description" IfPresent;
        BODY_PART_EXAMINED "BodyPartExamined" CS Text "series.body_part" IfPresent;
        SERIES_INSTANCE_UID "SeriesInstanceUID" UI Text "series.series_uid" Always;
        SERIES_NUMBER "SeriesNumber" IS Number "series.series_number" Always;
        NUMBER_OF_SERIES_RELATED_INSTANCES "NumberOfSeriesRelatedInstances" IS Number "series.instance_count" Always;
        PERFORMED_PROCEDURE_STEP_START_DATE "PerformedProcedureStepStartDate" DA Text "series.performed_start_date" IfPresent;
        PERFORMED_PROCEDURE_STEP_START_TIME "PerformedProcedureStepStartTime" TM Text "series.performed_start_time" IfPresent;
        REQUEST_ATTRIBUTES_SEQUENCE "RequestAttributesSequence" SQ Element "series.request_attributes" IfPresent;
    }
    Instance {
        SOP_CLASS_UID "SOPClassUID" UI Text "instance.sop_class_uid" Always;
        SOP_INSTANCE_UID "SOPInstanceUID" UI Text "instance.sop_instance_uid" Always;
        AVAILABLE_TRANSFER_SYNTAX_UID "AvailableTransferSyntaxUID" UI Text "instance.transfer_syntax" Always;
        INSTANCE_NUMBER "InstanceNumber" IS Number "instance.instance_number" Always;
        NUMBER_OF_FRAMES "NumberOfFrames" IS Number "instance.number_of_frames" IfPresent;
        ROWS "Rows" US Number "instance.rows" IfPresent;
        COLUMNS "Columns" US Number "instance.columns" IfPresent;
        BITS_ALLOCATED "BitsAllocated" US Number "instance.bits_allocated" IfPresent;
    }
};

/// The row of a tag.
pub fn by_tag(tag: Tag) -> Option<&'static Attribute> {
    ATTRIBUTES.iter().find(|attribute| attribute.tag == tag)
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
