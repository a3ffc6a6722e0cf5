//! Configuration: `default.toml` is the documentation and the compiled-in default.
//!
//! Only this module reads the environment.

mod access;
mod audit;
mod auth;
mod database;
mod disk;
mod downloads;
pub mod exports;
mod groups;
mod hub;
mod live;
mod network;
pub mod nodes;
mod oidc;
mod pipelines;
mod remote;
mod report;
mod retention;
mod secret;
mod sections;
mod storage;
mod telemetry;
mod tls;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::{Table, Value};

use sections::SEQUENCE_DEPTH_MAX;

pub use access::Access;
pub use audit::{Audit, AuditBefore, Syslog, SyslogTransport};
pub use auth::{Auth, AuthMode};
pub use database::Database;
pub use disk::Disk;
pub use downloads::{Downloads, Project};
pub use exports::Export;
pub use groups::{GROUP_NAME_BYTES_MAX, GroupRule, UngroupedStudies, UserIdentity};
pub use hub::Hub;
pub use live::{Events, Uploads, Volumes};
pub use network::Network;
pub use nodes::{Node, Service};
pub use oidc::{Oidc, RoleMapping, TakenNames, UnknownUsers};
pub use pipelines::{ContextKind, ImagesMax, Language, Pipeline};
pub use remote::{
    RemoteKind, RemoteModel, RemotePixels, RemotePrompts, SchemaUse, Vertex, VertexForm, is_near,
};
pub use report::Report;
pub use retention::{AgeBy, Retention, RetentionRule, WorkStatus};
pub use secret::Secret;
pub use sections::{
    Analysis, AnswerCache, Commitment, Deletion, Dimse, Http, Index, Ingest, KernelChoice, Log, LogFormat,
    Model, ModelEngine, ModelPrecision, ModelTimeouts, OnDuplicate, Preamble, RateLimits, Role, Rule, Server,
    UrlForm, VisionPrecision,
};
pub use storage::{
    Azure, Bucket, Cache as StorageCache, Place, S3, S3Encryption, Service as StorageService, Storage,
};
pub use telemetry::{Telemetry, Traces};
pub use tls::{ClientCertificates, DimseTls, HttpTls};

const DEFAULT: &str = include_str!("config/default.toml");
const PREFIX: &str = "RADIANT__";
const BUILT_IN: &str = "built-in defaults";

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read {file}: {source}")]
    ReadFile { file: String, source: std::io::Error },
    #[error("{file} is not TOML: {source}")]
    ParseFile { file: String, source: toml::de::Error },
    #[error("{origin}: there is no key {key}")]
    UnknownKey { origin: String, key: String },
    #[error("{origin}: {reason}")]
    BadValue { origin: String, reason: String },
    #[error(
        "{key} = {address} is not a loopback address: without access control the server only listens on loopback"
    )]
    NotLoopback { key: &'static str, address: SocketAddr },
    #[error(
        "http.listen = {address} would take passwords and tokens in the clear: use http.tls.listen, name the proxies in front in http.trusted_proxies, or say http.plain_ok = true"
    )]
    Plain { address: SocketAddr },
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub server: Server,
    pub log: Log,
    pub telemetry: Telemetry,
    /// The keys that differ from the defaults, by name.
    #[serde(skip)]
    pub changed: Vec<String>,
    pub auth: Auth,
    pub audit: Audit,
    pub http: Http,
    pub dimse: Dimse,
    pub commitment: Commitment,
    pub ingest: Ingest,
    pub storage: Storage,
    pub disk: Disk,
    pub deletion: Deletion,
    pub retention: Retention,
    pub index: Index,
    pub database: Database,
    pub events: Events,
    pub uploads: Uploads,
    pub volumes: Volumes,
    pub analysis: Analysis,
    pub export: Export,
    pub report: Report,
    pub downloads: Downloads,
    pub model: Model,
}

