//! The bytes of instances: staged on the local disk, made durable under a key, read by range.
//!
//! They lie in a folder of this machine, or in a bucket behind a URL; nobody outside knows which.
//! Only this module names the object store. A key is written once and never changed.

mod address;
mod away;
mod bucket;
mod buffers;
mod cache;
mod connect;
mod folder;
mod gate;
mod marker;
mod probe;
mod reader;
mod room;
mod spool;
mod staging;
mod taken;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod upkeep;
mod upload;

use std::error::Error;
use std::fmt;
use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use sha2::{Digest, Sha256};

pub use self::away::is_away;
use self::bucket::Bucket;
use self::buffers::Buffers;
pub use self::buffers::{BUFFER_BYTES, Buffer};
use self::cache::Cache;
pub use self::cache::OfAll;
use self::folder::Folder;
pub use self::room::{Marks, Room, Seen, Space};
pub use self::spool::{Keeping, SPOOL, Spool};
use self::staging::Staging;
pub use self::staging::{Closed, Staged};
pub use self::taken::Taken;
pub use self::upkeep::Listed;

use crate::config::{self, Storage};
use crate::dicom::uid::{SopInstanceUid, StudyUid};
use crate::telemetry::metrics::{Timed, storage as metric};
use crate::tls::TlsError;

