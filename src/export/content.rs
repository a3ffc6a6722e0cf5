//! Studies and findings in other forms, for people who take them out: streamed at once, or made as a
//! file by a job and fetched when it is there.
//!
//! A download belongs to whoever asked. Its row says which studies it has: what a query finds is
//! settled when it is asked. A job writes the file below the data folder beside its name and moves it
//! there when it is whole, so that a restart begins anew; where instances share their objects the file becomes
//! one of these, and any instance gives it out. After its time the sweep takes it away.

mod archive;
mod bundles;
mod findings;
mod making;
mod opened;
mod stated;
mod sweep;

use std::io::SeekFrom;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use crate::blobs::{BlobKey, Blobs, Keeping};
use crate::clock::{Clock, Timestamp};
use crate::config;
use crate::db::audit::{self, Action, Actor, Entry, ObjectKind};
use crate::db::downloads::{self, Download, New};
use crate::db::{Batch, Db, DbError, jobs};
use crate::deidentify::options::OptionsError;
use crate::deidentify::{Key, Options, Profile};
use crate::dicom::uid::StudyUid;
use crate::ids;
use crate::jobs::{Bell, Task};
use crate::media::zip::{BoxError, Content};
use crate::query::decoding::Decodes;
use crate::telemetry::limits;

pub use archive::Tally;
pub use bundles::bundle;
pub use findings::{Encoding, head, of_report};
pub use making::PART;
pub use opened::Form;

/// What a download is made as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The objects as a file-set with its DICOMDIR.
    DicomZip,
    /// The same, de-identified.
    DeidentifiedZip,
    /// Findings as a table.
    Csv,
    /// A bundle of FHIR resources for each study, one a line.
    Fhir,
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DicomZip => "dicom-zip",
            Self::DeidentifiedZip => "deidentified-zip",
            Self::Csv => "csv",
            Self::Fhir => "fhir",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        [Self::DicomZip, Self::DeidentifiedZip, Self::Csv, Self::Fhir]
            .into_iter()
            .find(|kind| kind.as_str() == name)
    }

    pub fn media_type(self) -> &'static str {
        match self {
            Self::DicomZip | Self::DeidentifiedZip => "application/zip",
            Self::Csv => "text/csv; charset=utf-8",
            Self::Fhir => "application/fhir+ndjson",
        }
    }

    /// Of the names of files.
    pub fn extension(self) -> &'static str {
        match self {
            Self::DicomZip | Self::DeidentifiedZip => "zip",
            Self::Csv => "csv",
            Self::Fhir => "ndjson",
        }
    }
}

