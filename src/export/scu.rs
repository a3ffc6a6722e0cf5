//! The requestor's side of DIMSE: objects to storage SCPs, files as they are and stored instances as
//! the peer takes them.

pub mod association;
pub mod commitment;
mod directory;
mod files;
pub mod find;
pub mod moving;
pub mod outgoing;
pub mod part10;
mod sender;

use std::io;

use association::{Association, Stream};
use part10::Part10Error;

use crate::causes::chain;
use crate::dicom::commitment::DataSetError;
use crate::dicom::uid::{SopClassUid, TransferSyntaxUid};
use crate::query::stored_object::ReadError;
use crate::query::transcoding::TranscodeError;
use crate::ul::UlError;

pub use directory::Directory;
pub use files::{SendOutcome, send_files};
pub use sender::{Destination, Sender};

/// Presentation context ids are odd and one byte long, PS3.8 9.3.2.2.
const CONTEXTS_MAX: usize = 128;
/// How many objects are looked at for their contexts before an association is requested.
const LOOK_AHEAD: usize = 1000;

#[derive(Debug, thiserror::Error)]
pub enum ScuError {
    #[error("{address} cannot be reached: {source}")]
    Connect { address: String, source: io::Error },
    #[error("the association was rejected: {reason}")]
    Rejected {
        reason: String,
        /// The same request may be accepted later.
        is_transient: bool,
    },
    #[error("not tried, since no association can be had")]
    NotTried,
    #[error("an association takes {CONTEXTS_MAX} presentation contexts at most")]
    TooManyContexts,
    #[error("the peer does not take {0}")]
    ClassRefused(SopClassUid),
    #[error("the peer does not take {sop_class} in {transfer_syntax}")]
    ContextRefused { sop_class: SopClassUid, transfer_syntax: TransferSyntaxUid },
    #[error("the peer takes {sop_class} in no transfer syntax that can be made of {stored}")]
    NoCommonSyntax { sop_class: SopClassUid, stored: TransferSyntaxUid },
    #[error("the stored object cannot be opened: {}", chain(.0))]
    Open(#[from] ReadError),
    #[error("the stored object cannot be transcoded: {}", chain(.0))]
    Transcode(#[from] TranscodeError),
    #[error(transparent)]
    Part10(#[from] Part10Error),
    #[error(transparent)]
    Commitment(#[from] DataSetError),
    #[error("the peer answered message {got} where {expected} was asked")]
    OtherMessage { expected: u16, got: u16 },
    #[error("the peer sent an {0} that cannot be read")]
    Unreadable(&'static str),
    #[error("the peer sent a data set of more than {0} bytes")]
    DataSetTooLong(u64),
    #[error(transparent)]
    UpperLayer(#[from] UlError),
}

impl ScuError {
    /// Whether the association can serve the next object.
    pub fn spares_association(&self) -> bool {
        matches!(
            self,
            Self::ClassRefused(_)
                | Self::ContextRefused { .. }
                | Self::NoCommonSyntax { .. }
                | Self::Part10(_)
                | Self::Open(_)
                | Self::Transcode(_)
        )
    }

    /// Whether no association could be had, so that the next object has no better prospects.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Connect { .. } | Self::Rejected { .. })
    }
}

async fn release(association: Association<Stream>) {
    if let Err(error) = association.release().await {
        tracing::debug!(%error, "the peer did not confirm the release");
    }
}

#[cfg(test)]
mod tests;
