//! C-MOVE, PS3.4 C.4.2 and PS3.7 9.1.4: objects to a third node, over an association of ours.

use std::pin::pin;

use dicom_dictionary_std::tags;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::instances::Instances;
use super::progress::{Done, Ended, PENDING_AT_LEAST};
use super::refusal::Refusal;
use super::{Failure, Retrieval};
use crate::dicom::uid::SopInstanceUid;
use crate::dimse::StoreSink;
use crate::dimse::association::Association;
use crate::export::scu::association::MoveOriginator;
use crate::export::scu::{Destination, ScuError, Sender};
use crate::query::retrieve::StoredInstance;
use crate::ul::UlError;
use crate::ul::command::CommandSet;
use crate::ul::connection::{Contextual, Transport};

const OPERATION: &str = "C-MOVE";
/// After so many associations that broke one after the other, the destination is given up.
const BREAKS_MAX: u32 = 3;

impl<S: Transport, K: StoreSink> Association<'_, S, K> {
    pub(in crate::dimse) async fn on_move(&mut self, request: Contextual<CommandSet>) -> Result<(), UlError> {
        match self.moving(request.clone()).await {
            Ok((retrieval, ended)) => self.tell_end(OPERATION, &retrieval, ended).await,
            Err(failure) => self.refuse_retrieval(OPERATION, &request, failure).await,
        }
    }

    async fn moving(&mut self, request: Contextual<CommandSet>) -> Result<(Retrieval, Ended), Failure> {
        let destination = self.destination(&request.message);
        let mut retrieval = self.retrieval(request).await?;
        let mut mover = Mover::new(Sender::new(self.shared.server.source(), destination?));
        let ended = self.move_all(&mut retrieval, &mut mover).await;
        match &ended {
            Ok(_) => mover.sender.finish().await,
            Err(_) => mover.sender.abort().await,
        }
        Ok((retrieval, ended?))
    }

    fn destination(&self, request: &CommandSet) -> Result<Destination, Refusal> {
        let ae_title = request.text(tags::MOVE_DESTINATION).ok_or(Refusal::Destination)?;
        let node = self.shared.server.directory.destination(&ae_title).ok_or(Refusal::Destination)?;
        let message_id = request.message_id().unwrap_or_default();
        let originator = MoveOriginator { ae_title: self.caller.ae_title.clone(), message_id };
        Ok(Destination { originator: Some(originator), ..node })
    }

    async fn move_all(&mut self, retrieval: &mut Retrieval, mover: &mut Mover) -> Result<Ended, Failure> {
        while !self.cancelled(retrieval.message_id).await? {
            let Some((instance, done)) = self.move_next(retrieval, mover).await? else {
                return Ok(Ended::Through);
            };
            retrieval.progress.count(&instance, done);
            self.tell_if_due(retrieval).await?;
        }
        Ok(Ended::Cancelled)
    }

    /// One sub-operation. The requestor hears that it is going on, and is heard: when it is gone,
    /// the sub-operation is broken off; when it only cancels, the one under way comes to its end.
    async fn move_next(
        &mut self,
        retrieval: &mut Retrieval,
        mover: &mut Mover,
    ) -> Result<Option<(SopInstanceUid, Done)>, Failure> {
        let Some(instance) = retrieval.instances.next().await? else { return Ok(None) };
        let mut clock = interval(PENDING_AT_LEAST);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        clock.reset();
        let (mut is_given_up, message_id) = (false, retrieval.message_id);
        let Retrieval { request, instances, progress, .. } = retrieval;
        let mut sending = pin!(mover.send(&instance, instances));
        loop {
            tokio::select! {
                done = &mut sending => return Ok(Some((instance.sop_instance.clone(), done))),
                given_up = self.given_up(message_id), if !is_given_up => {
                    given_up?;
                    is_given_up = true;
                }
                _ = clock.tick() => {
                    let pending = progress.pending(&request.message, Instant::now())?;
                    self.connection.send_command(request.context_id, &pending).await?;
                }
            }
        }
    }
}

/// Sends, and gives up on a destination that cannot be reached.
struct Mover {
    sender: Sender,
    breaks: u32,
    is_lost: bool,
}

impl Mover {
    fn new(sender: Sender) -> Self {
        Self { sender, breaks: 0, is_lost: false }
    }

    async fn send(&mut self, instance: &StoredInstance, following: &mut Instances) -> Done {
        if self.is_lost {
            return Done::Failed;
        }
        match self.sender.send(instance, following.ahead()).await {
            Ok(reply) => {
                self.breaks = 0;
                Done::of(reply.status)
            }
            Err(error) => self.on_error(instance, &error),
        }
    }

    fn on_error(&mut self, instance: &StoredInstance, error: &ScuError) -> Done {
        tracing::warn!(instance = %instance.sop_instance, %error, "not moved");
        if !error.spares_association() {
            self.breaks += 1;
        }
        self.is_lost = error.is_unreachable() || self.breaks >= BREAKS_MAX;
        Done::Failed
    }
}
