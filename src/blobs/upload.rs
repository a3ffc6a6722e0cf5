//! A staged file on its way into a bucket: part by part, so that memory is bounded whatever its size;
//! what lies there is looked at before anybody hears that it does.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use futures::stream::FuturesUnordered;
use object_store::path::Path;
use object_store::{Attribute, Attributes, MultipartUpload, PutMultipartOptions, PutOptions};
use sha2::{Digest, Sha256};
use tokio::sync::SemaphorePermit;

use super::address::CONTENT_TYPE;
use super::away::Operation;
use super::bucket::{Bucket, path_of};
use super::{BlobKey, Staged};

impl Bucket {
    /// Durable when this returns. Blocks its thread while it reads the file.
    pub(super) async fn keep(self: &Arc<Self>, staged: &Staged, key: &BlobKey) -> io::Result<()> {
        let (file, path) = (&staged.file, path_of(key));
        let size = file.metadata()?.len();
        if size <= self.settings.part_bytes {
            self.put_whole(file, size, &path).await?;
        } else {
            self.put_in_parts(file, size, &path).await?;
        }
        let found = self.size_of(&path).await?;
        if found != size {
            return Err(io::Error::other(format!("{found} bytes lie in the bucket in place of {size}")));
        }
        if self.settings.read_back { self.compare(file, size, key).await } else { Ok(()) }
    }

    async fn put_whole(&self, file: &File, size: u64, path: &Path) -> io::Result<()> {
        let _room = self.room(size).await?;
        let bytes = read(file, 0..size)?;
        let options = PutOptions::from(described());
        self.asked(Operation::Write, self.store.put_opts(path, bytes.into(), options)).await.map(drop)
    }

    async fn put_in_parts(&self, file: &File, size: u64, path: &Path) -> io::Result<()> {
        let mut upload = self
            .asked(
                Operation::Write,
                self.store.put_multipart_opts(path, PutMultipartOptions::from(described())),
            )
            .await?;
        if let Err(error) = self.send_parts(file, size, &mut *upload).await {
            // What cannot be given up now is swept by the rules of the bucket.
            if let Err(left) = self.asked(Operation::GiveUp, upload.abort()).await {
                tracing::warn!(%path, error = %left, "parts of an upload that failed stay in the bucket");
            }
            return Err(error);
        }
        self.asked(Operation::Write, upload.complete()).await.map(drop)
    }

    async fn send_parts(&self, file: &File, size: u64, upload: &mut dyn MultipartUpload) -> io::Result<()> {
        let mut under_way = FuturesUnordered::new();
        let length = self.settings.part_bytes;
        for start in (0..size).step_by(usize::try_from(length).unwrap_or(usize::MAX)) {
            let part = start..size.min(start + length);
            while under_way.len() >= self.settings.parts_at_once {
                under_way.try_next().await?;
            }
            let mut room = pin!(self.room(part.end - part.start));
            // Those that hold the room that others wait for have to go on meanwhile.
            let room = loop {
                tokio::select! {
                    room = &mut room => break room?,
                    Some(sent) = futures::StreamExt::next(&mut under_way) => sent?,
                }
            };
            let sending = upload.put_part(read(file, part)?.into());
            under_way.push(async move {
                let sent = self.asked(Operation::WritePart, sending).await;
                drop(room);
                sent
            });
        }
        under_way.try_collect().await
    }

    /// In memory, for as many bytes.
    async fn room(&self, bytes: u64) -> io::Result<SemaphorePermit<'_>> {
        let kib = u32::try_from(bytes.div_ceil(1024)).map_err(io::Error::other)?;
        self.memory.acquire_many(kib).await.map_err(io::Error::other)
    }

    async fn compare(self: &Arc<Self>, file: &File, size: u64, key: &BlobKey) -> io::Result<()> {
        let mut stored = Sha256::new();
        let mut blocks = self.object(key).past_the_cache().stream(None).await?;
        while let Some(block) = blocks.try_next().await? {
            stored.update(&block);
        }
        let mut sent = Sha256::new();
        for start in (0..size).step_by(super::BUFFER_BYTES) {
            sent.update(read(file, start..size.min(start + super::BUFFER_BYTES as u64))?);
        }
        match stored.finalize() == sent.finalize() {
            true => Ok(()),
            false => Err(io::Error::other("other bytes lie in the bucket than were sent")),
        }
    }
}

/// For whoever fetches it from there.
fn described() -> Attributes {
    Attributes::from_iter([(Attribute::ContentType, CONTENT_TYPE)])
}

fn read(file: &File, range: Range<u64>) -> io::Result<Bytes> {
    let length = usize::try_from(range.end - range.start).map_err(io::Error::other)?;
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, range.start)?;
    Ok(bytes.into())
}
