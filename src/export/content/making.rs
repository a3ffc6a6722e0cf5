//! The job: the file of a download, written beside its name and moved there when it is whole, or put among the
//! objects that instances share.

use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use futures::stream::TryStreamExt;
use tokio::fs::{self, File};
use tokio::io::AsyncWriteExt;
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::{Downloads, Kind, Tally, WishError, Wishes, remove};
use crate::blobs::{BlobKey, Keeping};
use crate::causes::chain;
use crate::clock::Timestamp;
use crate::db::downloads::{self, Download, Made, State};
use crate::db::events::{self, Event, EventKind};
use crate::db::{Batch, DbError, Statement};
use crate::deidentify::Key;
use crate::jobs::{Ending, Handler, HandlerFuture, Job, Task};
use crate::media::zip::BoxError;

/// The row says how far it is this often, and the job looks whether it is still wanted.
const TELL_EVERY: Duration = Duration::from_millis(500);

#[derive(Debug, thiserror::Error)]
enum MakeError {
    #[error("the index failed")]
    Index(#[from] DbError),
    #[error("it cannot be made as it was asked for")]
    Wish(#[from] WishError),
    #[error("what was asked for cannot be read")]
    Options(#[from] serde_json::Error),
    #[error("the form {0:?} is not known")]
    Kind(String),
    #[error("the file cannot be written")]
    Write(#[from] io::Error),
    #[error("the content broke off")]
    Content(#[source] BoxError),
    #[error("there is no room for more than {0} bytes")]
    NoRoom(u64),
    #[error("writing the file ended early")]
    Stopped(#[from] tokio::task::JoinError),
    /// Nobody wants it any more.
    #[error("it was cancelled")]
    Cancelled,
}

impl MakeError {
    fn is_retryable(&self) -> bool {
        matches!(self, Self::Index(_) | Self::Write(_) | Self::Content(_) | Self::Stopped(_))
    }
}

impl Handler for Downloads {
    fn run<'a>(&'a self, job: &'a Job) -> HandlerFuture<'a> {
        Box::pin(async move {
            let Task::Download { download } = &job.task else {
                return Ending::Fail("this is no download".to_owned());
            };
            match self.make(download).await {
                Ok(reason) => Ending::Done(reason.to_owned()),
                Err(MakeError::Cancelled) => Ending::Done("cancelled".to_owned()),
                Err(error) if error.is_retryable() => Ending::Retry(chain(&error)),
                Err(error) => Ending::Fail(chain(&error)),
            }
        })
    }

    fn gave_up<'a>(&'a self, job: &'a Job, reason: &'a str) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(async move {
            let Task::Download { download } = &job.task else { return };
            let now = self.parts.clock.now();
            let end = downloads::end(download, State::Failed, reason, now);
            if let Err(error) = self.parts.db.run(Batch::new().then(end)).await {
                tracing::error!(%error, download, "the end of a download could not be recorded");
            }
            remove(&self.part(download)).await;
        })
    }
}

impl Downloads {
    async fn make(&self, id: &str) -> Result<&'static str, MakeError> {
        let Some(download) = downloads::one(&self.parts.db, id).await? else { return Ok("it is gone") };
        let now = self.parts.clock.now();
        let told = progressed(&download, &serde_json::json!({ "state": "running" }), now);
        self.guarded(downloads::start(id, now), told).await?;
        let made = match self.parts.keeping {
            Keeping::Here => self.make_here(&download).await?,
            Keeping::Shared => self.make_shared(&download).await?,
        };
        let key = made.key.clone();
        let now = self.parts.clock.now();
        let told = progressed(&download, &serde_json::json!({ "state": "done" }), now);
        let finished = self.guarded(downloads::finish(id, made, now), told).await;
        // Whether the index knows of it is known only where nobody wants it any more.
        match (&finished, key) {
            (Err(MakeError::Cancelled), Some(key)) => self.delete(&key).await,
            (Err(_), None) => remove(&self.path(id)).await,
            _ => {}
        }
        finished.map(|()| "made")
    }

    /// Beside its name in the data folder first.
    async fn make_here(&self, download: &Download) -> Result<Made, MakeError> {
        fs::create_dir_all(&self.parts.folder).await?;
        let part = self.part(&download.id);
        let made = match File::create(&part).await {
            Ok(file) => self.write(download, file).await,
            Err(error) => Err(error.into()),
        };
        if made.is_err() {
            remove(&part).await;
        }
        let made = made?;
        fs::rename(part, self.path(&download.id)).await?;
        Ok(made)
    }

    /// On its way to the objects first.
    async fn make_shared(&self, download: &Download) -> Result<Made, MakeError> {
        let blobs = self.parts.blobs.clone();
        let staged = spawn_blocking(move || blobs.stage()).await??;
        let made = self.write(download, File::from_std(staged.file.try_clone()?)).await?;
        let key = BlobKey::of_download(&download.id);
        let (blobs, kept, here) = (self.parts.blobs.clone(), key.clone(), Handle::current());
        let keeping = spawn_blocking(move || here.block_on(blobs.keep(staged, &kept))).await?;
        if keeping.is_err() {
            self.delete(&key).await;
        }
        keeping?;
        Ok(Made { key: Some(key), ..made })
    }

    /// Fails when the download is not under way any more.
    async fn guarded(&self, change: Statement, told: Statement) -> Result<(), MakeError> {
        match self.parts.db.run(Batch::new().then_exactly(1, change).then(told)).await {
            Ok(_) => Ok(()),
            Err(DbError::Affected { .. }) => Err(MakeError::Cancelled),
            Err(error) => Err(error.into()),
        }
    }

    async fn write(&self, download: &Download, mut file: File) -> Result<Made, MakeError> {
        let kind = Kind::named(&download.form).ok_or_else(|| MakeError::Kind(download.form.clone()))?;
        let wishes: Wishes = serde_json::from_slice(&download.options)?;
        let key = Key::of_secret(download.secret.as_deref().unwrap_or_default());
        let form = self.form(kind, &wishes, key)?;
        let studies = downloads::studies(&self.parts.db, &download.id).await?;
        let (_, held) = downloads::held(&self.parts.db, &download.owner).await?;
        let room = self.parts.settings.bytes_max.saturating_sub(held);
        let tally = Tally::default();
        let mut content = self.content(kind, form, &wishes, studies, tally.clone());
        let (mut bytes, mut told) = (0_u64, Instant::now());
        while let Some(chunk) = content.try_next().await.map_err(MakeError::Content)? {
            file.write_all(&chunk).await?;
            bytes += chunk.len() as u64;
            if bytes > room {
                return Err(MakeError::NoRoom(room));
            }
            if told.elapsed() >= TELL_EVERY {
                self.tell(download, tally.instances() as i64, bytes).await?;
                told = Instant::now();
            }
        }
        file.flush().await?;
        file.sync_all().await?;
        Ok(Made {
            instances: tally.instances() as i64,
            bytes,
            left_out: serde_json::to_vec(&tally.left_out())?,
            left_out_count: tally.left_out_count() as i64,
            expires_at: self.parts.clock.now().plus(self.parts.settings.retention()),
            key: None,
        })
    }

    /// How far it is, in its row and to those who watch.
    async fn tell(&self, download: &Download, instances: i64, bytes: u64) -> Result<(), MakeError> {
        let now = self.parts.clock.now();
        let detail = serde_json::json!({
            "state": "running", "instances_done": instances, "instances_total": download.instances_total });
        let told = progressed(download, &detail, now);
        self.guarded(downloads::progress(&download.id, instances, bytes, now), told).await
    }

    /// A file that is not whole yet.
    pub(super) fn part(&self, id: &str) -> PathBuf {
        self.parts.folder.join(format!("{id}{PART}"))
    }
}

/// For its owner alone.
fn progressed(download: &Download, detail: &serde_json::Value, now: Timestamp) -> Statement {
    let event = Event {
        kind: EventKind::ExportProgress,
        study: None,
        subject: Some(&download.id),
        owner: Some(&download.owner),
        detail: Some(detail),
    };
    events::append(&event, now)
}

/// How the name of a file ends that is being made.
pub const PART: &str = ".part";
