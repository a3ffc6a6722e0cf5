//! The audit trail: how long it is kept, where its ends are noted, where it is sent.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Audit {
    retention_days: u64,
    prune_every_s: u64,
    pub queue_max: usize,
    linger_ms: u64,
    wait_s: u64,
    pub before: AuditBefore,
    pub each_request: bool,
    pub studies_max: u32,
    pub heads_file: PathBuf,
    head_every_s: u64,
    pub export_rows_max: u64,
    pub syslog: Syslog,
}

/// When the row of a request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuditBefore {
    /// Before the first byte of the answer.
    Durable,
    /// Within a moment.
    Soon,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Syslog {
    /// Host and port; empty sends nothing.
    pub address: String,
    pub transport: SyslogTransport,
    pub authorities: PathBuf,
    pub certificate: PathBuf,
    pub key: PathBuf,
    pub source_id: String,
    pub enterprise_site_id: String,
    timeout_s: u64,
    retry_max_s: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SyslogTransport {
    /// RFC 5425.
    Tls,
    /// RFC 6587 with octet counting, on loopback alone.
    Tcp,
}

impl Audit {
    /// Nothing for a trail that is kept for ever.
    pub fn retention(&self) -> Option<Duration> {
        let days = Some(self.retention_days).filter(|days| *days > 0);
        days.map(|days| Duration::from_secs(days.saturating_mul(24 * 3600)))
    }

    pub fn prune_every(&self) -> Duration {
        Duration::from_secs(self.prune_every_s)
    }

    pub fn linger(&self) -> Duration {
        Duration::from_millis(self.linger_ms)
    }

    /// How long a request waits for room in the queue, and for its row.
    pub fn patience(&self) -> Duration {
        Duration::from_secs(self.wait_s)
    }

    pub fn head_every(&self) -> Duration {
        Duration::from_secs(self.head_every_s)
    }

    /// Where the ends of the trail are noted.
    pub fn heads_file(&self, data_dir: &Path) -> PathBuf {
        match self.heads_file.as_os_str().is_empty() {
            true => data_dir.join("audit-heads.jsonl"),
            false => self.heads_file.clone(),
        }
    }

    pub(super) fn check(&self) -> Result<(), String> {
        if self.prune_every_s == 0 || self.head_every_s == 0 {
            return Err("audit.prune_every_s and audit.head_every_s must be 1 at least".to_owned());
        }
        if self.queue_max < 2 {
            return Err("audit.queue_max must be 2 at least".to_owned());
        }
        if self.studies_max == 0 {
            return Err("audit.studies_max must be 1 at least".to_owned());
        }
        self.syslog.check()
    }
}

impl Syslog {
    pub fn is_configured(&self) -> bool {
        !self.address.is_empty()
    }

    /// The host of the address, without the brackets of IPv6.
    pub fn host(&self) -> &str {
        let host = self.address.rsplit_once(':').map_or("", |(host, _)| host);
        host.trim_start_matches('[').trim_end_matches(']')
    }

    pub fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_s)
    }

    pub fn retry_max(&self) -> Duration {
        Duration::from_secs(self.retry_max_s)
    }

    fn check(&self) -> Result<(), String> {
        if !self.is_configured() {
            return Ok(());
        }
        let port = self.address.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
        if self.host().is_empty() || !matches!(port, Some(Ok(1..))) {
            return Err(
                "audit.syslog.address is a host and a port, as in \"logs.example.org:6514\"".to_owned()
            );
        }
        let is_local =
            self.host() == "localhost" || self.host().parse().is_ok_and(|ip: IpAddr| ip.is_loopback());
        if self.transport == SyslogTransport::Tcp && !is_local {
            return Err("audit.syslog.transport = \"tcp\" is for a collector on loopback alone".to_owned());
        }
        if self.certificate.as_os_str().is_empty() != self.key.as_os_str().is_empty() {
            return Err("audit.syslog.certificate and audit.syslog.key go together".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, Overrides};

    fn with(key: &'static str, value: &str) -> Result<Config, String> {
        let keys = vec![(key, value.to_owned()), ("audit.syslog.transport", "tcp".to_owned())];
        Config::load(&Overrides { file: None, keys }).map_err(|error| error.to_string())
    }

    #[test]
    fn without_tls_a_collector_is_on_loopback() {
        assert!(with("audit.syslog.address", "127.0.0.1:601").is_ok());
        assert!(with("audit.syslog.address", "[::1]:601").is_ok());
        assert!(with("audit.syslog.address", "192.0.2.1:601").unwrap_err().contains("loopback"));
        assert!(with("audit.syslog.address", "localhost").unwrap_err().contains("a port"));
    }

    #[test]
    fn a_trail_is_kept_for_ever_unless_days_are_named() {
        assert_eq!(with("audit.retention_days", "0").unwrap().audit.retention(), None);
        assert!(with("audit.retention_days", "1").unwrap().audit.retention().is_some());
        assert!(with("audit.prune_every_s", "0").is_err());
    }
}
