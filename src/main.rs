//! The program: what the command line asks for is done in `radiant::cli`.

use std::process::ExitCode;

use clap::Parser;
use radiant::cli::Cli;

fn main() -> ExitCode {
    Cli::parse().run()
}
