//! Retrieval: C-MOVE and C-GET of the patient root and the study root, PS3.4 C.4.2 and C.4.3.
//!
//! What is asked for is counted first and then read page after page while it is being sent, so that
//! a study of any size takes the memory of a page. An instance that cannot be sent fails alone.

mod c_get;
mod c_move;
mod identifier;
mod instances;
mod progress;
mod refusal;

use dicom_dictionary_std::tags;
use tokio::time::Instant;

use self::identifier::Terms;
use self::instances::Instances;
use self::progress::{Ended, Progress};
use self::refusal::Refusal;
use super::association::Association;
use super::services::ServiceClass;
use super::{StoreSink, metric};
use crate::db::DbError;
use crate::dicom::uid::TransferSyntaxUid;
use crate::ul::UlError;
use crate::ul::command::{CommandError, CommandSet};
use crate::ul::connection::{Contextual, Transport};

/// Why there is no proper end.
enum Failure {
    Refused(Refusal),
    /// The association ends as well.
    Broken(UlError),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<DbError> for Failure {
    fn from(error: DbError) -> Self {
        Self::Refused(error.into())
    }
}

impl From<UlError> for Failure {
    fn from(error: UlError) -> Self {
        Self::Broken(error)
    }
}

impl From<CommandError> for Failure {
    fn from(error: CommandError) -> Self {
        Self::Broken(error.into())
    }
}

/// A retrieval that was understood.
struct Retrieval {
    request: Contextual<CommandSet>,
    message_id: u16,
    /// Of the identifier of the last response.
    syntax: TransferSyntaxUid,
    instances: Instances,
    progress: Progress,
}

impl<S: Transport, K: StoreSink> Association<'_, S, K> {
    async fn retrieval(&mut self, request: Contextual<CommandSet>) -> Result<Retrieval, Failure> {
        if !request.message.has_data_set()? {
            return Err(Refusal::NoIdentifier.into());
        }
        let limit = self.shared.server.settings.identifier_bytes_max;
        let bytes = self.small_data_set(&request).await?.ok_or(Refusal::TooLong(limit))?;
        let (terms, syntax) = self.terms(&request)?;
        let selection = identifier::selection(&bytes, &syntax, terms)?;
        self.record_selection(&selection);
        self.record_stands().await.map_err(Refusal::from)?;
        let instances =
            Instances::of(self.shared.server.db.clone(), &selection, self.caller.reach.clone()).await?;
        let progress = Progress::new(instances.count().await?);
        Ok(Retrieval { message_id: request.message.message_id()?, request, syntax, instances, progress })
    }

    fn terms(&self, request: &Contextual<CommandSet>) -> Result<(Terms, TransferSyntaxUid), Failure> {
        let context = self.contexts.get(request.context_id)?;
        let sop_class = request.message.text(tags::AFFECTED_SOP_CLASS_UID);
        let is_of_context = sop_class.is_none_or(|sop_class| sop_class == context.abstract_syntax);
        let model = match context.service {
            ServiceClass::Move(model) | ServiceClass::Get(model) if is_of_context => model,
            _ => return Err(Refusal::SopClass.into()),
        };
        let terms = Terms { model, relational: context.extended.relational };
        Ok((terms, context.transfer_syntax.clone()))
    }

    async fn tell_pending(&mut self, retrieval: &mut Retrieval) -> Result<(), UlError> {
        let pending = retrieval.progress.pending(&retrieval.request.message, Instant::now())?;
        self.connection.send_command(retrieval.request.context_id, &pending).await
    }

    async fn tell_if_due(&mut self, retrieval: &mut Retrieval) -> Result<(), UlError> {
        if retrieval.progress.is_due(Instant::now()) { self.tell_pending(retrieval).await } else { Ok(()) }
    }

    async fn tell_end(
        &mut self,
        operation: &'static str,
        retrieval: &Retrieval,
        ended: Ended,
    ) -> Result<(), UlError> {
        let Retrieval { request, progress, .. } = retrieval;
        self.record_outcome(progress.status(ended), &progress.to_string());
        tell(operation, progress.status(ended), &progress.to_string());
        let last = progress.last(&request.message, ended)?;
        match progress.identifier(&retrieval.syntax) {
            Some(failed) => self.connection.send_message(request.context_id, last, &failed).await,
            None => self.connection.send_command(request.context_id, &last).await,
        }
    }

    async fn refuse_retrieval(
        &mut self,
        operation: &'static str,
        request: &Contextual<CommandSet>,
        failure: Failure,
    ) -> Result<(), UlError> {
        let refusal = match failure {
            Failure::Refused(refusal) => refusal,
            Failure::Broken(error) => return Err(error),
        };
        self.record_outcome(refusal.status(), "refused");
        tell(operation, refusal.status(), &crate::causes::chain(&refusal));
        let response = refusal.response(&request.message)?;
        self.connection.send_command(request.context_id, &response).await
    }
}

fn tell(operation: &'static str, status: u16, how: &str) {
    let status = format!("{status:04X}");
    tracing::info!(status, "{operation}: {how}");
    metrics::counter!(metric::RETRIEVALS, "operation" => operation, "status" => status).increment(1);
}
