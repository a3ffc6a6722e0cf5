//! What stands between the network and every handler.

use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, ORIGIN, REFERRER_POLICY, RETRY_AFTER};

use super::*;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

#[tokio::test]
async fn a_request_id_is_taken_from_trusted_proxies_alone() {
    let asking = [(REQUEST_ID, "lb-0.7_a")];
    let naming = Naming { trusted_proxies: vec!["127.0.0.1".parse().unwrap()], ..Naming::default() };
    let trusting = Bench::with(Settings { naming, ..Settings::default() });
    assert_eq!(trusting.get("/healthz", &asking).await.header(REQUEST_ID), "lb-0.7_a");
    assert_ne!(Bench::new().get("/healthz", &asking).await.header(REQUEST_ID), "lb-0.7_a");
    let reply = trusting.get("/nowhere", &[(REQUEST_ID, "a\tb")]).await;
    assert_eq!(reply.json()["request_id"], reply.header(REQUEST_ID));
    assert_ne!(reply.header(REQUEST_ID), "a\tb");
}

#[tokio::test]
async fn a_request_that_names_no_host_or_two_is_refused_rfc9112() {
    let bench = Bench::new();
    let service = || service::service(Arc::clone(&bench.state), ends());
    let none = Request::get("/healthz").body(body::empty()).unwrap();
    assert_eq!(service().oneshot(none).await.unwrap().status(), StatusCode::BAD_REQUEST);
    let two = Request::get("/healthz").header(HOST, "a").header(HOST, "b").body(body::empty()).unwrap();
    assert_eq!(service().oneshot(two).await.unwrap().status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn every_answer_says_how_a_browser_is_to_take_it() {
    let reply = Bench::new().get("/nowhere", &[]).await;
    assert_eq!(reply.header(REFERRER_POLICY), "no-referrer");
    assert_eq!(reply.header(CACHE_CONTROL), "no-store");
    assert!(reply.header(CONTENT_SECURITY_POLICY).contains("default-src 'none'"));
}

#[tokio::test]
async fn a_page_of_another_origin_cannot_make_a_browser_change_anything() {
    let bench = Bench::with(Settings { deletion_enabled: true, ..Settings::default() });
    let path = "/dicom-web/studies/1.2.3";
    let reply = bench.ask(Method::DELETE, path, &[(ORIGIN, "https://evil.example")]).await;
    assert_eq!(reply.status, StatusCode::FORBIDDEN);
    assert_eq!(bench.ask(Method::DELETE, path, &[]).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn who_asks_too_often_is_told_when_to_come_back() {
    let limits = crate::config::RateLimits {
        address_burst: 1,
        address_per_s: 1,
        exempt: Vec::new(),
        ..Config::load(&Overrides::default()).unwrap().http.rate_limits
    };
    let bench = Bench::limited(&limits);
    let first = bench.get("/api/v1/studies", &[]).await;
    assert_eq!(first.header(HeaderName::from_static("ratelimit-policy")), "\"address\";q=1;w=1");
    let second = bench.get("/api/v1/studies", &[]).await;
    assert_eq!((second.status, second.header(RETRY_AFTER)), (StatusCode::TOO_MANY_REQUESTS, "1"));
    assert_eq!(second.json()["type"], "urn:radiant:problem:too-many-requests");
    assert_eq!(bench.get("/healthz", &[]).await.status, StatusCode::OK);
}
