//! An association as its requestor: C-ECHO and C-STORE, one message at a time.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::str::FromStr;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use dicom_dictionary_std::{tags, uids};
use dicom_ul::pdu::{
    AbortRQSource, AssociationAC, AssociationRJResult, AssociationRQ, Pdu, PresentationContextProposed,
    PresentationContextResultReason as ContextResult, UserVariableItem,
};
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf, Take};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::part10::Part10;
use super::{CONTEXTS_MAX, ScuError};
use crate::dicom::uid::{
    IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME, SopClassUid, TransferSyntaxUid, UidError,
};
use crate::ingest::StoreCommand;
use crate::ul::command::{CommandAssembler, CommandSet, field, status};
use crate::ul::connection::{Connection, Contextual, Transport, maximum_length};
use crate::ul::data_set::DataSet;
use crate::ul::tls::Tls;
pub use crate::ul::transport::Stream;
use crate::ul::{Incoming, MessagePart, UlError};

const CLOSE_PATIENCE: Duration = Duration::from_secs(5);
/// The peer sends us nothing but short messages.
const PDU_BYTES_MAX: u32 = 16 << 10;
const MEDIUM_PRIORITY: u16 = 0;

/// Whom to call, and as whom.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Host and port.
    pub address: String,
    pub called_aet: String,
    pub calling_aet: String,
    pub patience: Patience,
    /// Call over TLS, on these terms.
    pub tls: Option<Tls>,
}

/// How long a peer may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// To take the connection, TLS included.
    pub connect: Duration,
    /// To answer, which may have to wait for its disk, and to take a PDU.
    pub response: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { connect: Duration::from_secs(10), response: Duration::from_secs(60) }
    }
}

impl Peer {
    /// In the clear and with the usual patience.
    pub fn new(
        address: impl Into<String>,
        called_aet: impl Into<String>,
        calling_aet: impl Into<String>,
    ) -> Self {
        Self {
            address: address.into(),
            called_aet: called_aet.into(),
            calling_aet: calling_aet.into(),
            patience: Patience::default(),
            tls: None,
        }
    }

    async fn connect(&self) -> Result<Stream, ScuError> {
        let connecting = timeout(self.patience.connect, self.try_connect()).await;
        let stream = connecting.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        stream.map_err(|source| ScuError::Connect { address: self.address.clone(), source })
    }

    async fn try_connect(&self) -> io::Result<Stream> {
        let stream = TcpStream::connect(&self.address).await?;
        stream.set_nodelay(true)?;
        match &self.tls {
            Some(tls) => tls.connect(self.host(), stream).await,
            None => Ok(Stream::Plain(stream)),
        }
    }

    fn host(&self) -> &str {
        let host = self.address.rsplit_once(':').map_or(self.address.as_str(), |(host, _)| host);
        host.trim_matches(['[', ']'])
    }
}

/// A presentation context to ask for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProposedContext {
    pub sop_class: SopClassUid,
    /// Of several the peer takes the one it likes best.
    pub transfer_syntaxes: Vec<TransferSyntaxUid>,
}

impl ProposedContext {
    /// With the only one that will do.
    pub fn single(sop_class: SopClassUid, transfer_syntax: TransferSyntaxUid) -> Self {
        Self { sop_class, transfer_syntaxes: vec![transfer_syntax] }
    }
}

/// On whose behalf an object is sent, PS3.7 9.1.1.1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MoveOriginator {
    pub ae_title: String,
    pub message_id: u16,
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
        self.status == status::SUCCESS || self.is_warning()
    }

    pub fn is_warning(&self) -> bool {
        status::is_warning(self.status)
    }
}

/// A message of the peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub context_id: u8,
    pub command: CommandSet,
    pub data_set: Option<Vec<u8>>,
}

pub struct Association<S> {
    connection: Connection<S>,
    contexts: Vec<NegotiatedContext>,
    /// What the peer said of itself: roles, extended negotiation.
    pub answered: Vec<UserVariableItem>,
    last_message_id: u16,
}

#[derive(Debug)]
struct NegotiatedContext {
    id: u8,
    proposed: ProposedContext,
    accepted: Option<TransferSyntaxUid>,
}

