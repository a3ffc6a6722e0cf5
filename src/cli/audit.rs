//! `radiant audit verify|export`: the audit trail of a data folder, beside a server that runs or
//! without one.

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::CliError;
use super::flags::DataFlags;
use crate::audit::{Action, Actor, Entry, Form, Heads, Outcome};
use crate::clock::{Clock, Timestamp};
use crate::config::Config;
use crate::db::audit::{self, Filter, Verified};
use crate::db::{Batch, Db};
use crate::ids::hex;

#[derive(Debug, Subcommand)]
pub(super) enum AuditCommand {
    /// Look whether every row of the trail is what was written; 1 when one is not.
    Verify(VerifyArgs),
    /// Write the trail to standard output.
    Export(ExportArgs),
}

#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    #[command(flatten)]
    data: DataFlags,
    /// Where the ends of the trail were noted, in place of audit.heads_file; may be given more than once.
    #[arg(long, value_name = "FILE")]
    heads: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    #[command(flatten)]
    data: DataFlags,
    #[arg(long, value_enum, default_value = "jsonl")]
    format: Format,
    /// Id, name, address or AE title.
    #[arg(long)]
    actor: Option<String>,
    /// As in store-instance; may be given more than once.
    #[arg(long)]
    action: Vec<String>,
    /// Study Instance UID.
    #[arg(long)]
    study: Option<String>,
    #[arg(long)]
    outcome: Option<String>,
    /// Of a request, an association or a run.
    #[arg(long)]
    request_id: Option<String>,
    /// From this time on, RFC 3339.
    #[arg(long, value_parser = time)]
    from: Option<Timestamp>,
    /// Before this time.
    #[arg(long, value_parser = time)]
    to: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Jsonl,
    Csv,
}

impl AuditCommand {
    pub(super) async fn run(&self) -> Result<(), CliError> {
        match self {
            Self::Verify(args) => verify(args).await,
            Self::Export(args) => export(args).await,
        }
    }
}

async fn verify(args: &VerifyArgs) -> Result<(), CliError> {
    let config = Config::load(&args.data.overrides())?;
    let files = match args.heads.as_slice() {
        [] => vec![config.audit.heads_file(&config.server.data_dir)],
        named => named.to_vec(),
    };
    let mut heads = Vec::new();
    for file in files {
        let read = Heads::in_file(file).read();
        heads.extend(read.map_err(|error| CliError::Audit(super::sentence(&error)))?);
    }
    let verified = audit::verify(&open(&config)?, &heads).await.map_err(failed)?;
    report(&verified, heads.len(), &mut std::io::stdout().lock())?;
    match verified.flaws.len() {
        0 => Ok(()),
        flaws => Err(CliError::Audit(format!("the audit trail has {flaws} flaws"))),
    }
}

fn report(verified: &Verified, heads: usize, out: &mut impl Write) -> std::io::Result<()> {
    for flaw in &verified.flaws {
        writeln!(out, "{flaw}")?;
    }
    if verified.anchor.sequence > 0 {
        writeln!(out, "rows up to {} were removed by retention", verified.anchor.sequence)?;
    }
    writeln!(out, "{} rows, held against {heads} ends that were noted", verified.rows)?;
    writeln!(out, "ends at row {} with {}", verified.end.sequence, hex(&verified.end.hash))
}

/// Rows that are read at once.
const PORTION: u32 = 1000;

/// Who takes the trail out is in it, whichever way.
async fn export(args: &ExportArgs) -> Result<(), CliError> {
    let config = Config::load(&args.data.overrides())?;
    let (db, filter) = (open(&config)?, args.filter()?);
    let form = match args.format {
        Format::Jsonl => Form::JsonLines,
        Format::Csv => Form::Csv,
    };
    let actor = Actor::program("command line");
    let entry = Entry::new(&actor, Action::ExportAudit).outcome(Outcome::Begun);
    let begun = audit::append(&entry, Clock::System.now());
    db.run(Batch::new().then(begun)).await.map_err(failed)?;
    let rows = write(&db, &filter, form).await;
    let detail = format!("{} rows", rows.as_ref().map_or(0, |rows| *rows));
    let outcome = if rows.is_ok() { Outcome::Success } else { Outcome::Error };
    let entry = Entry::new(&actor, Action::ExportAudit).outcome(outcome).detail(&detail);
    let ended = audit::append(&entry, Clock::System.now());
    db.run(Batch::new().then(ended)).await.map_err(failed)?;
    rows.map(drop)
}

async fn write(db: &Db, filter: &Filter, form: Form) -> Result<usize, CliError> {
    let end = audit::end(db).await.map_err(failed)?.sequence;
    let (mut at, mut rows) = (0, 0);
    loop {
        let mut found = audit::after(db, filter, at, PORTION).await.map_err(failed)?;
        found.retain(|record| record.sequence <= end);
        let text = form.write(&found, at == 0).map_err(|error| CliError::Audit(super::sentence(&error)))?;
        std::io::stdout().lock().write_all(&text)?;
        rows += found.len();
        match found.last() {
            Some(last) => at = last.sequence,
            None => return Ok(rows),
        }
    }
}

impl ExportArgs {
    fn filter(&self) -> Result<Filter, CliError> {
        if let Some(unknown) = self.action.iter().find(|name| Action::named(name).is_none()) {
            return Err(CliError::Audit(format!("there is no action {unknown:?}")));
        }
        Ok(Filter {
            actor: self.actor.clone(),
            actions: self.action.clone(),
            study: self.study.clone(),
            object: None,
            outcome: self.outcome.clone(),
            request: self.request_id.clone(),
            from: self.from,
            until: self.to,
        })
    }
}

/// Without the lock of the data folder: a server may run.
fn open(config: &Config) -> Result<Db, CliError> {
    if config.database.is_shared() {
        return Ok(crate::app::open_index(config)?);
    }
    let data_dir = &config.server.data_dir;
    let path = data_dir.join("index.sqlite");
    if !path.is_file() {
        return Err(CliError::Audit(format!("{} has no index", data_dir.display())));
    }
    Db::open_sqlite_beside(&path).map_err(failed)
}

fn failed(error: crate::db::DbError) -> CliError {
    CliError::Audit(super::sentence(&error))
}

pub(super) fn time(text: &str) -> Result<Timestamp, String> {
    Timestamp::from_rfc3339(text).ok_or_else(|| "not a time with its offset, RFC 3339".to_owned())
}
