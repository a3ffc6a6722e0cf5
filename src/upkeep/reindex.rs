//! A new index of the stored objects alone, for an archive whose database is lost.

use std::io;
use std::sync::Arc;

use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, future, stream};

use crate::audit::{Action, Actor, Entry, Outcome};
use crate::blobs::{BlobError, BlobKey, Blobs, Holds, Listed};
use crate::causes::chain;
use crate::clock::{Clock, Timestamp};
use crate::db::{Batch, Db, DbError, audit, instances};
use crate::ingest::{Ingest, NotIndexed, Origin, Source};

/// Studies that are indexed at the same time, so that they share the commits.
const LANES: usize = 8;
/// Nothing else is using the folder: every object is meant.
const ALL: Timestamp = Timestamp(i64::MAX);

/// What no object says, and what is therefore not in an index that is made of objects.
pub const NOT_IN_OBJECTS: &str = "accounts, keys and sessions; owner groups, other than by the rules of the configuration; \
     analyses, findings and the versions of reports that have no signed SR; holds, deletions and what they kept \
     apart (kept objects are instances again); queues and what was sent to destinations; uploads; the change \
     feed, events and the audit trail";

#[derive(Debug, thiserror::Error)]
pub enum ReindexError {
    #[error(transparent)]
    Objects(#[from] BlobError),
    #[error("the index cannot be written")]
    Index(#[from] DbError),
    /// It says nothing about the object: what was done so far is there, and the next run goes on.
    #[error("{key} could not be indexed: {reason}")]
    Stopped { key: BlobKey, reason: String },
    #[error("{key} cannot be set aside")]
    SetAside { key: BlobKey, source: io::Error },
}

/// What is told while it goes on.
pub enum Told<'a> {
    Indexed {
        bytes: u64,
    },
    /// It was taken out of the way of the sweep.
    SetAside {
        key: &'a BlobKey,
        to: String,
        reason: String,
    },
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    pub indexed: u64,
    pub bytes: u64,
    /// By a run that was broken off.
    pub already: u64,
    pub set_aside: u64,
}

pub struct Reindex {
    pub db: Db,
    pub blobs: Blobs,
    pub ingest: Arc<Ingest>,
    pub clock: Clock,
    pub actor: Actor,
}

/// What became of one object.
enum Became {
    Indexed,
    Already,
    Not(NotIndexed),
}

impl Reindex {
    pub async fn run(&self, mut tell: impl FnMut(Told<'_>)) -> Result<Counts, ReindexError> {
        self.note(Outcome::Begun, None).await?;
        let mut counts = Counts::default();
        // Files of uploads and downloads are over without their rows: the sweep takes them.
        let objects = self.blobs.listed_before(ALL);
        let instances = objects.try_filter(|object| future::ready(object.key.holds() == Holds::Instance));
        let studies = of_one_folder(instances.boxed());
        let mut studies = studies.map_ok(|study| self.index_all(study)).try_buffer_unordered(LANES);
        while let Some(study) = studies.try_next().await? {
            for (object, became) in study {
                self.count(&object, became, &mut counts, &mut tell).await?;
            }
        }
        let detail = format!("{} indexed, {} set aside", counts.indexed, counts.set_aside);
        let outcome = if counts.set_aside == 0 { Outcome::Success } else { Outcome::MinorFailure };
        self.note(outcome, Some(&detail)).await?;
        Ok(counts)
    }

    /// In the order in which they came: the first of a study says what the study is.
    async fn index_all(&self, mut objects: Vec<Listed>) -> Result<Vec<(Listed, Became)>, ReindexError> {
        objects.sort_by(|a, b| (a.written, a.key.as_str()).cmp(&(b.written, b.key.as_str())));
        let origin = Origin::by(Source::Import, self.actor.clone());
        let mut done = Vec::with_capacity(objects.len());
        for object in objects {
            let became = self.index(&object, &origin).await?;
            done.push((object, became));
        }
        Ok(done)
    }

    async fn index(&self, object: &Listed, origin: &Origin) -> Result<Became, ReindexError> {
        if instances::is_referenced(&self.db, &object.key).await? {
            return Ok(Became::Already);
        }
        match self.ingest.index_stored(object, origin).await {
            Ok(_) => Ok(Became::Indexed),
            Err(error) if error.is_passing() => {
                Err(ReindexError::Stopped { key: object.key.clone(), reason: chain(&error) })
            }
            Err(error) => Ok(Became::Not(error)),
        }
    }

    async fn count(
        &self,
        object: &Listed,
        became: Became,
        counts: &mut Counts,
        tell: &mut impl FnMut(Told<'_>),
    ) -> Result<(), ReindexError> {
        match became {
            Became::Already => counts.already += 1,
            Became::Indexed => {
                counts.indexed += 1;
                counts.bytes += object.size_bytes;
                tell(Told::Indexed { bytes: object.size_bytes });
            }
            Became::Not(error) => {
                let key = &object.key;
                let to = self.blobs.set_aside(key).await;
                let to = to.map_err(|source| ReindexError::SetAside { key: key.clone(), source })?;
                counts.set_aside += 1;
                tell(Told::SetAside { key, to, reason: chain(&error) });
            }
        }
        Ok(())
    }

    async fn note(&self, outcome: Outcome, detail: Option<&str>) -> Result<(), DbError> {
        let entry = Entry::new(&self.actor, Action::ReindexArchive).outcome(outcome);
        let append = audit::append(&Entry { detail, ..entry }, self.clock.now());
        self.db.run(Batch::new().then(append)).await.map(drop)
    }
}

/// The objects of each study, which lie in one folder and are listed one after the other.
fn of_one_folder(
    objects: BoxStream<'static, Result<Listed, BlobError>>,
) -> BoxStream<'static, Result<Vec<Listed>, ReindexError>> {
    let objects = objects.map_err(ReindexError::Objects).peekable();
    let studies = stream::try_unfold(Box::pin(objects), |mut objects| async move {
        let Some(first) = objects.try_next().await? else { return Ok(None) };
        let folder = folder(&first.key).to_owned();
        let mut study = vec![first];
        let is_same = |next: &Result<Listed, ReindexError>| {
            next.as_ref().is_ok_and(|next| self::folder(&next.key) == folder)
        };
        while let Some(next) = objects.as_mut().next_if(&is_same).await {
            study.push(next?);
        }
        Ok(Some((study, objects)))
    });
    studies.boxed()
}

fn folder(key: &BlobKey) -> &str {
    key.as_str().rsplit_once('/').map_or("", |(folder, _)| folder)
}

#[cfg(test)]
mod tests;