/// How it is made, beside its kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Wishes {
    /// Of a DICOM ZIP: Explicit VR Little Endian where nothing is lost by it, as media for general
    /// purposes have it; otherwise as stored.
    pub native: bool,
    /// Of a de-identified copy: options of PS3.15 Annex E by their names, as in `retain-uids`.
    pub deidentify: Vec<String>,
    /// A project of the configuration, whose copies can be linked.
    pub project: Option<String>,
    /// Objects whose pixels or document may show who the patient is are taken along all the same.
    pub keep_burned_in: bool,
    /// Of CSV: begin with a byte order mark, as spreadsheets want it.
    pub bom: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum WishError {
    #[error("{0}")]
    Options(#[from] OptionsError),
    #[error("there is no project {0:?}")]
    Project(String),
    #[error("the key of the project cannot be read")]
    ProjectKey(#[source] std::io::Error),
    #[error("the key of the project has less than {KEY_BYTES_MIN} bytes")]
    ShortKey,
}

const KEY_BYTES_MIN: usize = 32;

#[derive(Debug, thiserror::Error)]
pub enum AskError {
    #[error(transparent)]
    Wish(#[from] WishError),
    #[error("a download has {0} studies at most")]
    TooManyStudies(usize),
    #[error("a download has {0} instances at most")]
    TooManyInstances(u64),
    #[error("there is no study {0}")]
    NoStudy(StudyUid),
    #[error("{0} downloads are kept at a time: delete one first")]
    TooManyDownloads(u64),
    #[error("the files that wait to be fetched take all the room there is for them")]
    NoRoom,
    #[error("the index failed")]
    Index(#[from] DbError),
}

/// Below the data folder.
pub const FOLDER: &str = "downloads";

/// What downloads are made of.
#[derive(Clone)]
pub struct Parts {
    pub db: Db,
    pub blobs: Blobs,
    pub clock: Clock,
    pub bell: Bell,
    pub decodes: Decodes,
    pub settings: config::Downloads,
    /// Where files wait to be fetched …
    pub keeping: Keeping,
    /// … and the folder of those that wait here.
    pub folder: PathBuf,
}

/// One for the whole server.
pub struct Downloads {
    parts: Parts,
    streams: Arc<tokio::sync::Semaphore>,
}

impl Downloads {
    pub fn new(parts: Parts) -> Self {
        let streams = Arc::new(tokio::sync::Semaphore::new(parts.settings.streams_max));
        Self { parts, streams }
    }

    /// Queues the making of a file. The batch has the audit: one entry for each study.
    pub async fn ask(
        &self,
        owner: &str,
        actor: &Actor,
        kind: Kind,
        wishes: &Wishes,
        studies: &[StudyUid],
    ) -> Result<String, AskError> {
        self.profile(kind, wishes, Key::new(ids::secret()))?;
        let instances = self.check_room(owner, studies).await?;
        let (id, now) = (ids::row_id(), self.parts.clock.now());
        let new = New {
            id: &id,
            owner,
            form: kind.as_str(),
            options: serde_json::to_vec(wishes).unwrap_or_default(),
            secret: (kind == Kind::DeidentifiedZip).then(|| ids::secret().to_vec()),
            studies,
            expires_at: now.plus(self.parts.settings.retention()),
        };
        let mut batch = downloads::create(new, instances, now);
        batch.push(jobs::enqueue(&Task::Download { download: id.clone() }, now, now));
        let batch = studies
            .iter()
            .fold(batch, |batch, study| batch.then(disclosed(actor, kind, study, Some(&id), now)));
        self.parts.db.run(batch).await?;
        self.parts.bell.ring();
        Ok(id)
    }

    /// How many instances the studies have; refused where that is too much.
    async fn check_room(&self, owner: &str, studies: &[StudyUid]) -> Result<i64, AskError> {
        let limits = &self.parts.settings;
        if studies.len() > limits.studies_max {
            limits::hit("downloads.studies_max");
            return Err(AskError::TooManyStudies(limits.studies_max));
        }
        let (mut instances, mut bytes) = (0, 0_u64);
        for study in studies {
            let size = downloads::size(&self.parts.db, study).await?;
            let (more, larger) = size.ok_or_else(|| AskError::NoStudy(study.clone()))?;
            (instances, bytes) = (instances + more, bytes.saturating_add(larger));
        }
        if instances.unsigned_abs() > limits.instances_max {
            limits::hit("downloads.instances_max");
            return Err(AskError::TooManyInstances(limits.instances_max));
        }
        let (kept, held) = downloads::held(&self.parts.db, owner).await?;
        if kept.unsigned_abs() >= limits.per_owner_max {
            limits::hit("downloads.per_owner_max");
            return Err(AskError::TooManyDownloads(limits.per_owner_max));
        }
        if held.saturating_add(bytes) > limits.bytes_max {
            limits::hit("downloads.bytes_max");
            return Err(AskError::NoRoom);
        }
        Ok(instances)
    }

    /// Studies as they are made, without a job; nothing where too many are streamed.
    pub async fn stream(
        &self,
        actor: &Actor,
        kind: Kind,
        wishes: &Wishes,
        studies: Vec<StudyUid>,
    ) -> Result<Option<Content>, AskError> {
        let form = self.form(kind, wishes, Key::new(ids::secret()))?;
        let Ok(permit) = Arc::clone(&self.streams).try_acquire_owned() else {
            limits::hit("downloads.streams_max");
            return Ok(None);
        };
        let mut audit = Batch::new();
        for study in &studies {
            let size = downloads::size(&self.parts.db, study).await?;
            size.ok_or_else(|| AskError::NoStudy(study.clone()))?;
            audit.push(disclosed(actor, kind, study, None, self.parts.clock.now()));
        }
        self.parts.db.run(audit).await?;
        let content = self.content(kind, form, wishes, studies, Tally::default());
        Ok(Some(archive::holding(content, permit)))
    }

    fn content(
        &self,
        kind: Kind,
        form: Form,
        wishes: &Wishes,
        studies: Vec<StudyUid>,
        tally: Tally,
    ) -> Content {
        match kind {
            Kind::DicomZip | Kind::DeidentifiedZip => {
                archive::of(self.parts.clone(), form, studies, wishes.keep_burned_in, tally)
            }
            Kind::Csv => findings::table(self.parts.db.clone(), studies, Encoding { bom: wishes.bom }),
            Kind::Fhir => bundles::lines(self.parts.db.clone(), studies),
        }
    }

    fn form(&self, kind: Kind, wishes: &Wishes, key: Key) -> Result<Form, WishError> {
        Ok(match self.profile(kind, wishes, key)? {
            Some(profile) => Form::Deidentified(Arc::new(profile)),
            None if wishes.native => Form::Native,
            None => Form::Stored,
        })
    }

    /// How copies are de-identified, if they are.
    fn profile(&self, kind: Kind, wishes: &Wishes, own: Key) -> Result<Option<Profile>, WishError> {
        if kind != Kind::DeidentifiedZip {
            return Ok(None);
        }
        let options = Options::named(&wishes.deidentify)?;
        let key = match &wishes.project {
            Some(name) => self.project_key(name)?,
            None => own,
        };
        Ok(Some(Profile { options, key }))
    }

    fn project_key(&self, name: &str) -> Result<Key, WishError> {
        let project = self.parts.settings.projects.iter().find(|project| project.name == name);
        let project = project.ok_or_else(|| WishError::Project(name.to_owned()))?;
        let secret = std::fs::read(&project.key_file).map_err(WishError::ProjectKey)?;
        match secret.len() {
            KEY_BYTES_MIN.. => Ok(Key::of_secret(&secret)),
            _ => Err(WishError::ShortKey),
        }
    }

    /// Some bytes of a download that is done.
    ///
    /// # Errors
    /// [`crate::blobs::is_away`] says whether they can be read later.
    pub async fn read(&self, download: &Download, bytes: Range<u64>) -> Result<Content, BoxError> {
        if let Some(key) = &download.key {
            let stream = self.parts.blobs.stream(key, Some(bytes)).await?;
            return Ok(stream.map_err(BoxError::from).boxed());
        }
        let mut file = tokio::fs::File::open(self.path(&download.id)).await?;
        file.seek(SeekFrom::Start(bytes.start)).await?;
        let stream = ReaderStream::with_capacity(file.take(bytes.end - bytes.start), READ_BYTES);
        Ok(stream.map_err(BoxError::from).boxed())
    }

    fn path(&self, id: &str) -> PathBuf {
        self.parts.folder.join(id)
    }

    pub fn studies_max(&self) -> usize {
        self.parts.settings.studies_max
    }

    /// Something of a study went out at once.
    pub async fn disclosed(&self, actor: &Actor, kind: Kind, study: &StudyUid) -> Result<(), DbError> {
        let entry = disclosed(actor, kind, study, None, self.parts.clock.now());
        self.parts.db.run(Batch::new().then(entry)).await.map(drop)
    }

    /// Fetched: one audit entry for each of its studies.
    pub async fn fetched(&self, actor: &Actor, download: &Download) -> Result<(), DbError> {
        let kind = Kind::named(&download.form).unwrap_or(Kind::DicomZip);
        let (studies, now) =
            (downloads::studies(&self.parts.db, &download.id).await?, self.parts.clock.now());
        let entries = studies.iter().map(|study| disclosed(actor, kind, study, Some(&download.id), now));
        self.parts.db.run(entries.fold(Batch::new(), Batch::then)).await.map(drop)
    }

    /// Stops what is under way and deletes what there is.
    pub async fn cancel(&self, actor: &Actor, download: &Download) -> Result<(), DbError> {
        let (id, now) = (download.id.as_str(), self.parts.clock.now());
        let entry = Entry::new(actor, Action::DeleteResource).object(ObjectKind::Download, id);
        let end = downloads::end(id, downloads::State::Cancelled, "cancelled by its owner", now);
        self.parts.db.run(Batch::new().then(end).then(audit::append(&entry, now))).await?;
        self.remove_file(download).await;
        Ok(())
    }

    /// Wherever it lies. What cannot be deleted is found again by a sweep.
    async fn remove_file(&self, download: &Download) {
        match &download.key {
            None => remove(&self.path(&download.id)).await,
            Some(key) => self.delete(key).await,
        }
    }

    async fn delete(&self, key: &BlobKey) {
        if let Err(error) = self.parts.blobs.delete(key).await {
            tracing::warn!(%error, "the file of a download could not be deleted");
        }
    }
}

const READ_BYTES: usize = 1 << 16;

/// Someone gets to have patient data.
fn disclosed(
    actor: &Actor,
    kind: Kind,
    study: &StudyUid,
    download: Option<&str>,
    now: Timestamp,
) -> crate::db::Statement {
    let action = match kind {
        Kind::DeidentifiedZip => Action::DeIdentifyStudy,
        _ => Action::ExportStudy,
    };
    let entry = Entry { detail: Some(kind.as_str()), ..Entry::new(actor, action).study(study) };
    audit::append(&download.map_or(entry, |id| entry.object(ObjectKind::Download, id)), now)
}

/// A file that cannot be deleted is found again by the sweep.
async fn remove(path: &Path) {
    if let Err(error) = tokio::fs::remove_file(path).await
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(%error, "the file of a download could not be deleted");
    }
}
