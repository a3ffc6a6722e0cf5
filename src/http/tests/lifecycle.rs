//! Deletion, the change feed, capabilities, codings.

use http::header::{
    ACCEPT_ENCODING, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_REQUEST_METHOD, CONTENT_ENCODING, ORIGIN,
    VARY,
};
use tokio_util::sync::CancellationToken;

use super::*;

const STUDY: &str = "/dicom-web/studies/1.2.3";

async fn deleting() -> Bench {
    Bench::filled_with(Settings { deletion_enabled: true, ..Settings::default() }).await
}

impl Bench {
    async fn status(&self, method: Method, path: &str) -> u16 {
        self.ask(method, path, &[]).await.status.as_u16()
    }

    async fn delete(&self, path: &str) -> u16 {
        self.status(Method::DELETE, path).await
    }

    async fn changes(&self, query: &str) -> Value {
        self.get(&format!("/api/v1/changefeed?{query}"), &[]).await.json()
    }
}

fn kinds(changes: &Value) -> Vec<&str> {
    changes["changes"].as_array().unwrap().iter().map(|change| change["kind"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn what_is_deleted_is_gone_and_what_never_was_is_not_found_w41_g16() {
    let bench = deleting().await;
    let instance = format!("{SERIES}/instances/1.2.3.4.1");
    assert_eq!((bench.delete(&instance).await, bench.delete(&instance).await), (204, 410));
    assert_eq!(bench.status(Method::GET, &instance).await, 410);
    assert_eq!(bench.status(Method::GET, &format!("{instance}/metadata")).await, 410);
    assert_eq!(bench.delete("/dicom-web/studies/9.9").await, 404);
    let found = bench.get("/dicom-web/studies", &[]).await.json();
    assert_eq!(found[0]["00201208"]["Value"][0], 2);
}

#[tokio::test]
async fn a_study_goes_with_its_series_and_its_patient_w41() {
    let bench = deleting().await;
    assert_eq!((bench.delete(STUDY).await, bench.delete(STUDY).await), (204, 410));
    for path in [STUDY, SERIES, "/api/v1/studies/1.2.3"] {
        assert_eq!(bench.status(Method::GET, path).await, 410, "{path}");
    }
    for path in ["/dicom-web/studies", "/dicom-web/series", "/dicom-web/instances"] {
        assert_eq!(bench.get(path, &[]).await.json(), serde_json::json!([]), "{path}");
    }
    let patients = crate::db::Statement::named("patients", "select count(*) from patient");
    assert_eq!(bench.state.db.read_one(patients).await.unwrap().unwrap().int(0).unwrap(), 0);
}

#[tokio::test]
async fn nothing_is_deleted_while_deletion_is_turned_off() {
    let bench = Bench::filled().await;
    assert_eq!(bench.delete(STUDY).await, 403);
    assert_eq!(bench.status(Method::GET, STUDY).await, 200);
}

#[tokio::test]
async fn a_deleted_object_can_be_stored_again() {
    let bench = deleting().await;
    assert_eq!(bench.delete(STUDY).await, 204);
    assert_eq!(bench.store(&[image("1.2.3.4.1")]).await.status, StatusCode::OK);
    assert_eq!(bench.status(Method::GET, &format!("{SERIES}/instances/1.2.3.4.1")).await, 200);
    assert_eq!(bench.status(Method::GET, &format!("{SERIES}/instances/1.2.3.4.2")).await, 410);
}

#[tokio::test]
async fn a_deletion_is_taken_back_bit_by_bit() {
    let bench = deleting().await;
    assert_eq!(bench.delete(&format!("{STUDY}?reason=wrong+patient")).await, 204);
    let listed = bench.get("/api/v1/deleted", &[]).await.json();
    let deletion = &listed["items"][0];
    assert_eq!((&deletion["reason"], &deletion["kept"]), (&Value::from("wrong patient"), &Value::from(3)));
    let restore = format!("/api/v1/deleted/{}/restore", deletion["id"].as_str().unwrap());
    let restored = bench.ask(Method::POST, &restore, &[]).await;
    assert_eq!(restored.json(), serde_json::json!({ "restored": 3, "refused": 0 }));
    let path = format!("{SERIES}/instances/1.2.3.4.2");
    assert_eq!(bench.accepting(&path, "application/dicom").await.body, image("1.2.3.4.2"));
    assert_eq!(bench.get("/api/v1/deleted", &[]).await.json()["items"][0]["kept"], 0);
    assert_eq!(bench.status(Method::POST, "/api/v1/deleted/x/restore").await, 404);
}

#[tokio::test]
async fn the_sweep_deletes_what_no_row_has_and_spares_what_was_stored_again() {
    let bench = deleting().await;
    assert_eq!(bench.delete(STUDY).await, 204);
    assert_eq!(bench.store(&[image("1.2.3.4.1")]).await.status, StatusCode::OK);
    let swept = bench.state.ingest.sweep_deleted(Timestamp(2), &CancellationToken::new()).await.unwrap();
    assert_eq!((swept, bench.objects()), (3, 1));
    assert_eq!(bench.status(Method::GET, &format!("{SERIES}/instances/1.2.3.4.1")).await, 200);
    assert_eq!(bench.status(Method::GET, &format!("{SERIES}/instances/1.2.3.4.2")).await, 410);
    assert_eq!(bench.get("/api/v1/deleted", &[]).await.json()["items"][0]["kept"], 0);
}

impl Bench {
    /// Files of stored objects.
    fn objects(&self) -> usize {
        fn files(folder: &std::path::Path) -> usize {
            let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
            entries.map(|path| if path.is_dir() { files(&path) } else { 1 }).sum()
        }
        files(&self.dir.path().join("objects"))
    }
}

#[tokio::test]
async fn the_sweep_at_the_start_spares_what_can_be_restored() {
    let bench = deleting().await;
    assert_eq!(bench.delete(STUDY).await, 204);
    let later = Timestamp(i64::MAX);
    let swept = bench.state.ingest.sweep(later, &CancellationToken::new()).await.unwrap();
    assert_eq!((swept.deleted, bench.objects()), (0, 3));
}

#[tokio::test]
async fn the_change_feed_tells_everything_in_order() {
    let bench = deleting().await;
    let first = bench.changes("limit=2&include=metadata").await;
    assert_eq!((kinds(&first), &first["more"]), (vec!["instance-stored"; 2], &Value::from(true)));
    assert_eq!(first["changes"][0]["metadata"]["00100020"]["Value"][0], "P1");
    bench.delete(STUDY).await;
    let rest = bench.changes(&format!("after={}", first["next"])).await;
    let mut expected = vec!["instance-stored"];
    expected.extend(["instance-deleted"; 3]);
    expected.extend(["series-deleted", "study-deleted"]);
    assert_eq!((kinds(&rest), &rest["more"]), (expected, &Value::from(false)));
    assert_eq!(bench.get("/api/v1/changefeed/latest", &[]).await.json()["next"], rest["next"]);
    let again = bench.changes("limit=1&include=metadata").await;
    assert_eq!(
        (&again["changes"][0]["current"], &again["changes"][0]["metadata"]),
        (&Value::from(false), &Value::Null)
    );
    assert!(kinds(&bench.changes("since=2020-01-01T00:00:00Z").await).is_empty());
}

#[tokio::test]
async fn a_bad_place_in_the_change_feed_is_refused() {
    let bench = Bench::new();
    for query in ["after=-1", "after=x", "since=yesterday", "limit=x", "include=pixels"] {
        assert_eq!(bench.status(Method::GET, &format!("/api/v1/changefeed?{query}")).await, 400, "{query}");
    }
}

#[tokio::test]
async fn options_describe_the_service_and_a_resource_g18() {
    let bench = Bench::new();
    for path in ["/", "/dicom-web", "/dicom-web/"] {
        let reply = bench.ask(Method::OPTIONS, path, &[]).await;
        assert_eq!(reply.header(CONTENT_TYPE), "application/vnd.sun.wadl+xml", "{path}");
        assert!(reply.body.starts_with(b"<?xml"), "{path}");
    }
    let one = bench.ask(Method::OPTIONS, STUDY, &[(ACCEPT, "application/json")]).await;
    assert_eq!(one.header(ALLOW), "GET, HEAD, POST, DELETE, OPTIONS");
    let described = one.json();
    let resources = described["application"]["resources"]["resource"].as_array().unwrap();
    assert_eq!((resources.len(), &resources[0]["path"]), (1, &Value::from("studies/{study}")));
    assert_eq!(bench.status(Method::OPTIONS, "/nowhere").await, 404);
}

#[tokio::test]
async fn a_browser_of_a_known_origin_may() {
    let cors = Cors { origins: vec!["https://v".to_owned()], max_age_s: 60, credentials: false };
    let bench = Bench::with(Settings { cors, ..Settings::default() });
    let asks = [(ORIGIN, "https://v"), (ACCESS_CONTROL_REQUEST_METHOD, "GET")];
    let preflight = bench.ask(Method::OPTIONS, "/dicom-web/studies", &asks).await;
    assert_eq!(
        (preflight.status.as_u16(), preflight.header(ACCESS_CONTROL_ALLOW_ORIGIN)),
        (204, "https://v")
    );
    let answer = bench.get("/dicom-web/studies", &[(ORIGIN, "https://v")]).await;
    assert_eq!(answer.header(ACCESS_CONTROL_ALLOW_ORIGIN), "https://v");
    assert_eq!(answer.header(VARY), "Accept, Accept-Encoding, Origin");
}

#[tokio::test]
async fn a_compressed_answer_has_its_own_strong_tag_g19_g20() {
    let bench = Bench::filled().await;
    let path = format!("{SERIES}/metadata");
    let plain = bench.get(&path, &[]).await;
    for coding in ["gzip", "br", "zstd"] {
        let coded = bench.get(&path, &[(ACCEPT_ENCODING, coding)]).await;
        let tag = coded.header(ETAG).to_owned();
        assert_eq!((coded.header(CONTENT_ENCODING), coded.header(VARY)), (coding, "Accept, Accept-Encoding"));
        assert_eq!(tag, plain.header(ETAG).trim_end_matches('"').to_owned() + &format!("-{coding}\""));
        let known = bench.get(&path, &[(ACCEPT_ENCODING, coding), (IF_NONE_MATCH, &tag)]).await;
        assert_eq!((known.status, known.header(ETAG)), (StatusCode::NOT_MODIFIED, tag.as_str()));
        assert_eq!(bench.get(&path, &[(IF_NONE_MATCH, &tag)]).await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn head_is_get_without_its_body_also_when_compressed_g15() {
    let bench = Bench::filled().await;
    for path in [format!("{SERIES}/metadata"), "/dicom-web/studies".to_owned()] {
        let mut got = bench.get(&path, &[(ACCEPT_ENCODING, "gzip")]).await.headers;
        let head = bench.ask(Method::HEAD, &path, &[(ACCEPT_ENCODING, "gzip")]).await;
        let mut heads = head.headers;
        for headers in [&mut got, &mut heads] {
            headers.remove("x-request-id");
        }
        assert_eq!(got, heads, "{path}");
    }
}

#[tokio::test]
async fn other_character_sets_are_refused_g17() {
    let bench = Bench::new();
    let latin = bench.accepting("/dicom-web/studies", "application/dicom+json; charset=iso-8859-1").await;
    assert_eq!(latin.status, StatusCode::BAD_REQUEST);
    assert_eq!(bench.status(Method::GET, "/dicom-web/studies?charset=latin1").await, 400);
}

#[tokio::test]
async fn a_request_line_that_is_too_long_is_refused() {
    let bench = Bench::new();
    let long = format!("/dicom-web/studies?PatientID={}", "1".repeat(20_000));
    assert_eq!(bench.status(Method::GET, &long).await, 414);
}