impl<S> fmt::Debug for Association<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Association").field("contexts", &self.contexts).finish_non_exhaustive()
    }
}

/// Whether a node answers, by C-ECHO: the status of its response.
pub async fn echo(peer: &Peer) -> Result<u16, ScuError> {
    let mut association = Association::connect(peer, &[]).await?;
    let status = association.echo().await?;
    association.release().await?;
    Ok(status)
}

impl Association<Stream> {
    pub async fn connect(peer: &Peer, contexts: &[ProposedContext]) -> Result<Self, ScuError> {
        Self::connect_with(peer, contexts, Vec::new()).await
    }

    /// With further items of user information: roles, extended negotiation.
    pub async fn connect_with(
        peer: &Peer,
        contexts: &[ProposedContext],
        items: Vec<UserVariableItem>,
    ) -> Result<Self, ScuError> {
        Self::request_with(peer.connect().await?, peer, contexts, items).await
    }
}

impl<S: Transport> Association<S> {
    /// Negotiates on a transport that stands. Verification is always proposed as well.
    pub async fn request(transport: S, peer: &Peer, contexts: &[ProposedContext]) -> Result<Self, ScuError> {
        Self::request_with(transport, peer, contexts, Vec::new()).await
    }

    pub async fn request_with(
        transport: S,
        peer: &Peer,
        contexts: &[ProposedContext],
        items: Vec<UserVariableItem>,
    ) -> Result<Self, ScuError> {
        let mut contexts = numbered(contexts)?;
        let patience = peer.patience.response;
        let mut connection = Connection::new(transport, PDU_BYTES_MAX, patience);
        connection.send(&request(peer, &contexts, items).into()).await?;
        let answer = negotiated(&mut connection).await?;
        for context in &mut contexts {
            context.accepted = accepted(&answer, context);
        }
        connection.establish(maximum_length(&answer.user_variables), patience);
        Ok(Self { connection, contexts, answered: answer.user_variables, last_message_id: 0 })
    }

