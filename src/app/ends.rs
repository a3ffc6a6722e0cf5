//! The two ends of a migration: the archive as it is, and what it becomes.

use std::fs;
use std::path::{Path, PathBuf};

use super::archive::{INDEX, SERIAL_NUMBER, place};
use super::lock::DataDirLock;
use super::{AppError, PairingError, beside, settings};
use crate::auth::FIRST_SECRET;
use crate::blobs::{Blobs, SPOOL};
use crate::config::{Config, Place};
use crate::db::{Db, SqliteSettings, tables};
use crate::export::content::FOLDER as DOWNLOADS;

#[derive(Debug, thiserror::Error)]
pub enum EndsError {
    #[error("both configurations name the same database and the same store: there is nothing to migrate")]
    Same,
    #[error("{end}: the index has the schema {found}, and this program knows {known}: {advice}")]
    Schema { end: &'static str, found: u32, known: u32, advice: &'static str },
    #[error("{end}")]
    End { end: &'static str, source: AppError },
    #[error(transparent)]
    Index(#[from] crate::db::DbError),
    #[error(transparent)]
    Objects(#[from] crate::blobs::BlobError),
}

/// Index and objects of one end.
#[derive(Clone)]
pub struct End {
    pub db: Db,
    pub blobs: Blobs,
}

pub struct Ends {
    pub from: End,
    pub to: End,
    /// The same index has objects elsewhere in the end.
    pub keeps_index: bool,
    /// Another index refers to the same objects in the end.
    pub keeps_objects: bool,
    /// Where it goes from and to, without credentials.
    pub route: String,
    /// Files of the data folder that go along: where they lie, and where they are to lie.
    pub files: Vec<(PathBuf, PathBuf)>,
    _locks: Vec<DataDirLock>,
}

const FROM: &str = "--from";
const TO: &str = "--to";

impl Ends {
    /// Takes both data folders. Blocking.
    ///
    /// # Errors
    /// A server is using one of them, schemas differ, or there is nothing to do.
    pub fn open(from: &Config, to: &Config) -> Result<Self, EndsError> {
        if !from.database.is_shared() && !from.server.data_dir.join(INDEX).is_file() {
            let source = AppError::NoArchive { path: from.server.data_dir.clone() };
            return Err(EndsError::End { end: FROM, source });
        }
        let places = [from, to].map(Places::of);
        let keeps_index = places[0].index == places[1].index;
        let keeps_objects = places[0].objects == places[1].objects;
        if keeps_index && keeps_objects {
            return Err(EndsError::Same);
        }
        require_usable(to)?;
        let locks = locks(from, to)?;
        let from_end = existing(from)?;
        let to_end = End {
            db: if keeps_index { from_end.db.clone() } else { target(to)? },
            blobs: Blobs::open_beside(&to.server.data_dir, &to.storage)?,
        };
        Ok(Self {
            from: from_end,
            to: to_end,
            keeps_index,
            keeps_objects,
            route: format!("from {} to {}", places[0].shown(), places[1].shown()),
            files: files(from, to),
            _locks: locks,
        })
    }
}

/// Where index and objects are, so that equal places are equal.
struct Places {
    index: String,
    objects: String,
}

impl Places {
    fn of(config: &Config) -> Self {
        let data_dir = whole(&config.server.data_dir);
        let index = match config.database.is_shared() {
            true => without_credentials(config.database.url.reveal()),
            false => data_dir.join(INDEX).display().to_string(),
        };
        let objects = match config.storage.place() {
            Ok(Place::Folder(root)) => root.map_or(data_dir, |root| whole(&root)).display().to_string(),
            _ => format!("{} {}", place(config), config.storage.endpoint).trim_end().to_owned(),
        };
        Self { index, objects }
    }

    fn shown(&self) -> String {
        format!("{} with {}", self.index, self.objects)
    }
}

/// Whatever way it is written, and whether it is there yet or not.
fn whole(path: &Path) -> PathBuf {
    if let Ok(there) = fs::canonicalize(path) {
        return there;
    }
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => whole(parent).join(name),
        _ => path,
    }
}

/// Host and database; a schema that is named in the options makes another place of it.
fn without_credentials(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("postgres", url));
    let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let options = query.split('&').find(|part| part.starts_with("options="));
    options.map_or_else(|| format!("{scheme}://{place}"), |options| format!("{scheme}://{place}?{options}"))
}

/// What the archive becomes has to be able to start.
fn require_usable(to: &Config) -> Result<(), EndsError> {
    let is_folder = matches!(to.storage.place(), Ok(Place::Folder(_)));
    match to.database.is_shared() && is_folder && !to.database.one_instance {
        true => Err(EndsError::End { end: TO, source: PairingError::SharedIndexOfFolder.into() }),
        false => Ok(()),
    }
}

/// One where both have the same folder.
fn locks(from: &Config, to: &Config) -> Result<Vec<DataDirLock>, EndsError> {
    let take = |end, config: &Config| {
        DataDirLock::take(&config.server.data_dir).map_err(|source| EndsError::End { end, source })
    };
    let mut locks = vec![take(FROM, from)?];
    if whole(&from.server.data_dir) != whole(&to.server.data_dir) {
        locks.push(take(TO, to)?);
    }
    Ok(locks)
}

fn existing(from: &Config) -> Result<End, EndsError> {
    let db = beside::index(from).map_err(|source| EndsError::End { end: FROM, source })?;
    let advice = "start the server of this program on it once, or use the program that it is of";
    require_schema(&db, FROM, advice)?;
    Ok(End { db, blobs: Blobs::open_beside(&from.server.data_dir, &from.storage)? })
}

/// One that is not there is made.
fn target(to: &Config) -> Result<Db, EndsError> {
    let advice = "a migration goes to an index of the same schema";
    let path = to.server.data_dir.join(INDEX);
    if to.database.is_shared() || path.is_file() {
        let db = beside::index(to).map_err(|source| EndsError::End { end: TO, source })?;
        if version(&db)?.is_some() {
            require_schema(&db, TO, advice)?;
        }
    }
    match to.database.is_shared() {
        true => Ok(Db::open_postgres(settings::postgres(to))?),
        false => {
            let settings = SqliteSettings { readers: to.index.readers, group_max: to.index.group_max };
            Ok(Db::open_sqlite_to_fill(&path, settings)?)
        }
    }
}

fn require_schema(db: &Db, end: &'static str, advice: &'static str) -> Result<(), EndsError> {
    let (found, known) = (version(db)?.unwrap_or(0), Db::newest_schema());
    match found == known {
        true => Ok(()),
        false => Err(EndsError::Schema { end, found, known, advice }),
    }
}

fn version(db: &Db) -> Result<Option<u32>, EndsError> {
    Ok(futures::executor::block_on(tables::schema_version(db))?)
}

/// What rows refer to outside of index and objects, and what cannot be made again. Caches and models
/// can; keys and certificates lie where the configuration says.
fn files(from: &Config, to: &Config) -> Vec<(PathBuf, PathBuf)> {
    let (old, new) = (&from.server.data_dir, &to.server.data_dir);
    let names = [SERIAL_NUMBER, FIRST_SECRET, SPOOL, DOWNLOADS];
    let of_folder = names.iter().map(|name| (old.join(name), new.join(name)));
    let heads = (from.audit.heads_file(old), to.audit.heads_file(new));
    of_folder.chain([heads]).filter(|(from, to)| whole(from) != whole(to)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_the_same_before_and_after_it_is_made() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(dir.path(), dir.path().join("link")).unwrap();
        let path = dir.path().join("link/new/data");
        let before = whole(&path);
        fs::create_dir_all(&path).unwrap();
        assert_eq!(before, whole(&path));
    }

    #[test]
    fn a_place_of_a_database_is_shown_without_who_comes_in() {
        let shown = without_credentials("postgres://me:p@ss@db:5432/clinic?sslmode=require");
        assert_eq!(shown, "postgres://db:5432/clinic");
        let schema = without_credentials("postgres://db/clinic?options=-csearch_path%3Dx");
        assert_eq!(schema, "postgres://db/clinic?options=-csearch_path%3Dx");
    }
}
