//! The writing of one answer: choose, force, and say what has to be read before the next choice.

use candle_core::Tensor;

use super::constrained::Constraint;
use super::repetition;
use super::sampler::Sampler;
use super::tokens::Tokens;
use crate::ai::{Cut, EngineError, Settings};

pub(super) struct Writing {
    constraint: Constraint,
    sampler: Sampler,
    tokens_max: usize,
    answer: Vec<u32>,
    forced: usize,
    cut: Option<Cut>,
}

pub(super) struct Answer {
    pub(super) text: String,
    /// Without the token that ended the turn. The last of them may not have been read yet.
    pub(super) ids: Vec<u32>,
    pub(super) forced: usize,
    pub(super) cut: Option<Cut>,
}

impl Writing {
    pub(super) fn new(constraint: Constraint, tokens_max: usize, settings: &Settings) -> Self {
        let sampler = Sampler::new(settings);
        Self { constraint, sampler, tokens_max, answer: Vec::new(), forced: 0, cut: None }
    }

    /// `logits` follow the prompt. Gives the tokens that the model has to read before it can choose
    /// again; `None` when the answer is complete.
    pub(super) fn begin(
        &mut self,
        logits: &Tensor,
        tokens: &Tokens,
    ) -> Result<Option<Vec<u32>>, EngineError> {
        let opening = self.force()?;
        if opening.is_empty() && !self.constraint.is_complete() {
            return self.go_on(logits, tokens);
        }
        self.unless_complete(opening)
    }

    /// `logits` follow what was given last.
    pub(super) fn go_on(
        &mut self,
        logits: &Tensor,
        tokens: &Tokens,
    ) -> Result<Option<Vec<u32>>, EngineError> {
        let Some(token) = self.choose(logits, tokens)? else { return Ok(None) };
        let mut next = vec![token];
        next.extend(self.force()?);
        self.unless_complete(next)
    }

    /// Tokens so far.
    pub(super) fn len(&self) -> usize {
        self.answer.len()
    }

    pub(super) fn finish(self, tokens: &Tokens) -> Result<Answer, EngineError> {
        let broken = |_| EngineError::Constraint("the answer is not UTF-8".to_owned());
        let bytes = tokens.bytes(&self.answer);
        let text = match &self.constraint {
            // Words may end within a character.
            Constraint::Words(_) => String::from_utf8_lossy(&bytes).into_owned(),
            Constraint::Json(_) => String::from_utf8(bytes).map_err(broken)?,
        };
        self.constraint.holds(&text)?;
        Ok(Answer { text, ids: self.answer, forced: self.forced, cut: self.cut })
    }

    /// `None` when the model ends an answer that is complete.
    fn choose(&mut self, logits: &Tensor, tokens: &Tokens) -> Result<Option<u32>, EngineError> {
        let allowed = self.constraint.allowed()?;
        let token = self.sampler.choose(logits, &allowed)?;
        if tokens.stops().contains(&token) {
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

    fn unless_complete(&mut self, next: Vec<u32>) -> Result<Option<Vec<u32>>, EngineError> {
        if self.constraint.is_complete() {
            return Ok(None);
        }
        self.cut = self.overrun()?;
        Ok(self.cut.is_none().then_some(next))
    }

    /// Words that do not end are ended; JSON that is cut short would be no answer.
    fn overrun(&self) -> Result<Option<Cut>, EngineError> {
        let cut = match () {
            () if self.answer.len() >= self.tokens_max => Cut::Tokens,
            () if repetition::is_looping(&self.answer) => Cut::Repetition,
            () => return Ok(None),
        };
        match (&self.constraint, cut) {
            (Constraint::Words(_), cut) => Ok(Some(cut)),
            (Constraint::Json(_), Cut::Tokens) => Err(EngineError::TokenBudgetSpent(self.tokens_max)),
            (Constraint::Json(_), Cut::Repetition) => Err(EngineError::Repeating),
        }
    }
}
