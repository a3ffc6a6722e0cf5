//! Objects that nothing refers to, taken away beside servers that may be writing them anew.
//!
//! The name of an object is that of its bytes, so a server that is sent the very same file again puts
//! it under the same name. What is about to be deleted is therefore moved out of the way first, and
//! looked at there: a server that comes later finds the name free, and one that came before is seen by
//! the time of its file.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{BlobKey, Blobs};
use crate::clock::Timestamp;

/// Beside the folder of the objects.
const TAKEN: &str = "collecting";

/// An object that lies where nobody looks. Dropped, it goes back.
#[derive(Debug)]
pub struct Taken {
    from: PathBuf,
    to: PathBuf,
    is_settled: bool,
}

impl Taken {
    /// For good. Blocking.
    pub fn delete(mut self) -> io::Result<()> {
        self.is_settled = true;
        fs::remove_file(&self.to)
    }

    /// Blocking.
    pub fn put_back(mut self) -> io::Result<()> {
        self.is_settled = true;
        put_back(&self.to, &self.from)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if !self.is_settled {
            // What does not go back now goes back with the next run.
            let _ = put_back(&self.to, &self.from);
        }
    }
}

/// Unless somebody has put the same there meanwhile, which is good whatever this one is.
fn put_back(from: &Path, to: &Path) -> io::Result<()> {
    match to.try_exists()? {
        true => fs::remove_file(from),
        false => fs::rename(from, to),
    }
}

impl Blobs {
    /// Takes an object of a folder away; `None` where it is gone, or was written at `before` or later.
    /// Blocking.
    pub fn take(&self, key: &BlobKey, before: Timestamp) -> io::Result<Option<Taken>> {
        let from = self.file(key).ok_or(io::ErrorKind::Unsupported)?;
        let to = self.taken().join(key.as_str());
        to.parent().map_or(Ok(()), fs::create_dir_all)?;
        match fs::rename(&from, &to) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            renamed => renamed?,
        }
        let taken = Taken { from, to, is_settled: false };
        let written = Timestamp::from(fs::metadata(&taken.to)?.modified()?);
        match written < before {
            true => Ok(Some(taken)),
            false => taken.put_back().map(|()| None),
        }
    }

    /// Puts back what a run that was broken off had taken. Blocking.
    pub fn put_taken_back(&self) -> io::Result<()> {
        let objects = self.file(&BlobKey::from_index("")).ok_or(io::ErrorKind::Unsupported)?;
        match put_all_back(&self.taken(), &objects) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    fn taken(&self) -> PathBuf {
        self.staging.folder().with_file_name(TAKEN)
    }
}

fn put_all_back(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        match entry.file_type()?.is_dir() {
            true => put_all_back(&from, &to)?,
            false => put_back(&from, &to)?,
        }
    }
    // Another run may have put something there meanwhile.
    let _ = fs::remove_dir(from);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(i64::MAX / 2);

    struct Bench {
        dir: tempfile::TempDir,
        blobs: Blobs,
        key: BlobKey,
    }

    impl Bench {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let blobs = Blobs::open_local(dir.path()).unwrap();
            let bench = Self { dir, blobs, key: BlobKey::from_index("ab/1.2/1.2.3.0123") };
            fs::create_dir_all(bench.object().parent().unwrap()).unwrap();
            fs::write(bench.object(), b"old").unwrap();
            bench
        }

        fn object(&self) -> PathBuf {
            self.blobs.file(&self.key).unwrap()
        }
    }

    #[test]
    fn what_was_taken_is_deleted_or_comes_back() {
        let bench = Bench::new();
        drop(bench.blobs.take(&bench.key, NOW).unwrap().unwrap());
        assert_eq!(fs::read(bench.object()).unwrap(), b"old");
        bench.blobs.take(&bench.key, NOW).unwrap().unwrap().delete().unwrap();
        assert!(!bench.object().exists());
        assert!(bench.blobs.take(&bench.key, NOW).unwrap().is_none());
    }

    #[test]
    fn what_a_server_wrote_since_stays() {
        let bench = Bench::new();
        assert!(bench.blobs.take(&bench.key, Timestamp(1)).unwrap().is_none());
        assert!(bench.object().exists());
        let taken = bench.blobs.take(&bench.key, NOW).unwrap().unwrap();
        fs::write(bench.object(), b"new").unwrap();
        taken.put_back().unwrap();
        assert_eq!(fs::read(bench.object()).unwrap(), b"new");
    }

    #[test]
    fn what_a_run_that_was_broken_off_had_taken_is_put_back() {
        let bench = Bench::new();
        std::mem::forget(bench.blobs.take(&bench.key, NOW).unwrap().unwrap());
        let before = fs::metadata(bench.dir.path().join(TAKEN).join(bench.key.as_str())).unwrap();
        bench.blobs.put_taken_back().unwrap();
        assert_eq!(fs::metadata(bench.object()).unwrap().modified().unwrap(), before.modified().unwrap());
        bench.blobs.put_taken_back().unwrap();
    }
}
