//! Where models are fetched from.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::Secret;
use super::tls::path_or_none;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hub {
    pub endpoint: String,
    pub token: Secret,
    #[serde(deserialize_with = "path_or_none")]
    pub token_file: Option<PathBuf>,
    #[serde(deserialize_with = "path_or_none")]
    pub ca_file: Option<PathBuf>,
    pub proxy: String,
    pub files_at_once: usize,
    pub attempts_max: u32,
    retry_first_s: f64,
    retry_max_s: f64,
    timeout_s: f64,
}

impl Hub {
    pub fn retry_first(&self) -> Duration {
        seconds(self.retry_first_s)
    }

    pub fn retry_max(&self) -> Duration {
        seconds(self.retry_max_s.max(self.retry_first_s))
    }

    /// Silence beyond which a request is given up.
    pub fn timeout(&self) -> Duration {
        seconds(self.timeout_s)
    }

    pub(super) fn check(&self) -> Result<(), String> {
        if !is_safe(&self.endpoint) {
            return Err("model.hub.endpoint begins with https:// (http:// on this machine alone)".to_owned());
        }
        if !self.token.reveal().is_empty() && self.token_file.is_some() {
            return Err("model.hub: token is given twice, itself and as a file".to_owned());
        }
        if self.files_at_once == 0 || self.attempts_max == 0 || self.timeout().is_zero() {
            let keys = "files_at_once, attempts_max and timeout_s";
            return Err(format!("model.hub: {keys} must be more than 0"));
        }
        Ok(())
    }
}

/// A token and a model travel in the clear to this machine alone.
fn is_safe(endpoint: &str) -> bool {
    let is_plain =
        |rest: &str| !rest.is_empty() && !rest.starts_with('/') && !rest.contains(['@', '?', '#', ' ', '\\']);
    if let Some(rest) = endpoint.strip_prefix("https://") {
        return is_plain(rest);
    }
    endpoint.strip_prefix("http://").is_some_and(|rest| is_plain(rest) && is_loopback(rest))
}

fn is_loopback(authority_and_path: &str) -> bool {
    let authority = authority_and_path.split('/').next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_asked_in_the_clear() {
        for fine in
            ["https://hub.example", "http://127.0.0.1:8000", "http://[::1]:80/hub", "http://localhost"]
        {
            assert!(is_safe(fine), "{fine}");
        }
        for bad in [
            "http://hub.example",
            "http://127.0.0.1.example",
            "http://localhost@hub.example",
            "ftp://a",
            "https://",
        ] {
            assert!(!is_safe(bad), "{bad}");
        }
    }
}
