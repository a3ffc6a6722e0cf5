//! A-ASSOCIATE-RQ and A-ASSOCIATE-AC, read item by item (PS3.8 9.3.2, 9.3.3 and D; PS3.7 D.3.3).
//!
//! An item ends where its length says, whatever it holds: what cannot be understood is passed
//! over and remembered as an oddity. The reader of dicom-ul refuses unknown items and trusts the
//! length that an item should have.

use bytes::{Buf, Bytes};
use dicom_ul::pdu::{
    AssociationAC, AssociationRQ, PresentationContextProposed, PresentationContextResult,
    PresentationContextResultReason as ContextResult, RequestorRoles, UserIdentity, UserIdentityType,
    UserVariableItem,
};

use super::UlError;
use super::oddities::{Oddities, Oddity};

const AE_TITLE_BYTES: usize = 16;
/// Version, AE titles and reserved bytes.
const HEAD_BYTES: usize = 2 + 2 + 2 * AE_TITLE_BYTES + 32;
/// Type, a reserved byte and the length.
const ITEM_HEADER_BYTES: usize = 4;

mod kind {
    pub(super) const APPLICATION_CONTEXT: u8 = 0x10;
    pub(super) const CONTEXT_PROPOSED: u8 = 0x20;
    pub(super) const CONTEXT_RESULT: u8 = 0x21;
    pub(super) const ABSTRACT_SYNTAX: u8 = 0x30;
    pub(super) const TRANSFER_SYNTAX: u8 = 0x40;
    pub(super) const USER_INFORMATION: u8 = 0x50;
    pub(super) const MAXIMUM_LENGTH: u8 = 0x51;
    pub(super) const IMPLEMENTATION_CLASS: u8 = 0x52;
    pub(super) const ASYNCHRONOUS_OPERATIONS: u8 = 0x53;
    pub(super) const ROLE_SELECTION: u8 = 0x54;
    pub(super) const IMPLEMENTATION_VERSION: u8 = 0x55;
    pub(super) const EXTENDED_NEGOTIATION: u8 = 0x56;
    pub(super) const COMMON_EXTENDED_NEGOTIATION: u8 = 0x57;
    pub(super) const USER_IDENTITY: u8 = 0x58;
    pub(super) const USER_IDENTITY_ANSWER: u8 = 0x59;
}

/// What both PDUs have.
struct Association {
    protocol_version: u16,
    called_ae_title: String,
    calling_ae_title: String,
    /// Empty when there is none.
    application_context_name: String,
    user_variables: Vec<UserVariableItem>,
    /// Presentation contexts, and what is of no known type.
    others: Vec<Item>,
}

/// The variable field of an A-ASSOCIATE-RQ.
pub(super) fn request(bytes: Bytes, oddities: &mut Oddities) -> Result<AssociationRQ, UlError> {
    let association = association(bytes, oddities)?;
    let presentation_contexts = contexts(association.others, kind::CONTEXT_PROPOSED, proposed, oddities)?;
    Ok(AssociationRQ {
        protocol_version: association.protocol_version,
        calling_ae_title: association.calling_ae_title,
        called_ae_title: association.called_ae_title,
        application_context_name: association.application_context_name,
        presentation_contexts,
        user_variables: association.user_variables,
    })
}

/// The variable field of an A-ASSOCIATE-AC.
pub(super) fn acceptance(bytes: Bytes, oddities: &mut Oddities) -> Result<AssociationAC, UlError> {
    let association = association(bytes, oddities)?;
    let presentation_contexts = contexts(association.others, kind::CONTEXT_RESULT, result, oddities)?;
    Ok(AssociationAC {
        protocol_version: association.protocol_version,
        calling_ae_title: association.calling_ae_title,
        called_ae_title: association.called_ae_title,
        application_context_name: association.application_context_name,
        presentation_contexts,
        user_variables: association.user_variables,
    })
}

/// The items of a kind; others are passed over (PS3.8 9.3.1).
fn contexts<T>(
    items: Vec<Item>,
    kind: u8,
    read: impl Fn(Bytes, &mut Oddities) -> Result<Option<T>, UlError>,
    oddities: &mut Oddities,
) -> Result<Vec<T>, UlError> {
    let mut contexts = Vec::new();
    for item in items {
        if item.kind == kind {
            contexts.extend(read(item.bytes, oddities)?);
        } else {
            oddities.insert(Oddity::UnknownItem);
        }
    }
    Ok(contexts)
}

