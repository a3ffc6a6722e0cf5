//! Phantoms as DICOM objects: a DX image (PS3.3 A.26.1) and a CT series (PS3.3 A.3.1).
//!
//! The patient is plainly fictitious, every UID follows from the seed, and the study description
//! says what the object is.

use dicom_core::value::{C, DataSetSequence};
use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::meta::FileMetaTableBuilder;
use dicom_object::{FileDicomObject, InMemDicomObject, WithMetaError};
use uuid::Uuid;

use super::chest::{ChestPhantom, Photometric};
use super::ct::{self, CtPhantom};
use super::random::Random;

pub type Object = FileDicomObject<InMemDicomObject>;
type Dataset = InMemDicomObject;

/// What every phantom study says of itself.
pub const DESCRIPTION: &str = "Synthetic phantom, not a patient";
const DATE: &str = "20260101";
const TIME: &str = "120000";

/// Names the studies of one seed: all its UIDs are derived from this.
#[derive(Debug, Clone, Copy)]
pub struct Label {
    /// `CHEST` or `CT`.
    pub kind: &'static str,
    pub seed: u64,
}

impl Label {
    pub fn study_uid(&self) -> String {
        self.uid("study")
    }

    /// A UID under 2.25 (PS3.5 B.2) that depends on nothing but the label and `part`.
    fn uid(&self, part: &str) -> String {
        let name = format!("radiant phantom/{}/{}/{part}", self.kind, self.seed);
        format!("2.25.{}", Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes()).as_u128())
    }
}

/// The one image of a chest radiograph study.
pub fn chest(label: Label, phantom: &ChestPhantom) -> Result<Object, WithMetaError> {
    let mut dataset = common(label, uids::DIGITAL_X_RAY_IMAGE_STORAGE_FOR_PRESENTATION, 1);
    text(&mut dataset, tags::MODALITY, VR::CS, "DX");
    text(&mut dataset, tags::SERIES_DESCRIPTION, VR::LO, "Chest PA");
    text(&mut dataset, tags::IMAGE_TYPE, VR::CS, "ORIGINAL\\PRIMARY\\");
    pixels(&mut dataset, phantom.rows, phantom.columns, phantom.bits_stored, &phantom.pixels);
    chest_projection(&mut dataset);
    chest_grey_levels(&mut dataset, phantom);
    let spacing = [phantom.pixel_spacing_mm; 2];
    decimals(&mut dataset, tags::IMAGER_PIXEL_SPACING, &spacing);
    file(dataset)
}

/// The slices `indices` (0 at the head) of a CT study; instance numbers need not follow position.
pub fn ct(label: Label, phantom: &CtPhantom, indices: &[usize]) -> Result<Vec<Object>, WithMetaError> {
    let numbers = instance_numbers(label.seed, phantom.slices);
    indices.iter().map(|&index| ct_slice(label, phantom, index, numbers[index])).collect()
}

