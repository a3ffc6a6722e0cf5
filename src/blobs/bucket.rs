//! Objects in a bucket. Whoever reads one reads blocks of it: every request is short, is tried again
//! by itself, and holds no connection while a slow reader looks at what came.

use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::stream::{self, BoxStream, Stream, StreamExt, TryStreamExt};
use metrics::{counter, histogram};
use object_store::limit::LimitStore;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{GetOptions, GetRange, ObjectStore, ObjectStoreExt};
use tokio::sync::{Mutex, Semaphore};
use tokio::time::Instant;
use tokio_util::io::{StreamReader, SyncIoBridge};
use tokio_util::task::AbortOnDropHandle;

use super::address::Addresses;
use super::away::{Operation, not_there, told};
use super::cache::{Block, Cache};
use super::connect::Connected;
use super::gate::Gate;
use super::probe::Answer;
use super::{BlobError, BlobKey, Listed};
use crate::clock::{Clock, Timestamp};
use crate::config::Storage;
use crate::telemetry::metrics::bucket as metric;

/// As in the folder, so that what is beside them is never taken for one of them.
const OBJECTS: &str = "objects";

pub(super) struct Bucket {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) url: String,
    pub(super) endpoint: String,
    /// KiB of parts that may be in memory.
    pub(super) memory: Semaphore,
    pub(super) settings: Settings,
    pub(super) answer: Mutex<Option<Answer>>,
    pub(super) gate: Gate,
    addresses: Option<Addresses>,
    cache: Option<Cache>,
}

#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) part_bytes: u64,
    pub(super) parts_at_once: usize,
    block_bytes: u64,
    blocks_ahead: usize,
    pub(super) read_back: bool,
    orphan_age: Duration,
    pub(super) ready_every: Duration,
}

impl Settings {
    fn of(storage: &Storage) -> Self {
        Self {
            part_bytes: storage.part_bytes,
            parts_at_once: storage.parts_at_once,
            block_bytes: storage.block_bytes,
            blocks_ahead: storage.blocks_ahead,
            read_back: storage.read_back,
            orphan_age: storage.orphan_age(),
            ready_every: storage.ready_every(),
        }
    }
}

impl Bucket {
    pub(super) fn new(connected: Connected, storage: &Storage, cache: Option<Cache>) -> Self {
        let addresses = Addresses::of(&connected, storage);
        let Connected { store, prefix, url, endpoint, signer: _ } = connected;
        let limited = LimitStore::new(PrefixStore::new(store, prefix), storage.requests_max);
        let kib = usize::try_from(storage.upload_bytes_max.div_ceil(1024)).unwrap_or(Semaphore::MAX_PERMITS);
        Self {
            store: Arc::new(limited),
            url,
            endpoint,
            memory: Semaphore::new(kib),
            settings: Settings::of(storage),
            answer: Mutex::default(),
            gate: Gate::new(storage, Clock::System),
            addresses,
            cache,
        }
    }

    pub(super) fn object(self: &Arc<Self>, key: &BlobKey) -> Object {
        Object { bucket: Arc::clone(self), path: path_of(key), cache: self.cache.clone() }
    }