/// What the command line says about the configuration.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    pub file: Option<PathBuf>,
    /// Dotted key and value, strongest of all; from flags and from `radiant demo`.
    pub keys: Vec<(&'static str, String)>,
}

/// One effective setting, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Dotted, `http.listen`.
    pub key: String,
    /// As TOML.
    pub value: String,
    /// Built-in defaults, a file, an environment variable or the command line.
    pub origin: String,
}

impl Config {
    /// Defaults, then the file, then the environment, then the command line.
    pub fn load(overrides: &Overrides) -> Result<Self, ConfigError> {
        let environment = std::env::vars().filter(|(name, _)| name.starts_with(PREFIX));
        Self::assemble(overrides, environment.collect())
    }

    /// Every setting that [`Config::load`] would give, in the order of the keys.
    pub fn settings(overrides: &Overrides) -> Result<Vec<Setting>, ConfigError> {
        let environment = std::env::vars().filter(|(name, _)| name.starts_with(PREFIX));
        let layers = Layers::assemble(overrides, environment.collect())?;
        let settings = layers.origins.iter().map(|(key, origin)| Setting {
            key: key.clone(),
            value: lookup(&layers.table, key).map(|value| shown(key, value)).unwrap_or_default(),
            origin: origin.clone(),
        });
        Ok(settings.collect())
    }

    fn assemble(overrides: &Overrides, environment: Vec<(String, String)>) -> Result<Self, ConfigError> {
        Layers::assemble(overrides, environment).map(|layers| layers.config)
    }

    /// Without access control nobody but this machine is listened to, and with it no password
    /// travels in the clear by accident.
    fn check_listeners(&self) -> Result<(), ConfigError> {
        let listeners = [
            ("http.listen", Some(self.http.listen)),
            ("http.tls.listen", self.http.tls.listen),
            ("dimse.listen", Some(self.dimse.listen)),
            ("dimse.tls.listen", self.dimse.tls.listen),
        ];
        let given = listeners.into_iter().filter_map(|(key, address)| Some((key, address?)));
        let open = given.filter(|(_, address)| !address.ip().is_loopback());
        for (key, address) in open {
            match self.auth.mode {
                AuthMode::Off => return Err(ConfigError::NotLoopback { key, address }),
                AuthMode::On if key == "http.listen" && !self.http.may_be_plain() => {
                    return Err(ConfigError::Plain { address });
                }
                AuthMode::On => {}
            }
        }
        Ok(())
    }

    /// A data folder with SQLite belongs to one process, which does everything.
    fn check_role(&self) -> Result<(), ConfigError> {
        let role = self.server.role;
        if role == Role::All || self.database.is_shared() {
            return Ok(());
        }
        let reason = format!(
            "server.role = \"{}\" needs an index that instances share (database.url): a data folder with SQLite belongs to one process, whose role is \"all\"",
            role.as_str()
        );
        Err(ConfigError::BadValue { origin: "configuration".to_owned(), reason })
    }

