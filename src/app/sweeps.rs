//! What is done now and then beside the requests, until the stop.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::blobs::Room;
use crate::clock::{Clock, Timestamp};
use crate::config::{self, Deletion};
use crate::db::{Db, events, rate_limits};
use crate::ingest::Ingest;
use crate::telemetry::metrics::sweep as metric;

/// A sweep that fails has lost nothing: the next start sweeps again.
pub(super) async fn sweep(ingest: &Ingest, before: Timestamp, stop: &CancellationToken) {
    match ingest.sweep(before, stop).await {
        Ok(swept) => {
            metrics::counter!(metric::DELETED).increment(swept.deleted);
            metrics::counter!(metric::DELETED_BYTES).increment(swept.deleted_bytes);
            tracing::info!(
                examined = swept.examined,
                deleted = swept.deleted,
                bytes = swept.deleted_bytes,
                "objects without a row were swept"
            );
        }
        Err(error) => tracing::warn!(%error, "the sweep for objects without a row ended early"),
    }
}

/// Now and then, until the stop: what cannot be swept today is swept tomorrow.
pub(super) async fn sweep_deleted(
    ingest: &Ingest,
    settings: &Deletion,
    clock: &Clock,
    stop: &CancellationToken,
) {
    loop {
        let before = clock.now().minus(settings.retention());
        match ingest.sweep_deleted(before, stop).await {
            Ok(0) => {}
            Ok(instances) => tracing::info!(instances, "deleted instances are gone for good"),
            Err(error) => tracing::warn!(%error, "the sweep of what was deleted ended early"),
        }
        if stop.run_until_cancelled(tokio::time::sleep(settings.sweep_every())).await.is_none() {
            return;
        }
    }
}

/// Until the stop, every hour: events that nobody is told again, and buckets of requests that are full.
pub(super) async fn sweep_events(
    db: &Db,
    settings: &config::Events,
    clock: &Clock,
    stop: &CancellationToken,
) {
    const EVERY: Duration = Duration::from_secs(3600);
    loop {
        if let Err(error) = events::forget(db, clock.now().minus(settings.retention())).await {
            tracing::warn!(%error, "old events could not be let go of");
        }
        if let Err(error) = db.run(rate_limits::forget(clock.now())).await {
            tracing::warn!(%error, "limits of requests could not be let go of");
        }
        if stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_none() {
            return;
        }
    }
}

/// A disk that fills up while nothing comes in is told of, too.
pub(super) async fn watch(room: &Room, stop: &CancellationToken) {
    const EVERY: Duration = Duration::from_secs(5);
    loop {
        room.look();
        if stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_none() {
            return;
        }
    }
}
