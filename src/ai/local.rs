//! The engine in this process: Gemma 3 multimodal (SigLIP tower, projector, decoder) on candle.
//!
//! A model is loaded and run on a thread of its own. The async side hands a request over through
//! a bounded queue and waits; it never computes. Several requests are under way at a time. The forward pass is our own because the
//! available ones miss the image mask, the rope scaling or the attention scale; it is held to the
//! reference implementation by `parity`.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, mpsc as sync_mpsc};
use std::time::Duration;

use candle_core::Device;
use metrics::counter;
use tokio::sync::{mpsc, oneshot};

use crate::ai::line::Line;
use crate::ai::{
    AnswerFuture, Call, ContextKind, Engine, EngineError, ModelIdentity, Progress, Reply, Request,
    StageLimits,
};
use crate::clock::Clock;
use crate::telemetry::metrics::model as metric;
use conversation::Memory;
use features::Features;
use model::Model;
use queue::{Queue, Refusal};
use schedule::{Job, Scheduler};

pub use bench::{BenchError, BenchReport, Rate, Spent, Trial, bench};
pub use error::LoadError;
pub use features::FeatureOptions;
pub use files::{FileDigest, ModelFiles};
pub use inspect::{Inspection, Shape, inspect};
pub use probe::{Findings, ProbeError, Question, Resident, probe};
pub use threads::{THREADS_VARIABLE, thread_count};
pub use vision::VisionOptions;

mod attend;
mod attention;
mod beginnings;
mod bench;
mod blocks;
mod bytes;
mod cache;
mod config;
mod constrained;
mod conversation;
mod decoder;
mod error;
mod features;
mod files;
mod generate;
mod gguf;
mod half_matrix;
mod identity;
mod inspect;
mod kernels;
mod layout;
mod linear;
mod mask;
mod model;
mod norm;
mod packed;
mod preprocess;
mod probe;
mod projector;
mod quantised;
mod queue;
mod repetition;
mod rope;
mod sampler;
mod schedule;
mod slices;
mod store;
mod template;
mod tensors;
mod threads;
mod tokens;
mod vision;
mod warm_up;
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
    /// Requests that may wait; further ones are refused.
    pub queue_max: usize,
    /// What one step of priority is worth: a request counts as if it had come so much earlier.
    pub priority_lead: Duration,
    /// Conversations at a time.
    pub batch_max: usize,
    /// And so many more that are stat.
    pub batch_stat: usize,
    /// Memory for the keys and values of all of them.
    pub cache_bytes_max: usize,
    pub limits: StageLimits,
    /// Where the features of images are kept; `None`: nowhere.
    pub features: Option<FeatureOptions>,
    /// Prompt tokens that are read in one pass; bounds the memory of a long prompt. An image is
    /// read whole however small this is.
    pub prefill_tokens_max: usize,
    pub precision: Precision,
    /// Threads that compute; 0 for all processors but one.
    pub threads: usize,
    pub vision: VisionOptions,
    pub clock: Clock,
}

/// How the decoder's matrices are held. Everything else is f32 in either case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// As in the file, with the products of f32: what parity with the reference is proven for.
    #[default]
    Exact,
    /// Eight bits per weight: about half the memory and half the time per token, and answers that
    /// may differ from the exact ones.
    EightBit,
}

impl Default for LocalOptions {
    fn default() -> Self {
        Self {
            queue_max: 16,
            priority_lead: Duration::from_secs(1800),
            batch_max: 4,
            batch_stat: 1,
            cache_bytes_max: 2 << 30,
            limits: StageLimits::default(),
            features: None,
            prefill_tokens_max: 512,
            precision: Precision::default(),
            threads: 0,
            vision: VisionOptions::default(),
            clock: Clock::System,
        }
    }
}

/// A model on its thread.
///
/// A request's time limit counts from the moment the model takes it up, not from the moment it
/// joins the queue. Dropping the engine ends the thread after the requests it has accepted.
pub struct LocalEngine {
    identity: ModelIdentity,
    queue: Arc<Queue<Job>>,
    options: LocalOptions,
}

impl LocalEngine {
    /// Loads the model and returns when it can answer. Takes seconds to minutes: call it from a
    /// thread that may block.
    pub fn start(files: ModelFiles, options: LocalOptions) -> Result<Self, LoadError> {
        let queue = Arc::new(Queue::new(Line::new(options.queue_max, options.priority_lead)));
        let pool = threads::pool(options.threads)?;
        let (loaded, outcome) = sync_mpsc::channel();
        let (answering, its_options) = (Abandoning(Arc::clone(&queue)), options.clone());
        std::thread::Builder::new()
            .name("model".to_owned())
            .spawn(move || pool.install(|| serve(&files, &its_options, &loaded, &answering.0)))
            .map_err(LoadError::Thread)?;
        let gone = || LoadError::Panicked("the model thread ended".to_owned());
        let identity = outcome.recv().map_err(|_| gone())??;
        Ok(Self { identity, queue, options })
    }

