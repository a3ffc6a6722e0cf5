//! TLS of associations and of HTTP: files and what is asked of peers.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Deserializer};

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DimseTls {
    #[serde(deserialize_with = "address_or_none")]
    pub listen: Option<SocketAddr>,
    #[serde(deserialize_with = "path_or_none")]
    pub certificate: Option<PathBuf>,
    #[serde(deserialize_with = "path_or_none")]
    pub key: Option<PathBuf>,
    #[serde(deserialize_with = "path_or_none")]
    pub client_ca: Option<PathBuf>,
    pub client_certificates: ClientCertificates,
    #[serde(deserialize_with = "path_or_none")]
    pub peer_ca: Option<PathBuf>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpTls {
    #[serde(deserialize_with = "address_or_none")]
    pub listen: Option<SocketAddr>,
    #[serde(deserialize_with = "path_or_none")]
    pub certificate: Option<PathBuf>,
    #[serde(deserialize_with = "path_or_none")]
    pub key: Option<PathBuf>,
    #[serde(deserialize_with = "path_or_none")]
    pub client_ca: Option<PathBuf>,
    pub client_certificates: ClientCertificates,
    handshake_timeout_s: u64,
    pub handshakes_max: usize,
    pub hsts_max_age_s: u64,
}

/// What is asked of callers where `client_ca` is given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClientCertificates {
    #[default]
    Require,
    /// Who shows none is let in as well; who shows a bad one is not.
    Request,
}

impl DimseTls {
    /// What is missing, if anything.
    pub(super) fn check(&self) -> Result<(), String> {
        complete("dimse.tls", self.listen, self.certificate.is_some(), self.key.is_some())
    }

    /// Files that a peer's or our own identity comes from.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let files = [&self.certificate, &self.key, &self.client_ca, &self.peer_ca];
        files.into_iter().filter_map(|file| file.as_deref())
    }
}

impl HttpTls {
    /// What is missing, if anything.
    pub(super) fn check(&self) -> Result<(), String> {
        complete("http.tls", self.listen, self.certificate.is_some(), self.key.is_some())
    }

    pub fn files(&self) -> impl Iterator<Item = &Path> {
        [&self.certificate, &self.key, &self.client_ca].into_iter().filter_map(|file| file.as_deref())
    }

    pub fn handshake_timeout(&self) -> Duration {
        Duration::from_secs(self.handshake_timeout_s)
    }
}

fn complete(
    section: &str,
    listen: Option<SocketAddr>,
    has_certificate: bool,
    has_key: bool,
) -> Result<(), String> {
    match (has_certificate, has_key) {
        (true, false) => Err(format!("{section}.certificate needs {section}.key")),
        (false, true) => Err(format!("{section}.key needs {section}.certificate")),
        (false, false) if listen.is_some() => {
            Err(format!("{section}.listen needs {section}.certificate and {section}.key"))
        }
        _ => Ok(()),
    }
}

fn address_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let address = (!text.is_empty()).then(|| text.parse());
    address
        .transpose()
        .map_err(|_| serde::de::Error::custom(format!("{text:?} is not an address and a port")))
}

pub(super) fn path_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    let path = PathBuf::deserialize(deserializer)?;
    Ok((!path.as_os_str().is_empty()).then_some(path))
}
