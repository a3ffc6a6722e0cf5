use std::time::Duration;

use super::*;
use crate::auth::Reach;
use crate::db::Statement;
use crate::db::page::Page;

struct Bench {
    _dir: tempfile::TempDir,
    db: Db,
}

fn at(seconds: i64) -> Timestamp {
    Timestamp(seconds * 1_000_000)
}

impl Bench {
    /// With a study of three instances, 1.2.1 to 1.2.3.
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::for_test(dir.path());
        let mut batch = Batch::new();
        for sql in [
            "insert into patient (id, issuer, patient_id, name, name_folded, birth_date, sex, created_at, updated_at)
             values (1, '', 'P', 'N', 'N', '', '', 0, 0)",
            "insert into study (id, patient, study_uid, study_date, study_time, accession_number, study_id,
                description, referring_physician, referring_folded, attributes, last_instance_at, created_at, updated_at)
             values (1, 1, '1.1', '', '', '', '', '', '', '', x'00', 9, 0, 0)",
            "insert into series (id, study, series_uid, modality, description, body_part, performed_start_date,
                performed_start_time, attributes, created_at, updated_at)
             values (1, 1, '1.2', 'CT', '', '', '', '', x'00', 0, 0)",
            "insert into instance (series, study, sop_instance_uid, sop_class_uid, transfer_syntax, blob_key,
                size_bytes, sha256, dataset_sha256, layout, metadata, source, source_aet, created_at)
             select 1, 1, '1.2.' || n, '1.3', '1.4', 'k' || n, 5, x'00', cast('d' || n as blob), x'00', x'00', 'dimse', 'MOD', 0
             from (select 1 as n union select 2 union select 3) as numbers",
        ] {
            batch.push(Statement::fixture(sql));
        }
        db.run(batch).await.unwrap();
        Self { _dir: dir, db }
    }

    async fn queue(&self, destination: &str, number: u8, again: Again, now: Timestamp) {
        let instance = format!("1.2.{number}").parse().unwrap();
        let row = queue_instance(destination, &instance, "rule", again, now);
        self.db.run(Batch::new().then(row).then(wake(destination, now))).await.unwrap();
    }

    async fn claim(&self, destination: &str, now: Timestamp) -> Vec<Claimed> {
        claim(&self.db, destination, now, 10).await.unwrap()
    }

    async fn leave(&self, claimed: &Claimed, left: Left, now: Timestamp) {
        self.db.run(Batch::new().then(super::leave(claimed, &left, now))).await.unwrap();
    }

    /// The instance has other content.
    async fn replace(&self, number: u8) {
        let sql = "update instance set dataset_sha256 = x'FF' where sop_instance_uid = $1";
        let statement = Statement::fixture(sql).bind(format!("1.2.{number}"));
        self.db.run(Batch::new().then(statement)).await.unwrap();
    }

    async fn states(&self) -> Vec<String> {
        list(&self.db, &Reach::Everything, &Filter::default(), &Page::first("id", false, 100))
            .await
            .unwrap()
            .items
            .into_iter()
            .map(|row| row.state)
            .collect()
    }
}

#[tokio::test]
async fn a_row_is_claimed_once_and_by_its_destination_alone() {
    let bench = Bench::new().await;
    bench.queue("A", 1, Again::OnlyChanged, at(1)).await;
    bench.queue("B", 1, Again::OnlyChanged, at(1)).await;
    assert_eq!(bench.claim("A", at(2)).await.len(), 1);
    assert!(bench.claim("A", at(2)).await.is_empty());
    assert_eq!(bench.states().await, ["sending", "queued"]);
}

#[tokio::test]
async fn the_same_content_is_queued_once_and_another_anew() {
    let bench = Bench::new().await;
    bench.queue("A", 1, Again::OnlyChanged, at(1)).await;
    let claimed = bench.claim("A", at(1)).await;
    bench.leave(&claimed[0], Left::Sent(None), at(2)).await;
    bench.queue("A", 1, Again::OnlyChanged, at(3)).await;
    assert_eq!(bench.states().await, ["sent"]);
    bench.replace(1).await;
    bench.queue("A", 1, Again::OnlyChanged, at(4)).await;
    assert_eq!(bench.states().await, ["queued"]);
}

#[tokio::test]
async fn what_changes_while_it_is_sent_is_sent_again() {
    let bench = Bench::new().await;
    bench.queue("A", 1, Again::OnlyChanged, at(1)).await;
    let claimed = bench.claim("A", at(1)).await;
    bench.replace(1).await;
    bench.queue("A", 1, Again::OnlyChanged, at(2)).await;
    bench.leave(&claimed[0], Left::Sent(None), at(3)).await;
    assert_eq!(bench.states().await, ["queued"]);
}

#[tokio::test]
async fn who_held_a_row_before_does_not_say_what_became_of_it() {
    let bench = Bench::new().await;
    bench.queue("A", 1, Again::OnlyChanged, at(1)).await;
    let before = bench.claim("A", at(1)).await;
    bench.replace(1).await;
    bench.queue("A", 1, Again::OnlyChanged, at(2)).await;
    let now = bench.claim("A", at(2)).await;
    bench.leave(&before[0], Left::Sent(None), at(3)).await;
    assert_eq!(bench.states().await, ["sending"]);
    bench.leave(&now[0], Left::Failed("down".into(), at(9)), at(4)).await;
    assert_eq!(bench.states().await, ["failed"]);
}

