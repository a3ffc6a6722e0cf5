//! The archive beside a server that may be running: without its lock, its schema as it is.

use super::archive::{INDEX, require_same};
use super::{AppError, settings};
use crate::blobs::Blobs;
use crate::config::Config;
use crate::db::{Db, migration, tables};

/// The schema in which archives have names.
const NAMED_SINCE: u32 = 49;

/// Index and objects.
pub struct Beside {
    pub db: Db,
    pub blobs: Blobs,
}

impl Beside {
    /// # Errors
    /// There is no archive in the data folder, or the objects are those of another one.
    pub fn open(config: &Config) -> Result<Self, AppError> {
        let data_dir = &config.server.data_dir;
        let db = index(config)?;
        let blobs = Blobs::open_beside(data_dir, &config.storage)?.marked(settings::marks(config));
        futures::executor::block_on(require_own(config, &db, &blobs))?;
        Ok(Self { db, blobs })
    }
}

/// Nothing is said where nobody has said whose they are: the server does that at its start.
async fn require_own(config: &Config, db: &Db, blobs: &Blobs) -> Result<(), AppError> {
    match (blobs.owner().await?, tables::schema_version(db).await?) {
        (Some(theirs), Some(NAMED_SINCE..)) => {
            Ok(require_same(config, migration::identity(db).await?, theirs)?)
        }
        _ => Ok(()),
    }
}

pub(super) fn index(config: &Config) -> Result<Db, AppError> {
    if config.database.is_shared() {
        return Ok(Db::open_postgres_beside(settings::postgres(config))?);
    }
    let data_dir = &config.server.data_dir;
    let index = data_dir.join(INDEX);
    match index.is_file() {
        true => Ok(Db::open_sqlite_beside(&index)?),
        false => Err(AppError::NoArchive { path: data_dir.clone() }),
    }
}
