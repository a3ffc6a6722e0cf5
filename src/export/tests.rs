//! The queue with its workers, before servers that do as a test says.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_dictionary_std::{tags, uids};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::audit::Actor;
use crate::auth::Reach;
use crate::clock::Timestamp;
use crate::config::{Config, Overrides};
use crate::db::exports::{self as rows, Filter};
use crate::db::page::Page;
use crate::db::{Batch, Statement};
use crate::dicom::uid::StudyUid;
use crate::ingest::{Body, Ingest, Origin, Received, Source, testing};
use crate::jobs::{Ending, Handler, Job, Task};
use crate::outbound::breaker;
use crate::phantom::{self, Options};
use crate::ul::tls::Tls;

/// An HTTP server that gives the answers it was told, in their order, and the last for ever.
struct Peer {
    url: String,
    seen: Arc<Mutex<Vec<Request>>>,
}

#[derive(Debug, Clone)]
struct Request {
    line: String,
    head: String,
    body: Vec<u8>,
}

type Answers = Arc<Mutex<VecDeque<(u16, &'static str)>>>;

impl Peer {
    async fn answering(answers: &[(u16, &'static str)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let answers: Answers = Arc::new(Mutex::new(answers.iter().copied().collect()));
        let own = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&own), Arc::clone(&answers)));
            }
        });
        Self { url, seen }
    }

    fn posts(&self) -> Vec<Request> {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|request| request.line.starts_with("POST")).cloned().collect()
    }
}

async fn serve(stream: TcpStream, seen: Arc<Mutex<Vec<Request>>>, answers: Answers) {
    let mut stream = BufReader::new(stream);
    while let Some(request) = read(&mut stream).await {
        let is_post = request.line.starts_with("POST");
        let named = named(&request.body);
        seen.lock().unwrap().push(request);
        let (status, body) = match is_post {
            true => {
                let mut answers = answers.lock().unwrap();
                if answers.len() > 1 { answers.pop_front().unwrap() } else { answers[0] }
            }
            false => (200, ""),
        };
        let body = if status == 200 && is_post { named.as_str() } else { body };
        let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        stream.write_all(answer.as_bytes()).await.unwrap();
    }
}

/// The answer of STOW-RS that names every SOP Instance UID (0008,0018) of a body.
fn named(body: &[u8]) -> String {
    let element = b"\x08\x00\x18\x00UI";
    let starts = (0..body.len()).filter(|at| body[*at..].starts_with(element)).map(|at| at + element.len());
    let uid = |at: usize| {
        let length = usize::from(u16::from_le_bytes([body[at], body[at + 1]]));
        String::from_utf8_lossy(&body[at + 2..at + 2 + length]).trim_end_matches('\0').to_owned()
    };
    let item = |uid: String| serde_json::json!({ "00081155": { "vr": "UI", "Value": [uid] } });
    let items: Vec<_> = starts.map(uid).map(item).collect();
    serde_json::json!({ "00081199": { "vr": "SQ", "Value": items } }).to_string()
}

/// Of a known length, as everything here is sent.
async fn read(stream: &mut BufReader<TcpStream>) -> Option<Request> {
    let (mut line, mut head) = (String::new(), String::new());
    stream.read_line(&mut line).await.ok().filter(|read| *read > 0)?;
    while !head.ends_with("\r\n\r\n") && head != "\r\n" {
        stream.read_line(&mut head).await.ok().filter(|read| *read > 0)?;
    }
    let mut lengths =
        head.lines().filter_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; lengths.next_back().unwrap_or(0)];
    stream.read_exact(&mut body).await.ok()?;
    Some(Request { line, head, body })
}

struct Bench {
    _dir: tempfile::TempDir,
    parts: Parts,
    exports: Exports,
    study: StudyUid,
}

impl Bench {
    /// With a study of one image in the archive, and these destinations and webhooks.
    async fn new(destinations: &str, webhooks: &str) -> Self {
        Self::with(destinations, webhooks, &[]).await
    }

