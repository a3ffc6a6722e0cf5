//! Resumable uploads, header by header.

use super::*;
use crate::db::uploads as rows;
use crate::jobs::{Handler, Job, Task};

const OCTETS: &str = "application/offset+octet-stream";

pub(super) async fn ask(
    bench: &Bench,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Reply {
    let mut request = Request::builder().method(method).uri(path).header("tus-resumable", "1.0.0");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let reply = bench.send(request.body(body::full(body.to_vec())).unwrap()).await;
    assert_eq!(reply.headers["tus-resumable"], "1.0.0", "in every answer");
    reply
}

pub(super) async fn create(bench: &Bench, bytes: usize) -> String {
    let headers = [("upload-length", &*bytes.to_string()), ("upload-metadata", "filename YS5kY20=")];
    let reply = ask(bench, "POST", "/api/v1/uploads/tus", &headers, b"").await;
    assert_eq!(reply.status, StatusCode::CREATED, "{:?}", reply.body);
    assert!(reply.headers["upload-expires"].to_str().unwrap().ends_with(" GMT"));
    let location = reply.headers["location"].to_str().unwrap();
    location[location.find("/api").unwrap()..].to_owned()
}

pub(super) async fn patch(
    bench: &Bench,
    path: &str,
    offset: usize,
    more: &[(&str, &str)],
    body: &[u8],
) -> Reply {
    let offset = offset.to_string();
    let headers = [&[("content-type", OCTETS), ("upload-offset", &*offset)], more].concat();
    ask(bench, "PATCH", path, &headers, body).await
}

pub(super) async fn offset(bench: &Bench, path: &str) -> String {
    let reply = ask(bench, "HEAD", path, &[], b"").await;
    reply.headers["upload-offset"].to_str().unwrap().to_owned()
}

pub(super) async fn run_job(bench: &Bench, path: &str) {
    let upload = path.rsplit('/').next().unwrap().to_owned();
    let task = Task::StoreUpload { upload };
    let job = Job { id: "j".into(), task, attempts: 1, run_after: Timestamp(1), trace: None };
    bench.state.live.uploads.run(&job).await;
}

#[tokio::test]
async fn a_file_in_two_pieces_becomes_an_object() {
    let bench = Bench::new();
    let file = image("1.2.3.4.1");
    let path = create(&bench, file.len()).await;
    assert_eq!(patch(&bench, &path, 0, &[], &file[..100]).await.status, StatusCode::NO_CONTENT);
    assert_eq!(offset(&bench, &path).await, "100");
    let wrong = patch(&bench, &path, 50, &[], &file[50..]).await;
    assert_eq!(wrong.status, StatusCode::CONFLICT);
    assert_eq!(patch(&bench, &path, 100, &[], &file[100..]).await.status, StatusCode::NO_CONTENT);
    run_job(&bench, &path).await;
    let files = bench.get(&format!("{}/files", path.replace("/tus", "")), &[]).await.json();
    assert_eq!(
        (&files["items"][0]["outcome"], &files["items"][0]["name"]),
        (&"stored".into(), &"a.dcm".into())
    );
    assert_eq!(bench.state.blobs.spool().ids().unwrap().len(), 0, "the file is gone");
}

#[tokio::test]
async fn bytes_that_are_not_what_was_announced_are_not_kept() {
    let bench = Bench::new();
    let path = create(&bench, 5).await;
    let wrong = patch(&bench, &path, 0, &[("upload-checksum", "sha1 AAAA")], b"hello").await;
    assert_eq!((wrong.status.as_u16(), offset(&bench, &path).await), (460, "0".into()));
    let right = [("upload-checksum", "sha1 qvTGHdzF6KLavt4PO0gs2a6pQ00=")];
    assert_eq!(patch(&bench, &path, 0, &right, b"hello").await.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn one_writer_at_a_time() {
    let bench = Bench::new();
    let path = create(&bench, 5).await;
    let id = path.rsplit('/').next().unwrap();
    let upload = rows::one(&bench.state.db, id).await.unwrap().unwrap();
    let writing = bench.state.live.uploads.append(&upload, None).unwrap();
    assert_eq!(patch(&bench, &path, 0, &[], b"hello").await.status, StatusCode::LOCKED);
    assert_eq!(ask(&bench, "DELETE", &path, &[], b"").await.status, StatusCode::LOCKED);
    assert!(writing.push(Bytes::from_static(b"he")).await);
    assert_eq!(writing.end().await.unwrap(), 2);
    assert_eq!(patch(&bench, &path, 2, &[], b"llo").await.status, StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn more_than_was_announced_is_refused() {
    let bench = Bench::new();
    let path = create(&bench, 3).await;
    assert_eq!(patch(&bench, &path, 0, &[], b"hello").await.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn what_is_given_up_or_expires_is_gone() {
    let bench = Bench::new();
    let path = create(&bench, 5).await;
    assert_eq!(ask(&bench, "DELETE", &path, &[], b"").await.status, StatusCode::NO_CONTENT);
    assert_eq!(patch(&bench, &path, 0, &[], b"hello").await.status, StatusCode::GONE);
    let other = create(&bench, 5).await;
    let id = other.rsplit('/').next().unwrap();
    rows::expire(&bench.state.db, Timestamp(i64::MAX)).await.unwrap();
    assert_eq!(rows::one(&bench.state.db, id).await.unwrap().unwrap().state, "aborted");
    assert_eq!(patch(&bench, &other, 0, &[], b"hello").await.status, StatusCode::GONE);
}

#[tokio::test]
async fn the_protocol_is_announced_and_asked_for() {
    let bench = Bench::new();
    let request = Request::builder().method("OPTIONS").uri("/api/v1/uploads/tus");
    let reply = bench.send(request.body(body::empty()).unwrap()).await;
    assert_eq!(reply.headers["tus-version"], "1.0.0");
    assert!(reply.headers["tus-extension"].to_str().unwrap().contains("creation-with-upload"));
    let plain = Request::post("/api/v1/uploads/tus").header("upload-length", "5");
    let reply = bench.send(plain.body(body::empty()).unwrap()).await;
    assert_eq!((reply.status.as_u16(), reply.headers["tus-version"].as_bytes()), (412, &b"1.0.0"[..]));
}

#[tokio::test]
async fn sizes_and_counts_have_limits() {
    let bench = Bench::new();
    let large = ask(&bench, "POST", "/api/v1/uploads/tus", &[("upload-length", "9000000000000")], b"").await;
    assert_eq!(large.status, StatusCode::PAYLOAD_TOO_LARGE);
    for _ in 0..bench.state.live.uploads.parts.settings.unfinished_max {
        create(&bench, 5).await;
    }
    let many = ask(&bench, "POST", "/api/v1/uploads/tus", &[("upload-length", "5")], b"").await;
    assert_eq!(many.status, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn a_piece_may_come_with_the_creation() {
    let bench = Bench::new();
    let headers = [("upload-length", "5"), ("content-type", OCTETS)];
    let reply = ask(&bench, "POST", "/api/v1/uploads/tus", &headers, b"hel").await;
    assert_eq!((reply.status, reply.headers["upload-offset"].as_bytes()), (StatusCode::CREATED, &b"3"[..]));
}
