//! The directory records of PS3.3 F.5: which kind an object has, and its keys.

use dicom_core::Tag;
use dicom_dictionary_std::tags;
use serde_json::{Map, Value, json};

use Type::{One, Three, Two};

use crate::dicom::attributes::tag_of_digits;
use crate::dicom::header::hex;
use crate::dicom::uid::SopClassUid;

/// Directory Record Type (0004,1430).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Patient,
    Study,
    Series,
    Image,
    RtDose,
    RtStructureSet,
    RtPlan,
    RtTreatment,
    Presentation,
    Waveform,
    SrDocument,
    KeyObject,
    Spectroscopy,
    RawData,
    Registration,
    Fiducial,
    EncapsulatedDocument,
    ValueMap,
    Stereometric,
    Plan,
    Measurement,
    Surface,
    SurfaceScan,
    Tract,
    Assessment,
    Radiotherapy,
}

/// SOP classes by how they begin, behind [`STORAGE`]; what is none of these is an image.
const CLASSES: &[(&str, Kind)] = &[
    ("481.2", Kind::RtDose),
    ("481.3", Kind::RtStructureSet),
    ("481.5", Kind::RtPlan),
    ("481.8", Kind::RtPlan),
    ("481.4", Kind::RtTreatment),
    ("481.6", Kind::RtTreatment),
    ("481.7", Kind::RtTreatment),
    ("481.9", Kind::RtTreatment),
    ("481.1", Kind::Image),
    ("11.", Kind::Presentation),
    ("9.", Kind::Waveform),
    ("88.59", Kind::KeyObject),
    ("88.", Kind::SrDocument),
    ("4.2", Kind::Spectroscopy),
    ("66.1", Kind::Registration),
    ("66.2", Kind::Fiducial),
    ("66.3", Kind::Registration),
    ("66.5", Kind::Surface),
    ("66.6", Kind::Tract),
    ("66", Kind::RawData),
    ("104.", Kind::EncapsulatedDocument),
    ("67", Kind::ValueMap),
    ("77.1.5.3", Kind::Stereometric),
    ("68.", Kind::SurfaceScan),
    ("78.", Kind::Measurement),
    ("79.1", Kind::Measurement),
    ("80.1", Kind::Measurement),
    ("90.1", Kind::Assessment),
];
/// Segmentations and label maps are images among the classes of raw data.
const SEGMENTATIONS: [&str; 3] = ["66.4", "66.7", "66.8"];
/// Of the second generation, other than images.
const RADIOTHERAPY: std::ops::RangeInclusive<u32> = 10..=22;
const STORAGE: &str = "1.2.840.10008.5.1.4.1.1.";
const DELIVERY_INSTRUCTIONS: &str = "1.2.840.10008.5.1.4.34.";

