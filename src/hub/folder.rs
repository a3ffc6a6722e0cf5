//! The folder of one model: its files, and what we note beside them.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Acceptance, HubError, Listing, Manifest, Terms};

const MANIFEST: &str = "radiant-fetch.json";
const ACCEPTANCE: &str = "radiant-terms.json";
/// By which the engine says what it is.
const CARD: &str = "radiant.json";

#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// Of the folder itself; the operating system gives the lock back when the process dies.
    _lock: File,
}

impl Folder {
    /// For one fetch at a time. Creates the folder if need be; one of another model is refused.
    pub fn open(path: &Path, listing: &Listing) -> Result<Self, HubError> {
        let failed = |source| HubError::Write { path: path.to_owned(), source };
        fs::create_dir_all(path).map_err(failed)?;
        let lock = File::open(path).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(HubError::InUse(path.to_owned())),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        match manifest(path)? {
            Some(there) if there.repository != listing.repo => Err(HubError::OtherModel {
                dir: path.to_owned(),
                there: there.repository,
                wanted: listing.repo.clone(),
            }),
            _ => Ok(Self { path: path.to_owned(), _lock: lock }),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub fn note_acceptance(&self, acceptance: &Acceptance) -> Result<(), HubError> {
        write(&self.file(ACCEPTANCE), acceptance)
    }

    /// That everything is there.
    pub(super) fn note(&self, manifest: &Manifest, terms: &Terms) -> Result<(), HubError> {
        if !manifest.files.iter().any(|file| file.name == CARD) {
            let version = manifest.commit.chars().take(12).collect();
            let card = Card { name: manifest.repository.as_str(), version, notice: terms.notice() };
            write(&self.file(CARD), &card)?;
        }
        write(&self.file(MANIFEST), manifest)
    }

    pub(super) fn free_bytes(&self) -> Result<u64, HubError> {
        let failed =
            |error: rustix::io::Errno| HubError::Read { path: self.path.clone(), source: error.into() };
        let system = rustix::fs::statvfs(&self.path).map_err(failed)?;
        Ok(system.f_bavail.saturating_mul(system.f_frsize))
    }
}

/// `radiant.json`: what every result says of the model, with the notice that its terms ask for.
#[derive(Serialize)]
struct Card<'a> {
    name: &'a str,
    version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    notice: Option<String>,
}

/// Who has accepted the terms of the model of a folder, if anybody has.
pub fn acceptance(folder: &Path) -> Result<Option<Acceptance>, HubError> {
    read(&folder.join(ACCEPTANCE))
}

/// What a fetch has noted in a folder, if one has come to its end.
pub fn manifest(folder: &Path) -> Result<Option<Manifest>, HubError> {
    read(&folder.join(MANIFEST))
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, HubError> {
    match fs::read(path) {
        Ok(json) => serde_json::from_slice(&json)
            .map(Some)
            .map_err(|source| HubError::Parse { path: path.to_owned(), source }),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(HubError::Read { path: path.to_owned(), source }),
    }
}

/// Whole or not at all.
fn write(path: &Path, value: &impl Serialize) -> Result<(), HubError> {
    let written = || -> io::Result<()> {
        let beside = path.with_extension("json.new");
        let mut file = File::create(&beside)?;
        writeln!(file, "{}", serde_json::to_string_pretty(value)?)?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
        path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    };
    written().map_err(|source| HubError::Write { path: path.to_owned(), source })
}
