//! A backup made an archive again, in a folder of its own. Every byte is looked at on the way.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::audit::{Action, Actor, Entry, Outcome};
use crate::clock::Clock;
use crate::db::copy::IndexCopy;
use crate::db::integrity::Held;
use crate::db::{Batch, Db, DbError, SqliteSettings, audit};
use crate::query::integrity::{CheckError, compare};

use super::backup::manifest::{Manifest, ManifestError, OBJECTS};

const INDEX: &str = "index.sqlite";

#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    #[error(transparent)]
    Backup(#[from] ManifestError),
    #[error("{} is not empty: nothing is restored over what is there", .0.display())]
    Occupied(PathBuf),
    #[error("the backup has the schema {found}, and this program knows {known}: use a newer program")]
    Newer { found: u32, known: u32 },
    #[error("{} cannot be written", .0.display())]
    Write(PathBuf, #[source] io::Error),
    #[error("the index of the backup cannot be read")]
    Index(#[from] DbError),
}

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Restored {
    pub objects: u64,
    pub bytes: u64,
    /// Not in the backup, or damaged there: keys. Their rows are there, and `verify` names them.
    pub lacking: Vec<String>,
}

/// From a backup into a data folder that is not there yet, or empty.
pub struct Restore<'a> {
    pub backup: &'a Path,
    pub into: &'a Path,
    pub clock: Clock,
    pub settings: SqliteSettings,
    pub actor: Actor,
}

impl Restore<'_> {
    /// The index comes last: before it nobody takes the folder for an archive.
    pub async fn run(&self, mut tell: impl FnMut(u64)) -> Result<Restored, RestoreError> {
        let manifest = Manifest::read(self.backup)?;
        self.check(&manifest)?;
        let mut restored = Restored::default();
        let copy = IndexCopy::open(&self.backup.join(&manifest.index.name))?;
        self.objects(&copy, &mut restored, &mut tell)?;
        for part in &manifest.files {
            self.copy(&self.backup.join(&part.name), &part.name)?;
        }
        self.copy(&self.backup.join(&manifest.index.name), "index.part")?;
        let index = self.into.join(INDEX);
        fs::rename(self.into.join("index.part"), &index).map_err(|error| self.failed(INDEX, error))?;
        self.sync()?;
        self.note(&index, &restored).await?;
        Ok(restored)
    }

    /// Of the objects that the backup says it has.
    pub fn bytes(&self) -> Result<u64, RestoreError> {
        Ok(Manifest::read(self.backup)?.object_bytes)
    }

    fn check(&self, manifest: &Manifest) -> Result<(), RestoreError> {
        let known = Db::newest_schema();
        if manifest.schema_version > known {
            return Err(RestoreError::Newer { found: manifest.schema_version, known });
        }
        fs::create_dir_all(self.into).map_err(|error| self.failed("", error))?;
        let mut there = fs::read_dir(self.into).map_err(|error| self.failed("", error))?;
        if there.next().is_some() {
            return Err(RestoreError::Occupied(self.into.to_owned()));
        }
        manifest.index.check(self.backup)?;
        manifest.files.iter().try_for_each(|part| part.check(self.backup))?;
        Ok(())
    }

    fn objects(
        &self,
        copy: &IndexCopy,
        restored: &mut Restored,
        tell: &mut impl FnMut(u64),
    ) -> Result<(), RestoreError> {
        let mut after = 0;
        loop {
            let page = copy.held(after)?;
            let Some(last) = page.last() else { break };
            after = last.row;
            for held in &page {
                let Held { recorded, .. } = held;
                let is_right = |file: &Path| {
                    let opened = || Ok::<_, CheckError>(File::open(file)?);
                    compare(recorded, opened).is_ok()
                };
                self.object(recorded.blob_key.as_str(), recorded.size_bytes, is_right, restored)?;
                tell(recorded.size_bytes);
            }
        }
        let mut after = 0;
        loop {
            let page = copy.kept(after)?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.row;
            for kept in &page {
                let has_size =
                    |file: &Path| fs::metadata(file).is_ok_and(|file| file.len() == kept.size_bytes);
                self.object(kept.key.as_str(), kept.size_bytes, has_size, restored)?;
            }
        }
    }

    /// What is right is looked at where it comes to lie.
    fn object(
        &self,
        key: &str,
        bytes: u64,
        is_right: impl Fn(&Path) -> bool,
        restored: &mut Restored,
    ) -> Result<(), RestoreError> {
        let name = format!("{OBJECTS}/{key}");
        let source = self.backup.join(&name);
        if source.is_file() {
            let target = self.copy(&source, &name)?;
            if is_right(&target) {
                restored.objects += 1;
                restored.bytes += bytes;
                return Ok(());
            }
            fs::remove_file(&target).map_err(|error| self.failed(&name, error))?;
        }
        restored.lacking.push(key.to_owned());
        Ok(())
    }

    fn copy(&self, source: &Path, name: &str) -> Result<PathBuf, RestoreError> {
        let target = self.into.join(name);
        let copied = || {
            target.parent().map_or(Ok(()), fs::create_dir_all)?;
            fs::copy(source, &target).map(drop)
        };
        copied().map_err(|error| self.failed(name, error))?;
        Ok(target)
    }

    fn sync(&self) -> Result<(), RestoreError> {
        let folder = File::open(self.into).map_err(|error| self.failed("", error))?;
        #[cfg(target_os = "linux")]
        rustix::fs::syncfs(&folder).map_err(|error| self.failed("", error.into()))?;
        folder.sync_all().map_err(|error| self.failed("", error))
    }

    fn failed(&self, name: &str, error: io::Error) -> RestoreError {
        RestoreError::Write(self.into.join(name), error)
    }

    /// The trail goes on where the backup has left it.
    async fn note(&self, index: &Path, restored: &Restored) -> Result<(), DbError> {
        let db = Db::open_sqlite(index, self.settings)?;
        let detail = format!("{} objects, {} lacking", restored.objects, restored.lacking.len());
        let outcome = if restored.lacking.is_empty() { Outcome::Success } else { Outcome::MinorFailure };
        let entry = Entry::new(&self.actor, Action::RestoreArchive).outcome(outcome).detail(&detail);
        db.run(Batch::new().then(audit::append(&entry, self.clock.now()))).await.map(drop)
    }
}
