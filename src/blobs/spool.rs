//! Files that grow over several requests and outlive the process: uploads that wait for their rest.
//!
//! Their names are ids of ours. What the index says is durable lies in the file; what lies behind
//! it was never acknowledged.

use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// In the data folder.
pub const SPOOL: &str = "uploads";

/// Where files lie that one request leaves for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeping {
    /// In the data folder, where no other instance sees them.
    Here,
    /// Among the objects, where any instance goes on with them.
    Shared,
}

#[derive(Clone)]
pub struct Spool {
    folder: PathBuf,
}

impl Spool {
    pub(super) fn open(data_dir: &Path) -> io::Result<Self> {
        let folder = data_dir.join(SPOOL);
        fs::create_dir_all(&folder)?;
        Ok(Self { folder })
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// An empty file, whose name is durable. Blocking.
    pub fn create(&self, id: &str) -> io::Result<()> {
        File::create_new(self.path(id)?)?.sync_all()?;
        File::open(&self.folder)?.sync_all()
    }

    /// To go on at `offset`; what lies behind it is cut off. Blocking.
    pub fn resume(&self, id: &str, offset: u64) -> io::Result<File> {
        let mut file = File::options().write(true).open(self.path(id)?)?;
        if file.metadata()?.len() < offset {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "less is there than was acknowledged"));
        }
        file.set_len(offset)?;
        file.seek(SeekFrom::Start(offset))?;
        Ok(file)
    }

    /// To read from the beginning. Blocking.
    pub fn read(&self, id: &str) -> io::Result<File> {
        File::open(self.path(id)?)
    }

    /// Gone, or never there. Blocking.
    pub fn remove(&self, id: &str) -> io::Result<()> {
        match fs::remove_file(self.path(id)?) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// The ids of all files. Blocking.
    pub fn ids(&self) -> io::Result<Vec<String>> {
        let names = fs::read_dir(&self.folder)?.map(|entry| Ok(entry?.file_name()));
        let names = names.collect::<io::Result<Vec<_>>>()?;
        Ok(names.into_iter().filter_map(|name| name.into_string().ok()).collect())
    }

    /// An id is a UUID as text: nothing that a caller wrote becomes part of a path.
    fn path(&self, id: &str) -> io::Result<PathBuf> {
        let id: uuid::Uuid = id.parse().map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.folder.join(id.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn a_file_goes_on_where_it_was_acknowledged() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::open(dir.path()).unwrap();
        let id = crate::ids::row_id();
        spool.create(&id).unwrap();
        spool.resume(&id, 0).unwrap().write_all(b"abcdef").unwrap();
        spool.resume(&id, 3).unwrap().write_all(b"xy").unwrap();
        let mut text = String::new();
        spool.read(&id).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "abcxy");
        assert!(spool.resume(&id, 6).is_err(), "acknowledged and not there");
        assert_eq!(spool.ids().unwrap(), std::slice::from_ref(&id));
        spool.remove(&id).unwrap();
        spool.remove(&id).unwrap();
    }

    #[test]
    fn an_id_that_is_none_leads_nowhere() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::open(dir.path()).unwrap();
        for id in ["../index", "/etc/passwd", "", "a"] {
            assert!(spool.create(id).is_err() && spool.read(id).is_err(), "{id}");
        }
    }
}
