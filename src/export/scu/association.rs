//! An association as its requestor: C-ECHO and C-STORE, one message at a time.

use std::time::Duration;

use bytes::BytesMut;
use dicom_dictionary_std::{tags, uids};
use dicom_ul::pdu::{
    AbortRQSource, AssociationAC, AssociationRQ, Pdu, PresentationContextProposed,
    PresentationContextResultReason as ContextResult, UserVariableItem,
};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::part10::Part10;
use super::{CONTEXTS_MAX, ScuError};
use crate::dicom::uid::{
    IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME, SopClassUid, TransferSyntaxUid,
};
use crate::ingest::StoreCommand;
use crate::ul::command::{CommandAssembler, CommandSet, field, status};
use crate::ul::connection::{Connection, Transport, maximum_length, put_p_data_header};
use crate::ul::{Incoming, MessagePart, UlError};

const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
/// A response may have to wait for the peer's disk.
const PATIENCE: Duration = Duration::from_secs(60);
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);
/// The peer sends us nothing but short responses.
const PDU_BYTES_MAX: u32 = 16 << 10;
const MEDIUM_PRIORITY: u16 = 0;

/// Whom to call, and as whom.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Host and port.
    pub address: String,
    pub called_aet: String,
    pub calling_aet: String,
}

/// One presentation context with a single transfer syntax.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProposedContext {
    pub sop_class: SopClassUid,
    pub transfer_syntax: TransferSyntaxUid,
}

/// How the peer answered a C-STORE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreReply {
    pub status: u16,
    /// Error Comment (0000,0902).
    pub comment: Option<String>,
}

impl StoreReply {
    /// Success or one of the warnings of PS3.7 C, with which the object is kept.
    pub fn is_stored(&self) -> bool {
        matches!(self.status, status::SUCCESS | 0x0001 | 0x0107 | 0x0116 | 0xB000..=0xBFFF)
    }
}

#[derive(Debug)]
pub struct Association<S> {
    connection: Connection<S>,
    contexts: Vec<NegotiatedContext>,
    last_message_id: u16,
}

#[derive(Debug)]
struct NegotiatedContext {
    id: u8,
    proposed: ProposedContext,
    accepted: bool,
}

impl Association<TcpStream> {
    pub async fn connect(peer: &Peer, contexts: &[ProposedContext]) -> Result<Self, ScuError> {
        let connecting = timeout(CONNECT_PATIENCE, TcpStream::connect(&peer.address)).await;
        let stream = connecting.unwrap_or_else(|elapsed| Err(elapsed.into()));
        let stream = stream.and_then(|stream| stream.set_nodelay(true).map(|()| stream));
        let stream = stream.map_err(|source| ScuError::Connect { address: peer.address.clone(), source })?;
        Self::request(stream, peer, contexts).await
    }
}

impl<S: Transport> Association<S> {
    /// Negotiates on a transport that stands. Verification is always proposed as well.
    pub async fn request(transport: S, peer: &Peer, contexts: &[ProposedContext]) -> Result<Self, ScuError> {
        let mut contexts = numbered(contexts)?;
        let mut connection = Connection::new(transport, PDU_BYTES_MAX, PATIENCE);
        connection.send(&request(peer, &contexts).into()).await?;
        let answer = negotiated(&mut connection).await?;
        for context in &mut contexts {
            context.accepted = is_accepted(&answer, context);
        }
        connection.establish(maximum_length(&answer.user_variables), PATIENCE);
        Ok(Self { connection, contexts, last_message_id: 0 })
    }

    /// The status of a C-ECHO.
    pub async fn echo(&mut self) -> Result<u16, ScuError> {
        let verification = verification()?;
        let context_id = self.context_id(&verification)?;
        let request = CommandSet::request(field::C_ECHO, self.next_message_id())
            .with_uid(tags::AFFECTED_SOP_CLASS_UID, uids::VERIFICATION);
        self.connection.send_command(context_id, &request).await?;
        Ok(self.response(&request).await?.status().map_err(UlError::from)?)
    }

