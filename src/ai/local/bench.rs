//! What this machine does with a model: how long it loads, reads, writes and looks.

use candle_core::Tensor;
use serde::Serialize;

use super::cache::Cache;
use super::decoder::Stretch;
use super::error::LoadError;
use super::files::ModelFiles;
use super::model::Model;
use super::preprocess;
use super::{LocalOptions, device, kernels, thread_count, threads};
use crate::ai::{EngineError, RgbImage};
use crate::clock::{Clock, Timestamp};

/// What is tried, and how often.
#[derive(Debug, Clone)]
pub struct Trial {
    /// Tokens of the prompt.
    pub prompt: usize,
    /// Tokens written after it, by each sequence.
    pub tokens: usize,
    /// Sequences that write side by side.
    pub sequences: usize,
    pub image: bool,
    pub rounds: usize,
}

#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Run(#[from] EngineError),
    #[error("{0}")]
    Trial(&'static str),
}

#[derive(Debug, Serialize)]
pub struct BenchReport {
    pub model: String,
    pub kernels: String,
    pub threads: usize,
    pub load: Spent,
    /// Resident after loading, and at most; 0 where the system does not say.
    pub loaded_bytes: u64,
    pub peak_bytes: u64,
    /// Keys and values of one sequence after prompt and answer.
    pub cache_bytes: u64,
    pub sequences: usize,
    pub prefill: Rate,
    pub decode: Rate,
    pub image: Option<Spent>,
}

/// The median round.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Spent {
    pub wall_s: f64,
    pub cpu_s: f64,
}

#[derive(Debug, Clone, Copy, Serialize)]
pub struct Rate {
    pub tokens: usize,
    #[serde(flatten)]
    pub spent: Spent,
}

impl Rate {
    pub fn per_second(&self) -> f64 {
        self.tokens as f64 / self.spent.wall_s
    }

    pub fn per_cpu_second(&self) -> f64 {
        self.tokens as f64 / self.spent.cpu_s
    }
}

pub fn bench(files: ModelFiles, options: &LocalOptions, trial: &Trial) -> Result<BenchReport, BenchError> {
    if trial.prompt == 0 || trial.tokens == 0 || trial.sequences == 0 || trial.rounds == 0 {
        return Err(BenchError::Trial("prompt, tokens, sequences and rounds are 1 at least"));
    }
    threads::pool(options.threads)?.install(|| run(&files, options, trial))
}

fn run(files: &ModelFiles, options: &LocalOptions, trial: &Trial) -> Result<BenchReport, BenchError> {
    let watch = Stopwatch::start();
    let model = Model::load(files, &device()?, options)?;
    let (load, loaded_bytes) = (watch.spent(), resident("VmRSS:"));
    let rounds = (0..trial.rounds).map(|_| round(&model, trial, options.prefill_tokens_max));
    let rounds: Vec<Round> = rounds.collect::<Result<_, _>>()?;
    let image = trial.image.then(|| look(&model)).transpose()?;
    Ok(BenchReport {
        model: format!("{} {}", model.identity.name, model.identity.version),
        kernels: kernels::describe(&model.vision.kernels),
        threads: thread_count(options.threads),
        load,
        loaded_bytes,
        peak_bytes: resident("VmHWM:"),
        cache_bytes: rounds[0].cache_bytes,
        sequences: trial.sequences,
        prefill: Rate { tokens: trial.prompt, spent: median(rounds.iter().map(|round| round.prefill)) },
        decode: Rate {
            tokens: trial.tokens * trial.sequences,
            spent: median(rounds.iter().map(|round| round.decode)),
        },
        image,
    })
}

struct Round {
    prefill: Spent,
    decode: Spent,
    cache_bytes: u64,
}

