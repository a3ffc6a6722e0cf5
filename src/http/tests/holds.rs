//! Studies that nobody deletes.

use super::*;

const STUDY: &str = "/dicom-web/studies/1.2.3";
const HOLD: &str = "/api/v1/studies/1.2.3/hold";

async fn deleting() -> Bench {
    Bench::filled_with(Settings { deletion_enabled: true, ..Settings::default() }).await
}

impl Bench {
    async fn hold(&self, path: &str, body: &'static str) -> Reply {
        self.send(Request::put(path).body(body::full(body)).unwrap()).await
    }

    async fn release(&self) -> u16 {
        self.ask(Method::DELETE, HOLD, &[]).await.status.as_u16()
    }

    async fn total(&self, path: &str) -> Value {
        self.get(path, &[]).await.json()["total"].clone()
    }
}

#[tokio::test]
async fn a_held_study_and_its_parts_are_deleted_once_it_is_released() {
    let bench = deleting().await;
    assert_eq!(bench.hold(HOLD, r#"{"reason": " a trial "}"#).await.json()["reason"], "a trial");
    for path in [STUDY, SERIES, &format!("{SERIES}/instances/1.2.3.4.1")] {
        let refused = bench.ask(Method::DELETE, path, &[]).await;
        let told = (refused.status.as_u16(), &refused.json()["type"]);
        assert_eq!(told, (409, &"urn:radiant:problem:held".into()), "{path}");
        assert!(!refused.json()["detail"].to_string().contains("trial"), "the reason is for the study alone");
    }
    assert_eq!(bench.total("/api/v1/deleted").await, 0);
    assert_eq!((bench.release().await, bench.release().await), (204, 404));
    assert_eq!(bench.ask(Method::DELETE, STUDY, &[]).await.status.as_u16(), 204);
    assert_eq!(bench.hold(HOLD, r#"{"reason": "late"}"#).await.status.as_u16(), 410);
}

#[tokio::test]
async fn a_hold_is_seen_at_its_study_and_in_lists() {
    let bench = deleting().await;
    assert_eq!(bench.total("/api/v1/studies?held=true").await, 0);
    assert_eq!(bench.get("/api/v1/studies/1.2.3", &[]).await.json()["hold"], Value::Null);
    bench.hold(HOLD, r#"{"reason": "a trial"}"#).await;
    assert_eq!(bench.total("/api/v1/studies?held=true").await, 1);
    assert_eq!(bench.total("/api/v1/studies?held=false").await, 0);
    let study = bench.get("/api/v1/studies/1.2.3", &[]).await.json();
    assert_eq!((&study["held"], &study["hold"]["reason"]), (&true.into(), &"a trial".into()));
    assert_eq!(bench.get(HOLD, &[]).await.json(), study["hold"]);
    bench.release().await;
    assert_eq!(bench.total("/api/v1/studies?held=true").await, 0);
    assert_eq!(bench.get(HOLD, &[]).await.status.as_u16(), 404);
    assert_eq!(bench.total("/api/v1/holds?released=false").await, 0);
    let past = bench.get("/api/v1/holds?released=true", &[]).await.json();
    assert_eq!(past["items"][0]["reason"], "a trial");
    assert!(past["items"][0]["released_at"].is_string());
}

#[tokio::test]
async fn a_hold_needs_a_reason_within_its_bound_and_a_study() {
    let bench = deleting().await;
    let long: &'static str = format!(r#"{{"reason": "{}"}}"#, "x".repeat(257)).leak();
    let blanks: &'static str = format!(r#"{{"reason": "x{}"}}"#, " ".repeat(256)).leak();
    let unfit = [("{}", 400), (r#"{"why": "x"}"#, 400), (r#"["x"]"#, 400)];
    for (body, status) in unfit.into_iter().chain([(r#"{"reason": " "}"#, 422), (long, 422), (blanks, 422)]) {
        assert_eq!(bench.hold(HOLD, body).await.status.as_u16(), status, "{body}");
    }
    let unknown = bench.hold("/api/v1/studies/9.9/hold", r#"{"reason": "x"}"#).await;
    assert_eq!(unknown.status.as_u16(), 404);
    assert_eq!(bench.total("/api/v1/holds").await, 0);
    assert_eq!(bench.get("/api/v1/holds?released=maybe", &[]).await.status.as_u16(), 400);
}
