//! What costs something to have, on the local disk: blocks of a bucket, and what was made of objects. What is
//! wanted again is not fetched or made again. Bounded in bytes, the least recently used go first; a digest in
//! each file says whether it is what was put there.
//!
//! Nothing depends on a cache: whatever is wrong with it, the bucket is asked, or the work done once more.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path as FilePath, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures::future::{BoxFuture, Shared};
use futures::{FutureExt, TryFutureExt};
use metrics::{counter, gauge};
use rustix::fs::{Timespec, Timestamps, UTIME_NOW};
use sha2::{Digest, Sha256};

use crate::telemetry::metrics::{bucket, pictures};

const MAGIC: &[u8; 8] = b"radiant1";
const DIGEST_BYTES: usize = 32;
const HEAD_BYTES: usize = MAGIC.len() + 8 + DIGEST_BYTES;
/// Of a file that is being written; a crash may leave some.
const UNFINISHED: &str = "part";

/// A block, and how long the whole object is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) bytes: Bytes,
    pub(super) object_bytes: u64,
}

/// Blocks of an object stand one after the other, and so does what was made of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct BlockId {
    object: u128,
    number: u64,
}

type Flight = Shared<BoxFuture<'static, Result<Block, OfAll>>>;

/// How a cache is told apart in the metrics.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counted {
    lookups: &'static str,
    evicted: &'static str,
    bytes: &'static str,
}

pub(super) const BLOCKS: Counted =
    Counted { lookups: bucket::CACHE, evicted: bucket::CACHE_EVICTED, bytes: bucket::CACHE_BYTES };
pub(super) const PICTURES: Counted =
    Counted { lookups: pictures::CACHE, evicted: pictures::CACHE_EVICTED, bytes: pictures::CACHE_BYTES };

/// Cheap to clone.
#[derive(Clone)]
pub(super) struct Cache(Arc<Inner>);

struct Inner {
    folder: PathBuf,
    bytes_max: u64,
    /// Blocks of another length are others; 0 where there are none.
    block_bytes: u64,
    counted: Counted,
    shelf: Mutex<Shelf>,
    flights: Mutex<HashMap<BlockId, Flight>>,
}

/// What there is, and in which order it was used.
#[derive(Debug, Default)]
struct Shelf {
    blocks: BTreeMap<BlockId, Placed>,
    order: BTreeMap<u64, BlockId>,
    bytes: u64,
    now: u64,
}

#[derive(Debug, Clone, Copy)]
struct Placed {
    bytes: u64,
    used: u64,
}

