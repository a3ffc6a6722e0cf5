//! Objects to a node by C-STORE: many over one association, each in a transfer syntax that the node
//! takes.

use std::time::Duration;

use tokio::time::Instant;

use super::Parts;
use super::courier::{self, Fate, Round, Trouble};
use super::destination::{Destination, NodePeer};
use super::scu::association::Association;
use super::scu::outgoing::Source;
use super::scu::{self, ScuError, Sender};
use super::status;
use crate::causes::chain;
use crate::db::DbError;
use crate::db::exports::Claimed;
use crate::query::retrieve::StoredInstance;
use crate::query::stored_object::ReadError;

/// An association stands this long without anything to send.
const REST: Duration = Duration::from_secs(2);

pub(super) struct DicomCourier<'a> {
    destination: &'a Destination,
    parts: &'a Parts,
    target: scu::Destination,
    sender: Option<Sender>,
    last_sent: Instant,
}

impl<'a> DicomCourier<'a> {
    pub(super) fn new(node: &NodePeer, destination: &'a Destination, parts: &'a Parts) -> Self {
        let target = node.target.clone();
        Self { destination, parts, target, sender: None, last_sent: Instant::now() }
    }

    pub(super) async fn bring(&mut self, rows: &[Claimed]) -> Result<Round, DbError> {
        let mut round = Round::all(rows.len(), &Fate::Untried, None);
        let (mut places, mut instances) = (Vec::new(), Vec::new());
        for (at, row) in rows.iter().enumerate() {
            match courier::stored(self.parts, row).await? {
                Some(instance) => {
                    places.push(at);
                    instances.push(instance);
                }
                None => round.fates[at] = Fate::Gone,
            }
        }
        for (number, at) in places.into_iter().enumerate() {
            let attempts = rows[at].attempts;
            let (fate, trouble) = self.send(&instances[number], &instances[number + 1..], attempts).await;
            round.fates[at] = fate;
            if trouble.is_some() {
                round.trouble = trouble;
                break;
            }
        }
        self.last_sent = Instant::now();
        Ok(round)
    }

    async fn send(
        &mut self,
        instance: &StoredInstance,
        ahead: &[StoredInstance],
        attempts: u32,
    ) -> (Fate, Option<Trouble>) {
        self.destination.turn().await;
        let Parts { db, blobs, decodes, .. } = self.parts;
        let source = || Source { db: db.clone(), blobs: blobs.clone(), decodes: decodes.clone() };
        let sender = self.sender.get_or_insert_with(|| Sender::new(source(), self.target.clone()));
        match sender.send(instance, ahead).await {
            Ok(reply) => (status::fate(reply.status, attempts, instance.size_bytes), None),
            Err(error) => what_of(&error),
        }
    }

    pub(super) async fn ask(&mut self) -> Result<(), Trouble> {
        let trouble = |error: &ScuError| what_of(error).1.unwrap_or_else(|| Trouble::passing(chain(error)));
        let mut association =
            Association::connect(&self.target.peer, &[]).await.map_err(|error| trouble(&error))?;
        let answer = association.echo().await;
        match answer {
            Ok(_) => {
                // Whoever answers is there, however it takes the release.
                let _ = association.release().await;
                Ok(())
            }
            // It took the association but not the question.
            Err(ScuError::ClassRefused(_)) => Ok(()),
            Err(error) => {
                association.abort().await;
                Err(trouble(&error))
            }
        }
    }

    /// Releases an association that has nothing to do.
    pub(super) async fn rest(&mut self) {
        if self.last_sent.elapsed() >= REST {
            self.finish().await;
        }
    }

    pub(super) async fn finish(&mut self) {
        if let Some(sender) = self.sender.take() {
            sender.finish().await;
        }
    }
}

/// What an error means for the object, and for the destination.
fn what_of(error: &ScuError) -> (Fate, Option<Trouble>) {
    let reason = chain(error);
    match error {
        ScuError::ClassRefused(_) | ScuError::ContextRefused { .. } | ScuError::NoCommonSyntax { .. } => {
            (Fate::Refused(reason), None)
        }
        ScuError::Open(ReadError::Gone) => (Fate::Gone, None),
        ScuError::Open(_) | ScuError::Transcode(_) | ScuError::Part10(_) | ScuError::TooManyContexts => {
            (Fate::Failed(reason), None)
        }
        ScuError::Connect { .. } => (Fate::Untried, Some(Trouble::passing(reason))),
        ScuError::Rejected { is_transient: true, .. } => (Fate::Untried, Some(Trouble::passing(reason))),
        ScuError::Rejected { .. } => (Fate::Untried, Some(Trouble::refusal(reason))),
        _ => (Fate::Failed(reason.clone()), Some(Trouble::passing(reason))),
    }
}
