//! From start to stop, in two stages: from the first signal on the server says that it leaves, for as
//! long as a balancer needs to notice; then the tasks are told to take nothing new, and what is under
//! way gets until the stop timeout. One more signal ends the stage that it finds. A task that crashes stops the whole
//! process the same way, with a failing exit code: half a server is worse than a restart.

use std::fmt::Display;
use std::future::{Future, pending};
use std::io;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Each message asks to stop; one more asks to wait no longer for what is waited for.
pub type Interrupts = mpsc::Receiver<&'static str>;

/// A task that ended as it should not have.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the {task} stopped: {reason}")]
pub struct Crash {
    task: &'static str,
    reason: String,
}

/// What a task ends with.
pub trait Outcome {
    /// The reason of one that failed.
    fn failure(self) -> Option<String>;
}

impl Outcome for () {
    fn failure(self) -> Option<String> {
        None
    }
}

impl<E: Display> Outcome for Result<(), E> {
    fn failure(self) -> Option<String> {
        self.err().map(|error| error.to_string())
    }
}

/// How long a task is meant to live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Span {
    UntilStop,
    UntilDone,
}

/// The tasks of this process.
pub struct Lifecycle {
    leaving: CancellationToken,
    stop: CancellationToken,
    drain: Duration,
    stop_timeout: Duration,
    tasks: JoinSet<Result<(), Crash>>,
}

impl Lifecycle {
    pub fn new(stop_timeout: Duration) -> Self {
        Self {
            leaving: CancellationToken::new(),
            stop: CancellationToken::new(),
            drain: Duration::ZERO,
            stop_timeout,
            tasks: JoinSet::new(),
        }
    }

    /// Between the first signal and the stop.
    pub fn leaving_for(self, drain: Duration) -> Self {
        Self { drain, ..self }
    }

    /// Cancelled when others are to come no more, though everything is still done.
    pub fn leaving_token(&self) -> CancellationToken {
        self.leaving.clone()
    }

    /// Cancelled when nothing new is to be begun; cancelling it stops the process.
    pub fn stop_token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// A task that must run until the stop.
    pub fn spawn<O: Outcome>(&mut self, name: &'static str, work: impl Future<Output = O> + Send + 'static) {
        self.watch(name, Span::UntilStop, work);
    }

    /// A task that may end early.
    pub fn spawn_once<O: Outcome>(
        &mut self,
        name: &'static str,
        work: impl Future<Output = O> + Send + 'static,
    ) {
        self.watch(name, Span::UntilDone, work);
    }

    fn watch<O: Outcome>(
        &mut self,
        task: &'static str,
        span: Span,
        work: impl Future<Output = O> + Send + 'static,
    ) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            let crash = |reason: String| Err(Crash { task, reason });
            match AssertUnwindSafe(work).catch_unwind().await.map(Outcome::failure) {
                Ok(None) if span == Span::UntilDone || stop.is_cancelled() => Ok(()),
                Ok(None) => crash("it ended by itself".to_owned()),
                Ok(Some(reason)) => crash(reason),
                Err(_) => crash("it panicked".to_owned()),
            }
        });
    }

    /// Runs the tasks until an interrupt, the stop token or a crash, then sees them out.
    ///
    /// # Errors
    /// The first crash.
    pub async fn run(mut self, mut interrupts: Interrupts) -> Result<(), Crash> {
        let mut ended = self.until_signal(&mut interrupts).await;
        self.leaving.cancel();
        if ended.is_ok() && !self.stop.is_cancelled() {
            ended = self.leave(&mut interrupts).await;
        }
        self.stop.cancel();
        let drained = self.drain(&mut interrupts).await;
        ended.and(drained)
    }

    async fn until_signal(&mut self, interrupts: &mut Interrupts) -> Result<(), Crash> {
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return Ok(()),
                signal = next(interrupts) => {
                    tracing::info!(signal, "stopping");
                    return Ok(());
                }
                Some(joined) = self.tasks.join_next() => flatten(joined)?,
            }
        }
    }

    /// Everything goes on, so that nobody who is still sent here is turned away.
    async fn leave(&mut self, interrupts: &mut Interrupts) -> Result<(), Crash> {
        if self.drain.is_zero() {
            return Ok(());
        }
        tracing::info!(seconds = self.drain.as_secs(), "leaving: not ready, and still working");
        let over = tokio::time::sleep(self.drain);
        tokio::pin!(over);
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return Ok(()),
                () = &mut over => return Ok(()),
                signal = next(interrupts) => {
                    tracing::info!(signal, "leaving at once");
                    return Ok(());
                }
                Some(joined) = self.tasks.join_next() => flatten(joined)?,
            }
        }
    }

    async fn drain(&mut self, interrupts: &mut Interrupts) -> Result<(), Crash> {
        let mut outcome = Ok(());
        let all = async {
            while let Some(joined) = self.tasks.join_next().await {
                outcome = std::mem::replace(&mut outcome, Ok(())).and(flatten(joined));
            }
        };
        let cut_off = tokio::select! {
            () = all => None,
            () = tokio::time::sleep(self.stop_timeout) => Some("server.stop_timeout_s is over"),
            signal = next(interrupts) => Some(signal),
        };
        if let Some(reason) = cut_off {
            tracing::warn!(reason, tasks = self.tasks.len(), "ending now, with work unfinished");
            self.tasks.shutdown().await;
        }
        outcome
    }
}

