//! Who signs a report, with access control on.

use bytes::Bytes;
use http::{Method, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use radiant::analysis::Model;
use radiant::auth::Role;
use radiant::ingest::{Body, Origin, Received, Source};
use radiant::phantom::{self, Options};
use serde_json::{Value, json};

use crate::harness::TestApp;

const PASSWORD: &str = "correct horse battery";

/// Nobody is fresh for long enough to sign without his password.
const KEYS: [(&str, &str); 6] = [
    ("auth.mode", "on"),
    ("auth.argon2_memory_kib", "64"),
    ("auth.argon2_passes", "1"),
    ("auth.confirmed_s", "0"),
    ("auth.ungrouped_studies", "everybody"),
    ("report.organization", "Hospital"),
];

struct Bench {
    app: TestApp,
    study: String,
}

struct Reply {
    status: StatusCode,
    tag: String,
    body: Value,
}

impl Bench {
    async fn start() -> Self {
        let app = TestApp::with(Model::Absent, &KEYS).await;
        let study = phantom::study(940_000, &Options::default()).unwrap();
        let mut file = Vec::new();
        study.objects[0].write_all(&mut file).unwrap();
        let origin = Origin::of(Source::Import);
        let received = Received { body: Body::Part10(file.as_slice()), origin: &origin, only_study: None };
        app.app.archive.ingest.store(received).await.unwrap();
        Self { app, study: study.study_uid }
    }

    /// The `Authorization` of somebody new with this role.
    async fn somebody(&self, role: Role) -> String {
        self.app.add_person(role, PASSWORD).await;
        self.app.log_in(role, PASSWORD).await
    }

    async fn send(&self, method: Method, path: &str, who: &str, tag: &str, body: Value) -> Reply {
        let request = http::Request::builder()
            .method(method)
            .uri(format!("http://{}/api/v1/{path}", self.app.app.http_address))
            .header("authorization", who)
            .header("if-match", tag)
            .body(Full::new(Bytes::from(body.to_string())))
            .unwrap();
        let client = Client::builder(TokioExecutor::new()).build_http();
        let response = client.request(request).await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        let tag = headers.get("etag").map_or("", |tag| tag.to_str().unwrap()).to_owned();
        Reply { status, tag, body: serde_json::from_slice(&bytes).unwrap_or_default() }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_radiologist_signs_with_his_password_and_nobody_else_does() {
    let bench = Bench::start().await;
    let radiologist = bench.somebody(Role::Radiologist).await;
    let others = [bench.somebody(Role::Viewer).await, bench.somebody(Role::Administrator).await];
    let path = format!("studies/{}/reports", bench.study);
    let body = json!({ "sections": { "impression": "Normal." } });
    let begun = bench.send(Method::POST, &path, &radiologist, "*", body).await;
    assert_eq!(begun.status, StatusCode::CREATED, "{}", begun.body);
    let sign = format!("reports/{}/sign", begun.body["id"].as_str().unwrap());
    for other in &others {
        let wish = json!({ "password": PASSWORD });
        assert_eq!(
            bench.send(Method::POST, &sign, other, &begun.tag, wish).await.status,
            StatusCode::FORBIDDEN
        );
    }
    for wish in [json!({}), json!({ "password": "another one" })] {
        let reply = bench.send(Method::POST, &sign, &radiologist, &begun.tag, wish).await;
        assert_eq!(reply.status, StatusCode::FORBIDDEN, "{}", reply.body);
    }
    let signed =
        bench.send(Method::POST, &sign, &radiologist, &begun.tag, json!({ "password": PASSWORD })).await;
    assert_eq!(signed.status, StatusCode::OK, "{}", signed.body);
    let signature = &signed.body["current"]["signature"];
    assert_eq!((&signature["name"], &signature["proof"]), (&json!("Ana Ruiz"), &json!("password")));
    bench.app.stop().await;
}
