//! An index that fails when it is told to; what was undone is undone by its engine.

use std::sync::{Arc, Mutex};

use crate::db::{Batch, Db, DbError, Effect, Row, Statement};

/// What comes to nothing, counted from 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Plan {
    #[default]
    Nothing,
    /// A statement, or the commit behind those of a batch: nothing of its batch stands.
    Statement(usize),
    /// A batch that stands, and whose answer is lost.
    Answer(usize),
}

#[derive(Debug, Default)]
struct State {
    plan: Plan,
    statements: usize,
    answers: usize,
}

/// The index as it is, beside one that fails.
pub struct Faulty {
    db: Db,
    state: Mutex<State>,
}

enum Fate {
    Stands,
    /// Before so many of its steps are done.
    Falls(usize),
    StandsUnanswered,
}

impl Db {
    /// The same index, which does as it is told.
    pub(crate) fn faulty(&self) -> (Self, Arc<Faulty>) {
        let faulty = Arc::new(Faulty { db: self.clone(), state: Mutex::default() });
        (Self::Faulty(Arc::clone(&faulty)), faulty)
    }
}

impl Faulty {
    /// Counts from the beginning.
    pub(crate) fn plan(&self, plan: Plan) {
        *self.state.lock().unwrap() = State { plan, ..State::default() };
    }

    /// Whether what was planned has happened.
    pub(crate) fn was_met(&self) -> bool {
        let state = self.state.lock().unwrap();
        match state.plan {
            Plan::Nothing => false,
            Plan::Statement(nth) => nth <= state.statements,
            Plan::Answer(nth) => nth <= state.answers,
        }
    }

    pub(in crate::db) fn inner(&self) -> &Db {
        &self.db
    }

    pub(in crate::db) async fn run(&self, batch: Batch) -> Result<Vec<Effect>, DbError> {
        match self.fate(batch.steps.len() + 1, 1) {
            Fate::Stands => Box::pin(self.db.run(batch)).await,
            Fate::Falls(steps) => Box::pin(self.db.run(broken_behind(batch, steps))).await,
            Fate::StandsUnanswered => {
                Box::pin(self.db.run(batch)).await?;
                Err(DbError::Commit("the connection was cut".to_owned()))
            }
        }
    }

    pub(in crate::db) async fn read(&self, statement: Statement) -> Result<Vec<Row>, DbError> {
        let statement = match self.fate(1, 0) {
            Fate::Stands | Fate::StandsUnanswered => statement,
            Fate::Falls(_) => broken(),
        };
        Box::pin(self.db.read(statement)).await
    }

    fn fate(&self, statements: usize, answers: usize) -> Fate {
        let mut state = self.state.lock().unwrap();
        let before = (state.statements, state.answers);
        state.statements += statements;
        state.answers += answers;
        match state.plan {
            Plan::Statement(nth) if (before.0 + 1..=state.statements).contains(&nth) => {
                Fate::Falls(nth - before.0 - 1)
            }
            Plan::Answer(nth) if nth > before.1 && nth <= state.answers => Fate::StandsUnanswered,
            _ => Fate::Stands,
        }
    }
}

fn broken_behind(mut batch: Batch, steps: usize) -> Batch {
    batch.steps.truncate(steps);
    batch.then(broken())
}

/// Both engines refuse it when it is their turn to run it.
fn broken() -> Statement {
    Statement::named("fault", "select at from what_is_not_there")
}
