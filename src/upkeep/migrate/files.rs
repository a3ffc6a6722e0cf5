//! Files that lie in a data folder beside index and objects.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::MigrateError;

/// Copies files, and folders with all that is in them; how many files there were. One that is there already is
/// written anew.
pub(super) fn carry(files: &[(PathBuf, PathBuf)]) -> Result<u64, MigrateError> {
    let one = |(from, to): &(PathBuf, PathBuf)| {
        copy(from, to).map_err(|error| MigrateError::File(from.clone(), error))
    };
    files.iter().map(one).sum()
}

/// With its permissions: some of them are secrets.
fn copy(from: &Path, to: &Path) -> io::Result<u64> {
    if from.is_dir() {
        let entries = fs::read_dir(from)?.collect::<io::Result<Vec<_>>>()?;
        return entries.iter().map(|entry| copy(&entry.path(), &to.join(entry.file_name()))).sum();
    }
    if !from.is_file() {
        return Ok(0);
    }
    let folder = to.parent().unwrap_or(to);
    fs::create_dir_all(folder)?;
    let next = folder.join(format!("{}.next", crate::ids::row_id()));
    fs::copy(from, &next)?;
    File::open(&next)?.sync_all()?;
    fs::rename(&next, to)?;
    File::open(folder)?.sync_all()?;
    Ok(1)
}
