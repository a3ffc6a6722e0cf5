//! Destinations and exports by REST.

use super::*;

impl Bench {
    async fn post_text(&self, path: &str, body: &'static str) -> Reply {
        self.send(Request::post(path).body(body::full(body)).unwrap()).await
    }

    /// With the study on its way to the one destination, which nobody works for here.
    async fn exporting() -> Self {
        let bench = Self::filled().await;
        let wish = r#"{"destinations": ["the archive"]}"#;
        let reply = bench.post_text("/api/v1/studies/1.2.3/exports", wish).await;
        assert_eq!(reply.status, StatusCode::ACCEPTED, "{:?}", reply.body);
        assert_eq!(reply.json()["destinations"][0]["queued"], 3);
        bench
    }
}

#[tokio::test]
async fn a_study_is_sent_by_request_and_seen_on_its_way() {
    let bench = Bench::exporting().await;
    let destination = bench.get("/api/v1/destinations/the%20archive", &[]).await.json();
    assert_eq!((&destination["queued"], &destination["breaker"]), (&3.into(), &"closed".into()));
    let first = bench.get("/api/v1/exports?limit=2&state=queued", &[]).await.json();
    assert_eq!((first["items"].as_array().unwrap().len(), &first["total"]), (2, &3.into()));
    let next = format!("/api/v1/exports?state=queued&cursor={}", first["next"].as_str().unwrap());
    let rest = bench.get(&next, &[]).await.json();
    assert_eq!((rest["items"].as_array().unwrap().len(), &rest["next"]), (1, &Value::Null));
    assert_eq!(rest["items"][0]["sop_instance_uid"], "1.2.3.4.3");
    let of_study = bench.get("/api/v1/studies/1.2.3/exports", &[]).await.json();
    assert_eq!(of_study["total"], 3);
}

#[tokio::test]
async fn a_name_that_is_misspelt_takes_nothing_out() {
    let bench = Bench::filled().await;
    for (query, status) in [
        (r#"{"PatientNmae": "Doe*"}"#, 400),
        (r#"{"limit": "1"}"#, 400),
        (r#"{"PatientName": "*", "fuzzymatching": "true"}"#, 202),
    ] {
        let body: &'static str = format!(r#"{{"form": "csv", "query": {query}}}"#).leak();
        let reply = bench.post_text("/api/v1/downloads", body).await;
        assert_eq!(reply.status.as_u16(), status, "{query}: {:?}", reply.body);
    }
}

#[tokio::test]
async fn what_is_not_there_or_makes_no_sense_is_refused() {
    let bench = Bench::exporting().await;
    for (path, body, status) in [
        ("/api/v1/studies/9.9/exports", r#"{"destinations": ["the archive"]}"#, 404),
        ("/api/v1/studies/1.2.3/exports", r#"{"destinations": ["nowhere"]}"#, 404),
        ("/api/v1/studies/1.2.3/exports", r#"{"destinations": []}"#, 400),
        ("/api/v1/studies/1.2.3/exports", "", 400),
        ("/api/v1/destinations/nowhere/pause", "", 404),
        ("/api/v1/exports/1/requeue", "", 409),
        ("/api/v1/exports/99/requeue", "", 404),
    ] {
        assert_eq!(bench.post_text(path, body).await.status.as_u16(), status, "{path} {body}");
    }
    assert_eq!(bench.get("/api/v1/exports?state=lost", &[]).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(bench.get("/api/v1/exports?cursor=x", &[]).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_destination_is_paused_and_resumed() {
    let bench = Bench::new();
    let paused = bench.post_text("/api/v1/destinations/the%20archive/pause", "").await.json();
    assert!(paused["paused_since"].is_string(), "{paused}");
    let resumed = bench.post_text("/api/v1/destinations/the%20archive/resume", "").await.json();
    assert!(resumed["paused_since"].is_null());
    let requeued = bench.post_text("/api/v1/destinations/the%20archive/requeue", "").await;
    assert_eq!((requeued.status, &requeued.json()["requeued"]), (StatusCode::OK, &0.into()));
}
