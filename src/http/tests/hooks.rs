//! What answers for the rooms above this one.

use super::*;
use crate::audit::Actor;

pub(super) struct Hooks;

impl AnalysisRequests for Hooks {
    fn request_analysis(
        &self,
        _study: StudyUid,
        pipeline: Option<String>,
    ) -> HookFuture<'_, Result<AnalysisTicket, AnalysisRefused>> {
        let ticket = AnalysisTicket { analysis: "a1".into(), state: "queued".into() };
        Box::pin(async { pipeline.map_or(Ok(ticket), |name| Err(AnalysisRefused::UnknownPipeline(name))) })
    }

    fn cancel_analysis(
        &self,
        analysis: String,
        _actor: Actor,
    ) -> HookFuture<'_, Result<AnalysisTicket, AnalysisRefused>> {
        Box::pin(async { Ok(AnalysisTicket { analysis, state: "cancelled".into() }) })
    }

    fn retry_analysis(
        &self,
        _analysis: String,
        _actor: Actor,
    ) -> HookFuture<'_, Result<AnalysisTicket, AnalysisRefused>> {
        Box::pin(async { Err(AnalysisRefused::State("the analysis is done".into())) })
    }
}

impl Readiness for Hooks {
    fn role(&self) -> &'static str {
        "all"
    }

    fn probes(&self) -> HookFuture<'_, Vec<(&'static str, ProbeOutcome)>> {
        let model = ProbeOutcome::Degraded("no model configured".into());
        Box::pin(async { vec![("storage", ProbeOutcome::Ready), ("model", model)] })
    }
}
