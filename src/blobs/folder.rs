//! Objects in a folder of this machine.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::local::LocalFileSystem;
use object_store::{ObjectStore, ObjectStoreExt};

use super::buffers::Buffers;
use super::reader::Reader;
use super::{BlobError, BlobKey, Listed, Staged};
use crate::clock::Timestamp;

const OBJECTS: &str = "objects";

#[derive(Clone)]
pub(super) struct Folder {
    store: Arc<LocalFileSystem>,
    objects: PathBuf,
}

impl Folder {
    pub(super) fn open(root: &Path) -> Result<Self, BlobError> {
        let objects = root.join(OBJECTS);
        let failed = |path: &Path, source| BlobError::Prepare { path: path.display().to_string(), source };
        fs::create_dir_all(&objects).map_err(|source| failed(&objects, source))?;
        // Names below it are durable only if its own is.
        let synced = File::open(root).and_then(|folder| folder.sync_all());
        synced.map_err(|source| failed(root, source))?;
        let store = LocalFileSystem::new_with_prefix(&objects);
        let store = store.map_err(|error| BlobError::List(io::Error::other(error)))?;
        Ok(Self { store: Arc::new(store), objects })
    }

    /// Moves a staged file to its key and makes bytes, name and folder durable. Blocking.
    ///
    /// The rename goes first: one commit of the file system's journal then covers all three.
    pub(super) fn keep(&self, mut staged: Staged, key: &BlobKey) -> io::Result<()> {
        let target = self.path(key);
        let folder = target.parent().unwrap_or(&self.objects);
        create_durable_folder(folder)?;
        // The same bytes lie there already, and somebody may refer to them: they stay durable.
        if target.try_exists()? {
            staged.file.sync_all()?;
        }
        staged.rename(&target)?;
        staged.file.sync_all()?;
        File::open(folder)?.sync_all()
    }

    pub(super) fn open_for_ranges(&self, key: &BlobKey, buffers: &Buffers) -> Result<Reader, BlobError> {
        let opened = Reader::open(&self.path(key), buffers.clone());
        opened.map_err(|source| BlobError::Read { key: key.clone(), source })
    }

    /// What the system holds of it in memory is given up first. Blocking.
    pub(super) fn open_on_disk(&self, key: &BlobKey) -> Result<File, BlobError> {
        let opened = File::open(self.path(key));
        let file = opened.map_err(|source| BlobError::Read { key: key.clone(), source })?;
        #[cfg(target_os = "linux")]
        let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
        Ok(file)
    }

    pub(super) async fn delete(&self, key: &BlobKey) -> io::Result<()> {
        match self.store.delete(&object_store::path::Path::from(key.as_str())).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(io::Error::other(error)),
        }
    }

    pub(super) fn listed_before(&self, before: Timestamp) -> BoxStream<'static, Result<Listed, BlobError>> {
        let objects = self.store.list(None).map_err(|error| BlobError::List(io::Error::other(error)));
        let listed = objects.map_ok(|meta| Listed {
            key: BlobKey::from_index(meta.location.as_ref()),
            size_bytes: meta.size,
            written: Timestamp(meta.last_modified.timestamp_micros()),
        });
        listed.try_filter(move |object| std::future::ready(object.written < before)).boxed()
    }

    /// Where the folder of the objects lies.
    pub(super) fn root(&self) -> &Path {
        self.objects.parent().unwrap_or(&self.objects)
    }

    pub(super) fn path(&self, key: &BlobKey) -> PathBuf {
        self.objects.join(key.as_str())
    }
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
