//! `radiant import PATH…`: files, folders and zips into the data folder, without a server.
//!
//! Objects go through the one way in, [`crate::ingest::Ingest::store`]; a server that starts on
//! the folder later decides about their analysis.

mod store;
pub(super) mod summary;
pub(super) mod walk;
mod zips;

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use futures::StreamExt;
use indicatif::ProgressBar;

use self::store::Importer;
use self::summary::Summary;
use self::walk::Found;
use super::flags::DataFlags;
use super::{CliError, progress};
use crate::app::Archive;
use crate::audit::{Action, Actor, Entry, Outcome};
use crate::clock::Clock;
use crate::config::Config;
use crate::db::{Batch, audit};
use crate::ids;
use crate::telemetry::log;

#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// Files, folders and zips.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    data: DataFlags,
}

pub(super) async fn run(args: &ImportArgs) -> Result<(), CliError> {
    let config = Config::load(&args.data.overrides())?;
    log::init(&config.log, None)?;
    let archive = Archive::open(&config, Clock::System)?;
    let found = walk::find(&args.paths);
    let bar = progress::bytes(found.bytes());
    let actor = Actor::program("import").in_request(&ids::row_id());
    tell(&archive, &actor, Outcome::Begun, &format!("{} files", found.files.len())).await?;
    let summary = import(&archive, &config, &actor, found, &bar).await;
    let refused = summary.refused();
    let outcome = if refused == 0 { Outcome::Success } else { Outcome::MinorFailure };
    tell(&archive, &actor, outcome, &format!("{refused} refused")).await?;
    bar.finish_and_clear();
    write!(std::io::stdout().lock(), "{summary}")?;
    match summary.refused() {
        0 => Ok(()),
        refused => Err(CliError::Import(format!("{refused} objects or files could not be imported"))),
    }
}

/// Several at a time, so that they share the index's commits.
async fn import(
    archive: &Archive,
    config: &Config,
    actor: &Actor,
    found: Found,
    bar: &ProgressBar,
) -> Summary {
    let Found { files, unreadable } = found;
    let importer = Importer::new(archive, actor.clone(), config.ingest.instance_bytes_max);
    let mut summary = Summary::default();
    for refused in unreadable {
        summary.add(refused);
    }
    let work = files.into_iter().map(|file| importer.import(file, bar));
    let mut done = futures::stream::iter(work).buffer_unordered(config.ingest.concurrency.max(1));
    while let Some(reports) = done.next().await {
        reports.into_iter().for_each(|report| summary.add(report));
    }
    summary
}

/// The run in the audit trail; each object has an entry of its own.
async fn tell(archive: &Archive, actor: &Actor, outcome: Outcome, detail: &str) -> Result<(), CliError> {
    let entry = Entry::new(actor, Action::ImportFiles).outcome(outcome).detail(detail);
    let told = archive.db.run(Batch::new().then(audit::append(&entry, archive.clock.now()))).await;
    told.map(drop).map_err(|error| CliError::Import(super::sentence(&error)))
}

#[cfg(test)]
mod tests;
