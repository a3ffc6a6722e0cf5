//! Every endpoint with every role, with none, and with a key that may do one thing: what comes of it
//! is exactly what the table of roles and permissions says.

use std::collections::BTreeSet;
use std::path::Path;

use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use radiant::analysis::Model;
use radiant::auth::{Needs, Permission, Role};
use radiant::clock::Timestamp;
use radiant::db::{Batch, api_keys};
use radiant::http::{Door, doors};
use sha2::{Digest, Sha256};

use crate::harness::TestApp;

const OPEN: &str = "tests/it/golden/open_endpoints.txt";
const PASSWORD: &str = "correct horse battery";
const KEYS: [(&str, &str); 4] = [
    ("auth.mode", "on"),
    ("auth.argon2_memory_kib", "64"),
    ("auth.argon2_passes", "1"),
    ("deletion.enabled", "true"),
];
/// What the narrow key may do.
const ONLY: Permission = Permission::ViewStudies;

#[derive(Debug, Clone, Copy)]
enum Who {
    Nobody,
    /// Somebody with this role alone.
    Person(Role),
    /// A radiologist's key for one permission.
    Key,
}

#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    LogInNeeded,
    PermissionMissing,
    /// Whatever its handler says to an empty request about things that are not there.
    LetThrough,
    /// The proof was not taken.
    ProofRefused,
}

impl Who {
    fn all() -> Vec<Self> {
        let people = Role::ALL.map(Self::Person);
        [Self::Nobody, Self::Key].into_iter().chain(people).collect()
    }

    fn expected(self, needs: Needs) -> Outcome {
        let may = |permission| match self {
            Self::Nobody => false,
            Self::Person(role) => role.permissions().contains(&permission),
            Self::Key => permission == ONLY,
        };
        match (self, needs) {
            (_, Needs::Nothing) => Outcome::LetThrough,
            (Self::Nobody, _) => Outcome::LogInNeeded,
            (_, Needs::Identity) => Outcome::LetThrough,
            (_, Needs::Permission(permission)) if may(permission) => Outcome::LetThrough,
            _ => Outcome::PermissionMissing,
        }
    }
}

/// A server and somebody of each role.
struct Bench {
    app: TestApp,
    client: Client<HttpConnector, Empty<Bytes>>,
}

impl Bench {
    async fn start() -> Self {
        let app = TestApp::with(Model::Absent, &KEYS).await;
        let bench = Self { app, client: Client::builder(TokioExecutor::new()).build_http() };
        for role in Role::ALL {
            bench.app.add_person(role, PASSWORD).await;
        }
        bench.add_key().await;
        bench
    }

    async fn run(&self, batch: Batch) {
        self.app.app.archive.db.run(batch).await.unwrap();
    }

    async fn add_key(&self) {
        let key = api_keys::ApiKey {
            id: "narrow".to_owned(),
            name: "narrow".to_owned(),
            role: Role::Radiologist,
            only: Some(BTreeSet::from([ONLY])),
            created_by: "test".to_owned(),
            created_at: Timestamp(1),
            expires_at: None,
            last_used_at: None,
            revoked_at: None,
        };
        self.run(Batch::new().then(api_keys::insert(&key, &Sha256::digest("secret")))).await;
    }

    /// What goes into `Authorization`.
    async fn proof(&self, who: Who) -> Option<String> {
        match who {
            Who::Nobody => None,
            Who::Key => Some("Bearer rk_narrow_secret".to_owned()),
            Who::Person(role) => Some(self.app.log_in(role, PASSWORD).await),
        }
    }

    async fn ask(&self, door: &Door, proof: Option<&str>) -> Outcome {
        let uri = format!("http://{}{}", self.app.app.http_address, door.path);
        let mut request = http::Request::builder().method(door.method.clone()).uri(uri);
        if let Some(proof) = proof {
            request = request.header(http::header::AUTHORIZATION, proof);
        }
        let response = self.client.request(request.body(Empty::new()).unwrap()).await.unwrap();
        let status = response.status();
        if status != StatusCode::UNAUTHORIZED && status != StatusCode::FORBIDDEN {
            return Outcome::LetThrough;
        }
        let challenged = response.headers().contains_key(http::header::WWW_AUTHENTICATE);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
        match problem["type"].as_str().and_then(|kind| kind.rsplit(':').next()).unwrap() {
            "log-in-needed" if challenged => Outcome::LogInNeeded,
            "missing-permission" => Outcome::PermissionMissing,
            _ if status == StatusCode::UNAUTHORIZED && door.needs != Needs::Nothing => Outcome::ProofRefused,
            _ => Outcome::LetThrough,
        }
    }
}

/// What ends sessions does so: who asked for it has to come in again.
fn may_end_sessions(door: &Door) -> bool {
    let touches = ["/api/v1/auth", "/api/v1/users", "/api/v1/sessions"];
    door.method != http::Method::GET && touches.iter().any(|path| door.path.starts_with(path))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_endpoint_with_every_role_and_with_none() {
    let bench = Bench::start().await;
    let mut wrong = Vec::new();
    for who in Who::all() {
        let mut proof = bench.proof(who).await;
        for door in doors() {
            let (outcome, expected) = (bench.ask(&door, proof.as_deref()).await, who.expected(door.needs));
            if outcome != expected {
                let Door { method, path, name, .. } = &door;
                wrong
                    .push(format!("{who:?}: {method} {path} ({name}): {outcome:?} in place of {expected:?}"));
            }
            if may_end_sessions(&door) {
                proof = bench.proof(who).await;
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
    bench.app.stop().await;
}

/// One more needs a line in the file, and a reader who agrees.
#[test]
fn what_is_open_is_open_on_purpose() {
    let open = doors().into_iter().filter(|door| door.needs == Needs::Nothing);
    let lines: BTreeSet<String> =
        open.map(|door| format!("{} {} {}\n", door.method, door.path, door.name)).collect();
    let text: String = lines.into_iter().collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(OPEN);
    if std::env::var_os("RADIANT_WRITE").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(&path).unwrap(), "{OPEN}");
}
