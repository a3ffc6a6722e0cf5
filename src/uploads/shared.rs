//! Resumable uploads whose bytes any instance can add to: each stretch of them is an object, and durable
//! before the row says so. Whoever stores the upload in the end puts them together in a file.
//!
//! An object that was written and not acknowledged is nobody's: it is deleted here, or by the sweep.

use std::fs::File;
use std::io::{self, Read, Seek, Write};

use bytes::Bytes;
use ring::digest::Context;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::Uploads;
use super::resume::{DURABLE_EVERY, Expected, ResumeError};
use crate::blobs::{BlobKey, Blobs, Staged};
use crate::db::Batch;
use crate::db::uploads::{self as rows, Part, Upload};

/// What a request brings, on its way.
struct Incoming<'a> {
    uploads: &'a Uploads,
    upload: &'a Upload,
    /// The stretch that is being received, and where it begins.
    stretch: Option<(Staged, u64)>,
    /// Durable, and not acknowledged.
    kept: Vec<Part>,
    acknowledged: u64,
    offset: u64,
    /// With those of earlier requests.
    parts: u64,
}

impl Uploads {
    /// Blocks its thread.
    pub(super) async fn write_shared(
        &self,
        upload: &Upload,
        chunks: mpsc::Receiver<Bytes>,
        expected: Option<Expected>,
    ) -> Result<u64, ResumeError> {
        let mut incoming = Incoming {
            uploads: self,
            upload,
            stretch: None,
            kept: Vec::new(),
            acknowledged: upload.bytes_received,
            offset: upload.bytes_received,
            parts: rows::count_parts(&self.parts.db, &upload.id).await?,
        };
        let received = incoming.receive(chunks, expected).await;
        match &received {
            // Whether the index knows of them is not known.
            Ok(_) | Err(ResumeError::Index(_)) => {}
            Err(_) => self.delete(&incoming.kept).await,
        }
        received.map(|()| incoming.offset)
    }

    async fn delete(&self, parts: &[Part]) {
        for part in parts {
            if let Err(error) = self.parts.blobs.delete(&part.key).await {
                tracing::warn!(%error, "a piece of an upload that was not acknowledged is left to the sweep");
            }
        }
    }

    /// The bytes of an upload that has come to its end; what stays is looked for again.
    pub(super) async fn forget_parts(&self, id: &str) {
        if let Err(error) = self.try_forget_parts(id).await {
            tracing::warn!(upload = id, %error, "the bytes of an upload could not all be removed");
        }
    }

    async fn try_forget_parts(&self, id: &str) -> Result<(), ResumeError> {
        let parts = rows::parts(&self.parts.db, id).await?;
        let mut forgotten = Batch::new();
        for part in &parts {
            self.parts.blobs.delete(&part.key).await?;
            forgotten.push(rows::forget_part(&part.key));
        }
        self.parts.db.run(forgotten).await?;
        Ok(())
    }

    /// The file of an upload that began while this instance was alone becomes its first piece.
    pub(super) async fn adopt(&self, upload: &Upload) -> Result<(), ResumeError> {
        let parts = rows::parts(&self.parts.db, &upload.id).await?;
        let end = parts.first().map_or(upload.bytes_received, |part| part.bytes.start);
        if end > 0 {
            let part = Part { bytes: 0..end, key: BlobKey::of_upload(&upload.id, 0) };
            let insert = rows::insert_part(&upload.id, &part);
            let (blobs, id, here) = (self.parts.blobs.clone(), upload.id.clone(), Handle::current());
            spawn_blocking(move || here.block_on(keep_file(&blobs, &id, &part))).await??;
            self.parts.db.run(Batch::new().then(insert)).await?;
        }
        self.forget_file(&upload.id);
        Ok(())
    }

