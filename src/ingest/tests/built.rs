//! Objects from metadata and bulk data.

use serde_json::{Map, Value, json};

use super::*;
use crate::ingest::build::bulk::{BulkData, BulkType};

fn metadata(class: &str) -> Map<String, Value> {
    let text = |vr: &str, value: &str| json!({ "vr": vr, "Value": [value] });
    let document = json!({
        "00080016": text("UI", class), "00080018": text("UI", "1.2.3.4.5"),
        "0020000D": text("UI", "1.2.3"), "0020000E": text("UI", "1.2.3.4"),
        "00100010": { "vr": "PN", "Value": [{ "Alphabetic": "Phantom^Zoë" }] },
    });
    document.as_object().unwrap().clone()
}

fn secondary_capture() -> Map<String, Value> {
    let mut document = metadata(uids::SECONDARY_CAPTURE_IMAGE_STORAGE);
    document.insert("7FE00010".into(), json!({ "vr": "OB", "BulkDataURI": "a" }));
    document
}

impl Bench {
    async fn store_built(
        &self,
        document: Map<String, Value>,
        bulk: &[(BulkType, &[u8])],
    ) -> Result<Stored, Refused> {
        let mut staged = Vec::new();
        for (media_type, bytes) in bulk {
            staged.push(("a".to_owned(), self.ingest.stage_bulk(*bytes, *media_type, None).await));
        }
        let built = self.ingest.build(document, &BulkData::of(staged)).await?;
        let origin = Origin::of(Source::Stow);
        let body = built.into_body();
        self.ingest.store(Received { body, origin: &origin, only_study: None }).await
    }

    async fn read_back(&self) -> dicom_object::DefaultDicomObject {
        let row =
            self.db.read_one(Statement::named("key", "select blob_key, size_bytes from instance")).await;
        let row = row.unwrap().unwrap();
        let key = BlobKey::from_index(row.text(0).unwrap());
        let bytes = self.blobs.get_range(&key, 0..row.int(1).unwrap() as u64).await.unwrap();
        dicom_object::from_reader(&bytes[..]).unwrap()
    }
}

fn png(color: image::ExtendedColorType, pixels: &[u8]) -> Vec<u8> {
    use image::ImageEncoder;
    let mut bytes = Vec::new();
    image::codecs::png::PngEncoder::new(&mut bytes).write_image(pixels, 2, 1, color).unwrap();
    bytes
}

#[tokio::test]
async fn a_document_is_encapsulated_and_what_was_added_recorded_s15_s17() {
    let bench = Bench::new();
    let mut document = metadata(uids::ENCAPSULATED_PDF_STORAGE);
    document.insert("00420011".into(), json!({ "vr": "OB", "BulkDataURI": "a" }));
    let pdf: &[u8] = b"%PDF-1.7\n";
    let parts = [(BulkType::Document("application/pdf"), pdf)];
    let stored = bench.store_built(document.clone(), &parts).await.unwrap();
    assert_eq!(stored.warning(), Some(Warning::CoercionOfDataElements));
    assert_eq!(bench.store_built(document, &parts).await.unwrap().outcome, Outcome::SameAgain);
    let object = bench.read_back().await;
    assert_eq!(
        object.element(tags::ENCAPSULATED_DOCUMENT).unwrap().to_bytes().unwrap()[..],
        *b"%PDF-1.7\n\0"
    );
    assert_eq!(object.element(tags::PATIENT_NAME).unwrap().to_str().unwrap(), "Phantom^Zoë");
    let changes = object.element(tags::ORIGINAL_ATTRIBUTES_SEQUENCE).unwrap().items().unwrap();
    let before = changes[0].element(tags::MODIFIED_ATTRIBUTES_SEQUENCE).unwrap().items().unwrap();
    let before: Vec<_> = before[0].iter().map(|element| element.header().tag).collect();
    assert_eq!(before, [tags::MIME_TYPE_OF_ENCAPSULATED_DOCUMENT, tags::ENCAPSULATED_DOCUMENT_LENGTH]);
    assert_eq!(bench.files(), 1, "staged bulk data remained");
}

