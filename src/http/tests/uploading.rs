//! Forms with files, folders and zips.

use std::io::{Cursor, Write};

use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::*;

fn form(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, content) in files {
        let head = format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"files\"; filename=\"{name}\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n"
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    body
}

fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in entries {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(content).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

async fn upload(bench: &Bench, query: &str, body: Vec<u8>) -> Reply {
    let content_type = format!("multipart/form-data; boundary={BOUNDARY}");
    let request = Request::post(format!("/api/v1/uploads{query}")).header(CONTENT_TYPE, content_type);
    bench.send(request.body(body::full(body)).unwrap()).await
}

fn outcomes(answer: &Value) -> Vec<(String, String)> {
    let text = |file: &Value, key: &str| file[key].as_str().unwrap().to_owned();
    let files = answer["files"].as_array().unwrap();
    files.iter().map(|file| (text(file, "name"), text(file, "outcome"))).collect()
}

#[tokio::test]
async fn every_file_of_a_form_is_told_what_became_of_it() {
    let bench = Bench::new();
    let (one, two) = (image("1.2.3.4.1"), image("1.2.3.4.2"));
    let files: [(&str, &[u8]); 4] =
        [("a/1.dcm", &one), ("notes.txt", b"hello"), ("../../2.dcm", &two), ("cut.dcm", &one[..200])];
    let reply = upload(&bench, "", form(&files)).await;
    assert_eq!(reply.status, StatusCode::OK, "{:?}", reply.body);
    let answer = reply.json();
    let expected =
        [("a/1.dcm", "stored"), ("notes.txt", "ignored"), ("../../2.dcm", "stored"), ("cut.dcm", "refused")];
    let expected = expected.map(|(name, outcome)| (name.to_owned(), outcome.to_owned()));
    assert_eq!(outcomes(&answer), expected);
    assert_eq!((&answer["state"], &answer["counts"]["stored"]), (&"done".into(), &2.into()));
    let listed = bench.get(&format!("/api/v1/uploads/{}/files", answer["id"].as_str().unwrap()), &[]).await;
    assert_eq!(listed.json()["total"], 4);
    let again = upload(&bench, "", form(&[("1.dcm", &one)])).await.json();
    assert_eq!(outcomes(&again)[0].1, "same");
}

#[tokio::test]
async fn a_zip_is_unpacked_and_a_zip_within_is_not() {
    let bench = Bench::new();
    let inner = zip(&[("1.dcm", &image("1.2.3.4.1"))]);
    let (one, two) = (image("1.2.3.4.1"), image("1.2.3.4.2"));
    let zipped = zip(&[("x/1.dcm", &one), ("/etc/2.dcm", &two), ("inner.zip", &inner)]);
    let answer = upload(&bench, "", form(&[("study.zip", &zipped)])).await.json();
    let told = outcomes(&answer);
    assert_eq!(told[1], ("study.zip: /etc/2.dcm".to_owned(), "stored".to_owned()));
    assert_eq!(told[2], ("study.zip: inner.zip".to_owned(), "ignored".to_owned()));
    assert_eq!(answer["counts"]["stored"], 2);
}

#[tokio::test]
async fn a_name_that_would_deceive_is_shown_as_what_it_is() {
    let bench = Bench::new();
    let answer = upload(&bench, "", form(&[("scan\u{202e}mcd.exe", b"x")])).await.json();
    assert_eq!(outcomes(&answer)[0].0, "scan\\u{202e}mcd.exe");
}

#[tokio::test]
async fn no_name_of_a_file_is_in_the_audit_trail_or_the_events() {
    let bench = Bench::new();
    upload(&bench, "", form(&[("Doe^Jane.dcm", &image("1.2.3.4.1")), ("Doe^Jane.txt", b"x")])).await;
    for sql in [
        "select coalesce(detail, '') || coalesce(object_id, '') from audit",
        "select cast(coalesce(detail, '') as text) || coalesce(subject, '') from event",
    ] {
        let rows = bench.state.db.read(crate::db::Statement::named("texts", sql)).await.unwrap();
        assert!(!rows.is_empty());
        assert!(rows.iter().all(|row| !row.text(0).unwrap().contains("Doe")), "{rows:?}");
    }
}

#[tokio::test]
async fn what_is_no_form_is_refused() {
    let bench = Bench::new();
    let json = Request::post("/api/v1/uploads").header(CONTENT_TYPE, "application/json");
    let reply = bench.send(json.body(body::full("{}")).unwrap()).await;
    assert_eq!(reply.status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(upload(&bench, "", b"nothing".to_vec()).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(upload(&bench, "?id=x", form(&[])).await.status, StatusCode::BAD_REQUEST);
    let empty = upload(&bench, "", form(&[])).await;
    assert_eq!(empty.status, StatusCode::BAD_REQUEST);
    assert!(empty.json()["detail"].as_str().unwrap().contains("no file"), "{:?}", empty.json());
}

#[tokio::test]
async fn a_form_that_breaks_off_keeps_what_came_whole() {
    let bench = Bench::new();
    let id = crate::ids::row_id();
    let whole = form(&[("1.dcm", &image("1.2.3.4.1")), ("2.dcm", &image("1.2.3.4.2"))]);
    let reply = upload(&bench, &format!("?id={id}"), whole[..whole.len() - 100].to_vec()).await;
    let answer = reply.json();
    assert_eq!((reply.status, &answer["state"]), (StatusCode::BAD_REQUEST, &"failed".into()), "{answer}");
    assert_eq!(outcomes(&answer)[0].1, "stored");
    let taken = upload(&bench, &format!("?id={id}"), whole).await;
    assert_eq!(taken.status, StatusCode::CONFLICT, "an id names one upload");
}

#[tokio::test]
async fn the_list_of_uploads_has_pages_as_every_list() {
    let bench = Bench::new();
    for number in 1..=3 {
        upload(&bench, "", form(&[("1.dcm", &image(&format!("1.2.3.4.{number}")))])).await;
    }
    let list = |query: String| {
        let bench = &bench;
        async move { bench.get(&format!("/api/v1/uploads?{query}"), &[]).await }
    };
    let first = list("limit=2&sort=created_at&fields=id,counts".to_owned()).await.json();
    assert_eq!((first["items"].as_array().unwrap().len(), &first["total"]), (2, &3.into()));
    assert!(first["items"][0].get("state").is_none() && first["items"][0]["counts"]["stored"] == 1);
    let cursor = first["next"].as_str().unwrap();
    let rest = list(format!("limit=2&sort=created_at&fields=id,counts&cursor={cursor}")).await.json();
    let ids = |page: &Value| {
        page["items"].as_array().unwrap().iter().map(|one| one["id"].clone()).collect::<Vec<_>>()
    };
    let all = ids(&list(String::new()).await.json());
    assert_eq!([ids(&first), ids(&rest)].concat(), all.into_iter().rev().collect::<Vec<_>>());
    assert_eq!(list("state=failed".to_owned()).await.json()["total"], 0);
    assert_eq!(list("state=lost".to_owned()).await.status, StatusCode::BAD_REQUEST);
}