fn flatten(joined: Result<Result<(), Crash>, tokio::task::JoinError>) -> Result<(), Crash> {
    let outcome = joined.unwrap_or_else(|error| Err(Crash { task: "server", reason: error.to_string() }));
    outcome.inspect_err(|crash| tracing::error!(task = crash.task, "a task crashed: {}", crash.reason))
}

/// Without anybody left to interrupt, never.
async fn next(interrupts: &mut Interrupts) -> &'static str {
    match interrupts.recv().await {
        Some(signal) => signal,
        None => pending().await,
    }
}

/// SIGHUP from now on; it no longer ends the process.
pub fn hangups() -> io::Result<Signal> {
    signal(SignalKind::hangup())
}

/// SIGINT and SIGTERM from now on.
pub fn interrupts() -> io::Result<Interrupts> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let (sender, receiver) = mpsc::channel(2);
    tokio::spawn(async move {
        loop {
            let name = tokio::select! {
                Some(()) = interrupt.recv() => "SIGINT",
                Some(()) = terminate.recv() => "SIGTERM",
                else => return,
            };
            if sender.send(name).await.is_err() {
                return;
            }
        }
    });
    Ok(receiver)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Never = std::convert::Infallible;

    fn lifecycle() -> (Lifecycle, mpsc::Sender<&'static str>, Interrupts) {
        with_stop_timeout(Duration::from_secs(600))
    }

    fn with_stop_timeout(stop_timeout: Duration) -> (Lifecycle, mpsc::Sender<&'static str>, Interrupts) {
        let (sender, interrupts) = mpsc::channel(2);
        (Lifecycle::new(stop_timeout), sender, interrupts)
    }

    #[tokio::test]
    async fn an_interrupt_lets_work_under_way_finish() {
        let (mut lifecycle, sender, interrupts) = lifecycle();
        let (stop, (done, finished)) = (lifecycle.stop_token(), tokio::sync::oneshot::channel());
        lifecycle.spawn("listener", async move {
            stop.cancelled().await;
            done.send(()).unwrap();
            Ok::<(), Never>(())
        });
        sender.send("SIGINT").await.unwrap();
        assert_eq!(lifecycle.run(interrupts).await, Ok(()));
        assert_eq!(finished.await, Ok(()));
    }

    #[tokio::test]
    async fn a_second_interrupt_ends_what_will_not_finish() {
        let (mut lifecycle, sender, interrupts) = lifecycle();
        lifecycle.spawn("listener", pending::<Result<(), Never>>());
        sender.send("SIGINT").await.unwrap();
        sender.send("SIGINT").await.unwrap();
        assert_eq!(lifecycle.run(interrupts).await, Ok(()));
    }

    #[tokio::test]
    async fn the_stop_timeout_ends_what_will_not_finish() {
        let (mut lifecycle, sender, interrupts) = with_stop_timeout(Duration::from_millis(1));
        lifecycle.spawn("listener", pending::<Result<(), Never>>());
        sender.send("SIGTERM").await.unwrap();
        assert_eq!(lifecycle.run(interrupts).await, Ok(()));
    }

    #[tokio::test]
    async fn a_server_that_leaves_works_on_until_one_more_signal() {
        let (lifecycle, sender, interrupts) = lifecycle();
        let mut lifecycle = lifecycle.leaving_for(Duration::from_secs(600));
        let (leaving, stop) = (lifecycle.leaving_token(), lifecycle.stop_token());
        lifecycle.spawn("listener", {
            let stop = stop.clone();
            async move { stop.cancelled().await }
        });
        let running = tokio::spawn(lifecycle.run(interrupts));
        sender.send("SIGTERM").await.unwrap();
        leaving.cancelled().await;
        assert!(!stop.is_cancelled() && !running.is_finished());
        sender.send("SIGTERM").await.unwrap();
        assert_eq!(running.await.unwrap(), Ok(()));
    }

    #[tokio::test]
    async fn the_time_to_leave_comes_to_an_end_by_itself() {
        let (lifecycle, sender, interrupts) = lifecycle();
        let lifecycle = lifecycle.leaving_for(Duration::from_millis(1));
        sender.send("SIGTERM").await.unwrap();
        assert_eq!(lifecycle.run(interrupts).await, Ok(()));
    }

    #[track_caller]
    fn crashes(outcome: Result<(), Crash>, expected: &str) {
        assert_eq!(outcome.unwrap_err().to_string(), expected);
    }

    #[tokio::test]
    async fn a_crash_stops_the_others_and_is_told() {
        let (mut panics, _sender, interrupts) = lifecycle();
        let stop = panics.stop_token();
        panics.spawn_once::<()>("job driver", async { panic!("oh") });
        panics.spawn("listener", async move { stop.cancelled().await });
        crashes(panics.run(interrupts).await, "the job driver stopped: it panicked");
    }

    #[tokio::test]
    async fn only_a_task_that_may_end_early_may() {
        let (mut early, _sender, interrupts) = lifecycle();
        early.spawn_once("sweep", async {});
        early.spawn("listener", async {});
        crashes(early.run(interrupts).await, "the listener stopped: it ended by itself");
    }
}
