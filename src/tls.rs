//! TLS for everything that speaks it: versions 1.2 and 1.3, and of 1.2 only suites with ephemeral
//! keys and authenticated encryption (BCP 195, PS3.15 B.9 and B.12).
//!
//! Certificates, keys and authorities are PEM files; errors name the key of the configuration.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::rustls::client::WantsClientCert;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{NoClientAuth, VerifierBuilderError, WebPkiClientVerifier, danger};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{
    self, ClientConfig, ConfigBuilder, RootCertStore, ServerConfig, SupportedProtocolVersion,
};

use crate::config::ClientCertificates;

/// PS3.15 B.12.1: nothing before 1.2, and 1.3 where both sides have it.
const VERSIONS: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];

/// Why TLS cannot be set up, by the key of the configuration and its file.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{key} = {} cannot be read: {source}", path.display())]
    Read { key: &'static str, path: PathBuf, source: io::Error },
    #[error("{key} = {} holds no {what} in PEM form", path.display())]
    NoPem { key: &'static str, path: PathBuf, what: &'static str },
    #[error("{key} = {}: {source}", path.display())]
    Refused { key: &'static str, path: PathBuf, source: rustls::Error },
    #[error("{key}: {source}")]
    ClientCa { key: &'static str, source: VerifierBuilderError },
    #[error("the system has no certificate authorities; {key} can name some")]
    NoSystemAuthorities { key: &'static str },
    #[error("TLS cannot be set up: {0}")]
    SetUp(#[from] rustls::Error),
}

/// The files of one side of handshakes, with the keys of the configuration that name them.
#[derive(Debug, Clone, Copy)]
pub struct Files<'a> {
    pub certificate: (&'static str, Option<&'a Path>),
    pub key: (&'static str, Option<&'a Path>),
    pub client_ca: (&'static str, Option<&'a Path>),
    pub client_certificates: ClientCertificates,
}

/// Our certificate with its chain, and its key.
struct Identity<'a> {
    at: (&'static str, &'a Path),
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl<'a> Files<'a> {
    /// The server's side; none without a certificate.
    pub fn server(&self) -> Result<Option<ServerConfig>, TlsError> {
        let Some(identity) = self.identity()? else { return Ok(None) };
        let builder = ServerConfig::builder_with_provider(provider()).with_protocol_versions(VERSIONS)?;
        let builder = builder.with_client_cert_verifier(self.client_verifier()?);
        let config = builder.with_single_cert(identity.chain, identity.key);
        config.map(Some).map_err(refused(identity.at))
    }

    /// The client's side: shows our certificate, where we have one, to servers that ask for it.
    pub fn client(&self, authorities: RootCertStore) -> Result<ClientConfig, TlsError> {
        let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(VERSIONS)?;
        let builder: ConfigBuilder<ClientConfig, WantsClientCert> =
            builder.with_root_certificates(authorities);
        match self.identity()? {
            None => Ok(builder.with_no_client_auth()),
            Some(Identity { at, chain, key }) => {
                builder.with_client_auth_cert(chain, key).map_err(refused(at))
            }
        }
    }

    fn identity(&self) -> Result<Option<Identity<'a>>, TlsError> {
        let ((name, Some(path)), (key_name, Some(key))) = (self.certificate, self.key) else {
            return Ok(None);
        };
        let chain = certificates(name, path)?;
        Ok(Some(Identity { at: (name, path), chain, key: private_key(key_name, key)? }))
    }

    fn client_verifier(&self) -> Result<Arc<dyn danger::ClientCertVerifier>, TlsError> {
        let (key, Some(path)) = self.client_ca else {
            return Ok(Arc::new(NoClientAuth));
        };
        let roots = Arc::new(authorities(key, path)?);
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider());
        let verifier = match self.client_certificates {
            ClientCertificates::Require => verifier,
            ClientCertificates::Request => verifier.allow_unauthenticated(),
        };
        let built = verifier.build().map_err(|source| TlsError::ClientCa { key, source })?;
        Ok(built)
    }
}

fn refused(at: (&'static str, &Path)) -> impl FnOnce(rustls::Error) -> TlsError {
    let (key, path) = (at.0, at.1.to_owned());
    move |source| TlsError::Refused { key, path, source }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
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

fn private_key(name: &'static str, path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let no_key = |_| TlsError::NoPem { key: name, path: path.to_owned(), what: "private key" };
    let key = PrivateKeyDer::from_pem_slice(&bytes(name, path)?).map_err(no_key)?;
    let usable = provider().key_provider.load_private_key(key.clone_key());
    usable.map_err(refused((name, path)))?;
    Ok(key)
}

/// The client's side without a certificate of its own: it trusts the authorities of a file, or
/// those of the system.
pub fn trusting(ca: (&'static str, Option<&Path>)) -> Result<ClientConfig, TlsError> {
    let authorities = match ca {
        (key, Some(path)) => authorities(key, path)?,
        (key, None) => system_authorities(key)?,
    };
    let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(VERSIONS)?;
    Ok(builder.with_root_certificates(authorities).with_no_client_auth())
}

/// For what speaks in the clear alone: nobody is believed.
pub fn trusting_nobody() -> Result<ClientConfig, TlsError> {
    let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(VERSIONS)?;
    Ok(builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

/// The authorities of a file.
pub fn authorities(key: &'static str, path: &Path) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(key, path)? {
        store.add(certificate).map_err(refused((key, path)))?;
    }
    Ok(store)
}

/// Those of the system; `key` could name others.
pub fn system_authorities(key: &'static str) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    let (usable, _) = store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if usable == 0 { Err(TlsError::NoSystemAuthorities { key }) } else { Ok(store) }
}
