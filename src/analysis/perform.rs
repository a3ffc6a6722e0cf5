//! The life of one analysis: gather, ask, keep the answer, publish. Every step may run again.

use std::time::Duration;

use tracing::Instrument;

use super::ask::Answered;
use super::control::told;
use super::gather::{GatherError, Gathered, Gatherer};
use super::publish::PublishError;
use super::trigger::Content;
use super::{Analyses, Event};
use crate::ai::prompt::Pipeline;
use crate::ai::{Engine, EngineError};
use crate::blobs;
use crate::causes::chain;
use crate::db::analyses::{self, Pending};
use crate::db::audit::{Actor, Entry, ObjectKind, Outcome};
use crate::db::events::{self, EventKind};
use crate::db::{DbError, audit, studies};
use crate::jobs::Ending;
use crate::telemetry::limits;
use crate::telemetry::metrics::{Timed, analysis as metric};

/// Another process may cancel what this one carries through.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What finds the queue of the model full has not failed, and comes back.
const FULL_PAUSE: Duration = Duration::from_secs(15);
/// What is away, the model service or the objects, is not asked for the same analysis sooner than this.
const AWAY_LEAST: Duration = Duration::from_secs(5);

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
    #[error("digesting the question stopped unexpectedly")]
    Digest(#[source] tokio::task::JoinError),
    /// Somebody cancelled it, or its study was deleted.
    #[error("the analysis is no longer running")]
    Ended,
}

impl PerformError {
    fn is_retryable(&self) -> bool {
        match self {
            Self::Index(_) => true,
            Self::Gather(error) => error.is_retryable(),
            Self::Engine(error) => error.is_retryable(),
            Self::Publish(error) => error.is_retryable(),
            Self::Pipeline(_) | Self::ContentChanged | Self::Provenance(_) => false,
            Self::Digest(_) | Self::Ended => false,
        }
    }
}

fn stage(name: &'static str) -> Timed {
    Timed::by(metrics::histogram!(metric::STAGE_SECONDS, "stage" => name))
}

impl Analyses {
    pub(super) async fn perform(&self, id: &str) -> Ending {
        let performed = loop {
            let entered = self.running.enter(id);
            tokio::select! {
                biased;
                () = entered.token.cancelled() => match self.is_running(id).await {
                    // It was queued and claimed again before it was told to stop.
                    Ok(true) => {}
                    Ok(false) => break Err(PerformError::Ended),
                    Err(error) => break Err(error.into()),
                },
                performed = self.try_perform(id) => break performed,
            }
        };
        if let Err(PerformError::Engine(error)) = &performed {
            error.limit().into_iter().for_each(limits::hit);
        }
        match performed {
            Ok(ending) => ending,
            Err(PerformError::Ended) => Ending::Done(PerformError::Ended.to_string()),
            Err(error @ PerformError::Engine(EngineError::QueueFull(_))) => {
                Ending::Later(FULL_PAUSE, chain(&error))
            }
            // Nothing was tried, so nothing counts as an attempt.
            Err(PerformError::Engine(ref error @ EngineError::Away { again_in, .. })) => {
                self.show_away(id, &chain(error)).await;
                Ending::Later(again_in.max(AWAY_LEAST), chain(error))
            }
            Err(error) if blobs::is_away(&error) => Ending::Later(AWAY_LEAST, chain(&error)),
            Err(error) if error.is_retryable() => Ending::Retry(chain(&error)),
            Err(error) => Ending::Fail(chain(&error)),
        }
    }

    pub(super) async fn is_running(&self, id: &str) -> Result<bool, DbError> {
        let analysis = analyses::pending(&self.parts.db, id).await?;
        Ok(analysis.is_some_and(|analysis| analysis.state == "running"))
    }

