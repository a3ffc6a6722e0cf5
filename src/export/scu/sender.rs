//! Sends stored instances to one peer, one after the other.

use std::collections::BTreeSet;

use super::association::{Association, MoveOriginator, Peer, ProposedContext, StoreReply, Stream};
use super::outgoing::{self, Source};
use super::{CONTEXTS_MAX, LOOK_AHEAD, ScuError, release};
use crate::dicom::uid::TransferSyntaxUid;
use crate::query::retrieve::StoredInstance;
use crate::telemetry::metrics::scu as metric;
use crate::ul::command;

/// Where stored instances go, and how.
#[derive(Debug, Clone)]
pub struct Destination {
    pub peer: Peer,
    /// What it is to get, most wanted first; then as stored, then what it takes.
    pub transfer_syntaxes: Vec<TransferSyntaxUid>,
    /// Who asked for it, when it is a sub-operation of a C-MOVE.
    pub originator: Option<MoveOriginator>,
}

/// Holds one association at a time, opened when it is needed: again after one broke, and another
/// one where the next instance needs contexts that the standing one has not proposed.
pub struct Sender {
    source: Source,
    destination: Destination,
    association: Option<Association<Stream>>,
}

impl Sender {
    pub fn new(source: Source, destination: Destination) -> Self {
        Self { source, destination, association: None }
    }

    /// Sends an instance. `ahead` are those that will follow, so that one association can be
    /// negotiated for them all.
    ///
    /// # Errors
    /// Nothing was stored, or the peer's answer is not known; a status that says so is no error.
    pub async fn send(
        &mut self,
        instance: &StoredInstance,
        ahead: &[StoredInstance],
    ) -> Result<StoreReply, ScuError> {
        let mut association = self.association_for(instance, ahead).await?;
        let result = self.send_over(&mut association, instance).await;
        match &result {
            Err(error) if !error.spares_association() => association.abort().await,
            _ => self.association = Some(association),
        }
        count(&result);
        result
    }

    async fn send_over(
        &mut self,
        association: &mut Association<Stream>,
        instance: &StoredInstance,
    ) -> Result<StoreReply, ScuError> {
        let accepted = association.accepted(&instance.sop_class);
        if accepted.is_empty() {
            return Err(ScuError::ClassRefused(instance.sop_class.clone()));
        }
        let choices = outgoing::choices(instance, &self.destination.transfer_syntaxes, &accepted);
        let object = self.source.open(instance, &choices).await?;
        let originator = self.destination.originator.as_ref();
        let command = object.command.clone();
        association.store_all(&command, originator, &mut object.data_set()).await
    }

    async fn association_for(
        &mut self,
        instance: &StoredInstance,
        ahead: &[StoredInstance],
    ) -> Result<Association<Stream>, ScuError> {
        let needed = outgoing::contexts(instance, &self.destination.transfer_syntaxes);
        match self.association.take() {
            Some(association) if needed.iter().all(|context| association.has_proposed(context)) => {
                return Ok(association);
            }
            Some(association) => release(association).await,
            None => {}
        }
        let contexts = self.contexts_ahead(needed, ahead);
        Association::connect(&self.destination.peer, &contexts).await
    }

    /// Those that are needed and those of the next instances, up to the first for which there is no
    /// room.
    fn contexts_ahead(&self, needed: Vec<ProposedContext>, ahead: &[StoredInstance]) -> Vec<ProposedContext> {
        let mut contexts: BTreeSet<ProposedContext> = needed.into_iter().collect();
        for instance in ahead.iter().take(LOOK_AHEAD) {
            let before = contexts.clone();
            contexts.extend(outgoing::contexts(instance, &self.destination.transfer_syntaxes));
            if contexts.len() > CONTEXTS_MAX {
                return before.into_iter().collect();
            }
        }
        contexts.into_iter().collect()
    }

    /// Releases the association that stands.
    pub async fn finish(self) {
        if let Some(association) = self.association {
            release(association).await;
        }
    }

    /// Breaks the association off: nobody wants the rest.
    pub async fn abort(self) {
        if let Some(association) = self.association {
            association.abort().await;
        }
    }
}

fn count(result: &Result<StoreReply, ScuError>) {
    let status = match result {
        Ok(reply) => command::status::label(reply.status),
        Err(_) => "none".to_owned(),
    };
    metrics::counter!(metric::STORES, "status" => status).increment(1);
}
