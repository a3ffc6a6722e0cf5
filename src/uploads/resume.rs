//! Uploads that go on after a break: bytes appended at an offset that the index holds, to a file, or where
//! instances share their objects as one more of these ([`super::shared`]).
//!
//! An offset that was told survives a power cut: the bytes are durable first, then the row says so.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Seek, Write};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures::FutureExt;
use tokio::sync::mpsc;

use super::{Recorder, Uploads, sight};
use crate::audit::{Actor, ActorKind};
use crate::blobs::{BlobError, Keeping, is_away};
use crate::causes::chain;
use crate::db::uploads::{self as rows, New, Upload};
use crate::db::{Batch, DbError, jobs as job_rows};
use crate::ingest::sniff::{self, Kind};
use crate::jobs::{Ending, Task};

/// After so many bytes the offset is made durable.
pub(super) const DURABLE_EVERY: u64 = 16 << 20;
/// Chunks between the network and the disk.
const CHUNKS_WAITING: usize = 8;

#[derive(Debug, thiserror::Error)]
pub enum ResumeError {
    #[error("somebody is writing this upload")]
    Locked,
    #[error("somebody went on with this upload elsewhere")]
    Moved,
    #[error("the upload came in as many pieces as one may have")]
    TooManyParts,
    #[error("more came than the upload was to have")]
    TooMuch,
    #[error("the disk has no room for more")]
    NoRoom,
    #[error("the checksum is not that of the bytes")]
    Checksum,
    #[error("the caller has as many unfinished uploads as he may have")]
    TooMany,
    #[error("the uploads of the caller would be larger than {0} bytes together")]
    Quota(u64),
    #[error("the file of the upload failed")]
    File(#[from] io::Error),
    #[error("the bytes of the upload cannot be read")]
    Object(#[from] BlobError),
    #[error("the index failed")]
    Index(#[from] DbError),
    #[error("writing stopped unexpectedly")]
    Stopped(#[from] tokio::task::JoinError),
}

impl ResumeError {
    /// Nothing is wrong with the upload: there is no room, or the object store is away.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::NoRoom) || is_away(self)
    }
}

/// The uploads that somebody is writing in this process. Where others may write them too, the offset in the
/// index tells who was first.
#[derive(Debug, Clone, Default)]
pub(super) struct Writers(Arc<Mutex<BTreeSet<String>>>);

struct Writer {
    writers: Writers,
    id: String,
}

impl Writers {
    fn enter(&self, id: &str) -> Result<Writer, ResumeError> {
        match self.held().insert(id.to_owned()) {
            true => Ok(Writer { writers: self.clone(), id: id.to_owned() }),
            false => Err(ResumeError::Locked),
        }
    }

    /// Every change is one step: what a panicking thread left behind is whole.
    fn held(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.writers.held().remove(&self.id);
    }
}

/// A digest that is known before the bytes come.
pub struct Expected {
    pub algorithm: &'static ring::digest::Algorithm,
    pub digest: Vec<u8>,
}

/// Takes what a request brings; dropped midway, what came is kept all the same.
pub struct Appending {
    chunks: mpsc::Sender<Bytes>,
    written: tokio::task::JoinHandle<Result<u64, ResumeError>>,
}

impl Appending {
    /// Whether the file takes more.
    pub async fn push(&self, chunk: Bytes) -> bool {
        self.chunks.send(chunk).await.is_ok()
    }

    /// The durable offset.
    pub async fn end(self) -> Result<u64, ResumeError> {
        drop(self.chunks);
        self.written.await?
    }
}

impl Uploads {
    pub async fn create(&self, new: &New<'_>) -> Result<(), ResumeError> {
        let settings = &self.parts.settings;
        self.require_room()?;
        let (count, bytes) = rows::unfinished(&self.parts.db, new.owner).await?;
        if count >= settings.unfinished_max as u64 {
            return Err(ResumeError::TooMany);
        }
        if bytes.saturating_add(new.bytes_total.unwrap_or(0)) > settings.quota_bytes {
            return Err(ResumeError::Quota(settings.quota_bytes));
        }
        if self.parts.keeping == Keeping::Here {
            let (spool, id) = (self.parts.blobs.spool(), new.id.to_owned());
            tokio::task::spawn_blocking(move || spool.create(&id)).await??;
        }
        let now = self.parts.clock.now();
        self.parts.db.run(Batch::new().then(rows::insert(new, now))).await?;
        Ok(())
    }

    /// Begins to append at the durable offset; nobody else may until the end.
    pub fn append(
        self: &Arc<Self>,
        upload: &Upload,
        expected: Option<Expected>,
    ) -> Result<Appending, ResumeError> {
        let writer = self.writers.enter(&upload.id)?;
        let (chunks, receiver) = mpsc::channel(CHUNKS_WAITING);
        let (uploads, upload) = (Arc::clone(self), upload.clone());
        let here = tokio::runtime::Handle::current();
        let written = tokio::task::spawn_blocking(move || {
            let _writer = writer;
            here.block_on(match uploads.parts.keeping {
                Keeping::Here => uploads.write(&upload, receiver, expected).boxed(),
                Keeping::Shared => uploads.write_shared(&upload, receiver, expected).boxed(),
            })
        });
        Ok(Appending { chunks, written })
    }

    /// Blocks its thread.
    async fn write(
        &self,
        upload: &Upload,
        mut chunks: mpsc::Receiver<Bytes>,
        expected: Option<Expected>,
    ) -> Result<u64, ResumeError> {
        let mut file = self.parts.blobs.spool().resume(&upload.id, upload.bytes_received)?;
        let total = upload.bytes_total.unwrap_or(u64::MAX);
        let mut digest = expected.as_ref().map(|expected| ring::digest::Context::new(expected.algorithm));
        let (mut offset, mut durable) = (upload.bytes_received, upload.bytes_received);
        while let Some(chunk) = chunks.recv().await {
            self.require_room()?;
            if chunk.len() as u64 > total - offset {
                return Err(ResumeError::TooMuch);
            }
            file.write_all(&chunk)?;
            offset += chunk.len() as u64;
            if let Some(digest) = &mut digest {
                digest.update(&chunk);
            } else if offset - durable >= DURABLE_EVERY && offset < total {
                file.sync_data()?;
                self.acknowledge(upload, durable..offset).await?;
                durable = offset;
            }
        }
        let matches =
            digest.zip(expected).is_none_or(|(found, wanted)| found.finish().as_ref() == wanted.digest);
        if !matches {
            return Err(ResumeError::Checksum);
        }
        file.sync_all()?;
        self.acknowledge(upload, durable..offset).await?;
        Ok(offset)
    }

    pub(super) fn require_room(&self) -> Result<(), ResumeError> {
        if self.parts.blobs.room().admits() { Ok(()) } else { Err(ResumeError::NoRoom) }
    }

    async fn acknowledge(&self, upload: &Upload, bytes: Range<u64>) -> Result<(), ResumeError> {
        self.run_next(self.received(upload, bytes)).await
    }

    /// The row, and with the last byte the job that stores what they are.
    pub(super) fn received(&self, upload: &Upload, bytes: Range<u64>) -> Batch {
        let now = self.parts.clock.now();
        if upload.bytes_total != Some(bytes.end) {
            let expires_at = now.plus(self.parts.settings.expire());
            return rows::received(&upload.id, bytes, Some(expires_at), now);
        }
        let task = Task::StoreUpload { upload: upload.id.clone() };
        let mut batch = rows::received(&upload.id, bytes, None, now);
        batch.append(rows::step(&upload.id, "queued", now));
        batch.push(job_rows::enqueue(&task, now, now));
        batch
    }

    /// A batch of [`Self::received`]: none where somebody else went on.
    pub(super) async fn run_next(&self, batch: Batch) -> Result<(), ResumeError> {
        match self.parts.db.run_here(batch).await {
            Ok(_) => {
                self.parts.bell.ring();
                Ok(())
            }
            Err(DbError::Affected { .. } | DbError::Unique { .. }) => Err(ResumeError::Moved),
            Err(error) => Err(error.into()),
        }
    }

    /// By its owner.
    pub async fn terminate(&self, upload: &Upload) -> Result<(), ResumeError> {
        let _writer = self.writers.enter(&upload.id)?;
        let now = self.parts.clock.now();
        self.parts.db.run(rows::finish(&upload.id, "aborted", Some("given up by its owner"), now)).await?;
        self.forget_bytes(&upload.id).await;
        Ok(())
    }

    /// The job of a finished upload: an object, or a zip of them.
    pub(super) async fn store(&self, id: &str) -> Result<Ending, ResumeError> {
        let Some(upload) = rows::one(&self.parts.db, id).await? else {
            return Ok(Ending::Done("the upload is gone".to_owned()));
        };
        if upload.finished_at.is_some() {
            return Ok(Ending::Done(format!("the upload is {}", upload.state)));
        }
        self.parts.db.run(rows::step(id, "storing", self.parts.clock.now())).await?;
        let name = upload.name.clone().unwrap_or_else(|| "upload".to_owned());
        let (kind, file) = self.finished_file(&upload, &name).await?;
        let mut recorder =
            Recorder::new(self, id, &upload.owner, sender(&upload.owner), &sight::read(&upload.reach));
        recorder.came(upload.bytes_received);
        match kind {
            Kind::Dicom => {
                self.store_object(&mut recorder, id, &name, tokio::fs::File::from_std(file)).await?;
            }
            Kind::Zip => self.store_zip(&mut recorder, id, &name, file).await?,
            kind => recorder.other(&name, kind).await?,
        }
        recorder.finish("done", None).await?;
        self.forget_bytes(id).await;
        Ok(Ending::Done("stored".to_owned()))
    }

    /// What it is, and the file from its beginning.
    async fn finished_file(&self, upload: &Upload, name: &str) -> Result<(Kind, File), ResumeError> {
        let mut file = match self.parts.keeping {
            Keeping::Here => {
                let (spool, id) = (self.parts.blobs.spool(), upload.id.clone());
                tokio::task::spawn_blocking(move || spool.read(&id)).await??
            }
            Keeping::Shared => self.put_together(upload).await?,
        };
        let name = name.rsplit(['/', '\\']).next().unwrap_or_default().to_owned();
        let sniffed = tokio::task::spawn_blocking(move || {
            let kind = sniff::kind(&name, &sniff::head(&mut file)?);
            file.rewind()?;
            Ok::<_, io::Error>((kind, file))
        });
        Ok(sniffed.await??)
    }

    pub(super) async fn failed(&self, id: &str, reason: &str) {
        let now = self.parts.clock.now();
        if let Err(error) = self.parts.db.run(rows::finish(id, "failed", Some(reason), now)).await {
            tracing::error!(
                upload = id,
                error = chain(&error),
                "the failure of an upload could not be recorded"
            );
        }
        self.forget_bytes(id).await;
    }
}

/// Whom the audit names long after the request: the owner by his key (`auth::Subject::key`).
fn sender(owner: &str) -> Actor {
    match owner.split_once(':') {
        Some(("user", id)) => Actor::identified(ActorKind::User, id, id),
        Some(("key", id)) => Actor::identified(ActorKind::ApiKey, id, id),
        _ => Actor::program("upload"),
    }
}
