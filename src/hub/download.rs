//! The files of a model into its folder: several at a time, tried again, continued where they were
//! broken off, and in their places only when their digests are right.

use std::path::PathBuf;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::TryStreamExt;

use super::part::Part;
use super::{FetchedFile, Folder, Hub, HubError, Listing, Manifest, RemoteFile, Terms, part};
use crate::clock::Clock;
use crate::config;

/// So much in one attempt is progress: the next failure is again the first.
const PROGRESS_BYTES: u64 = 64 << 10;
/// Room that is left to others.
const SPARE_BYTES: u64 = 16 << 20;

/// What is fetched, and into where.
pub struct Plan<'a> {
    pub listing: &'a Listing,
    pub files: Vec<&'a RemoteFile>,
    pub folder: &'a Folder,
    pub terms: &'a Terms,
}

/// How far it has come, for whoever shows it.
#[derive(Debug, Clone, Copy)]
pub enum Told<'a> {
    /// Bytes that are there, new or found.
    Came(u64),
    /// Bytes that are thrown away.
    Lost(u64),
    /// In its place.
    Done(&'a RemoteFile),
    Again {
        file: &'a RemoteFile,
        error: &'a HubError,
        after: Duration,
    },
}

type Tell<'a> = &'a (dyn Fn(Told) + Sync);

impl Plan<'_> {
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// Refuses what would fill the disk, before a byte is asked for.
    fn check_space(&self) -> Result<(), HubError> {
        let missing = |file: &&RemoteFile| {
            let target = self.folder.file(&file.name);
            let bytes = |path: PathBuf| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
            match bytes(target.clone()) {
                there if there == file.bytes => 0,
                _ => file.bytes.saturating_sub(bytes(part::path(&target, file))),
            }
        };
        let missing = self.files.iter().map(missing).fold(0, u64::saturating_add);
        let free = self.folder.free_bytes()?;
        let needed = if missing == 0 { 0 } else { missing.saturating_add(SPARE_BYTES) };
        match needed <= free {
            true => Ok(()),
            false => Err(HubError::NoSpace { dir: self.folder.path().to_owned(), free, needed }),
        }
    }
}

impl Hub {
    /// Every file of the plan, then the manifest. What an earlier fetch has left is used.
    pub async fn fetch(&self, plan: &Plan<'_>, clock: &Clock, tell: Tell<'_>) -> Result<Manifest, HubError> {
        plan.check_space()?;
        let files = plan.files.iter().map(|file| self.fetch_file(plan, file, tell));
        let files = futures::stream::iter(files).buffer_unordered(self.settings.files_at_once);
        files.try_collect::<()>().await?;
        let manifest = Manifest {
            repository: plan.listing.repo.clone(),
            endpoint: self.endpoint().to_owned(),
            revision: plan.listing.revision.clone(),
            commit: plan.listing.commit.clone(),
            fetched_at: clock.now().rfc3339(),
            files: plan.files.iter().map(|file| FetchedFile::from(*file)).collect(),
        };
        plan.folder.note(&manifest, plan.terms)?;
        Ok(manifest)
    }

    async fn fetch_file(&self, plan: &Plan<'_>, file: &RemoteFile, tell: Tell<'_>) -> Result<(), HubError> {
        let target = plan.folder.file(&file.name);
        let (path, of) = (target.clone(), file.clone());
        let is_there = move || path.is_file() && of.digest.is_of(&path, of.bytes).unwrap_or(false);
        if tokio::task::spawn_blocking(is_there).await? {
            tell(Told::Came(file.bytes));
        } else {
            let part = self.whole_part(plan, file, tell).await?;
            let path = target.clone();
            let placed = tokio::task::spawn_blocking(move || part.place(&path)).await?;
            placed.map_err(|source| HubError::Write { path: target, source })?;
        }
        tell(Told::Done(file));
        Ok(())
    }