impl Cache {
    /// With what an earlier run left. Blocking.
    pub(super) fn open(
        folder: &FilePath,
        bytes_max: u64,
        block_bytes: u64,
        counted: Counted,
    ) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let mut shelf = Shelf::default();
        let mut found = Vec::new();
        for shard in fs::read_dir(folder)? {
            let shard = shard?;
            // Others keep theirs in folders beside ours.
            if shard.file_name().to_str().is_some_and(is_shard) {
                collect(&shard.path(), &mut found)?;
            }
        }
        found.sort_unstable();
        for (_, id, bytes) in found {
            shelf.put(id, bytes);
        }
        let (folder, shelf) = (folder.to_owned(), Mutex::new(shelf));
        let inner = Inner { folder, bytes_max, block_bytes, counted, shelf, flights: Mutex::default() };
        inner.make_room();
        Ok(Self(Arc::new(inner)))
    }

    /// From the disk, or by `fetch`, which is done once for all that want the block at the same time
    /// and goes on when they leave.
    pub(super) async fn block<F>(
        &self,
        object: &str,
        number: u64,
        fetch: impl FnOnce() -> F,
    ) -> io::Result<Block>
    where
        F: Future<Output = io::Result<Block>> + Send + 'static,
    {
        let id = BlockId::of(object, self.0.block_bytes, number);
        let flight = self.flight(id, fetch);
        flight.await.map_err(|error| io::Error::new(error.kind(), error))
    }

    /// What was made of an object in some form, or is made by `make`, as [`Self::block`] fetches.
    pub(super) async fn made<F, E>(
        &self,
        object: &str,
        form: &[u8],
        make: impl FnOnce() -> F,
    ) -> Result<Bytes, OfAll>
    where
        F: Future<Output = Result<Bytes, E>> + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>> + Send + 'static,
    {
        let digest: [u8; DIGEST_BYTES] = Sha256::digest(form).into();
        let number = digest.first_chunk().map_or(0, |head| u64::from_be_bytes(*head));
        let id = BlockId::of(object, self.0.block_bytes, number);
        let whole = |bytes: Bytes| Block { object_bytes: bytes.len() as u64, bytes };
        let made = self.flight(id, || make().map_ok(whole)).await?;
        Ok(made.bytes)
    }

    fn flight<F, E>(&self, id: BlockId, fetch: impl FnOnce() -> F) -> Flight
    where
        F: Future<Output = Result<Block, E>> + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>> + Send + 'static,
    {
        let mut flights = held(&self.0.flights);
        if let Some(flight) = flights.get(&id) {
            return flight.clone();
        }
        let (cache, fetch) = (self.clone(), fetch());
        let task = tokio::spawn(async move {
            let block = cache.found_or(id, fetch).await;
            held(&cache.0.flights).remove(&id);
            block.map_err(OfAll::of)
        });
        let flight = async { task.await.unwrap_or_else(|panic| Err(OfAll(Arc::new(panic)))) };
        let flight = flight.boxed().shared();
        flights.insert(id, flight.clone());
        flight
    }

    async fn found_or<E>(
        &self,
        id: BlockId,
        fetch: impl Future<Output = Result<Block, E>>,
    ) -> Result<Block, E> {
        let lookups = self.0.counted.lookups;
        if let Some(block) = self.on_disk(id).await {
            counter!(lookups, "outcome" => "hit").increment(1);
            return Ok(block);
        }
        counter!(lookups, "outcome" => "miss").increment(1);
        let block = fetch.await?;
        let (inner, copy) = (Arc::clone(&self.0), block.clone());
        let kept = tokio::task::spawn_blocking(move || inner.keep(id, &copy)).await;
        if let Err(error) = kept.map_err(io::Error::other).flatten() {
            counter!(lookups, "outcome" => "unwritten").increment(1);
            tracing::debug!(%error, cache = lookups, "something was not cached");
        }
        Ok(block)
    }

    async fn on_disk(&self, id: BlockId) -> Option<Block> {
        if !held(&self.0.shelf).touch(id) {
            return None;
        }
        let inner = Arc::clone(&self.0);
        tokio::task::spawn_blocking(move || inner.read(id)).await.ok().flatten()
    }

    /// All blocks of an object that is deleted. Blocking.
    pub(super) fn forget(&self, object: &str) {
        let object = BlockId::of(object, self.0.block_bytes, 0).object;
        let ids: Vec<BlockId> = {
            let shelf = held(&self.0.shelf);
            let range = BlockId { object, number: 0 }..=BlockId { object, number: u64::MAX };
            shelf.blocks.range(range).map(|(id, _)| *id).collect()
        };
        for id in ids {
            self.0.drop_block(id);
        }
    }
}

impl Inner {
    /// A file that is not what was written is none.
    fn read(&self, id: BlockId) -> Option<Block> {
        let mut content = Vec::new();
        let read = File::open(self.path(id)).and_then(|mut file| {
            // So that the next run knows it, too; a file system that cannot tell is none the worse.
            let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
            let _ = rustix::fs::futimens(&file, &Timestamps { last_access: now, last_modification: now });
            file.read_to_end(&mut content)
        });
        let block = read.ok().and_then(|_| decoded(id, content));
        if block.is_none() {
            counter!(self.counted.lookups, "outcome" => "damaged").increment(1);
            self.drop_block(id);
        }
        block
    }

