use bytes::Bytes;
use dicom_core::value::DataSetSequence;
use dicom_core::{DataElement, PrimitiveValue, dicom_value};
use dicom_dictionary_std::uids;
use dicom_encoding::TransferSyntaxIndex;
use dicom_object::InMemDicomObject;
use dicom_transfer_syntax_registry::TransferSyntaxRegistry;

use super::*;

#[expect(deprecated, reason = "retired, and still to be read")]
const BIG_ENDIAN: &str = uids::EXPLICIT_VR_BIG_ENDIAN;

fn syntax(uid: &str) -> &'static TransferSyntax {
    TransferSyntaxRegistry.get(uid).unwrap()
}

fn object() -> InMemDicomObject {
    let item = InMemDicomObject::from_element_iter([
        DataElement::new(tags::CODE_VALUE, VR::SH, "T-1"),
        DataElement::new(tags::SELECTOR_US_VALUE, VR::US, dicom_value!(U16, [1, 2])),
    ]);
    InMemDicomObject::from_element_iter([
        DataElement::new(tags::SOP_INSTANCE_UID, VR::UI, "1.2.3"),
        DataElement::new(tags::CONCEPT_CODE_SEQUENCE, VR::SQ, DataSetSequence::from(vec![item])),
        DataElement::new(tags::SMALLEST_IMAGE_PIXEL_VALUE, VR::SS, PrimitiveValue::from(-5_i16)),
        DataElement::new(tags::ROWS, VR::US, dicom_value!(U16, [512])),
        DataElement::new(Tag(0x0029, 0x1001), VR::UN, PrimitiveValue::from(vec![1_u8, 2, 3, 4])),
        DataElement::new(tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DATA, VR::OW, dicom_value!(U16, [1, 2, 3])),
    ])
}

fn written(object: &InMemDicomObject, syntax: &TransferSyntax) -> Bytes {
    let mut bytes = Vec::new();
    object.write_dataset_with_ts(&mut bytes, syntax).unwrap();
    bytes.into()
}

fn whole(bytes: &Bytes) -> Sparse {
    let mut data = Sparse::new(bytes.len() as u64);
    data.insert(0, bytes.clone());
    data
}

fn reencoded(bytes: &Bytes, uid: &str, edits: &Edits) -> Result<Vec<Piece>, ReencodeError> {
    let data = whole(bytes);
    let source = Source { data: &data, syntax: syntax(uid), pixel_data: None, signed: true };
    little_endian(&source, edits, Form::Explicit)
}

fn read(pieces: &[Piece]) -> InMemDicomObject {
    let [Piece::Bytes(bytes)] = pieces else { panic!("{pieces:?}") };
    let explicit = syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN);
    InMemDicomObject::read_dataset_with_ts(bytes.as_slice(), explicit).unwrap()
}

#[test]
fn every_syntax_becomes_the_same_explicit_data_set_g10() {
    let explicit = written(&object(), syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN));
    for uid in [uids::IMPLICIT_VR_LITTLE_ENDIAN, BIG_ENDIAN, uids::EXPLICIT_VR_LITTLE_ENDIAN] {
        let pieces = reencoded(&written(&object(), syntax(uid)), uid, &Edits::default()).unwrap();
        assert_eq!(written(&read(&pieces), syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN)), explicit, "{uid}");
    }
}

#[test]
fn every_syntax_becomes_the_same_implicit_data_set() {
    let implicit = syntax(uids::IMPLICIT_VR_LITTLE_ENDIAN);
    let expected = written(&object(), implicit);
    for uid in [uids::EXPLICIT_VR_LITTLE_ENDIAN, BIG_ENDIAN, uids::IMPLICIT_VR_LITTLE_ENDIAN] {
        let data = whole(&written(&object(), syntax(uid)));
        let source = Source { data: &data, syntax: syntax(uid), pixel_data: None, signed: true };
        let pieces = little_endian(&source, &Edits::default(), Form::Implicit).unwrap();
        let [Piece::Bytes(bytes)] = pieces.as_slice() else { panic!("{pieces:?}") };
        let read = InMemDicomObject::read_dataset_with_ts(bytes.as_slice(), implicit).unwrap();
        assert_eq!(written(&read, implicit), expected, "{uid}");
    }
}

