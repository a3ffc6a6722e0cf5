//! How full the local disk may become.

use serde::Deserialize;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disk {
    warn_below_mb: u64,
    refuse_below_mb: u64,
    accept_above_mb: u64,
}

impl Disk {
    pub fn warn_below_bytes(&self) -> u64 {
        bytes(self.warn_below_mb)
    }

    pub fn refuse_below_bytes(&self) -> u64 {
        bytes(self.refuse_below_mb)
    }

    pub fn accept_above_bytes(&self) -> u64 {
        bytes(self.accept_above_mb)
    }

    pub(super) fn check(&self) -> Result<(), String> {
        match self.accept_above_mb < self.refuse_below_mb {
            true => Err("disk.accept_above_mb must not be less than disk.refuse_below_mb".to_owned()),
            false => Ok(()),
        }
    }
}

fn bytes(megabytes: u64) -> u64 {
    megabytes.saturating_mul(1 << 20)
}
