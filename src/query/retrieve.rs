//! What a retrieval reads: the stored instances of a scope.

use crate::dicom::uid::{SeriesUid, SopClassUid, SopInstanceUid, StudyUid, TransferSyntaxUid};

/// How much a scope holds, and a version of it that is never the same for other content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    pub instances: u64,
    pub version: Vec<u8>,
}

/// Where an instance lies and what it is.
#[derive(Debug, Clone)]
pub struct StoredInstance {
    /// Position in the archive; pages of a retrieval go on behind it.
    pub row: i64,
    pub study: StudyUid,
    pub series: SeriesUid,
    pub sop_instance: SopInstanceUid,
    pub sop_class: SopClassUid,
    pub transfer_syntax: TransferSyntaxUid,
    pub blob_key: String,
    pub size_bytes: u64,
    /// Of what stands in front of the data set and of the digest of the data set; of the whole file
    /// in rows of the first version. It differs whenever the file does.
    pub sha256: Vec<u8>,
}

/// The metadata of an instance as it is stored: DICOM JSON, zstd.
#[derive(Debug, Clone)]
pub struct StoredMetadata {
    pub row: i64,
    pub series: SeriesUid,
    pub sop_instance: SopInstanceUid,
    pub json: Vec<u8>,
}
