//! The objects of a backup: taken once, looked at as they are taken, and let go when the archive
//! has let them go.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::{Backup, BackupError, Done, Way};
use crate::blobs::{BlobKey, Blobs};
use crate::db::copy::IndexCopy;
use crate::db::deletions::{KeptObject, kept_objects};
use crate::db::integrity::{Held, Range, held};
use crate::db::{Db, instances};
use crate::query::integrity::{Recorded, compare};

use super::manifest::OBJECTS;

/// The moment of the index refers to an object that is gone for good.
pub(super) struct Missed;

#[derive(Clone)]
pub(super) struct Taking(Arc<Plan>);

struct Plan {
    blobs: Blobs,
    folder: PathBuf,
    way: Way,
    recheck: bool,
    new_objects: AtomicU64,
    new_bytes: AtomicU64,
}

/// What becomes of one object.
enum Taken {
    /// From an earlier run.
    There,
    New,
    Damaged,
    Gone,
}

/// An object as rows speak of it. What a deletion keeps has no layout: its size is compared alone.
struct Wanted {
    key: BlobKey,
    size_bytes: u64,
    recorded: Option<Recorded>,
}

impl From<Held> for Wanted {
    fn from(held: Held) -> Self {
        let recorded = held.recorded;
        Self { key: recorded.blob_key.clone(), size_bytes: recorded.size_bytes, recorded: Some(recorded) }
    }
}

impl From<KeptObject> for Wanted {
    fn from(kept: KeptObject) -> Self {
        Self { key: kept.key, size_bytes: kept.size_bytes, recorded: None }
    }
}

impl Taking {
    pub(super) fn new(backup: &Backup) -> Self {
        Self(Arc::new(Plan {
            blobs: backup.blobs.clone(),
            folder: backup.folder.join(OBJECTS),
            way: backup.way,
            recheck: backup.recheck,
            new_objects: AtomicU64::new(0),
            new_bytes: AtomicU64::new(0),
        }))
    }

    /// Whatever the index refers to now; what cannot be taken is asked for again later.
    pub(super) async fn of_index(&self, db: &Db, tell: &mut impl FnMut(u64)) -> Result<(), BackupError> {
        let mut after = 0;
        loop {
            let page = held(db, &Range::default(), after).await?;
            let Some(last) = page.last() else { break };
            after = last.row;
            tell(page.iter().map(|held| held.recorded.size_bytes).sum());
            self.take(page.into_iter().map(Wanted::from).collect()).await?;
        }
        let mut after = 0;
        loop {
            let page = kept_objects(db, after).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.row;
            self.take(page.into_iter().map(Wanted::from).collect()).await?;
        }
    }

    /// What one moment of the index refers to, and how much of it there is.
    pub(super) async fn of_copy(
        &self,
        copy: &Path,
        db: &Db,
        tell: &mut impl FnMut(u64),
    ) -> Result<Result<Done, Missed>, BackupError> {
        let mut done = Done::default();
        let mut pages = Pages::open(copy)?;
        loop {
            let page = pages.next()?;
            if page.is_empty() {
                done.new_objects = self.0.new_objects.load(Relaxed);
                done.new_bytes = self.0.new_bytes.load(Relaxed);
                return Ok(Ok(done));
            }
            for (wanted, taken) in self.take(page).await? {
                done.count(&wanted, &taken);
                if matches!(taken, Taken::New) {
                    tell(wanted.size_bytes);
                }
                let is_gone = matches!(taken, Taken::Gone);
                if is_gone && !instances::is_referenced(db, &wanted.key).await? {
                    return Ok(Err(Missed));
                }
            }
        }
    }

    async fn take(&self, page: Vec<Wanted>) -> Result<Vec<(Wanted, Taken)>, BackupError> {
        let plan = Arc::clone(&self.0);
        let taking = tokio::task::spawn_blocking(move || plan.take_all(page));
        taking.await?
    }
}

