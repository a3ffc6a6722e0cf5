//! What requests leave in the audit trail, and what it is asked.

use super::*;
use crate::db::{Batch, Statement};
use crate::http::rest::TABLE;

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
    assert_eq!(outcomes, ["begun", "success", "minor-failure"]);
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
    let [end, beginning] = trail(&bench, "action=retrieve").await.try_into().unwrap();
    assert_eq!((&end["outcome"], &end["detail"]), (&"minor-failure".into(), &"broken off".into()));
    assert_eq!((&beginning["outcome"], &beginning["request_id"]), (&"begun".into(), &end["request_id"]));
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
    let [end, beginning] = trail(&bench, "action=retrieve").await.try_into().unwrap();
    assert_eq!((&end["outcome"], &end["detail"]), (&"success".into(), &"retrieve-frames".into()));
    assert_eq!((&beginning["outcome"], &beginning["request_id"]), (&"begun".into(), &end["request_id"]));
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

/// Something of the study 1.2.3, which one patient has beside 1.2.4.
const ROWS: &[&str] = &[
    "insert into analysis (id, study_uid, pipeline, content_sha256, state, trigger_kind, queued_at)
     values ('a', '1.2.3', 'p', 'c', 'done', 'rule', 0)",
    "insert into report (id, study_uid, analysis, status, version, versions, revision, narrative, series_uid_sr,
        sr_instance_uid, series_uid_pdf, pdf_instance_uid, created_at, updated_at)
     values ('r', '1.2.3', 'a', 'draft', 1, 1, 1, x'7B7D', '8', '8.1', '1.2.3.9', '1.2.3.9.1', 1, 1)",
    "insert into export (destination, subject, study_uid, content, rule, state, due_at, created_at, updated_at)
     values ('the archive', '1.2.3.4.1', '1.2.3', x'', 'r', 'sent', 0, 0, 0)",
];

async fn with_results() -> Bench {
    let bench = Bench::filled().await;
    let batch = ROWS.iter().fold(Batch::new(), |batch, sql| batch.then(Statement::fixture(sql)));
    bench.state.db.run(batch).await.unwrap();
    bench
}

/// The rows about a study of one request, whose answer is not read.
async fn told_of(bench: &Bench, method: &Method, path: &str, study: &str) -> Vec<Value> {
    let request = Request::builder().method(method).uri(path).header(HOST, "127.0.0.1:8080");
    let request = request.body(body::empty()).unwrap();
    let response = service::service(Arc::clone(&bench.state), ends());
    let response = Box::pin(response.oneshot(request)).await.unwrap();
    let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
    drop(response);
    trail(bench, &format!("study={study}&request_id={id}")).await
}

#[tokio::test]
async fn whoever_reads_by_an_id_is_found_by_the_study() {
    let bench = with_results().await;
    let routes = TABLE.iter().flat_map(|rows| rows.iter()).filter(|route| route.method == Method::GET);
    let ids = [("{report}", "r"), ("{analysis}", "a"), ("{export}", "1"), ("{version}", "1")];
    let by_id = |path: &&str| ids[..3].iter().any(|(template, _)| path.contains(template));
    let mut asked = 0;
    for path in routes.map(|route| route.path).filter(by_id) {
        let path = ids.iter().fold(path.to_owned(), |path, (template, id)| path.replace(template, id));
        let told = told_of(&bench, &Method::GET, &format!("/api/v1/{path}"), "1.2.3").await;
        assert!(!told.is_empty(), "{path}");
        asked += 1;
    }
    assert!(asked >= 8, "{asked}");
    for list in ["findings", "reports", "analyses", "exports", "events"] {
        let told = told_of(&bench, &Method::GET, &format!("/api/v1/{list}?study=1.2.3"), "1.2.3").await;
        assert!(!told.is_empty(), "{list}");
    }
    let told = told_of(&bench, &Method::GET, "/dicom-web/series?StudyInstanceUID=1.2.3", "1.2.3").await;
    assert_eq!(told[0]["action"], "query");
}

#[tokio::test]
async fn whoever_reads_a_patient_is_found_by_each_study_up_to_a_bound() {
    let bench = Bench::filled_with(Settings { audit_studies_max: 2, ..Settings::default() }).await;
    let columns = "study_date, study_time, accession_number, study_id, description, referring_physician,
        referring_folded, attributes, last_instance_at, created_at, updated_at";
    let more = format!(
        "insert into study (study_uid, patient, {columns})
         select '1.2.' || n, patient, {columns} from study, (select 4 as n union all select 5) more"
    );
    bench.state.db.run(Batch::new().then(Statement::fixture(&more))).await.unwrap();
    let read = |path: &'static str, study: &'static str| {
        let bench = &bench;
        async move { told_of(bench, &Method::GET, path, study).await }
    };
    let told = read("/api/v1/patients/1", "1.2.4").await;
    assert_eq!((told.len(), &told[0]["resource"]["kind"]), (1, &"patient".into()));
    assert_eq!(told[0]["detail"], "api-patient, and further studies");
    assert_eq!(read("/api/v1/patients/1/studies", "1.2.3").await[0]["resource"]["id"], "1");
    assert_eq!(read("/api/v1/patients/1", "1.2.5").await.len(), 0);
}

#[tokio::test]
async fn a_row_names_the_thing_and_what_it_stands_in() {
    let bench = with_results().await;
    bench.ask(Method::PUT, "/api/v1/groups/3/users/x", &[]).await;
    bench.ask(Method::POST, "/api/v1/nodes/CT1/echo", &[]).await;
    bench.get("/api/v1/reports/r/versions/1", &[]).await;
    let named = |entry: &Value| {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (text(&entry["resource"]["kind"]), text(&entry["resource"]["id"]), text(&entry["detail"]))
    };
    let told: Vec<_> = trail(&bench, "sort=sequence").await.iter().map(named).collect();
    for (kind, id, detail) in [
        ("user", "x", "api-add-group-user, group 3"),
        ("node", "CT1", "api-echo-node"),
        ("report", "r", "api-report-version, version 1"),
    ] {
        let is_it =
            |one: &&(String, String, String)| one.0 == kind && one.1 == id && one.2.starts_with(detail);
        assert!(told.iter().any(|one| is_it(&one)), "{kind} {id} {detail}: {told:?}");
    }
}

#[tokio::test]
async fn whoever_watches_an_analysis_and_leaves_has_not_failed() {
    let bench = with_results().await;
    let told = told_of(&bench, &Method::GET, "/api/v1/analyses/a/events", "1.2.3").await;
    let told: Vec<_> = told.iter().map(|entry| (&entry["action"], &entry["outcome"])).collect();
    assert_eq!(
        told,
        [(&"follow-events".into(), &"success".into()), (&"follow-events".into(), &"begun".into())]
    );
}