    /// The status of a C-ECHO.
    pub async fn echo(&mut self) -> Result<u16, ScuError> {
        let (context_id, _) = self.context(&verification()?)?;
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
        R: AsyncRead + Unpin + Send,
    {
        self.store_all(command, None, &mut Whole(data_set.take(bytes))).await
    }

    /// Sends a data set to its end.
    pub async fn store_all<R>(
        &mut self,
        command: &StoreCommand,
        originator: Option<&MoveOriginator>,
        data_set: &mut R,
    ) -> Result<StoreReply, ScuError>
    where
        R: AsyncRead + Unpin + Send,
    {
        let context_id = self.context_id(command)?;
        let request = store_request(command, self.next_message_id(), originator);
        self.connection.send_command(context_id, &request).await?;
        self.connection.send_data_set(context_id, data_set).await?;
        let response = self.response(&request).await?;
        let status = response.status().map_err(UlError::from)?;
        Ok(StoreReply { status, comment: response.text(tags::ERROR_COMMENT) })
    }

    pub async fn store_file(&mut self, mut object: Part10) -> Result<StoreReply, ScuError> {
        self.store(&object.command, &mut object.data_set, object.data_set_bytes).await
    }

    /// Sends a message whose data set, if it has one, is small enough to be held.
    pub async fn send(
        &mut self,
        context_id: u8,
        command: CommandSet,
        data_set: Option<&[u8]>,
    ) -> Result<(), ScuError> {
        match data_set {
            Some(data_set) => self.connection.send_message(context_id, command, data_set).await?,
            None => self.connection.send_command(context_id, &command).await?,
        }
        Ok(())
    }

    /// The next message of the peer; its data set may have `data_set_bytes_max` bytes.
    pub async fn receive(&mut self, data_set_bytes_max: u64) -> Result<Message, ScuError> {
        let Contextual { context_id, message: command } = self.command_set().await?;
        let data_set = match command.has_data_set().map_err(UlError::from)? {
            true => Some(self.small_data_set(context_id, data_set_bytes_max).await?),
            false => None,
        };
        Ok(Message { context_id, command, data_set })
    }

    async fn small_data_set(&mut self, context_id: u8, bytes_max: u64) -> Result<Vec<u8>, ScuError> {
        let mut bytes = Vec::new();
        let mut data_set = DataSet::new(&mut self.connection, context_id);
        // A reader that fails says so again below, with the error of the connection.
        let _ = (&mut data_set).take(bytes_max).read_to_end(&mut bytes).await;
        let length = data_set.finish(CLOSE_PATIENCE).await?;
        if length > bytes_max { Err(ScuError::DataSetTooLong(bytes_max)) } else { Ok(bytes) }
    }

    pub fn has_proposed(&self, context: &ProposedContext) -> bool {
        self.contexts.iter().any(|known| known.proposed == *context)
    }

    /// What the peer takes objects of a class in, as they were proposed.
    pub fn accepted(&self, sop_class: &SopClassUid) -> Vec<TransferSyntaxUid> {
        let of_class = self.contexts.iter().filter(|context| context.proposed.sop_class == *sop_class);
        of_class.filter_map(|context| context.accepted.clone()).collect()
    }

    /// The first context that was accepted for a class.
    pub fn context(&self, sop_class: &SopClassUid) -> Result<(u8, &TransferSyntaxUid), ScuError> {
        let of_class = self.contexts.iter().filter(|context| context.proposed.sop_class == *sop_class);
        let mut accepted = of_class.filter_map(|context| Some((context.id, context.accepted.as_ref()?)));
        accepted.next().ok_or_else(|| ScuError::ClassRefused(sop_class.clone()))
    }

    /// For a request that is to be sent on this association.
    pub fn next_message_id(&mut self) -> u16 {
        self.last_message_id = self.last_message_id.wrapping_add(1);
        self.last_message_id
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

    fn context_id(&self, command: &StoreCommand) -> Result<u8, ScuError> {
        let is_wanted = |context: &&NegotiatedContext| {
            context.proposed.sop_class == command.sop_class
                && context.accepted.as_ref() == Some(&command.transfer_syntax)
        };
        let context = self.contexts.iter().find(is_wanted).ok_or_else(|| ScuError::ContextRefused {
            sop_class: command.sop_class.clone(),
            transfer_syntax: command.transfer_syntax.clone(),
        })?;
        Ok(context.id)
    }

    async fn response(&mut self, request: &CommandSet) -> Result<CommandSet, ScuError> {
        let response = self.command_set().await?.message;
        let expected = request.message_id().map_err(UlError::from)?;
        let got = response.u16(tags::MESSAGE_ID_BEING_RESPONDED_TO).map_err(UlError::from)?;
        match got {
            Some(got) if got != expected => Err(ScuError::OtherMessage { expected, got }),
            _ => Ok(response),
        }
    }

    async fn command_set(&mut self) -> Result<Contextual<CommandSet>, UlError> {
        let mut assembler = CommandAssembler::default();
        loop {
            match self.connection.next().await? {
                Incoming::Fragment(fragment) if fragment.part == MessagePart::Command => {
                    if let Some(response) = assembler.push(&fragment)? {
                        return Ok(response);
                    }
                }
                Incoming::Pdu(Pdu::AbortRQ { .. }) => return Err(UlError::Aborted),
                _ => {
                    return Err(UlError::Unexpected("anything but a command set"));
                }
            }
        }
    }
}

/// Fails where there is less than it was taken for.
struct Whole<R>(Take<R>);

impl<R: AsyncRead + Unpin> AsyncRead for Whole<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.0).poll_read(cx, buf))?;
        let is_short = buf.filled().len() == before && buf.remaining() > 0 && self.0.limit() > 0;
        Poll::Ready(if is_short { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) })
    }
}

fn verification() -> Result<SopClassUid, UlError> {
    constant(uids::VERIFICATION)
}

/// A UID of the standard; a parse error would be told, not hidden.
pub(super) fn constant<T: FromStr<Err = UidError>>(uid: &str) -> Result<T, UlError> {
    uid.parse().map_err(|error: UidError| UlError::Unwritable(error.to_string()))
}

