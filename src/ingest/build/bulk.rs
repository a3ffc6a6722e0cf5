//! Bulk data as it is received: staged, hashed, found again by its Content-Location.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read, Write};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sha2::{Digest, Sha256};
use tokio::io::AsyncRead;

use crate::blobs::{Closed, Staged};
use crate::dicom::uid::TransferSyntaxUid;
use crate::ingest::prepare::write_refusal;
use crate::ingest::{Ingest, Refusal, filled};

/// What bulk data is encoded as, PS3.18 8.7.3 and Table 10.5.2-1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BulkType {
    /// Uncompressed, or no pixels at all.
    Octets,
    /// A document whose media type is an attribute of its object.
    Document(&'static str),
    Jpeg,
    JpegLs,
    Jpeg2000,
    Jpeg2000Part2,
    HighThroughputJpeg2000,
    JpegXl,
    RunLength,
    Gif,
    Png,
    Mpeg2,
    Mp4,
}

impl BulkType {
    /// By the media type without its parameters, in lower case.
    pub fn of(media_type: &str) -> Option<Self> {
        Some(match media_type {
            "application/octet-stream" => Self::Octets,
            "application/pdf" => Self::Document("application/pdf"),
            "text/xml" => Self::Document("text/XML"),
            "model/stl" => Self::Document("model/stl"),
            "model/obj" => Self::Document("model/obj"),
            "model/mtl" => Self::Document("model/mtl"),
            "image/jpeg" => Self::Jpeg,
            "image/jls" => Self::JpegLs,
            "image/jp2" => Self::Jpeg2000,
            "image/jpx" => Self::Jpeg2000Part2,
            "image/jphc" => Self::HighThroughputJpeg2000,
            "image/jxl" => Self::JpegXl,
            "image/dicom-rle" => Self::RunLength,
            "image/gif" => Self::Gif,
            "image/png" => Self::Png,
            "video/mpeg" | "video/mpeg2" => Self::Mpeg2,
            "video/mp4" => Self::Mp4,
            _ => return None,
        })
    }

    /// Whether the bytes are the value of an element as they are.
    pub(super) fn is_plain(self) -> bool {
        matches!(self, Self::Octets | Self::Document(_))
    }

    /// MIME Type of Encapsulated Document (0042,0012).
    pub(super) fn document(self) -> Option<&'static str> {
        match self {
            Self::Document(name) => Some(name),
            _ => None,
        }
    }
}

/// One part of the message.
#[derive(Clone)]
pub struct BulkValue {
    pub(super) media_type: BulkType,
    /// As a parameter of the media type says.
    pub(super) transfer_syntax: Option<TransferSyntaxUid>,
    staged: Arc<Closed>,
    length: u64,
    sha256: [u8; 32],
}

impl BulkValue {
    pub fn length(&self) -> u64 {
        self.length
    }

    pub(super) fn sha256(&self) -> &[u8; 32] {
        &self.sha256
    }

    pub(super) fn whole(&self) -> Content {
        self.part(0..self.length)
    }

    pub(super) fn part(&self, range: Range<u64>) -> Content {
        Content { staged: Arc::clone(&self.staged), range }
    }

    /// The file from its beginning, at a position of its own.
    pub(super) fn open(&self) -> Result<File, Refusal> {
        self.staged.open().map_err(Refusal::Storage)
    }

    /// All of it; for metadata, whose length is limited. Blocking.
    pub fn read(&self) -> Result<Vec<u8>, Refusal> {
        self.head(self.length)
    }

    /// The first bytes, `bytes_max` at most.
    pub(super) fn head(&self, bytes_max: u64) -> Result<Vec<u8>, Refusal> {
        let mut head = Vec::new();
        self.open()?.take(bytes_max).read_to_end(&mut head).map_err(Refusal::Storage)?;
        Ok(head)
    }
}

/// Bytes of a staged file.
#[derive(Clone)]
pub(super) struct Content {
    pub(super) staged: Arc<Closed>,
    pub(super) range: Range<u64>,
}

impl Content {
    pub(super) fn of(staged: Staged, length: u64) -> Self {
        Self { staged: Arc::new(staged.close()), range: 0..length }
    }

    pub(super) fn length(&self) -> u64 {
        self.range.end - self.range.start
    }
}

/// The bulk data of one message; cheap to clone.
#[derive(Clone, Default)]
pub struct BulkData {
    by_location: Arc<HashMap<String, Vec<BulkValue>>>,
    asked: Arc<Mutex<Asked>>,
}

/// Profiles and tables may be shared by the objects of a message; pixels are those of one. Each use
/// is another copy on the disk.
const SHARED_BYTES_MAX: u64 = 64 << 20;

#[derive(Default)]
struct Asked {
    wanted: HashSet<String>,
    /// Of values that were wanted before, each time.
    shared_bytes: u64,
    /// Why values could not be staged, for the first object that asks for them.
    unstaged: HashMap<String, Refusal>,
}