    async fn ask(&self, request: Request, call: Call) -> Result<Reply, EngineError> {
        tell(&call, Progress::Queued)?;
        let (reply, mut answer) = oneshot::channel();
        let (news, mut heard) = mpsc::unbounded_channel();
        self.join(request, &call, news, reply)?;
        loop {
            tokio::select! {
                biased;
                Some(progress) = heard.recv() => tell(&call, progress)?,
                answered = &mut answer => return answered.map_err(|_| EngineError::Gone)?,
            }
        }
    }

    fn join(
        &self,
        request: Request,
        call: &Call,
        news: mpsc::UnboundedSender<Progress>,
        reply: oneshot::Sender<Result<Reply, EngineError>>,
    ) -> Result<(), EngineError> {
        let (priority, cancel, time_limit) = (request.priority, call.cancel.clone(), call.time_limit);
        let job = Job { request, cancel, time_limit, news, reply, place: None };
        self.queue.join(job, priority, self.options.clock.now()).map_err(|refusal| match refusal {
            Refusal::Gone => EngineError::Gone,
            Refusal::Full => {
                counter!(metric::QUEUE_FULL).increment(1);
                EngineError::QueueFull(self.options.queue_max)
            }
        })
    }
}

/// Runs on the caller's task: a listener that hangs or panics costs its own request only.
fn tell(call: &Call, progress: Progress) -> Result<(), EngineError> {
    let told = schedule::guarded(|| {
        (call.progress)(progress);
        Ok(())
    });
    told.inspect_err(|_| call.cancel.cancel())
}

impl Drop for LocalEngine {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// Whether a folder looks like one that holds a model, without loading it.
pub fn glance(folder: &Path) -> Result<(), LoadError> {
    let files = ModelFiles::Folder(folder.to_owned());
    config::ModelConfig::load(&files)?;
    files.weight_names()?;
    // GGUF holds the vocabulary itself
    match files.layout()? {
        layout::Layout::Safetensors => files.read(files::TOKENIZER).map(drop),
        layout::Layout::Gguf { .. } => Ok(()),
    }
}

/// However the thread of the model ends, nobody goes on waiting for it.
struct Abandoning(Arc<Queue<Job>>);

impl Drop for Abandoning {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

impl Engine for LocalEngine {
    fn identity(&self) -> &ModelIdentity {
        &self.identity
    }

    /// What it is told stays on this machine.
    fn may_be_told(&self) -> &[ContextKind] {
        &ContextKind::ALL
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
    queue: &Queue<Job>,
) {
    let model = match load(files, options) {
        Ok(model) => model,
        Err(error) => return drop(loaded.send(Err(error))),
    };
    let memory = Memory { features: RefCell::new(features(&model, options)), ..Memory::default() };
    if loaded.send(Ok(model.identity.clone())).is_ok() {
        Scheduler::new(&model, &memory, queue, options).run();
    }
}

/// Without them every image is encoded, which is slow and no reason to do without the model.
fn features(model: &Model, options: &LocalOptions) -> Option<Features> {
    let wanted = options.features.as_ref().filter(|wanted| wanted.bytes_max > 0)?;
    let about = format!("{} {}", model.identity.weights_sha256, model.identity.version);
    let opened = Features::open(wanted, &about, model.features_shape(), options.clock.clone());
    let warn = |error: &std::io::Error| tracing::warn!(%error, "features of images are not kept");
    opened.inspect_err(warn).ok()
}

fn load(files: &ModelFiles, options: &LocalOptions) -> Result<Model, LoadError> {
    let device = device()?;
    let load_warm = || {
        let model = Model::load(files, &device, options)?;
        warm_up::warm_up(&model, &options.clock).map_err(LoadError::WarmUp)?;
        Ok(model)
    };
    catch_unwind(AssertUnwindSafe(load_warm))
        .unwrap_or_else(|panic| Err(LoadError::Panicked(schedule::message(panic.as_ref()))))
}

#[cfg(feature = "cuda")]
fn device() -> Result<Device, LoadError> {
    Device::cuda_if_available(0).map_err(|error| LoadError::Device(error.to_string()))
}

#[cfg(not(feature = "cuda"))]
fn device() -> Result<Device, LoadError> {
    Ok(Device::Cpu)
}
