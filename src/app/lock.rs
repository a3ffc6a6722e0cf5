//! One process per data folder: a second one would write the same index and sweep the same
//! staging files.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use super::AppError;

const LOCK: &str = "lock";

/// Held for as long as this lives; the operating system gives it back when the process dies.
#[derive(Debug)]
pub(super) struct DataDirLock(#[expect(dead_code, reason = "closing the file gives the lock back")] File);

impl DataDirLock {
    /// Creates the folder if need be. Blocking, but waits for nobody.
    pub(super) fn take(data_dir: &Path) -> Result<Self, AppError> {
        let path = || PathBuf::from(data_dir);
        let failed = |source| AppError::DataDir { path: path(), source };
        fs::create_dir_all(data_dir).map_err(failed)?;
        let mut options = File::options();
        let file =
            options.create(true).truncate(false).write(true).open(data_dir.join(LOCK)).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => Err(AppError::DataDirInUse { path: path() }),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_holder_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let held = DataDirLock::take(dir.path()).unwrap();
        assert!(matches!(DataDirLock::take(dir.path()), Err(AppError::DataDirInUse { .. })));
        drop(held);
        assert!(DataDirLock::take(dir.path()).is_ok());
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named_with_its_key() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = DataDirLock::take(&file.path().join("below")).unwrap_err().to_string();
        assert!(error.starts_with("server.data_dir = ") && error.contains("below"), "{error}");
    }
}
