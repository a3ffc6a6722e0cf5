//! What nothing refers to any more: objects without a row, files of transfers, uploads and downloads
//! that came to no end. Beside servers that run: what is younger than a time may be theirs.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::TryStreamExt;
use tokio::fs;

use crate::audit::{Action, Actor, Entry, Outcome};
use crate::blobs::{BlobError, BlobKey, Blobs, Listed};
use crate::clock::{Clock, Timestamp};
use crate::db::downloads::{self, State};
use crate::db::{Batch, Db, DbError, audit, instances, uploads};
use crate::export::content;

#[derive(Debug, thiserror::Error)]
pub enum GarbageError {
    #[error("the index failed")]
    Index(#[from] DbError),
    #[error(transparent)]
    Objects(#[from] BlobError),
    #[error("the files cannot be looked through")]
    Files(#[from] io::Error),
    #[error("the removal of an object did not come to its end")]
    Stopped(#[from] tokio::task::JoinError),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Of the store, without a row.
    Object,
    /// Of a transfer that nobody is at any more.
    Staged,
    /// Of an upload that has ended, or was never begun.
    Upload,
    /// Of a download that is over.
    Download,
}

impl Kind {
    pub const ALL: [Self; 4] = [Self::Object, Self::Staged, Self::Upload, Self::Download];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Object => "object",
            Self::Staged => "staged",
            Self::Upload => "upload",
            Self::Download => "download",
        }
    }
}

/// Something that nothing refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOver {
    pub kind: Kind,
    /// Its key, or the name of its file.
    pub name: String,
    pub size_bytes: u64,
}

/// Of one kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Count {
    pub count: u64,
    pub bytes: u64,
}

/// In the order of [`Kind::ALL`].
pub type Counts = [Count; 4];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Does {
    Show,
    Remove,
}

pub struct Garbage {
    pub db: Db,
    pub blobs: Blobs,
    pub clock: Clock,
    /// What is younger stays.
    pub older_than: Duration,
    /// Of prepared downloads.
    pub downloads: PathBuf,
    pub does: Does,
    pub actor: Actor,
}

/// A run under way.
struct Run<'a, F> {
    garbage: &'a Garbage,
    now: Timestamp,
    counts: Counts,
    tell: F,
}

impl Garbage {
    /// Tells of each thing that is left over, which is gone by then if that was asked for.
    pub async fn run(&self, tell: impl FnMut(&LeftOver)) -> Result<Counts, GarbageError> {
        self.note(Outcome::Begun, None).await?;
        let mut run = Run { garbage: self, now: self.clock.now(), counts: Counts::default(), tell };
        let done = run.everything().await;
        let removed: u64 = run.counts.iter().map(|count| count.count).sum();
        let bytes: u64 = run.counts.iter().map(|count| count.bytes).sum();
        let outcome = if done.is_ok() { Outcome::Success } else { Outcome::Error };
        self.note(outcome, Some(&format!("{removed} removed, {bytes} bytes"))).await?;
        done.map(|()| run.counts)
    }

    /// A look changes nothing that a trail would have to tell of.
    async fn note(&self, outcome: Outcome, detail: Option<&str>) -> Result<(), DbError> {
        if self.does == Does::Show {
            return Ok(());
        }
        let entry = Entry { detail, ..Entry::new(&self.actor, Action::CollectGarbage).outcome(outcome) };
        self.db.run(Batch::new().then(audit::append(&entry, self.clock.now()))).await.map(drop)
    }

    /// A name of its own in a bucket nobody writes again; in a folder somebody may.
    async fn remove_object(&self, key: &BlobKey, before: Timestamp) -> Result<bool, GarbageError> {
        if !self.blobs.has_shared_keys() {
            self.blobs.delete(key).await?;
            return Ok(true);
        }
        let (blobs, wanted) = (self.blobs.clone(), key.clone());
        let taken = tokio::task::spawn_blocking(move || blobs.take(&wanted, before)).await??;
        let Some(taken) = taken else { return Ok(false) };
        match instances::is_referenced(&self.db, key).await? {
            true => taken.put_back()?,
            false => return Ok(taken.delete().map(|()| true)?),
        }
        Ok(false)
    }