    /// All of it, from its beginning, in a file that is gone when it is closed.
    pub(super) async fn put_together(&self, upload: &Upload) -> Result<File, ResumeError> {
        self.require_room()?;
        let parts = rows::parts(&self.parts.db, &upload.id).await?;
        let end = parts.iter().try_fold(0, |at, part| (part.bytes.start == at).then_some(part.bytes.end));
        if end != Some(upload.bytes_received) {
            let why = "less is there than was acknowledged";
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, why).into());
        }
        let blobs = self.parts.blobs.clone();
        spawn_blocking(move || put_together(&blobs, &parts)).await?
    }
}

/// Blocks its thread.
async fn keep_file(blobs: &Blobs, id: &str, part: &Part) -> Result<(), ResumeError> {
    let mut staged = blobs.stage()?;
    let copied = io::copy(&mut blobs.spool().read(id)?.take(part.bytes.end), &mut staged.file)?;
    if copied != part.bytes.end {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    Ok(blobs.keep(staged, &part.key).await?)
}

/// Blocking, on a thread of the runtime.
fn put_together(blobs: &Blobs, parts: &[Part]) -> Result<File, ResumeError> {
    let staged = blobs.stage()?;
    let mut file = staged.file.try_clone()?;
    for part in parts {
        let copied = io::copy(&mut blobs.open_on_disk(&part.key)?, &mut file)?;
        if copied != part.bytes.end - part.bytes.start {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
    }
    file.rewind()?;
    Ok(file)
}

impl Incoming<'_> {
    async fn receive(
        &mut self,
        mut chunks: mpsc::Receiver<Bytes>,
        expected: Option<Expected>,
    ) -> Result<(), ResumeError> {
        let mut digest = expected.as_ref().map(|expected| Context::new(expected.algorithm));
        while let Some(chunk) = chunks.recv().await {
            self.take(&chunk)?;
            if let Some(digest) = &mut digest {
                digest.update(&chunk);
            }
            if self.stretch.as_ref().is_some_and(|(_, start)| self.offset - start >= DURABLE_EVERY) {
                self.keep().await?;
                // A checksum tells of all of it, and the last byte comes with the job.
                if digest.is_none() && self.upload.bytes_total != Some(self.offset) {
                    self.acknowledge().await?;
                }
            }
        }
        let matches =
            digest.zip(expected).is_none_or(|(found, wanted)| found.finish().as_ref() == wanted.digest);
        if !matches {
            return Err(ResumeError::Checksum);
        }
        self.keep().await?;
        self.acknowledge().await
    }

    fn take(&mut self, chunk: &Bytes) -> Result<(), ResumeError> {
        self.uploads.require_room()?;
        if chunk.len() as u64 > self.upload.bytes_total.unwrap_or(u64::MAX) - self.offset {
            return Err(ResumeError::TooMuch);
        }
        if self.stretch.is_none() {
            if self.parts >= self.uploads.parts.settings.parts_max {
                return Err(ResumeError::TooManyParts);
            }
            self.parts += 1;
            self.stretch = Some((self.uploads.parts.blobs.stage()?, self.offset));
        }
        if let Some((staged, _)) = &mut self.stretch {
            staged.file.write_all(chunk)?;
        }
        self.offset += chunk.len() as u64;
        Ok(())
    }

    /// Makes what was received durable. It may lie there also when this fails.
    async fn keep(&mut self) -> Result<(), ResumeError> {
        let Some((staged, start)) = self.stretch.take() else { return Ok(()) };
        let key = BlobKey::of_upload(&self.upload.id, start);
        self.kept.push(Part { bytes: start..self.offset, key: key.clone() });
        Ok(self.uploads.parts.blobs.keep(staged, &key).await?)
    }

    async fn acknowledge(&mut self) -> Result<(), ResumeError> {
        let mut batch = self.uploads.received(self.upload, self.acknowledged..self.offset);
        self.kept.iter().for_each(|part| batch.push(rows::insert_part(&self.upload.id, part)));
        self.uploads.run_next(batch).await?;
        self.kept.clear();
        self.acknowledged = self.offset;
        Ok(())
    }
}
