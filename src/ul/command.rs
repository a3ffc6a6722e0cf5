//! Command sets: group 0000 in Implicit VR Little Endian, PS3.7 6.3.1 and E.1.

use std::collections::BTreeMap;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use dicom_core::Tag;
use dicom_dictionary_std::tags;

use super::connection::Contextual;
use super::{Fragment, UlError};

/// Longer command sets are refused; real ones have a few hundred bytes.
const COMMAND_SET_BYTES_MAX: usize = 64 << 10;
/// Command Data Set Type (0000,0800) of a message without a data set.
const NO_DATA_SET: u16 = 0x0101;
/// What VR LO holds.
pub const ERROR_COMMENT_CHARACTERS_MAX: usize = 64;

/// Command Field (0000,0100), PS3.7 E.1; a response has the bit 8000H.
pub mod field {
    pub const C_STORE: u16 = 0x0001;
    pub const C_GET: u16 = 0x0010;
    pub const C_FIND: u16 = 0x0020;
    pub const C_MOVE: u16 = 0x0021;
    pub const C_ECHO: u16 = 0x0030;
    pub const N_EVENT_REPORT: u16 = 0x0100;
    pub const N_ACTION: u16 = 0x0130;
    pub const C_CANCEL: u16 = 0x0FFF;
    pub const RESPONSE: u16 = 0x8000;
    pub const N_EVENT_REPORT_RSP: u16 = N_EVENT_REPORT | RESPONSE;
}

/// Status (0000,0900), PS3.7 C.
pub mod status {
    pub const SUCCESS: u16 = 0x0000;
    pub const PROCESSING_FAILURE: u16 = 0x0110;
    pub const NO_SUCH_INSTANCE: u16 = 0x0112;
    pub const NO_SUCH_EVENT_TYPE: u16 = 0x0113;
    pub const INVALID_ARGUMENT_VALUE: u16 = 0x0115;
    pub const NO_SUCH_SOP_CLASS: u16 = 0x0118;
    pub const NO_SUCH_ACTION: u16 = 0x0123;
    /// An operation ended because the peer cancelled it.
    pub const CANCEL: u16 = 0xFE00;
    /// A match or a sub-operation; more follows.
    pub const PENDING: u16 = 0xFF00;
    /// A match to a query some of whose optional keys are not supported.
    pub const PENDING_WARNING: u16 = 0xFF01;
    /// Refused: not authorized.
    pub const NOT_AUTHORIZED: u16 = 0x0124;
    pub const UNRECOGNIZED_OPERATION: u16 = 0x0211;
    pub const RESOURCE_LIMITATION: u16 = 0x0213;

    /// For metrics: the codes of the standard, and ranges in place of what a peer makes up.
    pub fn label(status: u16) -> String {
        match status {
            SUCCESS | 0x0001 | 0x0105..=0x0124 | 0x0210..=0x0213 | CANCEL => format!("{status:04X}"),
            0xB000 | 0xB006 | 0xB007 | 0xA700 | 0xA900 | 0xC000 => format!("{status:04X}"),
            0xA700..=0xA7FF | 0xA900..=0xA9FF => format!("{:02X}xx", status >> 8),
            0xB000..=0xCFFF => format!("{:X}xxx", status >> 12),
            _ => "other".to_owned(),
        }
    }

