//! `radiant reindex`: a new index of the stored objects alone, without a server.

use std::io::Write;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::CliError;
use super::flags::DataFlags;
use crate::app::Rebuild;
use crate::audit::Actor;
use crate::clock::Clock;
use crate::config::Config;
use crate::ids;
use crate::telemetry::log;
use crate::upkeep::reindex::{NOT_IN_OBJECTS, Reindex, Told};

#[derive(Debug, Args)]
pub(super) struct ReindexArgs {
    /// One JSON object in a line for each object that is set aside, and one with the counts.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DataFlags,
}

pub(super) async fn run(args: &ReindexArgs) -> Result<(), CliError> {
    let config = Config::load(&args.data.overrides())?;
    log::init(&config.log, None)?;
    let rebuild = Rebuild::open(&config, Clock::System)?;
    eprintln!("radiant: what is not in the objects does not come back: {NOT_IN_OBJECTS}");
    let reindex = Reindex {
        db: rebuild.db.clone(),
        blobs: rebuild.blobs.clone(),
        ingest: rebuild.ingest.clone(),
        clock: Clock::System,
        actor: Actor::program("reindex").in_request(&ids::row_id()),
    };
    let bar = progress_bar();
    let mut written = Ok(());
    let tell = |told: Told<'_>| match told {
        Told::Indexed { bytes } => bar.inc(bytes),
        Told::SetAside { key, to, reason } => {
            let line = match args.json {
                true => {
                    json!({ "set_aside": { "key": key.as_str(), "to": to, "reason": reason } }).to_string()
                }
                false => format!("set aside: {key}: {reason}"),
            };
            let shown = bar.suspend(|| writeln!(std::io::stdout(), "{line}"));
            if written.is_ok() {
                written = shown;
            }
        }
    };
    let counts = reindex.run(tell).await.map_err(failed)?;
    drop(reindex);
    rebuild.finish().await?;
    bar.finish_and_clear();
    written?;
    let line = match args.json {
        true => json!({ "counts": counts }).to_string(),
        false => format!(
            "{} instances ({} bytes) indexed, {} by an earlier run; {} objects set aside",
            counts.indexed, counts.bytes, counts.already, counts.set_aside
        ),
    };
    writeln!(std::io::stdout(), "{line}")?;
    match counts.set_aside {
        0 => Ok(()),
        count => {
            Err(CliError::Upkeep(format!("{count} objects are not in the index: they are in set-aside")))
        }
    }
}

/// How much there is to come is not known without looking. Hidden by itself when stderr is no terminal.
fn progress_bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {bytes} {bytes_per_sec} {elapsed}");
    ProgressBar::no_length().with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
}

fn failed(error: impl std::error::Error + 'static) -> CliError {
    CliError::Upkeep(super::sentence(&error))
}
