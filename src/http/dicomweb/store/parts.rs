//! The objects of a request: each is received while those before it are still being placed.

use std::io;

use bytes::Bytes;
use futures::stream::Stream;
use tokio_util::io::StreamReader;

use super::Request;
use super::answers::{Answers, Pending, unreadable};
use super::packaging::DICOM;
use super::report::{Item, Report};
use crate::http::body::Inbound;
use crate::http::error::HttpError;
use crate::http::limit_hit;
use crate::http::multipart::{Content, PartHead, Parts};
use crate::http::negotiation::MediaType;
use crate::ingest::{Body, Received};

impl Request<'_> {
    pub(super) async fn store_single(&self, content: Inbound) -> Report {
        let mut report = Report::default();
        report.add(self.receive(content).await.settled().await);
        report
    }

    /// # Errors
    /// The body is no multipart message at all. Later faults of the message are items of the
    /// report, so that the client learns what was stored before them.
    pub(super) async fn store_parts(&self, mut parts: Parts) -> Result<Report, HttpError> {
        let mut answers = Answers::new(self.state.settings.parts_in_flight);
        let ended = loop {
            match parts.next().await {
                Ok(Some(_)) if answers.expected == self.state.settings.parts_max => {
                    limit_hit("http.parts_max");
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
        Pending::of(self.ingest.receive(received).await)
    }
}