    async fn needs_upload(&self, id: &str, now: Timestamp) -> Result<bool, DbError> {
        let Some(upload) = uploads::one(&self.db, id).await? else { return Ok(false) };
        let is_over = upload.state == "receiving" && upload.expires_at.is_some_and(|at| at < now);
        Ok(upload.finished_at.is_none() && !is_over)
    }

    /// The row of one whose time is over ends before its file does.
    async fn needs_download(&self, name: &str, now: Timestamp) -> Result<bool, DbError> {
        let id = name.strip_suffix(content::PART).unwrap_or(name);
        let Some(download) = downloads::one(&self.db, id).await? else { return Ok(false) };
        let is_over = download.state == State::Done && download.expires_at <= now;
        if is_over && self.does == Does::Remove {
            let end = downloads::end(id, State::Expired, "its time was over", now);
            self.db.run(Batch::new().then(end)).await?;
        }
        Ok(!is_over && matches!(download.state, State::Queued | State::Running | State::Done))
    }
}

impl<F: FnMut(&LeftOver)> Run<'_, F> {
    async fn everything(&mut self) -> Result<(), GarbageError> {
        let (garbage, now) = (self.garbage, self.now);
        self.objects().await?;
        let staging = garbage.blobs.staging_folder().to_owned();
        self.files(Kind::Staged, &staging, async |_| Ok(false)).await?;
        if garbage.does == Does::Remove {
            uploads::expire(&garbage.db, now).await?;
        }
        let spool = garbage.blobs.spool();
        self.files(Kind::Upload, spool.folder(), async |id| garbage.needs_upload(id, now).await).await?;
        let folder = &garbage.downloads;
        self.files(Kind::Download, folder, async |name| garbage.needs_download(name, now).await).await
    }

    async fn objects(&mut self) -> Result<(), GarbageError> {
        let garbage = self.garbage;
        if garbage.does == Does::Remove && garbage.blobs.is_in_folder() {
            let blobs = garbage.blobs.clone();
            tokio::task::spawn_blocking(move || blobs.put_taken_back()).await??;
        }
        let before = self.now.minus(garbage.older_than);
        let mut objects = garbage.blobs.listed_older_than(self.now, garbage.older_than);
        while let Some(Listed { key, size_bytes, .. }) = objects.try_next().await? {
            if instances::is_referenced(&garbage.db, &key).await? {
                continue;
            }
            if garbage.does == Does::Show || garbage.remove_object(&key, before).await? {
                self.found(LeftOver { kind: Kind::Object, name: key.to_string(), size_bytes });
            }
        }
        Ok(())
    }

    /// The old files of a folder that nobody needs.
    async fn files(
        &mut self,
        kind: Kind,
        folder: &Path,
        is_needed: impl AsyncFn(&str) -> Result<bool, DbError>,
    ) -> Result<(), GarbageError> {
        let before = self.now.minus(self.garbage.older_than);
        let mut files = match fs::read_dir(folder).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            files => files?,
        };
        while let Some(file) = files.next_entry().await? {
            let name = file.file_name().to_string_lossy().into_owned();
            let about = match file.metadata().await {
                // Whoever was at it has come to an end.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                about => about?,
            };
            if !about.is_file() || Timestamp::from(about.modified()?) >= before || is_needed(&name).await? {
                continue;
            }
            if self.garbage.does == Does::Remove {
                remove(&file.path()).await?;
            }
            self.found(LeftOver { kind, name, size_bytes: about.len() });
        }
        Ok(())
    }

    fn found(&mut self, left_over: LeftOver) {
        if let Some(count) = self.counts.get_mut(left_over.kind as usize) {
            count.count += 1;
            count.bytes += left_over.size_bytes;
        }
        (self.tell)(&left_over);
    }
}

/// Gone, or never there.
async fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
