//! One study analysed for an evaluation: the whole way that every analysis goes, without a queue.

use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::{Analyses, Ticket};
use crate::ai::ModelIdentity;
use crate::ai::prompt::Pipeline;
use crate::db::{DbError, analyses, results};
use crate::ids::hex;
use crate::jobs::Ending;
use crate::report::evaluation::{Place, Seen};

/// What a model said about a study.
pub struct Evaluated {
    pub seen: Vec<Seen>,
    pub time: Duration,
}

#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {
    #[error("there is no model: model.dir or model.demo names one")]
    NoModel,
    #[error("the analysis is gone")]
    Gone,
    #[error("{0}")]
    Failed(String),
    #[error("a result cannot be read")]
    Json(#[from] serde_json::Error),
    #[error("the index failed")]
    Index(#[from] DbError),
}

impl Analyses {
    pub fn model_identity(&self) -> Option<&ModelIdentity> {
        self.parts.model.engine().ok().map(|engine| engine.identity())
    }

    /// The same for the same images, model, prompt and settings, whichever archive they are in.
    pub async fn evaluation_key(&self, ticket: &Ticket) -> Result<String, EvaluateError> {
        let analysis = analyses::pending(&self.parts.db, &ticket.analysis).await?;
        let analysis = analysis.ok_or(EvaluateError::Gone)?;
        let identity = self.model_identity().ok_or(EvaluateError::NoModel)?;
        let pipeline = Pipeline::from_name(&analysis.pipeline).ok_or(EvaluateError::Gone)?;
        let prompt = identity.prompts.template(pipeline).map(|template| &template.sha256);
        // Every setting counts, also one that makes no difference to an answer.
        let settings = format!("{prompt:?} {:?}", self.parts.settings);
        let identity = serde_json::to_string(identity)?;
        let study = analysis.study.to_string();
        let parts = [&study, &analysis.content_sha256, &analysis.pipeline, &identity, &settings];
        Ok(hex(&Sha256::digest(parts.map(String::as_str).join("\n"))))
    }

    /// Analyses what the ticket is for, now and on this task.
    pub async fn evaluate(&self, ticket: &Ticket) -> Result<Evaluated, EvaluateError> {
        let began = Instant::now();
        let mut attempts = 1;
        loop {
            match self.perform(&ticket.analysis).await {
                Ending::Retry(_) if attempts < self.parts.settings.attempts_max => attempts += 1,
                Ending::Retry(reason) | Ending::Fail(reason) => return Err(EvaluateError::Failed(reason)),
                // The model has as much to do as it takes.
                Ending::Later(pause, _) => tokio::time::sleep(pause).await,
                Ending::Done(_) => break,
            }
        }
        let time = began.elapsed();
        let analysis = results::analysis(&self.parts.db, &ticket.analysis).await?;
        match analysis.ok_or(EvaluateError::Gone)? {
            done if done.state == "done" => Ok(Evaluated { seen: self.seen(&ticket.analysis).await?, time }),
            other => Err(EvaluateError::Failed(other.reason.unwrap_or(other.state))),
        }
    }

    async fn seen(&self, analysis: &str) -> Result<Vec<Seen>, EvaluateError> {
        let findings = results::findings(&self.parts.db, analysis).await?;
        findings.into_iter().map(seen).collect()
    }
}

fn seen(finding: results::Finding) -> Result<Seen, EvaluateError> {
    let sop_instance = finding.sop_instance_uid;
    let region = finding.region.as_deref().map(serde_json::from_str).transpose()?;
    Ok(Seen {
        finding: finding.finding,
        laterality: serde_json::from_value(finding.laterality.into())?,
        certainty: serde_json::from_value(finding.certainty.into())?,
        place: region.map(|region| Place { sop_instance, region }),
    })
}