impl BulkData {
    /// Parts with one location are the frames of one value, in their order.
    pub fn of(received: impl IntoIterator<Item = (String, Result<BulkValue, Refusal>)>) -> Self {
        let mut by_location: HashMap<String, Vec<BulkValue>> = HashMap::new();
        let mut asked = Asked::default();
        for (location, staged) in received {
            match staged {
                Ok(value) => by_location.entry(location).or_default().push(value),
                Err(refusal) => drop(asked.unstaged.insert(location, refusal)),
            }
        }
        Self { by_location: Arc::new(by_location), asked: Arc::new(Mutex::new(asked)) }
    }

    /// How many locations no metadata has asked for.
    pub fn unused(&self) -> usize {
        let asked = self.asked();
        let unasked = self.by_location.keys().filter(|location| !asked.wanted.contains(*location));
        unasked.count() + asked.unstaged.len()
    }

    /// The values that a reference of an object leads to, counted: once for each reference.
    pub(super) fn claim(&self, uri: &str) -> Result<&[BulkValue], Refusal> {
        let mut asked = self.asked();
        let is_first = asked.wanted.insert(uri.to_owned());
        if let Some(refusal) = asked.unstaged.remove(uri) {
            return Err(refusal);
        }
        let values = self.values(uri)?;
        if !is_first {
            asked.shared_bytes += values.iter().map(BulkValue::length).sum::<u64>();
        }
        match asked.shared_bytes > SHARED_BYTES_MAX {
            true => Err(Refusal::LimitExceeded { what: "shared bulk data", limit: SHARED_BYTES_MAX }),
            false => Ok(values),
        }
    }

    pub(super) fn values(&self, uri: &str) -> Result<&[BulkValue], Refusal> {
        self.by_location.get(uri).map(Vec::as_slice).ok_or(Refusal::MissingBulkData)
    }

    fn asked(&self) -> MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ingest {
    /// Reads one bulk value to its end; it lives as long as the last clone of the answer.
    pub async fn stage_bulk<R>(
        &self,
        reader: R,
        media_type: BulkType,
        transfer_syntax: Option<TransferSyntaxUid>,
    ) -> Result<BulkValue, Refusal>
    where
        R: AsyncRead + Unpin + Send,
    {
        let staged = self.stage_metadata(reader, self.policy.instance_bytes_max).await?;
        Ok(BulkValue { media_type, transfer_syntax, ..staged })
    }

    /// Metadata waits for its bulk data on the disk, too: it is many times larger once parsed.
    pub async fn stage_metadata<R>(&self, mut reader: R, limit_bytes: u64) -> Result<BulkValue, Refusal>
    where
        R: AsyncRead + Unpin + Send,
    {
        let blobs = self.blobs.clone();
        let mut spool = blocking(move || BulkSpool::begin(blobs.stage())).await?;
        loop {
            let chunk = filled(self.blobs.buffer(), &mut reader).await.map_err(Refusal::Interrupted)?;
            if chunk.is_empty() {
                break;
            }
            spool = blocking(move || spool.write(chunk.as_ref(), limit_bytes)).await?;
        }
        let BulkSpool { staged, length, digest } = spool;
        let sha256 = digest.finalize().into();
        let (media_type, transfer_syntax) = (BulkType::Octets, None);
        Ok(BulkValue { media_type, transfer_syntax, staged: Arc::new(staged.close()), length, sha256 })
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|panic| Err(Refusal::Storage(io::Error::other(panic))))
}

struct BulkSpool {
    staged: Staged,
    length: u64,
    digest: Sha256,
}

impl BulkSpool {
    fn begin(staged: io::Result<Staged>) -> Result<Self, Refusal> {
        Ok(Self { staged: staged.map_err(write_refusal)?, length: 0, digest: Sha256::new() })
    }

    fn write(mut self, bytes: &[u8], limit_bytes: u64) -> Result<Self, Refusal> {
        self.length += bytes.len() as u64;
        if self.length > limit_bytes {
            return Err(Refusal::TooLarge { limit_bytes });
        }
        self.digest.update(bytes);
        self.staged.file.write_all(bytes).map_err(write_refusal)?;
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blobs::Blobs;

    #[test]
    fn what_objects_share_is_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let staged = Blobs::open_local(dir.path()).unwrap().stage().unwrap();
        let (media_type, transfer_syntax) = (BulkType::Octets, None);
        let (staged, length) = (Arc::new(staged.close()), SHARED_BYTES_MAX / 2);
        let value = BulkValue { media_type, transfer_syntax, staged, length, sha256: [0; 32] };
        let bulk = BulkData::of([("a".to_owned(), Ok(value))]);
        let claims = [(); 4].map(|()| bulk.claim("a").is_ok());
        assert_eq!((claims, bulk.unused()), ([true, true, true, false], 0));
        assert!(matches!(bulk.claim("b"), Err(Refusal::MissingBulkData)));
    }
}
