//! Through the seam: objects in, outcomes and traces out.

mod built;
mod database_faults;
mod deletion;
mod duplicates;
mod groups;
mod holds;
mod hostile;
mod migration;
mod room;
mod store_faults;
mod sweep;

use dicom_core::value::DataSetSequence;
use dicom_core::{DataElement, PrimitiveValue, VR, dicom_value};
use dicom_dictionary_std::{tags, uids};
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};

use super::*;
use crate::blobs::BlobKey;
use crate::clock::Timestamp;
use crate::db::{Batch, DbError, Statement};

struct Bench {
    dir: tempfile::TempDir,
    db: Db,
    blobs: Blobs,
    ingest: Ingest,
}

impl Bench {
    fn new() -> Self {
        Self::with(OnDuplicate::Reject)
    }

    fn with(on_duplicate: OnDuplicate) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::for_test(dir.path());
        Self::on(dir, db, on_duplicate)
    }

    fn in_sqlite() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::sqlite_for_test(dir.path());
        Self::on(dir, db, OnDuplicate::Reject)
    }

    fn on(dir: tempfile::TempDir, db: Db, on_duplicate: OnDuplicate) -> Self {
        let blobs = Blobs::open_local(dir.path()).unwrap();
        let clock = Clock::manual(Timestamp(1_000_000));
        let ingest = Ingest::new(db.clone(), blobs.clone(), clock, policy(on_duplicate));
        Self { dir, db, blobs, ingest }
    }

    fn policy(&self) -> Policy {
        Policy::clone(&self.ingest.policy)
    }

    async fn store(&self, file: &[u8]) -> Result<Stored, Refused> {
        let origin = Origin::of(Source::Stow);
        self.ingest.store(Received { body: Body::Part10(file), origin: &origin, only_study: None }).await
    }

    async fn refusal(&self, file: &[u8]) -> Refusal {
        let refusal = self.store(file).await.unwrap_err().refusal;
        assert_eq!((self.count("instance").await, self.files()), (0, 0), "something remained of {refusal}");
        refusal
    }

    async fn count(&self, table: &str) -> i64 {
        let rows = self.db.read(Statement::named("count", format!("select count(*) from {table}"))).await;
        rows.unwrap()[0].int(0).unwrap()
    }

    /// What the index derives from the attributes of the one instance, in one text.
    async fn derived(&self) -> String {
        let sql = "select name_folded || name_words || name_sounds || request_attributes || step_id, \
                   study.attributes, series.attributes from patient, study, series, series_request";
        let row = self.db.read_one(Statement::named("derived", sql)).await.unwrap().unwrap();
        format!("{}{:?}{:?}", row.text(0).unwrap(), row.bytes(1).unwrap(), row.bytes(2).unwrap())
    }

    fn files(&self) -> usize {
        walk(self.dir.path()).into_iter().filter(|path| !path.contains("index.sqlite")).count()
    }
}

fn policy(on_duplicate: OnDuplicate) -> Policy {
    Policy {
        instance_bytes_max: 1 << 20,
        header: header::Limits {
            inline_bytes_max: 1024,
            header_bytes_max: 1 << 19,
            depth_max: 8,
            elements_max: 1000,
            fragments_max: 100,
        },
        sop_classes_extra: Vec::new(),
        on_duplicate,
        preamble: Preamble::Keep,
        picture_bytes_max: 1 << 20,
        concurrency: 4,
        quiet_time: std::time::Duration::from_secs(1),
    }
}

fn walk(dir: &std::path::Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path.display().to_string()] })
        .collect()
}

fn image(instance: &str) -> InMemDicomObject {
    InMemDicomObject::from_element_iter([
        DataElement::new(tags::SOP_CLASS_UID, VR::UI, uids::CT_IMAGE_STORAGE),
        DataElement::new(tags::SOP_INSTANCE_UID, VR::UI, instance),
        DataElement::new(tags::MODALITY, VR::CS, "CT"),
        DataElement::new(tags::PATIENT_NAME, VR::PN, "Phantom^One"),
        DataElement::new(tags::PATIENT_ID, VR::LO, "P1"),
        DataElement::new(tags::STUDY_INSTANCE_UID, VR::UI, "1.2.3"),
        DataElement::new(tags::SERIES_INSTANCE_UID, VR::UI, "1.2.3.4"),
        DataElement::new(tags::ROWS, VR::US, dicom_value!(U16, [2])),
        DataElement::new(tags::COLUMNS, VR::US, dicom_value!(U16, [2])),
        DataElement::new(tags::BITS_ALLOCATED, VR::US, dicom_value!(U16, [16])),
        DataElement::new(tags::PIXEL_DATA, VR::OW, PrimitiveValue::U16([1, 2, 3, 4].into_iter().collect())),
    ])
}

