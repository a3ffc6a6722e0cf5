//! When a study is complete: quiet for long enough, and nobody delivering it.
//!
//! All of it is in the index: instances share one truth about when the last object of any series
//! arrived and which associations are open.

use std::time::Duration;

use super::Bell;
use crate::clock::Clock;
use crate::db::{Db, DbError, jobs};
use crate::dicom::uid::StudyUid;

/// How long completeness waits for what.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Since the last instance of any series.
    pub quiet_time: Duration,
    /// Since the end of an association that delivered some of the study.
    pub release_delay: Duration,
    /// A silent association holds its studies open no longer than this.
    pub delivery_timeout: Duration,
}

/// Told when an association that stored something has ended.
#[derive(Clone)]
pub struct Deliveries {
    pub db: Db,
    pub clock: Clock,
    pub bell: Bell,
    pub patience: Patience,
}

impl Deliveries {
    pub async fn association_ended(&self, delivery: &str) -> Result<(), DbError> {
        let run_after = self.clock.now().plus(self.patience.release_delay);
        self.db.run(jobs::end_delivery(delivery, run_after)).await?;
        self.bell.ring();
        Ok(())
    }

    /// How many associations are still delivering the study.
    pub async fn open(&self, study: &StudyUid) -> Result<i64, DbError> {
        let since = self.clock.now().minus(self.patience.delivery_timeout);
        jobs::open_deliveries(&self.db, study, since).await
    }
}