    fn check(&self) -> Result<(), ConfigError> {
        self.check_listeners()?;
        self.check_role()?;
        if !is_public_base(&self.http.public_base) {
            let reason = "http.public_base must begin with http:// or https:// and a host".to_owned();
            return Err(ConfigError::BadValue { origin: "configuration".to_owned(), reason });
        }
        let any_origin = self.http.cors_origins.iter().any(|origin| origin == "*");
        if any_origin && (self.http.cors_credentials || self.auth.basic) {
            let reason = "http.cors_credentials and auth.basic need http.cors_origins by name, without \"*\""
                .to_owned();
            return Err(ConfigError::BadValue { origin: "configuration".to_owned(), reason });
        }
        if !self.http.cache_control.bytes().all(|b| (0x20..0x7F).contains(&b)) {
            let reason = "http.cache_control must be one line of ASCII".to_owned();
            return Err(ConfigError::BadValue { origin: "configuration".to_owned(), reason });
        }
        if self.deletion.sweep_every().is_zero() {
            let reason = "deletion.sweep_every_s must be 1 at least".to_owned();
            return Err(ConfigError::BadValue { origin: "configuration".to_owned(), reason });
        }
        if self.server.probe_every().is_zero() {
            let reason = "server.probe_every_s must be 1 at least".to_owned();
            return Err(ConfigError::BadValue { origin: "configuration".to_owned(), reason });
        }
        let deepest = 1..=SEQUENCE_DEPTH_MAX;
        if !deepest.contains(&self.ingest.sequence_depth_max) {
            let reason = format!("ingest.sequence_depth_max must be 1 to {SEQUENCE_DEPTH_MAX}");
            return Err(ConfigError::BadValue { origin: "configuration".to_owned(), reason });
        }
        if !is_ae_title(&self.dimse.ae_title) {
            let reason = "dimse.ae_title must have 1 to 16 characters (VR AE)".to_owned();
            return Err(ConfigError::BadValue { origin: "configuration".to_owned(), reason });
        }
        let checked = nodes::check(&self.dimse.nodes)
            .and_then(|()| self.storage.check(self.ingest.instance_bytes_max))
            .and_then(|()| self.disk.check())
            .and_then(|()| self.retention.check(self.deletion.enabled))
            .and_then(|()| self.audit.check())
            .and_then(|()| self.telemetry.traces.check())
            .and_then(|()| self.auth.check().map_err(str::to_owned))
            .and_then(|()| self.dimse.tls.check())
            .and_then(|()| self.http.tls.check())
            .and_then(|()| self.analysis.images_max.check())
            .and_then(|()| groups::check(&self.auth.group_rules))
            .and_then(|()| self.export.check(&self.dimse.nodes))
            .and_then(|()| self.model.check())
            .and_then(|()| self.model.hub.check())
            .and_then(|()| self.database.check());
        checked.map_err(|reason| ConfigError::BadValue { origin: "configuration".to_owned(), reason })
    }
}

/// VR AE, PS3.5 6.2.
fn is_ae_title(text: &str) -> bool {
    let text = text.trim();
    (1..=16).contains(&text.len()) && text.bytes().all(|b| (0x20..0x7F).contains(&b) && b != b'\\')
}

/// Empty, or what a path can follow.
fn is_public_base(base: &str) -> bool {
    let host = ["https://", "http://"].iter().find_map(|scheme| base.strip_prefix(scheme));
    let is_plain = |host: &str| !host.starts_with('/') && !host.contains(['"', '?', '#', '@', ' ', '\\']);
    base.is_empty() || host.is_some_and(|host| !host.is_empty() && is_plain(host))
}

/// The configuration as it grows layer by layer; each layer answers for its own mistakes.
struct Layers {
    table: Table,
    config: Config,
    /// Dotted key → the layer that set it last.
    origins: BTreeMap<String, String>,
}

impl Layers {
    fn assemble(overrides: &Overrides, environment: Vec<(String, String)>) -> Result<Self, ConfigError> {
        let mut layers = Self::defaults()?;
        if let Some(file) = &overrides.file {
            layers.add_file(file)?;
        }
        for (name, text) in environment {
            let key = name[PREFIX.len()..].to_lowercase().replace("__", ".");
            layers.add_text(&name, &key, &text)?;
        }
        for (key, text) in &overrides.keys {
            layers.add_text("command line", key, text)?;
        }
        layers.config.check()?;
        let is_changed = |(_, origin): &(&String, &String)| *origin != BUILT_IN;
        layers.config.changed =
            layers.origins.iter().filter(is_changed).map(|(key, _)| key.clone()).collect();
        Ok(layers)
    }