fn file(object: InMemDicomObject) -> Vec<u8> {
    let meta = FileMetaTableBuilder::new().transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN);
    let mut bytes = Vec::new();
    object.with_meta(meta).unwrap().write_all(&mut bytes).unwrap();
    bytes
}

#[tokio::test]
async fn an_object_is_indexed_and_comes_back_bit_exact() {
    let bench = Bench::new();
    let bytes = file(image("1.2.3.4.5"));
    assert_eq!(bench.store(&bytes).await.unwrap().outcome, Outcome::New);
    let statement = Statement::named("key", "select blob_key, layout, rows from instance");
    let row = bench.db.read_one(statement).await.unwrap().unwrap();
    let key = BlobKey::from_index(row.text(0).unwrap());
    let stored = bench.blobs.get_range(&key, 0..bytes.len() as u64).await.unwrap();
    assert!(stored == bytes, "the stored bytes differ");
    assert_eq!(row.int(2).unwrap(), 2);
    let layout = layout::Layout::decode(row.bytes(1).unwrap()).unwrap();
    let Some(layout::FrameLookup::Known(frame)) = layout.frame(1) else { panic!() };
    assert_eq!(
        bench.blobs.get_range(&key, layout.in_file(&frame.range)).await.unwrap()[..],
        [1, 0, 2, 0, 3, 0, 4, 0]
    );
}

#[tokio::test]
async fn the_same_object_again_is_no_second_row_and_another_one_is_a_conflict() {
    let bench = Bench::new();
    bench.store(&file(image("1.2.3.4.5"))).await.unwrap();
    assert_eq!(bench.store(&file(image("1.2.3.4.5"))).await.unwrap().outcome, Outcome::SameAgain);
    let mut other = image("1.2.3.4.5");
    other.put(DataElement::new(tags::PATIENT_COMMENTS, VR::LT, "changed"));
    let refused = bench.store(&file(other)).await.unwrap_err();
    assert!(matches!(refused.refusal, Refusal::Conflict));
    assert_eq!((bench.count("instance").await, bench.files()), (1, 1));
}

#[tokio::test]
async fn side_by_side_writers_of_one_study_make_one_of_everything() {
    let bench = Bench::new();
    let files: Vec<Vec<u8>> = (0..12).map(|i| file(image(&format!("1.2.3.4.{}", i % 6)))).collect();
    let outcomes = futures::future::join_all(files.iter().map(|file| bench.store(file))).await;
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    let mut counts = Vec::new();
    for table in ["patient", "study", "series", "instance", "change"] {
        counts.push(bench.count(table).await);
    }
    assert_eq!((counts, bench.files()), (vec![1, 1, 1, 6, 6], 6));
}

#[tokio::test]
async fn a_truncated_object_is_refused_at_every_length() {
    let bytes = file(image("1.2.3.4.5"));
    let bench = Bench::new();
    // A cut right before one of the last four elements leaves a shorter but whole data set.
    let whole = [20, 30, 40, 50].map(|tail| bytes.len() - tail);
    for length in (0..bytes.len()).filter(|length| !whole.contains(length)) {
        let refusal = bench.refusal(&bytes[..length]).await;
        assert!(!refusal.is_ours(), "{length}: {refusal}");
    }
}

#[tokio::test]
async fn a_bad_uid_and_a_missing_uid_are_named() {
    let bench = Bench::new();
    let refusal = bench.refusal(&file(image("1.2.03"))).await;
    assert!(matches!(refusal, Refusal::BadUid { attribute: "SOP Instance UID", .. }), "{refusal}");
    let mut object = image("1.2.3.4.5");
    object.remove_element(tags::STUDY_INSTANCE_UID);
    let refusal = bench.refusal(&file(object)).await;
    assert!(matches!(refusal, Refusal::MissingAttribute("Study Instance UID")), "{refusal}");
}

