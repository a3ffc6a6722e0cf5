//! One administrator and whoever a test adds.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use crate::auth::{Access, Client, Denied, Granted, Role};
use crate::clock::{Clock, Timestamp};
use crate::config::{self, Config, Overrides};
use crate::db::users::{self, User};
use crate::db::{Batch, Db, Statement};

pub(super) const PASSWORD: &str = "correct horse battery";
pub(super) const HOME: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

pub(super) struct Bench {
    pub(super) access: Access,
    pub(super) clock: Clock,
    pub(super) config: Config,
    dir: tempfile::TempDir,
}

impl Bench {
    pub(super) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(super) async fn with(change: impl FnOnce(&mut config::Auth)) -> Self {
        let bench = Self::without_anybody(change);
        bench.add("ada", Role::Administrator).await;
        bench
    }

    /// Nobody has an account.
    pub(super) async fn empty() -> Self {
        Self::without_anybody(|_| {})
    }

    fn without_anybody(change: impl FnOnce(&mut config::Auth)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let keys = vec![("server.data_dir", dir.path().display().to_string())];
        let mut config = Config::load(&Overrides { file: None, keys }).unwrap();
        config.auth.argon2_memory_kib = 64;
        config.auth.argon2_passes = 1;
        change(&mut config.auth);
        let db = Db::for_test(dir.path());
        let clock = Clock::manual(Timestamp(1_700_000_000_000_000));
        Self { access: Access::new(db, clock.clone(), &config).unwrap(), clock, config, dir }
    }

    pub(super) fn folder(&self) -> &std::path::Path {
        self.dir.path()
    }

    pub(super) async fn add(&self, name: &str, role: Role) -> User {
        let now = self.clock.now();
        let user = User {
            id: crate::ids::row_id(),
            name: name.to_owned(),
            display_name: name.to_uppercase(),
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
        let hash = self.access.passwords.hash(PASSWORD).await.unwrap();
        self.access.db.run(Batch::new().then(users::insert(&user, Some(&hash)))).await.unwrap();
        user
    }

    pub(super) async fn log_in(&self, name: &str) -> Granted {
        self.try_log_in(name, PASSWORD).await.unwrap()
    }

    pub(super) async fn try_log_in(&self, name: &str, password: &str) -> Result<Granted, Denied> {
        self.access.log_in(name, password, &client()).await
    }

    pub(super) fn wait(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// The actions and outcomes of the audit, oldest first.
    pub(super) async fn audit(&self) -> Vec<String> {
        let statement = Statement::named("audit", "select action, outcome from audit order by sequence");
        let rows = self.access.db.read(statement).await.unwrap();
        rows.iter().map(|row| format!("{} {}", row.text(0).unwrap(), row.text(1).unwrap())).collect()
    }
}

pub(super) fn client() -> Client {
    Client { address: Some(HOME), agent: Some("test".to_owned()), request_id: None }
}
