//! The Storage Commitment Push Model on associations of ours, PS3.4 J.3: requests out, reports in
//! and out; and the messages of both, for whoever receives them.

use std::time::Duration;

use dicom_dictionary_std::{tags, uids};
use dicom_ul::pdu::{RequestorRoles, UserVariableItem};
use tokio::time::timeout;

use super::ScuError;
use super::association::{Association, Message, ProposedContext};
use crate::dicom::commitment::{DataSetError, REQUEST_ACTION, Report, Request, WELL_KNOWN_INSTANCE, event};
use crate::dicom::header::HeaderError;
use crate::dicom::uid::{SopClassUid, TransferSyntaxUid, UidError};
use crate::ul::UlError;
use crate::ul::command::{CommandSet, field, status};
use crate::ul::connection::Transport;

/// Why a request or report is not taken.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("the SOP class is not the Storage Commitment Push Model")]
    NoSuchSopClass,
    #[error("the SOP instance is not {WELL_KNOWN_INSTANCE}")]
    NoSuchInstance,
    #[error("there is no action of this type")]
    NoSuchAction,
    #[error("there is no event of this type")]
    NoSuchEvent,
    #[error("the data set is missing")]
    WithoutDataSet,
    #[error("the data set is larger than what is taken")]
    TooLarge,
    #[error(transparent)]
    DataSet(#[from] DataSetError),
}

impl Refusal {
    /// PS3.7 10.1.1.1.8 and 10.1.4.1.10.
    pub fn status(&self) -> u16 {
        match self {
            Self::NoSuchSopClass => status::NO_SUCH_SOP_CLASS,
            Self::NoSuchInstance => status::NO_SUCH_INSTANCE,
            Self::NoSuchAction => status::NO_SUCH_ACTION,
            Self::NoSuchEvent => status::NO_SUCH_EVENT_TYPE,
            Self::TooLarge
            | Self::DataSet(
                DataSetError::TooManyReferences(_) | DataSetError::Read(HeaderError::Limit { .. }),
            ) => status::RESOURCE_LIMITATION,
            Self::DataSet(DataSetError::TransferSyntax(_) | DataSetError::Write(_)) => {
                status::PROCESSING_FAILURE
            }
            Self::WithoutDataSet | Self::DataSet(_) => status::INVALID_ARGUMENT_VALUE,
        }
    }
}

/// What to propose, in either role.
pub fn contexts() -> Result<Vec<ProposedContext>, ScuError> {
    let syntaxes = [uids::EXPLICIT_VR_LITTLE_ENDIAN, uids::IMPLICIT_VR_LITTLE_ENDIAN];
    let broken = |error: UidError| UlError::Unwritable(error.to_string());
    let transfer_syntaxes = syntaxes.iter().map(|uid| uid.parse()).collect::<Result<_, _>>();
    Ok(vec![ProposedContext {
        sop_class: sop_class()?,
        transfer_syntaxes: transfer_syntaxes.map_err(broken)?,
    }])
}

fn sop_class() -> Result<SopClassUid, UlError> {
    // A constant of the standard; a parse error would be told, not hidden.
    let parsed = uids::STORAGE_COMMITMENT_PUSH_MODEL.parse();
    parsed.map_err(|error: UidError| UlError::Unwritable(error.to_string()))
}

/// For an association on which we report: the requestor is the SCP, PS3.4 J.3.3 and PS3.7 D.3.3.4.
pub fn as_provider() -> Vec<UserVariableItem> {
    let roles = RequestorRoles { scu: false, scp: true };
    let class = uids::STORAGE_COMMITMENT_PUSH_MODEL.to_owned();
    vec![UserVariableItem::ScuScpRoleSelectionSubItem(class, roles)]
}

/// An N-EVENT-REPORT-RQ, and its data set in the transfer syntax of the context.
pub fn report_message(
    report: &Report,
    message_id: u16,
    syntax: &TransferSyntaxUid,
) -> Result<(CommandSet, Vec<u8>), DataSetError> {
    let command = CommandSet::request(field::N_EVENT_REPORT, message_id)
        .with_uid(tags::AFFECTED_SOP_CLASS_UID, uids::STORAGE_COMMITMENT_PUSH_MODEL)
        .with_uid(tags::AFFECTED_SOP_INSTANCE_UID, WELL_KNOWN_INSTANCE)
        .with_u16(tags::EVENT_TYPE_ID, report.event_type());
    Ok((command, report.encode(syntax)?))
}

/// What an N-ACTION-RQ asks for. Of the data set, nothing when it was too large.
pub fn read_request(
    command: &CommandSet,
    data_set: Option<&[u8]>,
    syntax: &TransferSyntaxUid,
    references_max: usize,
) -> Result<Request, Refusal> {
    let data_set =
        check(command, data_set, [tags::REQUESTED_SOP_CLASS_UID, tags::REQUESTED_SOP_INSTANCE_UID])?;
    match command.u16(tags::ACTION_TYPE_ID) {
        Ok(Some(REQUEST_ACTION)) => Ok(Request::decode(data_set, syntax, references_max)?),
        _ => Err(Refusal::NoSuchAction),
    }
}

