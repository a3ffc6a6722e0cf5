//! What may be taken out of the archive, and how much of it waits to be fetched.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Downloads {
    pub studies_max: usize,
    pub instances_max: u64,
    pub per_owner_max: u64,
    pub bytes_max: u64,
    pub workers: usize,
    pub attempts_max: u32,
    pub streams_max: usize,
    retention_h: u64,
    sweep_every_s: u64,
    pub projects: Vec<Project>,
}

/// Copies of one project can be linked: the same patient has the same pseudonym in all of them.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Project {
    pub name: String,
    pub key_file: PathBuf,
}

impl Downloads {
    pub fn retention(&self) -> Duration {
        Duration::from_secs(self.retention_h.saturating_mul(3600))
    }

    pub fn sweep_every(&self) -> Duration {
        Duration::from_secs(self.sweep_every_s.max(1))
    }
}
