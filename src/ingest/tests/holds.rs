//! What is held is neither replaced nor deleted, nor swept when it was deleted before.

use super::duplicates::{other, text};
use super::*;
use crate::db::holds;
use crate::query::Scope;

impl Bench {
    async fn hold(&self, study: &str) {
        let batch = holds::place(&study.parse().unwrap(), "a trial", &Actor::program("Ada"), Timestamp(1));
        self.db.run(batch).await.unwrap();
    }

    async fn release(&self, study: &str) {
        let batch = holds::release(&study.parse().unwrap(), &Actor::program("Ada"), Timestamp(2));
        self.db.run(batch).await.unwrap();
    }
}

#[tokio::test]
async fn nothing_of_a_held_study_is_replaced_and_something_may_be_added() {
    let bench = Bench::with(OnDuplicate::Replace);
    bench.store(&file(image("1.2.3.4.5"))).await.unwrap();
    bench.hold("1.2.3").await;
    let refused = bench.store(&other("1.2.3.4.5", "Phantom^Two")).await.unwrap_err();
    assert!(matches!(refused.refusal, Refusal::Held), "{refused}");
    assert_eq!((refused.refusal.dimse_status(), refused.refusal.stow_reason()), (0x0111, 0x0111));
    assert_eq!(text(&bench, "select name from patient").await, "Phantom^One");
    assert_eq!(bench.store(&file(image("1.2.3.4.5"))).await.unwrap().outcome, Outcome::SameAgain);
    assert_eq!(bench.store(&file(image("1.2.3.4.6"))).await.unwrap().outcome, Outcome::New);
    assert_eq!(bench.files(), 2);
    bench.release("1.2.3").await;
    let replaced = bench.store(&other("1.2.3.4.5", "Phantom^Two")).await.unwrap();
    assert_eq!(replaced.outcome, Outcome::Replaced);
}

#[tokio::test]
async fn no_replacement_moves_into_a_held_study_and_tells_it_who_its_patient_is() {
    let bench = Bench::with(OnDuplicate::Replace);
    let mut elsewhere = image("1.2.3.4.5");
    elsewhere.put(DataElement::new(tags::STUDY_INSTANCE_UID, VR::UI, "1.2.9"));
    elsewhere.put(DataElement::new(tags::SERIES_INSTANCE_UID, VR::UI, "1.2.9.4"));
    bench.store(&file(elsewhere)).await.unwrap();
    bench.store(&file(image("1.2.3.4.6"))).await.unwrap();
    bench.hold("1.2.3").await;
    let refused = bench.store(&other("1.2.3.4.5", "Phantom^Two")).await.unwrap_err();
    assert!(matches!(refused.refusal, Refusal::Held), "{refused}");
    assert_eq!((bench.count("study").await, bench.files()), (2, 2));
}

#[tokio::test]
async fn what_was_deleted_before_the_hold_is_kept_as_long_as_it_stands() {
    let bench = Bench::new();
    bench.store(&file(image("1.2.3.4.5"))).await.unwrap();
    bench.store(&file(image("1.2.3.4.6"))).await.unwrap();
    let (study, series) = ("1.2.3".parse().unwrap(), "1.2.3.4".parse().unwrap());
    let scope = Scope::Instance(study, series, "1.2.3.4.5".parse().unwrap());
    let deletion = bench.ingest.delete(&scope, &Actor::program("Ada"), None).await.unwrap();
    bench.hold("1.2.3").await;
    let stop = tokio_util::sync::CancellationToken::new();
    let later = Timestamp(i64::MAX);
    assert_eq!((bench.ingest.sweep_deleted(later, &stop).await.unwrap(), bench.files()), (0, 2));
    let restored = bench.ingest.restore(&deletion, &Actor::program("Ada")).await.unwrap();
    assert_eq!(restored.restored, 1);
    bench.ingest.delete(&scope, &Actor::program("Ada"), None).await.unwrap_err();
    bench.release("1.2.3").await;
    bench.ingest.delete(&scope, &Actor::program("Ada"), None).await.unwrap();
    assert_eq!((bench.ingest.sweep_deleted(later, &stop).await.unwrap(), bench.files()), (1, 1));
}
