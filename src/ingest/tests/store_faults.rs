//! A bucket that fails its n-th call: nothing is acknowledged that is not there, nothing that is there
//! is lost, and the sender who tries again leaves the same listing as if nothing had happened.

use tokio_util::sync::CancellationToken;

use super::super::Swept;
use super::*;
use crate::blobs::testing::{Faults, Plan, bucket};

const LATER: Timestamp = Timestamp(i64::MAX);

fn bench() -> (Bench, Arc<Faults>) {
    let local = Bench::new();
    let (blobs, faults) = bucket(local.dir.path());
    let clock = Clock::manual(Timestamp(1_000_000));
    let ingest = Ingest::new(local.db.clone(), blobs.clone(), clock, local.policy());
    (Bench { blobs, ingest, ..local }, faults)
}

/// Longer than one part.
fn large(instance: &str) -> Vec<u8> {
    let mut object = image(instance);
    object.put(DataElement::new(tags::ROWS, VR::US, dicom_value!(U16, [300])));
    object.put(DataElement::new(tags::COLUMNS, VR::US, dicom_value!(U16, [300])));
    let pixels = (0..90_000_u32).map(|n| n as u16).collect();
    object.put(DataElement::new(tags::PIXEL_DATA, VR::OW, PrimitiveValue::U16(pixels)));
    file(object)
}

async fn bytes_of_the_one_row(bench: &Bench) -> Vec<u8> {
    let statement = Statement::named("key", "select blob_key, size_bytes from instance");
    let row = bench.db.read_one(statement).await.unwrap().unwrap();
    let key = BlobKey::from_index(row.text(0).unwrap());
    bench.blobs.get_range(&key, 0..row.int(1).unwrap() as u64).await.unwrap().to_vec()
}

async fn sweep(bench: &Bench) -> Swept {
    bench.ingest.sweep(LATER, &CancellationToken::new()).await.unwrap()
}

/// Whether the plan was met.
async fn survives(plan: Plan, bytes: &[u8]) -> bool {
    let (bench, faults) = bench();
    faults.plan(plan);
    let first = bench.store(bytes).await;
    let calls = faults.calls();
    faults.plan(Plan::Nothing);
    match &first {
        Ok(_) => assert_eq!(bytes_of_the_one_row(&bench).await, bytes, "{plan:?}: acknowledged"),
        Err(refused) => {
            assert!(matches!(refused.refusal, Refusal::StoreAway(_)), "{plan:?}: {refused}");
            assert_eq!((refused.refusal.dimse_status(), bench.count("instance").await), (0xA700, 0));
        }
    }
    bench.store(bytes).await.unwrap();
    assert_eq!(bench.count("instance").await, 1, "{plan:?}");
    sweep(&bench).await;
    assert_eq!(
        sweep(&bench).await,
        Swept { examined: 1, ..Swept::default() },
        "{plan:?}: one object for one row"
    );
    assert_eq!(bytes_of_the_one_row(&bench).await, bytes, "{plan:?}");
    matches!(plan, Plan::Before(nth) | Plan::After(nth) if nth <= calls)
}

#[tokio::test(flavor = "multi_thread")]
async fn whichever_call_fails_the_listing_is_the_same_after_a_second_attempt() {
    for bytes in [file(image("1.2.3.4.5")), large("1.2.3.4.6")] {
        let mut nth = 1;
        while survives(Plan::Before(nth), &bytes).await & survives(Plan::After(nth), &bytes).await {
            nth += 1;
        }
        assert!(nth > 2, "a put and a look at least");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_is_away_leaves_the_index_as_it_was() {
    let (bench, faults) = bench();
    faults.plan(Plan::Every);
    let refused = bench.store(&file(image("1.2.3.4.5"))).await.unwrap_err();
    assert!(refused.refusal.is_ours());
    assert_eq!(bench.count("instance").await + bench.count("study").await, 0);
}
