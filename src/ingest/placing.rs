//! Bytes under their key, then rows: the last steps of an object, beside others with the same UID.

use super::prepare::{self, Prepared};
use super::{Ingest, Outcome, Refusal};
use crate::auth::Reach;
use crate::blobs::BlobKey;
use crate::config::OnDuplicate;
use crate::db::instances::{InstanceRow, KnownInstance};
use crate::db::{DbError, groups, holds, instances, jobs};
use crate::dicom::uid::SopInstanceUid;

/// How often an object is tried again that another writer of its UID was faster than.
const OVERTAKEN_MAX: usize = 8;

impl Ingest {
    /// Blocks its thread.
    pub(super) async fn place_or_discard(
        &self,
        prepared: Prepared,
        row: &InstanceRow,
    ) -> Result<Outcome, Refusal> {
        let digests = prepared.digests();
        let step = self.step(&prepared.identity.sop_instance, &digests).await?;
        if let Step::Settled(outcome) = step {
            return Ok(outcome);
        }
        let key = &row.blob_key;
        let placing = self.placing.read().await;
        let placed = self.place(prepared, row, step).await;
        drop(placing);
        match placed {
            Ok(Placed::Inserted) => Ok(Outcome::New),
            Ok(Placed::Replaced(old)) => {
                self.discard(&old).await;
                Ok(Outcome::Replaced)
            }
            Ok(Placed::Settled(outcome)) => {
                self.discard(key).await;
                Ok(outcome)
            }
            // The row may be found after a crash all the same: its bytes are left to the sweep. So is
            // what a bucket took before it went away.
            Err(refusal @ (Refusal::Index(DbError::Commit(_) | DbError::Closed) | Refusal::StoreAway(_))) => {
                Err(refusal)
            }
            Err(refusal) => {
                self.discard(key).await;
                Err(refusal)
            }
        }
    }

    /// Bytes, then rows; looks again when another writer of the same UID was faster.
    async fn place(&self, prepared: Prepared, row: &InstanceRow, mut step: Step) -> Result<Placed, Refusal> {
        let digests = prepared.digests();
        self.blobs.keep(prepared.staged, &row.blob_key).await.map_err(prepare::write_refusal)?;
        for _ in 0..OVERTAKEN_MAX {
            let now = self.clock.now();
            let (batch, placed) = match step {
                Step::Settled(outcome) => return Ok(Placed::Settled(outcome)),
                Step::Insert => (instances::insert(row, now), Placed::Inserted),
                Step::Replace(known) => {
                    (instances::replace(row, &known, now), Placed::Replaced(known.blob_key))
                }
            };
            let batch = jobs::and_notice_arrival(batch, row, self.policy.quiet_time, now);
            match self.db.run_here(batch).await {
                Ok(_) => return Ok(placed),
                Err(error) if is_overtaken(&error) => {}
                Err(error) => return Err(index_refusal(error, &self.reach)),
            }
            step = self.step(&row.identity.sop_instance, &digests).await?;
        }
        Err(Refusal::Conflict)
    }

    /// What is to be done with an object, by what the index holds under its UID.
    async fn step(&self, instance: &SopInstanceUid, digests: &Digests) -> Result<Step, Refusal> {
        let known = instances::known(&self.db, instance).await.map_err(Refusal::Index)?;
        if let Some(known) = &known {
            self.require_reach(known).await?;
        }
        match (known, self.policy.on_duplicate) {
            (None, _) => Ok(Step::Insert),
            (Some(known), _) if digests.are_of(&known) => Ok(Step::Settled(Outcome::SameAgain)),
            (Some(_), OnDuplicate::KeepFirst) => Ok(Step::Settled(Outcome::KeptFirst)),
            (Some(known), OnDuplicate::Replace) => self.replacement(known).await,
            (Some(_), OnDuplicate::Reject) => Err(Refusal::Conflict),
        }
    }

    /// Asked before the bytes are kept; the batch asks again.
    async fn replacement(&self, known: KnownInstance) -> Result<Step, Refusal> {
        match holds::of(&self.db, &known.study).await.map_err(Refusal::Index)? {
            None => Ok(Step::Replace(known)),
            Some(_) => Err(Refusal::Held),
        }
    }

    /// What is known of an object that the sender cannot see is neither told nor replaced.
    async fn require_reach(&self, known: &KnownInstance) -> Result<(), Refusal> {
        let sees = groups::sees(&self.db, &self.reach, &known.study).await.map_err(Refusal::Index)?;
        if sees { Ok(()) } else { Err(Refusal::OutOfReach) }
    }

    /// Deletes bytes that came to no row, unless another writer of the very same file has made
    /// one for them; what cannot be deleted now is swept at the next start.
    pub(super) async fn discard(&self, key: &BlobKey) {
        if let Err(error) = self.delete_orphan(key).await {
            tracing::warn!(%key, %error, "an unreferenced object stays until the sweep");
        }
    }
}

/// What tells whether an object is the same again.
pub(super) struct Digests {
    pub(super) dataset: [u8; 32],
    /// Of what was received, where the stored object was made from it.
    pub(super) received: Option<[u8; 32]>,
}

impl Digests {
    fn are_of(&self, known: &KnownInstance) -> bool {
        let received = self.received.as_ref().map(<[u8; 32]>::as_slice);
        known.dataset_sha256 == self.dataset
            || received.is_some_and(|digest| known.received_sha256.as_deref() == Some(digest))
    }
}

/// What an object still needs to be in the index.
enum Step {
    Insert,
    Replace(KnownInstance),
    Settled(Outcome),
}

enum Placed {
    Inserted,
    /// The bytes under this key have lost their row.
    Replaced(BlobKey),
    Settled(Outcome),
}

/// Whether another writer of the same UID changed what the batch was made for.
fn is_overtaken(error: &DbError) -> bool {
    matches!(error, DbError::Unique { .. } | DbError::Affected { statement: instances::REMOVE_REPLACED, .. })
}

/// To whom a group bounds what he sees, a study that he cannot see is not told of.
pub(super) fn index_refusal(error: DbError, reach: &Reach) -> Refusal {
    match error {
        DbError::Affected { statement: holds::REQUIRE_FREE, .. } => Refusal::Held,
        DbError::Affected { statement: groups::REQUIRE_REACH, .. } => Refusal::OutOfReach,
        DbError::Affected { statement: instances::INSERT_INSTANCE, .. } if !reach.has_every_study() => {
            Refusal::OutOfReach
        }
        DbError::Affected { statement: instances::INSERT_INSTANCE, .. } => Refusal::SeriesOfAnotherStudy,
        DbError::Affected { statement: instances::REQUIRE_STUDY, .. } => Refusal::StudyGone,
        DbError::Full => Refusal::OutOfSpace(std::io::Error::new(std::io::ErrorKind::StorageFull, error)),
        error => Refusal::Index(error),
    }
}
