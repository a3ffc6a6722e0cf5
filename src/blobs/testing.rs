//! A bucket in memory that fails when it is told to.

use std::fmt;
use std::path::Path as FilePath;
use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, StreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};

use super::Blobs;
use super::bucket::Bucket;
use super::connect::Connected;
use crate::config::{Config, Overrides, Storage};

/// Small enough that a test has many of both.
pub(crate) const PART_BYTES: u64 = 64 << 10;
pub(crate) const BLOCK_BYTES: u64 = 4 << 10;

/// Which call comes to nothing, counted from 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Plan {
    #[default]
    Nothing,
    /// It is never done.
    Before(usize),
    /// It is done, and its answer is lost.
    After(usize),
    Every,
}

#[derive(Debug, Default)]
pub(crate) struct Faults(Mutex<(Plan, usize)>);

impl Faults {
    /// Counts from the beginning.
    pub(crate) fn plan(&self, plan: Plan) {
        *self.0.lock().unwrap() = (plan, 0);
    }

    /// Calls since the plan was made.
    pub(crate) fn calls(&self) -> usize {
        self.0.lock().unwrap().1
    }

    async fn around<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        let (plan, number) = {
            let mut state = self.0.lock().unwrap();
            state.1 += 1;
            *state
        };
        let broken = || Error::Generic { store: "faulty", source: "the connection was cut".into() };
        match plan {
            Plan::Every => Err(broken()),
            Plan::Before(nth) if nth == number => Err(broken()),
            Plan::After(nth) if nth == number => call.await.and(Err(broken())),
            _ => call.await,
        }
    }
}

/// A bucket with a prefix, and what becomes of calls to it.
pub(crate) fn bucket(dir: &FilePath) -> (Blobs, Arc<Faults>) {
    with(dir, |_| {})
}

/// The same, and what was read lies on the disk.
pub(crate) fn cached_bucket(dir: &FilePath) -> (Blobs, Arc<Faults>) {
    with(dir, |storage| storage.cache.bytes_max = 1 << 20)
}

/// As configured.
pub(crate) fn with(dir: &FilePath, change: impl FnOnce(&mut Storage)) -> (Blobs, Arc<Faults>) {
    let mut storage = Config::load(&Overrides::default()).unwrap().storage;
    (storage.part_bytes, storage.block_bytes) = (PART_BYTES, BLOCK_BYTES);
    storage.cache.bytes_max = 0;
    // Calls are counted: each is made.
    storage.failures_max = 0;
    change(&mut storage);
    let cache = Blobs::cache(dir, &storage).unwrap();
    let faults = Arc::new(Faults::default());
    let connected = Connected {
        store: Arc::new(Faulty { memory: InMemory::new(), faults: Arc::clone(&faults) }),
        prefix: "a/prefix".to_owned(),
        url: "s3://images/a/prefix".to_owned(),
        endpoint: "memory".to_owned(),
        signer: None,
    };
    (Blobs::in_bucket(dir, Bucket::new(connected, &storage, cache)).unwrap(), faults)
}

#[derive(Debug)]
struct Faulty {
    memory: InMemory,
    faults: Arc<Faults>,
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("faulty")
    }
}

impl ObjectStore for Faulty {
    fn put_opts<'a, 'b, 'c>(
        &'a self,
        location: &'b Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> BoxFuture<'c, Result<PutResult>>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        Box::pin(self.faults.around(self.memory.put_opts(location, payload, opts)))
    }

    fn put_multipart_opts<'a, 'b, 'c>(
        &'a self,
        location: &'b Path,
        opts: PutMultipartOptions,
    ) -> BoxFuture<'c, Result<Box<dyn MultipartUpload>>>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        Box::pin(async {
            let upload = self.faults.around(self.memory.put_multipart_opts(location, opts)).await?;
            Ok(Box::new(FaultyUpload { upload, faults: Arc::clone(&self.faults) })
                as Box<dyn MultipartUpload>)
        })
    }

    fn get_opts<'a, 'b, 'c>(
        &'a self,
        location: &'b Path,
        options: GetOptions,
    ) -> BoxFuture<'c, Result<GetResult>>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        Box::pin(self.faults.around(self.memory.get_opts(location, options)))
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let (faults, deleted) = (Arc::clone(&self.faults), self.memory.delete_stream(locations));
        deleted
            .then(move |one| {
                let faults = Arc::clone(&faults);
                async move { faults.around(async { one }).await }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (faults, listed) = (Arc::clone(&self.faults), self.memory.list(prefix));
        let begun = async move { faults.around(async { Ok(listed) }).await };
        stream::once(begun)
            .flat_map(|begun| begun.unwrap_or_else(|error| stream::iter([Err(error)]).boxed()))
            .boxed()
    }

    fn list_with_delimiter<'a, 'b, 'c>(
        &'a self,
        prefix: Option<&'b Path>,
    ) -> BoxFuture<'c, Result<ListResult>>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        self.memory.list_with_delimiter(prefix)
    }

    fn copy_opts<'a, 'b, 'c, 'd>(
        &'a self,
        from: &'b Path,
        to: &'c Path,
        options: CopyOptions,
    ) -> BoxFuture<'d, Result<()>>
    where
        'a: 'd,
        'b: 'd,
        'c: 'd,
        Self: 'd,
    {
        self.memory.copy_opts(from, to, options)
    }
}

#[derive(Debug)]
struct FaultyUpload {
    upload: Box<dyn MultipartUpload>,
    faults: Arc<Faults>,
}

impl MultipartUpload for FaultyUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let (faults, part) = (Arc::clone(&self.faults), self.upload.put_part(data));
        Box::pin(async move { faults.around(part).await })
    }

    fn complete<'a, 'b>(&'a mut self) -> BoxFuture<'b, Result<PutResult>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(self.faults.around(self.upload.complete()))
    }

    fn abort<'a, 'b>(&'a mut self) -> BoxFuture<'b, Result<()>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(self.faults.around(self.upload.abort()))
    }
}
