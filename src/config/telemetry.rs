//! What the server says about itself, and to whom.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::Secret;
use super::access::{Access, check_url};
use super::tls::path_or_none;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Telemetry {
    measure_every_s: u64,
    pub traces: Traces,
}

impl Telemetry {
    pub fn measure_every(&self) -> Duration {
        Duration::from_secs(self.measure_every_s.max(1))
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Traces {
    pub endpoint: String,
    pub sampling: f64,
    pub service_name: String,
    bearer: Secret,
    #[serde(deserialize_with = "path_or_none")]
    bearer_file: Option<PathBuf>,
    headers: Vec<Secret>,
    #[serde(deserialize_with = "path_or_none")]
    ca_file: Option<PathBuf>,
    pub queue_max: usize,
    pub batch_max: usize,
    batch_every_ms: u64,
    timeout_s: u64,
    flush_s: u64,
}

impl Traces {
    /// How the collector is reached, as other servers are.
    pub fn access(&self) -> Access {
        Access {
            bearer_file: self.bearer_file.clone(),
            ca_file: self.ca_file.clone(),
            ..Access::asking_with(&self.headers, &self.bearer)
        }
    }

    pub fn batch_every(&self) -> Duration {
        Duration::from_millis(self.batch_every_ms)
    }

    pub fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_s)
    }

    pub fn flush(&self) -> Duration {
        Duration::from_secs(self.flush_s)
    }

    pub(super) fn check(&self) -> Result<(), String> {
        if !(0.0..=1.0).contains(&self.sampling) {
            return Err("telemetry.traces.sampling is a part of 1".to_owned());
        }
        match self.endpoint.is_empty() {
            true => Ok(()),
            false => check_url("telemetry.traces", &self.endpoint)
                .and_then(|()| self.access().check("telemetry.traces")),
        }
    }
}
