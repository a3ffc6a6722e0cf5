//! The decoding loop: sample, force, feed, until the answer is complete.

use candle_core::Tensor;
use serde::de::IgnoredAny;

use super::cache::Cache;
use super::constrained::Constraint;
use super::model::Model;
use super::repetition;
use super::sampler::Sampler;
use super::watch::Watch;
use crate::ai::{EngineError, Progress, Settings};

pub(super) struct Generation<'a> {
    model: &'a Model,
    constraint: Constraint,
    cache: Cache,
    sampler: Sampler,
    tokens_max: usize,
    watch: &'a Watch<'a>,
    answer: Vec<u32>,
    forced: usize,
}

pub(super) struct Answer {
    pub(super) text: String,
    pub(super) tokens: usize,
    pub(super) forced: usize,
}

impl<'a> Generation<'a> {
    pub(super) fn new(
        model: &'a Model,
        constraint: Constraint,
        cache: Cache,
        settings: &Settings,
        watch: &'a Watch<'a>,
    ) -> Self {
        Self {
            model,
            constraint,
            cache,
            sampler: Sampler::new(settings),
            tokens_max: settings.tokens_max,
            watch,
            answer: Vec::new(),
            forced: 0,
        }
    }

    /// `logits` follow the prompt.
    pub(super) fn run(mut self, mut logits: Tensor) -> Result<Answer, EngineError> {
        let opening = self.force()?;
        if !opening.is_empty() && !self.constraint.is_complete() {
            logits = self.feed(&opening)?;
        }
        while !self.constraint.is_complete() {
            let Some(token) = self.sample(&logits)? else { break };
            let mut next = vec![token];
            next.extend(self.force()?);
            if !self.constraint.is_complete() {
                logits = self.feed(&next)?;
            }
        }
        self.finish()
    }

    /// `None` when the model ends an answer that is complete.
    fn sample(&mut self, logits: &Tensor) -> Result<Option<u32>, EngineError> {
        let allowed = self.constraint.allowed()?;
        let token = self.sampler.choose(logits, &allowed)?;
        if self.model.tokens.stops().contains(&token) {
            return Ok(None);
        }
        self.constraint.accept(token)?;
        self.answer.push(token);
        Ok(Some(token))
    }

    fn force(&mut self) -> Result<Vec<u32>, EngineError> {
        let tokens = self.constraint.forced()?;
        self.forced += tokens.len();
        self.answer.extend(&tokens);
        Ok(tokens)
    }

    fn feed(&mut self, tokens: &[u32]) -> Result<Tensor, EngineError> {
        self.watch.check()?;
        self.check_budget()?;
        let logits = self.model.step(tokens, &mut self.cache, self.watch)?;
        self.watch.report(Progress::Decoded { tokens: self.answer.len() });
        Ok(logits)
    }

    fn check_budget(&self) -> Result<(), EngineError> {
        if self.answer.len() >= self.tokens_max {
            return Err(EngineError::TokenBudgetSpent(self.tokens_max));
        }
        if repetition::is_looping(&self.answer) {
            return Err(EngineError::Repeating);
        }
        Ok(())
    }

    /// A grammar that gave up halfway also counts as having nothing to follow, so the text itself
    /// must be whole JSON.
    fn finish(self) -> Result<Answer, EngineError> {
        let broken = |problem: &str| EngineError::Constraint(format!("the answer is not {problem}"));
        let text = String::from_utf8(self.model.tokens.bytes(&self.answer)).map_err(|_| broken("UTF-8"))?;
        serde_json::from_str::<IgnoredAny>(&text).map_err(|_| broken("whole JSON"))?;
        Ok(Answer { text, tokens: self.answer.len(), forced: self.forced })
    }
}
