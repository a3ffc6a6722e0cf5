//! What requests leave in the audit trail, and what it is asked.

use super::*;

async fn trail(bench: &Bench, query: &str) -> Vec<Value> {
    let reply = bench.get(&format!("/api/v1/audit?{query}"), &[]).await;
    assert_eq!(reply.status, StatusCode::OK, "{:?}", reply.body);
    reply.json()["items"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_search_is_told_by_its_keys_and_not_by_their_values() {
    let bench = Bench::filled().await;
    bench.get("/dicom-web/studies?PatientName=Secret*&Secret=1&StudyDate=20260101", &[]).await;
    let [entry] = trail(&bench, "action=query").await.try_into().unwrap();
    assert_eq!(entry["detail"], "search-studies by PatientName StudyDate and 1 unknown");
    assert_eq!(entry["outcome"], "success");
}

#[tokio::test]
async fn a_request_and_the_rows_that_it_wrote_have_one_id() {
    let bench = Bench::filled().await;
    let stored = trail(&bench, "action=store-instance&sort=sequence").await.remove(0);
    let of_request = trail(&bench, &format!("request_id={}", stored["request_id"].as_str().unwrap())).await;
    let mut actions: Vec<&str> = of_request.iter().map(|entry| entry["action"].as_str().unwrap()).collect();
    actions.sort_unstable();
    assert_eq!(actions, ["receive-objects", "store-instance"]);
    assert_eq!(stored["resource"]["study_uid"], "1.2.3");
    assert_eq!(stored["actor"]["kind"], "anonymous");
}

#[tokio::test]
async fn what_is_read_and_what_is_not_there_is_told() {
    let bench = Bench::filled().await;
    bench.get(&format!("{SERIES}/metadata"), &[]).await;
    bench.get("/dicom-web/studies/9.9/metadata", &[]).await;
    let told = trail(&bench, "action=read-metadata&sort=sequence").await;
    let outcomes: Vec<&str> = told.iter().map(|entry| entry["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["success", "minor-failure"]);
    assert_eq!(told[0]["resource"]["id"], "1.2.3.4");
}

#[tokio::test]
async fn an_answer_that_nobody_takes_is_broken_off() {
    let bench = Bench::filled().await;
    let request = Request::get(SERIES).header(HOST, "h:1").body(body::empty()).unwrap();
    let response = service::service(Arc::clone(&bench.state), ends()).oneshot(request).await.unwrap();
    let mut body = Box::pin(response.into_body());
    body.frame().await.unwrap().map_err(Into::<body::BoxError>::into).unwrap();
    drop(body);
    let [entry] = trail(&bench, "action=retrieve").await.try_into().unwrap();
    assert_eq!((&entry["outcome"], &entry["detail"]), (&"minor-failure".into(), &"broken off".into()));
}

#[tokio::test]
async fn an_answer_of_announced_length_ends_with_its_last_byte() {
    let bench = Bench::filled().await;
    let request = Request::get(format!("{SERIES}/instances/1.2.3.4.1/frames/1"))
        .header(HOST, "127.0.0.1:8080")
        .body(body::empty())
        .unwrap();
    let response = service::service(Arc::clone(&bench.state), ends()).oneshot(request).await.unwrap();
    let length: usize = response.headers()[CONTENT_LENGTH].to_str().unwrap().parse().unwrap();
    let (mut body, mut read) = (Box::pin(response.into_body()), 0);
    while read < length {
        let frame = body.frame().await.unwrap().map_err(Into::<body::BoxError>::into).unwrap();
        read += frame.into_data().unwrap().len();
    }
    drop(body);
    let [entry] = trail(&bench, "action=retrieve").await.try_into().unwrap();
    assert_eq!((&entry["outcome"], &entry["detail"]), (&"success".into(), &"retrieve-frames".into()));
}

#[tokio::test]
async fn a_head_is_no_broken_answer() {
    let bench = Bench::filled().await;
    bench.ask(Method::HEAD, SERIES, &[]).await;
    let entries = trail(&bench, "action=retrieve").await;
    assert_eq!(entries[0]["outcome"], "success");
}

#[tokio::test]
async fn whoever_reads_the_trail_is_in_it_once() {
    let bench = Bench::new();
    assert_eq!(trail(&bench, "action=read-audit&outcome=success").await.len(), 0);
    let told = trail(&bench, "action=read-audit&outcome=success").await;
    assert_eq!(told.len(), 1);
    assert_eq!(told[0]["detail"], "api-audit by action outcome");
}

#[tokio::test]
async fn unknown_filters_and_values_are_refused() {
    let bench = Bench::new();
    for query in ["outcome=good", "action=x", "from=today", "actr=x"] {
        let reply = bench.get(&format!("/api/v1/audit?{query}"), &[]).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{query}");
    }
    let reply = bench.get("/api/v1/audit/export?format=xml", &[]).await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn an_export_has_every_row_up_to_itself() {
    let bench = Bench::filled().await;
    let reply = bench.get("/api/v1/audit/export", &[]).await;
    let lines = std::str::from_utf8(&reply.body).unwrap().lines();
    let sequences: Vec<i64> = lines
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["sequence"].as_i64().unwrap())
        .collect();
    assert_eq!(sequences, (1..=sequences.len() as i64).collect::<Vec<_>>());
    assert!(sequences.len() >= 6, "{sequences:?}");
}

#[tokio::test]
async fn an_export_that_is_too_large_is_refused() {
    let bench = Bench::with(Settings { audit_rows_max: 0, ..Settings::default() });
    bench.get("/dicom-web/studies", &[]).await;
    let reply = bench.get("/api/v1/audit/export", &[]).await;
    assert_eq!(reply.status, StatusCode::UNPROCESSABLE_ENTITY);
}
