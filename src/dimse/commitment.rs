//! Storage Commitment Push Model, PS3.4 J.3: requests of nodes and the reports to them, and the
//! reports of nodes that we asked.

use std::collections::BTreeMap;

use tokio::sync::{mpsc, oneshot};

use super::association::Association;
use super::{StoreSink, metric};
use crate::dicom::commitment::Request;
use crate::export::commitment::{AcceptError, Delivery, ReturnPath};
use crate::export::scu::commitment::{self as wire, Refusal};
use crate::telemetry::limits;
use crate::ul::UlError;
use crate::ul::command::{CommandSet, status};
use crate::ul::connection::{Contextual, Transport};

/// Reports that wait for an association that is busy; their senders wait with them.
const DELIVERIES: usize = 1;

/// Reports that go back on the association that asked.
pub(super) struct Reports {
    path: mpsc::Sender<Delivery>,
    deliveries: mpsc::Receiver<Delivery>,
    /// By our message id: those that the peer has yet to confirm.
    unconfirmed: BTreeMap<u16, oneshot::Sender<u16>>,
}

impl Default for Reports {
    fn default() -> Self {
        let (path, deliveries) = mpsc::channel(DELIVERIES);
        Self { path, deliveries, unconfirmed: BTreeMap::new() }
    }
}

impl Reports {
    /// Waits for the next one; loses nothing when dropped before it is done.
    pub(super) async fn next(&mut self) -> Delivery {
        match self.deliveries.recv().await {
            Some(delivery) => delivery,
            // It stays open as long as we have its other end.
            None => std::future::pending().await,
        }
    }

    /// A response that came between other messages.
    pub(super) fn confirm(&mut self, message_id: u16, response: &CommandSet) -> Result<(), UlError> {
        if let Some(confirmed) = self.unconfirmed.remove(&message_id) {
            // Who waited for it may have gone elsewhere by now.
            let _ = confirmed.send(response.status()?);
        }
        Ok(())
    }
}

/// Why a request is answered with another status than success.
enum NotAccepted {
    Refused(Refusal),
    Failed(AcceptError),
}

impl NotAccepted {
    fn status(&self) -> u16 {
        match self {
            Self::Refused(refusal) => refusal.status(),
            Self::Failed(AcceptError::TooManyOpen) => status::RESOURCE_LIMITATION,
            Self::Failed(AcceptError::Index(_)) => status::PROCESSING_FAILURE,
        }
    }

    fn comment(&self) -> String {
        match self {
            Self::Refused(refusal) => refusal.to_string(),
            Self::Failed(error) => error.to_string(),
        }
    }
}

impl<S: Transport, K: StoreSink> Association<'_, S, K> {
    /// Success means that the request is durable; what is committed is reported later.
    pub(super) async fn on_action(&mut self, asked: Contextual<CommandSet>) -> Result<(), UlError> {
        let outcome = match self.commitment_request(&asked).await? {
            Ok(request) => self.accept_commitment(asked.context_id, &request).await,
            Err(refusal) => Err(NotAccepted::Refused(refusal)),
        };
        let status = outcome.as_ref().map_or_else(NotAccepted::status, |()| status::SUCCESS);
        metrics::counter!(metric::ACTIONS, "status" => format!("{status:04X}")).increment(1);
        if let (Err(NotAccepted::Refused(_)), status::RESOURCE_LIMITATION) = (&outcome, status) {
            limits::hit("commitment.references_max");
        }
        let mut response = asked.message.response(status)?;
        if let Err(not_accepted) = outcome {
            let comment = not_accepted.comment();
            tracing::warn!(status = format_args!("{status:04X}"), "commitment not accepted: {comment}");
            response = response.with_error_comment(&comment);
        }
        self.connection.send_command(asked.context_id, &response).await
    }

    async fn commitment_request(
        &mut self,
        asked: &Contextual<CommandSet>,
    ) -> Result<Result<Request, Refusal>, UlError> {
        let data_set = self.data_set_of(asked).await?;
        let syntax = &self.contexts.get(asked.context_id)?.transfer_syntax;
        let references_max = self.shared.server.commitments.references_max();
        Ok(wire::read_request(&asked.message, data_set.as_deref(), syntax, references_max))
    }

    async fn data_set_of(&mut self, message: &Contextual<CommandSet>) -> Result<Option<Vec<u8>>, UlError> {
        if message.message.has_data_set()? { self.small_data_set(message).await } else { Ok(None) }
    }

    async fn accept_commitment(&self, context_id: u8, request: &Request) -> Result<(), NotAccepted> {
        let commitments = &self.shared.server.commitments;
        let path = ReturnPath { context_id, deliveries: self.reports.path.clone() };
        let path = commitments.same_association().map(|_| path);
        let accepted =
            commitments.accept(&self.caller.ae_title, &self.caller.brings_within, request, path).await;
        let id = accepted.map_err(NotAccepted::Failed)?;
        let (transaction, references) = (&request.transaction, request.references.len());
        tracing::info!(commitment = id, %transaction, references, "storage commitment accepted");
        Ok(())
    }

    /// A report goes out between two messages of the peer, and behind the responses that it waits
    /// for: it may have ears for nothing else.
    pub(super) async fn send_report(&mut self, delivery: Delivery) -> Result<(), UlError> {
        let Delivery { context_id, report, confirmed } = delivery;
        self.settle().await?;
        if confirmed.is_closed() {
            return Ok(());
        }
        let message_id = self.next_message_id();
        let syntax = &self.contexts.get(context_id)?.transfer_syntax;
        let message = wire::report_message(&report, message_id, syntax);
        let (command, data_set) = message.map_err(|error| UlError::Unwritable(error.to_string()))?;
        self.reports.unconfirmed.retain(|_, confirmed| !confirmed.is_closed());
        self.reports.unconfirmed.insert(message_id, confirmed);
        match self.ask(context_id, command, &data_set).await? {
            Some(response) => self.reports.confirm(message_id, &response),
            // The answer may still come, see [`Reports::confirm`].
            None => Ok(()),
        }
    }

    /// What a node says of a request of ours.
    pub(super) async fn on_event_report(&mut self, said: Contextual<CommandSet>) -> Result<(), UlError> {
        let data_set = self.data_set_of(&said).await?;
        let commitments = &self.shared.server.commitments;
        let syntax = &self.contexts.get(said.context_id)?.transfer_syntax;
        let report =
            wire::read_report(&said.message, data_set.as_deref(), syntax, commitments.references_max());
        let (status, comment) = match report {
            Err(refusal) => (refusal.status(), refusal.to_string()),
            Ok(report) => match commitments.record(&self.caller.ae_title, &report).await {
                Ok(()) => (status::SUCCESS, String::new()),
                Err(error) => (error.status(), error.to_string()),
            },
        };
        let mut response = said.message.response(status)?;
        if status != status::SUCCESS {
            tracing::warn!(status = format_args!("{status:04X}"), "report not taken: {comment}");
            response = response.with_error_comment(&comment);
        }
        self.connection.send_command(said.context_id, &response).await
    }
}
