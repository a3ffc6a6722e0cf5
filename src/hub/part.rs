//! A file while it comes in: beside its place under another name, digested as it grows. Whatever ends
//! the process, what came is found again.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::RemoteFile;
use super::digest::Hasher;

pub(super) struct Part {
    path: PathBuf,
    file: File,
    of: RemoteFile,
    bytes: u64,
    hasher: Hasher,
}

/// Parts are named by the digest of the whole: those of another revision are never continued.
const DIGITS: usize = 12;

pub(super) fn path(target: &Path, file: &RemoteFile) -> PathBuf {
    let digest: String = file.digest.as_str().chars().take(DIGITS).collect();
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    target.with_file_name(format!("{name}.{digest}.part"))
}

impl Part {
    /// Reads what an earlier attempt has left. Blocking.
    pub(super) fn open(target: &Path, of: &RemoteFile) -> io::Result<Self> {
        let path = path(target, of);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
        let mut hasher = Hasher::new(&of.digest, of.bytes);
        let bytes = hasher.read(&mut file)?;
        let mut part = Self { path, file, of: of.clone(), bytes, hasher };
        if part.bytes > of.bytes {
            part.restart()?;
        }
        Ok(part)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn is_whole(&self) -> bool {
        self.bytes == self.of.bytes
    }

    /// Whether it fits: more than the listed size is never written.
    pub(super) fn takes(&self, chunk: &[u8]) -> bool {
        self.bytes + chunk.len() as u64 <= self.of.bytes
    }

    pub(super) fn append(&mut self, chunk: &[u8]) -> io::Result<()> {
        self.file.write_all(chunk)?;
        self.hasher.update(chunk);
        self.bytes += chunk.len() as u64;
        Ok(())
    }

    pub(super) fn restart(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.bytes = 0;
        self.hasher = Hasher::new(&self.of.digest, self.of.bytes);
        Ok(())
    }

    pub(super) fn is_right(&self) -> bool {
        self.is_whole() && self.hasher.clone().finish() == self.of.digest
    }

    /// Into its place, durably. Blocking.
    pub(super) fn place(self, target: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.path, target)?;
        let Some(folder) = target.parent() else { return Ok(()) };
        forget_others(folder, target)?;
        File::open(folder)?.sync_all()
    }

    /// Its bytes are good for nothing; that it stays empty would harm nobody.
    pub(super) fn discard(self) {
        let _ = fs::remove_file(&self.path);
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// Parts of other revisions of a file that is there now.
fn forget_others(folder: &Path, target: &Path) -> io::Result<()> {
    let whole = target.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let is_part = |name: &str| {
        let digits = name.strip_prefix(&format!("{whole}.")).and_then(|rest| rest.strip_suffix(".part"));
        digits.is_some_and(|digits| digits.len() == DIGITS)
    };
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if is_part(&entry.file_name().to_string_lossy()) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::Digest;
    use super::*;

    fn hello() -> RemoteFile {
        let digest = Digest::git_sha1("ce013625030ba8dba906f756967f9e9ca394464a").unwrap();
        RemoteFile { name: "hello".to_owned(), bytes: 6, digest }
    }

    #[test]
    fn what_an_earlier_attempt_left_is_continued() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("hello");
        Part::open(&target, &hello()).unwrap().append(b"hel").unwrap();
        let mut part = Part::open(&target, &hello()).unwrap();
        assert_eq!(part.bytes(), 3);
        part.append(b"lo\n").unwrap();
        assert!(part.is_right() && !part.takes(b"!"));
        part.place(&target).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn wrong_or_too_many_bytes_are_begun_anew() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("hello");
        Part::open(&target, &hello()).unwrap().append(b"HELLO\n").unwrap();
        let mut part = Part::open(&target, &hello()).unwrap();
        assert!(part.is_whole() && !part.is_right());
        part.append(b"more").unwrap();
        assert_eq!(Part::open(&target, &hello()).unwrap().bytes(), 0);
    }
}
