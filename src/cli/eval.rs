//! `radiant eval DIR`: how well the configured model agrees with what is known of some studies.
//!
//! The studies go into an archive of their own, are analysed there as every study is, and the
//! archive is removed at the end. Answers are kept, so that a run that was stopped goes on.

mod answers;
mod index;
mod outcome;
mod show;

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use futures::StreamExt;
use indicatif::ProgressBar;

use self::answers::{Answer, Answers};
use self::index::{Index, Known};
use self::outcome::{Evaluation, Outcome};
use super::CliError;
use super::flags::DataFlags;
use crate::analysis::evaluate::EvaluateError;
use crate::analysis::{self, Analyses, Lack, Model};
use crate::app::{Archive, open_model};
use crate::causes::chain;
use crate::clock::Clock;
use crate::config::{Config, Overrides};
use crate::dicom::uid::StudyUid;
use crate::export::plan::Plan;
use crate::jobs::Bell;
use crate::jobs::completeness::{Deliveries, Patience};
use crate::report::evaluation::expected::{Expectation, from_csv, from_json};
use crate::report::evaluation::judge::Threshold;
use crate::telemetry::log;

/// Looked for in the folder where no other is named.
const EXPECTED_FILES: [&str; 2] = ["expected.csv", "expected.json"];
/// Names what is kept beside the folder.
const BESIDE: &str = "eval";
/// The table is what is to be seen.
const LOG_FILTER: &str = "warn";

#[derive(Debug, Args)]
pub(super) struct EvalArgs {
    /// Studies: DICOM files, in folders or not.
    dir: PathBuf,
    /// What is known of them, CSV or JSON; else expected.csv or expected.json in DIR.
    #[arg(long, value_name = "FILE")]
    expected: Option<PathBuf>,
    /// By this pipeline, whatever the rules of the configuration say.
    #[arg(long, value_name = "NAME")]
    pipeline: Option<String>,
    /// The least certainty with which a finding counts as found.
    #[arg(long, value_enum, default_value_t)]
    certainty: Threshold,
    /// Where answers are kept; else DIR.eval beside DIR.
    #[arg(long, value_name = "DIR")]
    answers: Option<PathBuf>,
    /// Keep the studies with their reports, as a data folder.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// JSON, with what was seen in every study.
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// CSV, one record for each finding.
    #[arg(long)]
    csv: bool,
    /// Configuration file; every key can also be set as RADIANT__SECTION__KEY.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// What is logged, log.filter.
    #[arg(long, value_name = "FILTER", default_value = LOG_FILTER)]
    log: String,
}

pub(super) async fn run(args: &EvalArgs) -> Result<(), CliError> {
    let expectations = read_expected(args)?;
    let kept = args.answers.clone().unwrap_or_else(|| beside(&args.dir));
    let mut answers = Answers::open(&kept)?;
    let scratch = Scratch::of(args, &kept);
    let config = config(args, &scratch.dir)?;
    log::init(&config.log, None)?;
    let (archive, model) = open(config.clone()).await?;
    let analyses = analyses(&config, &archive, model);
    if analyses.model_identity().is_none() {
        return Err(failed(&EvaluateError::NoModel));
    }
    let index = Index::of(&archive, &args.dir, config.ingest.concurrency).await;
    index.refused.iter().for_each(|refused| eprintln!("radiant: left out: {refused}"));
    let known = index.resolve(&expectations.rows).map_err(|fault| expectations.refused(&fault))?;
    let outcomes = ask_all(args, &config, &analyses, known, &mut answers).await?;
    let identity = analyses.model_identity().cloned();
    let evaluation = Evaluation::of(outcomes, index.studies(), args.certainty, identity);
    print(args, &evaluation)?;
    drop(scratch);
    match evaluation.failed() {
        0 => Ok(()),
        failed => Err(CliError::Eval(format!("{failed} of {} studies have no answer", evaluation.asked()))),
    }
}

/// The file with what is known, and what it says.
struct Expected {
    path: PathBuf,
    rows: Vec<Expectation>,
}

impl Expected {
    fn refused(&self, fault: &crate::report::evaluation::expected::Fault) -> CliError {
        CliError::Eval(format!("{}: {fault}", self.path.display()))
    }
}

fn read_expected(args: &EvalArgs) -> Result<Expected, CliError> {
    let beside = || EXPECTED_FILES.map(|name| args.dir.join(name)).into_iter().find(|path| path.is_file());
    let path = args.expected.clone().or_else(beside).ok_or_else(|| {
        CliError::Eval(format!(
            "{} has no expected.csv or expected.json: name one by --expected",
            args.dir.display()
        ))
    })?;
    let text = std::fs::read_to_string(&path)
        .map_err(|error| CliError::Eval(format!("{} cannot be read: {error}", path.display())))?;
    let is_json = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    let rows = if is_json { from_json(&text) } else { from_csv(&text) };
    let rows = rows.map_err(|fault| CliError::Eval(format!("{}: {fault}", path.display())))?;
    match rows.is_empty() {
        true => Err(CliError::Eval(format!("{} expects nothing", path.display()))),
        false => Ok(Expected { path, rows }),
    }
}