    fn defaults() -> Result<Self, ConfigError> {
        let origin = BUILT_IN;
        let table: Table =
            DEFAULT.parse().map_err(|source| ConfigError::ParseFile { file: origin.to_owned(), source })?;
        let config = read(&table, origin)?;
        let origins = leaves(&table, "").into_iter().map(|key| (key, origin.to_owned())).collect();
        Ok(Self { table, config, origins })
    }

    fn add_file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::ReadFile { file: file.clone(), source })?;
        let table: Table =
            text.parse().map_err(|source| ConfigError::ParseFile { file: file.clone(), source })?;
        self.overlay(&file, table)
    }

    fn add_text(&mut self, origin: &str, key: &str, text: &str) -> Result<(), ConfigError> {
        let unknown = || ConfigError::UnknownKey { origin: origin.to_owned(), key: key.to_owned() };
        let default = lookup(&self.table, key).ok_or_else(unknown)?;
        let value = match default {
            Value::String(_) => Value::String(text.to_owned()),
            _ => parse_value(text).map_err(|reason| ConfigError::BadValue {
                origin: origin.to_owned(),
                reason: format!("{key}: {reason}"),
            })?,
        };
        let table = key
            .rsplit('.')
            .fold(value, |inner, part| Value::Table(Table::from_iter([(part.to_owned(), inner)])));
        match table {
            Value::Table(table) => self.overlay(origin, table),
            _ => Err(unknown()),
        }
    }

    fn overlay(&mut self, origin: &str, table: Table) -> Result<(), ConfigError> {
        self.origins.extend(leaves(&table, "").into_iter().map(|key| (key, origin.to_owned())));
        merge(&mut self.table, table, origin, "")?;
        self.config = read(&self.table, origin)?;
        Ok(())
    }
}

fn parse_value(text: &str) -> Result<Value, String> {
    let table: Table =
        format!("value = {text}").parse().map_err(|e: toml::de::Error| e.message().to_owned())?;
    table.get("value").cloned().ok_or_else(|| "is empty".to_owned())
}

fn lookup<'a>(table: &'a Table, key: &str) -> Option<&'a Value> {
    match key.split_once('.') {
        Some((section, rest)) => lookup(table.get(section)?.as_table()?, rest),
        None => table.get(key).filter(|value| !value.is_table()),
    }
}

/// Keys whose values nobody needs to see.
const SECRETS: [&str; 8] =
    ["bearer", "password", "secrets", "headers", "token", "secret_access_key", "access_key", "sas"];

/// A setting as people see it; a secret that is not given is seen to be none.
fn shown(key: &str, value: &Value) -> String {
    let is_secret = key.rsplit('.').next().is_some_and(|name| SECRETS.contains(&name));
    let is_given = value.as_str() != Some("") && value.as_array().is_none_or(|all| !all.is_empty());
    match is_secret && is_given {
        true => Value::String(HIDDEN.to_owned()).to_string(),
        false => masked(value).to_string(),
    }
}

const HIDDEN: &str = "…";

/// A value without the secrets in it.
fn masked(value: &Value) -> Value {
    let hidden = || Value::String(HIDDEN.to_owned());
    match value {
        Value::Array(items) => Value::Array(items.iter().map(masked).collect()),
        Value::Table(table) => Value::Table(
            table
                .iter()
                .map(|(key, value)| match SECRETS.contains(&key.as_str()) {
                    true => (key.clone(), hidden()),
                    false => (key.clone(), masked(value)),
                })
                .collect(),
        ),
        other => other.clone(),
    }
}

/// The dotted keys of everything that is not a section.
fn leaves(table: &Table, prefix: &str) -> Vec<String> {
    let keys = table.iter().map(|(name, value)| match value {
        Value::Table(inner) => leaves(inner, &format!("{prefix}{name}.")),
        _ => vec![format!("{prefix}{name}")],
    });
    keys.flatten().collect()
}

