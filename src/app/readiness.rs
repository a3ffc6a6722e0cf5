//! What the readiness probe hears about the model.

use crate::analysis::Model;
use crate::http::{HookFuture, ProbeOutcome, Readiness};

pub(super) struct ModelReadiness(ProbeOutcome);

impl ModelReadiness {
    pub(super) fn of(model: &Model) -> Self {
        Self(match model {
            Model::Ready(_) => ProbeOutcome::Ready,
            Model::Absent => {
                ProbeOutcome::Degraded("no model configured: studies wait for analysis".to_owned())
            }
        })
    }
}

impl Readiness for ModelReadiness {
    fn probes(&self) -> HookFuture<'_, Vec<(&'static str, ProbeOutcome)>> {
        let probes = vec![("model", self.0.clone())];
        Box::pin(async move { probes })
    }
}