#[test]
fn edits_are_written_as_the_rest_is() {
    let mut source_image = Edits::default();
    source_image.text(tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, "1.2");
    let mut edits = Edits::default();
    edits.item(tags::SOURCE_IMAGE_SEQUENCE, source_image);
    let data = Sparse::new(0);
    let implicit = syntax(uids::IMPLICIT_VR_LITTLE_ENDIAN);
    let source = Source { data: &data, syntax: implicit, pixel_data: None, signed: false };
    let pieces = little_endian(&source, &edits, Form::Implicit).unwrap();
    let [Piece::Bytes(bytes)] = pieces.as_slice() else { panic!("{pieces:?}") };
    assert_eq!(&bytes[..8], b"\x08\0\x12\x21\x14\0\0\0");
    assert_eq!(&bytes[8..], b"\xfe\xff\0\xe0\x0c\0\0\0\x08\0\x55\x11\x04\0\0\x001.2\0");
}

#[test]
fn edits_replace_add_and_remove() {
    let mut edits = Edits::default();
    edits.unsigned_short(tags::ROWS, 7);
    edits.text(tags::IMAGE_TYPE, VR::CS, "DERIVED");
    edits.text(Tag(0x7FE1, 1), VR::LO, "last");
    edits.remove(tags::CONCEPT_CODE_SEQUENCE);
    let bytes = written(&object(), syntax(BIG_ENDIAN));
    let object = read(&reencoded(&bytes, BIG_ENDIAN, &edits).unwrap());
    assert_eq!(object.element(tags::ROWS).unwrap().to_int::<u16>().unwrap(), 7);
    assert_eq!(object.element(tags::IMAGE_TYPE).unwrap().to_str().unwrap(), "DERIVED");
    assert_eq!(object.element(Tag(0x7FE1, 1)).unwrap().to_str().unwrap(), "last");
    assert!(object.element_opt(tags::CONCEPT_CODE_SEQUENCE).unwrap().is_none());
    assert!(object.element_opt(Tag(0x0029, 0x1001)).unwrap().is_some());
}

#[test]
fn a_value_that_is_not_in_memory_is_named_by_its_place() {
    let table =
        DataElement::new(tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DATA, VR::OW, dicom_value!(U16, [1, 2, 3]));
    let bytes = written(&InMemDicomObject::from_element_iter([table]), syntax(BIG_ENDIAN));
    let value = bytes.len() as u64 - 6;
    let mut data = Sparse::new(bytes.len() as u64);
    data.insert(0, bytes.slice(..value as usize));
    let source = Source { data: &data, syntax: syntax(BIG_ENDIAN), pixel_data: None, signed: false };
    let pieces = little_endian(&source, &Edits::default(), Form::Explicit).unwrap();
    assert_eq!(pieces[1..], [Piece::Stored { range: value..value + 6, swap: 2 }]);
}

#[test]
fn a_long_value_of_a_short_vr_becomes_un() {
    let text = DataElement::new(tags::PIXEL_SPACING, VR::DS, "1.00000\\".repeat(9000));
    let bytes =
        written(&InMemDicomObject::from_element_iter([text]), syntax(uids::IMPLICIT_VR_LITTLE_ENDIAN));
    let pieces = reencoded(&bytes, uids::IMPLICIT_VR_LITTLE_ENDIAN, &Edits::default()).unwrap();
    assert_eq!(read(&pieces).element(tags::PIXEL_SPACING).unwrap().vr(), VR::UN);
}

#[test]
fn damaged_bytes_are_refused_at_every_length() {
    let bytes = written(&object(), syntax(uids::IMPLICIT_VR_LITTLE_ENDIAN));
    let ends: Vec<usize> = (1..bytes.len())
        .filter(|&end| {
            reencoded(&bytes.slice(..end), uids::IMPLICIT_VR_LITTLE_ENDIAN, &Edits::default()).is_ok()
        })
        .collect();
    // Between two elements of the root a shorter data set ends.
    assert!(ends.len() <= 5, "{ends:?}");
}
