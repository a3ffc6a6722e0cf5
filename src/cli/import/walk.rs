//! Which files the given paths name.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::summary::{Report, Verdict};

/// Every file below the paths, in order of name.
#[derive(Debug, Default)]
pub(in crate::cli) struct Found {
    pub(in crate::cli) files: Vec<FoundFile>,
    pub(in crate::cli) unreadable: Vec<Report>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct FoundFile {
    pub(in crate::cli) path: PathBuf,
    pub(in crate::cli) bytes: u64,
}

impl Found {
    pub(in crate::cli) fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    fn add(&mut self, path: &Path) {
        if let Err(error) = self.try_add(path) {
            let refused = Verdict::Refused(format!("cannot be read: {error}"));
            self.unreadable.push(Report::new(path.display(), refused));
        }
    }

    fn try_add(&mut self, path: &Path) -> io::Result<()> {
        let metadata = fs::metadata(path)?;
        if !metadata.is_dir() {
            self.files.push(FoundFile { path: path.to_owned(), bytes: metadata.len() });
            return Ok(());
        }
        for entry in sorted(path)? {
            // a link to a folder may lead back up: links are followed to files only
            if !(entry.is_symlink() && entry.is_dir()) {
                self.add(&entry);
            }
        }
        Ok(())
    }
}

pub(in crate::cli) fn find(paths: &[PathBuf]) -> Found {
    let mut found = Found::default();
    paths.iter().for_each(|path| found.add(path));
    found
}

fn sorted(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path()));
    let mut paths = entries.collect::<io::Result<Vec<_>>>()?;
    paths.sort_unstable();
    Ok(paths)
}
