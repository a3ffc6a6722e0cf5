//! QIDO-RS through the whole stack.

use super::*;
use http::header::WARNING;

/// With the settings of an operator.
async fn filled_with(change: impl FnOnce(&mut Settings)) -> Bench {
    let mut bench = Bench::new();
    change(&mut Arc::get_mut(&mut bench.state).unwrap().settings);
    let reply = bench.store(&[image("1.2.3.4.1"), image("1.2.3.4.2"), document("1.2.3.4.3")]).await;
    assert_eq!(reply.status, StatusCode::OK);
    bench
}

async fn found(bench: &Bench, path: &str) -> usize {
    let reply = bench.get(&format!("/dicom-web/{path}"), &[]).await;
    assert_eq!(reply.status, StatusCode::OK, "{path}");
    reply.json().as_array().unwrap().len()
}

#[tokio::test]
async fn no_match_is_an_empty_list_or_nothing_at_all_q1_q2_q37() {
    let bench = Bench::filled().await;
    let none = bench.accepting("/dicom-web/studies?PatientID=nobody", "application/json").await;
    assert_eq!(
        (none.status, none.header(CONTENT_TYPE), &none.body[..]),
        (StatusCode::OK, "application/json", &b"[]"[..])
    );
    let old = filled_with(|settings| settings.search_empty_204 = true).await;
    let none = old.get("/dicom-web/studies?PatientID=nobody", &[]).await;
    assert_eq!((none.status, none.body.len()), (StatusCode::NO_CONTENT, 0));
    assert_eq!(found(&old, "studies?PatientID=P1").await, 1);
}

#[tokio::test]
async fn every_resource_answers_q26_q27_q28_q29() {
    let bench = Bench::filled().await;
    for (path, expected) in [
        ("patients", 1),
        ("studies", 1),
        ("series", 1),
        ("instances", 3),
        ("studies/1.2.3/series", 1),
        ("studies/1.2.3/instances", 3),
        ("studies/1.2.3/series/1.2.3.4/instances", 3),
        ("studies/1.2.3/series/9/instances", 0),
    ] {
        assert_eq!(found(&bench, path).await, expected, "{path}");
    }
    let of_all = bench.get("/dicom-web/series", &[]).await.json();
    assert_eq!(of_all[0]["00100020"]["Value"][0], "P1");
}

#[tokio::test]
async fn instances_say_what_they_are_q4_q33_q34_q35_q36_q40() {
    let bench = Bench::filled().await;
    let found = bench.get(&format!("{SERIES}/instances?SOPInstanceUID=1.2.3.4.1"), &[]).await.json();
    let instance = found[0].as_object().unwrap();
    assert_eq!(
        (&instance["00280008"]["Value"][0], &instance["00280010"]["Value"][0]),
        (&2.into(), &4.into())
    );
    assert_eq!(instance["00083002"]["Value"][0], uids::EXPLICIT_VR_LITTLE_ENDIAN);
    let url = instance["00081190"]["Value"][0].as_str().unwrap();
    let path = url.strip_prefix("http://127.0.0.1:8080").unwrap();
    assert_eq!(bench.accepting(path, "application/dicom").await.status, StatusCode::OK);
    let text = bench.get(&format!("{SERIES}/instances?SOPInstanceUID=1.2.3.4.1"), &[]).await.body;
    let text = String::from_utf8_lossy(&text);
    let keys = text.split("\":{\"vr\"").filter_map(|before| before.get(before.len().checked_sub(8)?..));
    assert!(keys.take(instance.len()).is_sorted(), "{text}");
}

#[tokio::test]
async fn a_page_says_what_is_behind_it_and_a_known_one_is_not_sent_again_q16_g19() {
    let bench = Bench::filled().await;
    let page = bench.get("/dicom-web/instances?limit=1&offset=1", &[]).await;
    assert_eq!(page.header(WARNING), "299 radiant: \"There are 1 additional results that can be requested\"");
    let last = bench.get("/dicom-web/instances?limit=1&offset=2", &[]).await;
    assert!(last.headers.get(WARNING).is_none());
    let etag = page.header(ETAG).to_owned();
    let again = bench.get("/dicom-web/instances?limit=1&offset=1", &[(IF_NONE_MATCH, &etag)]).await;
    assert_eq!(again.status, StatusCode::NOT_MODIFIED);
}

#[tokio::test]
async fn a_search_that_costs_too_much_is_413_and_says_why_q45() {
    let bench = filled_with(|settings| settings.search_scan_max = 2).await;
    let broad = bench.get("/dicom-web/instances?StationName=CT*", &[]).await;
    assert_eq!(
        (broad.status, &broad.json()["type"]),
        (StatusCode::PAYLOAD_TOO_LARGE, &"urn:radiant:problem:too-broad".into())
    );
    assert_eq!(found(&bench, "instances?StationName=CT*&SOPInstanceUID=1.2.3.4.1").await, 0);
}

#[tokio::test]
async fn refused_values_are_not_repeated_in_the_answer_q19_q44() {
    let bench = Bench::filled().await;
    for query in ["StudyDate=secret", "Rows=7", "StudyInstanceUID=1.secret", "fuzzymatching=secret"] {
        let refused = bench.get(&format!("/dicom-web/studies?{query}"), &[]).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{query}");
        assert!(!String::from_utf8_lossy(&refused.body).contains("secret"));
    }
}
