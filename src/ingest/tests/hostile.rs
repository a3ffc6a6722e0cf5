//! Objects made to cost more than they are worth, and senders that do not finish.

use dicom_core::value::DataSetSequence;
use dicom_core::{DataElement, Length, VR};
use dicom_dictionary_std::tags;
use tokio::io::AsyncWriteExt;

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
async fn what_nests_as_deep_as_allowed_has_readable_metadata() {
    let depth = crate::config::Config::load(&crate::config::Overrides::default()).unwrap();
    let depth = depth.ingest.sequence_depth_max;
    let mut value = InMemDicomObject::new_empty();
    for _ in 0..depth {
        let sequence = DataSetSequence::new(vec![value], Length::UNDEFINED);
        let element = DataElement::new(tags::PROCEDURE_CODE_SEQUENCE, VR::SQ, sequence);
        value = InMemDicomObject::from_element_iter([element]);
    }
    let text = serde_json::to_vec(&crate::dicom::json::object(&value, &[])).unwrap();
    assert!(serde_json::from_slice::<serde_json::Value>(&text).is_ok());
}

#[tokio::test]
async fn a_data_set_that_begins_with_file_meta_does_not_replace_ours() {
    let bench = Bench::new();
    let whole = file(image("1.2.3.4.5"));
    let meta = crate::dicom::file_meta::FileMeta::parse(&whole).unwrap();
    let mut bytes = b"\x02\0\x10\0UI\x14\x001.2.840.10008.1.2.2\0".to_vec();
    bytes.extend_from_slice(&whole[meta.dataset_offset as usize..]);
    let command = StoreCommand {
        sop_class: uids::CT_IMAGE_STORAGE.parse().unwrap(),
        sop_instance: "1.2.3.4.5".parse().unwrap(),
        transfer_syntax: uids::EXPLICIT_VR_LITTLE_ENDIAN.parse().unwrap(),
    };
    let origin = Origin::of(Source::Dimse);
    let body = Body::DataSet { reader: bytes.as_slice(), command };
    let refused = bench.ingest.store(Received { body, origin: &origin, only_study: None }).await.unwrap_err();
    assert!(refused.to_string().contains("File Meta Information"), "{refused}");
    assert_eq!(refused.refusal.dimse_status(), 0xC000);
}

#[tokio::test]
async fn a_second_pixel_data_is_refused() {
    let bench = Bench::new();
    let mut bytes = file(image("1.2.3.4.5"));
    let pixels = bytes.len() - 20;
    bytes.extend_from_within(pixels..);
    assert!(matches!(bench.refusal(&bytes).await, Refusal::Unparsable(_)));
}

#[tokio::test]
async fn a_sender_that_leaves_while_its_object_is_placed_leaves_no_orphan() {
    let bench = Bench::new();
    let bytes = file(image("1.2.3.4.5"));
    let placed = async {
        while !walk(bench.dir.path()).iter().any(|path| path.contains("objects")) {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        stored = bench.store(&bytes) => drop(stored),
        () = placed => {}
    }
    for _ in 0..2000 {
        if bench.count("instance").await == 1 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    panic!("bytes without a row");
}

#[tokio::test]
async fn bytes_that_another_writer_refers_to_are_not_discarded() {
    let bench = Bench::new();
    bench.store(&file(image("1.2.3.4.5"))).await.unwrap();
    let row = bench.db.read_one(Statement::named("key", "select blob_key from instance")).await;
    let key = BlobKey::from_index(row.unwrap().unwrap().text(0).unwrap());
    bench.ingest.discard(&key).await;
    assert_eq!(bench.files(), 1);
}

#[tokio::test]
async fn nothing_large_hides_behind_the_end_of_a_deflated_data_set() {
    let bench = Bench::new();
    let meta = FileMetaTableBuilder::new().transfer_syntax(uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN);
    let mut bytes = Vec::new();
    image("1.2.3.4.5").with_meta(meta).unwrap().write_all(&mut bytes).unwrap();
    let hidden = [bytes.as_slice(), &[0; 600 << 10]].concat();
    assert!(matches!(bench.refusal(&hidden).await, Refusal::LimitExceeded { limit: 0x8_0000, .. }));
    assert_eq!(bench.store(&bytes).await.unwrap().outcome, Outcome::New);
}

#[tokio::test]
async fn what_is_refused_while_its_sender_pauses_is_refused_at_its_end() {
    let bench = Bench::new();
    let (mut there, here) = tokio::io::duplex(2 << 20);
    let sending = async move {
        there.write_all(&[&file(image("1.2.3.4.5"))[..], &[0; 5 << 18]].concat()).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    };
    let origin = Origin::of(Source::Stow);
    let received = Received { body: Body::Part10(here), origin: &origin, only_study: None };
    let (stored, ()) = tokio::join!(bench.ingest.store(received), sending);
    assert!(matches!(stored.unwrap_err().refusal, Refusal::TooLarge { .. }));
}
