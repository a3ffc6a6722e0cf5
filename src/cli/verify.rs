//! `radiant verify`: reads every stored object again, beside a server that runs or without one.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::{fs, io};

use clap::Args;
use serde_json::{Value, json};

use super::flags::DataFlags;
use super::{CliError, progress};
use crate::app::Beside;
use crate::audit::Actor;
use crate::clock::{Clock, Timestamp};
use crate::config::Config;
use crate::db::integrity::{Range, extent};
use crate::dicom::uid::StudyUid;
use crate::ids;
use crate::query::integrity::Integrity;
use crate::telemetry::log;
use crate::upkeep::repair::Replica;
use crate::upkeep::verify::{Counts, Finding, Flaw, Told, Verify};

const MEGABYTE: u64 = 1 << 20;

#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// One study; else every instance, and the objects that no row refers to.
    #[arg(long, value_name = "UID")]
    study: Option<StudyUid>,
    /// What came at this time or later, RFC 3339.
    #[arg(long, value_name = "TIME", value_parser = super::audit::time)]
    since: Option<Timestamp>,
    /// Megabytes that are read in a second at most; 0 is as fast as the disk.
    #[arg(long, value_name = "N", default_value_t = 0)]
    rate_mb: u64,
    /// Objects that are read at the same time.
    #[arg(long, value_name = "N", default_value_t = 2)]
    lanes: usize,
    /// Where it is noted how far the look has come; a look that was broken off goes on there.
    #[arg(long, value_name = "FILE")]
    cursor: Option<PathBuf>,
    /// A data folder, a backup or a folder of objects, from which what is damaged here is put back.
    #[arg(long, value_name = "DIR")]
    repair_from: Option<PathBuf>,
    /// One JSON object in a line for each finding, and one with the counts.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DataFlags,
}

pub(super) async fn run(args: &VerifyArgs) -> Result<(), CliError> {
    let config = Config::load(&args.data.overrides())?;
    log::init(&config.log, None)?;
    let Beside { db, blobs } = Beside::open(&config)?;
    let replica = args.repair_from.as_deref().map(Replica::open).transpose().map_err(failed)?;
    let range = Range { study: args.study.clone(), since: args.since };
    let cursor = args.cursor.as_deref();
    let after = cursor.map_or(Ok(0), read_cursor).map_err(failed)?;
    let (_, bytes) = extent(&db, &range, after).await.map_err(failed)?;
    let bar = progress::bytes(bytes);
    let integrity = Integrity::new(db.clone(), blobs.clone(), args.lanes);
    let verify = Verify {
        db,
        blobs,
        clock: Clock::System,
        integrity: integrity.at(args.rate_mb.saturating_mul(MEGABYTE)),
        lanes: args.lanes,
        replica,
        actor: Actor::program("verify").in_request(&ids::row_id()),
    };
    let mut written = Ok(());
    let tell = |told: Told<'_>| {
        let done = match told {
            Told::Found(finding) => bar.suspend(|| show(args.json, finding)),
            Told::Read { bytes } => {
                bar.inc(bytes);
                Ok(())
            }
            Told::Reached { row } => cursor.map_or(Ok(()), |cursor| write_cursor(cursor, row)),
        };
        if written.is_ok() {
            written = done;
        }
    };
    let counts = verify.run(&range, after, tell).await.map_err(failed)?;
    bar.finish_and_clear();
    written?;
    end(args, &counts)
}

fn end(args: &VerifyArgs, counts: &Counts) -> Result<(), CliError> {
    if let Some(cursor) = &args.cursor {
        fs::remove_file(cursor).or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => Ok(()),
            _ => Err(error),
        })?;
    }
    let line = match args.json {
        true => json!({ "counts": counts }).to_string(),
        false => sentence(counts),
    };
    writeln!(io::stdout(), "{line}")?;
    match counts.damaged + counts.not_read {
        0 => Ok(()),
        flawed => Err(CliError::Upkeep(format!("{flawed} instances are not as they were stored"))),
    }
}

fn show(as_json: bool, finding: &Finding) -> io::Result<()> {
    let line = if as_json { as_value(finding).to_string() } else { words(finding) };
    writeln!(io::stdout(), "{line}")
}

fn words(finding: &Finding) -> String {
    let of = |what: &str, flaw: &Flaw| {
        format!("{what}: instance {} of study {}: {}", flaw.sop_instance, flaw.study, flaw.cause)
    };
    match finding {
        Finding::Damaged(harm, flaw) => of(harm.as_str(), flaw),
        Finding::Repaired(harm, flaw) => of(&format!("repaired ({})", harm.as_str()), flaw),
        Finding::NotRead(flaw) => of("not read", flaw),
        Finding::WithoutRow { key, size_bytes } => format!("without a row: {key}, {size_bytes} bytes"),
    }
}

fn as_value(finding: &Finding) -> Value {
    match finding {
        Finding::Damaged(harm, flaw) => json!({ "damaged": flaw, "harm": harm.as_str() }),
        Finding::Repaired(harm, flaw) => json!({ "repaired": flaw, "harm": harm.as_str() }),
        Finding::NotRead(flaw) => json!({ "not_read": flaw }),
        Finding::WithoutRow { key, size_bytes } => {
            json!({ "without_row": { "key": key.as_str(), "size_bytes": size_bytes } })
        }
    }
}

fn sentence(counts: &Counts) -> String {
    let Counts { checked, bytes, damaged, repaired, not_read, without_row, without_row_bytes } = counts;
    format!(
        "{checked} instances ({bytes} bytes): {damaged} damaged, {repaired} repaired, {not_read} not read; \
         {without_row} objects without a row ({without_row_bytes} bytes)"
    )
}

#[derive(Debug, thiserror::Error)]
enum CursorError {
    #[error("the cursor {} cannot be read", .0.display())]
    Read(PathBuf, #[source] io::Error),
    #[error("{} is no cursor", .0.display())]
    Form(PathBuf),
}

/// One that is not there yet is at the beginning.
fn read_cursor(path: &Path) -> Result<i64, CursorError> {
    match fs::read_to_string(path) {
        Ok(text) => text.trim().parse().map_err(|_| CursorError::Form(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(CursorError::Read(path.to_owned(), error)),
    }
}

/// Whole or not at all.
fn write_cursor(path: &Path, row: i64) -> io::Result<()> {
    let next = path.with_extension("next");
    fs::write(&next, row.to_string())?;
    fs::rename(next, path)
}

fn failed(error: impl std::error::Error + 'static) -> CliError {
    CliError::Upkeep(super::sentence(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_kept_and_nothing_else_is_taken_for_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cursor");
        assert_eq!(read_cursor(&path).unwrap(), 0);
        write_cursor(&path, 41).unwrap();
        assert_eq!(read_cursor(&path).unwrap(), 41);
        fs::write(&path, "x").unwrap();
        assert!(matches!(read_cursor(&path), Err(CursorError::Form(_))));
    }
}
