//! Pools of connections to the primary and, where there is one, to a replica.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Hook, HookError, Manager, ManagerConfig, Pool, RecyclingMethod, Runtime, Timeouts};
use tokio_postgres::Config;
use tokio_postgres::config::{SslMode, TargetSessionAttrs};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_rustls::rustls::ClientConfig;

use super::replica::Replica;
use crate::db::DbError;

/// A server that went without a word is noticed after this.
const SILENCE: Duration = Duration::from_secs(30);

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
    /// A replica says by then how far it is, or searches go elsewhere …
    pub replica_timeout: Duration,
    /// … and it is left alone for so long.
    pub replica_pause: Duration,
    /// Made first where it is not there; the address says that it is used.
    pub create_schema: Option<String>,
}

/// Where statements go.
#[derive(Clone)]
pub(super) struct Servers {
    pub(super) primary: Pool,
    pub(super) replica: Option<Arc<Replica>>,
    /// For connections that are held for long, outside the pool.
    pub(super) config: Arc<Config>,
    pub(super) tls: MakeRustlsConnect,
}

impl Servers {
    pub(super) fn open(settings: &PostgresSettings) -> Result<Self, DbError> {
        let mut config = parse(&settings.primary, "database.url", settings)?;
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        let replica = settings.replica.as_deref().map(|url| parse(url, "database.replica_url", settings));
        let replica = replica.transpose()?;
        let tls = MakeRustlsConnect::new(trust(settings, [Some(&config), replica.as_ref()])?);
        let replica = replica.map(|config| pool(&config, &tls, settings)).transpose()?;
        Ok(Self {
            primary: pool(&config, &tls, settings)?,
            replica: replica.map(|pool| Arc::new(Replica::new(pool, settings))),
            config: Arc::new(config),
            tls,
        })
    }
}

/// The text itself is not repeated: it holds a password.
fn parse(url: &str, key: &'static str, settings: &PostgresSettings) -> Result<Config, DbError> {
    // What others call so is all that there is here: the certificate is always checked, and so is its name.
    let url = url.replace("sslmode=verify-full", "sslmode=require");
    let mut config = Config::from_str(&url)
        .map_err(|error| DbError::Address { key, reason: crate::causes::chain(&error) })?;
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
    config.keepalives_idle(SILENCE);
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(SILENCE);
    }
    Ok(config)
}

/// What one statement may take is told to the server, which alone can end it. Not with the address: a pooler
/// takes few parameters there.
fn limits(settings: &PostgresSettings) -> Hook {
    let limit = settings.statement_timeout.as_millis();
    let sql =
        format!("set statement_timeout = {limit}; set idle_in_transaction_session_timeout = {limit}").into();
    Hook::async_fn(move |client, _| {
        let sql: Arc<str> = Arc::clone(&sql);
        Box::pin(async move { client.batch_execute(&sql).await.map_err(HookError::Backend) })
    })
}

fn pool(config: &Config, tls: &MakeRustlsConnect, settings: &PostgresSettings) -> Result<Pool, DbError> {
    let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let manager = Manager::from_config(config.clone(), tls.clone(), recycling);
    let patience = Some(settings.patience);
    Pool::builder(manager)
        .max_size(settings.connections)
        .post_create(limits(settings))
        .timeouts(Timeouts { wait: patience, create: patience, recycle: patience })
        .runtime(Runtime::Tokio1)
        .build()
        .map_err(|error| DbError::Migrate(error.to_string()))
}

/// Who speaks TLS with nobody needs no authorities, and a small system may have none.
fn trust(settings: &PostgresSettings, addresses: [Option<&Config>; 2]) -> Result<ClientConfig, DbError> {
    let in_the_clear = |config: &Config| config.get_ssl_mode() == SslMode::Disable;
    let trusting = match addresses.into_iter().flatten().all(in_the_clear) {
        true => crate::tls::trusting_nobody(),
        false => crate::tls::trusting(("database.ca_file", settings.ca_file.as_deref())),
    };
    trusting.map_err(|error| DbError::Address { key: "database.ca_file", reason: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> Result<Config, String> {
        let settings = PostgresSettings::for_test(url.to_owned());
        parse(url, "database.url", &settings).map_err(|error| error.to_string())
    }

    #[test]
    fn what_others_call_verify_full_is_what_is_always_done() {
        let config = parsed("postgres://a@db.example/radiant?sslmode=verify-full").unwrap();
        assert_eq!(config.get_ssl_mode(), SslMode::Require);
    }

    #[test]
    fn an_address_that_is_none_is_refused_without_its_password() {
        let error = parsed("postgres://a:secret@db.example/radiant?sslmode=rot13").unwrap_err();
        assert!(
            error.contains("database.url") && error.contains("sslmode") && !error.contains("secret"),
            "{error}"
        );
    }

    #[test]
    fn who_speaks_no_tls_needs_no_authorities() {
        let settings =
            PostgresSettings::for_test("postgres://a@db.example/radiant?sslmode=disable".to_owned());
        let missing = PostgresSettings { ca_file: Some("/nowhere".into()), ..settings };
        let config = parsed(&missing.primary).unwrap();
        assert!(trust(&missing, [Some(&config), None]).is_ok());
        let in_tls = parsed("postgres://a@db.example/radiant").unwrap();
        assert!(trust(&missing, [Some(&config), Some(&in_tls)]).is_err());
    }
}