impl Kind {
    pub(super) fn of(sop_class: &SopClassUid) -> Self {
        if sop_class.as_str().starts_with(DELIVERY_INSTRUCTIONS) {
            return Self::Plan;
        }
        let Some(class) = sop_class.as_str().strip_prefix(STORAGE) else { return Self::Image };
        let of_radiotherapy = class.strip_prefix("481.").and_then(|number| number.parse().ok());
        if of_radiotherapy.is_some_and(|number| RADIOTHERAPY.contains(&number)) {
            return Self::Radiotherapy;
        }
        if SEGMENTATIONS.contains(&class) {
            return Self::Image;
        }
        let is_or_begins = |known: &str| match known.ends_with('.') {
            true => class.starts_with(known),
            false => class == known,
        };
        CLASSES.iter().find(|(known, _)| is_or_begins(known)).map_or(Self::Image, |(_, kind)| *kind)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Patient => "PATIENT",
            Self::Study => "STUDY",
            Self::Series => "SERIES",
            Self::Image => "IMAGE",
            Self::RtDose => "RT DOSE",
            Self::RtStructureSet => "RT STRUCTURE SET",
            Self::RtPlan => "RT PLAN",
            Self::RtTreatment => "RT TREAT RECORD",
            Self::Presentation => "PRESENTATION",
            Self::Waveform => "WAVEFORM",
            Self::SrDocument => "SR DOCUMENT",
            Self::KeyObject => "KEY OBJECT DOC",
            Self::Spectroscopy => "SPECTROSCOPY",
            Self::RawData => "RAW DATA",
            Self::Registration => "REGISTRATION",
            Self::Fiducial => "FIDUCIAL",
            Self::EncapsulatedDocument => "ENCAP DOC",
            Self::ValueMap => "VALUE MAP",
            Self::Stereometric => "STEREOMETRIC",
            Self::Plan => "PLAN",
            Self::Measurement => "MEASUREMENT",
            Self::Surface => "SURFACE",
            Self::SurfaceScan => "SURFACE SCAN",
            Self::Tract => "TRACT",
            Self::Assessment => "ASSESSMENT",
            Self::Radiotherapy => "RADIOTHERAPY",
        }
    }

    /// Of the names of folders and files.
    pub(super) fn prefix(self) -> &'static str {
        match self {
            Self::Study => "ST",
            Self::Series => "SE",
            Self::Image => "IM",
            Self::SrDocument | Self::KeyObject => "SR",
            Self::EncapsulatedDocument => "DO",
            Self::Presentation => "PR",
            _ => "OB",
        }
    }

    /// Attributes of the record and the type of each (PS3.3 F.5).
    fn rows(self) -> Vec<Key> {
        match self {
            Self::Patient => vec![(tags::PATIENT_NAME, "PN", Two), (tags::PATIENT_ID, "LO", One)],
            Self::Study => vec![
                (tags::STUDY_DATE, "DA", One),
                (tags::STUDY_TIME, "TM", One),
                (tags::ACCESSION_NUMBER, "SH", Two),
                (tags::STUDY_DESCRIPTION, "LO", Two),
                (tags::STUDY_INSTANCE_UID, "UI", One),
                (tags::STUDY_ID, "SH", One),
            ],
            Self::Series => vec![
                (tags::MODALITY, "CS", One),
                (tags::SERIES_INSTANCE_UID, "UI", One),
                (tags::SERIES_NUMBER, "IS", One),
            ],
            _ => [&[NUMBER], self.content(), self.own(), self.labels()].concat(),
        }
    }

    /// When the content was made, where the record says that.
    fn content(self) -> &'static [Key] {
        const MUST: &[Key] = &[(tags::CONTENT_DATE, "DA", One), (tags::CONTENT_TIME, "TM", One)];
        const MAY: &[Key] = &[(tags::CONTENT_DATE, "DA", Two), (tags::CONTENT_TIME, "TM", Two)];
        match self {
            Self::EncapsulatedDocument => MAY,
            Self::Image
            | Self::Stereometric
            | Self::Plan
            | Self::RtDose
            | Self::RtStructureSet
            | Self::RtPlan
            | Self::RtTreatment
            | Self::Presentation => &[],
            _ => MUST,
        }
    }

    fn labels(self) -> &'static [Key] {
        match self {
            Self::Presentation | Self::Registration | Self::Fiducial | Self::ValueMap => &[
                (tags::CONTENT_LABEL, "CS", One),
                (tags::CONTENT_DESCRIPTION, "LO", Two),
                (tags::CONTENT_CREATOR_NAME, "PN", Two),
            ],
            _ => &[],
        }
    }

    /// What no other kind has.
    fn own(self) -> &'static [Key] {
        match self {
            Self::RtDose => &[(tags::DOSE_SUMMATION_TYPE, "CS", One), (tags::DOSE_COMMENT, "LO", Three)],
            Self::RtStructureSet => &[
                (tags::STRUCTURE_SET_LABEL, "SH", One),
                (tags::STRUCTURE_SET_DATE, "DA", Two),
                (tags::STRUCTURE_SET_TIME, "TM", Two),
            ],
            Self::RtPlan => &[
                (tags::RT_PLAN_LABEL, "SH", One),
                (tags::RT_PLAN_DATE, "DA", Two),
                (tags::RT_PLAN_TIME, "TM", Two),
            ],
            Self::RtTreatment => &[(tags::TREATMENT_DATE, "DA", Two), (tags::TREATMENT_TIME, "TM", Two)],
            Self::Presentation => &[
                (tags::PRESENTATION_CREATION_DATE, "DA", One),
                (tags::PRESENTATION_CREATION_TIME, "TM", One),
                (tags::REFERENCED_SERIES_SEQUENCE, "SQ", Three),
                (tags::BLENDING_SEQUENCE, "SQ", Three),
            ],
            Self::SrDocument => &[
                (tags::COMPLETION_FLAG, "CS", One),
                (tags::VERIFICATION_FLAG, "CS", One),
                (tags::VERIFICATION_DATE_TIME, "DT", Three),
                (tags::CONCEPT_NAME_CODE_SEQUENCE, "SQ", One),
                (tags::CONTENT_SEQUENCE, "SQ", Three),
            ],
            Self::KeyObject => {
                &[(tags::CONCEPT_NAME_CODE_SEQUENCE, "SQ", One), (tags::CONTENT_SEQUENCE, "SQ", Three)]
            }
            Self::Spectroscopy => SPECTROSCOPY,
            Self::EncapsulatedDocument => &[
                (tags::DOCUMENT_TITLE, "ST", Two),
                (tags::HL7_INSTANCE_IDENTIFIER, "ST", Three),
                (tags::CONCEPT_NAME_CODE_SEQUENCE, "SQ", Two),
                (tags::MIME_TYPE_OF_ENCAPSULATED_DOCUMENT, "LO", One),
            ],
            _ => &[],
        }
    }

    /// The keys of a record for an object with these attributes.
    pub(super) fn keys(self, attributes: &Map<String, Value>) -> Map<String, Value> {
        let mut record = Map::new();
        record.insert(hex(tags::DIRECTORY_RECORD_TYPE), json!({ "vr": "CS", "Value": [self.name()] }));
        for (tag, vr, needed) in self.rows() {
            let stored = attributes.get(&hex(tag)).filter(|element| has_value(element));
            let stored = match tag {
                tags::CONTENT_SEQUENCE => stored.and_then(modifiers),
                tags::VERIFICATION_DATE_TIME => stored.cloned().or_else(|| verified_at(attributes)),
                _ => stored.cloned(),
            };
            let value = match (stored, needed) {
                (Some(element), _) => element,
                (None, One) => invented(vr),
                (None, Two) => json!({ "vr": vr }),
                (None, Three) => continue,
            };
            record.insert(hex(tag), value);
        }
        if !is_ascii(&record) {
            record.insert(hex(tags::SPECIFIC_CHARACTER_SET), json!({ "vr": "CS", "Value": ["ISO_IR 192"] }));
        }
        record
    }
}

