//! What becomes of the parts of a request, in their order.

use std::collections::VecDeque;

use super::report::{Item, Report};
use crate::http::body::BodyStopped;
use crate::http::error::HttpError;
use crate::http::multipart::PartsError;
use crate::ingest::{Placing, Refused, Stored};

/// What becomes of a part, now or soon.
pub(super) enum Pending {
    Placing(Placing),
    Settled(Item),
}

impl Pending {
    pub(super) fn of(received: Result<Placing, Refused>) -> Self {
        match received {
            Ok(placing) => Self::Placing(placing),
            Err(refused) => Self::Settled(item(Err(refused))),
        }
    }

    pub(super) async fn settled(self) -> Item {
        match self {
            Self::Placing(placing) => item(placing.outcome().await),
            Self::Settled(item) => item,
        }
    }
}

fn item(outcome: Result<Stored, Refused>) -> Item {
    match outcome {
        Ok(stored) => Item::Stored(stored),
        Err(refused) => {
            let reason = refused.refusal.stow_reason();
            tracing::info!(reason, refusal = %refused.refusal, "an object was refused");
            Item::refused(refused)
        }
    }
}

/// The answers in the order of the parts, a bounded number of them still open.
pub(super) struct Answers {
    open: VecDeque<Pending>,
    open_max: usize,
    /// Parts seen, answered or not.
    pub(super) expected: usize,
    report: Report,
}

impl Answers {
    pub(super) fn new(open_max: usize) -> Self {
        Self { open: VecDeque::new(), open_max: open_max.max(1), expected: 0, report: Report::default() }
    }

    /// Waits for the oldest answer when too many are open.
    pub(super) async fn add(&mut self, pending: Pending) {
        self.expected += 1;
        self.open.push_back(pending);
        if self.open.len() >= self.open_max {
            self.settle_oldest().await;
        }
    }

    async fn settle_oldest(&mut self) -> bool {
        let Some(pending) = self.open.pop_front() else { return false };
        self.report.add(pending.settled().await);
        true
    }

    pub(super) async fn finish(mut self) -> Report {
        while self.settle_oldest().await {}
        self.report
    }
}

/// A message of which nothing could be used.
pub(super) fn unreadable(error: &PartsError) -> HttpError {
    match BodyStopped::find(error) {
        Some(stopped) => stopped.into(),
        None => HttpError::bad_request(error),
    }
}