    fn keep(&self, id: BlockId, block: &Block) -> io::Result<()> {
        let bytes = (HEAD_BYTES + block.bytes.len()) as u64;
        if bytes > self.bytes_max {
            return Ok(());
        }
        let path = self.path(id);
        fs::create_dir_all(path.parent().unwrap_or(&self.folder))?;
        let unfinished = path.with_extension(format!("{}.{UNFINISHED}", crate::ids::row_id()));
        let written = write(&unfinished, id, block).and_then(|()| fs::rename(&unfinished, &path));
        if let Err(error) = written {
            let _ = fs::remove_file(&unfinished);
            return Err(error);
        }
        held(&self.shelf).put(id, bytes);
        self.make_room();
        Ok(())
    }

    fn make_room(&self) {
        loop {
            let mut shelf = held(&self.shelf);
            gauge!(self.counted.bytes).set(shelf.bytes as f64);
            let Some(oldest) = shelf.oldest().filter(|_| shelf.bytes > self.bytes_max) else { return };
            shelf.remove(oldest);
            drop(shelf);
            counter!(self.counted.evicted).increment(1);
            let _ = fs::remove_file(self.path(oldest));
        }
    }

    fn drop_block(&self, id: BlockId) {
        held(&self.shelf).remove(id);
        // What stays behind is found, or found damaged, by the next run.
        let _ = fs::remove_file(self.path(id));
    }

    fn path(&self, id: BlockId) -> PathBuf {
        let name = format!("{:032x}-{:x}", id.object, id.number);
        self.folder.join(&name[..2]).join(name)
    }
}

impl Shelf {
    fn put(&mut self, id: BlockId, bytes: u64) {
        self.remove(id);
        self.now += 1;
        self.blocks.insert(id, Placed { bytes, used: self.now });
        self.order.insert(self.now, id);
        self.bytes += bytes;
    }

    fn remove(&mut self, id: BlockId) {
        if let Some(placed) = self.blocks.remove(&id) {
            self.order.remove(&placed.used);
            self.bytes -= placed.bytes;
        }
    }

    /// Whether it is there; then it is the last to go.
    fn touch(&mut self, id: BlockId) -> bool {
        let known = self.blocks.get(&id).copied();
        if let Some(placed) = known {
            self.put(id, placed.bytes);
        }
        known.is_some()
    }

    fn oldest(&self) -> Option<BlockId> {
        self.order.first_key_value().map(|(_, id)| *id)
    }
}

impl BlockId {
    fn of(object: &str, block_bytes: u64, number: u64) -> Self {
        let digest = Sha256::new().chain_update(object).chain_update(block_bytes.to_be_bytes()).finalize();
        let mut object = [0; 16];
        object.copy_from_slice(&digest[..16]);
        Self { object: u128::from_be_bytes(object), number }
    }

    fn named(name: &str) -> Option<Self> {
        let (object, number) = name.split_once('-')?;
        let object = u128::from_str_radix(object, 16).ok()?;
        Some(Self { object, number: u64::from_str_radix(number, 16).ok()? })
    }

    /// Of everything that a file says: a block in the place of another is damaged, too.
    fn digest(self, object_bytes: u64, bytes: &[u8]) -> [u8; DIGEST_BYTES] {
        let digest =
            Sha256::new().chain_update(self.object.to_be_bytes()).chain_update(self.number.to_be_bytes());
        digest.chain_update(object_bytes.to_be_bytes()).chain_update(bytes).finalize().into()
    }
}

fn write(path: &FilePath, id: BlockId, block: &Block) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(MAGIC)?;
    file.write_all(&block.object_bytes.to_be_bytes())?;
    file.write_all(&id.digest(block.object_bytes, &block.bytes))?;
    file.write_all(&block.bytes)
}

fn decoded(id: BlockId, content: Vec<u8>) -> Option<Block> {
    let (magic, rest) = content.split_first_chunk::<8>()?;
    let (object_bytes, rest) = rest.split_first_chunk::<8>()?;
    let (digest, bytes) = rest.split_first_chunk::<DIGEST_BYTES>()?;
    let object_bytes = u64::from_be_bytes(*object_bytes);
    let is_whole = magic == MAGIC && *digest == id.digest(object_bytes, bytes);
    is_whole.then(|| Block { object_bytes, bytes: Bytes::from(content).slice(HEAD_BYTES..) })
}

