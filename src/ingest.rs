//! The only writer of instances: every way in ends in [`Ingest::store`].
//!
//! An object is streamed to a staging file while it is hashed, its header is parsed, its bytes
//! are made durable under their final key, and one batch writes every row about it. Only then
//! does `store` return: what it acknowledges survives a power cut.

pub mod layout;
mod prepare;
mod refusal;
mod rows;


use crate::dicom::uid::{SeriesUid, SopClassUid, SopInstanceUid, StudyUid, TransferSyntaxUid};

pub use refusal::Refusal;

/// An object on its way in.
pub struct Received<'a, R> {
    pub body: Body<R>,
    pub origin: &'a Origin,
    /// The study that the request names (`POST /studies/{study}`): others are refused.
    pub only_study: Option<&'a StudyUid>,
}

pub enum Body<R> {
    /// A whole PS3.10 file, kept byte for byte.
    Part10(R),
    /// A bare data set as C-STORE brings it; we write the file meta in front.
    DataSet { reader: R, command: StoreCommand },
}

/// What a C-STORE-RQ and its presentation context say about the data set that follows.
#[derive(Debug, Clone)]
pub struct StoreCommand {
    pub sop_class: SopClassUid,
    pub sop_instance: SopInstanceUid,
    pub transfer_syntax: TransferSyntaxUid,
}

/// Where objects come from; one per association, request or import run.
#[derive(Debug, Clone)]
pub struct Origin {
    pub source: Source,
    /// Calling AE title, empty for the rest.
    pub calling_aet: String,
    /// Identifies the association while it delivers, see `jobs::completeness`.
    pub delivery: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    Dimse,
    Stow,
    Import,
    Analysis,
}

impl Source {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dimse => "dimse",
            Self::Stow => "stow",
            Self::Import => "import",
            Self::Analysis => "analysis",
        }
    }
}

/// Which instance an outcome is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceIdentity {
    pub study: StudyUid,
    pub series: SeriesUid,
    pub sop_instance: SopInstanceUid,
    pub sop_class: SopClassUid,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub instance: InstanceIdentity,
    pub outcome: Outcome,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    New,
    /// The same data set was here already.
    SameAgain,
}

/// A refusal, with as much of the identity as could be read.
#[derive(Debug, thiserror::Error)]
#[error("{refusal}")]
pub struct Refused {
    #[source]
    pub refusal: Refusal,
    pub sop_class: Option<SopClassUid>,
    pub sop_instance: Option<SopInstanceUid>,
}
