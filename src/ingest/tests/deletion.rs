//! Deletions taken back when something else has come meanwhile.

use super::duplicates::{other, text};
use super::*;
use crate::query::Scope;

/// What a bench holds after its one object was deleted and another one with its UID was stored.
async fn superseded(on_duplicate: OnDuplicate) -> (Bench, String) {
    let bench = Bench::with(on_duplicate);
    bench.store(&file(image("1.2.3.4.5"))).await.unwrap();
    let study = Scope::Study("1.2.3".parse().unwrap());
    let deletion = bench.ingest.delete(&study, &Actor::program("127.0.0.1"), None).await.unwrap();
    bench.store(&other("1.2.3.4.5", "Phantom^Two")).await.unwrap();
    (bench, deletion)
}

#[tokio::test]
async fn a_restore_neither_replaces_what_came_since_nor_lets_go_of_what_it_cannot_restore() {
    for on_duplicate in [OnDuplicate::Reject, OnDuplicate::KeepFirst, OnDuplicate::Replace] {
        let (bench, deletion) = superseded(on_duplicate).await;
        let restored = bench.ingest.restore(&deletion, &Actor::program("127.0.0.1")).await.unwrap();
        assert_eq!(restored, Restored { restored: 0, refused: 1 }, "{on_duplicate:?}");
        assert_eq!(text(&bench, "select name from patient").await, "Phantom^Two");
        assert_eq!(text(&bench, "select state from deleted_instance").await, "kept");
        assert_eq!(bench.files(), 2);
    }
}

#[tokio::test]
async fn a_kept_object_that_is_lost_keeps_no_other_from_being_restored() {
    let bench = Bench::new();
    for instance in ["1.2.3.4.5", "1.2.3.4.6"] {
        bench.store(&file(image(instance))).await.unwrap();
    }
    let study = Scope::Study("1.2.3".parse().unwrap());
    let deletion = bench.ingest.delete(&study, &Actor::program("127.0.0.1"), None).await.unwrap();
    let first = "select blob_key from deleted_instance where sop_instance_uid = '1.2.3.4.5'";
    bench.blobs.delete(&BlobKey::from_index(&text(&bench, first).await)).await.unwrap();
    let restored = bench.ingest.restore(&deletion, &Actor::program("127.0.0.1")).await.unwrap();
    assert_eq!((restored, bench.count("instance").await), (Restored { restored: 1, refused: 1 }, 1));
}
