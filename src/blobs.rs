//! The bytes of instances: staged on the local disk, made durable under a key, read by range.
//!
//! Only this module names the object store. A key is written once and never changed.

mod buffers;
mod reader;
mod spool;

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::local::LocalFileSystem;
use object_store::{ObjectStore, ObjectStoreExt};
use sha2::{Digest, Sha256};

use self::buffers::Buffers;
pub use self::buffers::{BUFFER_BYTES, Buffer};
use self::reader::Reader;
pub use self::spool::Spool;

use crate::dicom::uid::{SopInstanceUid, StudyUid};
use crate::telemetry::metrics::{Timed, storage as metric};

const OBJECTS: &str = "objects";
const STAGING: &str = "staging";

#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    #[error("cannot prepare the folder {path}: {source}")]
    Prepare { path: String, source: io::Error },
    #[error("cannot read {key}: {source}")]
    Read { key: BlobKey, source: io::Error },
    #[error("cannot delete {key}: {source}")]
    Delete { key: BlobKey, source: object_store::Error },
    #[error("cannot look through the stored objects: {0}")]
    List(object_store::Error),
}

/// Where an object lies: `hh/study/instance.digest`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BlobKey(String);

impl BlobKey {
    /// Two files of one instance never share a key, so that nothing is overwritten.
    pub fn new(study: &StudyUid, instance: &SopInstanceUid, file_sha256: &[u8]) -> Self {
        let shard = Sha256::digest(study.as_str())[0];
        let digest: String = file_sha256.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        Self(format!("{shard:02x}/{study}/{instance}.{digest}"))
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

    fn path(&self) -> object_store::path::Path {
        object_store::path::Path::from(self.0.as_str())
    }
}

impl fmt::Display for BlobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[derive(Clone)]
pub struct Blobs {
    store: Arc<dyn ObjectStore>,
    objects: PathBuf,
    staging: PathBuf,
    spool: Spool,
    buffers: Buffers,
}

impl Blobs {
    /// Objects in a folder; what an earlier run left in staging was never acknowledged and goes.
    pub fn open_local(data_dir: &Path) -> Result<Self, BlobError> {
        let objects = data_dir.join(OBJECTS);
        let staging = data_dir.join(STAGING);
        let prepare = |path: &Path| {
            fs::create_dir_all(path)
                .map_err(|source| BlobError::Prepare { path: path.display().to_string(), source })
        };
        prepare(&objects)?;
        // Names below it are durable only if its own is.
        File::open(data_dir)
            .and_then(|folder| folder.sync_all())
            .map_err(|source| BlobError::Prepare { path: data_dir.display().to_string(), source })?;
        match fs::remove_dir_all(&staging) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(BlobError::Prepare { path: staging.display().to_string(), source: error });
            }
            _ => prepare(&staging)?,
        }
        let spool = Spool::open(data_dir)
            .map_err(|source| BlobError::Prepare { path: data_dir.display().to_string(), source })?;
        let store = LocalFileSystem::new_with_prefix(&objects).map_err(BlobError::List)?;
        Ok(Self { store: Arc::new(store), objects, staging, spool, buffers: Buffers::default() })
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
        let path = self.staging.join(crate::ids::row_id());
        let file = File::options().read(true).write(true).create_new(true).open(&path)?;
        Ok(Staged { file, path, kept: false })
    }

    /// Moves a staged file to its key and makes bytes, name and folder durable. Blocking.
    ///
    /// The rename goes first: one commit of the file system's journal then covers all three.
    pub fn keep(&self, mut staged: Staged, key: &BlobKey) -> io::Result<()> {
        let _timed = timed("keep");
        count(metric::IN, staged.file.metadata()?.len());
        let target = self.objects.join(key.as_str());
        let folder = target.parent().unwrap_or(&self.objects);
        create_durable_folder(folder)?;
        // The same bytes lie there already, and somebody may refer to them: they stay durable.
        if target.try_exists()? {
            staged.file.sync_all()?;
        }
        fs::rename(&staged.path, &target)?;
        staged.kept = true;
        staged.file.sync_all()?;
        File::open(folder)?.sync_all()
    }

    /// # Errors
    /// There is no such object, or the range ends behind it.
    pub async fn get_range(&self, key: &BlobKey, range: Range<u64>) -> Result<Bytes, BlobError> {
        let _timed = timed("read");
        count(metric::OUT, range.end.saturating_sub(range.start));
        let bytes = self.open(key)?.bytes(range).await;
        bytes.map_err(|source| BlobError::Read { key: key.clone(), source })
    }

    /// Streams a range, or everything.
    pub async fn stream(
        &self,
        key: &BlobKey,
        range: Option<Range<u64>>,
    ) -> Result<BoxStream<'static, io::Result<Bytes>>, BlobError> {
        let _timed = timed("open");
        let reader = self.open(key)?;
        let range = match range {
            Some(range) => range,
            None => {
                reader.announce();
                0..reader.size_bytes().map_err(|source| BlobError::Read { key: key.clone(), source })?
            }
        };
        let chunks = reader.chunks(range);
        Ok(chunks.inspect_ok(|chunk| count(metric::OUT, chunk.len() as u64)).boxed())
    }

    /// The whole object, from its beginning and from the disk itself: what the system holds of it in
    /// memory is given up first, as far as it can be. Blocking.
    pub fn open_on_disk(&self, key: &BlobKey) -> Result<File, BlobError> {
        let opened = File::open(self.objects.join(key.as_str()));
        let file = opened.map_err(|source| BlobError::Read { key: key.clone(), source })?;
        #[cfg(target_os = "linux")]
        let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
        Ok(file)
    }

    fn open(&self, key: &BlobKey) -> Result<Reader, BlobError> {
        let opened = Reader::open(&self.objects.join(key.as_str()), self.buffers.clone());
        opened.map_err(|source| BlobError::Read { key: key.clone(), source })
    }

    pub async fn delete(&self, key: &BlobKey) -> Result<(), BlobError> {
        let _timed = timed("delete");
        match self.store.delete(&key.path()).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(source) => Err(BlobError::Delete { key: key.clone(), source }),
        }
    }

    /// Every stored key that was last written before `before` (microseconds since 1970).
    pub fn keys_older_than(
        &self,
        before: crate::clock::Timestamp,
    ) -> BoxStream<'static, Result<BlobKey, BlobError>> {
        let objects = self.store.list(None).map_err(BlobError::List);
        objects
            .try_filter_map(move |meta| async move {
                let old = meta.last_modified.timestamp_micros() < before.0;
                Ok(old.then(|| BlobKey(meta.location.to_string())))
            })
            .boxed()
    }

    /// Whether the store can be written, for the readiness probe. Blocking.
    pub fn probe(&self) -> io::Result<()> {
        self.stage().map(drop)
    }
}

