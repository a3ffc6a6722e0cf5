//! What the readiness probe hears about the model.

use crate::ai::Health;
use crate::analysis::{Lack, Model};
use crate::http::{HookFuture, ProbeOutcome, Readiness};

pub(super) struct ModelReadiness(Model);

impl ModelReadiness {
    pub(super) fn of(model: &Model) -> Self {
        Self(model.clone())
    }

    /// Without a model the archive is as ready as with one.
    fn outcome(&self) -> ProbeOutcome {
        match self.0.engine() {
            Ok(engine) => match engine.health() {
                Health::Ready => ProbeOutcome::Ready,
                Health::Degraded(reason) => ProbeOutcome::Degraded(reason),
            },
            Err(lack @ Lack::Loading) => ProbeOutcome::Loading(waits(lack, "")),
            Err(lack @ Lack::Failed(reason)) => ProbeOutcome::Lost(waits(lack, reason)),
            Err(lack @ Lack::Absent) => ProbeOutcome::Degraded(waits(lack, "")),
        }
    }
}

fn waits(lack: Lack<'_>, reason: &str) -> String {
    let of = if reason.is_empty() { String::new() } else { format!(" ({reason})") };
    format!("{}{of}: studies wait for analysis", lack.words())
}

impl Readiness for ModelReadiness {
    fn probes(&self) -> HookFuture<'_, Vec<(&'static str, ProbeOutcome)>> {
        let probes = vec![("model", self.outcome())];
        Box::pin(async move { probes })
    }
}
