//! Objects made to cost more than they are worth.

use dicom_core::value::DataSetSequence;
use dicom_core::{DataElement, Length, VR};
use dicom_dictionary_std::tags;

use super::*;

#[tokio::test]
async fn empty_items_count_as_elements() {
    let bench = Bench::new();
    let items = vec![InMemDicomObject::new_empty(); 1001];
    let mut object = image("1.2.3.4.5");
    let sequence = DataSetSequence::new(items, Length::UNDEFINED);
    object.put(DataElement::new(tags::REFERENCED_IMAGE_SEQUENCE, VR::SQ, sequence));
    assert!(matches!(bench.refusal(&file(object)).await, Refusal::LimitExceeded { limit: 1000, .. }));
}

#[tokio::test]
async fn an_offset_table_has_no_more_entries_than_fragments_are_allowed() {
    let bench = Bench::new();
    let mut object = image("1.2.3.4.5");
    object.remove_element(tags::PIXEL_DATA);
    let mut bytes = file(object);
    bytes.extend_from_slice(&[0xE0, 0x7F, 0x10, 0, b'O', b'B', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF]);
    bytes.extend_from_slice(&[0xFE, 0xFF, 0, 0xE0]);
    bytes.extend_from_slice(&404_u32.to_le_bytes());
    bytes.extend_from_slice(&[0; 404]);
    bytes.extend_from_slice(&[0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0]);
    assert!(matches!(bench.refusal(&bytes).await, Refusal::LimitExceeded { limit: 100, .. }));
}

#[tokio::test]
async fn a_second_pixel_data_is_refused() {
    let bench = Bench::new();
    let mut bytes = file(image("1.2.3.4.5"));
    let pixels = bytes.len() - 20;
    bytes.extend_from_within(pixels..);
    assert!(matches!(bench.refusal(&bytes).await, Refusal::Unparsable(_)));
}