    async fn with(destinations: &str, webhooks: &str, more: &[(&'static str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut keys = vec![
            ("server.data_dir", dir.path().display().to_string()),
            ("export.destinations", destinations.to_owned()),
            ("export.webhooks", webhooks.to_owned()),
            ("export.retry_first_s", "1".to_owned()),
            ("export.attempts_max", "2".to_owned()),
        ];
        keys.extend(more.iter().map(|(key, value)| (*key, (*value).to_owned())));
        let config = Config::load(&Overrides { file: None, keys }).unwrap();
        let clock = Clock::manual(Timestamp(1_800_000_000_000_000));
        let archive = crate::app::Archive::open(&config, clock.clone()).unwrap();
        let tls = Tls::load(&config.dimse.tls).unwrap();
        let directory = Directory::from_config(&config.dimse, tls);
        let commitments = Commitments::new(commitment::Parts {
            db: archive.db.clone(),
            blobs: archive.blobs.clone(),
            clock: clock.clone(),
            bell: Bell::default(),
            directory: directory.clone(),
            settings: commitment::Settings::new(&config),
        });
        let parts = Parts {
            db: archive.db.clone(),
            blobs: archive.blobs.clone(),
            clock,
            bell: Bell::default(),
            decodes: Decodes::new(1),
            directory,
            commitments: Arc::new(commitments),
        };
        let study = store_phantom(&archive.ingest).await;
        let exports = Exports::new(parts.clone(), &config).unwrap();
        Self { _dir: dir, parts, exports, study }
    }

    async fn send(&self, destination: &str) {
        self.exports
            .send(&self.study, &[destination.to_owned()], false, &Actor::program("test"))
            .await
            .unwrap();
    }

    async fn work(&self, destination: &str) -> Ending {
        let task = Task::Export { destination: destination.to_owned() };
        let job = Job { id: "j".to_owned(), task, attempts: 1, run_after: Timestamp(0), trace: None };
        self.exports.run(&job).await
    }

    async fn states(&self) -> Vec<(String, String, i64)> {
        let page = Page::first("id", false, 100);
        let rows = rows::list(&self.parts.db, &Reach::Everything, &Filter::default(), &page).await.unwrap();
        rows.items.into_iter().map(|row| (row.destination, row.state, row.attempts)).collect()
    }

    async fn number(&self, sql: &'static str) -> i64 {
        let row = self.parts.db.read_one(Statement::named("number", sql)).await.unwrap();
        row.unwrap().int(0).unwrap()
    }

    fn later(&self, seconds: u64) {
        self.parts.clock.advance(Duration::from_secs(seconds));
    }
}

async fn store_phantom(ingest: &Ingest) -> StudyUid {
    let options = Options { kind: phantom::Kind::Chest, ..Options::default() };
    let study = phantom::study(1, &options).unwrap();
    let origin = Origin::called(Source::Dimse, "MOD");
    for object in &study.objects {
        let mut bytes = Vec::new();
        object.write_all(&mut bytes).unwrap();
        let received = Received { body: Body::Part10(bytes.as_slice()), origin: &origin, only_study: None };
        ingest.store(received).await.unwrap();
    }
    study.study_uid.parse().unwrap()
}

fn stow(name: &str, url: &str) -> String {
    format!(r#"{{ name = "{name}", url = "{url}/dicom-web", timeout_s = 2 }}"#)
}

fn is(expected: &[(&str, &str, i64)], states: Vec<(String, String, i64)>) {
    let states: Vec<(&str, &str, i64)> =
        states.iter().map(|(a, b, c)| (a.as_str(), b.as_str(), *c)).collect();
    assert_eq!(states, expected);
}

#[tokio::test]
async fn an_object_is_sent_by_stow_as_it_is_stored() {
    let peer = Peer::answering(&[(200, "")]).await;
    let bench = Bench::new(&format!("[{}]", stow("s", &peer.url)), "[]").await;
    bench.send("s").await;
    assert!(matches!(bench.work("s").await, Ending::Later(_, reason) if reason == "nothing waits"));
    is(&[("s", "sent", 1)], bench.states().await);
    let posts = peer.posts();
    assert_eq!((posts.len(), posts[0].line.as_str()), (1, "POST /dicom-web/studies HTTP/1.1\r\n"));
    assert!(posts[0].head.contains("multipart/related; type=\"application/dicom\"; boundary="));
    let magic = posts[0].body.windows(4).filter(|window| window == b"DICM").count();
    assert_eq!(magic, 1);
}

#[tokio::test]
async fn a_refusal_is_final_and_a_failure_is_tried_a_bounded_number_of_times() {
    let refusing = Peer::answering(&[(409, "")]).await;
    let failing = Peer::answering(&[(500, "")]).await;
    let both = format!("[{}, {}]", stow("refuses", &refusing.url), stow("fails", &failing.url));
    let bench = Bench::new(&both, "[]").await;
    bench.send("refuses").await;
    bench.send("fails").await;
    bench.work("refuses").await;
    bench.work("fails").await;
    is(&[("refuses", "dead", 1), ("fails", "failed", 1)], bench.states().await);
    bench.later(3);
    bench.work("fails").await;
    is(&[("refuses", "dead", 1), ("fails", "dead", 2)], bench.states().await);
    assert_eq!((refusing.posts().len(), failing.posts().len()), (1, 2));
}

#[tokio::test]
async fn a_destination_that_is_down_costs_no_attempts_and_gets_everything_when_it_is_back() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let bench = Bench::new(&format!("[{}]", stow("s", &url)), "[]").await;
    bench.send("s").await;
    assert!(matches!(bench.work("s").await, Ending::Later(_, reason) if reason.contains("again and again")));
    is(&[("s", "queued", 0)], bench.states().await);
    let state = bench.exports.state("s").await.unwrap();
    assert!(matches!(state.condition.phase, breaker::Phase::Open { .. }));
    assert!(state.condition.last_error.is_some() && state.summary.queued == 1);
    let listener = TcpListener::bind(url.trim_start_matches("http://")).await.unwrap();
    let answers = Arc::new(Mutex::new(VecDeque::from([(200, "")])));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, Arc::default(), Arc::clone(&answers)));
        }
    });
    bench.later(5);
    bench.work("s").await;
    is(&[("s", "sent", 1)], bench.states().await);
    assert_eq!(bench.exports.state("s").await.unwrap().condition.phase, breaker::Phase::Closed);
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let bench = Bench::new(&format!("[{}]", stow("s", &url)), "[]").await;
    bench.send("s").await;
    bench.work("s").await;
    let row = rows::one(&bench.parts.db, 1).await.unwrap().unwrap();
    assert_eq!((row.state.as_str(), row.attempts), ("failed", 1));
    assert!(row.reason.as_deref().unwrap().contains("took and said nothing"), "{row:?}");
}