fn is_shard(name: &str) -> bool {
    name.len() == 2 && name.bytes().all(|digit| digit.is_ascii_hexdigit())
}

/// The blocks of one folder with the time of their last use; what is none goes.
fn collect(shard: &FilePath, found: &mut Vec<((i64, i64), BlockId, u64)>) -> io::Result<()> {
    if !shard.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(shard)? {
        let entry = entry?;
        match entry.file_name().to_str().and_then(BlockId::named) {
            Some(id) => {
                let meta = entry.metadata()?;
                found.push(((meta.mtime(), meta.mtime_nsec()), id, meta.len()));
            }
            None => fs::remove_file(entry.path())?,
        }
    }
    Ok(())
}

/// Every change is one step: what a panicking thread left behind is whole.
fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What all heard who waited for the same.
#[derive(Debug, Clone)]
pub struct OfAll(Arc<dyn Error + Send + Sync>);

impl OfAll {
    pub(super) fn of(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(Arc::from(error.into()))
    }

    /// What it was, where it came from.
    pub fn cause(&self) -> &(dyn Error + Send + Sync + 'static) {
        &*self.0
    }

    fn kind(&self) -> io::ErrorKind {
        self.0.downcast_ref::<io::Error>().map_or(io::ErrorKind::Other, io::Error::kind)
    }
}

impl std::fmt::Display for OfAll {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(&self.0, f)
    }
}

impl Error for OfAll {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const LENGTH: usize = 1000;
    const FILE_BYTES: u64 = (HEAD_BYTES + LENGTH) as u64;

    struct Bench {
        dir: tempfile::TempDir,
        fetched: Arc<AtomicUsize>,
    }

    impl Bench {
        fn new() -> Self {
            Self { dir: tempfile::tempdir().unwrap(), fetched: Arc::default() }
        }

        fn open(&self, blocks_max: u64) -> Cache {
            Cache::open(self.dir.path(), blocks_max * FILE_BYTES, LENGTH as u64, BLOCKS).unwrap()
        }

        async fn get(&self, cache: &Cache, number: u64) -> Bytes {
            let fetched = Arc::clone(&self.fetched);
            let bytes = Bytes::from(vec![number as u8; LENGTH]);
            let fetch = || async move {
                fetched.fetch_add(1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                Ok(Block { bytes, object_bytes: 1 << 20 })
            };
            cache.block("a/b", number, fetch).await.unwrap().bytes
        }

        fn fetched(&self) -> usize {
            self.fetched.load(Ordering::SeqCst)
        }

        fn files(&self) -> Vec<PathBuf> {
            let shards = fs::read_dir(self.dir.path()).unwrap().map(|shard| shard.unwrap().path());
            let files = shards.flat_map(|shard| fs::read_dir(shard).unwrap());
            files.map(|file| file.unwrap().path()).collect()
        }
    }

    #[tokio::test]
    async fn a_block_is_fetched_once_and_survives_a_restart() {
        let bench = Bench::new();
        for _ in 0..2 {
            let cache = bench.open(9);
            assert_eq!(bench.get(&cache, 7).await, vec![7; LENGTH]);
            assert_eq!(bench.get(&cache, 7).await, vec![7; LENGTH]);
        }
        assert_eq!(bench.fetched(), 1);
    }

    #[tokio::test]
    async fn who_wants_the_same_block_at_the_same_time_waits_for_one_fetch() {
        let bench = Bench::new();
        let cache = bench.open(9);
        futures::future::join_all((0..20).map(|_| bench.get(&cache, 7))).await;
        assert_eq!(bench.fetched(), 1);
    }

    #[tokio::test]
    async fn the_least_recently_used_goes_first() {
        let bench = Bench::new();
        let cache = bench.open(2);
        for number in [1, 2, 1, 3, 1] {
            bench.get(&cache, number).await;
        }
        assert_eq!((bench.fetched(), bench.files().len()), (3, 2));
        bench.get(&cache, 2).await;
        assert_eq!(bench.fetched(), 4, "2 had gone");
    }