    pub(super) async fn delete(&self, key: &BlobKey) -> io::Result<()> {
        let path = path_of(key);
        let deleted = match self.asked(Operation::Delete, self.store.delete(&path)).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            deleted => deleted,
        };
        if let Some(cache) = self.cache.clone() {
            tokio::task::spawn_blocking(move || cache.forget(path.as_ref()))
                .await
                .map_err(io::Error::other)?;
        }
        deleted
    }

    /// What is younger is never listed.
    pub(super) fn orphan_age(&self) -> Duration {
        self.settings.orphan_age
    }

    /// `None` where clients are not sent here, or just now cannot be: nothing depends on it.
    pub(super) async fn address(&self, key: &BlobKey, content_type: &str) -> Option<String> {
        let signed = self.addresses.as_ref()?.sign(&path_of(key), content_type).await;
        let unsigned =
            |error| tracing::warn!(error = %told(Operation::Sign, &error), "no address could be signed");
        signed.map_err(unsigned).ok()
    }

    /// Under a name that is no key.
    pub(super) async fn copy(&self, key: &BlobKey, to: &str) -> io::Result<()> {
        let (from, to) = (path_of(key), Path::from(to));
        self.asked(Operation::Write, self.store.copy(&from, &to)).await
    }

    /// By the clock of the store. Another server may be about to write the row of what is young.
    pub(super) fn listed_before(&self, before: Timestamp) -> BoxStream<'static, Result<Listed, BlobError>> {
        let before = before.minus(self.settings.orphan_age);
        self.listed().try_filter(move |object| futures::future::ready(object.written < before)).boxed()
    }

    pub(super) fn listed(&self) -> BoxStream<'static, Result<Listed, BlobError>> {
        let folder = format!("{OBJECTS}/");
        let objects = self.store.list(Some(&Path::from(OBJECTS)));
        let objects = objects.map_err(|error| BlobError::List(told(Operation::List, &error)));
        let listed = objects.try_filter_map(move |meta| {
            let written = Timestamp(meta.last_modified.timestamp_micros());
            let key = meta.location.as_ref().strip_prefix(&folder);
            let listed =
                key.map(|key| Listed { key: BlobKey::from_index(key), size_bytes: meta.size, written });
            futures::future::ready(Ok(listed))
        });
        listed.boxed()
    }

    pub(super) async fn size_of(&self, path: &Path) -> io::Result<u64> {
        self.asked(Operation::Look, self.store.head(path)).await.map(|meta| meta.size)
    }

    /// A range in one request.
    pub(super) async fn fetch(&self, path: &Path, range: Range<u64>) -> io::Result<Block> {
        let options = GetOptions { range: Some(GetRange::Bounded(range)), ..GetOptions::default() };
        let request = async {
            let result = self.store.get_opts(path, options).await?;
            let object_bytes = result.meta.size;
            Ok(Block { bytes: result.bytes().await?, object_bytes })
        };
        self.asked(Operation::Read, request).await
    }
}

pub(super) fn path_of(key: &BlobKey) -> Path {
    Path::from(format!("{OBJECTS}/{key}"))
}

impl Bucket {
    /// A request, unless the bucket is left alone for a while.
    pub(super) async fn asked<T>(
        &self,
        operation: Operation,
        request: impl Future<Output = object_store::Result<T>>,
    ) -> io::Result<T> {
        let pass = self.gate.enter(operation).inspect_err(|_| count(operation, "refused"))?;
        let answer = asked(operation, request).await;
        pass.saw(&answer);
        answer
    }
}

fn count(operation: Operation, outcome: &'static str) {
    counter!(metric::REQUESTS, "operation" => operation.name(), "outcome" => outcome).increment(1);
}

/// A request, measured.
pub(super) async fn asked<T>(
    operation: Operation,
    request: impl Future<Output = object_store::Result<T>>,
) -> io::Result<T> {
    let begun = Instant::now();
    let answer = request.await.map_err(|error| told(operation, &error));
    let outcome = match &answer {
        Ok(_) => "ok",
        Err(error) if super::is_away(error) => "failed",
        Err(_) => "missing",
    };
    count(operation, outcome);
    histogram!(metric::SECONDS, "operation" => operation.name()).record(begun.elapsed().as_secs_f64());
    answer
}

/// One object, to be read.
#[derive(Clone)]
pub(super) struct Object {
    bucket: Arc<Bucket>,
    path: Path,
    cache: Option<Cache>,
}

