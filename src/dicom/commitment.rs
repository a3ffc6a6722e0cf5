//! The data sets of the Storage Commitment Push Model, PS3.4 J.3: what a node asks us to commit to,
//! and what is reported of it. Both are small enough to be held.

use std::io::Cursor;

use dicom_core::value::DataSetSequence;
use dicom_core::{DataElement, Length, Tag, VR, dicom_value};
use dicom_dictionary_std::tags;
use dicom_encoding::transfer_syntax::{TransferSyntax, TransferSyntaxIndex};
use dicom_object::InMemDicomObject;
use dicom_transfer_syntax_registry::TransferSyntaxRegistry;

use super::header::{self, HeaderError, Limits};
use super::uid::{SopClassUid, SopInstanceUid, TransactionUid, TransferSyntaxUid, UidError};

/// The well-known SOP Instance that requests and reports are about, PS3.4 J.3.5.
pub const WELL_KNOWN_INSTANCE: &str = "1.2.840.10008.1.20.1.1";
/// Action Type ID (0000,1008): request storage commitment, PS3.4 Table J.3-1.
pub const REQUEST_ACTION: u16 = 1;

/// Event Type ID (0000,1002), PS3.4 Table J.3-2.
pub mod event {
    /// Everything is committed.
    pub const SUCCESSFUL: u16 = 1;
    pub const FAILURES_EXIST: u16 = 2;
}

/// Failure Reason (0008,1197), PS3.3 C.14.1.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureReason {
    ProcessingFailure,
    NoSuchInstance,
    ResourceLimitation,
    SopClassNotSupported,
    ClassInstanceConflict,
    DuplicateTransaction,
}

impl FailureReason {
    pub const ALL: [Self; 6] = [
        Self::ProcessingFailure,
        Self::NoSuchInstance,
        Self::ClassInstanceConflict,
        Self::SopClassNotSupported,
        Self::DuplicateTransaction,
        Self::ResourceLimitation,
    ];

    pub const fn code(self) -> u16 {
        match self {
            Self::ProcessingFailure => 0x0110,
            Self::NoSuchInstance => 0x0112,
            Self::ClassInstanceConflict => 0x0119,
            Self::SopClassNotSupported => 0x0122,
            Self::DuplicateTransaction => 0x0131,
            Self::ResourceLimitation => 0x0213,
        }
    }

    /// When we report it.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::ProcessingFailure => {
                "what is stored cannot be read, or is no longer what was stored: its digest differs"
            }
            Self::NoSuchInstance => "the instance is not stored",
            Self::ClassInstanceConflict => "the instance is stored and has another SOP class",
            Self::SopClassNotSupported => "the SOP class is not accepted for storage",
            Self::DuplicateTransaction => "the Transaction UID is in use for another request",
            Self::ResourceLimitation => {
                "the instance could not be looked at, for want of descriptors or memory"
            }
        }
    }
}

/// One item of a Referenced SOP Sequence.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    pub sop_class: SopClassUid,
    pub sop_instance: SopInstanceUid,
}

/// The Action Information of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub transaction: TransactionUid,
    pub references: Vec<Reference>,
}

/// The Event Information of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub transaction: TransactionUid,
    pub committed: Vec<Reference>,
    pub failed: Vec<Failed>,
    /// From whom the committed instances can be retrieved.
    pub retrieve_aet: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    pub reference: Reference,
    /// As the peer says it, which may be none of [`FailureReason`].
    pub reason: u16,
}

