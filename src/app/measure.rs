//! What is looked at now and then for the metrics: this process, and what waits.

use std::time::Duration;

use metrics::gauge;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, Timestamp};
use crate::db::jobs::listing::{self, Line};
use crate::db::{Db, DbError};
use crate::jobs::JobKind;
use crate::telemetry::metrics::jobs as metric;
use crate::telemetry::process;

const STATES: [&str; 3] = ["queued", "leased", "dead"];

pub(super) struct Measuring {
    pub(super) db: Db,
    pub(super) clock: Clock,
    pub(super) handle: PrometheusHandle,
    pub(super) every: Duration,
}

impl Measuring {
    /// Until the stop. What cannot be told now is told the next time.
    pub(super) async fn run(self, stop: &CancellationToken) {
        loop {
            // Histograms hold what they are given until then.
            self.handle.run_upkeep();
            process::measure();
            if let Err(error) = self.jobs().await {
                tracing::warn!(%error, "the queues could not be measured");
            }
            if stop.run_until_cancelled(tokio::time::sleep(self.every)).await.is_none() {
                return;
            }
        }
    }

    async fn jobs(&self) -> Result<(), DbError> {
        let lines = listing::lines(&self.db).await?;
        let now = self.clock.now();
        JobKind::ALL.into_iter().for_each(|kind| show(kind.as_str(), &lines, now));
        Ok(())
    }
}

fn show(kind: &'static str, lines: &[Line], now: Timestamp) {
    let of = |state: &str| lines.iter().find(|line| line.kind == kind && line.state == state);
    for state in STATES {
        let length = of(state).map_or(0, |line| line.length);
        gauge!(metric::JOBS, "kind" => kind, "state" => state).set(length as f64);
    }
    let waited = of("queued").map_or(Duration::ZERO, |line| now.since(line.due_since));
    gauge!(metric::OLDEST, "kind" => kind).set(waited.as_secs_f64());
}
