//! Storage, PS3.4 B and PS3.7 9.1.1.

use dicom_core::Tag;
use dicom_dictionary_std::tags;

use super::association::Association;
use super::outstanding::Placed;
use super::{Placing, StoreSink, metric};
use crate::dicom::uid::UidError;
use crate::ingest::{Body, Received, Refusal, StoreCommand, Stored, Warning};
use crate::ul::UlError;
use crate::ul::command::{CommandSet, status};
use crate::ul::connection::{Contextual, Transport};
use crate::ul::data_set::DataSet;

const SOP_CLASS: &str = "Affected SOP Class UID (0000,0002)";
const SOP_INSTANCE: &str = "Affected SOP Instance UID (0000,1000)";

impl<S: Transport, K: StoreSink> Association<'_, S, K> {
    /// The response leaves only when the object is durable, and the data set is always read to
    /// its end: a refused object does not cost the association.
    pub(super) async fn on_store(&mut self, request: Contextual<CommandSet>) -> Result<(), UlError> {
        let received = match self.store_command(&request) {
            Ok(command) => self.receive(request.context_id, command).await?,
            Err(refusal) => {
                self.skip_data_set(&request).await?;
                Err(refusal)
            }
        };
        match received {
            Ok(placing) => {
                self.outstanding.push(request, placing);
                self.make_room().await
            }
            Err(refusal) => self.respond(&request, Err(refusal)).await,
        }
    }

    pub(super) async fn answer_store(&mut self, placed: Placed) -> Result<(), UlError> {
        let outcome = placed.outcome.map(|stored| success(&stored)).map_err(|refused| refused.refusal);
        self.respond(&placed.request, outcome).await
    }

    async fn respond(
        &mut self,
        request: &Contextual<CommandSet>,
        outcome: Result<u16, Refusal>,
    ) -> Result<(), UlError> {
        if let Err(refusal) = &outcome {
            let instance = request.message.text(tags::AFFECTED_SOP_INSTANCE_UID);
            self.record_refused(refusal.dimse_status(), instance.as_deref()).await;
        }
        let response = self.store_response(&request.message, outcome)?;
        self.connection.send_command(request.context_id, &response).await
    }

    fn store_command(&self, request: &Contextual<CommandSet>) -> Result<StoreCommand, Refusal> {
        let context = self
            .contexts
            .get(request.context_id)
            .map_err(|_| Refusal::CommandMismatch { attribute: SOP_CLASS })?;
        let command = StoreCommand {
            sop_class: uid(&request.message, tags::AFFECTED_SOP_CLASS_UID, SOP_CLASS)?,
            sop_instance: uid(&request.message, tags::AFFECTED_SOP_INSTANCE_UID, SOP_INSTANCE)?,
            transfer_syntax: context.transfer_syntax.clone(),
        };
        match request.message.has_data_set() {
            Ok(true) if context.abstract_syntax == command.sop_class.as_str() => Ok(command),
            Ok(true) => Err(Refusal::CommandMismatch { attribute: SOP_CLASS }),
            _ => Err(Refusal::MissingAttribute("data set")),
        }
    }

    async fn receive(
        &mut self,
        context_id: u8,
        command: StoreCommand,
    ) -> Result<Result<Placing, Refusal>, UlError> {
        let mut data_set = DataSet::new(self.connection, context_id);
        let body = Body::DataSet { reader: &mut data_set, command };
        let received = Received { body, origin: &self.origin, only_study: None };
        let placing = self.shared.server.sink.receive(received, &self.caller.brings_within).await;
        let bytes = data_set.finish(self.shared.server.settings.idle_timeout).await?;
        metrics::counter!(metric::RECEIVED_BYTES).increment(bytes);
        Ok(placing.map_err(|refused| refused.refusal))
    }

    fn store_response(
        &mut self,
        request: &CommandSet,
        outcome: Result<u16, Refusal>,
    ) -> Result<CommandSet, UlError> {
        let status = outcome.as_ref().map_or_else(Refusal::dimse_status, |success| *success);
        metrics::counter!(metric::STORES, "status" => format!("{status:04X}")).increment(1);
        let response = request.response(status)?;
        match outcome {
            Ok(_) => {
                self.counts.stored += 1;
                Ok(response)
            }
            Err(refusal) => {
                self.counts.refused += 1;
                tracing::warn!(status = format_args!("{status:04X}"), "object refused: {refusal}");
                Ok(response.with_error_comment(&refusal.to_string()))
            }
        }
    }
}

/// Success, or a warning about an object that is stored, PS3.4 Table B.2-1.
fn success(stored: &Stored) -> u16 {
    stored.warning().map_or(status::SUCCESS, Warning::code)
}

fn uid<T: std::str::FromStr<Err = UidError>>(
    request: &CommandSet,
    tag: Tag,
    attribute: &'static str,
) -> Result<T, Refusal> {
    let text = request.text(tag).ok_or(Refusal::MissingAttribute(attribute))?;
    text.parse().map_err(|source| Refusal::BadUid { attribute, source })
}