#[derive(Debug, thiserror::Error)]
pub enum DataSetError {
    #[error("the data set cannot be read: {0}")]
    Read(#[from] HeaderError),
    #[error("the data set has no {0}")]
    Missing(&'static str),
    #[error("{attribute} is not a UID: {source}")]
    BadUid { attribute: &'static str, source: UidError },
    #[error("the data set has more than {0} references")]
    TooManyReferences(usize),
    #[error("messages are not encoded in transfer syntax {0}")]
    TransferSyntax(TransferSyntaxUid),
    #[error("the data set cannot be written: {0}")]
    Write(String),
}

const TRANSACTION: &str = "Transaction UID (0008,1195)";
const SOP_CLASS: &str = "Referenced SOP Class UID (0008,1150)";
const SOP_INSTANCE: &str = "Referenced SOP Instance UID (0008,1155)";

impl Request {
    /// # Errors
    /// No reference at all, or more than `references_max`, is none.
    pub fn decode(
        bytes: &[u8],
        syntax: &TransferSyntaxUid,
        references_max: usize,
    ) -> Result<Self, DataSetError> {
        let elements = read(bytes, syntax, references_max)?;
        let transaction = uid(&elements, tags::TRANSACTION_UID, TRANSACTION)?;
        let items = items(&elements, tags::REFERENCED_SOP_SEQUENCE);
        if items.is_empty() {
            return Err(DataSetError::Missing("Referenced SOP Sequence (0008,1199)"));
        }
        Ok(Self { transaction, references: references(items, references_max)? })
    }

    pub fn encode(&self, syntax: &TransferSyntaxUid) -> Result<Vec<u8>, DataSetError> {
        let elements = InMemDicomObject::from_element_iter([
            DataElement::new(tags::TRANSACTION_UID, VR::UI, self.transaction.as_str()),
            sequence(tags::REFERENCED_SOP_SEQUENCE, self.references.iter().map(item)),
        ]);
        write(&elements, syntax)
    }
}

impl Report {
    pub fn event_type(&self) -> u16 {
        if self.failed.is_empty() { event::SUCCESSFUL } else { event::FAILURES_EXIST }
    }

    pub fn decode(
        bytes: &[u8],
        syntax: &TransferSyntaxUid,
        references_max: usize,
    ) -> Result<Self, DataSetError> {
        let elements = read(bytes, syntax, references_max)?;
        let retrieve_aet = text(&elements, tags::RETRIEVE_AE_TITLE);
        Ok(Self {
            transaction: uid(&elements, tags::TRANSACTION_UID, TRANSACTION)?,
            committed: references(items(&elements, tags::REFERENCED_SOP_SEQUENCE), references_max)?,
            failed: failed(items(&elements, tags::FAILED_SOP_SEQUENCE), references_max)?,
            retrieve_aet: Some(retrieve_aet).filter(|aet| !aet.is_empty()),
        })
    }

    /// Sequences without items are left out: what failed is there only if something did.
    pub fn encode(&self, syntax: &TransferSyntaxUid) -> Result<Vec<u8>, DataSetError> {
        let mut elements = InMemDicomObject::from_element_iter([DataElement::new(
            tags::TRANSACTION_UID,
            VR::UI,
            self.transaction.as_str(),
        )]);
        if let Some(aet) = &self.retrieve_aet {
            elements.put(DataElement::new(tags::RETRIEVE_AE_TITLE, VR::AE, aet.as_str()));
        }
        if !self.committed.is_empty() {
            elements.put(sequence(tags::REFERENCED_SOP_SEQUENCE, self.committed.iter().map(item)));
        }
        if !self.failed.is_empty() {
            elements.put(sequence(tags::FAILED_SOP_SEQUENCE, self.failed.iter().map(failed_item)));
        }
        write(&elements, syntax)
    }
}

fn item(reference: &Reference) -> InMemDicomObject {
    InMemDicomObject::from_element_iter([
        DataElement::new(tags::REFERENCED_SOP_CLASS_UID, VR::UI, reference.sop_class.as_str()),
        DataElement::new(tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, reference.sop_instance.as_str()),
    ])
}

fn failed_item(failed: &Failed) -> InMemDicomObject {
    let mut item = item(&failed.reference);
    item.put(DataElement::new(tags::FAILURE_REASON, VR::US, dicom_value!(U16, [failed.reason])));
    item
}

fn sequence(tag: Tag, items: impl Iterator<Item = InMemDicomObject>) -> DataElement<InMemDicomObject> {
    let items: Vec<InMemDicomObject> = items.collect();
    DataElement::new(tag, VR::SQ, DataSetSequence::new(items, Length::UNDEFINED))
}

fn references(items: &[InMemDicomObject], max: usize) -> Result<Vec<Reference>, DataSetError> {
    if items.len() > max {
        return Err(DataSetError::TooManyReferences(max));
    }
    items.iter().map(reference).collect()
}

fn failed(items: &[InMemDicomObject], max: usize) -> Result<Vec<Failed>, DataSetError> {
    let references = references(items, max)?;
    let reason = |item: &InMemDicomObject| {
        let reason = item.get(tags::FAILURE_REASON).and_then(|element| element.to_int::<u16>().ok());
        // Left out, nothing more is known than that it failed.
        reason.unwrap_or(FailureReason::ProcessingFailure.code())
    };
    let pairs = references.into_iter().zip(items);
    Ok(pairs.map(|(reference, item)| Failed { reference, reason: reason(item) }).collect())
}

fn reference(item: &InMemDicomObject) -> Result<Reference, DataSetError> {
    Ok(Reference {
        sop_class: uid(item, tags::REFERENCED_SOP_CLASS_UID, SOP_CLASS)?,
        sop_instance: uid(item, tags::REFERENCED_SOP_INSTANCE_UID, SOP_INSTANCE)?,
    })
}

fn items(elements: &InMemDicomObject, tag: Tag) -> &[InMemDicomObject] {
    elements.get(tag).and_then(|element| element.items()).unwrap_or_default()
}

fn uid<T: std::str::FromStr<Err = UidError>>(
    elements: &InMemDicomObject,
    tag: Tag,
    attribute: &'static str,
) -> Result<T, DataSetError> {
    match text(elements, tag).parse() {
        Err(UidError::Empty) => Err(DataSetError::Missing(attribute)),
        Err(source) => Err(DataSetError::BadUid { attribute, source }),
        Ok(uid) => Ok(uid),
    }
}

fn text(elements: &InMemDicomObject, tag: Tag) -> String {
    let value = elements.get(tag).and_then(|element| element.to_str().ok());
    value.map(|text| text.trim_matches([' ', '\0']).to_owned()).unwrap_or_default()
}

/// Items and elements are counted before they are kept: each of these costs far more to hold than
/// to send.
fn read(
    bytes: &[u8],
    syntax: &TransferSyntaxUid,
    references_max: usize,
) -> Result<InMemDicomObject, DataSetError> {
    /// Attributes of an item that we do not ask for are tolerated, up to this.
    const ELEMENTS_OF_A_REFERENCE: usize = 8;
    let limits = Limits {
        inline_bytes_max: 1 << 16,
        header_bytes_max: bytes.len() as u64,
        depth_max: 4,
        elements_max: references_max.saturating_add(8).saturating_mul(ELEMENTS_OF_A_REFERENCE),
        fragments_max: 0,
    };
    Ok(header::read(&mut Cursor::new(bytes), known(syntax)?, limits)?.elements)
}

fn write(elements: &InMemDicomObject, syntax: &TransferSyntaxUid) -> Result<Vec<u8>, DataSetError> {
    let mut bytes = Vec::new();
    let written = elements.write_dataset_with_ts(&mut bytes, known(syntax)?);
    written.map_err(|error| DataSetError::Write(crate::causes::chain(&error)))?;
    Ok(bytes)
}

fn known(syntax: &TransferSyntaxUid) -> Result<&'static TransferSyntax, DataSetError> {
    let plain = TransferSyntaxRegistry.get(syntax.as_str()).filter(|syntax| syntax.is_codec_free());
    plain.ok_or_else(|| DataSetError::TransferSyntax(syntax.clone()))
}

#[cfg(test)]
mod tests {
    use dicom_dictionary_std::uids;

    use super::*;

    #[expect(deprecated, reason = "still negotiated by old devices")]
    const SYNTAXES: [&str; 3] =
        [uids::IMPLICIT_VR_LITTLE_ENDIAN, uids::EXPLICIT_VR_LITTLE_ENDIAN, uids::EXPLICIT_VR_BIG_ENDIAN];

    fn reference(number: u32) -> Reference {
        Reference {
            sop_class: uids::CT_IMAGE_STORAGE.parse().unwrap(),
            sop_instance: format!("1.2.3.{number}").parse().unwrap(),
        }
    }

    fn request(references: u32) -> Request {
        Request {
            transaction: "2.25.7".parse().unwrap(),
            references: (1..=references).map(reference).collect(),
        }
    }

    fn implicit() -> TransferSyntaxUid {
        SYNTAXES[0].parse().unwrap()
    }

    #[test]
    fn a_request_is_read_as_it_was_written() {
        for syntax in SYNTAXES.map(|uid| uid.parse().unwrap()) {
            let bytes = request(3).encode(&syntax).unwrap();
            assert_eq!(Request::decode(&bytes, &syntax, 3).unwrap(), request(3));
        }
    }

    #[test]
    fn a_report_is_read_as_it_was_written_and_says_whether_something_failed() {
        let failed = vec![Failed { reference: reference(2), reason: 0x0112 }];
        let all = Report {
            transaction: "2.25.7".parse().unwrap(),
            committed: vec![reference(1)],
            failed: vec![],
            retrieve_aet: Some("RADIANT".into()),
        };
        for syntax in SYNTAXES.map(|uid| uid.parse().unwrap()) {
            for (report, event) in [(all.clone(), 1), (Report { failed: failed.clone(), ..all.clone() }, 2)] {
                let bytes = report.encode(&syntax).unwrap();
                assert_eq!(
                    (Report::decode(&bytes, &syntax, 9).unwrap(), report.event_type()),
                    (report, event)
                );
            }
        }
    }

    #[test]
    fn references_are_counted_before_they_are_kept() {
        let bytes = request(100).encode(&implicit()).unwrap();
        assert!(matches!(Request::decode(&bytes, &implicit(), 99), Err(DataSetError::TooManyReferences(99))));
        assert!(matches!(
            Request::decode(&bytes, &implicit(), 1),
            Err(DataSetError::Read(HeaderError::Limit { .. }))
        ));
    }

    #[test]
    fn what_a_request_needs_is_named() {
        let missing = |bytes: &[u8]| Request::decode(bytes, &implicit(), 9).unwrap_err().to_string();
        assert_eq!(missing(b""), "the data set has no Transaction UID (0008,1195)");
        let transaction = b"\x08\0\x95\x11\x06\0\0\x002.25.7";
        assert_eq!(missing(transaction), "the data set has no Referenced SOP Sequence (0008,1199)");
        let without_item = [&transaction[..], b"\x08\0\x99\x11\x08\0\0\0\xfe\xff\0\xe0\0\0\0\0"].concat();
        assert_eq!(missing(&without_item), "the data set has no Referenced SOP Class UID (0008,1150)");
        assert!(missing(&without_item[..20]).starts_with("the data set cannot be read"));
    }

    #[test]
    fn compressed_transfer_syntaxes_are_none_of_messages() {
        let error = request(1).encode(&uids::JPEG2000.parse().unwrap()).unwrap_err();
        assert!(matches!(error, DataSetError::TransferSyntax(_)), "{error}");
    }
}
