//! Asking the model about what was gathered, and keeping what it said before anything is made of it.

use std::sync::Arc;

use tokio::sync::watch;

use super::Analyses;
use super::gather::Gathered;
use super::perform::{LOOK_EVERY, PerformError};
use super::progress::Pace;
use crate::ai::prompt::Question;
use crate::ai::{
    self, Call, Cancel, Engine, EngineError, ModelIdentity, Priority, Reply, Request, Settings, Usage,
};
use crate::clock::Timestamp;
use crate::db::analyses::{self, Kept, NewAnswer, Pending};
use crate::db::audit::{Action, Actor, Entry, ObjectKind, Outcome};
use crate::db::{Batch, audit, worklist};
use crate::report::document::Reading;
use crate::report::parse;

/// Who answered what, as it is kept with the analysis and written into its results.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub(super) struct Provenance {
    pub model: ModelIdentity,
    pub prompt: String,
    pub prompt_version: String,
    pub prompt_sha256: String,
    pub settings: Settings,
    pub usage: Usage,
    #[serde(default)]
    pub reading: Reading,
}

/// An answer with what is needed to publish it.
pub(super) struct Answered {
    /// JSON.
    pub answer: String,
    /// As the model wrote them.
    pub words: Option<String>,
    pub provenance: Provenance,
    pub at: Timestamp,
}

impl Answered {
    /// Of an earlier attempt.
    pub(super) fn of(kept: &Kept) -> Result<Self, PerformError> {
        let provenance = serde_json::from_slice(&kept.provenance).map_err(PerformError::Provenance)?;
        Ok(Self { answer: kept.answer.clone(), words: kept.words.clone(), provenance, at: kept.at })
    }

    /// As a row; other answers are `unused`, and `question` finds it for whoever asks the same.
    fn kept<'a>(
        &'a self,
        unused: Option<Vec<u8>>,
        question: Option<&'a str>,
        gathered: &Gathered,
    ) -> Result<NewAnswer<'a>, PerformError> {
        let json = PerformError::Provenance;
        Ok(NewAnswer {
            answer: &self.answer,
            words: self.words.as_deref(),
            unused,
            provenance: serde_json::to_vec(&self.provenance).map_err(json)?,
            inputs: serde_json::to_vec(&inputs(gathered)).map_err(json)?,
            question_sha256: question,
        })
    }
}

/// What came of one or more conversations.
struct Said {
    answer: String,
    words: Option<String>,
    /// Other answers to the same question.
    unused: Vec<String>,
    usage: Usage,
}

impl Said {
    fn of(reply: Reply, asked_for_words: bool) -> Result<Self, EngineError> {
        let mut answers = reply.answers;
        let answer = answers.pop().ok_or(EngineError::Gone)?;
        let words = answers.into_iter().next().filter(|_| asked_for_words);
        Ok(Self { answer, words, unused: Vec::new(), usage: reply.usage })
    }

    /// Other answers as a JSON list, if there are any.
    fn unused_json(&self) -> Result<Option<Vec<u8>>, PerformError> {
        let unused = (!self.unused.is_empty()).then(|| serde_json::to_vec(&self.unused));
        unused.transpose().map_err(PerformError::Provenance)
    }

    /// Takes the better of two answers; whether that is the new one.
    fn improve(&mut self, reply: Reply, images: &[parse::View]) -> bool {
        self.usage = std::mem::take(&mut self.usage).and(&reply.usage);
        let Some(new) = reply.answers.into_iter().next_back() else { return false };
        let is_better = parse::contradictions(&new, images).is_ok_and(|left| {
            parse::contradictions(&self.answer, images).is_ok_and(|had| left.len() < had.len())
        });
        let other = if is_better { std::mem::replace(&mut self.answer, new) } else { new };
        self.unused.push(other);
        is_better
    }
}

impl Analyses {
    /// The answer, kept before anything is made of it: a new one, unless the same was answered before.
    pub(super) async fn answer(
        &self,
        engine: &Arc<dyn Engine>,
        analysis: &Pending,
        gathered: &Gathered,
    ) -> Result<Answered, PerformError> {
        let priority = Priority::from_number(worklist::priority(&self.parts.db, &analysis.study).await?);
        let question = self.question(engine.as_ref(), gathered, priority);
        let provenance = provenance(engine.identity(), &question, gathered);
        let key = self.key(&question, gathered).await?;
        if let Some(reused) = self.reused(engine, &key, &provenance).await? {
            // Found once more is the first answer: its age counts.
            let keep = reused.kept(None, None, gathered)?;
            self.run_batch(analyses::keep_answer(&analysis.id, keep, reused.at)).await?;
            return Ok(reused);
        }
        let use_of_model = use_of_model(&provenance);
        self.run_batch(self.used(analysis, Outcome::Begun, &use_of_model)).await?;
        let said = match self.converse(engine, analysis, &question, &gathered.views()).await {
            Ok(said) => said,
            Err(error) => {
                self.run_batch(self.used(analysis, Outcome::Error, &use_of_model)).await?;
                return Err(error);
            }
        };
        let reading = Reading { repairs: said.unused.len(), ..provenance.reading };
        // A service may have named its model only now.
        let model = engine.identity().clone();
        let provenance = Provenance { model, usage: said.usage.clone(), reading, ..provenance };
        let at = self.parts.clock.now();
        let unused = said.unused_json()?;
        let answered = Answered { answer: said.answer, words: said.words, provenance, at };
        let question = key.of(engine.as_ref());
        let mut keep =
            analyses::keep_answer(&analysis.id, answered.kept(unused, question.as_deref(), gathered)?, at);
        keep.append(self.used(analysis, Outcome::Success, &use_of_model));
        self.run_batch(keep).await?;
        Ok(answered)
    }

