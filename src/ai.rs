//! The model seam: a prompt of text and images in, a schema-valid answer out.
//!
//! Everything above this line of the tree sees only [`Engine`]; whether the model runs in this
//! process, behind an API or is a script for tests is a matter of configuration.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

#[cfg(feature = "local-model")]
pub mod local;
pub mod prompt;
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

/// One stateless question about one study.
#[derive(Debug, Clone)]
pub struct Request {
    pub system: Option<String>,
    pub parts: Vec<Part>,
    /// JSON schema that the answer must satisfy.
    pub schema: Arc<str>,
    pub settings: Settings,
}

/// Decoding settings; they are written into the results as provenance.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Settings {
    pub tokens_max: usize,
    /// 0 is greedy.
    pub temperature: f64,
    pub top_p: Option<f64>,
    pub seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { tokens_max: 1024, temperature: 0.0, top_p: None, seed: 0 }
    }
}

#[derive(Debug, Clone)]
pub struct Reply {
    /// The answer as the model wrote it: JSON that satisfies the request's schema.
    pub text: String,
    pub usage: Usage,
}

#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Usage {
    pub prompt_tokens: usize,
    pub image_tokens: usize,
    pub answer_tokens: usize,
    /// Answer tokens that the schema left no choice about.
    pub forced_tokens: usize,
    pub image_ms: u64,
    pub prefill_ms: u64,
    pub decode_ms: u64,
}

/// Who answered: what goes into TID 4019 Algorithm Identification.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ModelIdentity {
    pub name: String,
    pub version: String,
    /// SHA-256 over the weight files, lower-case hexadecimal.
    pub weights_sha256: String,
    /// A sentence that every result of this model must carry, for the demonstration model.
    pub notice: Option<String>,
}

/// How far a request has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    Queued,
    EncodedImages { done: usize, of: usize },
    Prefilled { tokens: usize },
    Decoded { tokens: usize },
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
    fn answer(&self, request: Request, call: Call) -> AnswerFuture<'_>;
}

#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error("the analysis was cancelled")]
    Cancelled,
    #[error("the analysis took longer than {0:?}")]
    TimedOut(Duration),
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
}

impl EngineError {
    /// Whether the same request may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::TimedOut(_) | Self::Gone | Self::Forward(_))
    }
}
