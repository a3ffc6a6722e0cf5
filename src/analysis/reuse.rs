//! The same question once more: the answer that was given to it stands, and no model is asked.
//!
//! A question is the same when pictures, words, schema, settings, prompt and model are, by their
//! digests. Where an answer is drawn by chance, none stands for another.

use std::sync::Arc;

use super::Analyses;
use super::ask::{Answered, Provenance};
use super::gather::Gathered;
use super::perform::PerformError;
use crate::ai::digest::Fields;
use crate::ai::prompt::Question;
use crate::ai::{Engine, Usage};
use crate::clock::Timestamp;
use crate::config::AnswerCache;
use crate::db::analyses::{self, Kept};
use crate::ids::hex;
use crate::report::document::Reading;
use crate::report::parse::View;
use crate::telemetry::metrics::model as metric;

/// Changes with whatever else an answer follows from.
const FORM: &str = concat!("radiant answer 1 of ", env!("CARGO_PKG_VERSION"));

/// A question as its answers are looked for; `None` where none stands for another.
pub(super) struct Key(Option<[u8; 32]>);

impl Key {
    /// As of a model, which may have said only in its answer who it is.
    pub(super) fn of(&self, engine: &dyn Engine) -> Option<String> {
        let question = self.0.as_ref()?;
        let key = Fields::of("asked of a model").with(question).with(&engine.identity().digest());
        Some(hex(&key.finish()))
    }
}

impl Analyses {
    pub(super) async fn key(&self, question: &Question, gathered: &Gathered) -> Result<Key, PerformError> {
        let settings = &self.parts.settings;
        if settings.cache == AnswerCache::Off || settings.temperature > 0.0 {
            return Ok(Key(None));
        }
        let (question, views, repairs_max) = (question.clone(), gathered.views(), settings.repairs_max);
        let digested = tokio::task::spawn_blocking(move || digest(&question, &views, repairs_max));
        Ok(Key(Some(digested.await.map_err(PerformError::Digest)?)))
    }

    /// What was answered to the same question, with the provenance of its reuse.
    pub(super) async fn reused(
        &self,
        engine: &Arc<dyn Engine>,
        key: &Key,
        provenance: &Provenance,
    ) -> Result<Option<Answered>, PerformError> {
        let Some(key) = key.of(engine.as_ref()) else { return Ok(None) };
        let since = self.parts.clock.now().minus(self.parts.settings.cache_time());
        let kept = analyses::answer_to(&self.parts.db, &key, since).await?;
        let outcome = if kept.is_some() { "hit" } else { "miss" };
        metrics::counter!(metric::CACHE, "cache" => "answers", "outcome" => outcome).increment(1);
        kept.map(|kept| again(&kept, provenance, self.parts.clock.now())).transpose()
    }
}

/// The kept answer as that of another analysis, which it has cost nothing.
fn again(kept: &Kept, provenance: &Provenance, now: Timestamp) -> Result<Answered, PerformError> {
    let earlier = Answered::of(kept)?;
    let (was, usage) = (earlier.provenance.reading, earlier.provenance.usage);
    let reading = Reading {
        repairs: was.repairs,
        reused_from: Some(earlier.at.rfc3339()),
        ..provenance.reading.clone()
    };
    let usage = Usage { cut: usage.cut, ..Usage::default() };
    let provenance = Provenance { reading, usage, ..provenance.clone() };
    Ok(Answered { answer: earlier.answer, words: earlier.words, provenance, at: now })
}

fn digest(question: &Question, views: &[View], repairs_max: u32) -> [u8; 32] {
    let views: Vec<u8> = views.iter().map(|view| *view as u8).collect();
    let prompt = question.template.sha256.as_bytes();
    let asked = Fields::of(FORM).with(prompt).with(&question.request().digest());
    asked.with(&views).with(&repairs_max.to_le_bytes()).finish()
}
