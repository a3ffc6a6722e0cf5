//! Damaged objects brought back from a folder with other copies of them.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::blobs::Blobs;
use crate::query::integrity::{CheckError, Recorded, compare};

const OBJECTS: &str = "objects";

#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    #[error("{} is no folder of objects", .0.display())]
    NoFolder(PathBuf),
    #[error("the replica has no copy")]
    NoCopy(#[source] io::Error),
    #[error("the copy in the replica is not what was stored")]
    OtherCopy(#[source] CheckError),
    #[error("the copy cannot be put in place")]
    Place(#[source] io::Error),
}

/// Objects under the keys of this archive.
#[derive(Debug, Clone)]
pub struct Replica {
    folder: PathBuf,
}

impl Replica {
    /// A data folder, a backup, or a folder of objects itself.
    pub fn open(path: &Path) -> Result<Self, RepairError> {
        let within = path.join(OBJECTS);
        let folder = if within.is_dir() { within } else { path.to_owned() };
        match folder.is_dir() {
            true => Ok(Self { folder }),
            false => Err(RepairError::NoFolder(folder)),
        }
    }

    /// Puts the bytes that the index knows in place of what is there, or leaves that as it is.
    /// Blocking, on a thread of the runtime.
    pub fn repair(&self, blobs: &Blobs, recorded: &Recorded) -> Result<(), RepairError> {
        let key = &recorded.blob_key;
        let mut copy = File::open(self.folder.join(key.as_str())).map_err(RepairError::NoCopy)?;
        let mut staged = blobs.stage().map_err(RepairError::Place)?;
        io::copy(&mut copy, &mut staged.file).map_err(RepairError::Place)?;
        // What is looked at is what is put in place.
        compare(recorded, || Ok(from_beginning(&staged.file)?)).map_err(RepairError::OtherCopy)?;
        tokio::runtime::Handle::current().block_on(blobs.keep(staged, key)).map_err(RepairError::Place)
    }
}

fn from_beginning(file: &File) -> io::Result<File> {
    let mut again = file.try_clone()?;
    again.seek(SeekFrom::Start(0))?;
    Ok(again)
}
