//! Where the index of several instances is.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::Secret;
use super::tls::path_or_none;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// Empty: in the data folder.
    pub url: Secret,
    #[serde(deserialize_with = "path_or_none")]
    pub password_file: Option<PathBuf>,
    pub replica_url: Secret,
    #[serde(deserialize_with = "path_or_none")]
    pub ca_file: Option<PathBuf>,
    /// Nobody else uses the index: objects may lie in a folder.
    pub one_instance: bool,
    pub connections: usize,
    patience_s: f64,
    statement_timeout_s: f64,
    replica_timeout_s: f64,
    replica_pause_s: f64,
}

impl Database {
    pub fn is_shared(&self) -> bool {
        !self.url.reveal().is_empty()
    }

    pub fn patience(&self) -> Duration {
        Duration::try_from_secs_f64(self.patience_s).unwrap_or_default()
    }

    pub fn statement_timeout(&self) -> Duration {
        Duration::try_from_secs_f64(self.statement_timeout_s).unwrap_or_default()
    }

    pub fn replica_timeout(&self) -> Duration {
        Duration::try_from_secs_f64(self.replica_timeout_s).unwrap_or_default()
    }

    pub fn replica_pause(&self) -> Duration {
        Duration::try_from_secs_f64(self.replica_pause_s).unwrap_or_default()
    }

    pub(super) fn check(&self) -> Result<(), String> {
        if self.connections < 2 {
            return Err("database.connections: one writes and one reads, so 2 at least".to_owned());
        }
        if self.patience().is_zero() || self.statement_timeout().is_zero() {
            return Err("database: patience_s and statement_timeout_s must be more than 0".to_owned());
        }
        if self.replica_timeout().is_zero() {
            return Err("database.replica_timeout_s must be more than 0".to_owned());
        }
        let addresses = [("url", &self.url), ("replica_url", &self.replica_url)];
        for (key, url) in addresses.iter().filter(|(_, url)| !url.reveal().is_empty()) {
            if !["postgres://", "postgresql://"].iter().any(|scheme| url.reveal().starts_with(scheme)) {
                return Err(format!("database.{key} begins with postgres://"));
            }
        }
        match self.is_shared() || self.replica_url.reveal().is_empty() {
            true => Ok(()),
            false => Err("database.replica_url needs database.url".to_owned()),
        }
    }
}
