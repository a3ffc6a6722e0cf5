//! `radiant migrate`: the archive of one configuration becomes that of another.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use super::CliError;
use super::progress::Progress;
use crate::app::{End, Ends};
use crate::audit::Actor;
use crate::clock::Clock;
use crate::config::{Config, Overrides};
use crate::ids;
use crate::telemetry::log;
use crate::upkeep::migrate::{Damage, Done, Migrate, Side, Told};

/// Heartbeats that a server may miss.
const BEATS: u32 = 3;

#[derive(Debug, Args)]
pub(super) struct MigrateArgs {
    /// Configuration of the archive as it is: its database, its store, its data folder.
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// Configuration that the archive is to have. What is the same in both stays where it is.
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    /// Objects that are under way at the same time.
    #[arg(long, value_name = "N", default_value_t = 4)]
    lanes: usize,
    /// Take objects along that are damaged already, as they are, and name them; else the first one ends the run.
    #[arg(long)]
    leave_damaged: bool,
    /// What was done, as JSON.
    #[arg(long)]
    json: bool,
    /// What is logged, log.filter.
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
}

pub(super) async fn run(args: &MigrateArgs) -> Result<(), CliError> {
    let (from, to) = (args.config(&args.from)?, args.config(&args.to)?);
    log::init(&from.log, None)?;
    let quiet = from.server.probe_every() * BEATS + Duration::from_secs(1);
    let ends = Ends::open(&from, &to).map_err(failed)?;
    let side = |end: &End| Side { db: end.db.clone(), blobs: end.blobs.clone() };
    let migrate = Migrate {
        from: side(&ends.from),
        to: side(&ends.to),
        keeps_index: ends.keeps_index,
        keeps_objects: ends.keeps_objects,
        route: ends.route.clone(),
        files: ends.files.clone(),
        lanes: args.lanes,
        damage: if args.leave_damaged { Damage::IsTakenAlong } else { Damage::Ends },
        quiet,
        clock: Clock::System,
        actor: Actor::program("migrate").in_request(&ids::row_id()),
    };
    let mut progress = Progress::of("objects");
    progress.say(&ends.route);
    let done = migrate.run(|told| show(&mut progress, told)).await.map_err(failed)?;
    progress.finish();
    let line = match args.json {
        true => serde_json::to_string(&done).map_err(std::io::Error::from)?,
        false => sentence(&done),
    };
    writeln!(std::io::stdout(), "{line}")?;
    match done.damaged.len() {
        0 => Ok(()),
        count => Err(CliError::Upkeep(format!(
            "{count} objects were damaged and came along as they were: radiant verify names them"
        ))),
    }
}

impl MigrateArgs {
    fn config(&self, file: &Path) -> Result<Config, CliError> {
        let keys = self.log.iter().map(|filter| ("log.filter", filter.clone())).collect();
        Ok(Config::load(&Overrides { file: Some(file.to_owned()), keys })?)
    }
}

fn show(progress: &mut Progress, told: Told) {
    match told {
        Told::Waiting { server } => {
            progress
                .say(&format!("the server {server} wrote a moment ago: it is looked whether it still runs"));
        }
        Told::Anew => {
            progress.say("the archive was written to since the run before: all of it is looked at anew")
        }
        Told::Extent { objects, bytes } => progress.extent(objects, bytes),
        Told::Earlier { objects, bytes } => progress.earlier(objects, bytes),
        Told::Object { bytes } => progress.one(bytes),
        Told::Damaged { key, cause } => progress.say(&format!("damaged: {key}: {cause}")),
        Told::Table { name, rows } => progress.table(name, rows),
        Told::Rows(rows) => progress.rows(rows),
    }
}

fn sentence(done: &Done) -> String {
    let Done { objects, bytes, already, rows, tables, files, damaged } = done;
    format!(
        "{objects} objects ({bytes} bytes) copied and read again, {already} by earlier runs; {rows} rows of {tables} \
         tables, all compared; {files} files; {} objects damaged before",
        damaged.len()
    )
}

fn failed(error: impl std::error::Error + 'static) -> CliError {
    CliError::Upkeep(super::sentence(&error))
}
