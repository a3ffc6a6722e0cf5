//! TLS of associations: files and what is asked of peers.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

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
    pub(super) fn check(&self) -> Result<(), &'static str> {
        match (&self.certificate, &self.key) {
            (Some(_), None) => Err("dimse.tls.certificate needs dimse.tls.key"),
            (None, Some(_)) => Err("dimse.tls.key needs dimse.tls.certificate"),
            (None, None) if self.listen.is_some() => {
                Err("dimse.tls.listen needs dimse.tls.certificate and dimse.tls.key")
            }
            _ => Ok(()),
        }
    }

    /// Files that a peer's or our own identity comes from.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let files = [&self.certificate, &self.key, &self.client_ca, &self.peer_ca];
        files.into_iter().filter_map(|file| file.as_deref())
    }
}

fn address_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let address = (!text.is_empty()).then(|| text.parse());
    address
        .transpose()
        .map_err(|_| serde::de::Error::custom(format!("{text:?} is not an address and a port")))
}

fn path_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    let path = PathBuf::deserialize(deserializer)?;
    Ok((!path.as_os_str().is_empty()).then_some(path))
}
