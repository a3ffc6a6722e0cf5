//! Several instances on one index: what one of them began another goes on with.

use futures::TryStreamExt;

use super::events::{Reader, tell};
use super::tus::{ask, create, offset, patch, run_job};
use super::*;
use crate::clock::Timestamp;
use crate::db::events::EventKind;
use crate::db::{heartbeats, uploads as rows};
use crate::jobs::{Ending, Handler, Job, Task};

fn fleet() -> [Bench; 2] {
    let first = Bench::of_a_fleet(Arc::new(tempfile::tempdir().unwrap()));
    let second = first.beside();
    [first, second]
}

/// Names of all objects whose keys begin so.
async fn objects(bench: &Bench, prefix: &str) -> Vec<String> {
    let listed = bench.state.blobs.listed_before(Timestamp(i64::MAX)).map_ok(|object| object.key.to_string());
    let all: Vec<_> = listed.try_collect().await.unwrap();
    all.into_iter().filter(|key| key.starts_with(prefix)).collect()
}

#[tokio::test]
async fn an_upload_goes_on_at_any_instance() {
    let [one, two] = fleet();
    let file = image("1.2.3.4.1");
    let path = create(&one, file.len()).await;
    assert_eq!(patch(&two, &path, 0, &[], &file[..100]).await.status, StatusCode::NO_CONTENT);
    assert_eq!(offset(&one, &path).await, "100");
    assert_eq!(patch(&two, &path, 50, &[], &file[50..]).await.status, StatusCode::CONFLICT);
    assert_eq!(patch(&one, &path, 100, &[], &file[100..]).await.status, StatusCode::NO_CONTENT);
    assert_eq!((objects(&one, "uploads/").await.len(), one.state.blobs.spool().ids().unwrap().len()), (2, 0));
    run_job(&two, &path).await;
    let files = one.get(&format!("{}/files", path.replace("/tus", "")), &[]).await.json();
    assert_eq!(files["items"][0]["outcome"], "stored", "{files}");
    assert_eq!(objects(&one, "uploads/").await, [""; 0], "its bytes are gone");
}

#[tokio::test]
async fn of_two_who_go_on_at_once_one_is_told_that_he_was_late() {
    let [one, two] = fleet();
    let path = create(&one, 5).await;
    let id = path.rsplit('/').next().unwrap();
    let upload = rows::one(&one.state.db, id).await.unwrap().unwrap();
    let late = one.state.live.uploads.append(&upload, None).unwrap();
    assert!(late.push(Bytes::from_static(b"hel")).await);
    assert_eq!(patch(&two, &path, 0, &[], b"hello").await.status, StatusCode::NO_CONTENT);
    assert!(late.end().await.unwrap_err().to_string().contains("went on with this upload"));
    assert_eq!((offset(&one, &path).await.as_str(), objects(&one, "uploads/").await.len()), ("5", 1));
}