#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    #[error("cannot prepare the folder {path}: {source}")]
    Prepare { path: String, source: io::Error },
    #[error("{0}")]
    Url(String),
    #[error("the object store cannot be asked over TLS")]
    Tls(#[from] TlsError),
    #[error("storage.url = {url}: {reason}")]
    Connect { url: String, reason: String },
    #[error("storage.url = {url} at {endpoint}: a probe object cannot be {step}: {source}")]
    Probe { url: String, endpoint: String, step: &'static str, source: io::Error },
    #[error("cannot read {key}: {source}")]
    Read { key: BlobKey, source: io::Error },
    #[error("cannot delete {key}: {source}")]
    Delete { key: BlobKey, source: io::Error },
    #[error("cannot look through the stored objects: {0}")]
    List(#[source] io::Error),
    #[error("whose objects these are can be neither read nor said: {0}")]
    Marker(#[source] io::Error),
}

/// Of keys of what is no instance: no shard of a study is called so.
const UPLOADS: &str = "uploads/";
const DOWNLOADS: &str = "downloads/";

/// What lies under a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    Instance,
    Upload,
    Download,
}

/// Where an instance lies: `hh/study/instance.digest`; or a file that instances of the server pass on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BlobKey(String);

impl BlobKey {
    /// Two files of one instance never share a key, so that nothing is overwritten.
    pub fn new(study: &StudyUid, instance: &SopInstanceUid, file_sha256: &[u8]) -> Self {
        let shard = Sha256::digest(study.as_str())[0];
        let digest: String = file_sha256.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        Self(format!("{shard:02x}/{study}/{instance}.{digest}"))
    }

    /// A stretch of a file that is uploaded to any of several instances.
    pub fn of_upload(upload: &str, start: u64) -> Self {
        Self(format!("{UPLOADS}{upload}.{start}")).unshared()
    }

    /// A file that one of several instances made and any of them gives out.
    pub fn of_download(download: &str) -> Self {
        Self(format!("{DOWNLOADS}{download}")).unshared()
    }

    pub fn holds(&self) -> Holds {
        match &self.0 {
            key if key.starts_with(UPLOADS) => Holds::Upload,
            key if key.starts_with(DOWNLOADS) => Holds::Download,
            _ => Holds::Instance,
        }
    }

    /// A key as the index holds it.
    pub fn from_index(key: &str) -> Self {
        Self(key.to_owned())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The UID of the instance; something else where the file is none of ours.
    pub fn instance(&self) -> &str {
        let name = self.0.rsplit('/').next().unwrap_or_default();
        name.rsplit_once('.').map_or(name, |(instance, _)| instance)
    }

    /// Whether it is this key, or that of one attempt to write it.
    pub fn is_of(&self, key: &Self) -> bool {
        let rest = self.0.strip_prefix(&key.0);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    }

    /// The same, and nobody else's: who deletes it deletes his own.
    fn unshared(&self) -> Self {
        let nonce = uuid::Uuid::new_v4().simple().to_string();
        Self(format!("{self}-{}", &nonce[..12]))
    }
}

impl fmt::Display for BlobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Blobs {
    place: Place,
    staging: Staging,
    spool: Spool,
    buffers: Buffers,
    room: Room,
    /// What was made of objects.
    pictures: Option<Cache>,
}

#[derive(Clone)]
enum Place {
    Folder(Folder),
    Bucket(Arc<Bucket>),
}

impl Blobs {
    /// Objects in a folder; what an earlier run left in staging was never acknowledged and goes.
    pub fn open_local(data_dir: &Path) -> Result<Self, BlobError> {
        Self::in_folder(data_dir, data_dir)
    }

    /// Objects where the configuration says. A bucket is asked nothing before [`Self::begin`].
    pub fn open(data_dir: &Path, storage: &Storage) -> Result<Self, BlobError> {
        let blobs = match storage.place().map_err(BlobError::Url)? {
            config::Place::Folder(None) => Self::open_local(data_dir),
            config::Place::Folder(Some(root)) => Self::in_folder(data_dir, &root),
            config::Place::Bucket(bucket) => {
                let cache = Self::cache(data_dir, storage)?;
                Self::in_bucket(data_dir, Bucket::new(connect::store(&bucket, storage)?, storage, cache))
            }
        };
        blobs?.with_pictures(data_dir, &storage.pictures)
    }

    /// With room for what is made of objects.
    pub(crate) fn with_pictures(
        self,
        data_dir: &Path,
        section: &config::StorageCache,
    ) -> Result<Self, BlobError> {
        let folder = section.folder.clone().unwrap_or_else(|| data_dir.join("cache").join("pictures"));
        Ok(Self { pictures: opened(&folder, section.bytes_max, 0, cache::PICTURES)?, ..self })
    }

    /// Staging lies beside the objects: a rename makes the one the other.
    fn in_folder(data_dir: &Path, root: &Path) -> Result<Self, BlobError> {
        let folder = Folder::open(root)?;
        Self::with(data_dir, Staging::open(root)?, Place::Folder(folder))
    }

    fn cache(data_dir: &Path, storage: &Storage) -> Result<Option<Cache>, BlobError> {
        let folder = storage.cache.folder.clone().unwrap_or_else(|| data_dir.join("cache"));
        opened(&folder, storage.cache.bytes_max, storage.block_bytes, cache::BLOCKS)
    }

    fn in_bucket(data_dir: &Path, bucket: Bucket) -> Result<Self, BlobError> {
        Self::with(data_dir, Staging::open(data_dir)?, Place::Bucket(Arc::new(bucket)))
    }

    fn with(data_dir: &Path, staging: Staging, place: Place) -> Result<Self, BlobError> {
        let spool = Spool::open(data_dir)
            .map_err(|source| BlobError::Prepare { path: data_dir.display().to_string(), source })?;
        let folders = vec![data_dir.to_owned(), staging.folder().to_owned()];
        let room = Room::of(folders, Marks::default());
        Ok(Self { place, staging, spool, buffers: Buffers::default(), room, pictures: None })
    }

    /// Makes sure that a bucket does what it has to, before anything is acknowledged.
    pub async fn begin(&self) -> Result<(), BlobError> {
        match &self.place {
            Place::Folder(_) => Ok(()),
            Place::Bucket(bucket) => bucket.begin().await,
        }
    }

    /// With marks of the disk at which objects are refused.
    pub fn marked(self, marks: Marks) -> Self {
        Self { room: self.room.marked(marks), ..self }
    }

    pub fn room(&self) -> &Room {
        &self.room
    }

    /// A buffer that others have used before.
    pub fn buffer(&self) -> Buffer {
        self.buffers.take()
    }

    /// Files that outlive the process.
    pub fn spool(&self) -> Spool {
        self.spool.clone()
    }

    /// A new file to stream into. Blocking.
    pub fn stage(&self) -> io::Result<Staged> {
        self.staging.stage()
    }

    /// The key that a staged file is kept under. In a bucket, which several servers may write to,
    /// it is that of one attempt: what one of them gives up is never what another is about to
    /// refer to.
    pub fn place_for(&self, key: BlobKey) -> BlobKey {
        match &self.place {
            Place::Folder(_) => key,
            Place::Bucket(_) => key.unshared(),
        }
    }

    /// Whether two writers of one file would write the same key.
    pub fn has_shared_keys(&self) -> bool {
        matches!(self.place, Place::Folder(_))
    }

    /// Makes a staged file durable under its key. Blocks its thread.
    ///
    /// # Errors
    /// [`is_away`] says whether a bucket did not answer. Something may lie under the key then.
    pub async fn keep(&self, staged: Staged, key: &BlobKey) -> io::Result<()> {
        let _timed = timed("keep");
        count(metric::IN, staged.file.metadata()?.len());
        match &self.place {
            Place::Folder(folder) => folder.keep(staged, key),
            Place::Bucket(bucket) => bucket.keep(&staged, key).await,
        }
    }

    /// # Errors
    /// There is no such object, or the range ends behind it.
    pub async fn get_range(&self, key: &BlobKey, range: Range<u64>) -> Result<Bytes, BlobError> {
        let _timed = timed("read");
        count(metric::OUT, range.end.saturating_sub(range.start));
        let bytes = match &self.place {
            Place::Folder(folder) => folder.open_for_ranges(key, &self.buffers)?.bytes(range).await,
            Place::Bucket(bucket) => bucket.object(key).bytes(range).await,
        };
        bytes.map_err(|source| BlobError::Read { key: key.clone(), source })
    }

    /// Streams a range, or everything.
    pub async fn stream(
        &self,
        key: &BlobKey,
        range: Option<Range<u64>>,
    ) -> Result<BoxStream<'static, io::Result<Bytes>>, BlobError> {
        let _timed = timed("open");
        let read = |source| BlobError::Read { key: key.clone(), source };
        let chunks = match &self.place {
            Place::Folder(folder) => {
                let reader = folder.open_for_ranges(key, &self.buffers)?;
                let range = range.map_or_else(|| reader.everything(), Ok).map_err(read)?;
                reader.chunks(range).boxed()
            }
            Place::Bucket(bucket) => bucket.object(key).stream(range).await.map_err(read)?,
        };
        Ok(chunks.inspect_ok(|chunk| count(metric::OUT, chunk.len() as u64)).boxed())
    }

    /// Where a client can fetch the whole object itself for a moment, with that type; `None` where it cannot.
    /// Not to be shown to anybody else, nor to be logged.
    pub async fn address_for_a_moment(&self, key: &BlobKey, content_type: &str) -> Option<String> {
        match &self.place {
            Place::Folder(_) => None,
            Place::Bucket(bucket) => bucket.address(key, content_type).await,
        }
    }

    /// The whole object, from its beginning and from where it lies for good: what the system or a
    /// cache holds of it is passed over, as far as it can be. Blocking, on a thread of the runtime.
    pub fn open_on_disk(&self, key: &BlobKey) -> Result<Box<dyn Read + Send>, BlobError> {
        match &self.place {
            Place::Folder(folder) => Ok(Box::new(folder.open_on_disk(key)?)),
            Place::Bucket(bucket) => Ok(Box::new(bucket.object(key).read_again())),
        }
    }

    /// What was made of an object in this form before, or is made by `make`: once for all who want it at the
    /// same time, and to the end when they leave. It stays on the local disk no longer than the object.
    pub async fn made_of<F, E>(
        &self,
        key: &BlobKey,
        form: &[u8],
        make: impl FnOnce() -> F,
    ) -> Result<Bytes, OfAll>
    where
        F: Future<Output = Result<Bytes, E>> + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>> + Send + 'static,
    {
        match &self.pictures {
            Some(pictures) => pictures.made(key.as_str(), form, make).await,
            None => make().await.map_err(OfAll::of),
        }
    }

    pub async fn delete(&self, key: &BlobKey) -> Result<(), BlobError> {
        let _timed = timed("delete");
        let deleted = match &self.place {
            Place::Folder(folder) => folder.delete(key).await,
            Place::Bucket(bucket) => bucket.delete(key).await,
        };
        deleted.map_err(|source| BlobError::Delete { key: key.clone(), source })?;
        if let (Some(pictures), key) = (self.pictures.clone(), key.clone()) {
            let _ = tokio::task::spawn_blocking(move || pictures.forget(key.as_str())).await;
        }
        Ok(())
    }

    /// Every object that was last written before `before` (microseconds since 1970); of a
    /// bucket none whose row another server may still be about to write. Those of a study come one
    /// after the other.
    pub fn listed_before(
        &self,
        before: crate::clock::Timestamp,
    ) -> BoxStream<'static, Result<Listed, BlobError>> {
        match &self.place {
            Place::Folder(folder) => folder.listed_before(before),
            Place::Bucket(bucket) => bucket.listed_before(before),
        }
    }

    /// Whether the store can be written, for the readiness probe; a bucket answers for some
    /// seconds.
    pub async fn probe(&self) -> io::Result<()> {
        let staging = self.staging.clone();
        let staged = tokio::task::spawn_blocking(move || staging.stage().map(drop)).await;
        staged.map_err(io::Error::other)??;
        match &self.place {
            Place::Folder(_) => Ok(()),
            Place::Bucket(bucket) => bucket.answers().await,
        }
    }
}

fn opened(
    folder: &Path,
    bytes_max: u64,
    block_bytes: u64,
    counted: cache::Counted,
) -> Result<Option<Cache>, BlobError> {
    if bytes_max == 0 {
        return Ok(None);
    }
    let opened = Cache::open(folder, bytes_max, block_bytes, counted);
    opened.map(Some).map_err(|source| BlobError::Prepare { path: folder.display().to_string(), source })
}

fn timed(operation: &'static str) -> Timed {
    Timed::by(metrics::histogram!(metric::SECONDS, "operation" => operation))
}

fn count(direction: &'static str, bytes: u64) {
    metrics::counter!(metric::BYTES, "direction" => direction).increment(bytes);
}