impl Object {
    /// The whole range in memory.
    pub(super) async fn bytes(self, range: Range<u64>) -> io::Result<Bytes> {
        let wanted = usize::try_from(range.end.saturating_sub(range.start)).map_err(io::Error::other)?;
        let mut blocks = self.blocks(range);
        let Some(first) = blocks.try_next().await? else { return Ok(Bytes::new()) };
        if first.len() == wanted {
            return Ok(first);
        }
        let mut all = BytesMut::with_capacity(wanted);
        all.extend_from_slice(&first);
        while let Some(block) = blocks.try_next().await? {
            all.extend_from_slice(&block);
        }
        Ok(all.freeze())
    }

    /// The first block is there when this returns: what cannot be read is told before anything is
    /// answered.
    pub(super) async fn stream(
        self,
        range: Option<Range<u64>>,
    ) -> io::Result<BoxStream<'static, io::Result<Bytes>>> {
        let (first, rest) = match range {
            Some(range) if range.is_empty() => return Ok(stream::empty().boxed()),
            Some(range) => {
                let head = self.pieces(range.clone()).next().unwrap_or_default();
                (self.clone().exactly(head.clone()).await?, head.end..range.end)
            }
            None => {
                let Block { bytes, object_bytes } = self.block(0).await?;
                let end = bytes.len() as u64;
                (bytes, end..object_bytes)
            }
        };
        Ok(stream::iter([Ok(first)]).chain(self.blocks(rest)).boxed())
    }

    /// From the bucket itself.
    pub(super) fn past_the_cache(self) -> Self {
        Self { cache: None, ..self }
    }

    /// Everything, from the bucket itself. To be read on a thread of the runtime that may block.
    pub(super) fn read_again(self) -> impl Read + Send {
        let opened = stream::once(async move { self.past_the_cache().stream(None).await }).try_flatten();
        SyncIoBridge::new(StreamReader::new(opened.boxed()))
    }

    /// Some are fetched while one is looked at; whoever goes takes them along.
    fn blocks(&self, range: Range<u64>) -> impl Stream<Item = io::Result<Bytes>> + Send + Unpin + 'static {
        let at_once = self.bucket.settings.blocks_ahead + 1;
        let object = self.clone();
        let fetches = stream::iter(self.pieces(range)).map(move |piece| {
            let fetch = AbortOnDropHandle::new(tokio::spawn(object.clone().exactly(piece)));
            async move { fetch.await.map_err(io::Error::other)? }
        });
        fetches.buffered(at_once).boxed()
    }

    /// The blocks of a range: every one but the first begins at a multiple of their length.
    fn pieces(&self, range: Range<u64>) -> impl Iterator<Item = Range<u64>> + Send + use<> {
        let length = self.bucket.settings.block_bytes;
        let mut at = range.start;
        std::iter::from_fn(move || {
            let piece = at..range.end.min((at / length + 1) * length);
            at = piece.end;
            (!piece.is_empty()).then_some(piece)
        })
    }

    async fn exactly(self, piece: Range<u64>) -> io::Result<Bytes> {
        let length = self.bucket.settings.block_bytes;
        let (block, start) = match &self.cache {
            Some(_) => (self.block(piece.start / length).await?, piece.start / length * length),
            None => (self.bucket.fetch(&self.path, piece.clone()).await?, piece.start),
        };
        let within = (piece.start - start) as usize..(piece.end - start) as usize;
        match within.end <= block.bytes.len() {
            true => Ok(block.bytes.slice(within)),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    async fn block(&self, number: u64) -> io::Result<Block> {
        let (bucket, path) = (Arc::clone(&self.bucket), self.path.clone());
        let length = bucket.settings.block_bytes;
        let fetch = || async move { bucket.fetch(&path, number * length..(number + 1) * length).await };
        match &self.cache {
            Some(cache) => cache.block(self.path.as_ref(), number, fetch).await,
            None => fetch().await,
        }
    }
}

/// How long a bucket may take to say that it is there.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) async fn in_time<T>(
    operation: Operation,
    request: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    let answer = tokio::time::timeout(ANSWER_TIMEOUT, request).await;
    answer.unwrap_or_else(|_| Err(not_there(operation, ANSWER_TIMEOUT)))
}
