//! Pools of connections to the primary and, where there is one, to a replica.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod, Runtime, Timeouts};
use tokio_postgres::Config;
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_rustls::rustls::ClientConfig;

use crate::db::DbError;

/// How the servers are reached.
#[derive(Debug, Clone)]
pub struct PostgresSettings {
    /// `postgres://user:password@host:port/database?sslmode=…`; several hosts may stand there, of
    /// which the one that takes writes is meant.
    pub primary: String,
    pub replica: Option<String>,
    /// Where the address has no password.
    pub password_file: Option<PathBuf>,
    /// Authorities in PEM form; without them those of the system.
    pub ca_file: Option<PathBuf>,
    pub connections: usize,
    /// Batches committed with one sync at most.
    pub group_max: usize,
    /// A server that is away is waited for so long.
    pub patience: Duration,
    /// A statement that runs longer is ended.
    pub statement_timeout: Duration,
    /// Made first where it is not there; the address says that it is used.
    pub create_schema: Option<String>,
}

/// Where statements go.
#[derive(Clone)]
pub(super) struct Servers {
    pub(super) primary: Pool,
    pub(super) replica: Option<Pool>,
    /// For connections that are held for long, outside the pool.
    pub(super) config: Arc<Config>,
    pub(super) tls: MakeRustlsConnect,
}

impl Servers {
    pub(super) fn open(settings: &PostgresSettings) -> Result<Self, DbError> {
        let tls = MakeRustlsConnect::new(trust(settings)?);
        let mut config = parse(&settings.primary, "database.url", settings)?;
        config.target_session_attrs(tokio_postgres::config::TargetSessionAttrs::ReadWrite);
        let replica = settings.replica.as_deref().map(|url| {
            let config = parse(url, "database.replica_url", settings)?;
            pool(&limited(config, settings), &tls, settings)
        });
        Ok(Self {
            primary: pool(&limited(config.clone(), settings), &tls, settings)?,
            replica: replica.transpose()?,
            config: Arc::new(config),
            tls,
        })
    }
}

/// The text itself is not repeated: it holds a password.
fn parse(url: &str, key: &'static str, settings: &PostgresSettings) -> Result<Config, DbError> {
    let mut config =
        Config::from_str(url).map_err(|error| DbError::Address { key, reason: error.to_string() })?;
    if config.get_application_name().is_none() {
        config.application_name("radiant");
    }
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(Duration::from_secs(5));
    }
    if let Some(path) = &settings.password_file {
        let unreadable = |error: std::io::Error| DbError::Address {
            key: "database.password_file",
            reason: format!("{} cannot be read: {error}", path.display()),
        };
        config.password(std::fs::read_to_string(path).map_err(unreadable)?.trim());
    }
    config.keepalives_idle(Duration::from_secs(30));
    Ok(config)
}

/// What one statement may take is told to the server, which alone can end it.
fn limited(mut config: Config, settings: &PostgresSettings) -> Config {
    let options = config.get_options().unwrap_or_default();
    let limit = settings.statement_timeout.as_millis();
    let options =
        format!("{options} -c statement_timeout={limit} -c idle_in_transaction_session_timeout={limit}");
    config.options(options.trim());
    config
}

fn pool(config: &Config, tls: &MakeRustlsConnect, settings: &PostgresSettings) -> Result<Pool, DbError> {
    let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let manager = Manager::from_config(config.clone(), tls.clone(), recycling);
    let patience = Some(settings.patience);
    Pool::builder(manager)
        .max_size(settings.connections)
        .timeouts(Timeouts { wait: patience, create: patience, recycle: patience })
        .runtime(Runtime::Tokio1)
        .build()
        .map_err(|error| DbError::Migrate(error.to_string()))
}

fn trust(settings: &PostgresSettings) -> Result<ClientConfig, DbError> {
    crate::tls::trusting(("database.ca_file", settings.ca_file.as_deref()))
        .map_err(|error| DbError::Address { key: "database.ca_file", reason: error.to_string() })
}
