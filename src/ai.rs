//! The model seam: a prompt of text and images in, a schema-valid answer out.
//!
//! Everything above this line of the tree sees only [`Engine`]; whether the model runs in this
//! process, behind an API or is a script for tests is a matter of configuration.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub use crate::config::{ContextKind, RemotePixels};
pub use digest::PictureDigest;

pub mod digest;
mod line;
#[cfg(feature = "local-model")]
pub mod local;
pub mod prompt;
pub mod remote;
pub mod resize;
pub mod scripted;

/// An image as the model is given it: 8-bit RGB, already windowed and padded, not yet resized.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RgbImage {
    pub width: u32,
    pub height: u32,
    /// `height * width * 3` bytes, row by row.
    pub data: Vec<u8>,
}

#[derive(Debug, Clone)]
pub enum Part {
    Text(String),
    Image(Arc<RgbImage>),
}

/// One stateless conversation about one study, in which the model fills in its own turns.
#[derive(Debug, Clone)]
pub struct Request {
    pub system: Option<String>,
    /// A user's turn first, then a turn of the model, and so on; the last one is open. Images come
    /// before the first open turn.
    pub turns: Vec<Turn>,
    pub settings: Settings,
    pub priority: Priority,
}

#[derive(Debug, Clone)]
pub enum Turn {
    User(Vec<Part>),
    /// What the model said in an earlier request: read, not asked for again.
    Said(String),
    /// A turn that the model is to fill in.
    Open(Form),
}

/// What a turn of the model has to be.
#[derive(Debug, Clone)]
pub enum Form {
    /// Words, until the model ends its turn.
    Text,
    /// JSON that satisfies this schema.
    Json(Arc<str>),
}

/// Who is answered first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    #[default]
    Routine,
    Urgent,
    Stat,
}

impl Priority {
    /// As the index counts: 0 routine, 1 urgent, 2 stat.
    pub fn from_number(number: i64) -> Self {
        match number {
            ..=0 => Self::Routine,
            1 => Self::Urgent,
            2.. => Self::Stat,
        }
    }
}

/// Decoding settings; they are written into the results as provenance.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Settings {
    /// Of each answer in JSON: one that is still open then is no answer.
    pub tokens_max: usize,
    /// Of each answer in words: one that is still open then ends there ([`Usage::cut`]).
    #[serde(default)]
    pub text_tokens_max: usize,
    /// 0 is greedy.
    pub temperature: f64,
    pub top_p: Option<f64>,
    pub seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { tokens_max: 1024, text_tokens_max: 1024, temperature: 0.0, top_p: None, seed: 0 }
    }
}

impl Settings {
    pub fn tokens_max_of(&self, form: &Form) -> usize {
        match form {
            Form::Text => self.text_tokens_max,
            Form::Json(_) => self.tokens_max,
        }
    }
}

#[derive(Debug, Clone)]
pub struct Reply {
    /// What the model wrote, one for each open turn of the request and in their order.
    pub answers: Vec<String>,
    pub usage: Usage,
}

#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Usage {
    pub prompt_tokens: usize,
    pub image_tokens: usize,
    pub answer_tokens: usize,
    /// Answer tokens that the schema left no choice about.
    pub forced_tokens: usize,
    /// Images whose features were there from an earlier time.
    #[serde(default)]
    pub kept_images: usize,
    /// Prompt tokens that an earlier conversation had read.
    #[serde(default)]
    pub kept_tokens: usize,
    pub image_ms: u64,
    pub prefill_ms: u64,
    pub decode_ms: u64,
    /// Why an answer in words ended before the model ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut: Option<Cut>,
    /// Of a model elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceUsage>,
}

impl Usage {
    /// Of both.
    pub fn and(self, other: &Self) -> Self {
        Self {
            prompt_tokens: self.prompt_tokens + other.prompt_tokens,
            image_tokens: self.image_tokens + other.image_tokens,
            answer_tokens: self.answer_tokens + other.answer_tokens,
            forced_tokens: self.forced_tokens + other.forced_tokens,
            kept_images: self.kept_images + other.kept_images,
            kept_tokens: self.kept_tokens + other.kept_tokens,
            image_ms: self.image_ms + other.image_ms,
            prefill_ms: self.prefill_ms + other.prefill_ms,
            decode_ms: self.decode_ms + other.decode_ms,
            cut: self.cut.or(other.cut),
            service: ServiceUsage::of_both(self.service, other.service.as_ref()),
        }
    }
}

