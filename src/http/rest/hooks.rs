//! What the API asks of the rest of the server without knowing it.

use std::future::Future;
use std::pin::Pin;

use crate::audit::Actor;
use crate::dicom::uid::StudyUid;

pub type HookFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Who starts analyses.
pub trait AnalysisRequests: Send + Sync {
    /// Asks for an analysis of what the study holds now; without a pipeline, the one its rules
    /// choose. Asking twice for the same content gives the same analysis.
    fn request_analysis(
        &self,
        study: StudyUid,
        pipeline: Option<String>,
    ) -> HookFuture<'_, Result<AnalysisTicket, AnalysisRefused>>;

    /// Ends an analysis that has no answer yet; asking twice is the same.
    fn cancel_analysis(
        &self,
        analysis: String,
        actor: Actor,
    ) -> HookFuture<'_, Result<AnalysisTicket, AnalysisRefused>>;

    /// Queues what failed or was cancelled again; asking twice is the same.
    fn retry_analysis(
        &self,
        analysis: String,
        actor: Actor,
    ) -> HookFuture<'_, Result<AnalysisTicket, AnalysisRefused>>;
}

/// A promise that an analysis will run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnalysisTicket {
    pub analysis: String,
    pub state: String,
}

#[derive(Debug, thiserror::Error)]
pub enum AnalysisRefused {
    #[error("there is no such study")]
    UnknownStudy,
    #[error("there is no such analysis")]
    UnknownAnalysis,
    #[error("there is no pipeline {0}")]
    UnknownPipeline(String),
    /// Nothing in the study may be analysed; the sentence says why.
    #[error("{0}")]
    NotAnalysable(String),
    /// Its state does not allow it; the sentence says which it is in.
    #[error("{0}")]
    State(String),
    #[error("the request could not be recorded")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Parts of the server that may not be ready, beside index and storage.
pub trait Readiness: Send + Sync {
    /// What this instance does: `all`, `serve` or `worker`.
    fn role(&self) -> &'static str;

    /// Name and state of each.
    fn probes(&self) -> HookFuture<'_, Vec<(&'static str, ProbeOutcome)>>;
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeOutcome {
    Ready,
    /// The server does its work without it; the sentence says what waits.
    Degraded(String),
    /// As degraded, for a while.
    Loading(String),
    /// It has failed, and the server does its work without it.
    Lost(String),
    /// It has failed, and nothing works without it.
    Failed(String),
}
