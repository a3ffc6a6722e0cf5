//! Signs of life: whether database and storage take a write. They are looked at now and then, so that
//! a probe costs nothing, whoever asks, and does not hang with what it asks about.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::blobs::Blobs;
use crate::causes::chain;
use crate::clock::Clock;
use crate::db::{Db, heartbeats, moments};
use crate::http::ProbeOutcome;

/// What has not been heard of for so many rounds is not there.
const ROUNDS: u32 = 3;

/// What was last seen of one part.
pub(super) struct Vital {
    seen: Mutex<(Instant, Result<(), String>)>,
    every: Duration,
}

impl Vital {
    pub(super) fn new(every: Duration) -> Arc<Self> {
        let not_yet = (Instant::now(), Err("it was not looked at yet".to_owned()));
        Arc::new(Self { seen: Mutex::new(not_yet), every })
    }

    pub(super) fn outcome(&self) -> ProbeOutcome {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, result) = &*seen;
        let silence = at.elapsed();
        match result {
            Err(reason) => ProbeOutcome::Failed(reason.clone()),
            Ok(()) if silence > self.every * ROUNDS => {
                ProbeOutcome::Failed(format!("it has not answered for {} s", silence.as_secs()))
            }
            Ok(()) => ProbeOutcome::Ready,
        }
    }

    fn saw(&self, result: Result<(), String>) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = (Instant::now(), result);
    }

    /// Until the next look; false at the stop.
    async fn pause(&self, stop: &CancellationToken) -> bool {
        stop.run_until_cancelled(tokio::time::sleep(self.every)).await.is_some()
    }
}

/// A commit of one row, which a disk that is full or read-only does not take. A look that hangs is the
/// only one that does.
pub(super) async fn watch_database(
    vital: Arc<Vital>,
    db: Db,
    server: String,
    clock: Clock,
    stop: CancellationToken,
) {
    loop {
        let Some(beat) = stop.run_until_cancelled(db.run(heartbeats::beat(&server, clock.now()))).await
        else {
            return;
        };
        vital.saw(beat.map(drop).map_err(|error| chain(&error)));
        stop.run_until_cancelled(follow(&db, &clock)).await;
        if !vital.pause(&stop).await {
            return;
        }
    }
}

/// Those who share an index go by one clock.
async fn follow(db: &Db, clock: &Clock) {
    let asked = Instant::now();
    if let Ok(Some(now)) = moments::now(db).await {
        clock.follow(now, asked.elapsed());
    }
}

/// A file that is made and taken away; a bucket is asked for something.
pub(super) async fn watch_storage(vital: Arc<Vital>, blobs: Blobs, stop: CancellationToken) {
    loop {
        let Some(probed) = stop.run_until_cancelled(blobs.probe()).await else { return };
        vital.saw(probed.map_err(|error| error.to_string()));
        if !vital.pause(&stop).await {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_heard_of_for_too_long_has_failed() {
        let vital = Vital::new(Duration::from_millis(1));
        assert!(matches!(vital.outcome(), ProbeOutcome::Failed(_)));
        vital.saw(Ok(()));
        std::thread::sleep(Duration::from_millis(10));
        assert!(matches!(vital.outcome(), ProbeOutcome::Failed(reason) if reason.contains("not answered")));
        let patient = Vital::new(Duration::from_secs(3600));
        patient.saw(Ok(()));
        assert_eq!(patient.outcome(), ProbeOutcome::Ready);
    }

    #[tokio::test]
    async fn a_storage_that_takes_no_write_has_failed() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = Blobs::open_local(dir.path()).unwrap();
        let (vital, stop) = (Vital::new(Duration::from_secs(3600)), CancellationToken::new());
        std::fs::remove_dir_all(dir.path().join("staging")).unwrap();
        tokio::select! {
            () = watch_storage(Arc::clone(&vital), blobs, stop) => {}
            () = async { while matches!(vital.outcome(), ProbeOutcome::Failed(reason) if reason.contains("yet")) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            } } => {}
        }
        assert!(matches!(vital.outcome(), ProbeOutcome::Failed(_)));
    }
}
