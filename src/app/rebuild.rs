//! An archive without its index, while a new one is made of its objects.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::archive::{INDEX, require_separable};
use super::lock::DataDirLock;
use super::{AppError, PairingError, settings};
use crate::blobs::Blobs;
use crate::clock::Clock;
use crate::config::Config;
use crate::db::migration::{self, Migration};
use crate::db::{Db, SqliteSettings, tables, transfer};
use crate::ids;
use crate::ingest::{Assignment, Ingest};

/// The index while it grows: no server takes it for one, and a later run goes on with it.
const GROWING: &str = "index.reindex";
/// How an index comes into being that is made of its objects.
const ROUTE: &str = "it is made anew of its objects";

pub struct Rebuild {
    pub db: Db,
    pub blobs: Blobs,
    pub ingest: Arc<Ingest>,
    /// The archive whose objects these are.
    archive: String,
    data_dir: PathBuf,
    _lock: DataDirLock,
}

impl Rebuild {
    /// # Errors
    /// There is an index: it would not be replaced by one that knows less.
    pub fn open(config: &Config, clock: Clock) -> Result<Self, AppError> {
        let data_dir = config.server.data_dir.clone();
        let lock = DataDirLock::take(&data_dir)?;
        let db = index(config)?;
        let blobs = Blobs::open(&data_dir, &config.storage)?;
        require_separable(config, &db, &blobs)?;
        let archive = futures::executor::block_on(begin(&db, &blobs, &clock))?;
        let ingest = Ingest::new(db.clone(), blobs.clone(), clock, settings::ingest(config));
        let ingest = Arc::new(ingest.assigning(Assignment::new(&config.auth)));
        Ok(Self { db, blobs, ingest, archive, data_dir, _lock: lock })
    }

    /// The new index takes its name when it is whole and synced.
    pub async fn finish(self) -> Result<(), AppError> {
        self.db.run(migration::finish(&self.archive)).await?;
        if self.db.is_shared() {
            return Ok(());
        }
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

fn index(config: &Config) -> Result<Db, AppError> {
    if config.database.is_shared() {
        return Ok(Db::open_postgres(settings::postgres(config))?);
    }
    let data_dir = &config.server.data_dir;
    if data_dir.join(INDEX).exists() {
        return Err(AppError::IndexThere { place: data_dir.join(INDEX).display().to_string() });
    }
    let settings = SqliteSettings { readers: config.index.readers, group_max: config.index.group_max };
    Ok(Db::open_sqlite(&data_dir.join(GROWING), settings)?)
}

/// The index gets the name of the archive in the end: until then no server takes the objects for its own.
async fn begin(db: &Db, blobs: &Blobs, clock: &Clock) -> Result<String, AppError> {
    blobs.begin().await?;
    let archive = blobs.claim(&ids::row_id()).await?;
    match migration::unfinished(db).await? {
        Some(growing) if growing.route == ROUTE && growing.archive == archive => return Ok(archive),
        Some(other) => return Err(PairingError::Unfinished { route: other.route }.into()),
        None => {}
    }
    for table in tables::tables(db).await?.iter().filter(|_| db.is_shared()) {
        if !transfer::is_empty(db, table).await? {
            return Err(AppError::IndexThere { place: "the index in PostgreSQL (database.url)".to_owned() });
        }
    }
    let (becomes, route) = (archive.clone(), ROUTE.to_owned());
    let growing = Migration { archive: archive.clone(), becomes, route, head: Vec::new() };
    db.run(migration::begin(&growing, clock.now())).await?;
    Ok(archive)
}

fn remove(path: &Path) -> std::io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
