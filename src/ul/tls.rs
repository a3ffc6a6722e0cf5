//! TLS by the BCP 195 profiles of PS3.15 B.9 and B.12: versions 1.2 and 1.3, and of 1.2 only
//! suites with ephemeral keys and authenticated encryption.
//!
//! Certificates come from files and can be read again while the server runs.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};

use tokio::net::TcpStream;
use tokio_rustls::rustls::client::WantsClientCert;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::server::{NoClientAuth, VerifierBuilderError, WebPkiClientVerifier, danger};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{
    self, ClientConfig, ConfigBuilder, RootCertStore, ServerConfig, SupportedProtocolVersion,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::transport::Stream;
use crate::config::{ClientCertificates, DimseTls};

/// PS3.15 B.12.1: nothing before 1.2, and 1.3 where both sides have it.
const VERSIONS: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];

const CERTIFICATE: &str = "dimse.tls.certificate";
const KEY: &str = "dimse.tls.key";
const CLIENT_CA: &str = "dimse.tls.client_ca";
const PEER_CA: &str = "dimse.tls.peer_ca";

/// Why TLS cannot be set up, by the key of the configuration and its file.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{key} = {} cannot be read: {source}", path.display())]
    Read { key: &'static str, path: PathBuf, source: io::Error },
    #[error("{key} = {} holds no {what} in PEM form", path.display())]
    NoPem { key: &'static str, path: PathBuf, what: &'static str },
    #[error("{key} = {}: {source}", path.display())]
    Refused { key: &'static str, path: PathBuf, source: rustls::Error },
    #[error("{CLIENT_CA}: {0}")]
    ClientCa(#[from] VerifierBuilderError),
    #[error("the system has no certificate authorities; {PEER_CA} can name some")]
    NoSystemAuthorities,
    #[error("TLS cannot be set up: {0}")]
    SetUp(#[from] rustls::Error),
}

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
        let client = client_config(&self.0.files, system_authorities()?)?;
        Ok(Arc::clone(current.client.insert(client)))
    }
}

impl Current {
    fn read(files: &DimseTls) -> Result<Self, TlsError> {
        let identity = Identity::read(files)?;
        let server = identity.map(|identity| server_config(files, identity)).transpose()?;
        let authorities = files.peer_ca.as_deref().map(|path| authorities(PEER_CA, path)).transpose()?;
        let client = authorities.map(|authorities| client_config(files, authorities)).transpose()?;
        Ok(Self { server, client })
    }
}

/// Our certificate with its chain, and its key.
struct Identity<'a> {
    path: &'a Path,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl<'a> Identity<'a> {
    fn read(files: &'a DimseTls) -> Result<Option<Self>, TlsError> {
        let (Some(path), Some(key)) = (files.certificate.as_deref(), files.key.as_deref()) else {
            return Ok(None);
        };
        let chain = certificates(CERTIFICATE, path)?;
        Ok(Some(Self { path, chain, key: private_key(key)? }))
    }

    fn refused(path: &Path) -> impl FnOnce(rustls::Error) -> TlsError {
        let path = path.to_owned();
        move |source| TlsError::Refused { key: CERTIFICATE, path, source }
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn server_config(files: &DimseTls, identity: Identity<'_>) -> Result<Arc<ServerConfig>, TlsError> {
    let builder = ServerConfig::builder_with_provider(provider()).with_protocol_versions(VERSIONS)?;
    let builder = builder.with_client_cert_verifier(client_verifier(files)?);
    let config = builder.with_single_cert(identity.chain, identity.key);
    Ok(Arc::new(config.map_err(Identity::refused(identity.path))?))
}

fn client_verifier(files: &DimseTls) -> Result<Arc<dyn danger::ClientCertVerifier>, TlsError> {
    let Some(path) = &files.client_ca else {
        return Ok(Arc::new(NoClientAuth));
    };
    let authorities = Arc::new(authorities(CLIENT_CA, path)?);
    let verifier = WebPkiClientVerifier::builder_with_provider(authorities, provider());
    Ok(match files.client_certificates {
        ClientCertificates::Require => verifier.build()?,
        ClientCertificates::Request => verifier.allow_unauthenticated().build()?,
    })
}

/// Shows our certificate, where we have one, to servers that ask for it.
fn client_config(files: &DimseTls, authorities: RootCertStore) -> Result<Arc<ClientConfig>, TlsError> {
    let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(VERSIONS)?;
    let builder: ConfigBuilder<ClientConfig, WantsClientCert> = builder.with_root_certificates(authorities);
    let config = match Identity::read(files)? {
        None => builder.with_no_client_auth(),
        Some(Identity { path, chain, key }) => {
            builder.with_client_auth_cert(chain, key).map_err(Identity::refused(path))?
        }
    };
    Ok(Arc::new(config))
}

fn bytes(key: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::Read { key, path: path.to_owned(), source })
}

fn certificates(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes = bytes(key, path)?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match read {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(TlsError::NoPem { key, path: path.to_owned(), what: "certificate" }),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let no_key = |_| TlsError::NoPem { key: KEY, path: path.to_owned(), what: "private key" };
    let key = PrivateKeyDer::from_pem_slice(&bytes(KEY, path)?).map_err(no_key)?;
    let usable = provider().key_provider.load_private_key(key.clone_key());
    usable.map_err(|source| TlsError::Refused { key: KEY, path: path.to_owned(), source })?;
    Ok(key)
}

fn authorities(key: &'static str, path: &Path) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(key, path)? {
        let refused = |source| TlsError::Refused { key, path: path.to_owned(), source };
        store.add(certificate).map_err(refused)?;
    }
    Ok(store)
}

fn system_authorities() -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    let (usable, _) = store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if usable == 0 { Err(TlsError::NoSystemAuthorities) } else { Ok(store) }
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
