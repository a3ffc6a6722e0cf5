//! `radiant phantom DIR`: synthetic studies for training and tests.

use std::path::PathBuf;

use clap::Args;

use super::CliError;
use crate::phantom::{self, Options};

#[derive(Debug, Args)]
pub(super) struct PhantomArgs {
    /// Gets one folder per study, and truth.json.
    dir: PathBuf,
    #[arg(long, default_value_t = 1)]
    count: u64,
    /// Of the first study; the next ones count on.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    options: Options,
}

pub(super) fn run(args: &PhantomArgs) -> Result<(), CliError> {
    Ok(phantom::write(&args.dir, args.count, args.seed, &args.options)?)
}
