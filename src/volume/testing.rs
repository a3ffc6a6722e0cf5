//! Objects for this folder's tests, as few attributes as a test needs.

use dicom_core::header::{DataElement, VR};
use dicom_core::value::{DataSetSequence, PrimitiveValue};
use dicom_core::{DataDictionary, Tag};
use dicom_dictionary_std::{StandardDataDictionary, tags};
use dicom_object::InMemDicomObject;

/// An object of textual values; numbers are written in decimal and stored in the tag's own VR.
pub(crate) fn object(values: &[(Tag, &str)]) -> InMemDicomObject {
    values.iter().fold(InMemDicomObject::new_empty(), |object, (tag, value)| with(object, *tag, value))
}

pub(crate) fn with(mut object: InMemDicomObject, tag: Tag, value: &str) -> InMemDicomObject {
    let vr = StandardDataDictionary.by_tag(tag).map_or(VR::LO, |entry| entry.vr.relaxed());
    let value = match vr {
        VR::US | VR::OW => PrimitiveValue::U16(value.split('\\').map(|word| word.parse().unwrap()).collect()),
        _ => PrimitiveValue::Strs(value.split('\\').map(str::to_owned).collect()),
    };
    object.put(DataElement::new(tag, vr, value));
    object
}

pub(crate) fn with_items(
    mut object: InMemDicomObject,
    tag: Tag,
    items: Vec<InMemDicomObject>,
) -> InMemDicomObject {
    object.put(DataElement::new(tag, VR::SQ, DataSetSequence::from(items)));
    object
}

/// An axial slice of 4 rows and 5 columns at height `z`.
pub(crate) fn slice(z: f64) -> InMemDicomObject {
    object(&[
        (tags::IMAGE_POSITION_PATIENT, &format!("-10\\-20\\{z}")),
        (tags::IMAGE_ORIENTATION_PATIENT, "1\\0\\0\\0\\1\\0"),
        (tags::PIXEL_SPACING, "0.5\\0.75"),
        (tags::ROWS, "4"),
        (tags::COLUMNS, "5"),
    ])
}

/// An enhanced object with one axial frame at each height.
pub(crate) fn enhanced(heights: &[f64]) -> InMemDicomObject {
    let one = |sequence, values: &[(Tag, &str)]| (sequence, vec![object(values)]);
    let nested = |groups: Vec<(Tag, Vec<InMemDicomObject>)>| {
        groups
            .into_iter()
            .fold(InMemDicomObject::new_empty(), |item, (tag, items)| with_items(item, tag, items))
    };
    let shared = nested(vec![
        one(tags::PLANE_ORIENTATION_SEQUENCE, &[(tags::IMAGE_ORIENTATION_PATIENT, "1\\0\\0\\0\\1\\0")]),
        one(
            tags::PIXEL_MEASURES_SEQUENCE,
            &[(tags::PIXEL_SPACING, "0.5\\0.75"), (tags::SLICE_THICKNESS, "2")],
        ),
        one(
            tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE,
            &[(tags::RESCALE_SLOPE, "2"), (tags::RESCALE_INTERCEPT, "-1")],
        ),
    ]);
    let position = |z: &f64| {
        let value = format!("0\\0\\{z}");
        nested(vec![one(tags::PLANE_POSITION_SEQUENCE, &[(tags::IMAGE_POSITION_PATIENT, value.as_str())])])
    };
    let root = object(&[(tags::ROWS, "4"), (tags::COLUMNS, "5")]);
    let root = with_items(root, tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, vec![shared]);
    with_items(root, tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE, heights.iter().map(position).collect())
}
