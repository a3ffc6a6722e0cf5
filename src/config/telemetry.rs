//! What the server says about itself.

use std::time::Duration;

use serde::Deserialize;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Telemetry {
    measure_every_s: u64,
}

impl Telemetry {
    pub fn measure_every(&self) -> Duration {
        Duration::from_secs(self.measure_every_s.max(1))
    }
}
