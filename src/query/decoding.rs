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
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| DecodesError::Stopped)?;
        let (done, result) = oneshot::channel();
        // The permit is the thread's: a client that hangs up does not end the work. A receiver that
        // is gone wanted no result.
        let work = move || {
            let made = job();
            drop(permit);
            drop(done.send(made));
        };
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

    #[tokio::test]
    async fn who_gives_up_waiting_frees_no_thread_that_is_still_at_work() {
        let decodes = Decodes::new(1);
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let (begin, begun) = oneshot::channel();
        let job = decodes.run(move || {
            begin.send(()).unwrap();
            let _ = ended.recv();
        });
        tokio::select! { _ = job => unreachable!(), _ = begun => {} }
        assert_eq!(decodes.permits.available_permits(), 0);
        drop(end);
        assert_eq!(decodes.run(|| 7).await.unwrap(), 7);
    }
}
