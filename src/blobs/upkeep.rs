//! What those need who look after the objects, beside a server that runs or without one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::stream::BoxStream;

use super::bucket::Bucket;
use super::folder::Folder;
use super::staging::{Staged, Staging};
use super::{BlobError, BlobKey, Blobs, Place, connect};
use crate::clock::Timestamp;
use crate::config::{self, Storage};

/// Beside the folder of the objects.
const ASIDE: &str = "set-aside";

/// A stored object as the store tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub key: BlobKey,
    pub size_bytes: u64,
    /// When it was last written.
    pub written: Timestamp,
}

impl Blobs {
    /// Objects that a server may be using: what it has in staging stays.
    pub fn open_beside(data_dir: &Path, storage: &Storage) -> Result<Self, BlobError> {
        match storage.place().map_err(BlobError::Url)? {
            config::Place::Folder(root) => {
                let root = root.unwrap_or_else(|| data_dir.to_owned());
                Self::with(data_dir, Staging::beside(&root)?, Place::Folder(Folder::open(&root)?))
            }
            config::Place::Bucket(bucket) => {
                // Whoever has it open already keeps the cache.
                let bucket = Bucket::new(connect::store(&bucket, storage)?, storage, None);
                Self::with(data_dir, Staging::beside(data_dir)?, Place::Bucket(Arc::new(bucket)))
            }
        }
    }

    /// The file of an object, for who copies files; none in a bucket.
    pub fn file(&self, key: &BlobKey) -> Option<PathBuf> {
        match &self.place {
            Place::Folder(folder) => Some(folder.path(key)),
            Place::Bucket(_) => None,
        }
    }

    /// Where files lie that are on their way to a key.
    pub fn staging_folder(&self) -> &Path {
        self.staging.folder()
    }

    /// As [`Self::listed_before`], by the age of an object; in a bucket it is `storage.orphan_age_h` at
    /// least.
    pub fn listed_older_than(
        &self,
        now: Timestamp,
        age: Duration,
    ) -> BoxStream<'static, Result<Listed, BlobError>> {
        match &self.place {
            Place::Folder(folder) => folder.listed_before(now.minus(age)),
            Place::Bucket(bucket) => bucket.listed_before(now.minus(age.saturating_sub(bucket.orphan_age()))),
        }
    }

    pub fn is_in_folder(&self) -> bool {
        matches!(self.place, Place::Folder(_))
    }

    /// An object to be read as if it were on its way; it stays under its key. One in a bucket is copied
    /// to staging. Blocking, on a thread of the runtime.
    pub fn stored(&self, key: &BlobKey) -> io::Result<Staged> {
        match &self.place {
            Place::Folder(folder) => Staged::stored(folder.path(key)),
            Place::Bucket(bucket) => {
                let mut staged = self.stage()?;
                io::copy(&mut bucket.object(key).read_again(), &mut staged.file)?;
                Ok(staged)
            }
        }
    }

    /// Takes an object from among the others, to where nobody sweeps; where that is.
    pub async fn set_aside(&self, key: &BlobKey) -> io::Result<String> {
        match &self.place {
            Place::Folder(folder) => {
                let target = self.staging.folder().with_file_name(ASIDE).join(key.as_str());
                target.parent().map_or(Ok(()), fs::create_dir_all)?;
                fs::rename(folder.path(key), &target)?;
                Ok(target.display().to_string())
            }
            Place::Bucket(bucket) => {
                let target = format!("{ASIDE}/{key}");
                bucket.copy(key, &target).await?;
                bucket.delete(key).await?;
                Ok(format!("{}/{target}", bucket.url.trim_end_matches('/')))
            }
        }
    }
}