fn ct_slice(label: Label, phantom: &CtPhantom, index: usize, number: u32) -> Result<Object, WithMetaError> {
    let stored: Vec<u16> =
        phantom.slice(index).iter().map(|&hounsfield| (hounsfield + 1024) as u16).collect();
    let mut dataset = common(label, uids::CT_IMAGE_STORAGE, number);
    text(&mut dataset, tags::MODALITY, VR::CS, "CT");
    text(&mut dataset, tags::SERIES_DESCRIPTION, VR::LO, "Thorax axial");
    text(&mut dataset, tags::IMAGE_TYPE, VR::CS, "ORIGINAL\\PRIMARY\\AXIAL");
    text(&mut dataset, tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2");
    pixels(&mut dataset, ct::MATRIX, ct::MATRIX, 12, &stored);
    ct_geometry(&mut dataset, label, phantom, index);
    ct_hounsfield(&mut dataset);
    file(dataset)
}

fn common(label: Label, sop_class: &str, number: u32) -> Dataset {
    let mut dataset = Dataset::new_empty();
    let uid = |dataset: &mut Dataset, tag, value: &str| text(dataset, tag, VR::UI, value);
    uid(&mut dataset, tags::SOP_CLASS_UID, sop_class);
    uid(&mut dataset, tags::SOP_INSTANCE_UID, &label.uid(&format!("instance/{number}")));
    uid(&mut dataset, tags::STUDY_INSTANCE_UID, &label.study_uid());
    uid(&mut dataset, tags::SERIES_INSTANCE_UID, &label.uid("series"));
    let Label { kind, seed } = label;
    text(&mut dataset, tags::PATIENT_NAME, VR::PN, &format!("PHANTOM^{kind} {seed:04}"));
    text(&mut dataset, tags::PATIENT_ID, VR::LO, &format!("PHANTOM-{kind}-{seed:04}"));
    text(&mut dataset, tags::STUDY_ID, VR::SH, &format!("{seed}"));
    text(&mut dataset, tags::ACCESSION_NUMBER, VR::SH, &format!("PH{}{seed}", &kind[..2]));
    text(&mut dataset, tags::INSTANCE_NUMBER, VR::IS, &number.to_string());
    for (tag, vr, value) in SAME_IN_ALL {
        text(&mut dataset, tag, vr, value);
    }
    dataset
}

const SAME_IN_ALL: [(Tag, VR, &str); 20] = [
    (tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 192"),
    (tags::PATIENT_BIRTH_DATE, VR::DA, ""),
    (tags::PATIENT_SEX, VR::CS, "O"),
    (tags::STUDY_DATE, VR::DA, DATE),
    (tags::STUDY_TIME, VR::TM, TIME),
    (tags::SERIES_DATE, VR::DA, DATE),
    (tags::SERIES_TIME, VR::TM, TIME),
    (tags::ACQUISITION_DATE, VR::DA, DATE),
    (tags::ACQUISITION_TIME, VR::TM, TIME),
    (tags::CONTENT_DATE, VR::DA, DATE),
    (tags::CONTENT_TIME, VR::TM, TIME),
    (tags::REFERRING_PHYSICIAN_NAME, VR::PN, ""),
    (tags::STUDY_DESCRIPTION, VR::LO, DESCRIPTION),
    (tags::SERIES_NUMBER, VR::IS, "1"),
    (tags::ACQUISITION_NUMBER, VR::IS, "1"),
    (tags::MANUFACTURER, VR::LO, "radiant"),
    (tags::MANUFACTURER_MODEL_NAME, VR::LO, "phantom"),
    (tags::BODY_PART_EXAMINED, VR::CS, "CHEST"),
    (tags::BURNED_IN_ANNOTATION, VR::CS, "NO"),
    (tags::LOSSY_IMAGE_COMPRESSION, VR::CS, "00"),
];

fn chest_projection(dataset: &mut Dataset) {
    text(dataset, tags::PRESENTATION_INTENT_TYPE, VR::CS, "FOR PRESENTATION");
    text(dataset, tags::IMAGE_LATERALITY, VR::CS, "U");
    text(dataset, tags::VIEW_POSITION, VR::CS, "PA");
    text(dataset, tags::PATIENT_ORIENTATION, VR::CS, "L\\F");
    text(dataset, tags::DETECTOR_TYPE, VR::CS, "DIRECT");
    text(dataset, tags::POSITIONER_TYPE, VR::CS, "NONE");
    sequence(dataset, tags::ACQUISITION_CONTEXT_SEQUENCE, Vec::new());
    let chest = code("51185008", "Chest");
    sequence(dataset, tags::ANATOMIC_REGION_SEQUENCE, vec![chest]);
    let mut view = code("272479007", "postero-anterior");
    sequence(&mut view, tags::VIEW_MODIFIER_CODE_SEQUENCE, Vec::new());
    sequence(dataset, tags::VIEW_CODE_SEQUENCE, vec![view]);
}

fn chest_grey_levels(dataset: &mut Dataset, phantom: &ChestPhantom) {
    let (interpretation, shape, sign) = match phantom.photometric {
        Photometric::Monochrome1 => ("MONOCHROME1", "INVERSE", 1i16),
        Photometric::Monochrome2 => ("MONOCHROME2", "IDENTITY", -1),
    };
    text(dataset, tags::PHOTOMETRIC_INTERPRETATION, VR::CS, interpretation);
    text(dataset, tags::PRESENTATION_LUT_SHAPE, VR::CS, shape);
    text(dataset, tags::PIXEL_INTENSITY_RELATIONSHIP, VR::CS, "LOG");
    let sign = PrimitiveValue::from(sign);
    dataset.put(DataElement::new(tags::PIXEL_INTENSITY_RELATIONSHIP_SIGN, VR::SS, sign));
    rescale(dataset, 0.0, "US");
    decimals(dataset, tags::WINDOW_CENTER, &[phantom.window.center]);
    decimals(dataset, tags::WINDOW_WIDTH, &[phantom.window.width]);
}

fn ct_geometry(dataset: &mut Dataset, label: Label, phantom: &CtPhantom, index: usize) {
    let spacing = phantom.pixel_spacing_mm;
    let corner = -spacing * (f64::from(ct::MATRIX) - 1.0) / 2.0;
    let z = -phantom.slice_spacing_mm * index as f64;
    text(dataset, tags::FRAME_OF_REFERENCE_UID, VR::UI, &label.uid("frame of reference"));
    text(dataset, tags::POSITION_REFERENCE_INDICATOR, VR::LO, "");
    text(dataset, tags::PATIENT_POSITION, VR::CS, "HFS");
    decimals(dataset, tags::IMAGE_POSITION_PATIENT, &[corner, corner, z]);
    decimals(dataset, tags::IMAGE_ORIENTATION_PATIENT, &[1.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
    decimals(dataset, tags::PIXEL_SPACING, &[spacing; 2]);
    decimals(dataset, tags::SLICE_THICKNESS, &[phantom.slice_spacing_mm]);
    decimals(dataset, tags::SLICE_LOCATION, &[z]);
}

fn ct_hounsfield(dataset: &mut Dataset) {
    rescale(dataset, -1024.0, "HU");
    decimals(dataset, tags::KVP, &[120.0]);
    decimals(dataset, tags::WINDOW_CENTER, &[40.0]);
    decimals(dataset, tags::WINDOW_WIDTH, &[400.0]);
}

fn rescale(dataset: &mut Dataset, intercept: f64, unit: &str) {
    decimals(dataset, tags::RESCALE_INTERCEPT, &[intercept]);
    decimals(dataset, tags::RESCALE_SLOPE, &[1.0]);
    text(dataset, tags::RESCALE_TYPE, VR::LO, unit);
}

/// A third of the series each: numbered from the head, from the feet, and in no order at all.
fn instance_numbers(seed: u64, slices: usize) -> Vec<u32> {
    let mut numbers: Vec<u32> = (1..=slices as u32).collect();
    let mut random = Random::new(seed, 12);
    match random.pick([0, 1, 2]) {
        0 => {}
        1 => numbers.reverse(),
        _ => {
            for last in (1..slices).rev() {
                numbers.swap(last, random.next() as usize % (last + 1));
            }
        }
    }
    numbers
}

fn pixels(dataset: &mut Dataset, rows: u16, columns: u16, bits_stored: u16, values: &[u16]) {
    let numbers = [
        (tags::SAMPLES_PER_PIXEL, 1),
        (tags::ROWS, rows),
        (tags::COLUMNS, columns),
        (tags::BITS_ALLOCATED, 16),
        (tags::BITS_STORED, bits_stored),
        (tags::HIGH_BIT, bits_stored - 1),
        (tags::PIXEL_REPRESENTATION, 0),
    ];
    for (tag, value) in numbers {
        dataset.put(DataElement::new(tag, VR::US, PrimitiveValue::from(value)));
    }
    let values = PrimitiveValue::U16(C::from_slice(values));
    dataset.put(DataElement::new(tags::PIXEL_DATA, VR::OW, values));
}

fn text(dataset: &mut Dataset, tag: Tag, vr: VR, value: &str) {
    let values: C<String> = match value {
        "" => return drop(dataset.put(DataElement::new(tag, vr, PrimitiveValue::Empty))),
        some => some.split('\\').map(str::to_owned).collect(),
    };
    dataset.put(DataElement::new(tag, vr, PrimitiveValue::Strs(values)));
}

/// Decimal strings hold at most 16 characters (PS3.5 6.2).
fn decimals(dataset: &mut Dataset, tag: Tag, values: &[f64]) {
    let strings: Vec<String> = values.iter().map(|value| ((value * 1e6).round() / 1e6).to_string()).collect();
    text(dataset, tag, VR::DS, &strings.join("\\"));
}

fn code(value: &str, meaning: &str) -> Dataset {
    let mut item = Dataset::new_empty();
    text(&mut item, tags::CODE_VALUE, VR::SH, value);
    text(&mut item, tags::CODING_SCHEME_DESIGNATOR, VR::SH, "SCT");
    text(&mut item, tags::CODE_MEANING, VR::LO, meaning);
    item
}

fn sequence(dataset: &mut Dataset, tag: Tag, items: Vec<Dataset>) {
    dataset.put(DataElement::new(tag, VR::SQ, DataSetSequence::from(items)));
}

fn file(dataset: Dataset) -> Result<Object, WithMetaError> {
    dataset.with_meta(FileMetaTableBuilder::new().transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instance_numbers_are_a_permutation_that_often_disagrees_with_position() {
        let drawn: Vec<Vec<u32>> = (0..12).map(|seed| instance_numbers(seed, 20)).collect();
        let ordered: Vec<u32> = (1..=20).collect();
        for numbers in &drawn {
            let mut sorted = numbers.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, ordered);
        }
        assert!(drawn.iter().filter(|numbers| **numbers != ordered).count() > 4);
    }

    #[test]
    fn slices_carry_hounsfield_units_by_rescale_and_run_from_head_to_feet() {
        let label = Label { kind: "CT", seed: 4 };
        let phantom = ct::ct(4, ct::CtOptions::default());
        let objects = ct(label, &phantom, &[0, 5]).unwrap();
        let z = |object: &Object| {
            let position = object.element(tags::IMAGE_POSITION_PATIENT).unwrap();
            position.to_multi_float64().unwrap()[2]
        };
        assert!(z(&objects[0]) > z(&objects[1]));
        let stored = objects[0].element(tags::PIXEL_DATA).unwrap().to_multi_int::<u16>().unwrap();
        assert_eq!(i32::from(stored[500]) - 1024, i32::from(phantom.slice(0)[500]));
    }

    #[test]
    fn studies_of_one_seed_share_a_uid_and_those_of_others_do_not() {
        let uid = |kind, seed| Label { kind, seed }.study_uid();
        assert_eq!(uid("CT", 1), uid("CT", 1));
        assert_ne!(uid("CT", 1), uid("CHEST", 1));
        assert!(uid("CT", 2).starts_with("2.25.") && uid("CT", 2).len() <= 64);
    }
}
