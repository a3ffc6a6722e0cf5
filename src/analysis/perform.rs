//! The life of one analysis: gather, ask, keep the answer, publish. Every step may run again.

use std::sync::Arc;

use tokio::sync::watch;

use super::gather::{GatherError, Gathered, Gatherer};
use super::publish::PublishError;
use super::trigger::Content;
use super::{Analyses, Event, Model, NO_MODEL};
use crate::ai::prompt::{self, Pipeline};
use crate::ai::{self, Call, Cancel, Engine, EngineError, ModelIdentity, Reply, Request, Settings, Usage};
use crate::causes::chain;
use crate::clock::Timestamp;
use crate::db::analyses::{self, Pending};
use crate::db::{DbError, studies};
use crate::jobs::Ending;

#[derive(Debug, thiserror::Error)]
pub(super) enum PerformError {
    #[error("the index failed")]
    Index(#[from] DbError),
    #[error("there is no pipeline {0}")]
    Pipeline(String),
    #[error("the study, or what the rules name of it, has changed since the analysis was queued")]
    ContentChanged,
    #[error("the images could not be prepared")]
    Gather(#[from] GatherError),
    #[error("the model gave no answer")]
    Engine(#[from] EngineError),
    #[error("the results could not be published")]
    Publish(#[from] PublishError),
    #[error("the kept provenance cannot be read")]
    Provenance(#[source] serde_json::Error),
}

impl PerformError {
    fn is_retryable(&self) -> bool {
        match self {
            Self::Index(_) => true,
            Self::Gather(error) => error.is_retryable(),
            Self::Engine(error) => error.is_retryable(),
            Self::Publish(error) => error.is_retryable(),
            Self::Pipeline(_) | Self::ContentChanged | Self::Provenance(_) => false,
        }
    }
}

/// Who answered what, as it is kept with the analysis and written into its results.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub(super) struct Provenance {
    pub model: ModelIdentity,
    pub prompt: String,
    pub prompt_version: String,
    pub prompt_sha256: String,
    pub settings: Settings,
    pub usage: Usage,
}

/// An answer with what is needed to publish it.
pub(super) struct Answered {
    pub text: String,
    pub provenance: Provenance,
    pub started: Timestamp,
    pub at: Timestamp,
}

impl Analyses {
    pub(super) async fn perform(&self, id: &str) -> Ending {
        match self.try_perform(id).await {
            Ok(ending) => ending,
            Err(error) if error.is_retryable() => Ending::Retry(chain(&error)),
            Err(error) => Ending::Fail(chain(&error)),
        }
    }

    pub(super) async fn failed(&self, id: &str, reason: &str) {
        let analysis = match analyses::pending(&self.parts.db, id).await {
            Ok(Some(analysis)) => analysis,
            Ok(None) | Err(_) => return,
        };
        if let Err(error) = self.run_batch(analyses::fail(id, reason, self.parts.clock.now())).await {
            tracing::error!(analysis = id, %error, "the failure of an analysis could not be recorded");
        }
        tracing::warn!(analysis = id, reason, "an analysis failed");
        self.tell(Event::Failed {
            study: analysis.study,
            analysis: id.to_owned(),
            reason: reason.to_owned(),
        });
    }

    async fn try_perform(&self, id: &str) -> Result<Ending, PerformError> {
        let Some(analysis) = analyses::pending(&self.parts.db, id).await? else {
            return Ok(Ending::Done("the analysis is gone".to_owned()));
        };
        if matches!(analysis.state.as_str(), "done" | "cancelled" | "failed") {
            return Ok(Ending::Done(format!("the analysis is {}", analysis.state)));
        }
        let Model::Ready(engine) = &self.parts.model else {
            return self.wait_for_model(&analysis).await;
        };
        self.run_batch(analyses::start(id, self.parts.clock.now())).await?;
        let content = self.content(&analysis).await?;
        let gatherer = Gatherer {
            db: &self.parts.db,
            blobs: &self.parts.blobs,
            volume_bytes_max: usize::try_from(self.parts.settings.volume_bytes_max).unwrap_or(usize::MAX),
        };
        let gathered = gatherer.gather(&analysis.study, &content).await?;
        let answered = self.answer(engine, &analysis, content.pipeline, &gathered).await?;
        // With the answer it was settled which analysis this one supersedes.
        let analysis = analyses::pending(&self.parts.db, id).await?.unwrap_or(analysis);
        self.publish(&analysis, content.pipeline, gathered, answered).await?;
        tracing::info!(analysis = id, study = %analysis.study, "an analysis is done");
        self.tell(Event::Done { study: analysis.study, analysis: analysis.id });
        Ok(Ending::Done("done".to_owned()))
    }

    async fn wait_for_model(&self, analysis: &Pending) -> Result<Ending, PerformError> {
        self.run_batch(analyses::wait(&analysis.id, NO_MODEL)).await?;
        let (study, analysis) = (analysis.study.clone(), analysis.id.clone());
        self.tell(Event::Waiting { study, analysis, reason: NO_MODEL });
        Ok(Ending::Done(NO_MODEL.to_owned()))
    }

    /// The objects this analysis is about. If the study has other content by now, another
    /// analysis is queued or will be.
    async fn content(&self, analysis: &Pending) -> Result<Content, PerformError> {
        let pipeline = Pipeline::from_name(&analysis.pipeline)
            .ok_or_else(|| PerformError::Pipeline(analysis.pipeline.clone()))?;
        let members = studies::members(&self.parts.db, &analysis.study).await?;
        let by_rules = self.trigger().sort(members.clone()).contents;
        let by_request = self.trigger().allowed(members, pipeline);
        let candidates = by_rules.into_iter().filter(|content| content.pipeline == pipeline);
        candidates
            .chain([by_request])
            .find(|content| content.sha256() == analysis.content_sha256)
            .ok_or(PerformError::ContentChanged)
    }

    /// The kept answer of an earlier attempt, or a new one, kept before anything is made of it.
    async fn answer(
        &self,
        engine: &Arc<dyn Engine>,
        analysis: &Pending,
        pipeline: Pipeline,
        gathered: &Gathered,
    ) -> Result<Answered, PerformError> {
        let started = analysis.started_at.unwrap_or(analysis.queued_at);
        if let (Some((text, at)), Some(provenance)) = (&analysis.answered, &analysis.usage) {
            let provenance = serde_json::from_slice(provenance).map_err(PerformError::Provenance)?;
            return Ok(Answered { text: text.clone(), provenance, started, at: *at });
        }
        let images = gathered.images.iter().map(|image| Arc::clone(&image.picture)).collect();
        let mut request = prompt::build(pipeline, images);
        request.settings = self.settings();
        let provenance = self.provenance(engine.identity(), pipeline, &request.settings);
        let reply = self.ask(engine, analysis, request).await?;
        let provenance = Provenance { usage: reply.usage, ..provenance };
        let at = self.parts.clock.now();
        let kept = serde_json::to_vec(&provenance).map_err(PerformError::Provenance)?;
        let inputs = serde_json::to_vec(&inputs(gathered)).map_err(PerformError::Provenance)?;
        self.run_batch(analyses::keep_answer(&analysis.id, &reply.text, kept, inputs, at)).await?;
        Ok(Answered { text: reply.text, provenance, started, at })
    }

    fn settings(&self) -> Settings {
        let settings = &self.parts.settings;
        Settings {
            tokens_max: settings.tokens_max,
            temperature: settings.temperature,
            top_p: None,
            seed: settings.seed,
        }
    }

    fn provenance(&self, model: &ModelIdentity, pipeline: Pipeline, settings: &Settings) -> Provenance {
        let template = pipeline.template();
        Provenance {
            model: model.clone(),
            prompt: template.name.clone(),
            prompt_version: template.version.clone(),
            prompt_sha256: template.sha256.clone(),
            settings: settings.clone(),
            usage: Usage::default(),
        }
    }

    /// Asks the engine, passing its progress on. Dropped midway, it cancels the engine's work.
    async fn ask(
        &self,
        engine: &Arc<dyn Engine>,
        analysis: &Pending,
        request: Request,
    ) -> Result<Reply, PerformError> {
        let (sender, mut stages) = watch::channel(ai::Progress::Queued);
        let cancel = CancelOnDrop(Cancel::default());
        let call = Call {
            cancel: cancel.0.clone(),
            progress: Arc::new(move |stage| {
                sender.send_replace(stage);
            }),
            time_limit: self.parts.settings.time_limit(),
        };
        let mut answer = engine.answer(request, call);
        let mut listening = true;
        loop {
            tokio::select! {
                reply = &mut answer => return Ok(reply?),
                changed = stages.changed(), if listening => {
                    listening = changed.is_ok();
                    let stage = *stages.borrow_and_update();
                    self.show(analysis, stage).await?;
                }
            }
        }
    }

    async fn show(&self, analysis: &Pending, stage: ai::Progress) -> Result<(), PerformError> {
        let (study, id) = (analysis.study.clone(), analysis.id.clone());
        self.tell(Event::Progress { study, analysis: id, stage });
        if worth_noting(stage) {
            self.run_batch(analyses::note_progress(&analysis.id, &sentence(stage))).await?;
        }
        Ok(())
    }
}

struct CancelOnDrop(Cancel);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// Tokens come by the hundred: one in thirty-two is written down.
fn worth_noting(stage: ai::Progress) -> bool {
    !matches!(stage, ai::Progress::Decoded { tokens } if tokens % 32 != 0)
}

fn sentence(stage: ai::Progress) -> String {
    match stage {
        ai::Progress::Queued => "waiting for the model".to_owned(),
        ai::Progress::EncodedImages { done, of } => format!("{done} of {of} images read"),
        ai::Progress::Prefilled { tokens } => format!("prompt of {tokens} tokens read"),
        ai::Progress::Decoded { tokens } => format!("{tokens} tokens written"),
    }
}

/// An image of the prompt, as it is kept with the analysis.
#[derive(serde::Serialize)]
struct Input {
    series: String,
    sop_instance: String,
    frame: Option<u32>,
}

fn inputs(gathered: &Gathered) -> Vec<Input> {
    let references = gathered.images.iter().map(|image| &image.reference);
    references
        .map(|reference| Input {
            series: reference.series.to_string(),
            sop_instance: reference.sop_instance.to_string(),
            frame: reference.frame,
        })
        .collect()
}