impl Plan {
    fn take_all(&self, page: Vec<Wanted>) -> Result<Vec<(Wanted, Taken)>, BackupError> {
        let take = |wanted: Wanted| {
            let taken = self.take(&wanted);
            let taken = taken.map_err(|error| BackupError::Copy(wanted.key.to_string(), error))?;
            Ok((wanted, taken))
        };
        page.into_iter().map(take).collect()
    }

    fn take(&self, wanted: &Wanted) -> io::Result<Taken> {
        let target = self.folder.join(wanted.key.as_str());
        if self.is_there(&target, wanted) {
            return Ok(Taken::There);
        }
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder)?;
        }
        let part = target.with_extension("part");
        let _ = fs::remove_file(&part);
        let source = self.blobs.file(&wanted.key).ok_or(io::ErrorKind::Unsupported)?;
        let made = match self.way {
            Way::Linked => fs::hard_link(&source, &part),
            Way::Copied => fs::copy(&source, &part).map(drop),
        };
        match made {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Taken::Gone),
            made => made?,
        }
        if !is_right(&part, wanted) {
            fs::remove_file(&part)?;
            return Ok(Taken::Damaged);
        }
        fs::rename(&part, &target)?;
        self.new_objects.fetch_add(1, Relaxed);
        self.new_bytes.fetch_add(wanted.size_bytes, Relaxed);
        Ok(Taken::New)
    }

    /// Under its name there are the right bytes only, unless they were damaged since.
    fn is_there(&self, target: &Path, wanted: &Wanted) -> bool {
        let has_size = fs::metadata(target).is_ok_and(|file| file.len() == wanted.size_bytes);
        has_size && (!self.recheck || is_right(target, wanted))
    }
}

fn is_right(file: &Path, wanted: &Wanted) -> bool {
    match &wanted.recorded {
        Some(recorded) => compare(recorded, || Ok(File::open(file)?)).is_ok(),
        None => fs::metadata(file).is_ok_and(|file| file.len() == wanted.size_bytes),
    }
}

impl Done {
    fn count(&mut self, wanted: &Wanted, taken: &Taken) {
        match taken {
            Taken::Damaged | Taken::Gone => return self.damaged.push(wanted.key.to_string()),
            Taken::There | Taken::New => {}
        }
        self.objects += 1;
        self.bytes += wanted.size_bytes;
    }
}

/// All objects of a moment of the index, some at a time.
struct Pages {
    copy: IndexCopy,
    held_after: i64,
    kept_after: i64,
}

impl Pages {
    fn open(copy: &Path) -> Result<Self, BackupError> {
        Ok(Self { copy: IndexCopy::open(copy)?, held_after: 0, kept_after: 0 })
    }

    /// Empty at the end.
    fn next(&mut self) -> Result<Vec<Wanted>, BackupError> {
        let page = self.copy.held(self.held_after)?;
        if let Some(last) = page.last() {
            self.held_after = last.row;
            return Ok(page.into_iter().map(Wanted::from).collect());
        }
        let page = self.copy.kept(self.kept_after)?;
        self.kept_after = page.last().map_or(self.kept_after, |last| last.row);
        Ok(page.into_iter().map(Wanted::from).collect())
    }
}

/// How many there were.
pub(super) fn remove_unreferenced(folder: &Path, copy: &IndexCopy) -> Result<u64, BackupError> {
    let mut removed = 0;
    let mut folders = vec![folder.to_owned()];
    let failed = |path: &Path, error| BackupError::Folder(path.to_owned(), error);
    while let Some(current) = folders.pop() {
        for entry in fs::read_dir(&current).map_err(|error| failed(&current, error))? {
            let path = entry.map_err(|error| failed(&current, error))?.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let key = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().into_owned();
            if !copy.refers_to(&BlobKey::from_index(&key))? {
                fs::remove_file(&path).map_err(|error| failed(&path, error))?;
                removed += 1;
            }
        }
    }
    Ok(removed)
}
