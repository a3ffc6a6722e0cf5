//! The only writer of instances: every way in ends in [`Ingest::store`].
//!
//! An object is streamed to a staging file while it is hashed, its header is parsed, its bytes
//! are made durable under their final key, and one batch writes every row about it. Only then
//! does `store` return: what it acknowledges survives a power cut.

mod backfill;
pub mod build;
mod deletion;
mod groups;
pub mod layout;
mod outcome;
mod placing;
mod prepare;
mod refusal;
mod relay;
mod rows;
pub mod sniff;
mod stored;
mod sweep;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
pub mod zips;

use std::borrow::Cow;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::runtime::Handle;
use tokio::sync::{RwLock, Semaphore, oneshot};
use tracing::field::Empty;
use tracing::{Instrument, Span};

use crate::audit::Actor;
use crate::auth::Reach;
use crate::blobs::{Blobs, Buffer};
use crate::clock::Clock;
use crate::config::{OnDuplicate, Preamble};
use crate::db::Db;
use crate::db::instances::InstanceRow;
use crate::dicom::header;
use crate::dicom::uid::{SeriesUid, SopClassUid, SopInstanceUid, StudyUid, TransferSyntaxUid};

pub use backfill::backfill;
pub use deletion::{DeleteError, RestoreError, Restored};
pub use groups::Assignment;
pub use outcome::{Outcome, Refused, Stored, Warning};
pub use refusal::Refusal;
pub use stored::NotIndexed;
pub use sweep::{SweepError, Swept};

use build::MadeFrom;
use outcome::{count, stopped_unexpectedly};
use placing::Digests;
use prepare::{Head, Intake, Prepared};
use relay::Relay;

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
    /// A data set that was put together here.
    Built { reader: R, command: StoreCommand, made_from: MadeFrom },
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
    /// Who brings them, where more is known than the above.
    pub actor: Option<Arc<Actor>>,
}

impl Origin {
    pub fn of(source: Source) -> Self {
        Self { source, calling_aet: String::new(), delivery: None, actor: None }
    }

    /// From an application entity that names itself so.
    pub fn called(source: Source, calling_aet: impl Into<String>) -> Self {
        Self { calling_aet: calling_aet.into(), ..Self::of(source) }
    }

    /// Brought by somebody who is known.
    pub fn by(source: Source, actor: Actor) -> Self {
        Self { actor: Some(Arc::new(actor)), ..Self::of(source) }
    }

