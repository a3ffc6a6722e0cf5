//! The engine against a server of its own on loopback. Other services are judged by the conformance
//! suite.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::ai::{Part, Priority, RgbImage, Settings};
use crate::config::{Config, Overrides};

const LISTING: &str = r#"{"data":[{"id":"medgemma"}]}"#;
const SCHEMA: &str = r#"{"type":"object","required":["a"],"properties":{"a":{"type":"integer"}}}"#;

/// Answers in their order; each is a status line with headers, and a body.
struct Scripted {
    url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Scripted {
    async fn start(answers: Vec<(&'static str, String)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let requests = Arc::<Mutex<Vec<String>>>::default();
        let seen = Arc::clone(&requests);
        tokio::spawn(async move {
            for (head, body) in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let request = read(&mut stream).await;
                seen.lock().unwrap().push(request);
                let length = body.len();
                let answer =
                    format!("HTTP/1.1 {head}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        Self { url, requests }
    }

    /// What was asked, without the question which models there are.
    fn bodies(&self) -> Vec<Value> {
        let requests = self.requests.lock().unwrap();
        let posts = requests.iter().filter(|request| request.starts_with("POST"));
        posts
            .map(|request| serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap())
            .collect()
    }
}

async fn read(stream: &mut TcpStream) -> String {
    let (mut request, mut buffer) = (Vec::new(), [0; 65536]);
    loop {
        let text = String::from_utf8_lossy(&request).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .to_lowercase()
                .split_once("content-length: ")
                .map_or(0, |(_, rest)| rest.lines().next().unwrap().parse().unwrap());
            if body.len() >= length {
                return text;
            }
        }
        let read = stream.read(&mut buffer).await.unwrap();
        assert!(read > 0, "the request is whole");
        request.extend_from_slice(&buffer[..read]);
    }
}

fn engine(url: &str, keys: &[(&'static str, &str)]) -> RemoteEngine {
    let given =
        [("model.engine", "remote"), ("model.remote.url", url), ("model.remote.retry_first_s", "0.0")];
    let keys = given.iter().chain(keys).map(|(key, value)| (*key, (*value).to_owned())).collect();
    let config = Config::load(&Overrides { file: None, keys }).unwrap();
    RemoteEngine::new(&config.model.remote, config.analysis.priority_lead(), Clock::System).unwrap()
}

fn said(text: &str) -> (&'static str, String) {
    let choice = json!({ "message": { "content": text }, "finish_reason": "stop" });
    let usage = json!({ "prompt_tokens": 10, "completion_tokens": 2 });
    ("200 OK\r\ncontent-type: application/json", json!({ "choices": [choice], "usage": usage }).to_string())
}

fn listing() -> (&'static str, String) {
    ("200 OK", LISTING.to_owned())
}

async fn ask(engine: &RemoteEngine, forms: &[Form]) -> Result<Reply, EngineError> {
    let image = Part::Image(Arc::new(RgbImage { width: 4, height: 4, data: vec![9; 48] }));
    let mut turns = vec![Turn::User(vec![image, Part::Text("Report.".into())])];
    for form in forms {
        turns.push(Turn::Open(form.clone()));
        turns.push(Turn::User(vec![Part::Text("Go on.".into())]));
    }
    turns.pop();
    let request =
        Request { system: None, turns, settings: Settings::default(), priority: Priority::default() };
    let time_limit = Duration::from_secs(20);
    engine.answer(request, Call { cancel: Cancel::default(), progress: Arc::new(|_| ()), time_limit }).await
}

#[tokio::test]
async fn each_open_turn_is_an_exchange_with_the_answers_before_it() {
    let server = Scripted::start(vec![listing(), said("Normal."), said(r#"{"a":1}"#)]).await;
    let engine = engine(&server.url, &[("model.remote.price_answer", "1.0")]);
    let reply = ask(&engine, &[Form::Text, Form::Json(SCHEMA.into())]).await.unwrap();
    assert_eq!(reply.answers, ["Normal.", r#"{"a":1}"#]);
    let bodies = server.bodies();
    let roles: Vec<_> =
        bodies[1]["messages"].as_array().unwrap().iter().map(|m| m["role"].as_str()).collect();
    assert_eq!(roles, [Some("user"), Some("assistant"), Some("user")]);
    assert!(bodies[0].get("response_format").is_none() && bodies[1].get("response_format").is_some());
    let service = reply.usage.service.unwrap();
    assert_eq!((service.requests, service.retries, reply.usage.prompt_tokens), (2, 0, 20));
    assert_eq!(service.cost.map(|cost| cost.currency).as_deref(), Some("USD"));
    assert_eq!((engine.identity().name.as_str(), engine.identity().runs), ("medgemma", Runs::Elsewhere));
}

#[tokio::test]
async fn an_answer_that_breaks_its_schema_is_sent_back() {
    let server = Scripted::start(vec![listing(), said("I see nothing."), said(r#"{"a":7}"#)]).await;
    let reply = ask(&engine(&server.url, &[]), &[Form::Json(SCHEMA.into())]).await.unwrap();
    assert_eq!((reply.answers.concat().as_str(), reply.usage.service.unwrap().repairs), (r#"{"a":7}"#, 1));
    assert!(server.bodies()[1].to_string().contains("no JSON object"));
    let stubborn = Scripted::start(vec![listing(), said("No."), said("No.")]).await;
    let engine = engine(&stubborn.url, &[("model.remote.repairs_max", "1")]);
    assert!(matches!(ask(&engine, &[Form::Json(SCHEMA.into())]).await, Err(EngineError::Constraint(_))));
}

#[tokio::test]
async fn what_may_pass_is_tried_again_and_a_refusal_is_not() {
    let busy = ("503 Service Unavailable\r\nretry-after: 0", String::new());
    let server = Scripted::start(vec![listing(), busy, said("Normal.")]).await;
    let reply = ask(&engine(&server.url, &[]), &[Form::Text]).await.unwrap();
    assert_eq!(reply.usage.service.unwrap().retries, 1);
    let server = Scripted::start(vec![listing(), ("403 Forbidden", String::new()), said("Normal.")]).await;
    assert!(matches!(ask(&engine(&server.url, &[]), &[Form::Text]).await, Err(EngineError::Refused(_))));
    assert_eq!(server.bodies().len(), 1);
}

#[tokio::test]
async fn a_service_that_is_away_lets_studies_wait_and_readiness_shows_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let engine = engine(&url, &[("model.remote.retries_max", "1"), ("model.remote.failures_max", "2")]);
    assert!(matches!(ask(&engine, &[Form::Text]).await, Err(EngineError::Away { .. })));
    assert!(matches!(engine.health(), Health::Degraded(reason) if reason.contains("cannot be reached")));
}

#[tokio::test]
async fn a_request_that_is_too_large_is_not_sent() {
    let server = Scripted::start(vec![listing(), said("Normal.")]).await;
    let engine = engine(&server.url, &[("model.remote.request_bytes_max", "100")]);
    let error = ask(&engine, &[Form::Text]).await.unwrap_err().to_string();
    assert!(error.contains("model.remote.request_bytes_max is 100") && server.bodies().is_empty(), "{error}");
}
