//! Why a model cannot be loaded. Every message names the file and the key or tensor.

use std::path::PathBuf;

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
    #[error("no model.safetensors and no model.safetensors.index.json in {}", .0.display())]
    NoWeights(PathBuf),
    #[error("{file} is not a readable safetensors file: {problem}")]
    Safetensors { file: String, problem: String },
    #[error("tensor {tensor} {problem}")]
    Tensor { tensor: String, problem: String },
    #[error("the constraint on answers cannot be prepared: {0}")]
    Grammar(String),
    #[error("the compute device cannot be opened: {0}")]
    Device(String),
    #[error("the model thread cannot be started")]
    Thread(#[source] std::io::Error),
    #[error("loading the model panicked: {0}")]
    Panicked(String),
}
