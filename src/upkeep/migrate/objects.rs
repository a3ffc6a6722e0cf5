//! The objects of a migration: each copied, and read again where it came to.

use std::io::{self, BufReader};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use tokio::runtime::Handle;

use super::{Damage, Done, Migrate, MigrateError, Told};
use crate::blobs::{BlobError, BlobKey, Blobs, is_away};
use crate::causes::chain;
use crate::db::deletions::{KeptObject, kept_objects};
use crate::db::integrity::{Held, PassedOn, Range, extent, held, passed_on};
use crate::db::tables::Key;
use crate::db::{Batch, migration};
use crate::query::integrity::{Recorded, compare, digest_of_all};

const OBJECTS: &str = "objects";
const KEPT: &str = "deleted-objects";
const PASSED_ON: &str = "passed-on-objects";

/// An object as rows speak of it. Of what is no instance any more, or none at all, there is no layout, or no
/// digest: it is held against its source.
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

impl From<PassedOn> for Wanted {
    fn from(file: PassedOn) -> Self {
        Self { key: file.key, size_bytes: file.size_bytes, recorded: None }
    }
}

/// What became of an object.
enum Carried {
    Copied,
    Already,
    /// It was not what its row says before anything was done with it.
    Damaged(String),
}

impl Migrate {
    /// A page is noted once all of it is there: what was broken off in it is looked at again.
    pub(super) async fn objects(
        &self,
        done: &mut Done,
        tell: &mut impl FnMut(Told),
    ) -> Result<(), MigrateError> {
        let (db, to) = (&self.from.db, &self.to.db);
        let mut after = migration::last_number(to, OBJECTS).await?;
        done.already += self.told_of_earlier(after, tell).await?;
        loop {
            let page = held(db, &Range::default(), after).await?;
            let Some(last) = page.last() else { break };
            after = last.row;
            self.page(page, (OBJECTS, Key::from(after)), done, tell).await?;
        }
        let mut after = migration::last_number(to, KEPT).await?;
        loop {
            let page = kept_objects(db, after).await?;
            let Some(last) = page.last() else { break };
            after = last.row;
            self.page(page, (KEPT, Key::from(after)), done, tell).await?;
        }
        let mut after = migration::last_name(to, PASSED_ON).await?;
        loop {
            let page = passed_on(db, &after).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.key.to_string();
            self.page(page, (PASSED_ON, Key::from(after.as_str())), done, tell).await?;
        }
    }

    /// What earlier runs have brought up to a row, without a look at each.
    async fn told_of_earlier(&self, row: i64, tell: &mut impl FnMut(Told)) -> Result<u64, MigrateError> {
        let all = extent(&self.from.db, &Range::default(), 0).await?;
        let left = extent(&self.from.db, &Range::default(), row).await?;
        let (objects, bytes) = (all.0.saturating_sub(left.0), all.1.saturating_sub(left.1));
        tell(Told::Earlier { objects, bytes });
        Ok(objects)
    }