/// An attribute of a record, its VR and its type.
type Key = (Tag, &'static str, Type);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    One,
    Two,
    Three,
}

const NUMBER: Key = (tags::INSTANCE_NUMBER, "IS", One);

const SPECTROSCOPY: &[Key] = &[
    (tags::IMAGE_TYPE, "CS", One),
    (tags::REFERENCED_IMAGE_EVIDENCE_SEQUENCE, "SQ", Three),
    (tags::NUMBER_OF_FRAMES, "IS", One),
    (tags::ROWS, "US", One),
    (tags::COLUMNS, "US", One),
    (tags::DATA_POINT_ROWS, "UL", One),
    (tags::DATA_POINT_COLUMNS, "UL", One),
];

fn has_value(element: &Value) -> bool {
    let values = element.get("Value").and_then(Value::as_array);
    values.is_some_and(|values| values.iter().any(|value| !value.is_null()))
}

/// The latest verification; a record of a verified document has one (F.5.24).
fn verified_at(attributes: &Map<String, Value>) -> Option<Value> {
    let flag = &attributes.get(&hex(tags::VERIFICATION_FLAG))?["Value"][0];
    let observers = attributes.get(&hex(tags::VERIFYING_OBSERVER_SEQUENCE));
    let observers = observers.and_then(|sequence| sequence["Value"].as_array()).into_iter().flatten();
    let time = observers.filter_map(|item| item[hex(tags::VERIFICATION_DATE_TIME)]["Value"][0].as_str());
    let time = time.max().unwrap_or("19000101000000");
    (flag == "VERIFIED").then(|| json!({ "vr": "DT", "Value": [time] }))
}

