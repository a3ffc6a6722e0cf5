//! Why a retrieval does not begin, in the words of PS3.4 C.4.2.1.5 and C.4.3.1.4.

use dicom_core::Tag;
use dicom_dictionary_std::tags;

use crate::audit::Unrecorded;
use crate::db::DbError;
use crate::dicom::header::hex;
use crate::ul::command::{CommandError, CommandSet};

/// No value of an identifier stands in these texts: they go into logs.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error(transparent)]
    Unrecorded(#[from] Unrecorded),
    #[error("the identifier is missing")]
    NoIdentifier,
    #[error("the Affected SOP Class UID is not that of the context")]
    SopClass,
    #[error("the identifier is longer than {0} bytes")]
    TooLong(u64),
    #[error("the identifier cannot be read")]
    Unreadable,
    #[error("there is no PATIENT level in the study root")]
    NoPatientLevel,
    #[error("Query/Retrieve Level takes PATIENT, STUDY, SERIES or IMAGE")]
    UnknownLevel,
    #[error("unique key {} is missing", hex(*.0))]
    Missing(Tag),
    #[error("{} takes one value at this level", hex(*.0))]
    Several(Tag),
    #[error("{} has a value that is not a UID", hex(*.0))]
    NotAUid(Tag),
    #[error("the move destination is not a node that can be called")]
    Destination,
    #[error("the index failed")]
    Index(#[from] DbError),
}

const CANNOT_COUNT: u16 = 0xA701;
const DESTINATION_UNKNOWN: u16 = 0xA801;
const IDENTIFIER_DOES_NOT_MATCH: u16 = 0xA900;
/// Of the range that means "unable to process".
const UNREADABLE: u16 = 0xC000;

impl Refusal {
    pub(super) fn status(&self) -> u16 {
        match self {
            Self::Destination => DESTINATION_UNKNOWN,
            Self::Unrecorded(_) | Self::TooLong(_) | Self::Index(_) => CANNOT_COUNT,
            Self::Unreadable => UNREADABLE,
            Self::NoIdentifier
            | Self::SopClass
            | Self::NoPatientLevel
            | Self::UnknownLevel
            | Self::Missing(_)
            | Self::Several(_)
            | Self::NotAUid(_) => IDENTIFIER_DOES_NOT_MATCH,
        }
    }

    pub(super) fn response(&self, request: &CommandSet) -> Result<CommandSet, CommandError> {
        request.refusal(self.status(), &self.to_string(), self.offending_element())
    }

    fn offending_element(&self) -> Option<Tag> {
        match self {
            Self::NoPatientLevel | Self::UnknownLevel => Some(tags::QUERY_RETRIEVE_LEVEL),
            Self::Missing(tag) | Self::Several(tag) | Self::NotAUid(tag) => Some(*tag),
            _ => None,
        }
    }
}
