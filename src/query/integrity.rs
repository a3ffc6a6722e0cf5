//! Whether what is stored is still what was stored: bytes are read again and their digest compared
//! with the one that was taken when they came.

use std::io::{self, BufRead, BufReader, Read};
use std::sync::Arc;

use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

use crate::blobs::{BlobError, BlobKey, Blobs, is_away};
use crate::causes::chain;
use crate::db::{self, Db, DbError};
use crate::dicom::commitment::Reference;
use crate::dicom::uid::{SopClassUid, SopInstanceUid, StudyUid};
use crate::ingest::layout::{Layout, LayoutError};

mod pace;

pub use pace::Pace;

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
    pub size_bytes: u64,
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
        harm: Harm,
        cause: String,
    },
    /// Nothing could be said about its bytes.
    NotRead {
        cause: String,
    },
}

/// What is wrong with an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Harm {
    /// There are no bytes.
    Missing,
    /// There are more bytes, or fewer.
    OtherSize,
    OtherBytes,
    /// The bytes may be right: what the index says of where things are in them is not.
    Layout,
    Unreadable,
}

impl Harm {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::OtherSize => "other-size",
            Self::OtherBytes => "other-bytes",
            Self::Layout => "layout",
            Self::Unreadable => "unreadable",
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    #[error("the digest of what is stored differs")]
    Differs,
    #[error("{found} bytes are stored in place of {wanted}")]
    OtherSize { found: u64, wanted: u64 },
    #[error("the stored layout points behind the end of the object")]
    LayoutOutside,
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
    fn harm(&self) -> Harm {
        match self {
            Self::Differs => Harm::OtherBytes,
            Self::OtherSize { .. } => Harm::OtherSize,
            Self::Layout(_) | Self::LayoutOutside => Harm::Layout,
            Self::Open(BlobError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Harm::Missing
            }
            Self::Open(_) | Self::Read(_) | Self::Stopped => Harm::Unreadable,
        }
    }

    /// Whether it says something about this side at this moment, and nothing about the object.
    pub fn is_passing(&self) -> bool {
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
    pace: Arc<Pace>,
}

impl Integrity {
    /// No more than `checks` objects are read at the same time.
    pub fn new(db: Db, blobs: Blobs, checks: usize) -> Self {
        let permits = Arc::new(Semaphore::new(checks.max(1)));
        Self { db, blobs, permits, pace: Arc::new(Pace::unbounded()) }
    }

    /// Reads no more than so many bytes a second, of all objects together.
    pub fn at(self, bytes_per_s: u64) -> Self {
        Self { pace: Arc::new(Pace::of(bytes_per_s)), ..self }
    }

    /// Looks at the instance that is meant. One that is replaced or deleted meanwhile is looked at
    /// once more, as it is then.
    pub async fn check(&self, reference: &Reference) -> Result<Verdict, DbError> {
        let first = db::integrity::recorded(&self.db, &reference.sop_instance).await?;
        self.settled(&reference.sop_instance, Some(&reference.sop_class), first).await
    }

    /// As [`Integrity::check`], of what the index said a moment ago.
    pub async fn check_recorded(
        &self,
        instance: &SopInstanceUid,
        recorded: Recorded,
    ) -> Result<Verdict, DbError> {
        self.settled(instance, None, Some(recorded)).await
    }

    async fn settled(
        &self,
        instance: &SopInstanceUid,
        class: Option<&SopClassUid>,
        first: Option<Recorded>,
    ) -> Result<Verdict, DbError> {
        let verdict = self.judge(class, first.as_ref()).await;
        if !matches!(verdict, Verdict::Damaged { .. }) {
            return Ok(verdict);
        }
        match db::integrity::recorded(&self.db, instance).await? {
            same if same == first => Ok(verdict),
            other => Ok(self.judge(class, other.as_ref()).await),
        }
    }

    async fn judge(&self, class: Option<&SopClassUid>, recorded: Option<&Recorded>) -> Verdict {
        let Some(recorded) = recorded else { return Verdict::NotStored };
        if class.is_some_and(|class| recorded.sop_class != *class) {
            return Verdict::OtherClass;
        }
        match self.compare(recorded.clone()).await {
            Ok(()) => Verdict::Intact,
            Err(error) if error.is_passing() => Verdict::NotRead { cause: chain(&error) },
            Err(error) => {
                Verdict::Damaged { study: recorded.study.clone(), harm: error.harm(), cause: chain(&error) }
            }
        }
    }

    async fn compare(&self, recorded: Recorded) -> Result<(), CheckError> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| CheckError::Stopped)?;
        let (blobs, pace) = (self.blobs.clone(), Arc::clone(&self.pace));
        let comparing = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            compare(&recorded, || Ok(pace.read(blobs.open_on_disk(&recorded.blob_key)?)))
        });
        comparing.await.map_err(|_| CheckError::Stopped)?
    }
}

/// Whether the bytes are those that the index knows, opened once or twice. Blocking. Rows of the first
/// version hold the digest of the whole file: what is not the one is compared with the other.
pub fn compare<R: Read>(
    recorded: &Recorded,
    open: impl Fn() -> Result<R, CheckError>,
) -> Result<(), CheckError> {
    let layout = Layout::decode(&recorded.layout)?;
    let open = || Ok::<_, CheckError>(BufReader::with_capacity(READ_BYTES, open()?));
    let (split, found) = digest(&mut open()?, layout.dataset_offset)?;
    if found != recorded.size_bytes {
        return Err(CheckError::OtherSize { found, wanted: recorded.size_bytes });
    }
    if split != recorded.sha256[..] {
        let (whole, _) = digest_of_all(&mut open()?)?;
        if whole != recorded.sha256[..] {
            return Err(CheckError::Differs);
        }
    }
    if layout.fits(found) { Ok(()) } else { Err(CheckError::LayoutOutside) }
}

/// Of what stands in front of the data set and of the digest of the data set, as `ingest` takes it;
/// and how many bytes there are.
fn digest(file: &mut impl BufRead, front_bytes: u64) -> io::Result<([u8; 32], u64)> {
    let (mut front, mut data_set) = (Sha256::new(), Sha256::new());
    let front_bytes = feed(&mut front, file, front_bytes)?;
    let data_set_bytes = feed(&mut data_set, file, u64::MAX)?;
    let digest = front.chain_update(data_set.finalize()).finalize().into();
    Ok((digest, front_bytes + data_set_bytes))
}

/// Of a file as it lies there, and how many bytes it has. Blocking.
pub fn digest_of_all(file: &mut impl BufRead) -> io::Result<([u8; 32], u64)> {
    let mut whole = Sha256::new();
    let bytes = feed(&mut whole, file, u64::MAX)?;
    Ok((whole.finalize().into(), bytes))
}

/// At most `most` bytes; how many there were.
fn feed(digest: &mut Sha256, source: &mut impl BufRead, most: u64) -> io::Result<u64> {
    let mut left = most;
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
    Ok(most - left)
}

#[cfg(test)]
mod tests;
