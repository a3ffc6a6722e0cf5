//! Whether a bucket does what it has to: asked at the start, in full, and by `/readyz`, lightly.

use std::io;

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use tokio::time::Instant;

use super::BlobError;
use super::away::Operation;
use super::bucket::{Bucket, asked, in_time};
use super::cache::Block;

const PROBE: &str = "probe";
const CONTENT: &[u8] = b"radiant writes this at its start, reads it again and deletes it";

/// What a bucket said when it was last asked whether it is there.
pub(super) struct Answer {
    at: Instant,
    lack: Option<String>,
}

impl Bucket {
    /// An object is written, read, read in part, listed and deleted.
    pub(super) async fn begin(&self) -> Result<(), BlobError> {
        let path = Path::from(format!("{PROBE}/{}", crate::ids::row_id()));
        let failed = |step| {
            let (url, endpoint) = (self.url.clone(), self.endpoint.clone());
            move |source| BlobError::Probe { url, endpoint, step, source }
        };
        let put = self.store.put(&path, CONTENT.into());
        self.asked(Operation::Write, put).await.map_err(failed("written"))?;
        self.read_probe(&path, 0..CONTENT.len()).await.map_err(failed("read"))?;
        self.read_probe(&path, 3..9).await.map_err(failed("read in part"))?;
        self.list_probe(&path).await.map_err(failed("listed"))?;
        self.asked(Operation::Delete, self.store.delete(&path)).await.map_err(failed("deleted"))
    }

    async fn read_probe(&self, path: &Path, range: std::ops::Range<usize>) -> io::Result<()> {
        let Block { bytes, object_bytes } = self.fetch(path, range.start as u64..range.end as u64).await?;
        match bytes == CONTENT[range] && object_bytes == CONTENT.len() as u64 {
            true => Ok(()),
            false => Err(io::Error::other("it is not what was written")),
        }
    }

    async fn list_probe(&self, path: &Path) -> io::Result<()> {
        let listed = self.store.list(Some(&Path::from(PROBE)));
        let listed: Vec<_> = self.asked(Operation::List, listed.try_collect()).await?;
        match listed.iter().any(|meta| meta.location == *path) {
            true => Ok(()),
            false => Err(io::Error::other("it is not among the objects")),
        }
    }

    /// Whether the bucket is there; asked again after some seconds, by one for all.
    pub(super) async fn answers(&self) -> io::Result<()> {
        let mut answer = self.answer.lock().await;
        let fresh = answer.as_ref().filter(|known| known.at.elapsed() < self.settings.ready_every);
        let lack = match fresh {
            Some(known) => known.lack.clone(),
            None => {
                let lack = self.ask().await.err().map(|error| error.to_string());
                *answer = Some(Answer { at: Instant::now(), lack: lack.clone() });
                lack
            }
        };
        lack.map_or(Ok(()), |lack| Err(io::Error::other(lack)))
    }

    /// There is next to nothing in this part of the bucket.
    async fn ask(&self) -> io::Result<()> {
        let mut listed = self.store.list(Some(&Path::from(PROBE)));
        let first = in_time(Operation::List, asked(Operation::List, listed.try_next())).await;
        self.gate.ask().saw(&first);
        first.map(drop)
    }
}
