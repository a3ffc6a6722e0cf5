//! How far an analysis has come, for those who watch and in the reason of its row.

use std::time::Duration;

use serde_json::{Value, json};

use super::perform::PerformError;
use super::{Analyses, Event};
use crate::ai::Progress;
use crate::clock::Timestamp;
use crate::db::analyses::{self, Pending};
use crate::db::events::{self, EventKind};
use crate::db::{Batch, DbError};

/// Tokens come many times a second: they are told this often.
const TOKENS_EVERY: Duration = Duration::from_millis(500);

/// What was told last of one analysis.
#[derive(Default)]
pub(super) struct Pace {
    tokens_at: Option<Timestamp>,
}

impl Pace {
    /// Whether a stage is worth a row, at this time.
    fn lets(&mut self, stage: Progress, now: Timestamp) -> bool {
        if !matches!(stage, Progress::Decoded { .. }) {
            return true;
        }
        let due = self.tokens_at.is_none_or(|at| now.since(at) >= TOKENS_EVERY);
        if due {
            self.tokens_at = Some(now);
        }
        due
    }
}

impl Analyses {
    /// # Errors
    /// [`PerformError::Ended`] when the analysis is no longer running: somebody cancelled it, or
    /// its study was deleted.
    pub(super) async fn show(
        &self,
        analysis: &Pending,
        stage: Progress,
        pace: &mut Pace,
    ) -> Result<(), PerformError> {
        let (study, id) = (analysis.study.clone(), analysis.id.clone());
        self.tell(Event::Progress { study, analysis: id, stage });
        let now = self.parts.clock.now();
        if !pace.lets(stage, now) {
            return Ok(());
        }
        let settings = &self.parts.settings;
        let (kind, detail) = described(stage, settings.tokens_max.max(settings.text_tokens_max));
        self.note(analysis, &sentence(stage), kind, Some(&detail), now).await
    }

    /// The answer is there; the report is being made.
    pub(super) async fn show_parsing(&self, analysis: &Pending) -> Result<(), PerformError> {
        let now = self.parts.clock.now();
        self.note(analysis, "making the report", EventKind::AnalysisParsing, None, now).await
    }

    /// The analysis is put back until the model service is there; whoever looks sees why.
    pub(super) async fn show_away(&self, id: &str, reason: &str) {
        let noted = Batch::new().then(analyses::note_progress(id, reason));
        if let Err(error) = self.run_batch(noted).await {
            tracing::warn!(analysis = id, %error, "what an analysis waits for could not be noted");
        }
    }

    async fn note(
        &self,
        analysis: &Pending,
        sentence: &str,
        kind: EventKind,
        detail: Option<&Value>,
        now: Timestamp,
    ) -> Result<(), PerformError> {
        let event = events::Event { detail, ..events::Event::about(kind, &analysis.study, &analysis.id) };
        let batch = Batch::new()
            .then_exactly(1, analyses::note_progress(&analysis.id, sentence))
            .then(events::append(&event, now));
        match self.run_batch(batch).await {
            Err(DbError::Affected { .. }) => Err(PerformError::Ended),
            other => Ok(other?),
        }
    }
}

fn described(stage: Progress, tokens_max: usize) -> (EventKind, Value) {
    match stage {
        Progress::Queued => (EventKind::AnalysisLoading, json!({ "stage": "waiting-for-model" })),
        Progress::Waiting { ahead } => {
            (EventKind::AnalysisLoading, json!({ "stage": "waiting-for-model", "ahead": ahead }))
        }
        Progress::EncodedImages { done, of } => (
            EventKind::AnalysisLoading,
            json!({ "stage": "images", "done": done, "of": of, "percent": percent(done, of) }),
        ),
        Progress::Prefilled { tokens } => {
            (EventKind::AnalysisLoading, json!({ "stage": "prompt", "prompt_tokens": tokens }))
        }
        Progress::Decoded { tokens } => {
            (EventKind::AnalysisTokens, json!({ "tokens": tokens, "tokens_max": tokens_max }))
        }
    }
}

fn percent(done: usize, of: usize) -> usize {
    done.saturating_mul(100).checked_div(of).unwrap_or(100)
}

fn sentence(stage: Progress) -> String {
    match stage {
        Progress::Queued | Progress::Waiting { ahead: 0 } => "waiting for the model".to_owned(),
        Progress::Waiting { ahead } => format!("waiting for the model behind {ahead}"),
        Progress::EncodedImages { done, of } => format!("{done} of {of} images read"),
        Progress::Prefilled { tokens } => format!("prompt of {tokens} tokens read"),
        Progress::Decoded { tokens } => format!("{tokens} tokens written"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_told_now_and_then_and_everything_else_always() {
        let mut pace = Pace::default();
        let mut lets = |stage, ms: i64| pace.lets(stage, Timestamp(ms * 1000));
        let tokens = Progress::Decoded { tokens: 1 };
        assert!(lets(tokens, 0) && !lets(tokens, 499) && lets(tokens, 500));
        assert!(lets(Progress::Queued, 501) && !lets(tokens, 502));
    }

    #[test]
    fn images_are_counted_in_percent() {
        let (kind, detail) = described(Progress::EncodedImages { done: 1, of: 4 }, 9);
        assert_eq!((kind, &detail["percent"]), (EventKind::AnalysisLoading, &json!(25)));
    }
}