#[tokio::test]
async fn what_is_not_acknowledged_leaves_no_object() {
    let [one, _] = fleet();
    let path = create(&one, 5).await;
    let wrong = patch(&one, &path, 0, &[("upload-checksum", "sha1 AAAA")], b"hello").await;
    assert_eq!((wrong.status.as_u16(), offset(&one, &path).await), (460, "0".into()));
    assert_eq!(patch(&one, &path, 0, &[], b"hello, world").await.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(objects(&one, "uploads/").await, [""; 0]);
    let right = [("upload-checksum", "sha1 qvTGHdzF6KLavt4PO0gs2a6pQ00=")];
    assert_eq!(patch(&one, &path, 0, &right, b"hello").await.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn bytes_of_an_upload_that_is_given_up_or_expires_are_gone() {
    let [one, two] = fleet();
    let (given_up, expired) = (create(&one, 5).await, create(&one, 5).await);
    for path in [&given_up, &expired] {
        assert_eq!(patch(&one, path, 0, &[], b"hel").await.status, StatusCode::NO_CONTENT);
    }
    assert_eq!(ask(&two, "DELETE", &given_up, &[], b"").await.status, StatusCode::NO_CONTENT);
    assert_eq!(patch(&one, &given_up, 3, &[], b"lo").await.status, StatusCode::GONE);
    assert_eq!(objects(&one, "uploads/").await.len(), 1);
    // Whoever expired it died before its bytes were gone.
    rows::expire(&one.state.db, Timestamp(i64::MAX)).await.unwrap();
    two.state.live.uploads.sweep_once().await.unwrap();
    assert_eq!(objects(&one, "uploads/").await, [""; 0]);
}

#[tokio::test]
async fn bytes_of_an_upload_under_way_are_not_swept() {
    let [one, two] = fleet();
    let path = create(&one, 5).await;
    assert_eq!(patch(&one, &path, 0, &[], b"hel").await.status, StatusCode::NO_CONTENT);
    let ends = CancellationToken::new();
    two.state.ingest.sweep(Timestamp(i64::MAX), &ends).await.unwrap();
    assert_eq!(objects(&one, "uploads/").await.len(), 1);
    let id = path.rsplit('/').next().unwrap();
    let part = rows::parts(&one.state.db, id).await.unwrap().remove(0);
    one.state.db.run(crate::db::Batch::new().then(rows::forget_part(&part.key))).await.unwrap();
    two.state.ingest.sweep(Timestamp(i64::MAX), &ends).await.unwrap();
    assert_eq!(objects(&one, "uploads/").await, [""; 0], "without a row it is nobody's");
}

#[tokio::test]
async fn an_upload_comes_in_so_many_pieces_and_no_more() {
    let [one, _] = fleet();
    let most = one.state.live.uploads.parts.settings.parts_max;
    let path = create(&one, 5).await;
    let id = path.rsplit('/').next().unwrap();
    let sql = format!(
        "insert into upload_part (upload, start_at, length_bytes, blob_key)
         with recursive n (i) as (select 1 union all select i + 1 from n where i < {most})
         select '{id}', i, 0, 'uploads/' || i from n"
    );
    one.state.db.run(crate::db::Batch::new().then(crate::db::Statement::fixture(&sql))).await.unwrap();
    assert_eq!(patch(&one, &path, 0, &[], b"h").await.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn forms_of_an_instance_that_is_not_heard_of_come_to_an_end() {
    let [one, two] = fleet();
    let form = |id, server| rows::New {
        id,
        owner: "a",
        reach: "*",
        kind: "form",
        name: None,
        metadata: None,
        bytes_total: None,
        expires_at: None,
        server: Some(server),
    };
    let (db, early, now) = (&one.state.db, Timestamp(5), Timestamp(100));
    let begun = [("1", "mine"), ("2", "alive"), ("3", "dead")]
        .map(|(id, server)| rows::insert(&form(id, server), early));
    db.run(begun.into_iter().fold(crate::db::Batch::new(), crate::db::Batch::then)).await.unwrap();
    for server in ["mine", "alive"] {
        db.run(heartbeats::beat(server, now)).await.unwrap();
    }
    let state = async |id| rows::one(&two.state.db, id).await.unwrap().unwrap().state;
    db.run(rows::abort_forms_of_the_dead(Timestamp(50), now)).await.unwrap();
    assert_eq!([state("1").await, state("2").await, state("3").await], ["receiving", "receiving", "aborted"]);
    db.run(rows::abort_own_forms("mine", early, now)).await.unwrap();
    assert_eq!(state("1").await, "receiving", "it came after this process began");
    db.run(rows::abort_own_forms("mine", Timestamp(6), now)).await.unwrap();
    assert_eq!([state("1").await, state("2").await], ["aborted", "receiving"]);
}

#[tokio::test]
async fn a_download_is_made_at_one_instance_and_fetched_at_another() {
    let [one, two] = fleet();
    assert_eq!(one.store(&[image("1.2.3.4.1")]).await.status, StatusCode::OK);
    let wish = r#"{"form":"dicom-zip","studies":["1.2.3"]}"#;
    let asked = one.send(Request::post("/api/v1/downloads").body(body::full(wish)).unwrap()).await;
    let path = asked.header(LOCATION).replace("http://127.0.0.1:8080", "");
    let download = path.rsplit('/').next().unwrap().to_owned();
    let job = Job {
        id: "j".into(),
        task: Task::Download { download },
        attempts: 1,
        run_after: Timestamp(1),
        trace: None,
    };
    let ending = one.state.downloads.run(&job).await;
    assert!(matches!(ending, Ending::Done(_)), "{}", ending.as_str());
    let content = format!("{path}/content");
    let whole = two.get(&content, &[]).await;
    assert_eq!((whole.status, &whole.body[..2]), (StatusCode::OK, &b"PK"[..]));
    let part = two.get(&content, &[(RANGE, "bytes=2-9")]).await;
    assert_eq!((part.status, &part.body[..]), (StatusCode::PARTIAL_CONTENT, &whole.body[2..10]));
    assert_eq!(objects(&one, "downloads/").await.len(), 1);
    one.state.ingest.sweep(Timestamp(i64::MAX), &CancellationToken::new()).await.unwrap();
    assert_eq!(two.ask(Method::DELETE, &path, &[]).await.status, StatusCode::NO_CONTENT);
    assert_eq!(one.get(&path, &[]).await.status, StatusCode::GONE);
    assert_eq!(objects(&one, "downloads/").await, [""; 0]);
}

#[tokio::test]
async fn a_reader_of_events_goes_on_at_another_instance() {
    let [one, two] = fleet();
    for study in ["1.2", "1.3"] {
        tell(&one, EventKind::AnalysisDone, study).await;
    }
    let mut reader = Reader::open(&two, "/api/v1/events", &[("last-event-id", "1")]).await.unwrap();
    let text = reader.until("id: 2\n").await;
    assert!(text.contains("1.3") && !text.contains("1.2\""), "{text}");
    tell(&one, EventKind::AnalysisDone, "1.4").await;
    assert!(reader.until("id: 3\n").await.contains("1.4"));
}

#[tokio::test]
async fn an_upload_from_before_there_were_others_is_gone_on_with() {
    let alone = Bench::new();
    let path = create(&alone, 5).await;
    assert_eq!(patch(&alone, &path, 0, &[], b"hel").await.status, StatusCode::NO_CONTENT);
    let one = alone.beside();
    let stop = CancellationToken::new();
    stop.cancel();
    one.state.live.uploads.sweep(&stop).await;
    assert_eq!((objects(&one, "uploads/").await.len(), one.state.blobs.spool().ids().unwrap().len()), (1, 0));
    assert_eq!(patch(&one.beside(), &path, 3, &[], b"lo").await.status, StatusCode::NO_CONTENT);
    run_job(&one, &path).await;
    let files = one.get(&format!("{}/files", path.replace("/tus", "")), &[]).await.json();
    assert_eq!(files["items"][0]["outcome"], "ignored", "five bytes are no object: {files}");
}

#[tokio::test]
async fn a_worker_answers_probes_alone() {
    let worker = Bench::with(Settings { role: Role::Worker, ..Settings::default() });
    assert_eq!(worker.get("/readyz", &[]).await.status, StatusCode::OK);
    assert_eq!(worker.get("/metrics", &[]).await.status, StatusCode::OK);
    for path in ["/", "/dicom-web/studies", "/api/v1/studies", "/api/docs", "/nothing"] {
        assert_eq!(worker.get(path, &[]).await.status, StatusCode::NOT_FOUND, "{path}");
    }
}