/// Content Sequence has the modifiers of the title alone (F.5.24).
fn modifiers(content: &Value) -> Option<Value> {
    let items = content["Value"].as_array()?;
    let is_modifier = |item: &&Value| item[hex(tags::RELATIONSHIP_TYPE)]["Value"][0] == "HAS CONCEPT MOD";
    let modifiers: Vec<&Value> = items.iter().filter(is_modifier).collect();
    (!modifiers.is_empty()).then(|| json!({ "vr": "SQ", "Value": modifiers }))
}

/// What a record must have and the object has not.
fn invented(vr: &str) -> Value {
    match vr {
        "DA" => json!({ "vr": vr, "Value": ["19000101"] }),
        "TM" => json!({ "vr": vr, "Value": ["000000"] }),
        "IS" | "US" | "UL" => json!({ "vr": vr, "Value": [1] }),
        "SQ" => json!({ "vr": vr }),
        "UI" => json!({ "vr": vr, "Value": [crate::ids::new_uid()] }),
        _ => json!({ "vr": vr, "Value": ["UNKNOWN"] }),
    }
}

/// Numbers that tell the records of one study apart.
pub(super) fn invent(kind: Kind, record: &mut Map<String, Value>, ordinal: usize) {
    let (tag, unknown, value) = match kind {
        Kind::Study => (tags::STUDY_ID, json!("UNKNOWN"), json!(ordinal.to_string())),
        _ => return,
    };
    if let Some(element) = record.get_mut(&hex(tag)).filter(|element| element["Value"][0] == unknown) {
        element["Value"][0] = value;
    }
}

fn is_ascii(record: &Map<String, Value>) -> bool {
    record.iter().all(|(key, element)| tag_of_digits(key).is_some() && element.to_string().is_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(class: &str, expected: Kind) {
        assert_eq!(Kind::of(&format!("{STORAGE}{class}").parse().unwrap()), expected, "{class}");
    }

    #[test]
    fn objects_have_the_records_of_their_kind() {
        check("2", Kind::Image);
        check("66", Kind::RawData);
        check("66.1", Kind::Registration);
        check("66.4", Kind::Image);
        check("88.34", Kind::SrDocument);
        check("88.59", Kind::KeyObject);
        check("11.1", Kind::Presentation);
        check("104.1", Kind::EncapsulatedDocument);
        check("481.1", Kind::Image);
        check("481.3", Kind::RtStructureSet);
        check("481.10", Kind::Radiotherapy);
        check("9.1.1", Kind::Waveform);
    }

    #[test]
    fn a_record_has_the_modifiers_of_a_title_and_nothing_else_of_the_content() {
        let content = json!({ "vr": "SQ", "Value": [
            { "0040A010": { "vr": "CS", "Value": ["HAS CONCEPT MOD"] } },
            { "0040A010": { "vr": "CS", "Value": ["CONTAINS"] } },
        ]});
        assert_eq!(modifiers(&content).unwrap()["Value"].as_array().unwrap().len(), 1);
    }
}