/// Why words were broken off. What was written until then stands, and the next turn follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cut {
    Tokens,
    Repetition,
}

/// What asking a service took.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ServiceUsage {
    pub requests: usize,
    /// Of them because one before failed.
    pub retries: usize,
    /// Of them because an answer before broke its schema.
    pub repairs: usize,
    pub bytes_sent: u64,
    pub cost: Option<Cost>,
}

impl ServiceUsage {
    fn of_both(one: Option<Self>, other: Option<&Self>) -> Option<Self> {
        let (Some(one), Some(other)) = (&one, other) else { return one.or_else(|| other.cloned()) };
        let amount = |cost: &Option<Cost>| cost.as_ref().map_or(0.0, |cost| cost.amount);
        let cost = one.cost.clone().or_else(|| other.cost.clone());
        Some(Self {
            requests: one.requests + other.requests,
            retries: one.retries + other.retries,
            repairs: one.repairs + other.repairs,
            bytes_sent: one.bytes_sent + other.bytes_sent,
            cost: cost.map(|cost| Cost { amount: amount(&one.cost) + amount(&other.cost), ..cost }),
        })
    }
}

/// By the prices of the configuration, not by an invoice.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Cost {
    pub amount: f64,
    pub currency: String,
}

/// Who answered: what goes into TID 4019 Algorithm Identification.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ModelIdentity {
    pub name: String,
    pub version: String,
    /// SHA-256 over the weight files, lower-case hexadecimal; of a service, whose weights are not ours
    /// to digest, over its address and what it says of the model.
    pub weights_sha256: String,
    /// A sentence that every result of this model must carry.
    pub notice: Option<String>,
    /// Which prompts the model is asked with.
    #[serde(default)]
    pub prompts: PromptSet,
    #[serde(default)]
    pub runs: Runs,
}

/// Where a model runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Runs {
    #[default]
    Here,
    /// Behind an API: the images were sent there.
    Elsewhere,
}

/// How an engine is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    Ready,
    /// Requests fail or wait, for this reason.
    Degraded(String),
}

/// The wordings that a family of models was trained on: one folder of `prompts/`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PromptSet {
    #[default]
    Medgemma,
    Demonstration,
}

impl Request {
    pub fn images(&self) -> impl Iterator<Item = &Arc<RgbImage>> {
        let users = self.turns.iter().filter_map(|turn| match turn {
            Turn::User(parts) => Some(parts),
            Turn::Said(_) | Turn::Open(_) => None,
        });
        users.flatten().filter_map(|part| match part {
            Part::Image(image) => Some(image),
            Part::Text(_) => None,
        })
    }

    /// Of all that is said in it.
    pub fn text_bytes(&self) -> usize {
        let part = |part: &Part| match part {
            Part::Text(text) => text.len(),
            Part::Image(_) => 0,
        };
        let turn = |turn: &Turn| match turn {
            Turn::User(parts) => parts.iter().map(part).sum(),
            Turn::Said(text) => text.len(),
            Turn::Open(_) => 0,
        };
        self.system.as_ref().map_or(0, String::len) + self.turns.iter().map(turn).sum::<usize>()
    }

    /// Turns that the model is to fill in.
    pub fn answers(&self) -> usize {
        self.open().count()
    }

    /// What they have to be.
    pub fn open(&self) -> impl Iterator<Item = &Form> {
        self.turns.iter().filter_map(|turn| match turn {
            Turn::Open(form) => Some(form),
            Turn::User(_) | Turn::Said(_) => None,
        })
    }
}

/// How far a request has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    Queued,
    /// So many others come first.
    Waiting {
        ahead: usize,
    },
    EncodedImages {
        done: usize,
        of: usize,
    },
    Prefilled {
        tokens: usize,
    },
    Decoded {
        tokens: usize,
    },
}

/// What a request spends its time with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    Queue,
    Image,
    Prefill,
    Decode,
}

impl Stage {
    pub fn name(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Image => "image",
            Self::Prefill => "prefill",
            Self::Decode => "decode",
        }
    }

    /// The key of the configuration that bounds it.
    pub fn limit(self) -> &'static str {
        match self {
            Self::Queue => "model.timeouts.queue_s",
            Self::Image => "model.timeouts.image_s",
            Self::Prefill => "model.timeouts.prefill_s",
            Self::Decode => "model.timeouts.decode_s",
        }
    }

    fn doing(self) -> &'static str {
        match self {
            Self::Queue => "waiting for the model",
            Self::Image => "encoding an image",
            Self::Prefill => "reading the prompt",
            Self::Decode => "writing an answer",
        }
    }
}

