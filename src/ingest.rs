//! The only writer of instances: every way in ends in [`Ingest::store`].
//!
//! An object is streamed to a staging file while it is hashed, its header is parsed, its bytes
//! are made durable under their final key, and one batch writes every row about it. Only then
//! does `store` return: what it acknowledges survives a power cut.

pub mod layout;
mod prepare;
mod refusal;
mod rows;
mod sweep;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::{RwLock, Semaphore};

use crate::blobs::{BlobKey, Blobs};
use crate::clock::Clock;
use crate::db::{Db, DbError, instances, jobs};
use crate::dicom::header;
use crate::dicom::uid::{SeriesUid, SopClassUid, SopInstanceUid, StudyUid, TransferSyntaxUid};
use crate::telemetry::metrics::ingest as metric;

pub use refusal::Refusal;
pub use sweep::{SweepError, Swept};

use prepare::{Intake, Prepared};

/// An object on its way in.
pub struct Received<'a, R> {
    pub body: Body<R>,
    pub origin: &'a Origin,
    /// The study that the request names (`POST /studies/{study}`): others are refused.
    pub only_study: Option<&'a StudyUid>,
}

pub enum Body<R> {
    /// A whole PS3.10 file, kept byte for byte.
    Part10(R),
    /// A bare data set as C-STORE brings it; we write the file meta in front.
    DataSet { reader: R, command: StoreCommand },
}

/// What a C-STORE-RQ and its presentation context say about the data set that follows.
#[derive(Debug, Clone)]
pub struct StoreCommand {
    pub sop_class: SopClassUid,
    pub sop_instance: SopInstanceUid,
    pub transfer_syntax: TransferSyntaxUid,
}

/// Where objects come from; one per association, request or import run.
#[derive(Debug, Clone)]
pub struct Origin {
    pub source: Source,
    /// Calling AE title, empty for the rest.
    pub calling_aet: String,
    /// Identifies the association while it delivers, see `jobs::completeness`.
    pub delivery: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    Dimse,
    Stow,
    Import,
    Analysis,
}

impl Source {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dimse => "dimse",
            Self::Stow => "stow",
            Self::Import => "import",
            Self::Analysis => "analysis",
        }
    }
}

/// Which instance an outcome is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceIdentity {
    pub study: StudyUid,
    pub series: SeriesUid,
    pub sop_instance: SopInstanceUid,
    pub sop_class: SopClassUid,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub instance: InstanceIdentity,
    pub outcome: Outcome,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    New,
    /// The same data set was here already.
    SameAgain,
}

/// A refusal, with as much of the identity as could be read.
#[derive(Debug, thiserror::Error)]
#[error("{refusal}")]
pub struct Refused {
    #[source]
    pub refusal: Refusal,
    pub sop_class: Option<SopClassUid>,
    pub sop_instance: Option<SopInstanceUid>,
}

impl Refused {
    fn about(identity: &InstanceIdentity, refusal: Refusal) -> Self {
        Self {
            refusal,
            sop_class: Some(identity.sop_class.clone()),
            sop_instance: Some(identity.sop_instance.clone()),
        }
    }

    fn anonymous(refusal: Refusal) -> Self {
        Self { refusal, sop_class: None, sop_instance: None }
    }
}

/// What is accepted, and how much of it.
#[derive(Debug, Clone)]
pub struct Policy {
    pub instance_bytes_max: u64,
    pub header: header::Limits,
    /// SOP classes beside the standard storage classes; `*` is any.
    pub sop_classes_extra: Vec<String>,
    /// Complete objects being parsed and placed at the same time.
    pub concurrency: usize,
    /// How long after an instance its study is looked at again.
    pub quiet_time: std::time::Duration,
}

/// Bytes of a body that are written at once; two such chunks are held per object.
const CHUNK_BYTES: usize = 256 * 1024;

/// Cheap to clone: one for every listener.
#[derive(Clone)]
pub struct Ingest {
    db: Db,
    blobs: Blobs,
    clock: Clock,
    policy: Arc<Policy>,
    permits: Arc<Semaphore>,
    /// Read while an object is between its bytes and its row; the sweep writes.
    placing: Arc<RwLock<()>>,
}

