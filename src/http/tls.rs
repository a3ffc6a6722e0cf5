//! HTTPS: handshakes with the certificate that was read last, and HTTP/2 where the client has it.

use std::io;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::server::TlsStream;

use super::limit_hit;
use crate::config::HttpTls;
use crate::tls::{Files, TlsError};

/// RFC 7301, most wanted first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// The server's side of handshakes; all clones share what was read last.
#[derive(Debug, Clone)]
pub struct Https(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    section: HttpTls,
    /// None without a certificate.
    current: RwLock<Option<Arc<ServerConfig>>>,
}

impl Https {
    /// # Errors
    /// With the key and the file that cannot be used.
    pub fn load(section: &HttpTls) -> Result<Self, TlsError> {
        let current = RwLock::new(read(section)?);
        Ok(Self(Arc::new(Inner { section: section.clone(), current })))
    }

    /// Reads the files again, for handshakes from now on. An error changes nothing.
    pub fn reload(&self) -> Result<(), TlsError> {
        let read = read(&self.0.section)?;
        *self.0.current.write().unwrap_or_else(PoisonError::into_inner) = read;
        Ok(())
    }

    pub(super) async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let config = self.0.current.read().unwrap_or_else(PoisonError::into_inner).clone();
        let config = config.ok_or_else(|| io::Error::other("there is no certificate"))?;
        let accepting = TlsAcceptor::from(config).accept(stream);
        let accepted = tokio::time::timeout(self.0.section.handshake_timeout(), accepting).await;
        accepted.inspect_err(|_| limit_hit("http.tls.handshake_timeout_s"))?
    }
}

fn read(section: &HttpTls) -> Result<Option<Arc<ServerConfig>>, TlsError> {
    let files = Files {
        certificate: ("http.tls.certificate", section.certificate.as_deref()),
        key: ("http.tls.key", section.key.as_deref()),
        client_ca: ("http.tls.client_ca", section.client_ca.as_deref()),
        client_certificates: section.client_certificates,
    };
    let config = files.server()?.map(|mut config| {
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        Arc::new(config)
    });
    Ok(config)
}