    async fn page(
        &self,
        page: Vec<impl Into<Wanted>>,
        (part, last): (&'static str, Key),
        done: &mut Done,
        tell: &mut impl FnMut(Told),
    ) -> Result<(), MigrateError> {
        let page: Vec<Wanted> = page.into_iter().map(Into::into).collect();
        let way = Arc::new(Way { from: self.from.blobs.clone(), to: self.to.blobs.clone() });
        let carried = stream::iter(page.into_iter().map(|wanted| {
            let way = Arc::clone(&way);
            tokio::task::spawn_blocking(move || way.carry(&wanted).map(|carried| (wanted, carried)))
        }));
        let mut carried = carried.buffer_unordered(self.lanes.max(1));
        while let Some(one) = carried.try_next().await? {
            let (wanted, carried) = one?;
            self.count(wanted, carried, done, tell)?;
        }
        self.to.db.run(Batch::new().then(migration::reached(part, &last))).await?;
        Ok(())
    }

    fn count(
        &self,
        wanted: Wanted,
        carried: Carried,
        done: &mut Done,
        tell: &mut impl FnMut(Told),
    ) -> Result<(), MigrateError> {
        match carried {
            Carried::Already => done.already += 1,
            Carried::Copied => {
                done.objects += 1;
                done.bytes += wanted.size_bytes;
            }
            Carried::Damaged(cause) if self.damage == Damage::Ends => {
                return Err(MigrateError::Damaged { key: wanted.key, cause });
            }
            Carried::Damaged(cause) => {
                done.damaged.push(wanted.key.to_string());
                tell(Told::Damaged { key: wanted.key, cause });
            }
        }
        tell(Told::Object { bytes: wanted.size_bytes });
        Ok(())
    }
}

/// From one store to another. Everything blocks, on a thread of the runtime.
struct Way {
    from: Blobs,
    to: Blobs,
}

impl Way {
    fn carry(&self, wanted: &Wanted) -> Result<Carried, MigrateError> {
        let size = Handle::current().block_on(self.to.size(&wanted.key))?;
        if size == Some(wanted.size_bytes) && self.arrived(wanted).is_ok() {
            return Ok(Carried::Already);
        }
        let failed = |cause| MigrateError::Object { key: wanted.key.clone(), cause };
        match self.copy(&wanted.key) {
            Err(error) if is_missing(&error) => return Ok(Carried::Damaged(chain(&error))),
            copied => copied.map_err(|error| failed(chain(&error)))?,
        }
        match self.arrived(wanted) {
            Ok(()) => Ok(Carried::Copied),
            Err(Other::Bytes(cause)) => self.judge(wanted, cause),
            Err(Other::NotRead(cause)) => Err(failed(cause)),
        }
    }

    /// As the source has it. What is on the disk is sent from there.
    fn copy(&self, key: &BlobKey) -> Result<(), BlobError> {
        let failed = |source| BlobError::Read { key: key.clone(), source };
        let staged = match self.from.is_in_folder() && !self.to.is_in_folder() {
            true => self.from.stored(key).map_err(failed)?,
            false => {
                let mut source = self.from.open_on_disk(key)?;
                let mut staged = self.to.stage().map_err(failed)?;
                io::copy(&mut source, &mut staged.file).map_err(failed)?;
                staged
            }
        };
        Handle::current().block_on(self.to.keep(staged, key)).map_err(failed)
    }

    /// Whether the bytes where it came to are those that its row tells of.
    fn arrived(&self, wanted: &Wanted) -> Result<(), Other> {
        let Some(recorded) = &wanted.recorded else { return self.same_size(wanted) };
        match compare(recorded, || Ok(self.to.open_on_disk(&wanted.key)?)) {
            Ok(()) => Ok(()),
            Err(error) if error.is_passing() => Err(Other::NotRead(chain(&error))),
            Err(error) => Err(Other::Bytes(chain(&error))),
        }
    }

    fn same_size(&self, wanted: &Wanted) -> Result<(), Other> {
        match self.same_bytes(wanted)? {
            size if size == wanted.size_bytes => Ok(()),
            size => Err(Other::Bytes(format!("{size} bytes are stored in place of {}", wanted.size_bytes))),
        }
    }

    /// How many bytes both have.
    fn same_bytes(&self, wanted: &Wanted) -> Result<u64, Other> {
        let digest = |blobs: &Blobs| -> Result<_, Other> {
            let file = blobs.open_on_disk(&wanted.key).map_err(|error| Other::NotRead(chain(&error)))?;
            digest_of_all(&mut BufReader::new(file)).map_err(|error| Other::NotRead(chain(&error)))
        };
        let (sent, came) = (digest(&self.from)?, digest(&self.to)?);
        match sent == came {
            true => Ok(came.1),
            false => Err(Other::Bytes("other bytes came than were sent".to_owned())),
        }
    }

    /// Other bytes than the row tells of: those of the source, or is it the way?
    fn judge(&self, wanted: &Wanted, cause: String) -> Result<Carried, MigrateError> {
        match self.same_bytes(wanted) {
            Ok(_) => Ok(Carried::Damaged(cause)),
            Err(Other::Bytes(cause) | Other::NotRead(cause)) => {
                Err(MigrateError::Object { key: wanted.key.clone(), cause })
            }
        }
    }
}

/// Why an object is not there as it should be.
enum Other {
    Bytes(String),
    /// Nothing is known about it.
    NotRead(String),
}

fn is_missing(error: &BlobError) -> bool {
    let is_not_found =
        matches!(error, BlobError::Read { source, .. } if source.kind() == io::ErrorKind::NotFound);
    is_not_found && !is_away(error)
}