    pub(super) async fn failed(&self, id: &str, reason: &str) {
        let analysis = match analyses::pending(&self.parts.db, id).await {
            Ok(Some(analysis)) if analysis.state != "cancelled" => analysis,
            Ok(_) | Err(_) => return,
        };
        let now = self.parts.clock.now();
        let system = Actor::system().in_request(id);
        let entry =
            Entry::new(&system, audit::Action::FailAnalysis).study(&analysis.study).outcome(Outcome::Error);
        let entry = audit::append(&entry.object(ObjectKind::Analysis, id), now);
        let mut fail = analyses::fail(id, reason, now);
        fail.push(entry);
        let detail = serde_json::json!({ "reason": reason });
        let about = events::Event::about(EventKind::AnalysisFailed, &analysis.study, id);
        let event = events::Event { detail: Some(&detail), ..about };
        fail.push(events::append(&event, now));
        if let Err(error) = self.run_batch(fail).await {
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
        let engine = match self.parts.model.engine() {
            Ok(engine) => engine,
            Err(lack) => return self.wait_for_model(&analysis, lack.words()).await,
        };
        self.run_batch(analyses::start(id, self.parts.clock.now())).await?;
        let content = self.content(&analysis).await?;
        let gathering = stage("gather");
        let earlier = analysis.answered.as_ref().map(Answered::of).transpose()?;
        let gathered = self
            .gather(engine.as_ref(), &analysis, &content, earlier.as_ref())
            .instrument(tracing::info_span!("gather"))
            .await?;
        drop(gathering);
        let asking = stage("ask");
        let answered = match earlier {
            Some(earlier) => earlier,
            None => self.answer(engine, &analysis, &gathered).instrument(tracing::info_span!("ask")).await?,
        };
        drop(asking);
        let _publishing = stage("publish");
        // With the answer it was settled which analysis this one supersedes.
        let analysis = analyses::pending(&self.parts.db, id).await?.unwrap_or(analysis);
        self.show_parsing(&analysis).await?;
        let publishing = self.publish(&analysis, content.pipeline, gathered, answered);
        publishing.instrument(tracing::info_span!("publish")).await?;
        tracing::info!(analysis = id, study = %analysis.study, "an analysis is done");
        self.tell(Event::Done { study: analysis.study, analysis: analysis.id });
        Ok(Ending::Done("done".to_owned()))
    }

    /// For an answer that is there already, what it was given for.
    async fn gather(
        &self,
        engine: &dyn Engine,
        analysis: &Pending,
        content: &Content,
        earlier: Option<&Answered>,
    ) -> Result<Gathered, GatherError> {
        let settings = &self.parts.settings;
        let gatherer = Gatherer {
            db: &self.parts.db,
            blobs: &self.parts.blobs,
            settings,
            prompts: earlier.map_or(engine.identity().prompts, |earlier| earlier.provenance.model.prompts),
            earlier: earlier.map(|earlier| &earlier.provenance.reading),
            images_taken: engine.images_max(),
            leaving: engine.pixels_that_leave(),
        };
        gatherer.gather(&analysis.study, content).await
    }

    async fn wait_for_model(&self, analysis: &Pending, why: &'static str) -> Result<Ending, PerformError> {
        let told = told(EventKind::AnalysisWaiting, analysis, self.parts.clock.now());
        self.run_batch(analyses::wait(&analysis.id, why).then(told)).await?;
        let (study, analysis) = (analysis.study.clone(), analysis.id.clone());
        self.tell(Event::Waiting { study, analysis: analysis.clone(), reason: why });
        if self.has_model() {
            // It came while this was written.
            self.queue_again(&analysis).await?;
        }
        Ok(Ending::Done(why.to_owned()))
    }

    /// The objects this analysis is about. If the study has other content by now, another
    /// analysis is queued or will be.
    async fn content(&self, analysis: &Pending) -> Result<Content, PerformError> {
        let pipeline = Pipeline::from_name(&analysis.pipeline)
            .ok_or_else(|| PerformError::Pipeline(analysis.pipeline.clone()))?;
        let members = studies::members(&self.parts.db, &analysis.study).await?;
        let trigger = self.trigger(&analysis.study, &members).await?;
        let by_rules = trigger.sort(members.clone()).contents;
        let by_request = trigger.allowed(members, pipeline);
        let candidates = by_rules.into_iter().filter(|content| content.pipeline == pipeline);
        candidates
            .chain([by_request])
            .find(|content| content.sha256() == analysis.content_sha256)
            .ok_or(PerformError::ContentChanged)
    }
}
