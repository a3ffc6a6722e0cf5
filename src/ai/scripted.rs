//! An engine that says what it was told to: for tests of everything above the model.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::{
    AnswerFuture, Call, ContextKind, Cut, Engine, EngineError, ModelIdentity, Progress, PromptSet, Reply,
    Request, Runs, Usage,
};

/// How often a hanging answer looks whether it was cancelled.
const LOOK: Duration = Duration::from_millis(5);

/// What the engine does with one request.
#[derive(Debug)]
pub enum Step {
    /// Fills the last open turn in; those before it are left empty.
    Answer(String),
    /// Fills every open turn in, in their order; words may have been cut.
    Answers(Vec<String>, Option<Cut>),
    Fail(EngineError),
    /// Never answers: ends by cancellation or by the time limit.
    Hang,
}

pub struct ScriptedEngine {
    identity: ModelIdentity,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    steps: VecDeque<Step>,
    /// What follows when the steps are used up.
    otherwise: Option<String>,
    requests: Vec<Request>,
}

impl ScriptedEngine {
    /// Plays the steps one by one; asked once more, the engine is gone.
    pub fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        Self::with(State { steps: steps.into_iter().collect(), ..State::default() })
    }

    /// Gives every request the same answer.
    pub fn always(answer: &str) -> Self {
        Self::with(State { otherwise: Some(answer.to_owned()), ..State::default() })
    }

    pub fn calls(&self) -> usize {
        self.locked(|state| state.requests.len())
    }

    /// What it was asked, in order.
    pub fn requests(&self) -> Vec<Request> {
        self.locked(|state| state.requests.clone())
    }

    /// Asked with the prompts of such models.
    pub fn of(mut self, prompts: PromptSet) -> Self {
        self.identity.prompts = prompts;
        self
    }

    fn with(state: State) -> Self {
        let identity = ModelIdentity {
            name: "scripted".to_owned(),
            version: "1".to_owned(),
            weights_sha256: "0".repeat(64),
            notice: None,
            prompts: PromptSet::default(),
            runs: Runs::Here,
        };
        Self { identity, state: Mutex::new(state) }
    }

    fn next(&self, request: Request) -> Step {
        self.locked(|state| {
            state.requests.push(request);
            let step = state.steps.pop_front();
            step.or_else(|| state.otherwise.clone().map(Step::Answer))
                .unwrap_or(Step::Fail(EngineError::Gone))
        })
    }

    /// The state is whole between any two statements, so a panic elsewhere does not spoil it.
    fn locked<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Engine for ScriptedEngine {
    fn identity(&self) -> &ModelIdentity {
        &self.identity
    }

    fn may_be_told(&self) -> &[ContextKind] {
        &ContextKind::ALL
    }

    fn answer(&self, request: Request, call: Call) -> AnswerFuture<'_> {
        (call.progress)(Progress::Queued);
        let open = request.answers();
        let step = self.next(request);
        Box::pin(async move {
            match step {
                Step::Answer(text) => Ok(Reply { answers: last_of(open, text), usage: Usage::default() }),
                Step::Answers(answers, cut) => {
                    Ok(Reply { answers, usage: Usage { cut, ..Usage::default() } })
                }
                Step::Fail(error) => Err(error),
                Step::Hang => Err(hang(&call).await),
            }
        })
    }
}

fn last_of(open: usize, text: String) -> Vec<String> {
    let mut answers = vec![String::new(); open.saturating_sub(1)];
    answers.push(text);
    answers
}

async fn hang(call: &Call) -> EngineError {
    let cancelled = async {
        while !call.cancel.is_cancelled() {
            tokio::time::sleep(LOOK).await;
        }
    };
    match tokio::time::timeout(call.time_limit, cancelled).await {
        Ok(()) => EngineError::Cancelled,
        Err(_) => EngineError::TimedOut(call.time_limit),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::ai::{Cancel, Form, Priority, Settings, Turn};

    fn call(cancel: &Cancel, time_limit: Duration) -> Call {
        Call { cancel: cancel.clone(), progress: Arc::new(|_| ()), time_limit }
    }

    async fn ask(engine: &ScriptedEngine, call: Call) -> Result<String, EngineError> {
        let turns = vec![Turn::User(vec![]), Turn::Open(Form::Json("{}".into()))];
        let request =
            Request { system: None, turns, settings: Settings::default(), priority: Priority::default() };
        engine.answer(request, call).await.map(|reply| reply.answers.concat())
    }

    #[tokio::test]
    async fn plays_its_steps_and_is_then_gone() {
        let engine = ScriptedEngine::new([Step::Answer("one".into()), Step::Fail(EngineError::Repeating)]);
        let call = call(&Cancel::default(), Duration::from_secs(60));
        assert_eq!(ask(&engine, call.clone()).await.unwrap(), "one");
        assert!(matches!(ask(&engine, call.clone()).await, Err(EngineError::Repeating)));
        assert!(matches!(ask(&engine, call).await, Err(EngineError::Gone)));
        assert_eq!(engine.calls(), 3);
    }

    #[tokio::test]
    async fn a_hanging_answer_ends_by_cancellation_or_time() {
        let engine = ScriptedEngine::new([Step::Hang, Step::Hang]);
        let cancel = Cancel::default();
        let short = ask(&engine, call(&cancel, Duration::from_millis(1))).await;
        assert!(matches!(short, Err(EngineError::TimedOut(_))));
        cancel.cancel();
        assert!(matches!(
            ask(&engine, call(&cancel, Duration::from_secs(60))).await,
            Err(EngineError::Cancelled)
        ));
    }
}
