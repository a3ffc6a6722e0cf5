//! `radiant backup` and `radiant restore`: the archive in another folder, and back.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::flags::DataFlags;
use super::{CliError, progress};
use crate::app::{Beside, data_files};
use crate::audit::Actor;
use crate::clock::Clock;
use crate::config::Config;
use crate::db::SqliteSettings;
use crate::db::integrity::{Range, extent};
use crate::ids;
use crate::telemetry::log;
use crate::upkeep::backup::{Backup, Way};
use crate::upkeep::restore::Restore;

#[derive(Debug, Args)]
pub(super) struct BackupArgs {
    /// Where the backup is, or is to be; what it has already is not copied again.
    dir: PathBuf,
    /// Give objects a second name in place of a copy: no space, and no help against a damaged disk.
    #[arg(long)]
    link: bool,
    /// Read again what an earlier run has copied.
    #[arg(long)]
    check: bool,
    /// What was done, as JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DataFlags,
}

#[derive(Debug, Args)]
pub(super) struct RestoreArgs {
    /// A backup.
    dir: PathBuf,
    /// A data folder that is not there yet, or empty.
    #[arg(long, value_name = "DATA_DIR")]
    into: PathBuf,
    /// What was done, as JSON.
    #[arg(long)]
    json: bool,
    /// What is logged, log.filter.
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
    /// Configuration file; every key can also be set as RADIANT__SECTION__KEY.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub(super) async fn back_up(args: &BackupArgs) -> Result<(), CliError> {
    let config = Config::load(&args.data.overrides())?;
    log::init(&config.log, None)?;
    let Beside { db, blobs } = Beside::open(&config)?;
    let (_, bytes) = extent(&db, &Range::default(), 0).await.map_err(failed)?;
    let bar = progress::bytes(bytes);
    let backup = Backup {
        db,
        blobs,
        clock: Clock::System,
        folder: args.dir.clone(),
        way: if args.link { Way::Linked } else { Way::Copied },
        recheck: args.check,
        files: data_files(&config),
        actor: actor("backup"),
    };
    let done = backup.run(|bytes| bar.inc(bytes)).await.map_err(failed)?;
    bar.finish_and_clear();
    let told = format!(
        "{} objects ({} bytes), {} of them new; {} removed",
        done.objects, done.bytes, done.new_objects, done.removed
    );
    show(args.json, &done, &told)?;
    lacking(&done.damaged, "damaged in the archive, and not in the backup: radiant verify names them")
}

pub(super) async fn restore(args: &RestoreArgs) -> Result<(), CliError> {
    let data_dir = Some(args.into.clone());
    let data = DataFlags { config: args.config.clone(), data_dir, log: args.log.clone() };
    let config = Config::load(&data.overrides())?;
    log::init(&config.log, None)?;
    let restore = Restore {
        backup: &args.dir,
        into: &args.into,
        clock: Clock::System,
        settings: SqliteSettings { readers: config.index.readers, group_max: config.index.group_max },
        actor: actor("restore"),
    };
    let bar = progress::bytes(restore.bytes().map_err(failed)?);
    let restored = restore.run(|bytes| bar.inc(bytes)).await.map_err(failed)?;
    bar.finish_and_clear();
    show(args.json, &restored, &format!("{} objects ({} bytes)", restored.objects, restored.bytes))?;
    lacking(&restored.lacking, "not in the backup as they were stored; everything else is there")
}

/// Names on stderr, where an answer in JSON has them already too.
fn lacking(keys: &[String], what: &str) -> Result<(), CliError> {
    for key in keys {
        eprintln!("radiant: {key}");
    }
    match keys.len() {
        0 => Ok(()),
        count => Err(CliError::Upkeep(format!("{count} objects are {what}"))),
    }
}

fn show(as_json: bool, value: &impl Serialize, sentence: &str) -> Result<(), CliError> {
    let line = match as_json {
        true => serde_json::to_string(value).map_err(std::io::Error::from)?,
        false => sentence.to_owned(),
    };
    Ok(writeln!(std::io::stdout(), "{line}")?)
}

fn actor(name: &str) -> Actor {
    Actor::program(name).in_request(&ids::row_id())
}

fn failed(error: impl std::error::Error + 'static) -> CliError {
    CliError::Upkeep(super::sentence(&error))
}
