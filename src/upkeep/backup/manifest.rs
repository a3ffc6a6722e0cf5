//! What a backup holds, in a file beside it. It is written last: a backup is there once its manifest
//! is, and until then the one before is.

use std::fs::{self, File};
use std::io::{self, BufReader, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::db::copy::Counts;
use crate::ids::hex;
use crate::query::integrity::digest_of_all;

pub const FILE: &str = "manifest.json";
pub const OBJECTS: &str = "objects";
const FORMAT: u32 = 1;

#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    #[error("{} has no manifest: it is no backup, or one that never came to its end", .0.display())]
    Missing(PathBuf),
    #[error("{} cannot be read", .0.display())]
    Read(PathBuf, #[source] io::Error),
    #[error("{} is no manifest", .0.display())]
    Form(PathBuf, #[source] serde_json::Error),
    #[error("the backup has the form {0}, and this program knows {FORMAT}")]
    Newer(u32),
    #[error("the manifest cannot be written")]
    Write(#[source] io::Error),
    #[error("{name} in the backup is not what the manifest says")]
    OtherBytes { name: String },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub format: u32,
    pub program: String,
    /// RFC 3339.
    pub made_at: String,
    pub schema_version: u32,
    pub counts: Counts,
    pub objects: u64,
    pub object_bytes: u64,
    pub index: Part,
    /// What else lies in the data folder and cannot be made again.
    pub files: Vec<Part>,
    /// Objects that were damaged in the archive already, by their keys: they are not in the backup.
    pub damaged: Vec<String>,
}

/// A file of the backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    pub name: String,
    pub bytes: u64,
    /// Hexadecimal.
    pub sha256: String,
}

impl Part {
    pub fn of(folder: &Path, name: &str) -> io::Result<Self> {
        let (sha256, bytes) = digest(&folder.join(name))?;
        Ok(Self { name: name.to_owned(), bytes, sha256 })
    }

    /// Whether the file is still the one that the manifest speaks of.
    pub fn check(&self, folder: &Path) -> Result<(), ManifestError> {
        let path = folder.join(&self.name);
        let found = digest(&path).map_err(|error| ManifestError::Read(path, error))?;
        match found == (self.sha256.clone(), self.bytes) {
            true => Ok(()),
            false => Err(ManifestError::OtherBytes { name: self.name.clone() }),
        }
    }
}

fn digest(path: &Path) -> io::Result<(String, u64)> {
    let (digest, bytes) = digest_of_all(&mut BufReader::new(File::open(path)?))?;
    Ok((hex(&digest), bytes))
}

impl Manifest {
    pub fn new(index: Part, schema_version: u32, counts: Counts, made_at: String) -> Self {
        Self {
            format: FORMAT,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            made_at,
            schema_version,
            counts,
            objects: 0,
            object_bytes: 0,
            index,
            files: Vec::new(),
            damaged: Vec::new(),
        }
    }

    pub fn read(folder: &Path) -> Result<Self, ManifestError> {
        let path = folder.join(FILE);
        let text = fs::read(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => ManifestError::Missing(folder.to_owned()),
            _ => ManifestError::Read(path.clone(), error),
        })?;
        let manifest: Self =
            serde_json::from_slice(&text).map_err(|error| ManifestError::Form(path, error))?;
        match manifest.format {
            FORMAT => Ok(manifest),
            newer => Err(ManifestError::Newer(newer)),
        }
    }

    /// From here on this is the backup.
    pub fn write(&self, folder: &Path) -> Result<(), ManifestError> {
        let write = || {
            let next = folder.join("manifest.next");
            let mut file = File::create(&next)?;
            file.write_all(&serde_json::to_vec_pretty(self)?)?;
            file.sync_all()?;
            fs::rename(&next, folder.join(FILE))?;
            File::open(folder)?.sync_all()
        };
        write().map_err(ManifestError::Write)
    }
}
