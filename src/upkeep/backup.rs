//! A copy of the archive while it is in use: one moment of the index, and every object that this
//! moment refers to.
//!
//! Objects are taken before the index is copied, and those that came since afterwards: what is
//! deleted for good meanwhile is nearly always taken already, and where it is not, a later moment
//! of the index is taken that does not refer to it.

pub mod manifest;
mod objects;

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::audit::{Action, Actor, Entry, Outcome};
use crate::blobs::Blobs;
use crate::clock::Clock;
use crate::db::copy::IndexCopy;
use crate::db::{Batch, Db, DbError, audit};
use crate::ids;

use manifest::{FILE, Manifest, ManifestError, OBJECTS, Part};
use objects::{Missed, Taking};

/// Moments of the index that are tried.
const MOMENTS_MAX: usize = 5;
const LOCK: &str = "lock";
const INDEX_PREFIX: &str = "index-";

#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error("{} cannot be used", .0.display())]
    Folder(PathBuf, #[source] io::Error),
    #[error("{} is no backup: it holds something else", .0.display())]
    Foreign(PathBuf),
    #[error("the objects lie in a bucket, which is backed up by its own means; this is for a folder")]
    InBucket,
    #[error("another backup is being made to {}", .0.display())]
    InUse(PathBuf),
    #[error("the index cannot be read")]
    Index(#[from] DbError),
    #[error("{0} cannot be copied")]
    Copy(String, #[source] io::Error),
    #[error("objects were deleted for good faster than they could be copied")]
    Overtaken,
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error("the copying did not come to its end")]
    Stopped(#[from] tokio::task::JoinError),
}

/// How the bytes of an object come into the backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Bytes of their own: damage of one is not damage of the other.
    Copied,
    /// The same bytes under a second name, which costs no space and helps against deletion alone.
    Linked,
}

/// What is to be copied, and how.
pub struct Backup {
    pub db: Db,
    pub blobs: Blobs,
    pub clock: Clock,
    pub folder: PathBuf,
    pub way: Way,
    /// Objects that an earlier run has taken are read again.
    pub recheck: bool,
    /// Files of the data folder that cannot be made again.
    pub files: Vec<PathBuf>,
    pub actor: Actor,
}

/// What a run did.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Done {
    pub objects: u64,
    pub bytes: u64,
    /// Those that were not there from an earlier run.
    pub new_objects: u64,
    pub new_bytes: u64,
    /// Objects of the backup before that the archive has no more.
    pub removed: u64,
    /// Damaged in the archive, and not in the backup: keys.
    pub damaged: Vec<String>,
}

impl Backup {
    /// Brings the folder to what the archive is now.
    pub async fn run(&self, mut tell: impl FnMut(u64)) -> Result<Done, BackupError> {
        if self.db.is_shared() {
            return Err(BackupError::Index(DbError::NotAFile));
        }
        if !self.blobs.is_in_folder() {
            return Err(BackupError::InBucket);
        }
        self.prepare()?;
        let _lock = lock(&self.folder)?;
        self.note(Outcome::Begun, None).await?;
        let made = self.make(&mut tell).await;
        let outcome = match &made {
            Ok(done) if done.damaged.is_empty() => Outcome::Success,
            Ok(_) => Outcome::MinorFailure,
            Err(_) => Outcome::Error,
        };
        let detail = made.as_ref().map(|done| format!("{} objects", done.objects)).ok();
        self.note(outcome, detail.as_deref()).await?;
        made
    }

    async fn make(&self, tell: &mut impl FnMut(u64)) -> Result<Done, BackupError> {
        let taking = Taking::new(self);
        taking.of_index(&self.db, tell).await?;
        // Before the index: what is noted of the audit trail is never behind the copy of it.
        let files = self.copy_files()?;
        for _ in 0..MOMENTS_MAX {
            let name = format!("{INDEX_PREFIX}{}.sqlite", ids::row_id());
            self.db.copy_to(&self.folder.join(&name)).await?;
            match taking.of_copy(&self.folder.join(&name), &self.db, tell).await? {
                Ok(done) => return self.finish(&name, files, done),
                Err(Missed) => remove(&self.folder.join(&name))?,
            }
        }
        Err(BackupError::Overtaken)
    }