fn timed(operation: &'static str) -> Timed {
    Timed::by(metrics::histogram!(metric::SECONDS, "operation" => operation))
}

fn count(direction: &'static str, bytes: u64) {
    metrics::counter!(metric::BYTES, "direction" => direction).increment(bytes);
}

/// Creates the folder and its missing parents; a new name is durable once its parent is synced.
fn create_durable_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let Some(parent) = folder.parent() else { return Ok(()) };
    create_durable_folder(parent)?;
    match fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => File::open(parent)?.sync_all(),
    }
}

/// A file on its way; dropped unkept, it is gone.
pub struct Staged {
    pub file: File,
    path: PathBuf,
    kept: bool,
}

impl Staged {
    /// The file without its descriptor, of which a process has few.
    pub fn close(mut self) -> Closed {
        self.kept = true;
        Closed { path: self.path.clone() }
    }
}

/// A staged file that is written and waits to be read; dropped, it is gone.
pub struct Closed {
    path: PathBuf,
}

impl Closed {
    /// To be read from its beginning. Blocking.
    pub fn open(&self) -> io::Result<File> {
        File::open(&self.path)
    }
}

impl Drop for Closed {
    fn drop(&mut self) {
        // As for a staged file.
        let _ = fs::remove_file(&self.path);
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.kept {
            // Left behind on failure, it goes with the staging folder at the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn key() -> BlobKey {
        BlobKey::new(&"1.2".parse().unwrap(), &"1.2.3".parse().unwrap(), &[0xAB; 32])
    }

    #[tokio::test]
    async fn kept_bytes_are_read_by_range() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = Blobs::open_local(dir.path()).unwrap();
        let mut staged = blobs.stage().unwrap();
        staged.file.write_all(b"0123456789").unwrap();
        blobs.keep(staged, &key()).unwrap();
        assert_eq!(&blobs.get_range(&key(), 2..5).await.unwrap()[..], b"234");
        blobs.delete(&key()).await.unwrap();
        assert!(blobs.get_range(&key(), 2..5).await.is_err());
    }

    #[test]
    fn a_key_names_its_instance() {
        assert_eq!(key().instance(), "1.2.3");
        assert_eq!(BlobKey::from_index("lost+found").instance(), "lost+found");
    }

    #[test]
    fn a_dropped_staging_file_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = Blobs::open_local(dir.path()).unwrap();
        drop(blobs.stage().unwrap());
        assert_eq!(fs::read_dir(dir.path().join(STAGING)).unwrap().count(), 0);
    }
}