#[test]
fn an_index_without_space_is_out_of_resources() {
    assert_eq!(placing::index_refusal(DbError::Full, &crate::auth::Reach::Everything).dimse_status(), 0xA700);
}

#[tokio::test]
async fn an_unknown_sop_class_is_refused_with_its_status() {
    let bench = Bench::new();
    let mut object = image("1.2.3.4.5");
    object.put(DataElement::new(tags::SOP_CLASS_UID, VR::UI, "1.2.3.4.5.6"));
    assert_eq!(bench.refusal(&file(object)).await.dimse_status(), 0x0122);
}

#[tokio::test]
async fn an_object_beyond_the_limit_is_refused() {
    let bench = Bench::new();
    let mut object = image("1.2.3.4.5");
    object.put(DataElement::new(tags::PIXEL_DATA, VR::OW, PrimitiveValue::from(vec![0_u8; 2 << 20])));
    assert!(matches!(bench.refusal(&file(object)).await, Refusal::TooLarge { .. }));
}

#[tokio::test]
async fn a_series_that_belongs_to_another_study_is_refused() {
    let bench = Bench::new();
    bench.store(&file(image("1.2.3.4.5"))).await.unwrap();
    let mut object = image("1.2.3.4.6");
    object.put(DataElement::new(tags::STUDY_INSTANCE_UID, VR::UI, "1.2.9"));
    let refused = bench.store(&file(object)).await.unwrap_err();
    assert!(matches!(refused.refusal, Refusal::SeriesOfAnotherStudy));
    assert_eq!((bench.count("study").await, bench.files()), (1, 1));
}

#[tokio::test]
async fn a_large_private_value_stays_in_the_file() {
    let bench = Bench::new();
    let mut object = image("1.2.3.4.5");
    object.put(DataElement::new(tags::ENCAPSULATED_DOCUMENT, VR::OB, PrimitiveValue::from(vec![7_u8; 4096])));
    bench.store(&file(object)).await.unwrap();
    let row = bench.db.read_one(Statement::named("row", "select layout, metadata from instance")).await;
    let row = row.unwrap().unwrap();
    let layout = layout::Layout::decode(row.bytes(0).unwrap()).unwrap();
    assert_eq!(layout.bulk("00420011").map(|bulk| bulk.length), Some(4096));
    let metadata = zstd::decode_all(row.bytes(1).unwrap()).unwrap();
    let metadata: serde_json::Value = serde_json::from_slice(&metadata).unwrap();
    assert_eq!(metadata["00420011"]["BulkDataURI"], "@instance/bulkdata/00420011");
}

#[tokio::test]
async fn rows_of_an_earlier_version_are_filled_at_the_start() {
    let bench = Bench::new();
    let mut object = image("1.2.3.4.5");
    object.put(DataElement::new(tags::PATIENT_AGE, VR::AS, "040Y"));
    let item = InMemDicomObject::from_element_iter([DataElement::new(
        tags::SCHEDULED_PROCEDURE_STEP_ID,
        VR::SH,
        "STEP1",
    )]);
    let sequence = DataSetSequence::from(vec![item]);
    object.put(DataElement::new(tags::REQUEST_ATTRIBUTES_SEQUENCE, VR::SQ, sequence));
    bench.store(&file(object)).await.unwrap();
    let written = bench.derived().await;
    assert!(written.contains(" PHANTOM ONE ") && written.contains("STEP1"), "{written}");
    let forget = [
        "update patient set name_folded = 'x', name_words = '', name_sounds = '', derived = 0",
        "update study set attributes = x'00', derived = 0",
        "update series set attributes = x'00', request_attributes = '', derived = 0",
        "delete from series_request",
    ];
    let batch = forget.into_iter().fold(Batch::new(), |batch, sql| batch.then(Statement::fixture(sql)));
    bench.db.run(batch).await.unwrap();
    assert_eq!(backfill(&bench.db).await.unwrap(), 3);
    assert_eq!(bench.derived().await, written);
    assert_eq!(backfill(&bench.db).await.unwrap(), 0);
}

