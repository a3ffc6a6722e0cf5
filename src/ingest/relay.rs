//! From the task that receives an object to the blocking thread that writes it.
//!
//! The two overlap, and one thread goes on as long as there is something to write, to the end of
//! the object if that is there by then: to wake a thread takes longer than to write a buffer. When
//! there is nothing to write it ends, so that a peer that stalls holds none.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};

use super::Refused;
use super::outcome::stopped_unexpectedly;
use super::prepare::Intake;
use crate::blobs::Buffer;

/// Buffers of one object that wait to be written; another is being filled and another written.
const WAITING_MAX: usize = 2;

type Ending = Box<dyn FnOnce(Result<Intake, Refused>) + Send>;

enum Load {
    Write(Buffer),
    End(Ending),
}

/// One object on its way.
pub(super) struct Relay(Arc<Lane>);

struct Lane {
    state: Mutex<State>,
    moved: Notify,
}

struct State {
    /// With the thread while there is one.
    intake: Option<Intake>,
    waiting: VecDeque<Load>,
    /// Why nothing more is written.
    refused: Option<Refused>,
}

impl Relay {
    pub(super) fn new(intake: Intake) -> Self {
        let state = State { intake: Some(intake), waiting: VecDeque::new(), refused: None };
        Self(Arc::new(Lane { state: Mutex::new(state), moved: Notify::new() }))
    }

    /// Has the bytes written soon; waits while enough others are.
    ///
    /// # Errors
    /// What came before was refused.
    pub(super) async fn write(&self, bytes: Buffer) -> Result<(), Refused> {
        while self.0.is_full() {
            self.0.moved.notified().await;
        }
        self.0.put(Load::Write(bytes)).map_err(|(_, refused)| refused)
    }

    /// Has `work` done on the thread once everything is written, or with the refusal of it, whether
    /// or not anybody waits for the answer.
    pub(super) fn end<T, F>(self, work: F) -> oneshot::Receiver<Result<T, Refused>>
    where
        T: Send + 'static,
        F: FnOnce(Result<Intake, Refused>) -> Result<T, Refused> + Send + 'static,
    {
        let (tell, told) = oneshot::channel();
        let ending: Ending = Box::new(move |intake| {
            // Nobody may wait any longer.
            let _ = tell.send(work(intake));
        });
        if let Err((Load::End(ending), refused)) = self.0.put(Load::End(ending)) {
            // It blocks.
            tokio::task::spawn_blocking(move || ending(Err(refused)));
        }
        told
    }
}

impl Lane {
    /// What a panicking thread left behind is whole: every change is one step.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_full(&self) -> bool {
        let state = self.state();
        state.refused.is_none() && state.waiting.len() >= WAITING_MAX
    }

    fn put(self: &Arc<Self>, load: Load) -> Result<(), (Load, Refused)> {
        let mut state = self.state();
        if let Some(refused) = state.refused.take() {
            return Err((load, refused));
        }
        state.waiting.push_back(load);
        if let Some(intake) = state.intake.take() {
            let lane = Arc::clone(self);
            tokio::task::spawn_blocking(move || lane.work(intake));
        }
        Ok(())
    }

    fn work(&self, intake: Intake) {
        let worked = catch_unwind(AssertUnwindSafe(|| self.write_all(intake)));
        if let Err(refused) = worked.unwrap_or_else(|_| Err(stopped_unexpectedly())) {
            self.refuse(refused);
        }
    }

    fn write_all(&self, mut intake: Intake) -> Result<(), Refused> {
        loop {
            let mut state = self.state();
            let Some(load) = state.waiting.pop_front() else {
                state.intake = Some(intake);
                return Ok(());
            };
            drop(state);
            self.moved.notify_one();
            match load {
                Load::Write(bytes) => intake = intake.write(bytes.as_ref())?,
                Load::End(ending) => {
                    ending(Ok(intake));
                    return Ok(());
                }
            }
        }
    }

    fn refuse(&self, refused: Refused) {
        let mut state = self.state();
        let waiting = std::mem::take(&mut state.waiting);
        match waiting.into_iter().find_map(Load::ending) {
            Some(ending) => {
                drop(state);
                ending(Err(refused));
            }
            None => state.refused = Some(refused),
        }
        self.moved.notify_one();
    }
}

impl Load {
    fn ending(self) -> Option<Ending> {
        match self {
            Self::End(ending) => Some(ending),
            Self::Write(_) => None,
        }
    }
}
