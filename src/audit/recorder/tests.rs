use super::*;
use crate::db::Statement;

struct Bench {
    _dir: tempfile::TempDir,
    db: Db,
    recorder: Recorder,
}

fn bench(queue_max: usize) -> (Bench, Writing) {
    let patience = Duration::from_millis(20);
    bench_of(Settings { queue_max, patience, before: AuditBefore::Soon, ..Settings::default() })
}

/// Nothing is written but what somebody waits for.
fn patient_bench(before: AuditBefore) -> (Bench, Writing) {
    let hour = Duration::from_secs(3600);
    bench_of(Settings { linger: hour, patience: hour, before, ..Settings::default() })
}

fn bench_of(settings: Settings) -> (Bench, Writing) {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::for_test(dir.path());
    let (recorder, writing) = Recorder::new(db.clone(), Clock::manual(Timestamp(1)), settings);
    (Bench { _dir: dir, db, recorder }, writing)
}

fn deed() -> Deed {
    Deed::new(Actor::system(), Action::Query)
}

async fn outcomes(db: &Db) -> Vec<String> {
    let all = Statement::named("outcomes", "select outcome from audit order by sequence");
    let rows = db.read(all).await.unwrap();
    rows.iter().map(|row| row.text(0).unwrap().to_owned()).collect()
}

#[tokio::test]
async fn what_ends_before_it_is_written_is_one_row() {
    let (bench, writing) = bench(16);
    tokio::spawn(writing.run());
    bench.recorder.begin(deed()).await.unwrap().end(Outcome::Success);
    bench.recorder.flush().await;
    assert_eq!(outcomes(&bench.db).await, ["success"]);
}

#[tokio::test]
async fn what_takes_longer_is_told_before_and_after() {
    let (bench, writing) = bench(16);
    tokio::spawn(writing.run());
    let begun = bench.recorder.begin(deed()).await.unwrap();
    bench.recorder.flush().await;
    begun.end(Outcome::Error);
    bench.recorder.flush().await;
    assert_eq!(outcomes(&bench.db).await, ["begun", "error"]);
}

#[tokio::test]
async fn what_is_broken_off_has_an_end() {
    let (bench, writing) = bench(16);
    tokio::spawn(writing.run());
    drop(bench.recorder.begin(deed()).await.unwrap());
    bench.recorder.flush().await;
    assert_eq!(outcomes(&bench.db).await, ["minor-failure"]);
}

#[tokio::test]
async fn without_room_nothing_begins_and_nothing_is_lost() {
    let (bench, writing) = bench(2);
    let begun = bench.recorder.begin(deed()).await.unwrap();
    assert_eq!(bench.recorder.begin(deed()).await.err(), Some(Unrecorded));
    begun.end(Outcome::Success);
    tokio::spawn(writing.run());
    bench.recorder.flush().await;
    bench.recorder.begin(deed()).await.unwrap().end(Outcome::Denied);
    bench.recorder.flush().await;
    assert_eq!(outcomes(&bench.db).await, ["success", "denied"]);
}

#[tokio::test]
async fn a_stop_writes_what_waits() {
    let (bench, writing) = bench(64);
    for _ in 0..20 {
        bench.recorder.begin(deed()).await.unwrap().end(Outcome::Success);
    }
    let Bench { _dir, db, recorder } = bench;
    drop(recorder);
    writing.run().await;
    assert_eq!(outcomes(&db).await.len(), 20);
}

fn read_of(object: &str, request: &str) -> Deed {
    let actor = Actor::system().in_request(request);
    let object = Some((ObjectKind::Instance, object.to_owned()));
    Deed { object, detail: Some("frames".to_owned()), may_share: true, ..Deed::new(actor, Action::Retrieve) }
}

#[tokio::test]
async fn reads_of_one_moment_share_a_row_that_counts_them() {
    let (bench, writing) = bench(64);
    for number in 1..=3 {
        let deed = read_of(&format!("1.{number}"), &format!("r{number}"));
        bench.recorder.begin(deed).await.unwrap().end(Outcome::Success);
    }
    bench.recorder.begin(read_of("1.9", "r9")).await.unwrap().end(Outcome::Denied);
    tokio::spawn(writing.run());
    bench.recorder.flush().await;
    let rows = crate::db::audit::after(&bench.db, &Default::default(), 0, 10).await.unwrap();
    let told: Vec<_> = rows.iter().map(|row| (row.outcome.as_str(), row.detail.as_deref())).collect();
    assert_eq!(told, [("success", Some("frames, 3 requests up to r3")), ("denied", Some("frames"))]);
    assert_eq!((&rows[0].object_id, &rows[1].object_id), (&None, &Some("1.9".to_owned())));
}

#[tokio::test]
async fn what_is_awaited_stands_before_it_ends_and_alone() {
    let (bench, writing) = patient_bench(AuditBefore::Durable);
    tokio::spawn(writing.run());
    let other = bench.recorder.begin(deed()).await.unwrap();
    let mut begun = bench.recorder.begin(deed()).await.unwrap();
    begun.describe("of everything".to_owned());
    begun.durable().await.unwrap();
    let rows = crate::db::audit::after(&bench.db, &Default::default(), 0, 10).await.unwrap();
    let [row] = rows.try_into().unwrap();
    assert_eq!((row.outcome.as_str(), row.detail.as_deref()), ("begun", Some("of everything")));
    other.end_durably(Outcome::Denied, None).await.unwrap();
    assert_eq!(outcomes(&bench.db).await, ["begun", "denied"]);
    begun.end_durably(Outcome::Success, None).await.unwrap();
    assert_eq!(outcomes(&bench.db).await, ["begun", "denied", "success"]);
}

#[tokio::test]
async fn nobody_waits_where_a_row_may_come_soon() {
    let (bench, _writing) = patient_bench(AuditBefore::Soon);
    let begun = bench.recorder.begin(deed()).await.unwrap();
    begun.durable().await.unwrap();
    begun.end_durably(Outcome::Success, None).await.unwrap();
    assert_eq!(outcomes(&bench.db).await, [""; 0]);
}

#[tokio::test]
async fn what_is_not_written_in_time_is_unrecorded() {
    let settings = Settings { patience: Duration::from_millis(20), ..Settings::default() };
    let (bench, _writing) = bench_of(settings);
    let begun = bench.recorder.begin(deed()).await.unwrap();
    assert_eq!(begun.durable().await, Err(Unrecorded));
}

#[tokio::test]
async fn what_is_about_several_studies_has_a_row_for_each() {
    let (bench, writing) = bench(16);
    tokio::spawn(writing.run());
    let studies = ["1.2", "1.3", "1.4"].map(|uid| uid.parse::<StudyUid>().unwrap());
    let [first, also @ ..] = studies;
    let deed = Deed { study: Some(first), also: also.to_vec(), ..deed() };
    bench.recorder.begin(deed).await.unwrap().end(Outcome::Success);
    bench.recorder.flush().await;
    let rows = crate::db::audit::after(&bench.db, &Default::default(), 0, 10).await.unwrap();
    let told: Vec<_> = rows.iter().filter_map(|row| row.study_uid.as_deref()).collect();
    assert_eq!(told, ["1.2", "1.3", "1.4"]);
}
