//! TLS of associations, as acceptor and as requestor (PS3.15 B.9 and B.12).
//!
//! Certificates come from files and can be read again while the server runs.

use std::io;
use std::sync::{Arc, RwLock};

use tokio::net::TcpStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::transport::Stream;
use crate::config::DimseTls;
use crate::tls::{self, Files, TlsError};

const PEER_CA: &str = "dimse.tls.peer_ca";

/// The server's side of handshakes, and the client's for the nodes that are called; all clones
/// share what was read last.
#[derive(Debug, Clone)]
pub struct Tls(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    files: DimseTls,
    current: RwLock<Current>,
}

#[derive(Debug, Clone)]
struct Current {
    /// None without a certificate.
    server: Option<Arc<ServerConfig>>,
    /// None until somebody is called, where the system's authorities are the ones to trust.
    client: Option<Arc<ClientConfig>>,
}

impl Tls {
    /// # Errors
    /// With the key and the file that cannot be used.
    pub fn load(files: &DimseTls) -> Result<Self, TlsError> {
        let current = RwLock::new(Current::read(files)?);
        Ok(Self(Arc::new(Inner { files: files.clone(), current })))
    }

    /// Reads the files again, for handshakes from now on. An error changes nothing.
    pub fn reload(&self) -> Result<(), TlsError> {
        let read = Current::read(&self.0.files)?;
        *self.0.current.write().unwrap_or_else(std::sync::PoisonError::into_inner) = read;
        Ok(())
    }

    /// The server's side of a handshake.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<Stream> {
        let config = self.current().server;
        let config = config.ok_or_else(|| io::Error::other("there is no certificate"))?;
        let stream = TlsAcceptor::from(config).accept(stream).await?;
        Ok(Stream::Tls(Box::new(stream.into())))
    }

    /// The client's side of a handshake with `host`, a name or an address, which the certificate
    /// must name.
    pub async fn connect(&self, host: &str, stream: TcpStream) -> io::Result<Stream> {
        let config = self.client().map_err(io::Error::other)?;
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let stream = TlsConnector::from(config).connect(name, stream).await?;
        Ok(Stream::Tls(Box::new(stream.into())))
    }

    fn current(&self) -> Current {
        self.0.current.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    fn client(&self) -> Result<Arc<ClientConfig>, TlsError> {
        if let Some(client) = self.current().client {
            return Ok(client);
        }
        // Read under the lock: what a reload has read meanwhile is newer and stays.
        let mut current = self.0.current.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        let client = of(&self.0.files).client(tls::system_authorities(PEER_CA)?)?;
        Ok(Arc::clone(current.client.insert(Arc::new(client))))
    }
}

impl Current {
    fn read(files: &DimseTls) -> Result<Self, TlsError> {
        let server = of(files).server()?.map(Arc::new);
        let authorities = files.peer_ca.as_deref().map(|path| tls::authorities(PEER_CA, path)).transpose()?;
        let client = authorities.map(|authorities| of(files).client(authorities)).transpose()?;
        Ok(Self { server, client: client.map(Arc::new) })
    }
}

fn of(section: &DimseTls) -> Files<'_> {
    Files {
        certificate: ("dimse.tls.certificate", section.certificate.as_deref()),
        key: ("dimse.tls.key", section.key.as_deref()),
        client_ca: ("dimse.tls.client_ca", section.client_ca.as_deref()),
        client_certificates: section.client_certificates,
    }
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
