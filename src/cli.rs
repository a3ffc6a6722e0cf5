//! The command line: one subcommand per file.
//!
//! Exit codes: 0 done, 1 failed with one sentence on stderr, 2 wrong usage.

mod audit;
mod backup;
mod check_config;
mod demo;
mod echo;
mod eval;
mod find;
mod flags;
mod gc;
mod import;
mod migrate;
mod model;
mod moving;
mod peer;
mod phantom;
mod progress;
mod reindex;
mod retention;
mod send;
mod serve;
mod statuses;
#[cfg(feature = "local-model")]
mod threads;
mod user;
mod verify;

use std::error::Error;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::app::AppError;
use crate::config::{Config, ConfigError};
use crate::lifecycle::Crash;
use crate::telemetry::log::LogError;
use crate::telemetry::metrics;
use crate::tls::TlsError;

/// Medical imaging server with a vision-language model inside.
#[derive(Debug, Parser)]
#[command(name = "radiant", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server.
    Serve(flags::ServerFlags),
    /// Run the server with a demonstration model and send synthetic studies to it.
    Demo(demo::DemoArgs),
    /// Store files, folders and zips in the data folder, without a server.
    Import(import::ImportArgs),
    /// Ask a node whether it answers, by C-ECHO.
    Echo(echo::EchoArgs),
    /// Send files, folders and zips to a node, by C-STORE.
    Send(send::SendArgs),
    /// Ask an archive to send what it has to an application entity, by C-MOVE.
    Move(moving::MoveArgs),
    /// Ask an archive what it has, by C-FIND.
    Find(find::FindArgs),
    /// Say where each effective setting comes from, or what is wrong.
    CheckConfig(flags::ServerFlags),
    /// The audit trail.
    Audit {
        #[command(subcommand)]
        command: audit::AuditCommand,
    },
    /// Read every stored object again and hold it against the index; 1 when one is not what was stored.
    Verify(verify::VerifyArgs),
    /// Copy the archive to another folder, while it is in use; what is there already is not copied again.
    Backup(backup::BackupArgs),
    /// Make an archive of a backup, in a folder of its own; 1 when an object is lacking.
    Restore(backup::RestoreArgs),
    /// Take the archive to another database, another store, or both, without a server; goes on where it was broken off.
    Migrate(migrate::MigrateArgs),
    /// Make a new index of the stored objects alone, where the index is lost; without a server.
    Reindex(reindex::ReindexArgs),
    /// Show which studies the rules of the retention would delete now; beside a running server, too.
    Retention(retention::RetentionArgs),
    /// Remove what nothing refers to any more: objects without a row, left-overs of uploads and downloads.
    Gc(gc::GcArgs),
    /// Add people, give them new passwords, list and disable them; beside a running server, too.
    User {
        #[command(subcommand)]
        command: user::UserCommand,
    },
    /// About model folders.
    Model {
        #[command(subcommand)]
        command: model::ModelCommand,
    },
    /// Say how well the model agrees with what is known of some studies.
    Eval(eval::EvalArgs),
    /// Write synthetic studies with known truth.
    #[command(hide = true)]
    Phantom(phantom::PhantomArgs),
}

#[derive(Debug, thiserror::Error)]
enum CliError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Metrics(#[from] metrics::SetupError),
    #[error(transparent)]
    Collector(#[from] crate::telemetry::collector::CollectorError),
    #[error(transparent)]
    App(#[from] AppError),
    #[error(transparent)]
    Crashed(#[from] Crash),
    #[error(transparent)]
    Demo(#[from] demo::DemoError),
    #[error(transparent)]
    Phantom(#[from] crate::phantom::PhantomError),
    /// What was asked of another application entity came to nothing.
    #[error("{0}")]
    Peer(String),
    #[error("the node {0} is not in dimse.nodes, or has no host there")]
    Node(String),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("{0}")]
    Audit(String),
    #[error("{0}")]
    User(String),
    #[error("{0}")]
    Upkeep(String),
    #[error("{0}")]
    Import(String),
    #[error("{0}")]
    Model(String),
    #[error("{0}")]
    Eval(String),
    #[error(transparent)]
    Hub(#[from] crate::hub::HubError),
    #[error("the runtime cannot be started")]
    Runtime(#[source] std::io::Error),
    #[error("cannot write to standard output")]
    Output(#[from] std::io::Error),
}

impl Cli {
    pub fn run(self) -> ExitCode {
        match self.command.run() {
            Ok(()) => ExitCode::SUCCESS,
            // who reads has read enough
            Err(CliError::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => {
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("radiant: {}", sentence(&error));
                ExitCode::FAILURE
            }
        }
    }
}

impl Command {
    fn run(self) -> Result<(), CliError> {
        match self {
            Self::Serve(flags) => {
                let config = Config::load(&flags.overrides())?;
                #[cfg(feature = "local-model")]
                threads::announce(config.model.threads);
                block_on(serve::run(config))
            }
            Self::Demo(args) => block_on(demo::run(&args)),
            Self::Import(args) => block_on(import::run(&args)),
            Self::Echo(args) => block_on(echo::run(&args)),
            Self::Send(args) => block_on(send::run(&args)),
            Self::Move(args) => block_on(moving::run(&args)),
            Self::Find(args) => block_on(find::run(&args)),
            Self::CheckConfig(flags) => check_config::run(&flags),
            Self::Audit { command } => block_on(command.run()),
            Self::Backup(args) => block_on(backup::back_up(&args)),
            Self::Restore(args) => block_on(backup::restore(&args)),
            Self::Migrate(args) => block_on(migrate::run(&args)),
            Self::Reindex(args) => block_on(reindex::run(&args)),
            Self::Verify(args) => block_on(verify::run(&args)),
            Self::Retention(args) => block_on(retention::run(&args)),
            Self::Gc(args) => block_on(gc::run(&args)),
            Self::User { command } => block_on(user::run(&command)),
            Self::Model { command } => model::run(&command),
            Self::Eval(args) => block_on(eval::run(&args)),
            Self::Phantom(args) => phantom::run(&args),
        }
    }
}

fn block_on(work: impl Future<Output = Result<(), CliError>>) -> Result<(), CliError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(CliError::Runtime)?;
    let outcome = runtime.block_on(work);
    // what still computes on a blocking thread was given its time and is not waited for
    runtime.shutdown_background();
    outcome
}

/// The error and what caused it; causes that a message quotes already are not repeated.
fn sentence(error: &dyn Error) -> String {
    let mut sentence = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !sentence.contains(&text) {
            sentence = format!("{sentence}: {text}");
        }
        cause = error.source();
    }
    sentence
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_sentence_names_every_cause_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot load a.toml: {source}")]
        struct Outer {
            source: std::io::Error,
        }
        let cause = std::io::Error::other("disk is gone");
        assert_eq!(sentence(&Outer { source: cause }), "cannot load a.toml: disk is gone");
        let app = AppError::DataDir { path: "x".into(), source: std::io::Error::other("no room") };
        assert_eq!(sentence(&app), "server.data_dir = x cannot be used: no room");
    }
}
