//! C-GET, PS3.4 C.4.3 and PS3.7 9.1.3: objects to the requestor, over its own association.

use super::progress::{Done, Ended};
use super::{Failure, Retrieval};
use crate::dicom::uid::TransferSyntaxUid;
use crate::dimse::StoreSink;
use crate::dimse::association::Association;
use crate::export::scu::ScuError;
use crate::export::scu::outgoing::{Outgoing, choices};
use crate::query::retrieve::StoredInstance;
use crate::telemetry::metrics::scu as metric;
use crate::ul::UlError;
use crate::ul::command::{self, CommandSet};
use crate::ul::connection::{Contextual, Transport};

const OPERATION: &str = "C-GET";

impl<S: Transport, K: StoreSink> Association<'_, S, K> {
    pub(in crate::dimse) async fn on_get(&mut self, request: Contextual<CommandSet>) -> Result<(), UlError> {
        match self.getting(request.clone()).await {
            Ok((retrieval, ended)) => self.tell_end(OPERATION, &retrieval, ended).await,
            Err(failure) => self.refuse_retrieval(OPERATION, &request, failure).await,
        }
    }

    async fn getting(&mut self, request: Contextual<CommandSet>) -> Result<(Retrieval, Ended), Failure> {
        let mut retrieval = self.retrieval(request).await?;
        while !self.cancelled(retrieval.message_id).await? {
            let Some(instance) = retrieval.instances.next().await? else {
                return Ok((retrieval, Ended::Through));
            };
            let done = self.get_one(retrieval.message_id, &instance).await?;
            retrieval.progress.count(&instance.sop_instance, done);
            self.tell_if_due(&mut retrieval).await?;
        }
        Ok((retrieval, Ended::Cancelled))
    }

    /// What the requestor takes no part of, or what cannot be read, fails alone; but an object that
    /// cannot be read to its end takes the association along.
    async fn get_one(&mut self, message_id: u16, instance: &StoredInstance) -> Result<Done, UlError> {
        let (context_id, object) = match self.open(instance).await {
            Ok(opened) => opened,
            Err(error) => {
                tracing::warn!(instance = %instance.sop_instance, %error, "not given");
                return Ok(Done::Failed);
            }
        };
        let command = object.command.clone();
        let response = self.send_object(message_id, context_id, &command, &mut object.data_set()).await?;
        let status = response.status()?;
        metrics::counter!(metric::STORES, "status" => command::status::label(status)).increment(1);
        Ok(Done::of(status))
    }

    async fn open(&self, instance: &StoredInstance) -> Result<(u8, Outgoing), ScuError> {
        let contexts: Vec<(u8, TransferSyntaxUid)> = self
            .contexts
            .to_send(instance.sop_class.as_str())
            .map(|(id, context)| (id, context.transfer_syntax.clone()))
            .collect();
        let accepted: Vec<TransferSyntaxUid> = contexts.iter().map(|(_, syntax)| syntax.clone()).collect();
        let refused = || ScuError::ClassRefused(instance.sop_class.clone());
        let preferred = self.caller.node.as_ref().map(|node| node.transfer_syntaxes.as_slice());
        if accepted.is_empty() {
            return Err(refused());
        }
        let choices = choices(instance, preferred.unwrap_or_default(), &accepted);
        let object = self.shared.server.source().open(instance, &choices).await?;
        let context = contexts.iter().find(|(_, syntax)| *syntax == object.command.transfer_syntax);
        let (context_id, _) = context.ok_or_else(refused)?;
        Ok((*context_id, object))
    }
}
