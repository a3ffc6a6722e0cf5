//! A staged file that is written and hashed while its front is being recognised.

use std::io::Write;

use sha2::{Digest, Sha256};

use super::{META_BYTES_MAX, write_refusal};
use crate::blobs::Staged;
use crate::config::Preamble;
use crate::dicom::file_meta::{FileMeta, FileMetaError, Front, Identity};
use crate::ingest::{Policy, Refusal};

/// An object on disk, hashed, with its file meta read.
pub(super) struct Spooled {
    pub(super) staged: Staged,
    pub(super) meta: FileMeta,
    pub(super) size_bytes: u64,
    pub(super) sha256: [u8; 32],
    pub(super) dataset_sha256: [u8; 32],
    pub(super) rebuilt_meta: bool,
}

/// Where the bytes come to lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bytes {
    Written,
    /// They are there, and are not to be others.
    There,
}

/// Writes and hashes; the digest of the data set begins once the file meta has been seen.
pub(super) struct Spool {
    staged: Staged,
    bytes: Bytes,
    limit_bytes: u64,
    preamble: Preamble,
    size_bytes: u64,
    front: Sha256,
    /// Held back until it is known what stands in front of the data set.
    head: Vec<u8>,
    rebuilt_meta: bool,
    pub(super) identity: Option<Identity>,
    dataset: Option<(FileMeta, Sha256)>,
}

impl Spool {
    pub(super) fn new(staged: Staged, policy: &Policy) -> Self {
        Self {
            staged,
            bytes: Bytes::Written,
            limit_bytes: policy.instance_bytes_max,
            preamble: policy.preamble,
            size_bytes: 0,
            front: Sha256::new(),
            head: Vec::new(),
            rebuilt_meta: false,
            identity: None,
            dataset: None,
        }
    }

    pub(super) fn over_stored(staged: Staged, policy: &Policy) -> Self {
        Self { bytes: Bytes::There, ..Self::new(staged, policy) }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        if self.dataset.is_some() {
            return self.keep(bytes);
        }
        if self.head.is_empty() && bytes.len() >= META_BYTES_MAX {
            return self.begin_file(bytes);
        }
        self.head.extend_from_slice(bytes);
        match self.head.len() >= META_BYTES_MAX {
            true => self.begin_held_back(),
            false => Ok(()),
        }
    }

    fn begin_held_back(&mut self) -> Result<(), Refusal> {
        let head = std::mem::take(&mut self.head);
        self.begin_file(&head)
    }

    /// Settles what stands in front of the data set, and writes what was held back for it.
    fn begin_file(&mut self, head: &[u8]) -> Result<(), Refusal> {
        let mut front = Front::of(head).map_err(meta_refusal)?;
        if self.preamble == Preamble::Clear {
            front.clear_preamble();
        }
        if self.bytes == Bytes::There && front.bytes[..] != head[..front.data_set_at] {
            return Err(Refusal::NotDicom("its File Meta Information is not as it was stored".to_owned()));
        }
        self.rebuilt_meta = front.rebuilt;
        self.identity = front.identity.clone();
        self.begin_dataset(&front.bytes, front.meta)?;
        self.keep(&head[front.data_set_at..])
    }

    pub(super) fn begin_dataset(&mut self, front: &[u8], meta: FileMeta) -> Result<(), Refusal> {
        self.keep(front)?;
        self.dataset = Some((meta, Sha256::new()));
        Ok(())
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        self.size_bytes += bytes.len() as u64;
        if self.size_bytes > self.limit_bytes {
            return Err(Refusal::TooLarge { limit_bytes: self.limit_bytes });
        }
        match &mut self.dataset {
            Some((_, digest)) => digest.update(bytes),
            None => self.front.update(bytes),
        }
        match self.bytes {
            Bytes::Written => self.staged.file.write_all(bytes).map_err(write_refusal),
            Bytes::There => Ok(()),
        }
    }

    /// A file shorter than what is held back begins where it ends.
    pub(super) fn begin_file_at_end(&mut self) -> Result<(), Refusal> {
        if self.dataset.is_none() { self.begin_held_back() } else { Ok(()) }
    }

    pub(super) fn finish(self) -> Result<Spooled, Refusal> {
        let (meta, dataset) = self.dataset.ok_or_else(|| Refusal::NotDicom("it is empty".to_owned()))?;
        let dataset_sha256 = dataset.finalize();
        Ok(Spooled {
            staged: self.staged,
            meta,
            size_bytes: self.size_bytes,
            sha256: self.front.chain_update(dataset_sha256).finalize().into(),
            dataset_sha256: dataset_sha256.into(),
            rebuilt_meta: self.rebuilt_meta,
        })
    }
}

fn meta_refusal(error: FileMetaError) -> Refusal {
    match error {
        FileMetaError::NoPrefix => Refusal::NotDicom(error.to_string()),
        FileMetaError::Truncated => Refusal::Truncated(error.to_string()),
        FileMetaError::NoTransferSyntax => Refusal::MissingAttribute("Transfer Syntax UID"),
        FileMetaError::BadTransferSyntax(source) => {
            Refusal::BadUid { attribute: "Transfer Syntax UID", source }
        }
    }
}
