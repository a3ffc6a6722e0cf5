//! One file after the other, as it streams in or from the spool.

use std::fs::File;
use std::io;

use bytes::Bytes;
use futures::stream::{Stream, StreamExt};
use tokio::io::AsyncRead;
use tokio_util::io::StreamReader;

use super::{Recorder, Uploads};
use crate::db::DbError;
use crate::ingest::sniff::{self, HEAD_BYTES, Kind};
use crate::ingest::zips::{Entries, Entry};
use crate::ingest::{Body, Received};

/// The first bytes of a stream, and all of it with them in front again.
pub struct Opened<S> {
    pub kind: Kind,
    head: Bytes,
    rest: S,
}

/// # Errors
/// The sender stopped within the first bytes.
pub async fn open<S>(name: &str, mut content: S) -> io::Result<Opened<S>>
where
    S: Stream<Item = io::Result<Bytes>> + Unpin + Send,
{
    let mut head = Vec::new();
    while head.len() < HEAD_BYTES {
        match content.next().await {
            Some(chunk) => head.extend_from_slice(&chunk?),
            None => break,
        }
    }
    let known = &head[..head.len().min(HEAD_BYTES)];
    let kind = sniff::kind(name.rsplit(['/', '\\']).next().unwrap_or_default(), known);
    Ok(Opened { kind, head: head.into(), rest: content })
}

impl<S> Opened<S>
where
    S: Stream<Item = io::Result<Bytes>> + Unpin + Send,
{
    pub fn whole(self) -> impl Stream<Item = io::Result<Bytes>> + Unpin + Send {
        futures::stream::iter([Ok(self.head)]).chain(self.rest)
    }
}

impl Uploads {
    /// Stores one object and notes what became of it.
    pub async fn store_object(
        &self,
        recorder: &mut Recorder<'_>,
        id: &str,
        name: &str,
        reader: impl AsyncRead + Unpin + Send,
    ) -> Result<(), DbError> {
        let origin = Self::origin(id, recorder.actor());
        let received = Received { body: Body::Part10(reader), origin: &origin, only_study: None };
        let received = recorder.ingest().receive(received).await;
        recorder.object(name, received).await
    }

    /// As [`Uploads::store_object`], from chunks.
    pub async fn store_chunks<S>(
        &self,
        recorder: &mut Recorder<'_>,
        id: &str,
        name: &str,
        chunks: S,
    ) -> Result<(), DbError>
    where
        S: Stream<Item = io::Result<Bytes>> + Unpin + Send,
    {
        self.store_object(recorder, id, name, StreamReader::new(chunks)).await
    }

    /// Stores the entries of a zip; what is wrong with the zip itself is said under its own name.
    pub async fn store_zip(
        &self,
        recorder: &mut Recorder<'_>,
        id: &str,
        zip: &str,
        file: File,
    ) -> Result<(), DbError> {
        let mut limits = self.zip_limits();
        limits.entries_max = limits.entries_max.saturating_sub(recorder.files());
        let mut entries = Entries::of(file, limits);
        while let Some(entry) = entries.next().await {
            match entry {
                Entry::Object { name, content } => {
                    self.store_object(recorder, id, &within(zip, &name), content.into_reader()).await?;
                }
                Entry::Other { name, kind } => recorder.other(&within(zip, &name), kind).await?,
                Entry::Refused { name, reason } => recorder.refused(&within(zip, &name), reason).await?,
            }
        }
        match entries.ended().await {
            Ok(()) => Ok(()),
            Err(refused) => recorder.refused(zip, refused.to_string()).await,
        }
    }
}

fn within(zip: &str, entry: &str) -> String {
    format!("{zip}: {entry}")
}
