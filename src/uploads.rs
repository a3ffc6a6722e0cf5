//! Files from browsers and scripts, as forms or resumably, to objects in the archive.
//!
//! Every file goes through [`crate::ingest::Ingest`]. The name of a file is a label for the one who
//! sent it: it is never a path, and it stands in no log, metric, event or audit row.

pub mod label;
pub mod receive;
mod record;
pub mod resume;
mod shared;
pub mod sight;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

pub use record::{Counts, Recorder};

use crate::audit::Actor;
use crate::blobs::{Blobs, Keeping};
use crate::causes::chain;
use crate::clock::{Clock, Timestamp};
use crate::config;
use crate::db::uploads::{self as rows, Upload};
use crate::db::{Db, DbError};
use crate::ingest::zips::Limits;
use crate::ingest::{Ingest, Origin, Source};
use crate::jobs::{Bell, Ending, Handler, HandlerFuture, Job, Task};

/// What uploads are made of.
pub struct Parts {
    pub db: Db,
    pub blobs: Blobs,
    pub ingest: Ingest,
    pub clock: Clock,
    pub bell: Bell,
    pub settings: config::Uploads,
    /// Where the bytes of resumable uploads lie until they are objects.
    pub keeping: Keeping,
    /// Names this installation among those that receive forms.
    pub server: String,
    /// Of one object.
    pub instance_bytes_max: u64,
    /// A study is not looked at while it is being uploaded, and soon after.
    pub release_delay: Duration,
}

pub struct Uploads {
    pub parts: Parts,
    writers: resume::Writers,
    /// Forms from before are of a process that is dead.
    begun: Timestamp,
}

/// What has not been heard of for so long receives nothing any more.
const SILENT: Duration = Duration::from_secs(300);
/// What cannot be stored now is looked at again.
const AWAY: Duration = Duration::from_secs(30);

impl Uploads {
    pub fn new(parts: Parts) -> Self {
        let begun = parts.clock.now();
        Self { parts, writers: resume::Writers::default(), begun }
    }

    fn origin(id: &str, actor: &Actor) -> Origin {
        Origin { delivery: Some(delivery(id)), ..Origin::by(Source::Upload, actor.clone()) }
    }

    fn zip_limits(&self) -> Limits {
        let settings = &self.parts.settings;
        Limits {
            entries_max: settings.files_max,
            entry_bytes_max: self.parts.instance_bytes_max,
            bytes_max: settings.bytes_max,
            ratio_max: settings.zip_ratio_max,
        }
    }

    /// Until the stop: lets go of what nobody came back for, and of what nobody asks for any more.
    pub async fn sweep(&self, stop: &CancellationToken) {
        const EVERY: Duration = Duration::from_secs(600);
        if let Err(error) = self.begin().await {
            tracing::warn!(%error, "uploads of an earlier process could not be looked through");
        }
        loop {
            if let Err(error) = self.sweep_once().await {
                tracing::warn!(%error, "the sweep of uploads ended early");
            }
            if stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_none() {
                return;
            }
        }
    }

    /// Forms that a dead process was receiving come to no end any more; files of no upload go.
    async fn begin(&self) -> Result<(), DbError> {
        let abort = rows::abort_own_forms(&self.parts.server, self.begun, self.parts.clock.now());
        self.parts.db.run(abort).await?;
        for id in self.parts.blobs.spool().ids().unwrap_or_default() {
            match rows::one(&self.parts.db, &id).await? {
                Some(upload) if upload.finished_at.is_none() => self.see_to(&upload).await,
                _ => self.forget_file(&id),
            }
        }
        Ok(())
    }

    /// A file in the data folder of an upload that is under way.
    async fn see_to(&self, upload: &Upload) {
        if self.parts.keeping == Keeping::Shared
            && let Err(error) = self.adopt(upload).await
        {
            tracing::warn!(upload = upload.id, %error, "an upload of before cannot be gone on with elsewhere");
        }
    }

    /// # Errors
    /// The index failed.
    pub async fn sweep_once(&self) -> Result<(), DbError> {
        let now = self.parts.clock.now();
        self.parts.db.run(rows::abort_forms_of_the_dead(now.minus(SILENT), now)).await?;
        for id in rows::expire(&self.parts.db, now).await? {
            self.forget_bytes(&id).await;
        }
        for id in rows::left_behind(&self.parts.db).await? {
            self.forget_parts(&id).await;
        }
        let before = now.minus(self.parts.settings.retention());
        self.parts.db.run(rows::forget(before)).await.map(drop)
    }

    /// Of an upload that has come to its end.
    async fn forget_bytes(&self, id: &str) {
        match self.parts.keeping {
            Keeping::Here => self.forget_file(id),
            Keeping::Shared => self.forget_parts(id).await,
        }
    }

    /// One unlink; what stays is looked for again at the next start.
    fn forget_file(&self, id: &str) {
        if let Err(error) = self.parts.blobs.spool().remove(id) {
            tracing::warn!(upload = id, %error, "the file of an upload could not be removed");
        }
    }
}

/// Names the upload among those who deliver studies.
fn delivery(id: &str) -> String {
    format!("upload:{id}")
}

impl Handler for Uploads {
    fn run<'a>(&'a self, job: &'a Job) -> HandlerFuture<'a> {
        Box::pin(async move {
            match &job.task {
                Task::StoreUpload { upload } => match self.store(upload).await {
                    Ok(ending) => ending,
                    Err(error) if error.may_pass() => Ending::Later(AWAY, chain(&error)),
                    Err(error) => Ending::Retry(chain(&error)),
                },
                other => Ending::Fail(format!("{} is no work of an upload", other.kind().as_str())),
            }
        })
    }

    fn gave_up<'a>(&'a self, job: &'a Job, reason: &'a str) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(async move {
            if let Task::StoreUpload { upload } = &job.task {
                self.failed(upload, reason).await;
            }
        })
    }
}

/// What the answers of the API share with whoever carries uploads through.
pub type Shared = Arc<Uploads>;
