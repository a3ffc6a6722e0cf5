//! Where pixels are decoded and encoded: a few threads at a time, with the stack that codecs need.

use std::io;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;

use tokio::sync::{Semaphore, oneshot};

use crate::volume::pixels::STACK_BYTES;

/// Bounds how many frames are decoded, and held in memory for it, at a time.
///
/// A thread that is done waits for the next frame: a fresh one costs as much as a small picture.
#[derive(Clone)]
pub struct Decodes {
    permits: Arc<Semaphore>,
    idle: Arc<Idle>,
}

/// How threads without work are reached. With the last [`Decodes`] they end.
#[derive(Default)]
struct Idle(Mutex<Vec<Sender<Job>>>);

/// The work, and what is left to do once the thread is free for others.
type Job = Box<dyn FnOnce() -> Finish + Send>;
type Finish = Box<dyn FnOnce()>;

#[derive(Debug, thiserror::Error)]
pub enum DecodesError {
    #[error("no thread can be started for a codec")]
    Start(#[source] io::Error),
    #[error("a codec stopped unexpectedly")]
    Stopped,
}

impl Decodes {
    pub fn new(at_a_time: usize) -> Self {
        Self { permits: Arc::new(Semaphore::new(at_a_time.max(1))), idle: Arc::default() }
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
        self.start(Box::new(move || {
            let made = job();
            Box::new(move || {
                drop(permit);
                drop(done.send(made));
            })
        }))?;
        result.await.map_err(|_| DecodesError::Stopped)
    }

    fn start(&self, job: Job) -> Result<(), DecodesError> {
        let idle = self.idle.senders().pop();
        // A thread that has ended meanwhile gives the job back.
        let Some(job) = (match idle {
            Some(sender) => sender.send(job).err().map(|unsent| unsent.0),
            None => Some(job),
        }) else {
            return Ok(());
        };
        let home = Arc::downgrade(&self.idle);
        let thread = thread::Builder::new().name("codec".into()).stack_size(STACK_BYTES);
        thread.spawn(move || work(job, &home)).map(drop).map_err(DecodesError::Start)
    }
}

impl Idle {
    /// Every change is one push or pop: what a panicking thread left behind is whole.
    fn senders(&self) -> MutexGuard<'_, Vec<Sender<Job>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One job after the other; a job that panics ends its thread.
fn work(first: Job, home: &Weak<Idle>) {
    let mut next = Ok(first);
    while let Ok(job) = next {
        let finish = job();
        let (sender, receiver) = mpsc::channel();
        if let Some(home) = home.upgrade() {
            home.senders().push(sender);
        }
        // Only now may another job begin, so that it finds this thread.
        finish();
        next = receiver.recv();
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
    async fn a_thread_serves_one_frame_after_the_other() {
        let decodes = Decodes::new(1);
        let thread = || thread::current().id();
        assert_eq!(decodes.run(thread).await.unwrap(), decodes.run(thread).await.unwrap());
        assert_eq!(decodes.idle.senders().len(), 1);
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
