//! Another object with a UID that is taken.

use super::*;
use crate::db::retrieve;

pub(super) fn other(instance: &str, name: &str) -> Vec<u8> {
    let mut object = image(instance);
    object.put(DataElement::new(tags::PATIENT_NAME, VR::PN, name));
    file(object)
}

pub(super) async fn text(bench: &Bench, sql: &'static str) -> String {
    let row = bench.db.read_one(Statement::named("text", sql)).await.unwrap().unwrap();
    row.text(0).unwrap().to_owned()
}

#[tokio::test]
async fn the_first_is_kept_where_the_policy_says_so_s21() {
    let bench = Bench::with(OnDuplicate::KeepFirst);
    bench.store(&file(image("1.2.3.4.5"))).await.unwrap();
    let stored = bench.store(&other("1.2.3.4.5", "Phantom^Two")).await.unwrap();
    assert_eq!((stored.outcome, stored.warning()), (Outcome::KeptFirst, Some(Warning::ElementsDiscarded)));
    assert_eq!(text(&bench, "select name from patient").await, "Phantom^One");
    assert_eq!((bench.count("instance").await, bench.files()), (1, 1));
}

#[tokio::test]
async fn a_replacement_takes_bytes_and_search_attributes_along_s21() {
    let bench = Bench::with(OnDuplicate::Replace);
    bench.store(&file(image("1.2.3.4.5"))).await.unwrap();
    bench.store(&file(image("1.2.3.4.6"))).await.unwrap();
    let bytes = other("1.2.3.4.5", "Phantom^Two");
    assert_eq!(bench.store(&bytes).await.unwrap().outcome, Outcome::Replaced);
    assert_eq!(bench.store(&bytes).await.unwrap().outcome, Outcome::SameAgain);
    assert_eq!(text(&bench, "select name from patient").await, "Phantom^Two");
    let key = text(&bench, "select blob_key from instance where sop_instance_uid = '1.2.3.4.5'").await;
    let stored = bench.blobs.get_range(&BlobKey::from_index(&key), 0..bytes.len() as u64).await.unwrap();
    assert!(stored == bytes, "the stored bytes differ");
    let counts = "select instance_count || '/' || series_count from study";
    assert_eq!(text(&bench, counts).await, "2/1");
    assert_eq!((bench.count("instance").await, bench.files()), (2, 2));
}

#[tokio::test]
async fn a_replacement_may_move_to_another_study_and_leaves_no_empty_parents() {
    let bench = Bench::with(OnDuplicate::Replace);
    bench.store(&file(image("1.2.3.4.5"))).await.unwrap();
    let mut moved = image("1.2.3.4.5");
    moved.put(DataElement::new(tags::STUDY_INSTANCE_UID, VR::UI, "1.2.9"));
    moved.put(DataElement::new(tags::PATIENT_ID, VR::LO, "P2"));
    assert_eq!(bench.store(&file(moved)).await.unwrap().outcome, Outcome::Replaced);
    for table in ["patient", "study", "series", "instance"] {
        assert_eq!(bench.count(table).await, 1, "{table}");
    }
    assert_eq!(text(&bench, "select study_uid from study").await, "1.2.9");
    assert_eq!(bench.files(), 1);
}

#[tokio::test]
async fn a_replacement_that_is_refused_leaves_the_first_as_it_was() {
    let bench = Bench::with(OnDuplicate::Replace);
    bench.store(&file(image("1.2.3.4.5"))).await.unwrap();
    bench.store(&file(image("1.2.3.4.6"))).await.unwrap();
    let mut moved = image("1.2.3.4.5");
    moved.put(DataElement::new(tags::STUDY_INSTANCE_UID, VR::UI, "1.2.9"));
    let refused = bench.store(&file(moved)).await.unwrap_err();
    assert!(matches!(refused.refusal, Refusal::SeriesOfAnotherStudy));
    assert_eq!(text(&bench, "select study_uid from study").await, "1.2.3");
    assert_eq!((bench.count("instance").await, bench.files()), (2, 2));
}

#[tokio::test]
async fn replacements_side_by_side_leave_one_row_and_its_bytes_s21() {
    let bench = Bench::with(OnDuplicate::Replace);
    let files: Vec<Vec<u8>> = (0..8).map(|i| other("1.2.3.4.5", &format!("Phantom^{i}"))).collect();
    let outcomes = futures::future::join_all(files.iter().map(|file| bench.store(file))).await;
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    assert_eq!((bench.count("instance").await, bench.files()), (1, 1));
}

/// The row of the one that is gone may be that of the one that came.
#[tokio::test]
async fn nothing_of_a_replacement_is_read_into_the_bytes_of_the_one_before() {
    let bench = Bench::with(OnDuplicate::Replace);
    bench.store(&file(image("1.2.3.4.5"))).await.unwrap();
    let study = crate::query::Scope::Study("1.2.3".parse().unwrap());
    let found = retrieve::instances(&bench.db, &study, 0).await.unwrap().remove(0);
    assert!(retrieve::layout(&bench.db, &found).await.unwrap().is_some());
    bench.store(&other("1.2.3.4.5", "Phantom^Two")).await.unwrap();
    let now = retrieve::instances(&bench.db, &study, 0).await.unwrap().remove(0);
    assert_eq!(now.row == found.row, !bench.db.is_shared(), "one engine gives numbers anew");
    assert_eq!(retrieve::layout(&bench.db, &found).await.unwrap(), None);
    assert_eq!(retrieve::metadata_of(&bench.db, &found).await.unwrap(), None);
}
