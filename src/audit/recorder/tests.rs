use super::*;
use crate::db::Statement;

struct Bench {
    _dir: tempfile::TempDir,
    db: Db,
    recorder: Recorder,
}

fn bench(queue_max: usize) -> (Bench, Writing) {
    let dir = tempfile::tempdir().unwrap();
    let db = Db::for_test(dir.path());
    let settings = Settings { queue_max, patience: Duration::from_millis(20), ..Settings::default() };
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
