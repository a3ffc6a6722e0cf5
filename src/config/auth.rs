//! Access control.

use std::time::Duration;

use serde::Deserialize;

use super::{GroupRule, Oidc, UngroupedStudies};

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Auth {
    pub mode: AuthMode,
    pub basic: bool,
    pub ungrouped_studies: UngroupedStudies,
    pub groups_of_uploader: bool,
    pub group_rules: Vec<GroupRule>,
    pub issuer: String,
    pub audience: String,
    access_token_s: u64,
    session_idle_h: u64,
    session_max_h: u64,
    pub sessions_max: u32,
    token_recheck_s: u64,
    pub tokens_remembered_max: usize,
    password_remembered_s: u64,
    signing_key_h: u64,
    signing_key_published_h: u64,
    confirmed_s: u64,
    pub password_length_min: usize,
    pub password_bytes_max: usize,
    pub argon2_memory_kib: u32,
    pub argon2_passes: u32,
    pub argon2_lanes: u32,
    pub verifications_max: usize,
    pub verifications_waiting_max: usize,
    pub failures_free: u32,
    pub failures_of_address_free: u32,
    pub failures_of_name_free: u32,
    pub name_slowed_max_s: u64,
    backoff_first_s: u64,
    backoff_max_s: u64,
    failures_forgotten_h: u64,
    pub oidc: Oidc,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthMode {
    On,
    /// Everybody may do everything; on loopback alone.
    Off,
}

impl Auth {
    pub fn access_token(&self) -> Duration {
        Duration::from_secs(self.access_token_s)
    }

    /// A refresh token that is not used for so long is of no use any more.
    pub fn session_idle(&self) -> Duration {
        hours(self.session_idle_h)
    }

    pub fn session_max(&self) -> Duration {
        hours(self.session_max_h)
    }

    pub fn token_recheck(&self) -> Duration {
        Duration::from_secs(self.token_recheck_s)
    }

    pub fn password_remembered(&self) -> Duration {
        Duration::from_secs(self.password_remembered_s)
    }

    pub fn signing_key(&self) -> Duration {
        hours(self.signing_key_h)
    }

    pub fn signing_key_published(&self) -> Duration {
        hours(self.signing_key_published_h)
    }

    /// How long a secret that was shown counts as fresh.
    pub fn confirmed(&self) -> Duration {
        Duration::from_secs(self.confirmed_s)
    }

    pub fn backoff_first(&self) -> Duration {
        Duration::from_secs(self.backoff_first_s)
    }

    pub fn backoff_max(&self) -> Duration {
        Duration::from_secs(self.backoff_max_s)
    }

    pub fn name_slowed_max(&self) -> Duration {
        Duration::from_secs(self.name_slowed_max_s)
    }

    pub fn failures_forgotten(&self) -> Duration {
        hours(self.failures_forgotten_h)
    }

    /// What is wrong, if anything.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        let costs = (8..=1 << 20).contains(&self.argon2_memory_kib)
            && (1..=20).contains(&self.argon2_passes)
            && (1..=16).contains(&self.argon2_lanes)
            && self.argon2_memory_kib >= 8 * self.argon2_lanes;
        if !costs {
            return Err("auth.argon2_memory_kib is 8 per lane to 1048576, passes 1 to 20, lanes 1 to 16");
        }
        if self.issuer.is_empty() || self.audience.is_empty() {
            return Err("auth.issuer and auth.audience must not be empty");
        }
        if !(1..=86_400).contains(&self.access_token_s) {
            return Err("auth.access_token_s must be 1 to 86400");
        }
        if self.session_idle_h == 0 || self.session_max_h == 0 || self.sessions_max == 0 {
            return Err("auth.session_idle_h, session_max_h and sessions_max must be 1 at least");
        }
        if self.signing_key_published_h == 0 || self.signing_key_h <= self.signing_key_published_h {
            return Err(
                "auth.signing_key_h must be more than auth.signing_key_published_h, and that 1 at least",
            );
        }
        if self.signing_key() < self.access_token() {
            return Err("auth.signing_key_h must be more than auth.access_token_s");
        }
        if self.password_length_min < 8 || self.password_bytes_max < self.password_length_min {
            return Err("auth.password_length_min must be 8 at least, and password_bytes_max not less");
        }
        self.oidc.check()
    }
}

fn hours(hours: u64) -> Duration {
    Duration::from_secs(hours.saturating_mul(3600))
}
