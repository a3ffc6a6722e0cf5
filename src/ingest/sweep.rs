//! Bytes that no row refers to: what a crash between the two left behind.

use futures::TryStreamExt;
use tokio_util::sync::CancellationToken;

use super::Ingest;
use crate::blobs::{BlobError, BlobKey, Listed};
use crate::clock::Timestamp;
use crate::db::{DbError, instances};

#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    #[error(transparent)]
    Blob(#[from] BlobError),
    #[error("the index cannot be asked about an object")]
    Index(#[from] DbError),
}

/// What a sweep did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    pub examined: u64,
    pub deleted: u64,
    pub deleted_bytes: u64,
}

impl Ingest {
    /// Deletes the objects written before `before` that no row refers to, until done or stopped.
    ///
    /// May be dropped at any point; runs beside listeners that store.
    pub async fn sweep(&self, before: Timestamp, stop: &CancellationToken) -> Result<Swept, SweepError> {
        let mut swept = Swept::default();
        let mut objects = self.blobs.listed_before(before);
        while let Some(Listed { key, size_bytes, .. }) = objects.try_next().await? {
            if stop.is_cancelled() {
                break;
            }
            swept.examined += 1;
            if self.delete_orphan(&key).await? {
                swept.deleted += 1;
                swept.deleted_bytes += size_bytes;
            }
            tokio::task::yield_now().await;
        }
        Ok(swept)
    }

    /// Looks twice: the first look costs writers nothing, the second is made while none of them
    /// is between its bytes and its row. Where no other writer has the same key, nobody waits.
    pub(super) async fn delete_orphan(&self, key: &BlobKey) -> Result<bool, SweepError> {
        if instances::is_referenced(&self.db, key).await? {
            return Ok(false);
        }
        let _nobody_places = match self.blobs.has_shared_keys() {
            true => Some(self.placing.write().await),
            false => None,
        };
        if instances::is_referenced(&self.db, key).await? {
            return Ok(false);
        }
        self.blobs.delete(key).await?;
        Ok(true)
    }
}
