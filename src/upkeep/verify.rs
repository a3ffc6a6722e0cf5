//! Every object read again and held against its row, and every object looked for in the index.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};

use super::repair::Replica;
use crate::audit::{Action, Actor, Entry, ObjectKind, Outcome};
use crate::blobs::{BlobError, BlobKey, Blobs, Listed};
use crate::causes::chain;
use crate::clock::Clock;
use crate::db::integrity::{Held, Range, held, recorded};
use crate::db::{Batch, Db, DbError, audit, instances};
use crate::dicom::uid::{SopInstanceUid, StudyUid};
use crate::query::integrity::{Harm, Integrity, Verdict};

/// The row of a younger object may be on its way.
const YOUNG: Duration = Duration::from_secs(60);

#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    #[error("the index cannot be read")]
    Index(#[from] DbError),
    #[error(transparent)]
    Objects(#[from] BlobError),
    #[error("the repair did not come to its end")]
    Stopped(#[from] tokio::task::JoinError),
}

/// What is needed for a look at everything.
pub struct Verify {
    pub db: Db,
    pub blobs: Blobs,
    pub clock: Clock,
    pub integrity: Integrity,
    /// Objects that are read at the same time.
    pub lanes: usize,
    pub replica: Option<Replica>,
    pub actor: Actor,
}

/// An instance that is not as it was stored.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Flaw {
    pub study: StudyUid,
    pub sop_instance: SopInstanceUid,
    pub key: String,
    pub cause: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    Damaged(Harm, Flaw),
    /// It was damaged, and the replica had its bytes.
    Repaired(Harm, Flaw),
    /// Nothing could be said about it.
    NotRead(Flaw),
    /// An object that nothing refers to.
    WithoutRow {
        key: BlobKey,
        size_bytes: u64,
    },
}

/// What is told while it goes on.
pub enum Told<'a> {
    Found(&'a Finding),
    /// An object was read.
    Read {
        bytes: u64,
    },
    /// Everything up to this row was looked at.
    Reached {
        row: i64,
    },
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    pub checked: u64,
    pub bytes: u64,
    pub damaged: u64,
    pub repaired: u64,
    pub not_read: u64,
    pub without_row: u64,
    pub without_row_bytes: u64,
}

impl Counts {
    fn add(&mut self, finding: &Finding) {
        match finding {
            Finding::Damaged(..) => self.damaged += 1,
            Finding::Repaired(..) => self.repaired += 1,
            Finding::NotRead(_) => self.not_read += 1,
            Finding::WithoutRow { size_bytes, .. } => {
                self.without_row += 1;
                self.without_row_bytes += size_bytes;
            }
        }
    }

    pub fn is_whole(&self) -> bool {
        self.damaged + self.not_read == 0
    }
}

impl Verify {
    /// Looks at the instances of a range behind the row `after`; of everything, at the objects too.
    pub async fn run(
        &self,
        range: &Range,
        after: i64,
        mut tell: impl FnMut(Told<'_>),
    ) -> Result<Counts, VerifyError> {
        self.note(Outcome::Begun, None).await?;
        let mut counts = Counts::default();
        self.objects_of_rows(range, after, &mut counts, &mut tell).await?;
        if range.is_everything() {
            self.objects_without_row(&mut counts, &mut tell).await?;
        }
        let outcome = if counts.is_whole() { Outcome::Success } else { Outcome::Error };
        let Counts { checked, damaged, repaired, .. } = counts;
        let detail = format!("{checked} checked, {damaged} damaged, {repaired} repaired");
        self.note(outcome, Some(&detail)).await?;
        Ok(counts)
    }

    async fn objects_of_rows(
        &self,
        range: &Range,
        mut after: i64,
        counts: &mut Counts,
        tell: &mut impl FnMut(Told<'_>),
    ) -> Result<(), VerifyError> {
        loop {
            let page = held(&self.db, range, after).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.row;
            let looks = page.iter().map(async |held| Ok::<_, VerifyError>((held, self.look(held).await?)));
            let mut looks = stream::iter(looks).buffered(self.lanes.max(1));
            while let Some((held, finding)) = looks.try_next().await? {
                let bytes = held.recorded.size_bytes;
                counts.checked += 1;
                counts.bytes += bytes;
                tell(Told::Read { bytes });
                if let Some(finding) = finding {
                    counts.add(&finding);
                    tell(Told::Found(&finding));
                }
            }
            tell(Told::Reached { row: after });
        }
    }

    async fn look(&self, held: &Held) -> Result<Option<Finding>, VerifyError> {
        let flaw = |study: StudyUid, cause: String| Flaw {
            study,
            sop_instance: held.sop_instance.clone(),
            key: held.recorded.blob_key.to_string(),
            cause,
        };
        match self.integrity.check_recorded(&held.sop_instance, held.recorded.clone()).await? {
            Verdict::Intact | Verdict::NotStored | Verdict::OtherClass => Ok(None),
            Verdict::NotRead { cause } => {
                Ok(Some(Finding::NotRead(flaw(held.recorded.study.clone(), cause))))
            }
            Verdict::Damaged { study, harm, cause } => self.damaged(harm, flaw(study, cause)).await.map(Some),
        }
    }

    /// Nothing worse can be said of an archive: it is told before anything is done about it.
    async fn damaged(&self, harm: Harm, mut flaw: Flaw) -> Result<Finding, VerifyError> {
        self.note_of(Action::VerifyInstance, Outcome::Error, &flaw).await?;
        match self.repaired(&flaw).await? {
            None => Ok(Finding::Damaged(harm, flaw)),
            Some(Ok(())) => {
                self.note_of(Action::RepairInstance, Outcome::Success, &flaw).await?;
                Ok(Finding::Repaired(harm, flaw))
            }
            Some(Err(reason)) => {
                flaw.cause = format!("{}; {reason}", flaw.cause);
                self.note_of(Action::RepairInstance, Outcome::Error, &flaw).await?;
                Ok(Finding::Damaged(harm, flaw))
            }
        }
    }

    /// `None` where there is nothing to repair it from.
    async fn repaired(&self, flaw: &Flaw) -> Result<Option<Result<(), String>>, VerifyError> {
        let Some(replica) = self.replica.clone() else { return Ok(None) };
        let Some(recorded) = recorded(&self.db, &flaw.sop_instance).await? else { return Ok(None) };
        let blobs = self.blobs.clone();
        let repair = move || replica.repair(&blobs, &recorded).map_err(|error| chain(&error));
        Ok(Some(tokio::task::spawn_blocking(repair).await?))
    }

    async fn objects_without_row(
        &self,
        counts: &mut Counts,
        tell: &mut impl FnMut(Told<'_>),
    ) -> Result<(), VerifyError> {
        let mut objects = self.blobs.listed_before(self.clock.now().minus(YOUNG));
        while let Some(Listed { key, size_bytes, .. }) = objects.try_next().await? {
            if !instances::is_referenced(&self.db, &key).await? {
                let finding = Finding::WithoutRow { key, size_bytes };
                counts.add(&finding);
                tell(Told::Found(&finding));
            }
        }
        Ok(())
    }

    async fn note(&self, outcome: Outcome, detail: Option<&str>) -> Result<(), DbError> {
        let entry = Entry { detail, ..Entry::new(&self.actor, Action::VerifyArchive).outcome(outcome) };
        self.append(&entry).await
    }

    async fn note_of(&self, action: Action, outcome: Outcome, flaw: &Flaw) -> Result<(), DbError> {
        let entry = Entry::new(&self.actor, action).study(&flaw.study).outcome(outcome);
        let entry = entry.object(ObjectKind::Instance, flaw.sop_instance.as_str()).detail(&flaw.cause);
        self.append(&entry).await
    }

    async fn append(&self, entry: &Entry<'_>) -> Result<(), DbError> {
        self.db.run(Batch::new().then(audit::append(entry, self.clock.now()))).await.map(drop)
    }
}

#[cfg(test)]
mod tests;
