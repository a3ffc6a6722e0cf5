//! Where pixels are decoded: a few threads at a time, with the stack that codecs need.

use std::thread;

use tokio::sync::{Semaphore, oneshot};

use super::error::HttpError;
use crate::volume::pixels::STACK_BYTES;

/// Bounds how many objects are decoded, and held in memory for it, at a time.
pub struct Decodes {
    permits: Semaphore,
}

impl Decodes {
    pub fn new(at_a_time: usize) -> Self {
        Self { permits: Semaphore::new(at_a_time.max(1)) }
    }

    /// # Errors
    /// The job panicked, or there is no thread for it.
    pub(super) async fn run<T, J>(&self, job: J) -> Result<T, HttpError>
    where
        T: Send + 'static,
        J: FnOnce() -> T + Send + 'static,
    {
        let _permit = self.permits.acquire().await.map_err(HttpError::internal("decoding"))?;
        let (done, result) = oneshot::channel();
        // A receiver that is gone wanted no result.
        let work = move || drop(done.send(job()));
        let spawned = thread::Builder::new().name("decode".into()).stack_size(STACK_BYTES).spawn(work);
        spawned.map_err(HttpError::internal("starting a decoder"))?;
        result.await.map_err(HttpError::internal("decoding"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panicking_decoder_is_an_error_and_gives_its_permit_back() {
        let decodes = Decodes::new(1);
        assert!(decodes.run(|| panic!("damaged")).await.map(|(): ()| ()).is_err());
        assert_eq!(decodes.run(|| 7).await.unwrap(), 7);
    }
}