    /// Done, with something to say about it (PS3.7 C.3).
    pub fn is_warning(status: u16) -> bool {
        matches!(status, 0x0001 | 0x0107 | 0x0116 | 0xB000..=0xBFFF)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    #[error("it is longer than {COMMAND_SET_BYTES_MAX} bytes")]
    TooLong,
    #[error("it ends in the middle of an element")]
    Truncated,
    #[error("{0} is not of group 0000")]
    OtherGroup(Tag),
    #[error("{0} is missing")]
    Missing(&'static str),
    #[error("{0} is not two bytes long")]
    NotUnsignedShort(Tag),
}

/// The elements of one command set but the group length.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommandSet(BTreeMap<Tag, Bytes>);

impl CommandSet {
    /// A request without a data set; [`Self::announcing_data_set`] says otherwise.
    pub fn request(command_field: u16, message_id: u16) -> Self {
        Self::default()
            .with_u16(tags::COMMAND_FIELD, command_field)
            .with_u16(tags::MESSAGE_ID, message_id)
            .with_u16(tags::COMMAND_DATA_SET_TYPE, NO_DATA_SET)
    }

    /// C-CANCEL of the request with this message id, PS3.7 9.3.2.3.
    pub fn cancel(message_id: u16) -> Self {
        Self::default()
            .with_u16(tags::COMMAND_FIELD, field::C_CANCEL)
            .with_u16(tags::MESSAGE_ID_BEING_RESPONDED_TO, message_id)
            .with_u16(tags::COMMAND_DATA_SET_TYPE, NO_DATA_SET)
    }

    /// The answer to this request, naming the same SOP class and instance (PS3.7 9.3), and of a
    /// notification or action (10.3) the same type.
    pub fn response(&self, status: u16) -> Result<Self, CommandError> {
        let mut response = Self::default()
            .with_u16(tags::COMMAND_FIELD, self.command_field()? | field::RESPONSE)
            .with_u16(tags::MESSAGE_ID_BEING_RESPONDED_TO, self.message_id()?)
            .with_u16(tags::COMMAND_DATA_SET_TYPE, NO_DATA_SET)
            .with_u16(tags::STATUS, status);
        let named = [
            (tags::AFFECTED_SOP_CLASS_UID, tags::REQUESTED_SOP_CLASS_UID),
            (tags::AFFECTED_SOP_INSTANCE_UID, tags::REQUESTED_SOP_INSTANCE_UID),
            (tags::EVENT_TYPE_ID, tags::EVENT_TYPE_ID),
            (tags::ACTION_TYPE_ID, tags::ACTION_TYPE_ID),
        ];
        for (tag, requested) in named {
            let value = self.0.get(&tag).or_else(|| self.0.get(&requested));
            response.0.extend(value.map(|value| (tag, even(value))));
        }
        Ok(response)
    }

    pub fn announcing_data_set(self) -> Self {
        self.with_u16(tags::COMMAND_DATA_SET_TYPE, 0)
    }

    pub fn with_u16(mut self, tag: Tag, value: u16) -> Self {
        self.0.insert(tag, Bytes::copy_from_slice(&value.to_le_bytes()));
        self
    }

    /// The answer that refuses this request, with the element that is to blame (PS3.7 C.4).
    pub fn refusal(&self, status: u16, comment: &str, offending: Option<Tag>) -> Result<Self, CommandError> {
        let refusal = self.response(status)?.with_error_comment(comment);
        Ok(offending.into_iter().fold(refusal, |refusal, tag| refusal.with_tag(tags::OFFENDING_ELEMENT, tag)))
    }

    /// An element of VR AT.
    pub fn with_tag(mut self, tag: Tag, value: Tag) -> Self {
        let [a, b] = value.group().to_le_bytes();
        let [c, d] = value.element().to_le_bytes();
        self.0.insert(tag, Bytes::copy_from_slice(&[a, b, c, d]));
        self
    }

    pub fn with_uid(self, tag: Tag, uid: &str) -> Self {
        self.with_padded(tag, uid, 0)
    }

    /// A value of a text VR.
    pub fn with_text(self, tag: Tag, text: &str) -> Self {
        self.with_padded(tag, text, b' ')
    }

    /// Error Comment (0000,0902), cut to what VR LO holds.
    pub fn with_error_comment(self, comment: &str) -> Self {
        let plain = comment.chars().map(|c| if (' '..='~').contains(&c) && c != '\\' { c } else { '?' });
        let comment: String = plain.take(ERROR_COMMENT_CHARACTERS_MAX).collect();
        self.with_padded(tags::ERROR_COMMENT, &comment, b' ')
    }

    fn with_padded(mut self, tag: Tag, text: &str, padding: u8) -> Self {
        let mut value = BytesMut::from(text.as_bytes());
        if value.len() % 2 == 1 {
            value.put_u8(padding);
        }
        self.0.insert(tag, value.freeze());
        self
    }

    pub fn command_field(&self) -> Result<u16, CommandError> {
        self.u16(tags::COMMAND_FIELD)?.ok_or(CommandError::Missing("Command Field (0000,0100)"))
    }

    pub fn message_id(&self) -> Result<u16, CommandError> {
        self.u16(tags::MESSAGE_ID)?.ok_or(CommandError::Missing("Message ID (0000,0110)"))
    }

    pub fn has_data_set(&self) -> Result<bool, CommandError> {
        let kind = self.u16(tags::COMMAND_DATA_SET_TYPE)?;
        Ok(kind.ok_or(CommandError::Missing("Command Data Set Type (0000,0800)"))? != NO_DATA_SET)
    }

    pub fn status(&self) -> Result<u16, CommandError> {
        self.u16(tags::STATUS)?.ok_or(CommandError::Missing("Status (0000,0900)"))
    }

    pub fn u16(&self, tag: Tag) -> Result<Option<u16>, CommandError> {
        let short = |value: &Bytes| <[u8; 2]>::try_from(&value[..]).map(u16::from_le_bytes);
        self.0.get(&tag).map(short).transpose().map_err(|_| CommandError::NotUnsignedShort(tag))
    }

    /// The values of an element of VR AT; what is cut off is left out.
    pub fn tags(&self, tag: Tag) -> Vec<Tag> {
        let (values, _) = self.0.get(&tag).map(|value| value.as_chunks::<4>()).unwrap_or_default();
        let tag = |[a, b, c, d]: &[u8; 4]| Tag(u16::from_le_bytes([*a, *b]), u16::from_le_bytes([*c, *d]));
        values.iter().map(tag).collect()
    }

    /// Without the padding. What ASCII cannot show is replaced: it goes into log lines and to
    /// terminals.
    pub fn text(&self, tag: Tag) -> Option<String> {
        let text = String::from_utf8_lossy(self.0.get(&tag)?);
        let shown = |c: char| if (' '..='~').contains(&c) { c } else { '?' };
        Some(text.trim_matches(['\0', ' ']).chars().map(shown).collect())
    }

    pub fn encode(&self) -> Bytes {
        let body: usize = self.0.values().map(|value| 8 + value.len()).sum();
        let mut out = BytesMut::with_capacity(12 + body);
        put_element(&mut out, tags::COMMAND_GROUP_LENGTH, &(body as u32).to_le_bytes());
        for (tag, value) in &self.0 {
            put_element(&mut out, *tag, value);
        }
        out.freeze()
    }

    pub fn decode(mut bytes: Bytes) -> Result<Self, CommandError> {
        let mut elements = BTreeMap::new();
        while bytes.has_remaining() {
            let (tag, value) = take_element(&mut bytes)?;
            elements.insert(tag, value);
        }
        elements.remove(&tags::COMMAND_GROUP_LENGTH);
        Ok(Self(elements))
    }
}

/// A UID that came without its padding goes back with it.
fn even(value: &Bytes) -> Bytes {
    if value.len().is_multiple_of(2) { value.clone() } else { [value, &b"\0"[..]].concat().into() }
}

fn put_element(out: &mut BytesMut, tag: Tag, value: &[u8]) {
    out.put_u16_le(tag.group());
    out.put_u16_le(tag.element());
    out.put_u32_le(value.len() as u32);
    out.put_slice(value);
}

fn take_element(bytes: &mut Bytes) -> Result<(Tag, Bytes), CommandError> {
    if bytes.len() < 8 {
        return Err(CommandError::Truncated);
    }
    let tag = Tag(bytes.get_u16_le(), bytes.get_u16_le());
    let length = bytes.get_u32_le() as usize;
    match (tag.group(), length <= bytes.len()) {
        (0, true) => Ok((tag, bytes.split_to(length))),
        (0, false) => Err(CommandError::Truncated),
        _ => Err(CommandError::OtherGroup(tag)),
    }
}

/// Puts a command set together from its fragments.
#[derive(Debug, Default)]
pub struct CommandAssembler {
    context_id: Option<u8>,
    bytes: BytesMut,
}

impl CommandAssembler {
    /// The command set when the fragment was its last.
    pub fn push(&mut self, fragment: &Fragment) -> Result<Option<Contextual<CommandSet>>, UlError> {
        if *self.context_id.get_or_insert(fragment.context_id) != fragment.context_id {
            return Err(UlError::Unexpected("a second presentation context within a message"));
        }
        if self.bytes.len() + fragment.bytes.len() > COMMAND_SET_BYTES_MAX {
            return Err(CommandError::TooLong.into());
        }
        self.bytes.extend_from_slice(&fragment.bytes);
        if !fragment.last {
            return Ok(None);
        }
        self.context_id = None;
        let message = CommandSet::decode(self.bytes.split().freeze())?;
        Ok(Some(Contextual { context_id: fragment.context_id, message }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ul::MessagePart;

    fn store_request() -> CommandSet {
        CommandSet::request(field::C_STORE, 7)
            .with_uid(tags::AFFECTED_SOP_CLASS_UID, "1.2.3")
            .with_uid(tags::AFFECTED_SOP_INSTANCE_UID, "1.2.3.4")
            .announcing_data_set()
    }

    fn fragment(bytes: Bytes, context_id: u8, last: bool) -> Fragment {
        Fragment { context_id, part: MessagePart::Command, last, bytes }
    }

    #[test]
    fn encodes_even_lengths_behind_the_group_length() {
        let bytes = CommandSet::default().with_uid(tags::AFFECTED_SOP_CLASS_UID, "1.2").encode();
        assert_eq!(&bytes[..], b"\0\0\0\0\x04\0\0\0\x0c\0\0\0\0\0\x02\0\x04\0\0\x001.2\0");
    }

    #[test]
    fn reads_back_what_it_wrote() {
        let request = CommandSet::decode(store_request().encode()).unwrap();
        assert_eq!(request, store_request());
        assert_eq!(request.text(tags::AFFECTED_SOP_INSTANCE_UID).as_deref(), Some("1.2.3.4"));
        assert_eq!(request.has_data_set(), Ok(true));
    }

    #[test]
    fn a_response_names_the_message_and_the_instance() {
        let response = store_request().response(0xA700).unwrap();
        assert_eq!(response.command_field(), Ok(0x8001));
        assert_eq!(response.u16(tags::MESSAGE_ID_BEING_RESPONDED_TO), Ok(Some(7)));
        assert_eq!(response.text(tags::AFFECTED_SOP_CLASS_UID).as_deref(), Some("1.2.3"));
        assert_eq!((response.status(), response.has_data_set()), (Ok(0xA700), Ok(false)));
    }

    #[test]
    fn a_response_is_even_where_the_request_was_odd() {
        let odd = CommandSet::decode(Bytes::from_static(b"\0\0\x02\0\x03\0\0\x001.2")).unwrap();
        let odd = odd.with_u16(tags::COMMAND_FIELD, field::C_ECHO).with_u16(tags::MESSAGE_ID, 1);
        assert_eq!(odd.response(status::SUCCESS).unwrap().encode().len() % 2, 0);
    }

    #[test]
    fn the_response_to_an_action_affects_what_was_requested() {
        let action = CommandSet::request(field::N_ACTION, 3)
            .with_uid(tags::REQUESTED_SOP_INSTANCE_UID, "1.2.3")
            .with_u16(tags::ACTION_TYPE_ID, 1);
        let response = action.response(status::SUCCESS).unwrap();
        assert_eq!(response.text(tags::AFFECTED_SOP_INSTANCE_UID).as_deref(), Some("1.2.3"));
        assert_eq!(response.u16(tags::ACTION_TYPE_ID), Ok(Some(1)));
        assert_eq!(response.text(tags::REQUESTED_SOP_INSTANCE_UID), None);
    }

    #[test]
    fn an_error_comment_fits_its_representation() {
        let comment = CommandSet::default().with_error_comment(&"é\\x".repeat(40)).text(tags::ERROR_COMMENT);
        assert_eq!(comment, Some("??x".repeat(22)[..64].to_owned()));
    }

    #[test]
    fn text_of_a_peer_steers_no_terminal() {
        let comment = CommandSet::default().with_text(tags::ERROR_COMMENT, "\u{1b}[2Jno\nway é\0");
        assert_eq!(comment.text(tags::ERROR_COMMENT).as_deref(), Some("?[2Jno?way ?"));
    }

    #[test]
    fn a_peer_makes_only_so_many_labels() {
        let labels: std::collections::BTreeSet<String> = (0..=u16::MAX).map(status::label).collect();
        assert!(labels.len() < 64, "{}", labels.len());
        assert_eq!(
            [0x0000, 0xB007, 0xA7F1, 0xC123, 0x7777].map(status::label),
            ["0000", "B007", "A7xx", "Cxxx", "other"]
        );
    }

    #[test]
    fn refuses_broken_command_sets() {
        let decode = |bytes: &'static [u8]| CommandSet::decode(Bytes::from_static(bytes));
        assert_eq!(decode(b"\0\0\0\x01"), Err(CommandError::Truncated));
        assert_eq!(decode(b"\0\0\0\x01\xff\xff\xff\xff"), Err(CommandError::Truncated));
        assert_eq!(decode(b"\x08\0\x18\0\0\0\0\0"), Err(CommandError::OtherGroup(tags::SOP_INSTANCE_UID)));
        let odd = decode(b"\0\0\0\x01\x01\0\0\0\x07").unwrap();
        assert_eq!(odd.command_field(), Err(CommandError::NotUnsignedShort(tags::COMMAND_FIELD)));
    }

    #[test]
    fn assembles_fragments_of_any_length() {
        let (bytes, mut assembler) = (store_request().encode(), CommandAssembler::default());
        assert!(assembler.push(&fragment(bytes.slice(..13), 5, false)).unwrap().is_none());
        assert!(assembler.push(&fragment(Bytes::new(), 5, false)).unwrap().is_none());
        let done = assembler.push(&fragment(bytes.slice(13..), 5, true)).unwrap().unwrap();
        assert_eq!((done.context_id, done.message), (5, store_request()));
    }

    #[test]
    fn bounds_what_it_assembles() {
        let mut assembler = CommandAssembler::default();
        assembler.push(&fragment(Bytes::from(vec![0; COMMAND_SET_BYTES_MAX]), 1, false)).unwrap();
        let error = assembler.push(&fragment(Bytes::from_static(&[0]), 1, false)).unwrap_err();
        assert!(matches!(error, UlError::Command(CommandError::TooLong)), "{error}");
    }
}