#[tokio::test]
async fn what_somebody_who_died_was_sending_is_sent() {
    let peer = Peer::answering(&[(200, "")]).await;
    let bench = Bench::new(&format!("[{}]", stow("s", &peer.url)), "[]").await;
    bench.send("s").await;
    assert_eq!(rows::claim(&bench.parts.db, "s", bench.parts.clock.now(), 9).await.unwrap().len(), 1);
    bench.work("s").await;
    is(&[("s", "sent", 2)], bench.states().await);
}

#[tokio::test]
async fn a_person_stops_a_destination_and_lets_it_go_on() {
    let peer = Peer::answering(&[(200, "")]).await;
    let bench = Bench::new(&format!("[{}]", stow("s", &peer.url)), "[]").await;
    bench.exports.pause("s", &Actor::program("me")).await.unwrap();
    bench.send("s").await;
    bench.work("s").await;
    is(&[("s", "queued", 0)], bench.states().await);
    assert!(bench.exports.resume("s", &Actor::program("me")).await.unwrap().paused.is_none());
    bench.work("s").await;
    is(&[("s", "sent", 1)], bench.states().await);
}

#[tokio::test]
async fn what_is_deleted_before_it_is_sent_leaves_nothing() {
    let peer = Peer::answering(&[(200, "")]).await;
    let bench = Bench::new(&format!("[{}]", stow("s", &peer.url)), "[]").await;
    bench.send("s").await;
    let delete = Statement::named("delete", "delete from instance");
    bench.parts.db.run(Batch::new().then(delete)).await.unwrap();
    bench.work("s").await;
    assert!(bench.states().await.is_empty() && peer.posts().is_empty());
}