#[tokio::test]
async fn a_person_has_the_content_sent_that_came_while_another_was() {
    let bench = Bench::new().await;
    bench.queue("A", 1, Again::OnlyChanged, at(1)).await;
    bench.claim("A", at(1)).await;
    bench.queue("A", 1, Again::Always, at(2)).await;
    assert_eq!(bench.states().await, ["sending"]);
    bench.replace(1).await;
    bench.queue("A", 1, Again::Always, at(2)).await;
    assert_eq!(bench.states().await, ["queued"]);
}

#[tokio::test]
async fn failures_wait_for_their_time_and_never_take_every_place() {
    let bench = Bench::new().await;
    for number in 1..=3 {
        bench.queue("A", number, Again::OnlyChanged, at(1)).await;
    }
    for claimed in claim(&bench.db, "A", at(1), 2).await.unwrap() {
        bench.leave(&claimed, Left::Failed("no".into(), at(10)), at(1)).await;
    }
    assert_eq!(next_due(&bench.db, "A").await.unwrap(), Some(at(1)));
    let due: Vec<u32> =
        claim(&bench.db, "A", at(10), 2).await.unwrap().iter().map(|row| row.attempts).collect();
    assert_eq!(due, [2, 1]);
}

#[tokio::test]
async fn what_was_not_tried_costs_no_attempt_and_what_was_left_behind_does() {
    let bench = Bench::new().await;
    bench.queue("A", 1, Again::OnlyChanged, at(1)).await;
    let claimed = bench.claim("A", at(1)).await;
    bench.leave(&claimed[0], Left::Untried("down".into()), at(1)).await;
    assert_eq!(bench.claim("A", at(2)).await[0].attempts, 1);
    bench.db.run(recover("A", at(3))).await.unwrap();
    assert_eq!(bench.claim("A", at(3)).await[0].attempts, 2);
}

#[tokio::test]
async fn the_dead_rise_when_a_person_says_so() {
    let bench = Bench::new().await;
    bench.queue("A", 1, Again::OnlyChanged, at(1)).await;
    let claimed = bench.claim("A", at(1)).await;
    bench.leave(&claimed[0], Left::Dead("refused".into()), at(1)).await;
    bench.queue("A", 1, Again::OnlyChanged, at(2)).await;
    assert_eq!(bench.states().await, ["dead"]);
    let effects = bench.db.run(requeue_dead("A", at(3))).await.unwrap();
    assert_eq!((effects[0].affected, bench.states().await), (1, vec!["queued".to_owned()]));
    assert!(bench.db.run(requeue(claimed[0].id, "A", at(3))).await.is_err(), "it is not dead any more");
}

#[tokio::test]
async fn what_waits_too_long_is_given_up_with_its_last_reason() {
    let bench = Bench::new().await;
    bench.queue("A", 1, Again::OnlyChanged, at(1)).await;
    let claimed = bench.claim("A", at(1)).await;
    bench.leave(&claimed[0], Left::Untried("down".into()), at(1)).await;
    bench.db.run(expire("A", at(2), "too old: ", at(9))).await.unwrap();
    let row = one(&bench.db, 1).await.unwrap().unwrap();
    assert_eq!((row.state.as_str(), row.reason.as_deref()), ("dead", Some("too old: down")));
}

#[tokio::test]
async fn an_event_is_queued_once_and_forgotten_when_it_is_old() {
    let bench = Bench::new().await;
    let study = "1.1".parse().unwrap();
    let event = EventRow { id: "e", kind: "study-complete", study: &study, json: b"{}".to_vec() };
    for _ in 0..2 {
        bench.db.run(Batch::new().then(queue_event("hook", &event, at(1)))).await.unwrap();
    }
    let claimed = bench.claim("hook", at(1)).await;
    assert!(matches!(&claimed[..], [Claimed { matter: Matter::Event { .. }, .. }]));
    bench.leave(&claimed[0], Left::Sent(None), at(1)).await;
    bench.db.run(forget_events("hook", at(1).plus(Duration::from_secs(1)))).await.unwrap();
    assert!(bench.states().await.is_empty());
}

#[tokio::test]
async fn lists_are_narrowed_and_walked() {
    let bench = Bench::new().await;
    for destination in ["A", "B"] {
        for number in 1..=3 {
            bench.queue(destination, number, Again::OnlyChanged, at(1)).await;
        }
    }
    let of_b = Filter { destination: Some("B".into()), ..Filter::default() };
    let page = Page::first("id", false, 2);
    let first = list(&bench.db, &Reach::Everything, &of_b, &page).await.unwrap();
    let rest = list(&bench.db, &Reach::Everything, &of_b, &Page { after: first.next, ..page }).await.unwrap();
    assert_eq!((first.items.len(), rest.items.len(), rest.total), (2, 1, 3));
    let summary = summary(&bench.db, "B").await.unwrap();
    assert_eq!((summary.queued, summary.waiting(), summary.oldest), (3, 3, Some(at(1))));
}
