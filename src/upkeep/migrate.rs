//! An archive taken to another database, another store, or both, with every row and every byte.
//!
//! How far it has come stands in the index that it goes to, written with what has come: it goes on there
//! whenever it was broken off. Objects come first and rows afterwards, and only the last step gives the
//! archive its new name, without which no server takes it for one.

mod files;
mod objects;
mod pieces;

use std::path::PathBuf;
use std::time::Duration;

use crate::audit::{Action, Actor, Entry, Outcome};
use crate::blobs::{BlobError, BlobKey, Blobs};
use crate::clock::Clock;
use crate::db::integrity::{Range, extent};
use crate::db::migration::{self, Migration};
use crate::db::tables::{Table, tables};
use crate::db::transfer::{self, Contents};
use crate::db::{Batch, Db, DbError, audit, heartbeats, uploads};
use crate::ids;

#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    #[error("the server {server} has just written to the index that is to be migrated: stop it first")]
    InUse { server: String },
    #[error(
        "{what} is not empty where the archive is to go: it goes to an empty database and an empty store alone"
    )]
    NotEmpty { what: String },
    #[error("another archive is on its way there, {route}: go on with that, or take another database")]
    OtherMigration { route: String },
    #[error("the objects belong to the archive {theirs}, and the index is that of {ours}")]
    OtherOwner { theirs: String, ours: String },
    #[error("both ends are the archive {0}: name its database in the same words")]
    SameArchive(String),
    #[error("the tables of both ends differ: {0}")]
    Tables(String),
    #[error(
        "the table {table} has {found} rows where it came to, with other contents than its {wanted} rows where it came \
         from: the archive was written to meanwhile; the next run looks at all of it anew"
    )]
    Differs { table: String, wanted: u64, found: u64 },
    #[error(
        "{key} is damaged already where it came from ({cause}): repair it (radiant verify --repair-from), or say \
         --leave-damaged to have it taken along as it is"
    )]
    Damaged { key: BlobKey, cause: String },
    #[error("{key} cannot be copied: {cause}")]
    Object { key: BlobKey, cause: String },
    #[error("{} cannot be copied", .0.display())]
    File(PathBuf, #[source] std::io::Error),
    #[error("the index cannot be used")]
    Index(#[from] DbError),
    #[error(transparent)]
    Objects(#[from] BlobError),
    #[error("the copying did not come to its end")]
    Stopped(#[from] tokio::task::JoinError),
}

/// Index and objects of one end.
#[derive(Clone)]
pub struct Side {
    pub db: Db,
    pub blobs: Blobs,
}

/// What becomes of objects that are damaged before they are touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// The first one ends the run.
    Ends,
    /// They come along as they are, and are named.
    IsTakenAlong,
}

pub struct Migrate {
    pub from: Side,
    pub to: Side,
    /// The same index has objects elsewhere in the end.
    pub keeps_index: bool,
    /// Another index refers to the same objects in the end.
    pub keeps_objects: bool,
    pub route: String,
    /// Where files lie, and where they are to lie.
    pub files: Vec<(PathBuf, PathBuf)>,
    /// Objects that are under way at the same time.
    pub lanes: usize,
    pub damage: Damage,
    /// A server that has not written for so long does not run.
    pub quiet: Duration,
    pub clock: Clock,
    pub actor: Actor,
}

/// What is told while it goes on.
pub enum Told {
    /// A server may still be running, which is waited for.
    Waiting {
        server: String,
    },
    /// All of it is looked at anew: it has changed since the run before.
    Anew,
    /// How much there is: objects and their bytes.
    Extent {
        objects: u64,
        bytes: u64,
    },
    /// What earlier runs have brought.
    Earlier {
        objects: u64,
        bytes: u64,
    },
    /// An object is there.
    Object {
        bytes: u64,
    },
    Damaged {
        key: BlobKey,
        cause: String,
    },
    /// A table is being copied, or compared.
    Table {
        name: String,
        rows: u64,
    },
    Rows(u64),
}

/// What a run did.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Done {
    /// Copied by this run, and read again where they came to.
    pub objects: u64,
    pub bytes: u64,
    /// There and right from an earlier run.
    pub already: u64,
    pub rows: u64,
    pub tables: u64,
    /// Files of the data folder.
    pub files: u64,
    /// Damaged where they came from: keys.
    pub damaged: Vec<String>,
}

impl Migrate {
    /// Goes on where an earlier run was broken off.
    pub async fn run(&self, mut tell: impl FnMut(Told)) -> Result<Done, MigrateError> {
        self.require_quiet(&mut tell).await?;
        let migration = self.begin(&mut tell).await?;
        let mut done = Done::default();
        if !self.keeps_objects {
            let (objects, bytes) = extent(&self.from.db, &Range::default(), 0).await?;
            tell(Told::Extent { objects, bytes });
            self.objects(&mut done, &mut tell).await?;
        }
        if !self.keeps_index {
            let tables = self.tables().await?;
            self.rows(&tables, &mut done, &mut tell).await?;
            self.compare(&tables, &mut tell).await?;
        }
        done.files = files::carry(&self.files)? + self.put_pieces_together().await?;
        self.finish(&migration, &done).await?;
        Ok(done)
    }

    /// Servers that share an index hold no lock that others see: they write a heartbeat.
    async fn require_quiet(&self, tell: &mut impl FnMut(Told)) -> Result<(), MigrateError> {
        if !self.from.db.is_shared() {
            return Ok(());
        }
        let Some((server, at)) = heartbeats::latest(&self.from.db).await? else { return Ok(()) };
        let age = self.clock.now().since(at);
        if age < self.quiet {
            tell(Told::Waiting { server: server.clone() });
            tokio::time::sleep(self.quiet - age).await;
        }
        match heartbeats::latest(&self.from.db).await? {
            Some((server, later)) if later > at => Err(MigrateError::InUse { server }),
            _ => Ok(()),
        }
    }

    async fn begin(&self, tell: &mut impl FnMut(Told)) -> Result<Migration, MigrateError> {
        let archive = migration::identity(&self.from.db).await?;
        let head = audit::end(&self.from.db).await?.hash.to_vec();
        let unfinished = migration::unfinished(&self.to.db).await?;
        self.require_own(&archive, unfinished.as_ref()).await?;
        let migration = match unfinished {
            Some(begun) if begun.archive != archive || begun.route != self.route => {
                return Err(MigrateError::OtherMigration { route: begun.route });
            }
            Some(begun) if begun.head != head => {
                tell(Told::Anew);
                self.anew(&head).await?;
                begun
            }
            Some(begun) => begun,
            None => self.begin_first(archive, head).await?,
        };
        if !self.keeps_objects {
            let theirs = self.to.blobs.claim(&migration.becomes).await?;
            if theirs != migration.becomes {
                return Err(MigrateError::OtherOwner { theirs, ours: migration.becomes });
            }
        }
        Ok(migration)
    }

    /// The objects are those of the index, or were handed over by a run that was broken off at its end.
    async fn require_own(&self, archive: &str, begun: Option<&Migration>) -> Result<(), MigrateError> {
        let owner = self.from.blobs.owner().await?;
        let handed_over = |owner: &String| begun.is_some_and(|begun| begun.becomes == *owner);
        match owner {
            Some(theirs) if theirs != archive && !handed_over(&theirs) => {
                Err(MigrateError::OtherOwner { theirs, ours: archive.to_owned() })
            }
            _ => Ok(()),
        }
    }

    async fn begin_first(&self, archive: String, head: Vec<u8>) -> Result<Migration, MigrateError> {
        if !self.keeps_index {
            if migration::identity(&self.to.db).await? == archive {
                return Err(MigrateError::SameArchive(archive));
            }
            for table in self.tables().await? {
                if !transfer::is_empty(&self.to.db, &table).await? {
                    return Err(MigrateError::NotEmpty { what: format!("the table {}", table.name) });
                }
            }
        }
        if !self.keeps_objects && (!self.to.blobs.is_empty().await? || self.to.blobs.owner().await?.is_some())
        {
            return Err(MigrateError::NotEmpty { what: "the store of objects".to_owned() });
        }
        let migration = Migration { archive, becomes: ids::row_id(), route: self.route.clone(), head };
        self.to.db.run(migration::begin(&migration, self.clock.now())).await?;
        Ok(migration)
    }

    /// Rows may have changed, or be gone; objects that are right stay.
    async fn anew(&self, head: &[u8]) -> Result<(), MigrateError> {
        if !self.keeps_index {
            for table in self.tables().await?.iter().rev() {
                transfer::empty(&self.to.db, table).await?;
            }
        }
        Ok(self.to.db.run(migration::begin_again(head)).await.map(drop)?)
    }

    /// Of both ends, which have the same.
    async fn tables(&self) -> Result<Vec<Table>, MigrateError> {
        let there = tables(&self.to.db).await?;
        let tables = tables(&self.from.db).await?;
        let other = tables.iter().find(|table| !there.contains(table));
        match other.or_else(|| there.iter().find(|table| !tables.contains(table))) {
            Some(table) => Err(MigrateError::Tables(table.name.clone())),
            None => Ok(tables),
        }
    }

    async fn rows(
        &self,
        tables: &[Table],
        done: &mut Done,
        tell: &mut impl FnMut(Told),
    ) -> Result<(), MigrateError> {
        let (from, to) = (&self.from.db, &self.to.db);
        for table in tables {
            tell(Told::Table { name: table.name.clone(), rows: transfer::count(from, table).await? });
            let mut last = migration::last(to, &table.name).await?;
            if last.is_none() {
                // what a new index has by itself
                transfer::empty(to, table).await?;
            }
            while let Some(page) = transfer::page(from, table, last.as_ref()).await? {
                done.rows += page.rows();
                tell(Told::Rows(page.rows()));
                last = Some(page.last.clone());
                transfer::fill(to, table, page).await?;
            }
            self.numbers(table).await?;
            done.tables += 1;
        }
        Ok(())
    }

    /// New rows get numbers that no row ever had.
    async fn numbers(&self, table: &Table) -> Result<(), DbError> {
        let given = transfer::highest_number(&self.from.db, table).await?;
        let highest = given.max(transfer::highest_key(&self.from.db, table).await?);
        transfer::go_on_behind(&self.to.db, table, highest.unwrap_or(0)).await
    }

    async fn compare(&self, tables: &[Table], tell: &mut impl FnMut(Told)) -> Result<(), MigrateError> {
        for table in tables {
            let rows = transfer::count(&self.from.db, table).await?;
            tell(Told::Table { name: table.name.clone(), rows });
            let wanted = transfer::contents(&self.from.db, table, |rows| tell(Told::Rows(rows)));
            let found = transfer::contents(&self.to.db, table, |_| {});
            let (wanted, found) = tokio::try_join!(wanted, found)?;
            if wanted != found {
                return self.differs(table, wanted, found).await;
            }
        }
        Ok(())
    }

    /// No audit trail ends so: the next run begins anew.
    async fn differs(&self, table: &Table, wanted: Contents, found: Contents) -> Result<(), MigrateError> {
        self.to.db.run(migration::begin_again(&[])).await?;
        let (wanted, found) = (wanted.rows, found.rows);
        Err(MigrateError::Differs { table: table.name.clone(), wanted, found })
    }

    /// From here on servers take it for an archive, and no longer take for one what lacks its objects.
    async fn finish(&self, migration: &Migration, done: &Done) -> Result<(), MigrateError> {
        if self.keeps_objects {
            self.to.blobs.hand_over(&migration.becomes).await?;
        }
        let outcome = if done.damaged.is_empty() { Outcome::Success } else { Outcome::MinorFailure };
        let came = format!("archive {} came here and is {}", migration.archive, migration.becomes);
        let went = format!("archive {} went elsewhere and is {} there", migration.archive, migration.becomes);
        let entry = |detail: &str| {
            let entry = Entry::new(&self.actor, Action::MigrateArchive).outcome(outcome).detail(detail);
            audit::append(&entry, self.clock.now())
        };
        let mut finish = migration::finish(&migration.becomes).then(entry(&came));
        if !self.to.db.is_shared() {
            finish.push(uploads::forget_all_parts());
        }
        self.to.db.run(finish).await?;
        if !self.keeps_index {
            self.from.db.run(Batch::new().then(entry(&went))).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
