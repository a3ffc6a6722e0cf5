//! A disk below its mark takes no new object, and the results of what is there.

use super::*;
use crate::blobs::Marks;

/// No disk is that large.
const FULL: Marks = Marks { warn_below: 0, refuse_below: u64::MAX, accept_above: u64::MAX };

fn full() -> Bench {
    let bench = Bench::new();
    let blobs = bench.blobs.clone().marked(FULL);
    let ingest = Ingest::new(bench.db.clone(), blobs, bench.ingest.clock.clone(), bench.policy());
    Bench { ingest, ..bench }
}

#[tokio::test]
async fn a_new_object_is_refused_by_its_name_and_leaves_nothing() {
    let bench = full();
    let refused = bench.store(&file(image("1.2.3.4.5"))).await.unwrap_err();
    assert_eq!((refused.refusal.dimse_status(), refused.refusal.name()), (0xA700, "out-of-space"));
    assert_eq!(refused.sop_instance.unwrap().as_str(), "1.2.3.4.5");
    assert_eq!(bench.files(), 0);
}

#[tokio::test]
async fn a_result_goes_into_the_reserve() {
    let bench = Bench::new();
    bench.store(&file(image("1.2.3.4.5"))).await.unwrap();
    let blobs = bench.blobs.clone().marked(FULL);
    let ingest = Ingest::new(bench.db.clone(), blobs, bench.ingest.clock.clone(), bench.policy());
    let (bytes, origin) = (file(image("1.2.3.4.6")), Origin::of(Source::Analysis));
    let received = Received { body: Body::Part10(&bytes[..]), origin: &origin, only_study: None };
    assert_eq!(ingest.store(received).await.unwrap().outcome, Outcome::New);
}
