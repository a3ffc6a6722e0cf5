//! Retrieval: instances, frames and bulk data in every form.

use dicom_core::value::{PixelFragmentSequence, Value as ElementValue};

use super::*;

fn in_syntax(syntax: &str, mut object: InMemDicomObject, own: Vec<DataElement<InMemDicomObject>>) -> Vec<u8> {
    own.into_iter().for_each(|element| drop(object.put(element)));
    let mut written = Vec::new();
    let meta = FileMetaTableBuilder::new().transfer_syntax(syntax);
    object.with_meta(meta).unwrap().write_all(&mut written).unwrap();
    written
}

fn elements(file: &[u8]) -> InMemDicomObject {
    dicom_object::from_reader(file).unwrap().into_inner()
}

fn fragments(fragments: Vec<Vec<u8>>) -> DataElement<InMemDicomObject> {
    let pixels = PixelFragmentSequence::new_fragments(fragments);
    DataElement::new(tags::PIXEL_DATA, VR::OB, ElementValue::PixelSequence(pixels))
}

/// One fragment of two bytes per frame: the number of the frame.
fn many_frames(instance: &str, frames: u16) -> Vec<u8> {
    let count = DataElement::new(tags::NUMBER_OF_FRAMES, VR::IS, frames.to_string());
    let pixels = fragments((1..=frames).map(|number| number.to_le_bytes().to_vec()).collect());
    in_syntax(uids::JPEG2000, elements(&image(instance)), vec![count, pixels])
}

#[tokio::test]
async fn one_frame_of_many_is_found_whatever_its_number() {
    let bench = Bench::new();
    assert_eq!(bench.store(&[many_frames("1.2.3.4.1", 1500)]).await.status, StatusCode::OK);
    for number in [1_u16, 512, 513, 1500] {
        let path = format!("{SERIES}/instances/1.2.3.4.1/frames/{number}");
        let frame = bench.accepting(&path, "image/jp2; transfer-syntax=*").await;
        assert_eq!((frame.status, frame.body.to_vec()), (StatusCode::OK, number.to_le_bytes().to_vec()));
    }
    let beyond = bench.get(&format!("{SERIES}/instances/1.2.3.4.1/frames/1,1501"), &[]).await;
    assert_eq!(beyond.status, StatusCode::NOT_FOUND);
}
