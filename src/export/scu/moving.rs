//! C-MOVE as its requestor: an archive is asked to send to somebody (PS3.4 C.4.2, PS3.7 9.1.4).

use dicom_dictionary_std::{tags, uids};
use dicom_encoding::transfer_syntax::TransferSyntaxIndex;
use dicom_transfer_syntax_registry::TransferSyntaxRegistry;
use serde_json::{Map, Value};

use super::ScuError;
use super::association::{Association, Peer, ProposedContext, Stream, constant};
use super::find::Root;
use crate::dicom::charset::Encoder;
use crate::dicom::data_set;
use crate::dicom::uid::SopClassUid;
use crate::ul::UlError;
use crate::ul::command::{CommandSet, field, status};

/// Lists of what failed are the largest.
const IDENTIFIER_BYTES_MAX: u64 = 16 << 20;
const MEDIUM_PRIORITY: u16 = 0;

/// How the sub-operations stand, as far as the archive tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    pub status: u16,
    pub remaining: Option<u16>,
    pub completed: Option<u16>,
    pub failed: Option<u16>,
    pub warnings: Option<u16>,
    /// Error Comment (0000,0902).
    pub comment: Option<String>,
}

impl Progress {
    pub fn is_pending(&self) -> bool {
        matches!(self.status, status::PENDING | status::PENDING_WARNING)
    }

    fn of(response: &CommandSet) -> Result<Self, UlError> {
        Ok(Self {
            status: response.status()?,
            remaining: response.u16(tags::NUMBER_OF_REMAINING_SUBOPERATIONS)?,
            completed: response.u16(tags::NUMBER_OF_COMPLETED_SUBOPERATIONS)?,
            failed: response.u16(tags::NUMBER_OF_FAILED_SUBOPERATIONS)?,
            warnings: response.u16(tags::NUMBER_OF_WARNING_SUBOPERATIONS)?,
            comment: response.text(tags::ERROR_COMMENT),
        })
    }
}

/// An association for retrievals.
pub async fn connect(peer: &Peer, root: Root) -> Result<Association<Stream>, ScuError> {
    let syntaxes = [uids::EXPLICIT_VR_LITTLE_ENDIAN, uids::IMPLICIT_VR_LITTLE_ENDIAN];
    let transfer_syntaxes = syntaxes.into_iter().map(constant).collect::<Result<_, UlError>>()?;
    Association::connect(peer, &[ProposedContext { sop_class: sop_class(root)?, transfer_syntaxes }]).await
}

/// Asks for `keys`, DICOM JSON with a Query/Retrieve Level, to be sent to `destination`; tells
/// `progress` of each response and returns the last.
pub async fn move_to(
    association: &mut Association<Stream>,
    root: Root,
    destination: &str,
    keys: &Map<String, Value>,
    mut progress: impl FnMut(&Progress) + Send,
) -> Result<Progress, ScuError> {
    let sop_class = sop_class(root)?;
    let (context_id, syntax) = association.context(&sop_class)?;
    let syntax = TransferSyntaxRegistry.get(syntax.as_str());
    let syntax = syntax.ok_or_else(|| ScuError::ClassRefused(sop_class.clone()))?;
    let identifier = data_set::write(keys, syntax, &Encoder::utf8());
    let identifier = identifier.map_err(|error| UlError::Unwritable(error.to_string()))?;
    let message_id = association.next_message_id();
    let request = CommandSet::request(field::C_MOVE, message_id)
        .with_uid(tags::AFFECTED_SOP_CLASS_UID, sop_class.as_str())
        .with_u16(tags::PRIORITY, MEDIUM_PRIORITY)
        .with_text(tags::MOVE_DESTINATION, destination);
    association.send(context_id, request, Some(&identifier)).await?;
    loop {
        let response = association.receive(IDENTIFIER_BYTES_MAX).await?.command;
        let answered = response.u16(tags::MESSAGE_ID_BEING_RESPONDED_TO).map_err(UlError::from)?;
        if let Some(got) = answered.filter(|got| *got != message_id) {
            return Err(ScuError::OtherMessage { expected: message_id, got });
        }
        let told = Progress::of(&response)?;
        progress(&told);
        if !told.is_pending() {
            return Ok(told);
        }
    }
}

fn sop_class(root: Root) -> Result<SopClassUid, UlError> {
    constant(match root {
        Root::Patient => uids::PATIENT_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_MOVE,
        Root::Study => uids::STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_MOVE,
    })
}
