//! Files on their way, on the local disk.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::BlobError;

const STAGING: &str = "staging";

#[derive(Clone)]
pub(super) struct Staging {
    folder: PathBuf,
}

impl Staging {
    /// Empty: what an earlier run left there was never acknowledged.
    pub(super) fn open(root: &Path) -> Result<Self, BlobError> {
        let folder = root.join(STAGING);
        let failed = |source| BlobError::Prepare { path: folder.display().to_string(), source };
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => fs::create_dir_all(&folder).map_err(failed)?,
        }
        Ok(Self { folder })
    }

    /// What is in it may be on its way elsewhere, and stays.
    pub(super) fn beside(root: &Path) -> Result<Self, BlobError> {
        let folder = root.join(STAGING);
        let failed = |source| BlobError::Prepare { path: folder.display().to_string(), source };
        fs::create_dir_all(&folder).map_err(failed)?;
        Ok(Self { folder })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Blocking.
    pub(super) fn stage(&self) -> io::Result<Staged> {
        let path = self.folder.join(crate::ids::row_id());
        let file = File::options().read(true).write(true).create_new(true).open(&path)?;
        Ok(Staged { file, path, kept: false })
    }
}

/// A file on its way; dropped unkept, it is gone.
pub struct Staged {
    pub file: File,
    path: PathBuf,
    kept: bool,
}

impl Staged {
    /// What lies somewhere for good already, and stays there.
    pub(super) fn stored(path: PathBuf) -> io::Result<Self> {
        Ok(Self { file: File::open(&path)?, path, kept: true })
    }

    /// The file without its descriptor, of which a process has few.
    pub fn close(mut self) -> Closed {
        self.kept = true;
        Closed { path: self.path.clone() }
    }

    /// Gives the file its last name; from then on it stays.
    pub(super) fn rename(&mut self, target: &Path) -> io::Result<()> {
        fs::rename(&self.path, target)?;
        self.kept = true;
        Ok(())
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
    use super::*;

    #[test]
    fn a_dropped_staging_file_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let staging = Staging::open(dir.path()).unwrap();
        drop(staging.stage().unwrap());
        assert_eq!(fs::read_dir(dir.path().join(STAGING)).unwrap().count(), 0);
    }

    #[test]
    fn what_an_earlier_run_left_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        std::mem::forget(Staging::open(dir.path()).unwrap().stage().unwrap());
        Staging::open(dir.path()).unwrap();
        assert_eq!(fs::read_dir(dir.path().join(STAGING)).unwrap().count(), 0);
    }
}