/// Verification goes last, and only where there is room.
fn numbered(contexts: &[ProposedContext]) -> Result<Vec<NegotiatedContext>, ScuError> {
    if contexts.len() > CONTEXTS_MAX {
        return Err(ScuError::TooManyContexts);
    }
    let echo = ProposedContext::single(verification()?, constant(uids::IMPLICIT_VR_LITTLE_ENDIAN)?);
    let all = contexts.iter().cloned().chain([echo]).take(CONTEXTS_MAX);
    let ids = (1..=u8::MAX).step_by(2);
    Ok(ids.zip(all).map(|(id, proposed)| NegotiatedContext { id, proposed, accepted: None }).collect())
}

fn request(peer: &Peer, contexts: &[NegotiatedContext], items: Vec<UserVariableItem>) -> AssociationRQ {
    let proposed = |context: &NegotiatedContext| PresentationContextProposed {
        id: context.id,
        abstract_syntax: context.proposed.sop_class.to_string(),
        transfer_syntaxes: context.proposed.transfer_syntaxes.iter().map(ToString::to_string).collect(),
    };
    let mut user_variables = vec![
        UserVariableItem::MaxLength(PDU_BYTES_MAX),
        UserVariableItem::ImplementationClassUID(IMPLEMENTATION_CLASS_UID.to_owned()),
        UserVariableItem::ImplementationVersionName(IMPLEMENTATION_VERSION_NAME.to_owned()),
    ];
    user_variables.extend(items);
    AssociationRQ {
        protocol_version: 1,
        calling_ae_title: peer.calling_aet.clone(),
        called_ae_title: peer.called_aet.clone(),
        application_context_name: uids::DICOM_APPLICATION_CONTEXT.to_owned(),
        presentation_contexts: contexts.iter().map(proposed).collect(),
        user_variables,
    }
}

async fn negotiated<S: Transport>(connection: &mut Connection<S>) -> Result<AssociationAC, ScuError> {
    match connection.next().await? {
        Incoming::Pdu(Pdu::AssociationAC(answer)) => Ok(answer),
        Incoming::Pdu(Pdu::AssociationRJ(rejection)) => Err(ScuError::Rejected {
            reason: rejection.source.to_string(),
            is_transient: rejection.result == AssociationRJResult::Transient,
        }),
        Incoming::Pdu(Pdu::AbortRQ { .. }) => Err(UlError::Aborted.into()),
        _ => Err(UlError::Unexpected("anything but an answer to A-ASSOCIATE-RQ").into()),
    }
}

/// A peer that accepts one of one need not say which.
fn accepted(answer: &AssociationAC, context: &NegotiatedContext) -> Option<TransferSyntaxUid> {
    let mut results = answer.presentation_contexts.iter();
    let result =
        results.find(|result| result.id == context.id && result.reason == ContextResult::Acceptance)?;
    match context.proposed.transfer_syntaxes.as_slice() {
        [only] => Some(only.clone()),
        several => several.iter().find(|uid| uid.as_str() == unpadded(&result.transfer_syntax)).cloned(),
    }
}

fn unpadded(uid: &str) -> &str {
    uid.trim_matches(['\0', ' '])
}

/// A C-STORE-RQ, PS3.7 9.3.1.1.
pub(crate) fn store_request(
    command: &StoreCommand,
    message_id: u16,
    originator: Option<&MoveOriginator>,
) -> CommandSet {
    let request = CommandSet::request(field::C_STORE, message_id)
        .with_u16(tags::PRIORITY, MEDIUM_PRIORITY)
        .with_uid(tags::AFFECTED_SOP_CLASS_UID, command.sop_class.as_str())
        .with_uid(tags::AFFECTED_SOP_INSTANCE_UID, command.sop_instance.as_str())
        .announcing_data_set();
    match originator {
        Some(originator) => request
            .with_text(tags::MOVE_ORIGINATOR_APPLICATION_ENTITY_TITLE, &originator.ae_title)
            .with_u16(tags::MOVE_ORIGINATOR_MESSAGE_ID, originator.message_id),
        None => request,
    }
}