/// `cases` has its answers in `cases.eval`.
fn beside(dir: &Path) -> PathBuf {
    let whole = std::fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned());
    let name = whole.file_name().unwrap_or_default().to_string_lossy();
    whole.with_file_name(format!("{name}.{BESIDE}"))
}

/// A data folder that is gone in the end, unless somebody wants it.
struct Scratch {
    dir: PathBuf,
    keep: bool,
}

impl Scratch {
    fn of(args: &EvalArgs, kept: &Path) -> Self {
        match &args.keep {
            Some(dir) => Self { dir: dir.clone(), keep: true },
            None => Self { dir: kept.join(format!("archive-{}", std::process::id())), keep: false },
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.keep
            && let Err(error) = std::fs::remove_dir_all(&self.dir)
        {
            eprintln!("radiant: {} cannot be removed: {error}", self.dir.display());
        }
    }
}

/// Nobody but this process asks this archive anything.
fn config(args: &EvalArgs, data_dir: &Path) -> Result<Config, CliError> {
    let data_dir = Some(data_dir.to_owned());
    let flags = DataFlags { config: args.config.clone(), data_dir, log: Some(args.log.clone()) };
    let mut overrides: Overrides = flags.overrides();
    overrides.keys.push(("auth.mode", "off".to_owned()));
    Ok(Config::load(&overrides)?)
}

/// On a thread that may block.
async fn open(config: Config) -> Result<(Archive, Model), CliError> {
    let opened = tokio::task::spawn_blocking(move || {
        let clock = Clock::System;
        let model = open_model(&config, &clock)?;
        Ok::<_, CliError>((Archive::open(&config, clock)?, model))
    });
    let (archive, model) =
        opened.await.map_err(|panic| CliError::Runtime(std::io::Error::other(panic)))??;
    model.arrive().await;
    if let Err(Lack::Failed(reason)) = model.engine() {
        return Err(CliError::Runtime(std::io::Error::other(reason.to_owned())));
    }
    Ok((archive, model))
}

/// Nothing leaves: there is no plan of exports.
fn analyses(config: &Config, archive: &Archive, model: Model) -> Analyses {
    let (settings, bell) = (config.analysis.clone(), Bell::default());
    let patience = Patience {
        quiet_time: settings.quiet_time(),
        release_delay: settings.release_delay(),
        delivery_timeout: settings.delivery_timeout(),
    };
    let deliveries =
        Deliveries { db: archive.db.clone(), clock: archive.clock.clone(), bell: bell.clone(), patience };
    Analyses::new(analysis::Parts {
        db: archive.db.clone(),
        blobs: archive.blobs.clone(),
        ingest: archive.ingest.as_ref().clone(),
        clock: archive.clock.clone(),
        bell,
        deliveries,
        settings,
        exports: Plan::default(),
        model,
        serial_number: archive.serial_number.clone(),
    })
}

/// As many studies at a time as the server would analyse.
async fn ask_all(
    args: &EvalArgs,
    config: &Config,
    analyses: &Analyses,
    known: Vec<Known>,
    answers: &mut Answers,
) -> Result<Vec<Outcome>, CliError> {
    let bar = ProgressBar::new(known.len() as u64);
    let kept = answers.clone_kept();
    let work = known.into_iter().map(|known| {
        let kept = &kept;
        async move {
            let answer = ask(analyses, &known.study, args.pipeline.as_deref(), kept).await;
            (known, answer)
        }
    });
    let mut done = futures::stream::iter(work).buffered(config.analysis.workers.max(1));
    let mut outcomes = Vec::new();
    while let Some((known, answer)) = done.next().await {
        if let Ok(answer) = &answer {
            answers.keep(answer)?;
        }
        outcomes.push(Outcome { known, answer: answer.map_err(|error| chain(&error)) });
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(outcomes)
}

async fn ask(
    analyses: &Analyses,
    study: &StudyUid,
    pipeline: Option<&str>,
    kept: &answers::Kept,
) -> Result<Answer, EvaluateError> {
    let ticket = analyses.request(study, pipeline).await;
    let ticket = ticket.map_err(|error| EvaluateError::Failed(chain(&error)))?;
    let key = analyses.evaluation_key(&ticket).await?;
    if let Some(answer) = kept.get(&key) {
        return Ok(answer.clone());
    }
    let evaluated = analyses.evaluate(&ticket).await?;
    Ok(Answer { key, study: study.clone(), seconds: evaluated.time.as_secs_f64(), seen: evaluated.seen })
}

fn print(args: &EvalArgs, evaluation: &Evaluation) -> Result<(), CliError> {
    let mut out = std::io::stdout().lock();
    let text = match (args.json, args.csv) {
        (true, _) => show::json(evaluation).map_err(|error| failed(&error))?,
        (_, true) => show::csv(evaluation).map_err(|error| failed(&error))?,
        (false, false) => show::text(evaluation),
    };
    Ok(out.write_all(text.as_bytes())?)
}

fn failed(error: &dyn std::error::Error) -> CliError {
    CliError::Eval(super::sentence(error))
}