#[tokio::test]
async fn a_webhook_gets_a_signed_event_with_ids_alone() {
    let peer = Peer::answering(&[(503, ""), (204, "")]).await;
    let hook = format!(r#"[{{ name = "h", url = "{}/hook", secrets = ["new", "old"] }}]"#, peer.url);
    let bench = Bench::new("[]", &hook).await;
    let event = event::Event::AnalysisDone { study: &bench.study, analysis: "a", report: "r" };
    let keys = vec![("export.webhooks", hook)];
    let plan = plan::Plan::new(&Config::load(&Overrides { file: None, keys }).unwrap());
    bench.parts.db.run(plan.event(&event, bench.parts.clock.now())).await.unwrap();
    bench.work("h").await;
    bench.later(5);
    bench.work("h").await;
    is(&[("h", "sent", 1)], bench.states().await);
    let post = peer.posts().pop().unwrap();
    let body: serde_json::Value = serde_json::from_slice(&post.body).unwrap();
    let keys: Vec<&String> = body.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["id", "event", "at", "study_uid", "analysis", "report"]);
    assert!(post.head.contains("radiant-signature: t=18000000") && post.head.matches("v1=").count() == 2);
    assert!(post.head.contains(&format!("radiant-delivery: {}", event.id())));
}

#[tokio::test]
async fn an_object_that_came_from_a_destination_goes_back_only_when_that_is_asked_for() {
    let peer = Peer::answering(&[(200, "")]).await;
    let own = format!(r#"[{{ name = "s", url = "{}", also_known_as = ["MOD"] }}]"#, peer.url);
    let bench = Bench::new(&own, "[]").await;
    let names = ["s".to_owned()];
    let skipped = bench.exports.send(&bench.study, &names, false, &Actor::program("me")).await.unwrap();
    assert_eq!((skipped[0].queued, skipped[0].skipped), (0, 1));
    let queued = bench.exports.send(&bench.study, &names, true, &Actor::program("me")).await.unwrap();
    assert_eq!((queued[0].queued, queued[0].skipped), (1, 0));
    let twice = bench
        .exports
        .send(&bench.study, &["s".to_owned(), "s".to_owned()], true, &Actor::program("me"))
        .await;
    assert_eq!(twice.unwrap().len(), 1);
    let unknown = bench.exports.send(&bench.study, &["x".to_owned()], true, &Actor::program("me")).await;
    assert!(matches!(unknown, Err(ControlError::UnknownDestination(_))));
}

#[tokio::test]
async fn what_was_never_tried_is_not_given_up_for_its_age() {
    let peer = Peer::answering(&[(200, "")]).await;
    let bench = Bench::new(&format!("[{}]", stow("s", &peer.url)), "[]").await;
    bench.send("s").await;
    bench.exports.pause("s", &Actor::program("me")).await.unwrap();
    bench.later(80 * 3600);
    bench.work("s").await;
    is(&[("s", "queued", 0)], bench.states().await);
    bench.exports.resume("s", &Actor::program("me")).await.unwrap();
    bench.work("s").await;
    is(&[("s", "sent", 1)], bench.states().await);
}

#[tokio::test]
async fn what_could_not_be_brought_for_too_long_is_given_up() {
    let bench = Bench::new(&format!("[{}]", stow("s", "http://127.0.0.1:1")), "[]").await;
    bench.send("s").await;
    bench.later(80 * 3600);
    bench.work("s").await;
    is(&[("s", "dead", 0)], bench.states().await);
}

#[tokio::test]
async fn an_event_is_never_sent_unsigned() {
    let peer = Peer::answering(&[(204, "")]).await;
    let secrets = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secrets.path(), "secret\n").unwrap();
    let file = secrets.path().display();
    let hook = format!(r#"[{{ name = "h", url = "{}", secrets_file = "{file}" }}]"#, peer.url);
    let bench = Bench::new("[]", &hook).await;
    let event = event::Event::AnalysisDone { study: &bench.study, analysis: "a", report: "r" };
    let keys = vec![("export.webhooks", hook)];
    let plan = plan::Plan::new(&Config::load(&Overrides { file: None, keys }).unwrap());
    bench.parts.db.run(plan.event(&event, bench.parts.clock.now())).await.unwrap();
    std::fs::write(secrets.path(), "").unwrap();
    bench.work("h").await;
    is(&[("h", "queued", 0)], bench.states().await);
    assert!(peer.posts().is_empty());
}

#[tokio::test]
async fn a_node_that_cannot_be_asked_to_commit_is_asked_once_at_a_time() {
    let node = r#"[{ ae_title = "N", host = "127.0.0.1", port = 1 }]"#;
    let more = [("dimse.nodes", node), ("commitment.references_max", "1")];
    let bench = Bench::with(r#"[{ name = "n", node = "N", commitment = true }]"#, "[]", &more).await;
    bench.send("n").await;
    let sent = "update export set state = 'sent'";
    let second = "insert into export (destination, subject, study_uid, content, rule, state, due_at, created_at, updated_at)
        select destination, '1.2.3', study_uid, content, rule, state, due_at, created_at, updated_at from export";
    let instance = "insert into instance (series, study, sop_instance_uid, sop_class_uid, transfer_syntax, blob_key,
            size_bytes, sha256, dataset_sha256, layout, metadata, source, source_aet, created_at)
        select series, study, '1.2.3', sop_class_uid, transfer_syntax, 'k',
            size_bytes, sha256, dataset_sha256, layout, metadata, source, source_aet, created_at from instance";
    for sql in [sent, second, instance] {
        bench.parts.db.run(Batch::new().then(Statement::named("row", sql))).await.unwrap();
    }
    let ending = bench.work("n").await;
    assert_eq!(bench.number("select count(*) from commitment").await, 1, "{ending:?}");
    assert!(matches!(ending, Ending::Later(pause, _) if pause <= Duration::from_secs(60)));
}

#[tokio::test]
async fn a_job_that_is_given_up_comes_back() {
    let bench = Bench::new(&format!("[{}]", stow("s", "http://127.0.0.1:1")), "[]").await;
    let task = Task::Export { destination: "s".to_owned() };
    let job = Job { id: "j".to_owned(), task, attempts: 99, run_after: Timestamp(0), trace: None };
    bench.exports.gave_up(&job, "99 attempts came to no end").await;
    assert_eq!(
        bench.number("select count(*) from job where dedupe_key = 'export:s' and state = 'queued'").await,
        1
    );
}

#[tokio::test]
async fn no_copy_with_a_uid_of_its_own_is_sent_in_place_of_an_object() {
    let peer = Peer::answering(&[(200, "")]).await;
    let url = &peer.url;
    let lossy =
        format!(r#"[{{ name = "s", url = "{url}", transfer_syntaxes = ["1.2.840.10008.1.2.4.50"] }}]"#);
    let bench = Bench::new(&lossy, "[]").await;
    let mut object = testing::image(uids::SECONDARY_CAPTURE_IMAGE_STORAGE, "1.2.3.4.5");
    for (tag, value) in [(tags::BITS_ALLOCATED, 8_u16), (tags::BITS_STORED, 8), (tags::HIGH_BIT, 7)] {
        object.put(DataElement::new(tag, VR::US, PrimitiveValue::from(value)));
    }
    object.put(DataElement::new(tags::PIXEL_DATA, VR::OB, PrimitiveValue::from(vec![7_u8; 400])));
    let file = testing::file(object, uids::EXPLICIT_VR_LITTLE_ENDIAN);
    testing::hold(&bench.parts.db, &bench.parts.blobs, &[file]).await;
    let study = "1.2.3".parse().unwrap();
    bench.exports.send(&study, &["s".to_owned()], false, &Actor::program("test")).await.unwrap();
    bench.work("s").await;
    is(&[("s", "sent", 1)], bench.states().await);
}
