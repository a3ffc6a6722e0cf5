//! An index that fails at its n-th statement or loses its n-th answer: what was acknowledged is there, and after
//! a restart and a second attempt the listing is the same as if nothing had happened.

use tokio_util::sync::CancellationToken;

use super::super::Swept;
use super::*;
use crate::db::testing::faults::Plan;

const LISTING: &[&str] = &[
    "select sop_instance_uid || ' ' || size_bytes from instance order by sop_instance_uid",
    "select study_uid || ' ' || series_count || ' ' || instance_count || ' ' || modalities from study",
    "select series_uid || ' ' || instance_count from series",
    "select patient_id from patient",
    "select kind || ' ' || study_uid || ' ' || sop_instance_uid from change order by sequence",
    "select kind || ' ' || state || ' ' || dedupe_key from job",
];

async fn listing(bench: &Bench) -> Vec<String> {
    let mut listed = Vec::new();
    for sql in LISTING {
        let rows = bench.db.read(Statement::named("listing", *sql)).await.unwrap();
        listed.extend(rows.iter().map(|row| row.text(0).unwrap().to_owned()));
    }
    listed
}

async fn undisturbed(bytes: &[u8]) -> Vec<String> {
    let bench = Bench::new();
    bench.store(bytes).await.unwrap();
    listing(&bench).await
}

/// Whether the plan was met.
async fn survives(plan: Plan, bytes: &[u8], expected: &[String]) -> bool {
    let Bench { dir, db, .. } = Bench::new();
    let (broken, faults) = db.faulty();
    let before = Bench::on(dir, broken, OnDuplicate::Reject);
    faults.plan(plan);
    let first = before.store(bytes).await;
    let met = faults.was_met();
    let Bench { dir, .. } = before;
    let after = Bench::on(dir, db, OnDuplicate::Reject);
    match &first {
        Ok(_) => assert_eq!(listing(&after).await, expected, "{plan:?}: acknowledged"),
        Err(refused) => assert!(refused.refusal.is_ours(), "{plan:?}: {refused}"),
    }
    after.store(bytes).await.unwrap();
    assert_eq!(listing(&after).await, expected, "{plan:?}");
    let stop = CancellationToken::new();
    after.ingest.sweep(Timestamp(i64::MAX), &stop).await.unwrap();
    let swept = after.ingest.sweep(Timestamp(i64::MAX), &stop).await.unwrap();
    assert_eq!(swept, Swept { examined: 1, ..Swept::default() }, "{plan:?}: one object for one row");
    met
}

#[tokio::test(flavor = "multi_thread")]
async fn whichever_statement_fails_the_listing_is_the_same_after_a_restart_and_a_second_attempt() {
    let bytes = file(image("1.2.3.4.5"));
    let expected = undisturbed(&bytes).await;
    for plan in [Plan::Statement, Plan::Answer] {
        let mut nth = 1;
        while survives(plan(nth), &bytes, &expected).await {
            nth += 1;
        }
        assert!(nth > 1, "an ingest has a batch at least");
    }
}
