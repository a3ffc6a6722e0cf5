//! Requests of the API for an analysis, handed to the analyses.

use std::sync::Arc;

use crate::analysis::control::ControlError;
use crate::analysis::{Analyses, RequestError, Ticket};
use crate::audit::Actor;
use crate::dicom::uid::StudyUid;
use crate::http::{AnalysisRefused, AnalysisRequests, AnalysisTicket, HookFuture};

pub(super) struct Requests(pub(super) Arc<Analyses>);

impl AnalysisRequests for Requests {
    fn request_analysis(
        &self,
        study: StudyUid,
        pipeline: Option<String>,
    ) -> HookFuture<'_, Result<AnalysisTicket, AnalysisRefused>> {
        Box::pin(async move {
            let ticket = self.0.request(&study, pipeline.as_deref()).await?;
            Ok(promised(ticket))
        })
    }

    fn cancel_analysis(
        &self,
        analysis: String,
        actor: Actor,
    ) -> HookFuture<'_, Result<AnalysisTicket, AnalysisRefused>> {
        Box::pin(async move { Ok(promised(self.0.cancel(&analysis, &actor).await?)) })
    }

    fn retry_analysis(
        &self,
        analysis: String,
        actor: Actor,
    ) -> HookFuture<'_, Result<AnalysisTicket, AnalysisRefused>> {
        Box::pin(async move { Ok(promised(self.0.retry(&analysis, &actor).await?)) })
    }
}

fn promised(ticket: Ticket) -> AnalysisTicket {
    AnalysisTicket { analysis: ticket.analysis, state: ticket.state }
}

impl From<ControlError> for AnalysisRefused {
    fn from(error: ControlError) -> Self {
        match error {
            ControlError::Unknown => Self::UnknownAnalysis,
            ControlError::State(reason) => Self::State(reason),
            error @ ControlError::Index(_) => Self::Failed(Box::new(error)),
        }
    }
}

impl From<RequestError> for AnalysisRefused {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::UnknownStudy => Self::UnknownStudy,
            RequestError::UnknownPipeline(pipeline) => Self::UnknownPipeline(pipeline),
            RequestError::NotAnalysable(reason) => Self::NotAnalysable(reason),
            error @ RequestError::Index(_) => Self::Failed(Box::new(error)),
        }
    }
}
