//! What happens on an association while one of its operations runs: the peer gives up on it, and
//! we ask things of the peer in its course.
//!
//! # How a service uses it
//! A service that sends many responses (C-FIND) asks [`Association::cancelled`] before each, and
//! ends with the status Cancel when it says so. One that waits for something else (C-MOVE) waits
//! for [`Association::given_up`] beside it in a `select!`; nothing is lost when that is dropped.
//! C-GET sends each object by [`Association::send_object`] on one of [`super::negotiation::Contexts::to_send`].
//! Errors of the connection are passed on with `?`: they end the association.
//!
//! The peer has given up when it cancelled the message, wants to release the association, or the
//! server stops. In all three cases the service sends its last response and returns.

use dicom_dictionary_std::tags;
use dicom_ul::pdu::Pdu;
use tokio::io::AsyncRead;

use super::StoreSink;
use super::association::Association;
use crate::export::scu::association::store_request;
use crate::ingest::StoreCommand;
use crate::ul::command::{CommandSet, field};
use crate::ul::connection::{Contextual, Transport};
use crate::ul::oddities::Oddity;
use crate::ul::{Fragment, Incoming, MessagePart, UlError};

/// What the peer said while an operation ran.
#[derive(Debug, Default)]
pub(super) struct Meanwhile {
    cancelled: bool,
    pub(super) released: bool,
    /// A request that came early. Nothing behind it is read until it is served.
    pub(super) next: Option<Contextual<CommandSet>>,
}

impl Meanwhile {
    /// Another operation begins: what was said about the last one is over.
    pub(super) fn begin(&mut self) {
        self.cancelled = false;
    }
}

impl<S: Transport, K: StoreSink> Association<'_, S, K> {
    /// Whether the peer has given up on this message, by what has arrived; does not wait.
    pub(super) async fn cancelled(&mut self, message_id: u16) -> Result<bool, UlError> {
        while !self.is_given_up() && self.meanwhile.next.is_none() {
            match self.connection.arrived().await? {
                Some(incoming) => self.refuse_response(incoming, message_id)?,
                None => return Ok(false),
            }
        }
        Ok(self.is_given_up())
    }

    /// Returns when the peer gives up on this message, however long that takes.
    pub(super) async fn given_up(&mut self, message_id: u16) -> Result<(), UlError> {
        let stop = self.shared.stop.clone();
        while !self.is_given_up() {
            if self.meanwhile.next.is_some() {
                stop.cancelled().await;
                break;
            }
            tokio::select! {
                () = stop.cancelled() => {}
                incoming = self.connection.wait() => self.refuse_response(incoming?, message_id)?,
            }
        }
        Ok(())
    }

    fn is_given_up(&self) -> bool {
        self.meanwhile.cancelled || self.meanwhile.released || self.shared.stop.is_cancelled()
    }

    /// A C-STORE sub-operation of the message `running`; the peer's response. A C-CANCEL that
    /// comes meanwhile is kept for [`Self::cancelled`]. `data_set` is read to its end, and a read
    /// that fails costs the association: what the peer has of the object cannot be taken back.
    pub(super) async fn send_object<R: AsyncRead + Unpin>(
        &mut self,
        running: u16,
        context_id: u8,
        object: &StoreCommand,
        data_set: &mut R,
    ) -> Result<CommandSet, UlError> {
        let asked = self.next_message_id();
        let request = store_request(object, asked, None);
        self.connection.send_command(context_id, &request).await?;
        self.connection.send_data_set(context_id, data_set).await?;
        let response = self.response_to(asked, running).await?;
        response.ok_or(UlError::Unexpected("anything but the response to a sub-operation"))
    }

    /// Asks the peer something with a data set that is small, such as the information of an
    /// N-EVENT-REPORT; `request` has a message id of [`Self::next_message_id`]. Nothing when the
    /// peer went on without answering, by a release or a request of its own: its answer may still
    /// come between other messages.
    pub(super) async fn ask(
        &mut self,
        context_id: u8,
        request: CommandSet,
        data_set: &[u8],
    ) -> Result<Option<CommandSet>, UlError> {
        let asked = request.message_id()?;
        self.connection.send_message(context_id, request, data_set).await?;
        self.response_to(asked, 0).await
    }

    /// For requests of ours; the peer numbers its own.
    pub(super) fn next_message_id(&mut self) -> u16 {
        self.last_message_id = self.last_message_id.wrapping_add(1).max(1);
        self.last_message_id
    }

    async fn response_to(&mut self, asked: u16, running: u16) -> Result<Option<CommandSet>, UlError> {
        while !self.meanwhile.released && self.meanwhile.next.is_none() {
            let incoming = self.connection.next().await?;
            if let Some(response) = self.hear(incoming, running)? {
                match response.u16(tags::MESSAGE_ID_BEING_RESPONDED_TO)? {
                    Some(answered) if answered != asked => self.hear_confirmation(&response)?,
                    _ => return Ok(Some(response)),
                }
            }
        }
        Ok(None)
    }

    fn refuse_response(&mut self, incoming: Incoming, running: u16) -> Result<(), UlError> {
        match self.hear(incoming, running)? {
            Some(response) => self.hear_confirmation(&response),
            None => Ok(()),
        }
    }

    /// A report that crossed with a request is confirmed in the course of that: nothing orders the
    /// two (PS3.4 J.3.3).
    fn hear_confirmation(&mut self, response: &CommandSet) -> Result<(), UlError> {
        match response.command_field()? {
            field::N_EVENT_REPORT_RSP => self.on_late_response(response),
            _ => Err(UlError::Unexpected("another's response")),
        }
    }

    /// Takes in what arrived while the message `running` is served; a response is the caller's.
    fn hear(&mut self, incoming: Incoming, running: u16) -> Result<Option<CommandSet>, UlError> {
        match incoming {
            Incoming::Fragment(fragment) => self.hear_fragment(&fragment, running),
            Incoming::Pdu(Pdu::ReleaseRQ) => {
                self.meanwhile.released = true;
                Ok(None)
            }
            Incoming::Pdu(Pdu::AbortRQ { .. }) => Err(UlError::Aborted),
            Incoming::Pdu(_) => Err(UlError::Unexpected("a negotiation PDU within an association")),
        }
    }

    fn hear_fragment(&mut self, fragment: &Fragment, running: u16) -> Result<Option<CommandSet>, UlError> {
        if fragment.part == MessagePart::DataSet {
            return Err(UlError::Unexpected("a data set without its command"));
        }
        let Some(request) = self.assembler.push(fragment)? else {
            return Ok(None);
        };
        match request.message.command_field()? {
            field::C_CANCEL => {
                let cancelled = request.message.u16(tags::MESSAGE_ID_BEING_RESPONDED_TO)?;
                self.meanwhile.cancelled |= cancelled == Some(running);
                Ok(None)
            }
            response if response & field::RESPONSE != 0 => Ok(Some(request.message)),
            _ => {
                if !self.outstanding.allows_several() {
                    self.connection.note(Oddity::EarlyRequest);
                }
                self.meanwhile.next = Some(request);
                Ok(None)
            }
        }
    }
}
