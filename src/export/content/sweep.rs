//! Files whose time is over, and files that no download has.

use std::io;

use tokio_util::sync::CancellationToken;

use super::making::PART;
use super::{Downloads, remove};
use crate::db::downloads::{self, State};
use crate::db::{Batch, DbError};

#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    #[error("the index failed")]
    Index(#[from] DbError),
    #[error("the folder of downloads cannot be read")]
    Folder(#[from] io::Error),
}

impl Downloads {
    /// Now and then, until the stop.
    pub async fn sweep_until(&self, stop: &CancellationToken) {
        loop {
            if let Err(error) = self.sweep().await {
                tracing::warn!(%error, "the sweep of downloads ended early");
            }
            let pause = tokio::time::sleep(self.parts.settings.sweep_every());
            if stop.run_until_cancelled(pause).await.is_none() {
                return;
            }
        }
    }

    pub async fn sweep(&self) -> Result<(), SweepError> {
        let now = self.parts.clock.now();
        for download in downloads::overdue(&self.parts.db, now).await? {
            let end = downloads::end(&download.id, State::Expired, "its time was over", now);
            self.parts.db.run(Batch::new().then(end)).await?;
            self.remove_file(&download).await;
        }
        self.sweep_files().await
    }

    async fn sweep_files(&self) -> Result<(), SweepError> {
        let mut files = match tokio::fs::read_dir(&self.parts.folder).await {
            Ok(files) => files,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        while let Some(file) = files.next_entry().await? {
            let name = file.file_name().to_string_lossy().into_owned();
            let id = name.strip_suffix(PART).unwrap_or(&name);
            let state = downloads::one(&self.parts.db, id).await?.map(|download| download.state);
            let is_wanted = matches!(state, Some(State::Queued | State::Running | State::Done));
            if !is_wanted {
                remove(&file.path()).await;
            }
        }
        Ok(())
    }
}
