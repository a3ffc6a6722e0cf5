//! Events, uploads and volumes.

use std::time::Duration;

use serde::Deserialize;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Events {
    retention_h: u64,
    pub streams_max: usize,
    heartbeat_s: u64,
    stream_time_s: u64,
    pub retry_ms: u64,
}

impl Events {
    pub fn retention(&self) -> Duration {
        Duration::from_secs(self.retention_h.saturating_mul(3600))
    }

    pub fn heartbeat(&self) -> Duration {
        Duration::from_secs(self.heartbeat_s.max(1))
    }

    pub fn stream_time(&self) -> Duration {
        Duration::from_secs(self.stream_time_s.max(1))
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Uploads {
    pub at_a_time: usize,
    pub bytes_max: u64,
    pub files_max: usize,
    pub path_bytes_max: usize,
    pub zip_ratio_max: u64,
    pub quota_bytes: u64,
    pub unfinished_max: usize,
    pub parts_max: u64,
    expire_h: u64,
    retention_h: u64,
}

impl Uploads {
    pub fn expire(&self) -> Duration {
        Duration::from_secs(self.expire_h.saturating_mul(3600))
    }

    pub fn retention(&self) -> Duration {
        Duration::from_secs(self.retention_h.saturating_mul(3600))
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Volumes {
    pub at_a_time: usize,
    pub waiting_max: usize,
    pub kept_bytes_max: u64,
    pub slices_max: usize,
    pub plane_pixels_max: usize,
}