    /// Who the audit trail names.
    pub fn actor(&self) -> Cow<'_, Actor> {
        match &self.actor {
            Some(actor) => Cow::Borrowed(actor),
            None => Cow::Owned(match self.calling_aet.as_str() {
                "" => Actor::program(self.source.as_str()),
                aet => Actor::node(aet, None),
            }),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    Dimse,
    Stow,
    Import,
    Upload,
    Analysis,
}

impl Source {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dimse => "dimse",
            Self::Stow => "stow",
            Self::Import => "import",
            Self::Upload => "upload",
            Self::Analysis => "analysis",
        }
    }

    /// What the index says; a source that is unknown by now is an import.
    fn named(name: &str) -> Self {
        let all = [Self::Dimse, Self::Stow, Self::Upload, Self::Analysis];
        all.into_iter().find(|source| source.as_str() == name).unwrap_or(Self::Import)
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

/// What is accepted, and how much of it.
#[derive(Debug, Clone)]
pub struct Policy {
    pub instance_bytes_max: u64,
    pub header: header::Limits,
    /// SOP classes beside the standard storage classes; `*` is any.
    pub sop_classes_extra: Vec<String>,
    pub on_duplicate: OnDuplicate,
    pub preamble: Preamble,
    /// Native pixels of one GIF or PNG.
    pub picture_bytes_max: u64,
    /// Complete objects being parsed and placed at the same time.
    pub concurrency: usize,
    /// How long after an instance its study is looked at again.
    pub quiet_time: std::time::Duration,
}

/// Messages whose objects are put together from metadata at the same time.
const BUILDING_MAX: usize = 2;

/// Cheap to clone: one for every listener.
#[derive(Clone)]
pub struct Ingest {
    db: Db,
    blobs: Blobs,
    clock: Clock,
    policy: Arc<Policy>,
    assignment: Arc<Assignment>,
    /// Of who brings the objects.
    reach: Reach,
    permits: Arc<Semaphore>,
    /// Building holds parsed metadata, and may hold a decoded picture.
    building: Arc<Semaphore>,
    /// Read while an object is between its bytes and its row; the sweep writes.
    placing: Arc<RwLock<()>>,
}

impl Ingest {
    pub fn new(db: Db, blobs: Blobs, clock: Clock, policy: Policy) -> Self {
        let permits = Arc::new(Semaphore::new(policy.concurrency.max(1)));
        let building = Arc::new(Semaphore::new(BUILDING_MAX));
        Self {
            db,
            blobs,
            clock,
            policy: Arc::new(policy),
            assignment: Arc::default(),
            reach: Reach::Everything,
            permits,
            building,
            placing: Arc::default(),
        }
    }

    /// With rules about the owner groups of new studies.
    pub fn assigning(self, assignment: Assignment) -> Self {
        Self { assignment: Arc::new(assignment), ..self }
    }

    /// For objects that somebody brings: they go into no study that he cannot see, and new studies
    /// come to his groups where the configuration says so.
    pub fn within(&self, reach: &Reach) -> Self {
        Self { reach: reach.clone(), ..self.clone() }
    }

    /// How much of a header is accepted.
    pub fn header_limits(&self) -> header::Limits {
        self.policy.header
    }

    /// Stores one object. When this returns `Ok` the object and its rows survive a power cut;
    /// when it returns `Err` nothing of it remains.
    ///
    /// A refusal may come before the body has been read to its end.
    pub async fn store<R>(&self, received: Received<'_, R>) -> Result<Stored, Refused>
    where
        R: AsyncRead + Unpin + Send,
    {
        self.receive(received).await?.outcome().await
    }

    /// Stores a document that was made here, under UIDs that are its own: what an earlier attempt,
    /// of an earlier version perhaps, has stored under them stands.
    pub async fn store_result(&self, file: &[u8]) -> Result<(), Refused> {
        let origin = Origin::of(Source::Analysis);
        let received = Received { body: Body::Part10(file), origin: &origin, only_study: None };
        match self.store(received).await {
            Ok(_) | Err(Refused { refusal: Refusal::Conflict | Refusal::Held, .. }) => Ok(()),
            Err(refused) => Err(refused),
        }
    }

    /// Reads one object to its end and leaves it to be placed, so that the next one can be read
    /// meanwhile. Nothing is acknowledged before [`Placing::outcome`].
    pub async fn receive<R>(&self, received: Received<'_, R>) -> Result<Placing, Refused>
    where
        R: AsyncRead + Unpin + Send,
    {
        let origin = received.origin.clone();
        let span = tracing::info_span!("store", source = origin.source.as_str(), instance = Empty);
        let begun = self.begin(received, origin.clone()).instrument(span).await;
        if let Err(refused) = &begun {
            count(origin.source, Err(refused));
        }
        begun
    }

    /// What follows the last byte is taken to its end whether or not the sender still waits: cut
    /// off between bytes and row, it would leave bytes without a row, or the sweep would make it a
    /// row without bytes.
    async fn begin<R>(&self, received: Received<'_, R>, origin: Origin) -> Result<Placing, Refused>
    where
        R: AsyncRead + Unpin + Send,
    {
        let (relay, rest) = self.spool(received).await?;
        // Not earlier: a peer that stalls within its object must not hold what others need.
        let Ok(permit) = Arc::clone(&self.permits).acquire_owned().await else {
            return Err(refused(relay, Refusal::Stopping).await);
        };
        let (ingest, here, span) = (self.clone(), Handle::current(), Span::current());
        let placed = relay.end(move |intake| {
            let (_permit, _within) = (permit, span.entered());
            here.block_on(ingest.finish_counted(intake, &rest, &origin))
        });
        Ok(Placing(placed))
    }

    /// Writes and hashes off the async threads; the next buffer is read meanwhile. The rest is left
    /// to whoever finishes the object.
    async fn spool<R>(&self, received: Received<'_, R>) -> Result<(Relay, Buffer), Refused>
    where
        R: AsyncRead + Unpin + Send,
    {
        let (mut reader, head) = match received.body {
            Body::Part10(reader) => (reader, Head::InFile(None)),
            Body::DataSet { reader, command } => (reader, Head::Command(command)),
            Body::Built { reader, command, made_from } => (reader, Head::Built(command, made_from)),
        };
        let only_study = received.only_study.cloned();
        let intake = Intake::new(self.blobs.clone(), Arc::clone(&self.policy), head, only_study);
        let relay = Relay::new(match received.origin.source {
            Source::Analysis => intake.into_reserve(),
            _ => intake,
        });
        loop {
            match filled(self.blobs.buffer(), &mut reader).await {
                Ok(buffer) if buffer.is_full() => relay.write(buffer).await?,
                Ok(rest) => return Ok((relay, rest)),
                Err(error) => return Err(refused(relay, Refusal::Interrupted(error)).await),
            }
        }
    }

    async fn finish_counted(
        self,
        intake: Result<Intake, Refused>,
        rest: &Buffer,
        origin: &Origin,
    ) -> Result<Stored, Refused> {
        let outcome = match intake {
            Ok(intake) => self.finish(intake, rest, origin).await,
            Err(refused) => Err(refused),
        };
        count(origin.source, outcome.as_ref());
        outcome
    }

    /// Blocks its thread.
    async fn finish(&self, intake: Intake, rest: &Buffer, origin: &Origin) -> Result<Stored, Refused> {
        let (prepared, mut row) = described(intake, rest, origin)?;
        row.blob_key = self.blobs.place_for(row.blob_key);
        row.owners = self.assignment.owners(&prepared, origin, &self.reach);
        row.reach = self.reach.clone();
        let identity = prepared.identity.clone();
        Span::current().record("instance", identity.sop_instance.as_str());
        let coerced = prepared.made_from.as_ref().is_some_and(|made_from| made_from.coerced);
        let outcome = self.place_or_discard(prepared, &row).await;
        let outcome = outcome.map_err(|refusal| Refused::about(&identity, refusal))?;
        Ok(Stored { instance: identity, outcome, coerced })
    }
}

/// An object that has been received and is on its way to its row.
pub struct Placing(oneshot::Receiver<Result<Stored, Refused>>);

impl Placing {
    /// Returns when the object and its rows survive a power cut, or why it is not kept. The object
    /// is placed whether or not anybody waits.
    pub async fn outcome(self) -> Result<Stored, Refused> {
        self.0.await.unwrap_or_else(|_| Err(stopped_unexpectedly()))
    }
}

/// Blocking.
fn described(intake: Intake, rest: &Buffer, origin: &Origin) -> Result<(Prepared, InstanceRow), Refused> {
    let prepared = intake.write(rest.as_ref())?.finish()?;
    let row = rows::instance(&prepared, origin);
    let row = row.map_err(|refusal| Refused::about(&prepared.identity, refusal))?;
    Ok((prepared, row))
}

/// About the object as far as it is known, unless it is refused for what came before.
async fn refused(relay: Relay, refusal: Refusal) -> Refused {
    let told = relay.end(|intake| Ok(intake?.head.refused(refusal)));
    told.await.unwrap_or_else(|_| Err(stopped_unexpectedly())).unwrap_or_else(|earlier| earlier)
}

/// The next bytes of the body; the buffer is not full at its end.
async fn filled<R: AsyncRead + Unpin>(mut buffer: Buffer, reader: &mut R) -> std::io::Result<Buffer> {
    while !buffer.is_full() {
        let read = reader.read(buffer.room(u64::MAX)).await?;
        if read == 0 {
            break;
        }
        buffer.fill(read);
    }
    Ok(buffer)
}
