//! An index that the first version filled.

use super::*;
use crate::db::first_version_of;
use crate::query::Scope;

fn requested(instance: &str, series: &str) -> Vec<u8> {
    let mut object = image(instance);
    let step = DataElement::new(tags::SCHEDULED_PROCEDURE_STEP_ID, VR::SH, "STEP1");
    let items = DataSetSequence::from(vec![InMemDicomObject::from_element_iter([step])]);
    object.put(DataElement::new(tags::REQUEST_ATTRIBUTES_SEQUENCE, VR::SQ, items));
    object.put(DataElement::new(tags::SERIES_INSTANCE_UID, VR::UI, series));
    file(object)
}

#[tokio::test]
async fn an_index_of_the_first_version_is_brought_up_to_date_and_used() {
    let bench = Bench::in_sqlite();
    bench.store(&requested("1.2.3.4.5", "1.2.3.4")).await.unwrap();
    bench.store(&requested("1.2.3.4.6", "1.2.3.4")).await.unwrap();
    let old = bench.dir.path().join("index.sqlite-first");
    first_version_of(&bench.dir.path().join("index.sqlite"), &old).unwrap();
    let settings = crate::db::SqliteSettings { readers: 1, group_max: 8 };
    let db = Db::open_sqlite(&old, settings).unwrap();
    assert_eq!(backfill(&db).await.unwrap(), 3);
    let ingest = Ingest::new(db.clone(), bench.blobs.clone(), Clock::manual(Timestamp(2)), bench.policy());
    let migrated = Bench { db, ingest, ..bench };
    let summary = "select modalities || timezone_offset || instance_count from study";
    assert_eq!(duplicates::text(&migrated, summary).await, "\\CT\\2");
    assert!(migrated.derived().await.contains(" PHANTOM ONE "));
    let again = migrated.store(&requested("1.2.3.4.5", "1.2.3.4")).await.unwrap();
    assert_eq!(again.outcome, Outcome::SameAgain);
    migrated.store(&requested("1.2.3.5.1", "1.2.3.5")).await.unwrap();
    let study = Scope::Study("1.2.3".parse().unwrap());
    let deletion = migrated.ingest.delete(&study, &Actor::program("127.0.0.1"), None).await.unwrap();
    let restored = migrated.ingest.restore(&deletion, &Actor::program("127.0.0.1")).await.unwrap();
    assert_eq!((restored.restored, migrated.count("instance").await), (3, 3));
}