#[tokio::test]
async fn objects_that_stall_hold_up_no_other() {
    let bench = Bench::new();
    let origin = Origin::of(Source::Dimse);
    let pipes: Vec<_> = (0..5).map(|_| tokio::io::duplex(64)).collect();
    let mut stalled = Vec::new();
    for (silent, reader) in pipes {
        let received = Received { body: Body::Part10(reader), origin: &origin, only_study: None };
        let mut store = Box::pin(bench.ingest.store(received));
        assert!(futures::poll!(&mut store).is_pending());
        stalled.push((silent, store));
    }
    assert_eq!(bench.store(&file(image("1.2.3.4.5"))).await.unwrap().outcome, Outcome::New);
}

/// Larger than the buffers that it passes through.
fn large(instance: &str) -> Vec<u8> {
    let mut object = image(instance);
    let pixels: Vec<u8> = (0..900_000_u32).map(|n| (n % 251) as u8).collect();
    object.put(DataElement::new(tags::PIXEL_DATA, VR::OW, PrimitiveValue::from(pixels)));
    file(object)
}

#[tokio::test]
async fn an_object_of_many_buffers_comes_back_bit_exact() {
    let bench = Bench::new();
    let bytes = large("1.2.3.4.5");
    bench.store(&bytes).await.unwrap();
    let row = bench.db.read_one(Statement::named("key", "select blob_key from instance")).await;
    let key = BlobKey::from_index(row.unwrap().unwrap().text(0).unwrap());
    let stored = bench.blobs.get_range(&key, 0..bytes.len() as u64).await.unwrap();
    assert!(stored == bytes, "the stored bytes differ");
}

/// With one blocking thread in all: an object that stalls in its middle does not keep it.
#[test]
fn an_object_that_stalls_holds_no_thread() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build();
    runtime.unwrap().block_on(async {
        let bench = Bench::new();
        let origin = Origin::of(Source::Dimse);
        let bytes = large("1.2.3.4.5");
        let half = tokio_util::io::StreamReader::new(futures::StreamExt::chain(
            futures::stream::iter([Ok::<_, std::io::Error>(bytes::Bytes::from(bytes[..600_000].to_vec()))]),
            futures::stream::pending(),
        ));
        let received = Received { body: Body::Part10(half), origin: &origin, only_study: None };
        let mut stalled = Box::pin(bench.ingest.store(received));
        assert!(futures::poll!(&mut stalled).is_pending());
        assert_eq!(bench.store(&file(image("1.2.3.4.6"))).await.unwrap().outcome, Outcome::New);
        assert!(futures::poll!(&mut stalled).is_pending());
    });
}

#[tokio::test]
async fn a_sender_that_breaks_off_after_many_buffers_leaves_nothing() {
    let bench = Bench::new();
    let origin = Origin::of(Source::Dimse);
    let bytes = bytes::Bytes::from(large("1.2.3.4.5"));
    let cut = Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof));
    let broken = tokio_util::io::StreamReader::new(futures::stream::iter([Ok(bytes), cut]));
    let received = Received { body: Body::Part10(broken), origin: &origin, only_study: None };
    let refused = bench.ingest.store(received).await.unwrap_err();
    assert!(matches!(refused.refusal, Refusal::Interrupted(_)), "{refused}");
    assert_eq!(refused.sop_instance.unwrap().as_str(), "1.2.3.4.5");
    assert_eq!((bench.count("instance").await, bench.files()), (0, 0));
}

#[tokio::test]
async fn float_pixels_have_frames() {
    let bench = Bench::new();
    let mut object = image("1.2.3.4.5");
    object.remove_element(tags::PIXEL_DATA);
    object.put(DataElement::new(tags::BITS_ALLOCATED, VR::US, PrimitiveValue::from(32_u16)));
    let values = PrimitiveValue::F32([0.5, 1.5, 2.5, 3.5].into_iter().collect());
    object.put(DataElement::new(tags::FLOAT_PIXEL_DATA, VR::OF, values));
    bench.store(&file(object)).await.unwrap();
    let row = bench.db.read_one(Statement::named("row", "select layout from instance")).await;
    let layout = layout::Layout::decode(row.unwrap().unwrap().bytes(0).unwrap()).unwrap();
    assert_eq!(layout.frame_count(), 1);
    assert_eq!(layout.pixel_data_range().map(|range| range.end - range.start), Some(16));
}