fn association(mut bytes: Bytes, oddities: &mut Oddities) -> Result<Association, UlError> {
    if bytes.len() < HEAD_BYTES {
        return Err(UlError::Malformed("a negotiation PDU is cut off".into()));
    }
    let mut head = bytes.split_to(HEAD_BYTES);
    let protocol_version = head.get_u16();
    head.advance(2);
    let called_ae_title = ae_title(&head.split_to(AE_TITLE_BYTES), oddities);
    let calling_ae_title = ae_title(&head.split_to(AE_TITLE_BYTES), oddities);
    let mut association = Association {
        protocol_version,
        called_ae_title,
        calling_ae_title,
        application_context_name: String::new(),
        user_variables: Vec::new(),
        others: Vec::new(),
    };
    for item in items(bytes, oddities)? {
        match item.kind {
            kind::APPLICATION_CONTEXT => association.application_context_name = uid(&item.bytes, oddities),
            kind::USER_INFORMATION => {
                for item in items(item.bytes, oddities)? {
                    association.user_variables.extend(user_variable(item, oddities));
                }
            }
            _ => association.others.push(item),
        }
    }
    note_missing(&association.user_variables, oddities);
    Ok(association)
}

fn note_missing(items: &[UserVariableItem], oddities: &mut Oddities) {
    if !items.iter().any(|item| matches!(item, UserVariableItem::MaxLength(_))) {
        oddities.insert(Oddity::NoMaximumLength);
    }
    if !items.iter().any(|item| matches!(item, UserVariableItem::ImplementationClassUID(_))) {
        oddities.insert(Oddity::NoImplementationClass);
    }
}

struct Item {
    kind: u8,
    bytes: Bytes,
}

/// One after the other; what is too short for another is passed over.
fn items(mut bytes: Bytes, oddities: &mut Oddities) -> Result<Vec<Item>, UlError> {
    let mut items = Vec::new();
    while bytes.len() >= ITEM_HEADER_BYTES {
        let kind = bytes.get_u8();
        bytes.advance(1);
        let length = usize::from(bytes.get_u16());
        if length > bytes.len() {
            return Err(UlError::Malformed("an item is longer than what it is in".into()));
        }
        items.push(Item { kind, bytes: bytes.split_to(length) });
    }
    if !bytes.is_empty() {
        oddities.insert(Oddity::TrailingBytes);
    }
    Ok(items)
}

/// PS3.8 9.3.2.2. Without an abstract syntax it has an empty one, which nobody supports.
fn proposed(
    mut bytes: Bytes,
    oddities: &mut Oddities,
) -> Result<Option<PresentationContextProposed>, UlError> {
    if bytes.len() < 4 {
        oddities.insert(Oddity::ItemLength);
        return Ok(None);
    }
    let id = bytes.split_to(4).get_u8();
    let (mut abstract_syntax, mut transfer_syntaxes) = (String::new(), Vec::new());
    for item in items(bytes, oddities)? {
        match item.kind {
            kind::ABSTRACT_SYNTAX => abstract_syntax = uid(&item.bytes, oddities),
            kind::TRANSFER_SYNTAX => transfer_syntaxes.push(uid(&item.bytes, oddities)),
            _ => _ = oddities.insert(Oddity::UnknownItem),
        }
    }
    Ok(Some(PresentationContextProposed { id, abstract_syntax, transfer_syntaxes }))
}

/// PS3.8 9.3.3.2. A refused one may come without a transfer syntax.
fn result(mut bytes: Bytes, oddities: &mut Oddities) -> Result<Option<PresentationContextResult>, UlError> {
    if bytes.len() < 4 {
        oddities.insert(Oddity::ItemLength);
        return Ok(None);
    }
    let head = bytes.split_to(4);
    let reason = match head[2] {
        0 => ContextResult::Acceptance,
        1 => ContextResult::UserRejection,
        3 => ContextResult::AbstractSyntaxNotSupported,
        4 => ContextResult::TransferSyntaxesNotSupported,
        _ => ContextResult::NoReason,
    };
    let items = items(bytes, oddities)?;
    let transfer_syntax = items.into_iter().find(|item| item.kind == kind::TRANSFER_SYNTAX);
    let transfer_syntax = transfer_syntax.map(|item| uid(&item.bytes, oddities)).unwrap_or_default();
    Ok(Some(PresentationContextResult { id: head[0], reason, transfer_syntax }))
}

