//! Where pixels are decoded and encoded: a few threads at a time, with the stack that codecs need.

use std::io;
use std::sync::Arc;
use std::thread;

use tokio::sync::{Semaphore, oneshot};

use crate::volume::pixels::STACK_BYTES;

/// Bounds how many frames are decoded, and held in memory for it, at a time.
#[derive(Clone)]
pub struct Decodes {
    permits: Arc<Semaphore>,
}

#[derive(Debug, thiserror::Error)]
pub enum DecodesError {
    #[error("no thread can be started for a codec")]
    Start(#[source] io::Error),
    #[error("a codec stopped unexpectedly")]
    Stopped,
}

impl Decodes {
    pub fn new(at_a_time: usize) -> Self {
        Self { permits: Arc::new(Semaphore::new(at_a_time.max(1))) }
    }

    /// # Errors
    /// The job panicked, or there is no thread for it.
    pub async fn run<T, J>(&self, job: J) -> Result<T, DecodesError>
    where
        T: Send + 'static,
        J: FnOnce() -> T + Send + 'static,
    {
        let _permit = self.permits.acquire().await.map_err(|_| DecodesError::Stopped)?;
        let (done, result) = oneshot::channel();
        // A receiver that is gone wanted no result.
        let work = move || drop(done.send(job()));
        let spawned = thread::Builder::new().name("codec".into()).stack_size(STACK_BYTES).spawn(work);
        spawned.map_err(DecodesError::Start)?;
        result.await.map_err(|_| DecodesError::Stopped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panicking_codec_is_an_error_and_gives_its_permit_back() {
        let decodes = Decodes::new(1);
        assert!(decodes.run(|| panic!("damaged")).await.map(|(): ()| ()).is_err());
        assert_eq!(decodes.run(|| 7).await.unwrap(), 7);
    }
}
