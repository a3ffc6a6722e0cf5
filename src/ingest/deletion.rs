//! Out of the archive, back into it, and away for good.
//!
//! A deletion takes rows out of the index and leaves the objects. While they are kept, each can be
//! stored again through the one way in; when the retention is over, the sweep deletes those that
//! no row refers to.

use std::sync::Arc;

use tokio_util::io::StreamReader;
use tokio_util::sync::CancellationToken;

use super::sweep::SweepError;
use super::{Body, Ingest, Origin, Policy, Received, Refusal, Source};
use crate::audit::Actor;
use crate::clock::Timestamp;
use crate::config::OnDuplicate;
use crate::db::deletions::{self, Act, Deletion, Kept, Unless};
use crate::db::holds::{self, Hold};
use crate::db::{Batch, DbError, jobs};
use crate::dicom::uid::StudyUid;
use crate::ids;
use crate::jobs::Task;
use crate::query::Scope;
use crate::telemetry::metrics::deletion as metric;

#[derive(Debug, thiserror::Error)]
pub enum DeleteError {
    #[error("there is nothing to delete")]
    NothingThere,
    #[error("the study is held since {} by {}", .0.at.rfc3339(), .0.actor)]
    Held(Hold),
    #[error("the index could not be written")]
    Index(#[source] DbError),
}

#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    #[error("there is no such deletion")]
    Unknown,
    #[error("the index failed")]
    Index(#[from] DbError),
    #[error("an object could not be stored again")]
    Store(#[source] Refusal),
}

/// What became of the instances of a deletion that was taken back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Restored {
    pub restored: u64,
    /// Another object with the same UID has been stored meanwhile, the limits have changed, or the
    /// kept object cannot be read. What is refused stays kept until the sweep.
    pub refused: u64,
}

impl Ingest {
    /// Takes a study, a series or an instance out of the archive; gives the id of the deletion.
    /// What is left of a study is looked at again, as after an arrival.
    pub async fn delete(
        &self,
        scope: &Scope,
        actor: &Actor,
        reason: Option<&str>,
    ) -> Result<String, DeleteError> {
        self.delete_unless(Unless::Held, scope, actor, reason).await
    }

    /// Takes a study out whose time is over, unless something of it is under way: then there is
    /// nothing to delete yet.
    pub async fn retire(&self, study: &StudyUid, actor: &Actor, rule: &str) -> Result<String, DeleteError> {
        self.delete_unless(Unless::HeldOrBusy, &Scope::Study(study.clone()), actor, Some(rule)).await
    }

    async fn delete_unless(
        &self,
        unless: Unless,
        scope: &Scope,
        actor: &Actor,
        reason: Option<&str>,
    ) -> Result<String, DeleteError> {
        let (id, now) = (ids::row_id(), self.clock.now());
        let mut batch = deletions::delete(&Act { id: &id, scope, actor, reason, unless }, now);
        if !matches!(scope, Scope::Study(_)) {
            let task = Task::CompleteStudy { study: scope.study().clone() };
            batch.push(jobs::enqueue(&task, now.plus(self.policy.quiet_time), now));
        }
        match self.db.run(batch).await {
            Ok(_) => {
                metrics::counter!(metric::DELETIONS).increment(1);
                Ok(id)
            }
            Err(DbError::Affected { statement: deletions::INSERT_DELETION, .. }) => {
                let hold = holds::of(&self.db, scope.study()).await.map_err(DeleteError::Index)?;
                Err(hold.map_or(DeleteError::NothingThere, DeleteError::Held))
            }
            Err(error) => Err(DeleteError::Index(error)),
        }
    }

    /// Stores again what is still kept of a deletion. May be repeated.
    pub async fn restore(&self, deletion: &str, actor: &Actor) -> Result<Restored, RestoreError> {
        let deletion = deletions::one(&self.db, deletion).await?.ok_or(RestoreError::Unknown)?;
        let restoring = self.refusing_others();
        let mut outcome = Restored::default();
        let mut after = 0;
        loop {
            let page = deletions::kept(&self.db, &deletion.id, after).await?;
            let Some(last) = page.last() else { break };
            after = last.row;
            for kept in &page {
                restoring.restore_one(&deletion, kept, &mut outcome).await?;
            }
        }
        self.db.run(deletions::reveal_analyses(&deletion, actor, self.clock.now())).await?;
        Ok(outcome)
    }

    /// What came after a deletion is not replaced by taking that back, and what is kept is not let
    /// go because something else is there.
    fn refusing_others(&self) -> Self {
        let policy = Policy { on_duplicate: OnDuplicate::Reject, ..Policy::clone(&self.policy) };
        Self { policy: Arc::new(policy), ..self.clone() }
    }

    async fn restore_one(
        &self,
        deletion: &Deletion,
        kept: &Kept,
        outcome: &mut Restored,
    ) -> Result<(), RestoreError> {
        let source = Source::named(&kept.source);
        let origin = Origin::called(source, kept.source_aet.as_str());
        let reader = match self.blobs.stream(&kept.blob_key, None).await {
            Ok(content) => StreamReader::new(content),
            Err(error) => {
                outcome.refused += 1;
                tracing::error!(deletion = deletion.id, %error, "a kept object cannot be read");
                return Ok(());
            }
        };
        let received =
            Received { body: Body::Part10(reader), origin: &origin, only_study: Some(&deletion.study) };
        match self.store(received).await {
            Ok(_) => {
                outcome.restored += 1;
                self.let_go(std::slice::from_ref(kept), deletions::restored(kept)).await?;
            }
            Err(refused) if refused.refusal.is_ours() => return Err(RestoreError::Store(refused.refusal)),
            Err(refused) => {
                outcome.refused += 1;
                tracing::warn!(deletion = deletion.id, %refused, "a deleted instance was not restored");
            }
        }
        Ok(())
    }

    /// Deletes for good what was deleted before a time. May be dropped at any point: an object
    /// that has lost its last row is swept at the next start.
    pub async fn sweep_deleted(
        &self,
        before: Timestamp,
        stop: &CancellationToken,
    ) -> Result<u64, SweepError> {
        let mut swept = 0;
        while !stop.is_cancelled() {
            let page = deletions::expired(&self.db, before).await?;
            if page.is_empty() {
                break;
            }
            swept += page.len() as u64;
            self.let_go(&page, deletions::sweep(&page)).await?;
        }
        metrics::counter!(metric::SWEPT).increment(swept);
        Ok(swept)
    }

    /// First the tombstone forgets the object, then the object goes, unless a row has it.
    async fn let_go(&self, kept: &[Kept], batch: Batch) -> Result<(), DbError> {
        self.db.run(batch).await?;
        for one in kept {
            self.discard(&one.blob_key).await;
        }
        Ok(())
    }
}