    #[tokio::test]
    async fn a_smaller_cache_gives_up_what_is_too_much_at_its_start() {
        let bench = Bench::new();
        let cache = bench.open(5);
        for number in 0..5 {
            bench.get(&cache, number).await;
        }
        bench.open(2);
        assert_eq!(bench.files().len(), 2);
    }

    #[tokio::test]
    async fn a_damaged_file_is_fetched_again() {
        let bench = Bench::new();
        let cache = bench.open(9);
        bench.get(&cache, 7).await;
        let file = bench.files().remove(0);
        let whole = fs::read(&file).unwrap();
        let flipped: Vec<u8> = whole.iter().enumerate().map(|(n, byte)| byte ^ u8::from(n == 99)).collect();
        for (nth, content) in [&flipped[..], &whole[..60], b"", &whole[..3]].into_iter().enumerate() {
            fs::write(&file, content).unwrap();
            assert_eq!(bench.get(&cache, 7).await, vec![7; LENGTH]);
            assert_eq!(bench.fetched(), nth + 2);
        }
        fs::remove_file(&file).unwrap();
        assert_eq!(bench.get(&cache, 7).await, vec![7; LENGTH]);
    }

    #[tokio::test]
    async fn a_block_in_the_place_of_another_is_not_believed() {
        let bench = Bench::new();
        let cache = bench.open(9);
        bench.get(&cache, 1).await;
        let file = bench.files().remove(0);
        let other = file.to_str().unwrap().replace("-1", "-2");
        assert_ne!(file.to_str(), Some(other.as_str()));
        fs::copy(&file, other).unwrap();
        assert_eq!(bench.get(&bench.open(9), 2).await, vec![2; LENGTH]);
    }

    #[tokio::test]
    async fn what_is_deleted_leaves_the_disk() {
        let bench = Bench::new();
        let cache = bench.open(9);
        for number in 0..3 {
            bench.get(&cache, number).await;
        }
        cache.forget("a/b");
        assert_eq!(bench.files().len(), 0);
    }

    #[tokio::test]
    async fn a_failure_is_heard_by_all_and_remembered_by_none() {
        let bench = Bench::new();
        let cache = bench.open(9);
        let failing = || cache.block("a/b", 7, || async { Err(io::ErrorKind::NotFound.into()) });
        let (one, other) = futures::join!(failing(), failing());
        assert_eq!(
            (one.unwrap_err().kind(), other.unwrap_err().kind()),
            (io::ErrorKind::NotFound, io::ErrorKind::NotFound)
        );
        assert_eq!(bench.get(&cache, 7).await, vec![7; LENGTH]);
    }

    #[tokio::test]
    async fn what_was_made_is_told_by_its_object_and_its_form() {
        let bench = Bench::new();
        let cache = bench.open(9);
        let draw = |object, form: &'static str| {
            let made = async move { Ok::<_, io::Error>(Bytes::from(format!("{object} {form}"))) };
            cache.made(object, form.as_bytes(), || made)
        };
        for (object, form) in [("a", "1"), ("a", "2"), ("b", "1"), ("a", "1")] {
            assert_eq!(draw(object, form).await.unwrap(), format!("{object} {form}"));
        }
        assert_eq!(bench.files().len(), 3);
        cache.forget("a");
        assert_eq!(bench.files().len(), 1);
    }

    #[tokio::test]
    async fn folders_of_others_are_left_alone() {
        let bench = Bench::new();
        let others = bench.dir.path().join("features");
        fs::create_dir(&others).unwrap();
        fs::write(others.join("abc.features"), b"of the model").unwrap();
        bench.open(9);
        assert!(others.join("abc.features").exists());
    }

    #[tokio::test]
    async fn what_a_crash_left_half_written_goes() {
        let bench = Bench::new();
        fs::create_dir(bench.dir.path().join("ab")).unwrap();
        fs::write(bench.dir.path().join("ab/abc-1.x.part"), b"half").unwrap();
        bench.open(9);
        assert_eq!(bench.files().len(), 0);
    }
}
