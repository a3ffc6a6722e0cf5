//! What keeps studies, without listeners and without a model: all that an import needs.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use super::lock::DataDirLock;
use super::{AppError, settings};
use crate::blobs::Blobs;
use crate::clock::Clock;
use crate::config::Config;
use crate::db::{Db, SqliteSettings, jobs, migration, moments};
use crate::ingest::{self, Assignment, Ingest};

pub(super) const INDEX: &str = "index.sqlite";
pub(super) const SERIAL_NUMBER: &str = "serial-number";

/// Why an index and objects are not taken for an archive.
#[derive(Debug, thiserror::Error)]
pub enum PairingError {
    #[error(
        "the objects at {place} are those of the archive {theirs}, and the index is that of the archive {ours}: \
         with another index they would be swept; correct database.url, server.data_dir or storage.url"
    )]
    OtherArchive { place: String, theirs: String, ours: String },
    #[error("the index is not whole yet ({route}): run radiant migrate, or radiant reindex, again")]
    Unfinished { route: String },
    #[error(
        "the index is shared (database.url) and the objects lie in a folder, which several instances cannot use \
         together: name a bucket in storage.url, or say database.one_instance = true"
    )]
    SharedIndexOfFolder,
}

pub struct Archive {
    /// Rows about everything.
    pub db: Db,
    /// The bytes of instances.
    pub blobs: Blobs,
    /// The only writer of instances.
    pub ingest: Arc<Ingest>,
    pub clock: Clock,
    /// Device Serial Number of this installation, made with the data folder.
    pub serial_number: String,
    /// Keeps other processes away from the data folder.
    _lock: DataDirLock,
}

impl Archive {
    /// Opens or creates the data folder. Blocking.
    pub fn open(config: &Config, clock: Clock) -> Result<Self, AppError> {
        let data_dir = &config.server.data_dir;
        let lock = DataDirLock::take(data_dir)?;
        let db = open_index(config)?;
        let clock = futures::executor::block_on(moments::clock(&db, clock))?;
        let blobs = Blobs::open(data_dir, &config.storage)?.marked(settings::marks(config));
        require_separable(config, &db, &blobs)?;
        futures::executor::block_on(async {
            blobs.begin().await?;
            require_all(&db).await?;
            require_own(config, &db, &blobs).await
        })?;
        // The lock says that no other process is left to hold a lease or to receive a study. What an
        // instance held that shared its index is free when its time is over.
        if !db.is_shared() {
            futures::executor::block_on(db.run(jobs::forget_earlier_process(clock.now())))?;
        }
        let filled = futures::executor::block_on(ingest::backfill(&db))?;
        if filled > 0 {
            tracing::info!(rows = filled, "the index was brought up to date");
        }
        let policy = settings::ingest(config);
        let ingest = Ingest::new(db.clone(), blobs.clone(), clock.clone(), policy);
        let ingest = Arc::new(ingest.assigning(Assignment::new(&config.auth)));
        let serial_number = serial_number(data_dir)?;
        Ok(Self { db, blobs, ingest, clock, serial_number, _lock: lock })
    }
}

/// Several instances have an index together, and each other's objects.
pub(super) fn require_separable(config: &Config, db: &Db, blobs: &Blobs) -> Result<(), PairingError> {
    match db.is_shared() && blobs.is_in_folder() && !config.database.one_instance {
        true => Err(PairingError::SharedIndexOfFolder),
        false => Ok(()),
    }
}

/// Not while an archive is on its way into the index.
async fn require_all(db: &Db) -> Result<(), AppError> {
    match migration::unfinished(db).await? {
        // its rows are here: only objects are on their way elsewhere
        Some(unfinished) if unfinished.archive != migration::identity(db).await? => {
            Err(PairingError::Unfinished { route: unfinished.route }.into())
        }
        _ => Ok(()),
    }
}

/// The objects are those of this index; an archive from before either had a name gets one.
async fn require_own(config: &Config, db: &Db, blobs: &Blobs) -> Result<(), AppError> {
    let ours = migration::identity(db).await?;
    let theirs = blobs.claim(&ours).await?;
    Ok(require_same(config, ours, theirs)?)
}

pub(super) fn require_same(config: &Config, ours: String, theirs: String) -> Result<(), PairingError> {
    match ours == theirs {
        true => Ok(()),
        false => Err(PairingError::OtherArchive { place: place(config), theirs, ours }),
    }
}

