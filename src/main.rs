//! The program: what the command line asks for is done in `radiant::cli`.

use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;
use radiant::cli::Cli;

/// Answers and rows are made of many small values: the system's allocator took a third of the time
/// of a search.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    Cli::parse().run()
}