    /// Sends `bytes` bytes of `data_set`, which is encoded as the command says.
    pub async fn store<R>(
        &mut self,
        command: &StoreCommand,
        data_set: &mut R,
        bytes: u64,
    ) -> Result<StoreReply, ScuError>
    where
        R: AsyncRead + Unpin,
    {
        let proposed = ProposedContext {
            sop_class: command.sop_class.clone(),
            transfer_syntax: command.transfer_syntax.clone(),
        };
        let context_id = self.context_id(&proposed)?;
        let request = store_request(command, self.next_message_id());
        self.connection.send_command(context_id, &request).await?;
        self.send_data_set(context_id, data_set, bytes).await?;
        let response = self.response(&request).await?;
        let status = response.status().map_err(UlError::from)?;
        Ok(StoreReply { status, comment: response.text(tags::ERROR_COMMENT) })
    }

    pub async fn store_file(&mut self, mut object: Part10) -> Result<StoreReply, ScuError> {
        self.store(&object.command, &mut object.data_set, object.data_set_bytes).await
    }

    pub fn has_proposed(&self, context: &ProposedContext) -> bool {
        self.contexts.iter().any(|known| known.proposed == *context)
    }

    pub async fn release(mut self) -> Result<(), ScuError> {
        self.connection.send(&Pdu::ReleaseRQ).await?;
        let confirmed = match self.connection.next().await? {
            Incoming::Pdu(Pdu::ReleaseRP) => Ok(()),
            Incoming::Pdu(Pdu::AbortRQ { .. }) => Err(UlError::Aborted),
            _ => Err(UlError::Unexpected("anything but A-RELEASE-RP after the release")),
        };
        self.connection.close(Duration::ZERO).await;
        Ok(confirmed?)
    }

    pub async fn abort(mut self) {
        // The association is broken already; the peer learns it from the close at the latest.
        let _ = self.connection.send(&Pdu::AbortRQ { source: AbortRQSource::ServiceUser }).await;
        self.connection.close(CLOSE_PATIENCE).await;
    }

    fn context_id(&self, wanted: &ProposedContext) -> Result<u8, ScuError> {
        let accepted = self.contexts.iter().find(|context| context.accepted && context.proposed == *wanted);
        accepted.map(|context| context.id).ok_or_else(|| ScuError::ContextRefused {
            sop_class: wanted.sop_class.clone(),
            transfer_syntax: wanted.transfer_syntax.clone(),
        })
    }

    fn next_message_id(&mut self) -> u16 {
        self.last_message_id = self.last_message_id.wrapping_add(1);
        self.last_message_id
    }

    /// One write per PDU.
    async fn send_data_set<R>(&mut self, context_id: u8, data_set: &mut R, bytes: u64) -> Result<(), ScuError>
    where
        R: AsyncRead + Unpin,
    {
        let (mut left, mut pdu) = (bytes, BytesMut::new());
        loop {
            let length = usize::try_from(left).unwrap_or(usize::MAX).min(self.connection.payload_bytes_max());
            left -= length as u64;
            pdu.clear();
            put_p_data_header(&mut pdu, context_id, MessagePart::DataSet, left == 0, length);
            let payload = pdu.len();
            pdu.resize(payload + length, 0);
            data_set.read_exact(&mut pdu[payload..]).await.map_err(ScuError::Read)?;
            self.connection.write(&pdu).await?;
            if left == 0 {
                return Ok(());
            }
        }
    }

    async fn response(&mut self, request: &CommandSet) -> Result<CommandSet, ScuError> {
        let response = self.command_set().await?;
        let expected = request.message_id().map_err(UlError::from)?;
        let got = response.u16(tags::MESSAGE_ID_BEING_RESPONDED_TO).map_err(UlError::from)?;
        match got {
            Some(got) if got != expected => Err(ScuError::OtherMessage { expected, got }),
            _ => Ok(response),
        }
    }