    /// Everything is on the disk before the manifest says that it is there.
    fn finish(&self, index: &str, files: Vec<Part>, mut done: Done) -> Result<Done, BackupError> {
        let copied = |error| BackupError::Copy(index.to_owned(), error);
        let part = Part::of(&self.folder, index).map_err(copied)?;
        let copy = IndexCopy::open(&self.folder.join(index))?;
        let made_at = self.clock.now().rfc3339();
        let mut manifest = Manifest::new(part, copy.schema_version()?, copy.counts()?, made_at);
        (manifest.objects, manifest.object_bytes) = (done.objects, done.bytes);
        (manifest.files, manifest.damaged) = (files, done.damaged.clone());
        sync(&self.folder)?;
        manifest.write(&self.folder)?;
        self.remove_earlier_indexes(index)?;
        done.removed = objects::remove_unreferenced(&self.folder.join(OBJECTS), &copy)?;
        Ok(done)
    }

    /// A folder is a backup, or it is empty.
    fn prepare(&self) -> Result<(), BackupError> {
        let failed = |error| BackupError::Folder(self.folder.clone(), error);
        fs::create_dir_all(self.folder.join(OBJECTS)).map_err(failed)?;
        for entry in fs::read_dir(&self.folder).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            if !name.to_str().is_some_and(|name| self.is_ours(name)) {
                return Err(BackupError::Foreign(self.folder.clone()));
            }
        }
        Ok(())
    }

    fn is_ours(&self, name: &str) -> bool {
        let file = |path: &PathBuf| path.file_name().is_some_and(|file| file == name);
        [FILE, OBJECTS, LOCK, "manifest.next"].contains(&name)
            || name.starts_with(INDEX_PREFIX)
            || self.files.iter().any(file)
    }

    fn copy_files(&self) -> Result<Vec<Part>, BackupError> {
        let there = self.files.iter().filter(|path| path.is_file());
        let copy = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let copied = fs::copy(path, self.folder.join(&name)).and_then(|_| Part::of(&self.folder, &name));
            copied.map_err(|error| BackupError::Copy(name, error))
        };
        there.map(copy).collect()
    }

    fn remove_earlier_indexes(&self, kept: &str) -> Result<(), BackupError> {
        let failed = |error| BackupError::Folder(self.folder.clone(), error);
        for entry in fs::read_dir(&self.folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with(INDEX_PREFIX) && name != kept {
                remove(&entry.path())?;
            }
        }
        Ok(())
    }

    async fn note(&self, outcome: Outcome, detail: Option<&str>) -> Result<(), DbError> {
        let entry = Entry::new(&self.actor, Action::BackUpArchive).outcome(outcome);
        let append = audit::append(&Entry { detail, ..entry }, self.clock.now());
        self.db.run(Batch::new().then(append)).await.map(drop)
    }
}

fn lock(folder: &Path) -> Result<File, BackupError> {
    let failed = |error| BackupError::Folder(folder.to_owned(), error);
    let file = File::options().create(true).truncate(false).write(true).open(folder.join(LOCK));
    let file = file.map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(BackupError::InUse(folder.to_owned())),
        Err(TryLockError::Error(error)) => Err(failed(error)),
    }
}

fn remove(path: &Path) -> Result<(), BackupError> {
    fs::remove_file(path).map_err(|error| BackupError::Folder(path.to_owned(), error))
}

/// One call for all files, however many there are.
fn sync(folder: &Path) -> Result<(), BackupError> {
    let failed = |error| BackupError::Folder(folder.to_owned(), error);
    let opened = File::open(folder).map_err(failed)?;
    #[cfg(target_os = "linux")]
    rustix::fs::syncfs(&opened).map_err(|error| failed(error.into()))?;
    opened.sync_all().map_err(failed)
}

#[cfg(test)]
mod tests;