/// A prompt of arbitrary words, read in the chunks that a request is read in, then an answer.
fn round(model: &Model, trial: &Trial, chunk: usize) -> Result<Round, EngineError> {
    let (decoder, mut cache) = (&model.decoder, model.decoder.new_cache());
    let ids = words(model, trial.prompt);
    let watch = Stopwatch::start();
    for ids in ids.chunks(chunk.max(1)) {
        decoder.step_each(&mut [Stretch { ids, cache: &mut cache }], &mut |_, _| Ok(()))?;
    }
    let prefill = watch.spent();
    let mut caches: Vec<Cache> = (1..trial.sequences).map(|_| cache.fork()).collect::<Result<_, _>>()?;
    caches.push(cache);
    let watch = Stopwatch::start();
    for id in words(model, trial.tokens) {
        let stretches = caches.iter_mut().map(|cache| Stretch { ids: std::slice::from_ref(&id), cache });
        let logits = decoder.step_each(&mut stretches.collect::<Vec<_>>(), &mut |_, _| Ok(()))?;
        read(&logits)?;
    }
    Ok(Round { prefill, decode: watch.spent(), cache_bytes: caches[0].bytes() as u64 })
}

/// On a device of its own a product is only done when somebody asks for it.
fn read(logits: &[Tensor]) -> Result<(), EngineError> {
    for logits in logits {
        logits.max(0)?.to_scalar::<f32>()?;
    }
    Ok(())
}

fn words(model: &Model, count: usize) -> Vec<u32> {
    let vocabulary = model.config.text.vocabulary;
    (0..count).map(|number| ((1000 + number * 7919) % vocabulary) as u32).collect()
}

/// From pixels to the tokens of one image.
fn look(model: &Model) -> Result<Spent, EngineError> {
    let side = model.config.vision.image_size as u32;
    let data = (0..3 * side * side).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let image = RgbImage { width: side, height: side, data };
    let watch = Stopwatch::start();
    let pixels = preprocess::pixels(&image, model.config.vision.image_size, model.decoder.device())?;
    let features = model.vision.encode(&pixels, &mut || Ok(()))?;
    model.projector.forward(&features)?.sum_all()?.to_scalar::<f32>()?;
    Ok(watch.spent())
}

struct Stopwatch {
    wall: Timestamp,
    cpu_s: f64,
}

impl Stopwatch {
    fn start() -> Self {
        Self { wall: Clock::System.now(), cpu_s: cpu_seconds() }
    }

    fn spent(&self) -> Spent {
        let wall_s = Clock::System.now().since(self.wall).as_secs_f64();
        Spent { wall_s, cpu_s: cpu_seconds() - self.cpu_s }
    }
}

/// User and system time of all threads of this process, from `/proc/self/stat` (proc(5)), which counts in
/// hundredths of a second. 0 where there is none.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // the name of the program, in parentheses, may hold spaces
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    ticks as f64 / 100.0
}

fn median(rounds: impl Iterator<Item = Spent>) -> Spent {
    let (mut wall, mut cpu): (Vec<f64>, Vec<f64>) = rounds.map(|spent| (spent.wall_s, spent.cpu_s)).unzip();
    wall.sort_by(f64::total_cmp);
    cpu.sort_by(f64::total_cmp);
    Spent { wall_s: wall[wall.len() / 2], cpu_s: cpu[cpu.len() / 2] }
}

/// A line of `/proc/self/status`, in bytes.
fn resident(key: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<u64>().map_or(0, |kilobytes| kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn a_trial_counts_what_was_read_and_written() {
        let trial = Trial { prompt: 40, tokens: 3, sequences: 2, image: true, rounds: 2 };
        let report = bench(fixture::files(), &LocalOptions::default(), &trial).unwrap();
        assert_eq!((report.prefill.tokens, report.decode.tokens), (40, 6));
        assert!(report.prefill.spent.wall_s > 0.0 && report.image.unwrap().wall_s > 0.0);
        assert!(report.cache_bytes > 0 && report.peak_bytes >= report.loaded_bytes);
        assert!(bench(fixture::files(), &LocalOptions::default(), &Trial { tokens: 0, ..trial }).is_err());
    }
}