/// Where the objects lie, for people.
pub(super) fn place(config: &Config) -> String {
    match config.storage.url() {
        "" => config.server.data_dir.display().to_string(),
        url => url.to_owned(),
    }
}

/// The index alone, which more than one process may have open.
pub fn open_index(config: &Config) -> Result<Db, AppError> {
    match config.database.is_shared() {
        true => Ok(Db::open_postgres(settings::postgres(config))?),
        false => open_index_in_folder(config),
    }
}

fn open_index_in_folder(config: &Config) -> Result<Db, AppError> {
    let data_dir = &config.server.data_dir;
    let failed = |source| AppError::DataDir { path: data_dir.clone(), source };
    fs::create_dir_all(data_dir).map_err(failed)?;
    let settings = SqliteSettings { readers: config.index.readers, group_max: config.index.group_max };
    Ok(Db::open_sqlite(&data_dir.join(INDEX), settings)?)
}

/// What a data folder holds beside index and objects and cannot be made again.
pub fn data_files(config: &Config) -> Vec<PathBuf> {
    let data_dir = &config.server.data_dir;
    vec![data_dir.join(SERIAL_NUMBER), config.audit.heads_file(data_dir)]
}

/// Read from the folder, or made when the folder is new.
fn serial_number(data_dir: &Path) -> Result<String, AppError> {
    let path = data_dir.join(SERIAL_NUMBER);
    let failed = |source| AppError::DataDir { path: path.clone(), source };
    match fs::read_to_string(&path) {
        Ok(known) => Ok(known.trim().to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let new = crate::ids::row_id();
            fs::write(&path, &new).map_err(failed)?;
            Ok(new)
        }
        Err(error) => Err(failed(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::config::Overrides;
    use crate::db::{Batch, Statement};

    #[tokio::test]
    async fn what_an_earlier_process_held_is_free_again() {
        let dir = tempfile::tempdir().unwrap();
        let keys = vec![("server.data_dir", dir.path().display().to_string())];
        let config = Config::load(&Overrides { file: None, keys }).unwrap();
        let killed = Archive::open(&config, Clock::System).unwrap();
        let delivery = "insert into delivery (id, study_uid, last_at) values ('a', '1.2', $1)";
        let now = killed.clock.now();
        let task = crate::jobs::Task::CompleteStudy { study: "1.2".parse().unwrap() };
        let batch = Batch::new().then(Statement::named("deliver", delivery).bind(now));
        killed.db.run(batch.then(jobs::enqueue(&task, now, now))).await.unwrap();
        let claim = async |db: &Db| {
            let lease_until = now.plus(std::time::Duration::from_secs(600));
            let priority_lead = std::time::Duration::ZERO;
            let claim = jobs::Claim { owner: "a", now, lease_until, priority_lead, priority_least: 0 };
            jobs::claim(db, task.kind(), claim).await.unwrap()
        };
        assert!(claim(&killed.db).await.is_some());
        drop(killed);
        let archive = Archive::open(&config, Clock::System).unwrap();
        assert!(claim(&archive.db).await.is_some());
        let study = "1.2".parse().unwrap();
        assert_eq!(jobs::open_deliveries(&archive.db, &study, Timestamp(0)).await.unwrap(), 0);
    }

    #[test]
    fn objects_of_another_archive_are_left_alone() {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let url = format!("file://{}", dirs[0].path().display());
        let open = |dir: &tempfile::TempDir| {
            let keys =
                vec![("server.data_dir", dir.path().display().to_string()), ("storage.url", url.clone())];
            Archive::open(&Config::load(&Overrides { file: None, keys }).unwrap(), Clock::System)
        };
        let ours = |archive: Archive| futures::executor::block_on(migration::identity(&archive.db)).unwrap();
        let (first, second) = (ours(open(&dirs[0]).unwrap()), open(&dirs[1]).err().unwrap());
        let AppError::Pairing(PairingError::OtherArchive { theirs, ours, .. }) = second else {
            panic!("{second}")
        };
        assert!(theirs == first && ours != first);
        assert!(open(&dirs[0]).is_ok());
    }

    #[test]
    fn an_installation_keeps_its_serial_number() {
        let dir = tempfile::tempdir().unwrap();
        let keys = vec![("server.data_dir", dir.path().display().to_string())];
        let config = Config::load(&Overrides { file: None, keys }).unwrap();
        let open = || Archive::open(&config, Clock::System).unwrap().serial_number;
        let first = open();
        assert_eq!((first.len(), open()), (36, first));
    }
}
