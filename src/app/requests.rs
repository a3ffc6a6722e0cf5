//! Requests of the API for an analysis, handed to the analyses.

use std::sync::Arc;

use crate::analysis::{Analyses, RequestError};
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
            Ok(AnalysisTicket { analysis: ticket.analysis, state: ticket.state })
        })
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