impl Ingest {
    pub fn new(db: Db, blobs: Blobs, clock: Clock, policy: Policy) -> Self {
        let permits = Arc::new(Semaphore::new(policy.concurrency.max(1)));
        Self { db, blobs, clock, policy: Arc::new(policy), permits, placing: Arc::default() }
    }

    /// Stores one object. When this returns `Ok` the object and its rows survive a power cut;
    /// when it returns `Err` nothing of it remains.
    ///
    /// A refusal may come before the body has been read to its end.
    pub async fn store<R>(&self, received: Received<'_, R>) -> Result<Stored, Refused>
    where
        R: AsyncRead + Unpin + Send,
    {
        let source = received.origin.source.as_str();
        let outcome = self.store_uncounted(received).await;
        let word = match &outcome {
            Ok(stored) if stored.outcome == Outcome::New => "new",
            Ok(_) => "same",
            Err(refused) => {
                metrics::counter!(metric::REFUSALS, "reason" => refused.refusal.name()).increment(1);
                "refused"
            }
        };
        metrics::counter!(metric::OBJECTS, "source" => source, "outcome" => word).increment(1);
        outcome
    }

    async fn store_uncounted<R>(&self, received: Received<'_, R>) -> Result<Stored, Refused>
    where
        R: AsyncRead + Unpin + Send,
    {
        let origin = received.origin.clone();
        let intake = self.receive(received).await?;
        let placed = tokio::spawn(self.clone().finish(intake, origin)).await;
        placed.unwrap_or_else(|_| Err(stopped_unexpectedly()))
    }

    /// Writes and hashes off the async threads; the next chunk is read meanwhile.
    async fn receive<R>(&self, received: Received<'_, R>) -> Result<Intake, Refused>
    where
        R: AsyncRead + Unpin + Send,
    {
        let (mut reader, command) = match received.body {
            Body::Part10(reader) => (reader, None),
            Body::DataSet { reader, command } => (reader, Some(command)),
        };
        let interrupted = Intake::new(self.blobs.clone(), Arc::clone(&self.policy), command.clone(), None);
        let interrupted = |error| interrupted.refused(Refusal::Interrupted(error));
        let only_study = received.only_study.cloned();
        let mut intake = Intake::new(self.blobs.clone(), Arc::clone(&self.policy), command, only_study);
        let mut chunk = read_chunk(&mut reader).await.map_err(&interrupted)?;
        while chunk.len() == CHUNK_BYTES {
            let write = off_thread(move || intake.write(&chunk));
            let (written, next) = tokio::join!(write, read_chunk(&mut reader));
            intake = written?;
            chunk = next.map_err(&interrupted)?;
        }
        off_thread(move || intake.write(&chunk)).await
    }

    /// Takes a received object to its end whether or not its sender still waits: cut off between
    /// bytes and row, it would leave bytes without a row, or the sweep would make it a row
    /// without bytes.
    async fn finish(self, intake: Intake, origin: Origin) -> Result<Stored, Refused> {
        // Not earlier: a peer that stalls within its object must not hold what others need.
        let permit = self.permits.acquire().await;
        let _permit = permit.map_err(|_| intake.refused(Refusal::Stopping))?;
        let prepared = off_thread(move || intake.finish()).await?;
        let identity = prepared.identity.clone();
        let outcome = self.place_or_discard(prepared, &origin).await;
        let outcome = outcome.map_err(|refusal| Refused::about(&identity, refusal))?;
        Ok(Stored { instance: identity, outcome })
    }

    async fn place_or_discard(&self, prepared: Prepared, origin: &Origin) -> Result<Outcome, Refusal> {
        if let Some(outcome) = self.known(&prepared).await? {
            return outcome;
        }
        let identity = &prepared.identity;
        let key = BlobKey::new(&identity.study, &identity.sop_instance, &prepared.sha256);
        let placing = self.placing.read().await;
        let outcome = self.place(prepared, &key, origin).await;
        drop(placing);
        match &outcome {
            Ok(Outcome::New) => {}
            // The row may be found after a crash all the same: its bytes are left to the sweep.
            Err(Refusal::Index(DbError::Commit(_) | DbError::Closed)) => {}
            _ => self.discard(&key).await,
        }
        outcome
    }

    async fn place(&self, prepared: Prepared, key: &BlobKey, origin: &Origin) -> Result<Outcome, Refusal> {
        let row = rows::instance(&prepared, key, origin)?;
        let dataset_sha256 = prepared.dataset_sha256;
        self.keep(prepared, key.clone()).await?;
        let now = self.clock.now();
        let batch = jobs::and_notice_arrival(instances::insert(&row, now), &row, self.policy.quiet_time, now);
        match self.db.run(batch).await {
            Ok(_) => Ok(Outcome::New),
            Err(DbError::Unique { .. }) => self.lost_race(&row.identity.sop_instance, &dataset_sha256).await,
            Err(error) => Err(index_refusal(error)),
        }
    }

    /// The outcome for an object whose UID is in the index already.
    async fn known(&self, prepared: &Prepared) -> Result<Option<Result<Outcome, Refusal>>, Refusal> {
        let known = instances::known(&self.db, &prepared.identity.sop_instance).await;
        let known = known.map_err(Refusal::Index)?;
        Ok(known.map(|known| same_or_conflict(&known.dataset_sha256, &prepared.dataset_sha256)))
    }

    async fn keep(&self, prepared: Prepared, key: BlobKey) -> Result<(), Refusal> {
        let blobs = self.blobs.clone();
        let kept = tokio::task::spawn_blocking(move || blobs.keep(prepared.staged, &key)).await;
        match kept {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(prepare::write_refusal(error)),
            Err(panic) => Err(Refusal::Storage(std::io::Error::other(panic))),
        }
    }

    /// Another writer stored the same UID between our look and our insert.
    async fn lost_race(&self, instance: &SopInstanceUid, digest: &[u8]) -> Result<Outcome, Refusal> {
        let known = instances::known(&self.db, instance).await.map_err(Refusal::Index)?;
        same_or_conflict(&known.ok_or(Refusal::Conflict)?.dataset_sha256, digest)
    }

    /// Deletes bytes that came to no row, unless another writer of the very same file has made
    /// one for them; what cannot be deleted now is swept at the next start.
    async fn discard(&self, key: &BlobKey) {
        if let Err(error) = self.delete_orphan(key).await {
            tracing::warn!(%key, %error, "an unreferenced object stays until the sweep");
        }
    }
}

/// The words of a panic may quote a value: they stay out of the answer.
fn stopped_unexpectedly() -> Refused {
    Refused::anonymous(Refusal::Unparsable("the parser stopped unexpectedly".to_owned()))
}

fn same_or_conflict(known: &[u8], arrived: &[u8]) -> Result<Outcome, Refusal> {
    match known == arrived {
        true => Ok(Outcome::SameAgain),
        false => Err(Refusal::Conflict),
    }
}

fn index_refusal(error: DbError) -> Refusal {
    match error {
        DbError::Affected { statement: instances::INSERT_INSTANCE, .. } => Refusal::SeriesOfAnotherStudy,
        DbError::Full => Refusal::OutOfSpace(std::io::Error::new(std::io::ErrorKind::StorageFull, error)),
        error => Refusal::Index(error),
    }
}

/// The next bytes of the body; fewer than [`CHUNK_BYTES`] at its end.
async fn read_chunk<R: AsyncRead + Unpin>(reader: &mut R) -> std::io::Result<bytes::Bytes> {
    let mut buffer = bytes::BytesMut::with_capacity(CHUNK_BYTES);
    while buffer.len() < CHUNK_BYTES {
        let room = CHUNK_BYTES - buffer.len();
        if reader.take(room as u64).read_buf(&mut buffer).await? == 0 {
            break;
        }
    }
    Ok(buffer.freeze())
}

async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refused> + Send + 'static,
) -> Result<T, Refused> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| Err(stopped_unexpectedly()))
}
