//! The engine in this process: Gemma 3 multimodal (SigLIP tower, projector, decoder) on candle.
//!
//! A model is loaded and run on a thread of its own. The async side hands a request over through
//! a bounded channel and waits; it never computes. The forward pass is our own because the
//! available ones miss the image mask, the rope scaling or the attention scale; it is held to the
//! reference implementation by `parity`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc as sync_mpsc;

use candle_core::Device;
use tokio::sync::{mpsc, oneshot};

use crate::ai::{AnswerFuture, Call, Engine, EngineError, ModelIdentity, Progress, Reply, Request};
use crate::clock::Clock;
use model::Model;
use watch::Watch;

pub use error::LoadError;
pub use files::{FileDigest, ModelFiles};
pub use inspect::{Inspection, Shape, inspect};

mod attention;
mod blocks;
mod cache;
mod config;
mod constrained;
mod decoder;
mod error;
mod files;
mod generate;
mod identity;
mod inspect;
mod linear;
mod mask;
mod model;
mod norm;
mod preprocess;
mod projector;
mod repetition;
mod rope;
mod sampler;
mod template;
mod tensors;
mod tokens;
mod vision;
mod watch;
mod weights;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod parity;
#[cfg(test)]
mod tests;

/// How the engine runs, beside what it is asked.
#[derive(Debug, Clone)]
pub struct LocalOptions {
    /// Requests that may wait; further callers wait for room.
    pub queue_max: usize,
    /// Prompt tokens that are read in one pass; bounds the memory of a long prompt. An image is
    /// read whole however small this is.
    pub prefill_tokens_max: usize,
    pub precision: Precision,
    pub clock: Clock,
}

/// How the decoder's matrices are held in memory. Everything else is f32 in either case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// f32: what parity with the reference is proven for.
    #[default]
    Exact,
    /// Eight bits per weight: about half the memory and half the time per token, and answers that
    /// may differ from the exact ones.
    EightBit,
}

impl Default for LocalOptions {
    fn default() -> Self {
        Self { queue_max: 16, prefill_tokens_max: 512, precision: Precision::default(), clock: Clock::System }
    }
}

/// A model on its thread, answering one request at a time.
///
/// A request's time limit counts from the moment the model takes it up, not from the moment it
/// joins the queue. Dropping the engine ends the thread after the requests it has accepted.
pub struct LocalEngine {
    identity: ModelIdentity,
    jobs: mpsc::Sender<Job>,
}

struct Job {
    request: Request,
    call: Call,
    reply: oneshot::Sender<Result<Reply, EngineError>>,
}

impl LocalEngine {
    /// Loads the model and returns when it can answer. Takes seconds to minutes: call it from a
    /// thread that may block.
    pub fn start(files: ModelFiles, options: LocalOptions) -> Result<Self, LoadError> {
        let (jobs, queue) = mpsc::channel(options.queue_max.max(1));
        let (loaded, outcome) = sync_mpsc::channel();
        std::thread::Builder::new()
            .name("model".to_owned())
            .spawn(move || serve(&files, &options, &loaded, queue))
            .map_err(LoadError::Thread)?;
        let gone = || LoadError::Panicked("the model thread ended".to_owned());
        let identity = outcome.recv().map_err(|_| gone())??;
        Ok(Self { identity, jobs })
    }

    async fn ask(&self, request: Request, call: Call) -> Result<Reply, EngineError> {
        (call.progress)(Progress::Queued);
        let (reply, answer) = oneshot::channel();
        self.jobs.send(Job { request, call, reply }).await.map_err(|_| EngineError::Gone)?;
        answer.await.map_err(|_| EngineError::Gone)?
    }
}

impl Engine for LocalEngine {
    fn identity(&self) -> &ModelIdentity {
        &self.identity
    }

    fn answer(&self, request: Request, call: Call) -> AnswerFuture<'_> {
        Box::pin(self.ask(request, call))
    }
}

impl From<candle_core::Error> for EngineError {
    fn from(error: candle_core::Error) -> Self {
        Self::Forward(error.to_string())
    }
}

/// The life of the model thread.
fn serve(
    files: &ModelFiles,
    options: &LocalOptions,
    loaded: &sync_mpsc::Sender<Result<ModelIdentity, LoadError>>,
    mut queue: mpsc::Receiver<Job>,
) {
    let model = match load(files, options) {
        Ok(model) => model,
        Err(error) => return drop(loaded.send(Err(error))),
    };
    if loaded.send(Ok(model.identity.clone())).is_err() {
        return;
    }
    while let Some(job) = queue.blocking_recv() {
        let outcome = answer(&model, &job, &options.clock);
        // nobody waits any more: the caller gave up, which is its right
        drop(job.reply.send(outcome));
    }
}

fn load(files: &ModelFiles, options: &LocalOptions) -> Result<Model, LoadError> {
    let device = device()?;
    catch_unwind(AssertUnwindSafe(|| Model::load(files, &device, options)))
        .unwrap_or_else(|panic| Err(LoadError::Panicked(message(panic.as_ref()))))
}

/// A panic in a kernel costs the request, not the server. The model is not changed by a request,
/// so the next one finds it whole.
fn answer(model: &Model, job: &Job, clock: &Clock) -> Result<Reply, EngineError> {
    let watch = Watch::start(&job.call, clock);
    catch_unwind(AssertUnwindSafe(|| model.answer(&job.request, &watch)))
        .unwrap_or_else(|panic| Err(EngineError::Forward(format!("panicked: {}", message(panic.as_ref())))))
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

#[cfg(feature = "cuda")]
fn device() -> Result<Device, LoadError> {
    Device::cuda_if_available(0).map_err(|error| LoadError::Device(error.to_string()))
}

#[cfg(not(feature = "cuda"))]
fn device() -> Result<Device, LoadError> {
    Ok(Device::Cpu)
}
