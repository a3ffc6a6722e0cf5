//! An authority of its own for a test, in files.

use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;

use crate::config::DimseTls;

pub(crate) struct Authority {
    dir: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let authority = Self { dir: tempfile::tempdir().unwrap(), issuer };
        std::fs::write(authority.file("ca.pem"), authority.issuer.pem()).unwrap();
        authority
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A certificate for a host in NAME.pem, its key in NAME.key.
    pub(crate) fn issue(&self, name: &str, host: &str) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([host.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(self.file(&format!("{name}.pem")), certificate.pem()).unwrap();
        std::fs::write(self.file(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }

    /// Of a server that shows `name` and asks for no certificate.
    pub(crate) fn server(&self, name: &str) -> DimseTls {
        self.issue(name, "127.0.0.1");
        let certificate = Some(self.file(&format!("{name}.pem")));
        DimseTls { certificate, key: Some(self.file(&format!("{name}.key"))), ..DimseTls::default() }
    }

    /// Of a client that trusts this authority and has nothing to show.
    pub(crate) fn client(&self) -> DimseTls {
        DimseTls { peer_ca: Some(self.file("ca.pem")), ..DimseTls::default() }
    }
}