#[tokio::test]
async fn a_picture_without_a_transfer_syntax_becomes_native_s16_s17() {
    let bench = Bench::new();
    let file = png(image::ExtendedColorType::L16, &[1, 2, 3, 4]);
    let mut document = secondary_capture();
    document.insert("00280010".into(), json!({ "vr": "US", "Value": [7] }));
    bench.store_built(document, &[(BulkType::Png, &file)]).await.unwrap();
    let object = bench.read_back().await;
    let changes = object.element(tags::ORIGINAL_ATTRIBUTES_SEQUENCE).unwrap().items().unwrap();
    let before = changes[0].element(tags::MODIFIED_ATTRIBUTES_SEQUENCE).unwrap().items().unwrap();
    assert_eq!(before[0].element(tags::ROWS).unwrap().to_int::<u16>().unwrap(), 7);
    assert_eq!(object.element(tags::PIXEL_DATA).unwrap().to_bytes().unwrap()[..], [1, 2, 3, 4]);
    let number = |tag| object.element(tag).unwrap().to_int::<u16>().unwrap();
    assert_eq!([tags::ROWS, tags::COLUMNS, tags::BITS_STORED, tags::HIGH_BIT].map(number), [1, 2, 16, 15]);
}

#[track_caller]
fn check(refused: &Refused, reason: u16) {
    assert_eq!((refused.refusal.stow_reason(), refused.sop_instance.is_some()), (reason, true), "{refused}");
}

#[tokio::test]
async fn bulk_data_that_does_not_fit_is_refused_s9b() {
    let bench = Bench::new();
    let build =
        async |document, parts: &[(BulkType, &[u8])]| bench.store_built(document, parts).await.unwrap_err();
    check(&build(secondary_capture(), &[]).await, 0xC000);
    check(&build(secondary_capture(), &[(BulkType::Jpeg, b"no picture")]).await, 0xC000);
    let transparent = png(image::ExtendedColorType::La8, &[1, 255, 2, 254]);
    check(&build(secondary_capture(), &[(BulkType::Png, &transparent)]).await, 0xC000);
    let refused = build(secondary_capture(), &[(BulkType::Jpeg, &[0; 2 << 20])]).await;
    check(&refused, 0xA700);
    let mut native = secondary_capture();
    for (tag, value) in [("00280002", 1), ("00280010", 1), ("00280011", 4), ("00280100", 8)] {
        native.insert(tag.into(), json!({ "vr": "US", "Value": [value] }));
    }
    check(&build(native, &[(BulkType::Octets, &[1, 2])]).await, 0xA900);
    assert_eq!((bench.count("instance").await, bench.files()), (0, 0));
}

#[tokio::test]
async fn metadata_has_limits_and_its_faults_name_no_value() {
    let bench = Bench::new();
    let mut deep = json!({});
    for _ in 0..10 {
        deep = json!({ "00081032": { "vr": "SQ", "Value": [deep] } });
    }
    let mut document = metadata(uids::ENCAPSULATED_PDF_STORAGE);
    document.extend(deep.as_object().unwrap().clone());
    let refused = bench.store_built(document, &[]).await.unwrap_err();
    assert!(matches!(refused.refusal, Refusal::LimitExceeded { limit: 8, .. }), "{refused}");
    let mut document = metadata(uids::ENCAPSULATED_PDF_STORAGE);
    document.insert("00280010".into(), json!({ "vr": "US", "Value": ["Mueller"] }));
    let refused = bench.store_built(document, &[]).await.unwrap_err();
    assert!(refused.to_string().contains("(0028,0010)") && !refused.to_string().contains("Mueller"));
}

#[tokio::test]
async fn tags_may_be_written_in_lower_case_once() {
    let bench = Bench::new();
    let mut document = metadata(uids::ENCAPSULATED_PDF_STORAGE);
    let element = json!({ "vr": "OB", "BulkDataURI": "a" });
    document.insert("7fe00010".into(), element.clone());
    document.extend([("00280002", 1), ("00280010", 1), ("00280011", 2), ("00280100", 8)].map(number));
    let pixels: [(BulkType, &[u8]); 1] = [(BulkType::Octets, &[1, 2])];
    bench.store_built(document.clone(), &pixels).await.unwrap();
    let stored = bench.read_back().await;
    assert_eq!(stored.element(tags::PIXEL_DATA).unwrap().to_bytes().unwrap()[..], [1, 2]);
    document.insert("7FE00010".into(), element);
    let refused = bench.store_built(document, &pixels).await.unwrap_err();
    assert!(matches!(refused.refusal, Refusal::Unparsable(_)), "{refused}");
}

fn number((tag, value): (&str, u16)) -> (String, Value) {
    (tag.to_owned(), json!({ "vr": "US", "Value": [value] }))
}
