//! `radiant gc`: removes what nothing refers to any more, beside a server that runs or without one.

use std::io::{self, Write};
use std::time::Duration;

use clap::Args;
use serde_json::{Map, Value, json};

use super::CliError;
use super::flags::DataFlags;
use crate::app::Beside;
use crate::audit::Actor;
use crate::clock::Clock;
use crate::config::Config;
use crate::export::content;
use crate::ids;
use crate::telemetry::log;
use crate::upkeep::garbage::{Counts, Does, Garbage, Kind, LeftOver};

#[derive(Debug, Args)]
pub(super) struct GcArgs {
    /// Show, and remove nothing.
    #[arg(long)]
    dry_run: bool,
    /// What is younger stays, since a server may be at it; storage.orphan_age_h where nothing is said.
    #[arg(long, value_name = "HOURS", value_parser = clap::value_parser!(u64).range(1..=24 * 365))]
    older_than_h: Option<u64>,
    /// One JSON object in a line for each thing, and one with the counts.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DataFlags,
}

pub(super) async fn run(args: &GcArgs) -> Result<(), CliError> {
    let config = Config::load(&args.data.overrides())?;
    log::init(&config.log, None)?;
    let Beside { db, blobs } = Beside::open(&config)?;
    let hours = args.older_than_h.map(|hours| Duration::from_secs(hours * 3600));
    let garbage = Garbage {
        db,
        blobs,
        clock: Clock::System,
        older_than: hours.unwrap_or(config.storage.orphan_age()),
        downloads: config.server.data_dir.join(content::FOLDER),
        does: if args.dry_run { Does::Show } else { Does::Remove },
        actor: Actor::program("gc").in_request(&ids::row_id()),
    };
    let mut written = Ok(());
    let tell = |left_over: &LeftOver| {
        if written.is_ok() {
            written = writeln!(io::stdout(), "{}", line(args.json, left_over));
        }
    };
    let counts = garbage.run(tell).await.map_err(|error| CliError::Upkeep(super::sentence(&error)))?;
    written?;
    let end =
        if args.json { as_value(&counts, garbage.does).to_string() } else { words(&counts, garbage.does) };
    writeln!(io::stdout(), "{end}")?;
    Ok(())
}

fn line(as_json: bool, left_over: &LeftOver) -> String {
    let LeftOver { kind, name, size_bytes } = left_over;
    match as_json {
        true => json!({ "left_over": { "kind": kind.as_str(), "name": name, "size_bytes": size_bytes } })
            .to_string(),
        false => format!("{}: {name}, {size_bytes} bytes", kind.as_str()),
    }
}

fn as_value(counts: &Counts, does: Does) -> Value {
    let named = Kind::ALL.iter().zip(counts).map(|(kind, count)| (kind.as_str().to_owned(), json!(count)));
    json!({ "counts": named.collect::<Map<_, _>>(), "removed": does == Does::Remove })
}

fn words(counts: &Counts, does: Does) -> String {
    let named = Kind::ALL.iter().zip(counts);
    let each: Vec<String> = named
        .map(|(kind, count)| format!("{} of kind {} ({} bytes)", count.count, kind.as_str(), count.bytes))
        .collect();
    let what = if does == Does::Remove { "removed" } else { "would be removed" };
    format!("{what}: {}", each.join(", "))
}
