//! Whether what is stored is still what was stored: bytes are read again and their digest compared
//! with the one that was taken when they came.

use std::io::{self, BufRead, BufReader};
use std::sync::Arc;

use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use crate::blobs::{BlobError, BlobKey, Blobs, is_away};
use crate::causes::chain;
use crate::db::{self, Db, DbError};
use crate::dicom::commitment::Reference;
use crate::dicom::uid::{SopClassUid, StudyUid};
use crate::ingest::layout::{Layout, LayoutError};

/// One read of the disk.
const READ_BYTES: usize = 256 << 10;
/// "Too many open files" of the process and of the system.
const WITHOUT_DESCRIPTORS: [i32; 2] = [24, 23];

/// What the index says of the bytes of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    pub study: StudyUid,
    pub sop_class: SopClassUid,
    pub blob_key: BlobKey,
    /// As of [`crate::query::retrieve::StoredInstance`].
    pub sha256: Vec<u8>,
    /// See [`crate::ingest::layout`].
    pub layout: Vec<u8>,
}

/// What a look at an instance found.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Its bytes are those that were stored.
    Intact,
    NotStored,
    /// It is stored with another SOP class than the reference names.
    OtherClass,
    /// Its bytes are others, or fewer, or there are none.
    Damaged {
        study: StudyUid,
        cause: String,
    },
    /// Nothing could be said about its bytes.
    NotRead {
        cause: String,
    },
}

#[derive(Debug, thiserror::Error)]
enum CheckError {
    #[error("the digest of what is stored differs")]
    Differs,
    #[error("the stored layout cannot be read")]
    Layout(#[from] LayoutError),
    #[error(transparent)]
    Open(#[from] BlobError),
    #[error("the stored bytes cannot be read")]
    Read(#[from] io::Error),
    #[error("the check did not come to its end")]
    Stopped,
}

impl CheckError {
    /// Whether it says something about this side at this moment, and nothing about the object.
    fn is_passing(&self) -> bool {
        let of_system = |error: &io::Error| {
            let descriptors = error.raw_os_error().is_some_and(|code| WITHOUT_DESCRIPTORS.contains(&code));
            descriptors || error.kind() == io::ErrorKind::OutOfMemory
        };
        match self {
            Self::Open(BlobError::Read { source, .. }) | Self::Read(source) => {
                of_system(source) || is_away(source)
            }
            Self::Stopped => true,
            _ => false,
        }
    }
}

/// Reads objects again, some at a time. Cheap to clone.
#[derive(Clone)]
pub struct Integrity {
    db: Db,
    blobs: Blobs,
    permits: Arc<Semaphore>,
}

impl Integrity {
    /// No more than `checks` objects are read at the same time.
    pub fn new(db: Db, blobs: Blobs, checks: usize) -> Self {
        Self { db, blobs, permits: Arc::new(Semaphore::new(checks.max(1))) }
    }

    /// Looks at the instance that is meant. One that is replaced or deleted meanwhile is looked at
    /// once more, as it is then.
    pub async fn check(&self, reference: &Reference) -> Result<Verdict, DbError> {
        let first = self.recorded(reference).await?;
        let verdict = self.judge(reference, first.as_ref()).await;
        if !matches!(verdict, Verdict::Damaged { .. }) {
            return Ok(verdict);
        }
        match self.recorded(reference).await? {
            same if same == first => Ok(verdict),
            other => Ok(self.judge(reference, other.as_ref()).await),
        }
    }

    async fn recorded(&self, reference: &Reference) -> Result<Option<Recorded>, DbError> {
        db::integrity::recorded(&self.db, &reference.sop_instance).await
    }

    async fn judge(&self, reference: &Reference, recorded: Option<&Recorded>) -> Verdict {
        let Some(recorded) = recorded else { return Verdict::NotStored };
        if recorded.sop_class != reference.sop_class {
            return Verdict::OtherClass;
        }
        match self.compare(recorded.clone()).await {
            Ok(()) => Verdict::Intact,
            Err(error) if error.is_passing() => Verdict::NotRead { cause: chain(&error) },
            Err(error) => Verdict::Damaged { study: recorded.study.clone(), cause: chain(&error) },
        }
    }

    async fn compare(&self, recorded: Recorded) -> Result<(), CheckError> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| CheckError::Stopped)?;
        let blobs = self.blobs.clone();
        let comparing = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            compare(&blobs, &recorded)
        });
        comparing.await.map_err(|_| CheckError::Stopped)?
    }
}

/// Blocking. Rows of the first version hold the digest of the whole file: what is not the one is
/// compared with the other.
fn compare(blobs: &Blobs, recorded: &Recorded) -> Result<(), CheckError> {
    let front_bytes = Layout::decode(&recorded.layout)?.dataset_offset;
    let open =
        || Ok::<_, CheckError>(BufReader::with_capacity(READ_BYTES, blobs.open_on_disk(&recorded.blob_key)?));
    if digest(&mut open()?, front_bytes)? == recorded.sha256[..] {
        return Ok(());
    }
    let mut whole = Sha256::new();
    feed(&mut whole, &mut open()?, u64::MAX)?;
    if whole.finalize()[..] == recorded.sha256[..] { Ok(()) } else { Err(CheckError::Differs) }
}

/// Of what stands in front of the data set and of the digest of the data set, as `ingest` takes it.
fn digest(file: &mut impl BufRead, front_bytes: u64) -> io::Result<[u8; 32]> {
    let (mut front, mut data_set) = (Sha256::new(), Sha256::new());
    feed(&mut front, file, front_bytes)?;
    feed(&mut data_set, file, u64::MAX)?;
    Ok(front.chain_update(data_set.finalize()).finalize().into())
}

/// At most `left` bytes.
fn feed(digest: &mut Sha256, source: &mut impl BufRead, mut left: u64) -> io::Result<()> {
    while left > 0 {
        let chunk = source.fill_buf()?;
        let length = chunk.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        if length == 0 {
            break;
        }
        digest.update(&chunk[..length]);
        source.consume(length);
        left -= length as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