    fn question(&self, engine: &dyn Engine, gathered: &Gathered, priority: Priority) -> Question {
        let settings = &self.parts.settings;
        Question {
            template: gathered.template,
            images: gathered.pictures(),
            focus: gathered.focus,
            language: settings.language,
            context: gathered.context.clone().only(engine.may_be_told()),
            settings: Settings {
                tokens_max: settings.tokens_max,
                text_tokens_max: settings.text_tokens_max,
                temperature: settings.temperature,
                top_p: None,
                seed: settings.seed,
            },
            priority,
        }
    }

    /// The question, and once more with what is wrong about the answer, as often as configured.
    async fn converse(
        &self,
        engine: &Arc<dyn Engine>,
        analysis: &Pending,
        question: &Question,
        images: &[parse::View],
    ) -> Result<Said, PerformError> {
        let reply = self.ask(engine, analysis, question.request()).await?;
        let mut said = Said::of(reply, question.template.asks_for_words())?;
        for _ in 0..self.parts.settings.repairs_max {
            // What cannot be read at all is refused when the report is made.
            let contradictions = parse::contradictions(&said.answer, images).unwrap_or_default();
            let again = question.again(said.words.as_deref(), &said.answer, &contradictions);
            let Some(again) = again.filter(|_| !contradictions.is_empty()) else { break };
            match self.ask(engine, analysis, again).await {
                Ok(reply) => match said.improve(reply, images) {
                    true => {}
                    false => break,
                },
                // The first answer stands, with its contradictions flagged.
                Err(PerformError::Engine(error)) => {
                    tracing::warn!(analysis = %analysis.id, %error, "an answer could not be asked for again");
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(said)
    }

    /// That a model is shown a study, and what came of it.
    fn used(&self, analysis: &Pending, outcome: Outcome, detail: &str) -> Batch {
        let system = Actor::system().in_request(&analysis.id);
        let entry = Entry::new(&system, Action::RunModel).study(&analysis.study).outcome(outcome);
        let entry = entry.object(ObjectKind::Analysis, &analysis.id).detail(detail);
        Batch::new().then(audit::append(&entry, self.parts.clock.now()))
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
        let (mut listening, mut pace) = (true, Pace::default());
        let mut look = tokio::time::interval(LOOK_EVERY);
        loop {
            tokio::select! {
                reply = &mut answer => return Ok(reply?),
                changed = stages.changed(), if listening => {
                    listening = changed.is_ok();
                    let stage = *stages.borrow_and_update();
                    self.show(analysis, stage, &mut pace).await?;
                }
                _ = look.tick() => if !self.is_running(&analysis.id).await? {
                    return Err(PerformError::Ended);
                }
            }
        }
    }
}

fn provenance(model: &ModelIdentity, question: &Question, gathered: &Gathered) -> Provenance {
    let template = question.template;
    Provenance {
        model: model.clone(),
        prompt: template.name.clone(),
        prompt_version: template.version.clone(),
        prompt_sha256: template.sha256.clone(),
        settings: question.settings.clone(),
        usage: Usage::default(),
        reading: Reading {
            language: question.language.tag.to_owned(),
            context: question.context.kinds(),
            focus: question.focus.map(|focus| focus.name.clone()),
            repairs: 0,
            images: gathered.images.len(),
            prior: gathered.prior.as_ref().map(|prior| prior.study.clone()),
            reused_from: None,
        },
    }
}

/// By which model and which prompt.
fn use_of_model(provenance: &Provenance) -> String {
    let Provenance { model, prompt, prompt_version, prompt_sha256, .. } = provenance;
    format!("model {} {}, prompt {prompt} {prompt_version} sha256 {prompt_sha256}", model.name, model.version)
}

struct CancelOnDrop(Cancel);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// An image of the prompt, as it is kept with the analysis.
#[derive(serde::Serialize)]
struct Input {
    /// Of an image of another study.
    #[serde(skip_serializing_if = "Option::is_none")]
    study: Option<String>,
    series: String,
    sop_instance: String,
    frame: Option<u32>,
}

fn inputs(gathered: &Gathered) -> Vec<Input> {
    let input = |reference: &crate::report::document::ImageReference| Input {
        study: (reference.study != gathered.subject.study.uid).then(|| reference.study.to_string()),
        series: reference.series.to_string(),
        sop_instance: reference.sop_instance.to_string(),
        frame: reference.frame,
    };
    let prior = gathered.prior.iter().flat_map(|prior| &prior.study.images);
    prior.chain(gathered.images.iter().map(|image| &image.reference)).map(input).collect()
}
