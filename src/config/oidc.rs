//! An OpenID Connect provider that people log in at.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::tls::path_or_none;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Oidc {
    pub issuer: String,
    pub client_id: String,
    #[serde(deserialize_with = "path_or_none")]
    pub client_secret_file: Option<PathBuf>,
    #[serde(deserialize_with = "path_or_none")]
    pub ca_file: Option<PathBuf>,
    pub scopes: Vec<String>,
    pub name_claim: String,
    pub roles_claim: String,
    pub roles: Vec<RoleMapping>,
    pub unknown_users: UnknownUsers,
    pub taken_names: TakenNames,
    ask_again_s: u64,
    unasked_max_h: u64,
    timeout_s: u64,
}

/// A value of the claim, and the role that it gives.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoleMapping {
    pub value: String,
    pub role: String,
}

/// People whom the provider knows and we do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnknownUsers {
    Refuse,
    Create,
}

/// People whom the provider knows by the name of an account here that it does not keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TakenNames {
    Refuse,
    /// Only where the provider lets nobody choose the name of another.
    Link,
}

impl Oidc {
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_s)
    }

    /// Within it nobody is asked about twice.
    pub fn ask_again(&self) -> Duration {
        Duration::from_secs(self.ask_again_s)
    }

    /// How long a session lasts about which the provider cannot be asked.
    pub fn unasked_max(&self) -> Duration {
        Duration::from_secs(self.unasked_max_h.saturating_mul(3600))
    }

    /// What is wrong, if anything.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        if self.issuer.is_empty() {
            return Ok(());
        }
        let host = self.issuer.strip_prefix("http://").map(|rest| rest.split(['/', ':']).next());
        let is_near = matches!(host, Some(Some("127.0.0.1" | "localhost")));
        if !(self.issuer.starts_with("https://") || is_near) {
            return Err("auth.oidc.issuer begins with https:// (http:// on this machine alone)");
        }
        if self.client_id.is_empty() || self.timeout_s == 0 {
            return Err("auth.oidc.issuer needs auth.oidc.client_id, and a timeout_s of 1 at least");
        }
        if self.unasked_max_h == 0 {
            return Err("auth.oidc.unasked_max_h is 1 at least");
        }
        if !self.scopes.iter().any(|scope| scope == "openid") {
            return Err("auth.oidc.scopes needs openid");
        }
        Ok(())
    }
}
