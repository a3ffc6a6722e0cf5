//! An archive without its index, while a new one is made of its objects.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::archive::INDEX;
use super::lock::DataDirLock;
use super::{AppError, settings};
use crate::blobs::Blobs;
use crate::clock::Clock;
use crate::config::Config;
use crate::db::{Db, SqliteSettings};
use crate::ingest::{Assignment, Ingest};

/// The index while it grows: no server takes it for one, and a later run goes on with it.
const GROWING: &str = "index.reindex";

pub struct Rebuild {
    pub db: Db,
    pub blobs: Blobs,
    pub ingest: Arc<Ingest>,
    data_dir: PathBuf,
    _lock: DataDirLock,
}

impl Rebuild {
    /// # Errors
    /// There is an index: it would not be replaced by one that knows less.
    pub fn open(config: &Config, clock: Clock) -> Result<Self, AppError> {
        let data_dir = config.server.data_dir.clone();
        let lock = DataDirLock::take(&data_dir)?;
        if data_dir.join(INDEX).exists() {
            return Err(AppError::IndexThere { path: data_dir.join(INDEX) });
        }
        let settings = SqliteSettings { readers: config.index.readers, group_max: config.index.group_max };
        let db = Db::open_sqlite(&data_dir.join(GROWING), settings)?;
        let blobs = Blobs::open(&data_dir, &config.storage)?;
        if !blobs.is_in_folder() || config.database.is_shared() {
            return Err(AppError::InBucket { url: config.storage.url().to_owned() });
        }
        let ingest = Ingest::new(db.clone(), blobs.clone(), clock, settings::ingest(config));
        let ingest = Arc::new(ingest.assigning(Assignment::new(&config.auth)));
        Ok(Self { db, blobs, ingest, data_dir, _lock: lock })
    }

    /// The new index takes its name when it is whole and synced.
    pub async fn finish(self) -> Result<(), AppError> {
        let whole = self.data_dir.join("index.whole");
        let failed = |source| AppError::DataDir { path: self.data_dir.clone(), source };
        remove(&whole).map_err(failed)?;
        self.db.copy_to(&whole).await?;
        fs::rename(&whole, self.data_dir.join(INDEX)).map_err(failed)?;
        fs::File::open(&self.data_dir).and_then(|folder| folder.sync_all()).map_err(failed)?;
        for rest in ["", "-wal", "-shm"] {
            remove(&self.data_dir.join(format!("{GROWING}{rest}"))).map_err(failed)?;
        }
        Ok(())
    }
}

fn remove(path: &Path) -> std::io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
