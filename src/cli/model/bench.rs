//! `radiant model bench DIR`: what this machine does with a model.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::ai::local::{BenchReport, LocalOptions, ModelFiles, Precision, Rate, Spent, Trial, bench};
use crate::cli::{CliError, sentence, threads};
use crate::config::VisionPrecision;

#[derive(Debug, Args)]
pub(in crate::cli) struct BenchArgs {
    dir: PathBuf,
    /// Tokens of the prompt.
    #[arg(long, default_value_t = 512)]
    prompt: usize,
    /// Tokens written after it, by each sequence.
    #[arg(long, default_value_t = 32)]
    tokens: usize,
    /// Sequences that write side by side.
    #[arg(long, default_value_t = 1)]
    sequences: usize,
    /// Encode an image, too.
    #[arg(long)]
    image: bool,
    /// Threads, as model.threads: 0 leaves one processor free.
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// As model.precision.
    #[arg(long, value_enum, default_value_t = Held::Exact)]
    precision: Held,
    /// As model.vision_precision.
    #[arg(long, value_enum, default_value_t = Seen::Auto)]
    vision_precision: Seen,
    /// The median round counts.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Held {
    Exact,
    EightBit,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Seen {
    Auto,
    F32,
    Bf16,
}

pub(in crate::cli) fn run(args: &BenchArgs) -> Result<(), CliError> {
    let refused = |error: &dyn std::error::Error| {
        CliError::Model(format!("{}: {}", args.dir.display(), sentence(error)))
    };
    threads::announce(args.threads);
    let precision = match args.precision {
        Held::Exact => Precision::Exact,
        Held::EightBit => Precision::EightBit,
    };
    let mut options = LocalOptions { threads: args.threads, precision, ..LocalOptions::default() };
    options.vision.threads = args.threads;
    options.vision.precision = match args.vision_precision {
        Seen::Auto => VisionPrecision::Auto,
        Seen::F32 => VisionPrecision::F32,
        Seen::Bf16 => VisionPrecision::Bf16,
    };
    let BenchArgs { prompt, tokens, sequences, image, rounds, .. } = *args;
    let trial = Trial { prompt, tokens, sequences, image, rounds };
    let report =
        bench(ModelFiles::Folder(args.dir.clone()), &options, &trial).map_err(|error| refused(&error))?;
    let mut out = io::stdout().lock();
    match args.json {
        true => writeln!(out, "{}", serde_json::json!(report))?,
        false => print(&report, &mut out)?,
    }
    Ok(())
}

fn print(report: &BenchReport, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "model    {}", report.model)?;
    writeln!(out, "kernels  {}", report.kernels)?;
    writeln!(out, "threads  {}", report.threads)?;
    spent("load", report.load, out)?;
    let bytes = [report.loaded_bytes, report.peak_bytes, report.cache_bytes].map(|bytes| bytes as f64 / 1e9);
    writeln!(
        out,
        "memory   {:.2} GB loaded, {:.2} GB at most, {:.2} GB keys and values",
        bytes[0], bytes[1], bytes[2]
    )?;
    rate("prefill", report.prefill, out)?;
    rate("decode", report.decode, out)?;
    report.image.map_or(Ok(()), |image| spent("image", image, out))
}

fn spent(what: &str, spent: Spent, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{what:<8} {:.2} s, {:.2} CPU-seconds", spent.wall_s, spent.cpu_s)
}

fn rate(what: &str, rate: Rate, out: &mut impl Write) -> io::Result<()> {
    let (wall, cpu) = (rate.per_second(), rate.per_cpu_second());
    writeln!(out, "{what:<8} {wall:.2} tokens/s, {cpu:.2} per CPU-second ({} tokens)", rate.tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_what_was_measured() {
        let files =
            ModelFiles::Folder(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/golden/tiny-gemma3").into());
        let trial = Trial { prompt: 20, tokens: 2, sequences: 1, image: true, rounds: 1 };
        let report = bench(files, &LocalOptions::default(), &trial).unwrap();
        let mut out = Vec::new();
        print(&report, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        for line in ["kernels  ", "memory   ", "(20 tokens)", "(2 tokens)", "image    "] {
            assert!(text.contains(line), "{text}");
        }
    }
}
