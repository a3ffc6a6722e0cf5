//! The Native DICOM Model, PS3.19 A.1, in which `application/dicom+xml` is written.
//!
//! Both directions stand on the DICOM JSON model (PS3.18 annex F): what [`write()`] makes of a data
//! set, [`read()`] turns into the same data set.

mod private;
mod read;
#[cfg(test)]
mod tests;
mod write;

use dicom_core::Tag;

pub use read::read;
pub use write::{allowed, write, write_with};

pub const MEDIA_TYPE: &str = "application/dicom+xml";

const NAMESPACE: &str = "http://dicom.nema.org/PS3.19/models/NativeDICOM";

/// The groups of a person's name, in JSON and in XML.
const NAME_GROUPS: [&str; 3] = ["Alphabetic", "Ideographic", "Phonetic"];

/// The components of a group, in the order of PS3.5 6.2.1.
const NAME_COMPONENTS: [&str; 5] = ["FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix"];

/// What is too much for a document. Its length is the affair of whoever received it.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub depth_max: usize,
    /// Attributes, items and values.
    pub elements_max: usize,
}

/// Why a document is no data set. The texts hold nothing of its values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum XmlError {
    #[error("the document is not well-formed at byte {at}")]
    Malformed { at: u64 },
    #[error("a document type is not taken")]
    DocumentType,
    #[error("only the five entities that XML predefines are known")]
    Entity,
    #[error("the root is not NativeDicomModel")]
    Root,
    #[error("there is text where an element belongs at byte {at}")]
    StrayText { at: u64 },
    #[error("there is an element where {expected} belongs at byte {at}")]
    StrayElement { expected: &'static str, at: u64 },
    #[error("{element} has no {attribute} at byte {at}")]
    MissingAttribute { element: &'static str, attribute: &'static str, at: u64 },
    #[error("the tag at byte {at} is not eight hexadecimal digits")]
    BadTag { at: u64 },
    #[error("attribute {tag} has no known value representation")]
    BadVr { tag: Tag },
    #[error("attribute {tag} is there twice")]
    Twice { tag: Tag },
    #[error("the content of attribute {tag} is not of its value representation")]
    BadContent { tag: Tag },
    #[error("the values of attribute {tag} are not numbered upwards from 1")]
    BadNumber { tag: Tag },
    #[error("group {group:04X} has no block left for a private creator")]
    NoBlock { group: u16 },
    #[error("{what} is beyond the limit of {limit}")]
    Limit { what: &'static str, limit: usize },
}
