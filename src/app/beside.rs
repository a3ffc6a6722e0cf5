//! The archive beside a server that may be running: without its lock, its schema as it is.

use super::archive::{INDEX, open_index};
use super::{AppError, settings};
use crate::blobs::Blobs;
use crate::config::Config;
use crate::db::Db;

/// Index and objects.
pub struct Beside {
    pub db: Db,
    pub blobs: Blobs,
}

impl Beside {
    /// # Errors
    /// There is no archive in the data folder.
    pub fn open(config: &Config) -> Result<Self, AppError> {
        let data_dir = &config.server.data_dir;
        let db = index(config)?;
        let blobs = Blobs::open_beside(data_dir, &config.storage)?.marked(settings::marks(config));
        Ok(Self { db, blobs })
    }
}

fn index(config: &Config) -> Result<Db, AppError> {
    if config.database.is_shared() {
        return open_index(config);
    }
    let data_dir = &config.server.data_dir;
    let index = data_dir.join(INDEX);
    match index.is_file() {
        true => Ok(Db::open_sqlite_beside(&index)?),
        false => Err(AppError::NoArchive { path: data_dir.clone() }),
    }
}