fn merge(base: &mut Table, over: Table, origin: &str, prefix: &str) -> Result<(), ConfigError> {
    for (name, value) in over {
        let key = format!("{prefix}{name}");
        match (base.get_mut(&name), value) {
            (Some(Value::Table(inner)), Value::Table(value)) => {
                merge(inner, value, origin, &format!("{key}."))?;
            }
            (Some(slot), value) => *slot = value,
            (None, _) => return Err(ConfigError::UnknownKey { origin: origin.to_owned(), key }),
        }
    }
    Ok(())
}

fn read(table: &Table, origin: &str) -> Result<Config, ConfigError> {
    Config::deserialize(table.clone()).map_err(|error| ConfigError::BadValue {
        origin: origin.to_owned(),
        reason: error.to_string().trim().replace('\n', " "),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_environment(name: &str, value: &str) -> Result<Config, ConfigError> {
        Config::assemble(&Overrides::default(), vec![(name.to_owned(), value.to_owned())])
    }

    #[test]
    fn defaults_are_complete() {
        let config = Config::assemble(&Overrides::default(), vec![]).unwrap();
        assert_eq!(config.dimse.ae_title, "RADIANT");
        assert_eq!(config.analysis.rules.len(), 2);
    }

    #[test]
    fn the_environment_overrides_every_kind_of_key() {
        assert_eq!(with_environment("RADIANT__DIMSE__AE_TITLE", "42").unwrap().dimse.ae_title, "42");
        assert_eq!(with_environment("RADIANT__INDEX__READERS", "9").unwrap().index.readers, 9);
        let extra = with_environment("RADIANT__DIMSE__SOP_CLASSES_EXTRA", "[\"*\"]").unwrap();
        assert_eq!(extra.dimse.sop_classes_extra, ["*"]);
    }

    #[test]
    fn an_unknown_key_is_named_with_its_origin() {
        let error = with_environment("RADIANT__HTTP__LISTN", "x").unwrap_err().to_string();
        assert_eq!(error, "RADIANT__HTTP__LISTN: there is no key http.listn");
    }

    #[test]
    fn a_bad_value_is_named_with_its_key() {
        let error = with_environment("RADIANT__INDEX__READERS", "\"many\"").unwrap_err().to_string();
        assert!(error.starts_with("RADIANT__INDEX__READERS") && error.contains("readers"), "{error}");
    }

    #[test]
    fn what_is_no_header_value_is_refused_at_the_start() {
        let config = Config::assemble(&Overrides::default(), vec![]).unwrap();
        assert!(config.check().is_ok());
        let cache_control = "private\nSet-Cookie: a".to_owned();
        let mut split = config;
        split.http.cache_control = cache_control;
        assert!(split.check().is_err());
    }

    #[test]
    fn a_sweep_without_a_pause_is_refused() {
        let error = with_environment("RADIANT__DELETION__SWEEP_EVERY_S", "0").unwrap_err().to_string();
        assert!(error.contains("deletion.sweep_every_s"), "{error}");
    }

    #[test]
    fn a_file_names_its_own_mistakes() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("radiant.toml");
        std::fs::write(&file, "[dimse]\nport = 4\n").unwrap();
        let overrides = Overrides { file: Some(file), keys: vec![] };
        let error = Config::assemble(&overrides, vec![]).unwrap_err().to_string();
        assert!(error.contains("radiant.toml") && error.contains("dimse.port"), "{error}");
    }

    fn destination(toml: &str) -> Result<Config, ConfigError> {
        with_environment("RADIANT__EXPORT__DESTINATIONS", &format!("[{toml}]"))
    }

    #[test]
    fn a_destination_is_a_node_or_a_url() {
        assert!(destination(r#"{ name = "a", url = "https://b/dicom-web" }"#).is_ok());
        for bad in [
            r#"{ name = "a" }"#,
            r#"{ name = "a", node = "UNKNOWN" }"#,
            r#"{ name = "a", url = "ftp://b" }"#,
            r#"{ name = "a", url = "https://b", commitment = true }"#,
            r#"{ name = "a/b", url = "https://b" }"#,
            r#"{ name = "a", url = "https://b" }, { name = "a", url = "https://c" }"#,
        ] {
            assert!(destination(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_webhook_has_a_secret_that_is_one() {
        let hook = |secrets: &str| {
            let toml = format!(r#"[{{ name = "a", url = "https://b", secrets = [{secrets}] }}]"#);
            with_environment("RADIANT__EXPORT__WEBHOOKS", &toml)
        };
        assert!(hook(r#""hush""#).is_ok());
        assert!(hook("").is_err() && hook(r#""hush", """#).is_err());
    }

    #[test]
    fn secrets_are_not_printed() {
        let toml = r#"[{ name = "a", url = "https://b", access = { bearer = "hush" } }]"#;
        let keys = vec![("export.destinations", toml.to_owned())];
        let overrides = Overrides { file: None, keys };
        let settings = Config::settings(&overrides).unwrap();
        let printed = settings.iter().find(|setting| setting.key == "export.destinations").unwrap();
        assert!(printed.value.contains("https://b") && !printed.value.contains("hush"), "{printed:?}");
        let config = Config::assemble(&overrides, vec![]).unwrap();
        assert!(!format!("{:?}", config.export).contains("hush"));
    }

    #[test]
    fn tls_without_a_certificate_is_refused() {
        let error = with_environment("RADIANT__DIMSE__TLS__LISTEN", "127.0.0.1:2762").unwrap_err();
        assert!(error.to_string().contains("dimse.tls.certificate"), "{error}");
        let error = with_keys(&[("auth.mode", "off"), ("dimse.tls.listen", "0.0.0.0:2762")]).unwrap_err();
        assert!(matches!(error, ConfigError::NotLoopback { key: "dimse.tls.listen", .. }));
    }

    #[test]
    fn nodes_have_titles_of_their_own() {
        for nodes in ["[{ ae_title = \"A\" }, { ae_title = \"A \" }]", "[{ ae_title = \"\" }]"] {
            let error = with_environment("RADIANT__DIMSE__NODES", nodes).unwrap_err().to_string();
            assert!(error.contains("dimse.nodes"), "{error}");
        }
    }

    #[test]
    fn a_part_of_a_server_needs_an_index_that_is_shared() {
        for role in ["serve", "worker"] {
            let error = with_keys(&[("server.role", role)]).unwrap_err().to_string();
            assert!(error.contains(role) && error.contains("database.url"), "{error}");
            let shared =
                [("server.role", role), ("database.url", "postgres://a@127.0.0.1/b?sslmode=disable")];
            assert_eq!(with_keys(&shared).unwrap().server.role.as_str(), role);
        }
        assert!(with_keys(&[("server.role", "none")]).is_err());
    }

    /// The configuration with these keys beside the defaults.
    fn with_keys(keys: &[(&'static str, &str)]) -> Result<Config, ConfigError> {
        let keys = keys.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
        Config::assemble(&Overrides { file: None, keys }, vec![])
    }

    #[test]
    fn without_access_control_only_loopback_is_listened_on() {
        for key in ["http.listen", "dimse.listen"] {
            let error = with_keys(&[("auth.mode", "off"), (key, "0.0.0.0:80")]).unwrap_err();
            assert!(matches!(error, ConfigError::NotLoopback { .. }), "{key}");
        }
    }

    #[test]
    fn passwords_travel_in_the_clear_only_where_somebody_said_so() {
        let open = [("auth.mode", "on"), ("http.listen", "0.0.0.0:80")];
        assert!(matches!(with_keys(&open), Err(ConfigError::Plain { .. })));
        for fine in [("http.plain_ok", "true"), ("http.trusted_proxies", "[\"10.0.0.1\"]")] {
            assert!(with_keys(&[open[0], open[1], fine]).is_ok(), "{fine:?}");
        }
    }
}
