//! The objects of a request: each is received while those before it are still being placed.

use std::collections::VecDeque;
use std::io;

use bytes::Bytes;
use futures::stream::Stream;
use tokio_util::io::StreamReader;

use super::Request;
use super::packaging::DICOM;
use super::report::{Item, Report};
use crate::http::body::{BodyStopped, Inbound};
use crate::http::error::HttpError;
use crate::http::multipart::{Content, PartHead, Parts, PartsError};
use crate::http::negotiation::MediaType;
use crate::ingest::{Body, Placing, Received, Refused, Stored};

impl Request<'_> {
    pub(super) async fn store_single(&self, content: Inbound) -> Report {
        let mut report = Report::default();
        report.add(self.receive(content).await.settled().await);
        report
    }

    /// # Errors
    /// The body is no multipart message at all. Later faults of the message are items of the
    /// report, so that the client learns what was stored before them.
    pub(super) async fn store_parts(&self, content: Inbound, boundary: &str) -> Result<Report, HttpError> {
        let mut parts = Parts::of(content, boundary);
        let mut answers = Answers::new(self.state.settings.parts_in_flight);
        let ended = loop {
            match parts.next().await {
                Ok(Some(_)) if answers.expected == self.state.settings.parts_max => {
                    answers.add(Pending::Settled(Item::too_many_parts())).await;
                    break Ok(());
                }
                Ok(Some(head)) => answers.add(self.store_part(&head, parts.content()).await).await,
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        match (ended, answers.expected) {
            (Err(error), 0) => Err(unreadable(&error)),
            (Ok(()), 0) => Err(HttpError::bad_request("the message has no parts")),
            (Err(error), _) => Ok(answers.finish().await.broken_off(&error)),
            (Ok(()), _) => Ok(answers.finish().await),
        }
    }

    /// A part without Content-Type is of the type that the whole message names (RFC 2387 3.1).
    async fn store_part(&self, head: &PartHead, content: Content<'_>) -> Pending {
        match head.content_type.as_deref().map(MediaType::parse) {
            None => self.receive(content).await,
            Some(Some(media_type)) if media_type.essence == DICOM => self.receive(content).await,
            Some(_) => Pending::Settled(Item::unsupported_media_type()),
        }
    }

    async fn receive<S>(&self, content: S) -> Pending
    where
        S: Stream<Item = io::Result<Bytes>> + Unpin + Send,
    {
        let reader = StreamReader::new(content);
        let received = Received {
            body: Body::Part10(reader),
            origin: &self.origin,
            only_study: self.only_study.as_ref(),
        };
        match self.state.ingest.receive(received).await {
            Ok(placing) => Pending::Placing(placing),
            Err(refused) => Pending::Settled(item(Err(refused))),
        }
    }
}

/// What becomes of a part, now or soon.
enum Pending {
    Placing(Placing),
    Settled(Item),
}

impl Pending {
    async fn settled(self) -> Item {
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
struct Answers {
    open: VecDeque<Pending>,
    open_max: usize,
    /// Parts seen, answered or not.
    expected: usize,
    report: Report,
}

impl Answers {
    fn new(open_max: usize) -> Self {
        Self { open: VecDeque::new(), open_max: open_max.max(1), expected: 0, report: Report::default() }
    }

    /// Waits for the oldest answer when too many are open.
    async fn add(&mut self, pending: Pending) {
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

    async fn finish(mut self) -> Report {
        while self.settle_oldest().await {}
        self.report
    }
}

fn unreadable(error: &PartsError) -> HttpError {
    match BodyStopped::find(error) {
        Some(stopped) => stopped.into(),
        None => HttpError::bad_request(error),
    }
}