    /// With the right digest. A wrong one is given a second chance: the part may be of an attempt
    /// whose bytes a power cut has lost.
    async fn whole_part(&self, plan: &Plan<'_>, file: &RemoteFile, tell: Tell<'_>) -> Result<Part, HubError> {
        let (target, of) = (plan.folder.file(&file.name), file.clone());
        let at = part::path(&target, file);
        let opened = tokio::task::spawn_blocking(move || Part::open(&target, &of)).await?;
        let mut part = opened.map_err(|source| HubError::Write { path: at, source })?;
        tell(Told::Came(part.bytes()));
        for _ in 0..2 {
            self.fill(plan.listing, file, &mut part, tell).await?;
            if part.is_right() {
                return Ok(part);
            }
            restart(&mut part, tell)?;
        }
        part.discard();
        Err(HubError::Digest { file: file.name.clone() })
    }

    async fn fill(
        &self,
        listing: &Listing,
        file: &RemoteFile,
        part: &mut Part,
        tell: Tell<'_>,
    ) -> Result<(), HubError> {
        let mut attempts = Attempts::new(&self.settings);
        while !part.is_whole() {
            let before = part.bytes();
            let Err(error) = self.stream(listing, file, part, tell).await else { continue };
            if part.bytes() >= before + PROGRESS_BYTES {
                attempts.forget();
            }
            attempts.wait_telling(error, |error, after| tell(Told::Again { file, error, after })).await?;
        }
        Ok(())
    }

    /// One attempt.
    async fn stream(
        &self,
        listing: &Listing,
        file: &RemoteFile,
        part: &mut Part,
        tell: Tell<'_>,
    ) -> Result<(), HubError> {
        let mut coming = self.open(listing, file, part.bytes()).await?;
        if coming.from != part.bytes() {
            restart(part, tell)?;
        }
        while let Some(chunk) = coming.chunk().await? {
            if !part.takes(&chunk) {
                let problem = format!("it has more than {} bytes", file.bytes);
                return Err(HubError::Differs { file: file.name.clone(), problem });
            }
            let written = part.append(&chunk);
            written.map_err(|source| HubError::Write { path: part.path().to_owned(), source })?;
            tell(Told::Came(chunk.len() as u64));
        }
        if part.is_whole() { Ok(()) } else { Err(coming.ended_early()) }
    }
}

fn restart(part: &mut Part, tell: Tell<'_>) -> Result<(), HubError> {
    tell(Told::Lost(part.bytes()));
    part.restart().map_err(|source| HubError::Write { path: part.path().to_owned(), source })
}

/// Failures in a row, and the waits between them.
pub(super) struct Attempts {
    failed: u32,
    max: u32,
    first: Duration,
    longest: Duration,
}

impl Attempts {
    pub(super) fn new(settings: &config::Hub) -> Self {
        Self {
            failed: 0,
            max: settings.attempts_max,
            first: settings.retry_first(),
            longest: settings.retry_max(),
        }
    }

    fn forget(&mut self) {
        self.failed = 0;
    }

    pub(super) async fn wait_after(&mut self, error: HubError) -> Result<(), HubError> {
        self.wait_telling(error, |_, _| {}).await
    }

    /// Twice as long each time, or as long as the server says; an error that stays is given back.
    async fn wait_telling(
        &mut self,
        error: HubError,
        tell: impl FnOnce(&HubError, Duration),
    ) -> Result<(), HubError> {
        if !error.is_transient() {
            return Err(error);
        }
        self.failed += 1;
        if self.failed >= self.max {
            return Err(HubError::GivenUp { attempts: self.failed, source: Box::new(error) });
        }
        let after = error.retry_after().unwrap_or_else(|| self.pause()).min(self.longest);
        tell(&error, after);
        tokio::time::sleep(after).await;
        Ok(())
    }

    /// With some chance in it, so that many who were refused together do not come back together.
    fn pause(&self) -> Duration {
        let doubled = self.first.saturating_mul(1 << (self.failed - 1).min(16));
        let chance = f64::from(uuid::Uuid::new_v4().as_bytes()[0]) / 255.0;
        doubled.mul_f64(0.75 + chance / 2.0)
    }
}
