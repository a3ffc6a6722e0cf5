//! `radiant retention --dry-run`: what the rules of the retention would delete now, beside a server
//! that runs or without one.

use std::io::{self, Write};

use clap::Args;
use serde_json::json;

use super::CliError;
use super::flags::DataFlags;
use crate::app::Beside;
use crate::clock::Clock;
use crate::config::{Config, RetentionRule};
use crate::db::retention::Due;
use crate::telemetry::log;
use crate::upkeep::retention::Retention;

#[derive(Debug, Args)]
pub(super) struct RetentionArgs {
    /// Show, and delete nothing: what is deleted is deleted by the server (retention.enabled).
    #[arg(long, required = true)]
    dry_run: bool,
    /// One JSON object in a line for each study, and one with the counts.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DataFlags,
}

#[derive(Default)]
struct Totals {
    studies: u64,
    bytes: u64,
}

pub(super) async fn run(args: &RetentionArgs) -> Result<(), CliError> {
    let config = Config::load(&args.data.overrides())?;
    log::init(&config.log, None)?;
    let Beside { db, .. } = Beside::open(&config)?;
    let retention = Retention { db, clock: Clock::System, settings: config.retention };
    let (mut written, mut totals) = (Ok(()), Totals::default());
    let tell = |rule: &RetentionRule, due: &Due| {
        totals.studies += 1;
        totals.bytes += due.bytes;
        if written.is_ok() {
            written = writeln!(io::stdout(), "{}", line(args.json, rule, due));
        }
    };
    let looked = retention.look(tell).await;
    written?;
    looked.map_err(|error| CliError::Upkeep(super::sentence(&error)))?;
    writeln!(io::stdout(), "{}", end(args.json, &totals, retention.settings.enabled))?;
    Ok(())
}

fn line(as_json: bool, rule: &RetentionRule, due: &Due) -> String {
    let Due { study, study_date, instances, bytes, .. } = due;
    let at = due.last_instance_at.rfc3339();
    match as_json {
        true => json!({
            "rule": rule.name, "study": study, "study_date": study_date, "last_instance_at": at,
            "instances": instances, "bytes": bytes,
        })
        .to_string(),
        false => {
            format!("{}: study {study}, {instances} instances ({bytes} bytes), the last came {at}", rule.name)
        }
    }
}

fn end(as_json: bool, totals: &Totals, enabled: bool) -> String {
    let Totals { studies, bytes } = totals;
    match (as_json, enabled) {
        (true, _) => {
            json!({ "counts": { "studies": studies, "bytes": bytes }, "enabled": enabled }).to_string()
        }
        (false, true) => format!("{studies} studies ({bytes} bytes) would be deleted"),
        (false, false) => {
            format!("{studies} studies ({bytes} bytes) would be deleted, were retention.enabled on")
        }
    }
}