/// How long a request may spend in each stage, beside its whole time limit. Time in which others
/// had the model does not count, but for that in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StageLimits {
    pub queue: Duration,
    /// Of each image.
    pub image: Duration,
    /// Of the prompt, without its images.
    pub prefill: Duration,
    /// Of each answer.
    pub decode: Duration,
}

impl StageLimits {
    pub fn of(&self, stage: Stage) -> Duration {
        match stage {
            Stage::Queue => self.queue,
            Stage::Image => self.image,
            Stage::Prefill => self.prefill,
            Stage::Decode => self.decode,
        }
    }
}

impl Default for StageLimits {
    fn default() -> Self {
        let hour = Duration::from_secs(3600);
        Self { queue: 2 * hour, image: hour / 4, prefill: hour, decode: hour / 2 }
    }
}

pub type ProgressSink = Arc<dyn Fn(Progress) + Send + Sync>;

/// Set once; looked at between vision layers and between tokens.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// What the caller of an engine brings beside the request itself.
#[derive(Clone)]
pub struct Call {
    pub cancel: Cancel,
    pub progress: ProgressSink,
    pub time_limit: Duration,
}

pub type AnswerFuture<'a> = Pin<Box<dyn Future<Output = Result<Reply, EngineError>> + Send + 'a>>;

/// A model that answers. Dropping the future gives up waiting; only `call.cancel` stops the work.
pub trait Engine: Send + Sync {
    fn identity(&self) -> &ModelIdentity;

    /// The kinds of clinical context that may be told to it, of those that `analysis.context` allows.
    /// An engine beyond this machine gets none unless it says otherwise.
    fn may_be_told(&self) -> &[ContextKind] {
        &[]
    }

    fn answer(&self, request: Request, call: Call) -> AnswerFuture<'_>;

    /// Images that one request can have.
    fn images_max(&self) -> usize {
        usize::MAX
    }

    /// What pixels may be shown to it; none where it runs here, and anything may.
    fn pixels_that_leave(&self) -> Option<&RemotePixels> {
        None
    }

    fn health(&self) -> Health {
        Health::Ready
    }
}

#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error("the analysis was cancelled")]
    Cancelled,
    #[error("the analysis took longer than {0:?}")]
    TimedOut(Duration),
    #[error("{} took longer than {limit:?}", stage.doing())]
    StageTimedOut { stage: Stage, limit: Duration },
    #[error("{0} requests wait for the model already")]
    QueueFull(usize),
    #[error("the keys and values of the prompt need {needed} bytes and may take {limit}")]
    CacheTooSmall { needed: usize, limit: usize },
    #[error("the answer was still open after {0} tokens")]
    TokenBudgetSpent(usize),
    #[error("the model repeats itself")]
    Repeating,
    #[error("the prompt needs {needed} tokens and the context holds {limit}")]
    PromptTooLong { needed: usize, limit: usize },
    #[error("the engine is gone")]
    Gone,
    #[error("the forward pass failed: {0}")]
    Forward(String),
    #[error("the constraint failed: {0}")]
    Constraint(String),
    /// Nothing of the request was done.
    #[error("the model service is not available: {reason}")]
    Away { reason: String, again_in: Duration },
    #[error("the model service failed: {0}")]
    Service(String),
    #[error("the model service does not take the request: {0}")]
    Refused(String),
}

impl EngineError {
    /// Which limit was hit, if any.
    pub fn limit(&self) -> Option<&'static str> {
        Some(match self {
            Self::TimedOut(_) => "analysis.time_limit_s",
            Self::StageTimedOut { stage, .. } => stage.limit(),
            Self::QueueFull(_) => "model.queue_max",
            Self::CacheTooSmall { .. } => "model.cache_bytes_max",
            Self::TokenBudgetSpent(_) => "analysis.tokens_max",
            _ => return None,
        })
    }

    /// Whether the same request may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::TimedOut(_) | Self::StageTimedOut { .. } | Self::QueueFull(_) => true,
            Self::Gone | Self::Forward(_) | Self::Away { .. } | Self::Service(_) => true,
            Self::Cancelled | Self::TokenBudgetSpent(_) | Self::Repeating | Self::Constraint(_) => false,
            Self::PromptTooLong { .. } | Self::Refused(_) | Self::CacheTooSmall { .. } => false,
        }
    }
}
