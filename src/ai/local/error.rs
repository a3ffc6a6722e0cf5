//! Why a model cannot be loaded. Every message names the file and the key or tensor.

use std::path::PathBuf;

use crate::ai::EngineError;

#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("cannot read {}", path.display())]
    ReadFile { path: PathBuf, source: std::io::Error },
    #[error("the embedded model has no file {0}")]
    NotEmbedded(String),
    #[error("{file} is not what it should be")]
    ParseJson { file: String, source: serde_json::Error },
    #[error("{file}: {key} {problem}")]
    Config { file: String, key: String, problem: String },
    #[error("tokenizer.json: {0}")]
    Tokenizer(String),
    #[error("no model.safetensors, no model.safetensors.index.json and no GGUF file in {}", .0.display())]
    NoWeights(PathBuf),
    #[error("{file} {problem}")]
    Gguf { file: String, problem: String },
    #[error("beside {0} is no GGUF file of the vision tower (architecture clip, usually mmproj-*.gguf)")]
    NoVisionTower(String),
    #[error("{} has several GGUF files of one part of a model: {}", folder.display(), names.join(", "))]
    SeveralModels { folder: PathBuf, names: Vec<String> },
    #[error("{file} is not a readable safetensors file: {problem}")]
    Safetensors { file: String, problem: String },
    #[error("tensor {tensor} {problem}")]
    Tensor { tensor: String, problem: String },
    #[error("the constraint on answers cannot be prepared: {0}")]
    Grammar(String),
    #[error("model.vision_precision is bf16, for which this processor has no matrix tiles (AMX)")]
    NoTiles,
    #[error("the threads of the vision tower cannot be started: {0}")]
    VisionThreads(String),
    #[error("the compute device cannot be opened: {0}")]
    Device(String),
    #[error("the threads that compute cannot be started: {0}")]
    Threads(String),
    #[error("the model thread cannot be started")]
    Thread(#[source] std::io::Error),
    #[error("the model was loaded and does not work: {0}")]
    WarmUp(#[source] EngineError),
    #[error("loading the model panicked: {0}")]
    Panicked(String),
}
