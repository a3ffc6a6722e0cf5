//! The REST API as a client sees it: lists, tags, the worklist, what studies hold.

use http::header::IF_MATCH;

use super::*;

const STUDY: &str = "/api/v1/studies/1.2.3";

impl Bench {
    async fn json(&self, path: &str) -> Value {
        let reply = self.get(path, &[]).await;
        assert_eq!(reply.status, StatusCode::OK, "{path}: {:?}", reply.body);
        reply.json()
    }

    async fn refused(&self, path: &str) -> u16 {
        let reply = self.get(path, &[]).await;
        assert_eq!(reply.header(CONTENT_TYPE), "application/problem+json", "{path}");
        reply.status.as_u16()
    }

    async fn change(&self, tag: Option<&str>, body: &'static str) -> Reply {
        let mut request = Request::patch(STUDY);
        if let Some(tag) = tag {
            request = request.header(IF_MATCH, tag);
        }
        self.send(request.body(body::full(body)).unwrap()).await
    }
}

#[tokio::test]
async fn the_study_list_is_a_worklist() {
    let bench = Bench::filled().await;
    let listed = bench.json("/api/v1/studies?text=phan+p1&modality=CT&status=received&sort=age").await;
    let study = &listed["items"][0];
    assert_eq!((&listed["total"], &study["study_uid"]), (&1.into(), &"1.2.3".into()));
    assert_eq!((&study["status"], &study["priority"]), (&"received".into(), &"routine".into()));
    assert_eq!(bench.json("/api/v1/studies?status=signed").await["total"], 0);
    let narrow = bench.json("/api/v1/studies?fields=study_uid,patient.name").await;
    let expected = serde_json::json!({ "study_uid": "1.2.3", "patient": { "name": "Phantom^One" } });
    assert_eq!(narrow["items"][0], expected);
}

#[tokio::test]
async fn what_no_list_knows_is_refused() {
    let bench = Bench::filled().await;
    for query in ["fields=nam", "fields=patient.nam", "sort=name", "limit=0", "stat=draft", "cursor=eA"] {
        assert_eq!(bench.refused(&format!("/api/v1/studies?{query}")).await, 400, "{query}");
    }
}

#[tokio::test]
async fn priority_and_assignee_change_under_the_tag_that_was_read() {
    let bench = Bench::filled().await;
    let first = bench.get(STUDY, &[]).await;
    let body = r#"{"priority": "stat", "assignee": "u1"}"#;
    assert_eq!(bench.change(None, body).await.status.as_u16(), 428);
    let changed = bench.change(Some(first.header(ETAG)), body).await;
    assert_eq!((changed.status.as_u16(), &changed.json()["priority"]), (200, &"stat".into()));
    assert_eq!(bench.change(Some(first.header(ETAG)), body).await.status.as_u16(), 412);
    let mine = bench.json("/api/v1/studies?assignee=u1&priority=stat,urgent").await;
    assert_eq!(mine["total"], 1);
    let released = bench.change(Some(changed.header(ETAG)), r#"{"assignee": null}"#).await.json();
    assert_eq!((&released["assignee"], &released["priority"]), (&Value::Null, &"stat".into()));
    assert_eq!(bench.change(Some("*"), r#"{"priority": "asap"}"#).await.status.as_u16(), 400);
}

#[tokio::test]
async fn what_is_known_is_not_sent_again_by_the_api() {
    let bench = Bench::filled().await;
    let tag = bench.get(STUDY, &[]).await.header(ETAG).to_owned();
    assert_eq!(bench.get(STUDY, &[(IF_NONE_MATCH, &tag)]).await.status.as_u16(), 304);
    bench.change(Some(&tag), r#"{"priority": "urgent"}"#).await;
    assert_eq!(bench.get(STUDY, &[(IF_NONE_MATCH, &tag)]).await.status.as_u16(), 200);
}

#[tokio::test]
async fn a_study_leads_to_its_series_instances_and_patient() {
    let bench = Bench::filled().await;
    let series = bench.json(&format!("{STUDY}/series")).await;
    assert_eq!((&series["total"], &series["items"][0]["instance_count"]), (&1.into(), &3.into()));
    let first = bench.json(&format!("{STUDY}/series/1.2.3.4/instances?limit=2")).await;
    let next = first["next"].as_str().unwrap();
    let rest = bench.json(&format!("{STUDY}/series/1.2.3.4/instances?cursor={next}")).await;
    assert_eq!((first["items"].as_array().unwrap().len(), rest["items"].as_array().unwrap().len()), (2, 1));
    let instance = bench.json(&format!("{STUDY}/series/1.2.3.4/instances/1.2.3.4.1")).await;
    assert_eq!(instance["transfer_syntax_uid"], "1.2.840.10008.1.2.1");
    let patient = bench.json("/api/v1/patients?text=phantom").await["items"][0].clone();
    assert_eq!((&patient["id"], &patient["study_count"]), (&"P1".into(), &1.into()));
    let studies = bench.json(&format!("/api/v1/patients/{}/studies", patient["key"])).await;
    assert_eq!(studies["items"][0]["study_uid"], "1.2.3");
    let thumbnail = bench.get(&format!("{STUDY}/thumbnail"), &[]).await;
    assert!(thumbnail.header(LOCATION).ends_with("/dicom-web/studies/1.2.3/thumbnail"));
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let bench = Bench::filled().await;
    for path in [
        "/api/v1/studies/9.9",
        "/api/v1/studies/9.9/series",
        "/api/v1/studies/9.9/priors",
        "/api/v1/studies/1.2.3/series/9.9",
        "/api/v1/studies/1.2.3/series/1.2.3.4/instances/9.9",
        "/api/v1/patients/99",
        "/api/v1/patients/x",
        "/api/v1/jobs/x",
        "/api/v1/nodes/NOWHERE",
    ] {
        assert_eq!(bench.refused(path).await, 404, "{path}");
    }
}

#[tokio::test]
async fn jobs_are_seen_and_cancelled_once() {
    let bench = Bench::filled().await;
    let job = bench.json("/api/v1/jobs?kind=complete-study").await["items"][0].clone();
    assert_eq!((&job["state"], &job["task"]["study"]), (&"queued".into(), &"1.2.3".into()));
    let path = format!("/api/v1/jobs/{}", job["id"].as_str().unwrap());
    let act = async |act: &str| bench.ask(Method::POST, &format!("{path}/{act}"), &[]).await.status.as_u16();
    assert_eq!((act("requeue").await, act("cancel").await, act("cancel").await), (409, 202, 409));
    assert_eq!((act("requeue").await, &bench.json(&path).await["state"]), (202, &"queued".into()));
}

#[tokio::test]
async fn the_description_and_its_pages_are_served() {
    let bench = Bench::new();
    let described = bench.json("/api/v1/openapi.json").await;
    assert_eq!(described["openapi"], "3.1.0");
    let page = bench.get("/api/docs/index.html", &[]).await;
    assert!(page.header(CONTENT_TYPE).starts_with("text/html"));
    assert_eq!(bench.get("/api/docs", &[]).await.status, StatusCode::PERMANENT_REDIRECT);
    assert_eq!(bench.json("/api/v1/server").await["limits"]["page"], 1000);
}
