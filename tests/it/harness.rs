//! The whole server in this process, on any free ports, with a data folder of its own.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use argon2::password_hash::{PasswordHasher, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use metrics_exporter_prometheus::PrometheusHandle;
use radiant::ai::scripted::ScriptedEngine;
use radiant::analysis::Model;
use radiant::app::{App, Archive, Listeners, Parts};
use radiant::auth::{self, Role};
use radiant::clock::Clock;
use radiant::config::{Config, Overrides};
use radiant::db::Batch;
use radiant::db::users::{self, User};
use radiant::export::scu::association::Peer;
use radiant::export::scu::send_files;
use radiant::lifecycle::{Crash, Lifecycle};
use radiant::phantom::{self, Options};
use radiant::telemetry::metrics;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long a test waits for what must come; far more than any machine needs.
const PATIENCE: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(50);

pub(crate) struct TestApp {
    pub(crate) app: App,
    dir: tempfile::TempDir,
    stop: CancellationToken,
    running: JoinHandle<Result<(), Crash>>,
}

impl TestApp {
    /// A server without a model.
    pub(crate) async fn start() -> Self {
        Self::with(Model::Absent, &[]).await
    }

    /// A server whose model gives every study the same answer.
    pub(crate) async fn answering(answer: &str) -> Self {
        Self::with(Model::Ready(Arc::new(ScriptedEngine::always(answer))), &[]).await
    }

    /// `keys` are configuration keys with their values.
    pub(crate) async fn with(model: Model, keys: &[(&'static str, &str)]) -> Self {
        Self::in_folder(tempfile::tempdir().unwrap(), model, keys).await
    }

    async fn in_folder(dir: tempfile::TempDir, model: Model, keys: &[(&'static str, &str)]) -> Self {
        let config = config(&dir, keys);
        let listeners = Listeners::bind(&config).await.unwrap();
        let archive = Archive::open(&config, Clock::System).unwrap();
        let mut lifecycle = Lifecycle::new(Duration::from_secs(10));
        let parts = Parts { config, archive, model, metrics: recorder(), listeners };
        let app = App::start(parts, &mut lifecycle).unwrap();
        let stop = lifecycle.stop_token();
        let (_nobody, interrupts) = mpsc::channel(1);
        let running = tokio::spawn(lifecycle.run(interrupts));
        Self { app, dir, stop, running }
    }

    /// Ends the server as a signal would.
    pub(crate) async fn stop(self) -> tempfile::TempDir {
        self.stop.cancel();
        self.running.await.unwrap().unwrap();
        self.dir
    }

    /// The same data folder with another model.
    pub(crate) async fn restart(self, model: Model) -> Self {
        let Self { app, dir, stop, running } = self;
        stop.cancel();
        running.await.unwrap().unwrap();
        drop(app);
        Self::in_folder(dir, model, &[]).await
    }

    /// Draws a phantom study and sends it by C-STORE; gives its Study Instance UID.
    pub(crate) async fn send_phantom(&self, seed: u64, options: &Options) -> String {
        let study = phantom::study(seed, options).unwrap();
        let folder = self.dir.path().join("outbox").join(radiant::ids::row_id());
        std::fs::create_dir_all(&folder).unwrap();
        let paths: Vec<PathBuf> = (0..study.objects.len()).map(|n| folder.join(format!("{n}.dcm"))).collect();
        for (object, path) in study.objects.iter().zip(&paths) {
            object.write_to_file(path).unwrap();
        }
        for outcome in send_files(&self.peer(), paths, |_| ()).await {
            assert!(outcome.is_stored(), "{outcome:?}");
        }
        study.study_uid
    }

    pub(crate) fn peer(&self) -> Peer {
        Peer::new(self.app.dimse_address.unwrap().to_string(), "RADIANT", "TEST")
    }

    /// Somebody with this role, whose name is that of the role.
    pub(crate) async fn add_person(&self, role: Role, password: &str) {
        let now = Clock::System.now();
        let user = User {
            id: radiant::ids::row_id(),
            name: role.as_str().to_uppercase(),
            display_name: "Ana Ruiz".to_owned(),
            email: None,
            roles: BTreeSet::from([role]),
            must_change: false,
            disabled: false,
            provider: None,
            created_at: now,
            updated_at: now,
            last_login_at: None,
            version: 1,
        };
        let cheap = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(64, 1, 1, None).unwrap());
        let salt = SaltString::from_b64("c29tZSBzYWx0").unwrap();
        let hash = cheap.hash_password(password.as_bytes(), &salt).unwrap().to_string();
        let batch = Batch::new().then(users::insert(&user, Some(&hash)));
        self.app.archive.db.run(batch).await.unwrap();
    }

    /// The `Authorization` of a person with this role.
    pub(crate) async fn log_in(&self, role: Role, password: &str) -> String {
        let here = auth::Client { address: "127.0.0.1".parse().ok(), agent: None, request_id: None };
        let granted = self.app.access.log_in(role.as_str(), password, &here).await.unwrap();
        format!("Bearer {}", granted.access.reveal())
    }

    pub(crate) async fn get(&self, path: &str, accept: &str) -> (StatusCode, Bytes) {
        let request = http::Request::get(format!("http://{}{path}", self.app.http_address))
            .header(http::header::ACCEPT, accept)
            .body(Empty::<Bytes>::new())
            .unwrap();
        let client = Client::builder(TokioExecutor::new()).build_http();
        let response = client.request(request).await.unwrap();
        (response.status(), response.into_body().collect().await.unwrap().to_bytes())
    }

    pub(crate) async fn json(&self, path: &str) -> serde_json::Value {
        let (status, body) = self.get(path, "application/dicom+json, application/json").await;
        assert!(status.is_success(), "{path}: {status} {}", String::from_utf8_lossy(&body));
        if body.is_empty() { serde_json::Value::Null } else { serde_json::from_slice(&body).unwrap() }
    }

    /// Asks again until the answer is as wanted; gives that answer.
    pub(crate) async fn json_when(
        &self,
        path: &str,
        wanted: impl Fn(&serde_json::Value) -> bool,
    ) -> serde_json::Value {
        let asking = async {
            loop {
                let answer = self.json(path).await;
                if wanted(&answer) {
                    return answer;
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        match tokio::time::timeout(PATIENCE, asking).await {
            Ok(answer) => answer,
            Err(_) => panic!("{path} is still {}", self.json(path).await),
        }
    }
}

/// One recorder for the process: all servers of a test run count into it.
fn recorder() -> PrometheusHandle {
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    RECORDER.get_or_init(|| metrics::install().unwrap()).clone()
}

fn config(dir: &tempfile::TempDir, keys: &[(&'static str, &str)]) -> Config {
    let data_dir = dir.path().join("data").display().to_string();
    let own = [
        ("server.data_dir", data_dir.as_str()),
        ("auth.mode", "off"),
        ("http.listen", "127.0.0.1:0"),
        ("dimse.listen", "127.0.0.1:0"),
        ("analysis.quiet_time_s", "0.3"),
        ("analysis.release_delay_s", "0.1"),
        ("analysis.guard_words", "[]"),
    ];
    let keys = own.iter().chain(keys).map(|(key, value)| (*key, (*value).to_owned())).collect();
    Config::load(&Overrides { file: None, keys }).unwrap()
}
