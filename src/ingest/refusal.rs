//! Why an object was not stored, once for every protocol.

use std::io;

use crate::dicom::uid::{StudyUid, UidError};

#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("the sender stopped before the object was complete")]
    Interrupted(#[source] io::Error),
    #[error("the object is not a DICOM file: {0}")]
    NotDicom(String),
    #[error("the data set ends in the middle of an element: {0}")]
    Truncated(String),
    #[error("the data set cannot be parsed: {0}")]
    Unparsable(String),
    #[error("the object has no {0}")]
    MissingAttribute(&'static str),
    #[error("{attribute} is not a UID: {source}")]
    BadUid { attribute: &'static str, source: UidError },
    #[error("the {attribute} of the data set is not the one of the command")]
    CommandMismatch { attribute: &'static str },
    #[error("the object belongs to another study than {0}")]
    OtherStudy(StudyUid),
    #[error("the series belongs to another study")]
    SeriesOfAnotherStudy,
    /// Only results of an analysis are refused so: what was deleted does not come back by itself.
    #[error("the study that the result is about is no longer there")]
    StudyGone,
    /// The object belongs to something that its sender cannot see; what that is, is not told.
    #[error("the sender is not authorized to store this object")]
    OutOfReach,
    #[error("SOP class {0} is not accepted")]
    SopClassNotAccepted(String),
    #[error("transfer syntax {0} is not accepted")]
    TransferSyntaxNotAccepted(String),
    #[error("another object with this SOP Instance UID is stored already")]
    Conflict,
    #[error("the study is held: nothing of it is replaced")]
    Held,
    #[error("the message has no bulk data for a BulkDataURI of the metadata")]
    MissingBulkData,
    #[error("the pixel data is not taken: {0}")]
    PixelDataNotAccepted(&'static str),
    #[error("the pixel data has another {attribute} than the metadata says")]
    PixelDataMismatch { attribute: &'static str },
    #[error("the object is larger than {limit_bytes} bytes")]
    TooLarge { limit_bytes: u64 },
    #[error("{what} is beyond the limit of {limit}")]
    LimitExceeded { what: &'static str, limit: u64 },
    #[error("there is no space left for the object")]
    OutOfSpace(#[source] io::Error),
    #[error("the object store does not take the object")]
    StoreAway(#[source] io::Error),
    #[error("the object could not be written")]
    Storage(#[source] io::Error),
    #[error("the index could not be written")]
    Index(#[source] crate::db::DbError),
    #[error("the server is stopping")]
    Stopping,
}

impl Refusal {
    /// C-STORE status, PS3.4 B.2.3.
    pub fn dimse_status(&self) -> u16 {
        match self {
            Self::OutOfSpace(_) | Self::StoreAway(_) | Self::TooLarge { .. } | Self::LimitExceeded { .. } => {
                0xA700
            }
            Self::CommandMismatch { .. }
            | Self::OtherStudy(_)
            | Self::SeriesOfAnotherStudy
            | Self::StudyGone
            | Self::PixelDataMismatch { .. } => 0xA900,
            Self::Truncated(_)
            | Self::NotDicom(_)
            | Self::Unparsable(_)
            | Self::MissingAttribute(_)
            | Self::BadUid { .. }
            | Self::MissingBulkData
            | Self::PixelDataNotAccepted(_)
            | Self::TransferSyntaxNotAccepted(_) => 0xC000,
            Self::SopClassNotAccepted(_) => 0x0122,
            Self::OutOfReach => 0x0124,
            Self::Conflict | Self::Held => 0x0111,
            Self::Interrupted(_) | Self::Storage(_) | Self::Index(_) | Self::Stopping => 0x0110,
        }
    }

    /// Failure Reason (0008,1197), PS3.18 Table I.2-2.
    pub fn stow_reason(&self) -> u16 {
        match self {
            Self::TransferSyntaxNotAccepted(_) => 0xC122,
            other => other.dimse_status(),
        }
    }

    /// For metrics: one word per reason.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Interrupted(_) => "interrupted",
            Self::NotDicom(_) => "not-dicom",
            Self::Truncated(_) => "truncated",
            Self::Unparsable(_) => "unparsable",
            Self::MissingAttribute(_) => "missing-attribute",
            Self::BadUid { .. } => "bad-uid",
            Self::CommandMismatch { .. } => "command-mismatch",
            Self::OtherStudy(_) => "other-study",
            Self::SeriesOfAnotherStudy => "series-of-another-study",
            Self::StudyGone => "study-gone",
            Self::SopClassNotAccepted(_) => "sop-class",
            Self::OutOfReach => "out-of-reach",
            Self::TransferSyntaxNotAccepted(_) => "transfer-syntax",
            Self::Conflict => "conflict",
            Self::Held => "held",
            Self::MissingBulkData => "missing-bulk-data",
            Self::PixelDataNotAccepted(_) => "pixel-data",
            Self::PixelDataMismatch { .. } => "pixel-data-mismatch",
            Self::TooLarge { .. } => "limit-instance-bytes",
            Self::LimitExceeded { .. } => "limit-header",
            Self::OutOfSpace(_) => "out-of-space",
            Self::StoreAway(_) => "store-away",
            Self::Storage(_) => "storage",
            Self::Index(_) => "index",
            Self::Stopping => "stopping",
        }
    }

    /// Which limit was hit, if any.
    pub fn limit(&self) -> Option<&'static str> {
        Some(match self {
            Self::TooLarge { .. } => "ingest.instance_bytes_max",
            Self::LimitExceeded { what: "the number of elements", .. } => "ingest.elements_max",
            Self::LimitExceeded { what: "the depth of sequences", .. } => "ingest.sequence_depth_max",
            Self::LimitExceeded { what: "a picture", .. } => "ingest.picture_bytes_max",
            Self::LimitExceeded { what: "shared bulk data", .. } => "fixed.bulk_data_bytes",
            Self::LimitExceeded { what: "a value of a short VR" | "the length of a value", .. } => {
                "fixed.value_bytes"
            }
            // The header, and data sets that are deflated, which are bounded as headers are.
            Self::LimitExceeded { .. } => "ingest.header_bytes_max",
            _ => return None,
        })
    }

    /// Whether the fault lies on this side: the same object may be accepted later.
    pub fn is_ours(&self) -> bool {
        matches!(
            self,
            Self::OutOfSpace(_) | Self::StoreAway(_) | Self::Storage(_) | Self::Index(_) | Self::Stopping
        )
    }
}