    async fn command_set(&mut self) -> Result<CommandSet, UlError> {
        let mut assembler = CommandAssembler::default();
        loop {
            match self.connection.next().await? {
                Incoming::Fragment(fragment) if fragment.part == MessagePart::Command => {
                    if let Some(response) = assembler.push(&fragment)? {
                        return Ok(response.message);
                    }
                }
                Incoming::Pdu(Pdu::AbortRQ { .. }) => return Err(UlError::Aborted),
                _ => {
                    return Err(UlError::Unexpected("anything but a command set as response"));
                }
            }
        }
    }
}

fn verification() -> Result<ProposedContext, UlError> {
    // Both are constants of the standard; a parse error would be told, not hidden.
    let broken = |error: crate::dicom::uid::UidError| UlError::Unwritable(error.to_string());
    Ok(ProposedContext {
        sop_class: uids::VERIFICATION.parse().map_err(broken)?,
        transfer_syntax: uids::IMPLICIT_VR_LITTLE_ENDIAN.parse().map_err(broken)?,
    })
}

/// Verification goes last, and only where there is room.
fn numbered(contexts: &[ProposedContext]) -> Result<Vec<NegotiatedContext>, ScuError> {
    if contexts.len() > CONTEXTS_MAX {
        return Err(ScuError::TooManyContexts);
    }
    let all = contexts.iter().cloned().chain([verification()?]).take(CONTEXTS_MAX);
    let ids = (1..=u8::MAX).step_by(2);
    Ok(ids.zip(all).map(|(id, proposed)| NegotiatedContext { id, proposed, accepted: false }).collect())
}

fn request(peer: &Peer, contexts: &[NegotiatedContext]) -> AssociationRQ {
    let proposed = |context: &NegotiatedContext| PresentationContextProposed {
        id: context.id,
        abstract_syntax: context.proposed.sop_class.to_string(),
        transfer_syntaxes: vec![context.proposed.transfer_syntax.to_string()],
    };
    AssociationRQ {
        protocol_version: 1,
        calling_ae_title: peer.calling_aet.clone(),
        called_ae_title: peer.called_aet.clone(),
        application_context_name: uids::DICOM_APPLICATION_CONTEXT.to_owned(),
        presentation_contexts: contexts.iter().map(proposed).collect(),
        user_variables: vec![
            UserVariableItem::MaxLength(PDU_BYTES_MAX),
            UserVariableItem::ImplementationClassUID(IMPLEMENTATION_CLASS_UID.to_owned()),
            UserVariableItem::ImplementationVersionName(IMPLEMENTATION_VERSION_NAME.to_owned()),
        ],
    }
}

async fn negotiated<S: Transport>(connection: &mut Connection<S>) -> Result<AssociationAC, ScuError> {
    match connection.next().await? {
        Incoming::Pdu(Pdu::AssociationAC(answer)) => Ok(answer),
        Incoming::Pdu(Pdu::AssociationRJ(rejection)) => Err(ScuError::Rejected(rejection.source.to_string())),
        Incoming::Pdu(Pdu::AbortRQ { .. }) => Err(UlError::Aborted.into()),
        _ => Err(UlError::Unexpected("anything but an answer to A-ASSOCIATE-RQ").into()),
    }
}

fn is_accepted(answer: &AssociationAC, context: &NegotiatedContext) -> bool {
    let mut results = answer.presentation_contexts.iter();
    results.any(|result| result.id == context.id && result.reason == ContextResult::Acceptance)
}

fn store_request(command: &StoreCommand, message_id: u16) -> CommandSet {
    CommandSet::request(field::C_STORE, message_id)
        .with_u16(tags::PRIORITY, MEDIUM_PRIORITY)
        .with_uid(tags::AFFECTED_SOP_CLASS_UID, command.sop_class.as_str())
        .with_uid(tags::AFFECTED_SOP_INSTANCE_UID, command.sop_instance.as_str())
        .announcing_data_set()
}