fn user_variable(item: Item, oddities: &mut Oddities) -> Option<UserVariableItem> {
    let Item { kind, bytes } = item;
    let known = match kind {
        kind::MAXIMUM_LENGTH => maximum_length(bytes, oddities),
        kind::IMPLEMENTATION_CLASS => Some(UserVariableItem::ImplementationClassUID(uid(&bytes, oddities))),
        kind::IMPLEMENTATION_VERSION => {
            Some(UserVariableItem::ImplementationVersionName(plain(&bytes).trim().to_owned()))
        }
        kind::ROLE_SELECTION => roles(bytes, oddities),
        kind::EXTENDED_NEGOTIATION => extended(bytes, oddities),
        kind::USER_IDENTITY => {
            identity(bytes.clone()).or(Some(UserVariableItem::Unknown(kind, bytes.into())))
        }
        kind::ASYNCHRONOUS_OPERATIONS | kind::COMMON_EXTENDED_NEGOTIATION | kind::USER_IDENTITY_ANSWER => {
            return Some(UserVariableItem::Unknown(kind, bytes.into()));
        }
        _ => {
            oddities.insert(Oddity::UnknownUserItem);
            return Some(UserVariableItem::Unknown(kind, bytes.into()));
        }
    };
    if known.is_none() {
        oddities.insert(Oddity::ItemLength);
    }
    known
}

fn maximum_length(mut bytes: Bytes, oddities: &mut Oddities) -> Option<UserVariableItem> {
    if bytes.len() > 4 {
        oddities.insert(Oddity::ItemLength);
    }
    bytes.try_get_u32().ok().map(UserVariableItem::MaxLength)
}

/// PS3.7 D.3.3.4.
fn roles(mut bytes: Bytes, oddities: &mut Oddities) -> Option<UserVariableItem> {
    let sop_class = uid(&prefixed(&mut bytes)?, oddities);
    let (scu, scp) = (bytes.try_get_u8().ok()? != 0, bytes.try_get_u8().ok()? != 0);
    Some(UserVariableItem::ScuScpRoleSelectionSubItem(sop_class, RequestorRoles { scu, scp }))
}

/// PS3.7 D.3.3.5.
fn extended(mut bytes: Bytes, oddities: &mut Oddities) -> Option<UserVariableItem> {
    let sop_class = uid(&prefixed(&mut bytes)?, oddities);
    Some(UserVariableItem::SopClassExtendedNegotiationSubItem(sop_class, bytes.into()))
}

/// PS3.7 D.3.3.7; none when it is of a type that the standard does not have.
fn identity(mut bytes: Bytes) -> Option<UserVariableItem> {
    let identity_type = match bytes.try_get_u8().ok()? {
        1 => UserIdentityType::Username,
        2 => UserIdentityType::UsernamePassword,
        3 => UserIdentityType::KerberosServiceTicket,
        4 => UserIdentityType::SamlAssertion,
        5 => UserIdentityType::Jwt,
        _ => return None,
    };
    let wants_response = bytes.try_get_u8().ok()? == 1;
    let (primary, secondary) = (prefixed(&mut bytes)?, prefixed(&mut bytes).unwrap_or_default());
    let identity = UserIdentity::new(wants_response, identity_type, primary.into(), secondary.into());
    Some(UserVariableItem::UserIdentityItem(identity))
}

/// Bytes behind their length.
fn prefixed(bytes: &mut Bytes) -> Option<Bytes> {
    let length = usize::from(bytes.try_get_u16().ok()?);
    (length <= bytes.len()).then(|| bytes.split_to(length))
}

fn uid(bytes: &[u8], oddities: &mut Oddities) -> String {
    let text = plain(bytes);
    let unpadded = text.trim_matches(['\0', ' ']);
    if unpadded.len() < text.len() {
        oddities.insert(Oddity::PaddedUid);
    }
    unpadded.to_owned()
}

fn ae_title(bytes: &[u8], oddities: &mut Oddities) -> String {
    let text = plain(bytes);
    let unpadded = text.trim_end_matches(' ');
    // Behind a zero is what a buffer held before.
    let title = unpadded.trim_matches(['\0', ' ']).split('\0').next().unwrap_or_default().trim_end();
    if title.len() < unpadded.len() {
        oddities.insert(Oddity::AeTitlePadding);
    }
    title.to_owned()
}

/// What is not of ISO 646 becomes a question mark: it goes into answers and log lines.
fn plain(bytes: &[u8]) -> String {
    let shown = |byte: &u8| match byte {
        0 | b' '..=b'~' => char::from(*byte),
        _ => '?',
    };
    bytes.iter().map(shown).collect()
}

#[cfg(test)]
mod tests;