/// What an N-EVENT-REPORT-RQ says. Of the data set, nothing when it was too large.
pub fn read_report(
    command: &CommandSet,
    data_set: Option<&[u8]>,
    syntax: &TransferSyntaxUid,
    references_max: usize,
) -> Result<Report, Refusal> {
    let data_set = check(command, data_set, [tags::AFFECTED_SOP_CLASS_UID, tags::AFFECTED_SOP_INSTANCE_UID])?;
    match command.u16(tags::EVENT_TYPE_ID) {
        Ok(Some(event::SUCCESSFUL | event::FAILURES_EXIST)) => {
            Ok(Report::decode(data_set, syntax, references_max)?)
        }
        _ => Err(Refusal::NoSuchEvent),
    }
}

fn check<'a>(
    command: &CommandSet,
    data_set: Option<&'a [u8]>,
    [class, instance]: [dicom_core::Tag; 2],
) -> Result<&'a [u8], Refusal> {
    if command.text(class).as_deref() != Some(uids::STORAGE_COMMITMENT_PUSH_MODEL) {
        return Err(Refusal::NoSuchSopClass);
    }
    if command.text(instance).as_deref() != Some(WELL_KNOWN_INSTANCE) {
        return Err(Refusal::NoSuchInstance);
    }
    match command.has_data_set() {
        Ok(true) => data_set.ok_or(Refusal::TooLarge),
        _ => Err(Refusal::WithoutDataSet),
    }
}

impl<S: Transport> Association<S> {
    /// Asks for commitment; the status of the N-ACTION-RSP.
    pub async fn request_commitment(&mut self, request: &Request) -> Result<u16, ScuError> {
        let (context_id, syntax) = self.context(&sop_class()?)?;
        let data_set = request.encode(syntax)?;
        let command = CommandSet::request(field::N_ACTION, self.next_message_id())
            .with_uid(tags::REQUESTED_SOP_CLASS_UID, uids::STORAGE_COMMITMENT_PUSH_MODEL)
            .with_uid(tags::REQUESTED_SOP_INSTANCE_UID, WELL_KNOWN_INSTANCE)
            .with_u16(tags::ACTION_TYPE_ID, REQUEST_ACTION);
        self.ask(context_id, command, &data_set).await
    }

    /// Says what is committed; the status of the N-EVENT-REPORT-RSP.
    pub async fn report_commitment(&mut self, report: &Report) -> Result<u16, ScuError> {
        let message_id = self.next_message_id();
        let (context_id, syntax) = self.context(&sop_class()?)?;
        let (command, data_set) = report_message(report, message_id, syntax)?;
        self.ask(context_id, command, &data_set).await
    }

    async fn ask(&mut self, context_id: u8, command: CommandSet, data_set: &[u8]) -> Result<u16, ScuError> {
        let expected = command.message_id().map_err(UlError::from)?;
        self.send(context_id, command, Some(data_set)).await?;
        // A reply has no place here, and does no harm.
        let response = self.receive(REPLY_BYTES_MAX).await?.command;
        match response.u16(tags::MESSAGE_ID_BEING_RESPONDED_TO).map_err(UlError::from)? {
            Some(got) if got != expected => Err(ScuError::OtherMessage { expected, got }),
            _ => Ok(response.status().map_err(UlError::from)?),
        }
    }

    /// The N-EVENT-REPORT-RQ of the peer, if it comes within this time, and what it says; to be
    /// answered by [`Self::answer_report`].
    pub async fn commitment_report(
        &mut self,
        within: Duration,
        bytes_max: u64,
        references_max: usize,
    ) -> Result<Option<(Message, Result<Report, Refusal>)>, ScuError> {
        let Ok(received) = timeout(within, self.receive(bytes_max)).await else { return Ok(None) };
        let message = received?;
        if message.command.command_field().map_err(UlError::from)? != field::N_EVENT_REPORT {
            return Err(UlError::Unexpected("anything but N-EVENT-REPORT-RQ").into());
        }
        let (_, syntax) = self.context(&sop_class()?)?;
        let report = read_report(&message.command, message.data_set.as_deref(), syntax, references_max);
        Ok(Some((message, report)))
    }

    pub async fn answer_report(&mut self, report: &Message, status: u16) -> Result<(), ScuError> {
        let response = report.command.response(status).map_err(UlError::from)?;
        self.send(report.context_id, response, None).await
    }
}

/// Of an answer that should have no data set.
const REPLY_BYTES_MAX: u64 = 64 << 10;
