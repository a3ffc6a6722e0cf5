//! C-FIND as its requestor: the matches as they come (PS3.4 C.4.1.2, PS3.7 9.1.2).

use dicom_core::Tag;
use dicom_dictionary_std::{tags, uids};
use dicom_encoding::transfer_syntax::{TransferSyntax, TransferSyntaxIndex};
use dicom_transfer_syntax_registry::TransferSyntaxRegistry;
use dicom_ul::pdu::UserVariableItem;
use serde_json::{Map, Value};

use super::ScuError;
use super::association::{Association, Message, Peer, ProposedContext, Stream};
use crate::dicom::charset::Encoder;
use crate::dicom::data_set;
use crate::dicom::header::hex;
use crate::dicom::json::with_values;
use crate::dicom::uid::{SopClassUid, UidError};
use crate::ul::UlError;
use crate::ul::command::{CommandSet, field, status};
use crate::ul::connection::Transport;

/// Identifiers are small; whoever sends more is not understood.
const IDENTIFIER_BYTES_MAX: u64 = 16 << 20;
const MEDIUM_PRIORITY: u16 = 0;
const UTF_8: &str = "ISO_IR 192";
/// Most wanted first.
const TRANSFER_SYNTAXES: [&str; 2] = [uids::EXPLICIT_VR_LITTLE_ENDIAN, uids::IMPLICIT_VR_LITTLE_ENDIAN];

/// Where the hierarchy of a query begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Root {
    Patient,
    Study,
}

impl Root {
    fn sop_class(self) -> Result<SopClassUid, UlError> {
        constant(match self {
            Self::Patient => uids::PATIENT_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_FIND,
            Self::Study => uids::STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_FIND,
        })
    }
}

/// What is proposed beyond the baseline, PS3.4 C.5.1.1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wishes {
    pub relational: bool,
    pub fuzzy_names: bool,
}

impl Wishes {
    fn item(self, sop_class: &SopClassUid) -> Option<UserVariableItem> {
        let information = vec![u8::from(self.relational), 0, u8::from(self.fuzzy_names)];
        let item = UserVariableItem::SopClassExtendedNegotiationSubItem(sop_class.to_string(), information);
        (self != Self::default()).then_some(item)
    }
}

/// How a query ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    pub status: u16,
    /// Error Comment (0000,0902).
    pub comment: Option<String>,
    /// Offending Element (0000,0901).
    pub offending: Vec<Tag>,
}

impl Ending {
    pub fn is_complete(&self) -> bool {
        self.status == status::SUCCESS
    }

    pub fn is_cancelled(&self) -> bool {
        self.status == status::CANCEL
    }
}

/// What comes back.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// A match as DICOM JSON.
    Match(Map<String, Value>),
    Ended(Ending),
}

/// An association for queries.
pub async fn connect(peer: &Peer, root: Root, wishes: Wishes) -> Result<Association<Stream>, ScuError> {
    let (context, items) = proposal(root, wishes)?;
    Association::connect_with(peer, &[context], items).await
}

/// What such an association is asked for with.
pub fn proposal(root: Root, wishes: Wishes) -> Result<(ProposedContext, Vec<UserVariableItem>), ScuError> {
    let sop_class = root.sop_class()?;
    let items = wishes.item(&sop_class).into_iter().collect();
    let transfer_syntaxes = TRANSFER_SYNTAXES.into_iter().map(constant).collect::<Result<_, UlError>>()?;
    Ok((ProposedContext { sop_class, transfer_syntaxes }, items))
}

/// A query that runs; its replies are taken one by one, and the peer waits meanwhile.
pub struct Finding<'a, S> {
    association: &'a mut Association<S>,
    context_id: u8,
    message_id: u16,
    syntax: &'static TransferSyntax,
}

impl<'a, S: Transport> Finding<'a, S> {
    /// Asks for `keys`, DICOM JSON with a Query/Retrieve Level.
    pub async fn begin(
        association: &'a mut Association<S>,
        root: Root,
        keys: &Map<String, Value>,
    ) -> Result<Self, ScuError> {
        let sop_class = root.sop_class()?;
        let (context_id, syntax) = association.context(&sop_class)?;
        let syntax = TransferSyntaxRegistry.get(syntax.as_str());
        let syntax = syntax.ok_or_else(|| ScuError::ClassRefused(sop_class.clone()))?;
        let identifier = identifier(keys, syntax)?;
        let message_id = association.next_message_id();
        let request = CommandSet::request(field::C_FIND, message_id)
            .with_uid(tags::AFFECTED_SOP_CLASS_UID, sop_class.as_str())
            .with_u16(tags::PRIORITY, MEDIUM_PRIORITY);
        association.send(context_id, request, Some(&identifier)).await?;
        Ok(Self { association, context_id, message_id, syntax })
    }

    /// The next match, or how it ended; nothing comes behind that.
    pub async fn next(&mut self) -> Result<Reply, ScuError> {
        let Message { command, data_set, .. } = self.association.receive(IDENTIFIER_BYTES_MAX).await?;
        let answered = command.u16(tags::MESSAGE_ID_BEING_RESPONDED_TO).map_err(UlError::from)?;
        if let Some(got) = answered.filter(|got| *got != self.message_id) {
            return Err(ScuError::OtherMessage { expected: self.message_id, got });
        }
        let status = command.status().map_err(UlError::from)?;
        match (status, data_set) {
            (status::PENDING | status::PENDING_WARNING, Some(bytes)) => {
                let set = data_set::read(&bytes, self.syntax);
                set.map(Reply::Match).map_err(|_| ScuError::Unreadable("identifier"))
            }
            (status::PENDING | status::PENDING_WARNING, None) => Ok(Reply::Match(Map::new())),
            _ => Ok(Reply::Ended(ending(status, &command))),
        }
    }

    /// Tells the peer that enough has come. What is under way still comes, then the ending.
    pub async fn cancel(&mut self) -> Result<(), ScuError> {
        self.association.send(self.context_id, CommandSet::cancel(self.message_id), None).await
    }
}

fn ending(status: u16, command: &CommandSet) -> Ending {
    let comment = command.text(tags::ERROR_COMMENT).filter(|comment| !comment.is_empty());
    Ending { status, comment, offending: command.tags(tags::OFFENDING_ELEMENT) }
}

/// Text beyond ASCII goes out as UTF-8.
fn identifier(keys: &Map<String, Value>, syntax: &TransferSyntax) -> Result<Vec<u8>, ScuError> {
    let unwritable = |error: data_set::WriteError| ScuError::from(UlError::Unwritable(error.to_string()));
    match data_set::write(keys, syntax, &Encoder::declared("")) {
        Err(data_set::WriteError::NotInCharacterSet(_)) => {
            let mut keys = keys.clone();
            keys.insert(hex(tags::SPECIFIC_CHARACTER_SET), with_values("CS", vec![UTF_8.into()]));
            data_set::write(&keys, syntax, &Encoder::utf8()).map_err(unwritable)
        }
        written => written.map_err(unwritable),
    }
}

/// A UID of the standard; a parse error would be told, not hidden.
fn constant<T: std::str::FromStr<Err = UidError>>(uid: &str) -> Result<T, UlError> {
    uid.parse().map_err(|error: UidError| UlError::Unwritable(error.to_string()))
}
