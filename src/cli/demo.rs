//! `radiant demo`: the server, a demonstration model, and synthetic studies sent to it by
//! C-STORE, from drawing them to the reports about them.

mod board;
mod cases;
mod follow;
mod send;
mod show;

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use tokio::sync::broadcast;

use self::board::Board;
use self::cases::DemoStudy;
use self::follow::Fate;
use super::CliError;
use super::flags::ServerFlags;
use super::serve::start;
use crate::analysis;
use crate::app::App;
use crate::config::{Config, Overrides};
use crate::db::{Db, DbError};
use crate::lifecycle;
use crate::phantom::PhantomError;

const DATA_DIR: &str = "radiant-demo-data";
/// The demonstration's own lines are what is to be seen.
const LOG_FILTER: &str = "warn";
/// What makes the demonstration one: its model, its patience, and that phantoms are analysed.
const SETTINGS: [(&str, &str); 9] = [
    ("server.role", "all"),
    ("auth.mode", "off"),
    ("model.engine", "local"),
    ("model.demo", "true"),
    ("analysis.quiet_time_s", "2"),
    ("analysis.release_delay_s", "0.5"),
    ("analysis.guard_words", "[]"),
    ("analysis.experimental", r#"["ct"]"#),
    (
        "analysis.rules",
        r#"[{ name = "radiographs", modality = ["CR", "DX"], pipeline = "chest-radiograph" }, { name = "CT", modality = ["CT"], pipeline = "ct" }]"#,
    ),
];

#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    #[command(flatten)]
    server: ServerFlags,
    /// End when the reports are there, instead of serving on.
    #[arg(long)]
    once: bool,
    /// Synthetic studies to send.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=1000))]
    studies: u64,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum DemoError {
    #[error("the demonstration sends studies by C-STORE: server.role is all, or serve")]
    NoListener,
    #[error("the studies cannot be drawn")]
    Draw(#[from] PhantomError),
    #[error("every synthetic study of this kind is in the data folder already; use another --data-dir")]
    NoMoreCases,
    #[error("{} cannot be written", path.display())]
    Write { path: PathBuf, source: std::io::Error },
    #[error("a study was not taken by C-STORE: {0}")]
    Send(String),
    #[error("the index cannot be read")]
    Index(#[from] DbError),
    #[error("no report after {minutes} minutes: {state}")]
    TimedOut { minutes: u64, state: String },
    #[error("{failed} of {of} studies have no report: {reason}")]
    Failed { failed: usize, of: usize, reason: String },
    #[error("cannot write to standard output")]
    Output(#[from] std::io::Error),
}

impl DemoArgs {
    fn overrides(&self) -> Overrides {
        let mut overrides = self.server.overrides();
        let mut default = |key, value: &str| {
            if !overrides.keys.iter().any(|(given, _)| *given == key) {
                overrides.keys.push((key, value.to_owned()));
            }
        };
        default("server.data_dir", DATA_DIR);
        default("log.filter", LOG_FILTER);
        SETTINGS.iter().for_each(|(key, value)| default(key, value));
        overrides
    }
}

pub(super) async fn run(args: &DemoArgs) -> Result<(), CliError> {
    let config = Config::load(&args.overrides())?;
    let interrupts = lifecycle::interrupts().map_err(CliError::Runtime)?;
    let (app, mut lifecycle) = start(config).await?;
    let demonstration = Demonstration::of(&app, args.studies)?;
    let (stop, once) = (lifecycle.stop_token(), args.once);
    lifecycle.spawn_once("demonstration", async move {
        match stop.run_until_cancelled(demonstration.play()).await {
            Some(outcome) if once => {
                stop.cancel();
                outcome.map_err(|error| super::sentence(&error))
            }
            Some(outcome) => Ok(serve_on(outcome)),
            None if once => Err("it was interrupted before the reports were there".to_owned()),
            None => Ok(()),
        }
    });
    Ok(lifecycle.run(interrupts).await?)
}

fn serve_on(outcome: Result<(), DemoError>) {
    if let Err(error) = outcome {
        eprintln!("The demonstration failed: {}.", super::sentence(&error));
    }
    eprintln!("Serving on. Ctrl-C ends.");
}

/// What the demonstration needs of the server it is part of.
struct Demonstration {
    db: Db,
    config: Config,
    http: SocketAddr,
    dimse: SocketAddr,
    events: broadcast::Receiver<analysis::Event>,
    studies: u64,
}

impl Demonstration {
    fn of(app: &App, studies: u64) -> Result<Self, DemoError> {
        Ok(Self {
            db: app.archive.db.clone(),
            config: app.config.clone(),
            http: app.http_address,
            dimse: app.dimse_address.ok_or(DemoError::NoListener)?,
            events: app.analyses.subscribe(),
            studies,
        })
    }

    async fn play(mut self) -> Result<(), DemoError> {
        self.print(show::opening(self.http, self.dimse, &self.config))?;
        let studies = cases::choose(&self.db, self.studies).await?;
        let board = Board::new(&studies);
        send::send(&studies, &self.config, self.dimse, &board).await?;
        let fates = follow::follow(&self.db, &mut self.events, &studies, &board).await?;
        board.finish();
        for (study, fate) in studies.iter().zip(&fates) {
            self.print(show::study(&self.db, self.http, study, fate).await?)?;
        }
        self.print(show::closing(self.http))?;
        verdict(&studies, &fates)
    }

    fn print(&self, text: String) -> Result<(), DemoError> {
        Ok(std::io::stdout().lock().write_all(text.as_bytes())?)
    }
}

fn verdict(studies: &[DemoStudy], fates: &[Fate]) -> Result<(), DemoError> {
    let reasons: Vec<&str> = fates.iter().filter_map(Fate::reason).collect();
    match reasons.first() {
        None => Ok(()),
        Some(reason) => {
            Err(DemoError::Failed { failed: reasons.len(), of: studies.len(), reason: (*reason).to_owned() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: DemoArgs,
    }

    fn config(arguments: &[&str]) -> Config {
        let line = [&["radiant"], arguments].concat();
        Config::load(&Line::try_parse_from(line).unwrap().args.overrides()).unwrap()
    }

    #[test]
    fn the_demonstration_needs_no_configuration() {
        let config = config(&[]);
        assert!(config.model.demo && config.analysis.guard_words.is_empty());
        assert_eq!(config.server.data_dir.to_str(), Some(DATA_DIR));
        assert_eq!(config.analysis.rules[1].pipeline.as_deref(), Some("ct"));
    }

    #[test]
    fn flags_win_over_what_the_demonstration_sets() {
        let config = config(&["--data-dir", "mine", "--log", "debug"]);
        assert_eq!((config.server.data_dir.to_str(), config.log.filter.as_str()), (Some("mine"), "debug"));
    }

    #[test]
    fn one_study_without_a_report_fails_the_demonstration() {
        let reported = || Fate::Reported { analysis: "a".into(), report: "r".into() };
        assert!(verdict(&[], &[reported()]).is_ok());
        let failed = verdict(&[], &[reported(), Fate::Failed("the model repeats itself".into())]);
        assert!(failed.unwrap_err().to_string().ends_with("the model repeats itself"));
    }
}
