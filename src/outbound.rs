//! Servers that are asked over HTTP: how they are reached and trusted, and when they are left alone.
//! What is asked of them is the business of those who ask: exports, and a model behind an API.

pub mod access;
pub mod breaker;

use std::path::PathBuf;

/// Why a server cannot be asked, by the name that the configuration gives it.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    #[error("{name}: {} cannot be read: {source}", path.display())]
    ReadFile { name: String, path: PathBuf, source: std::io::Error },
    #[error("{name}: {} holds no {what}", path.display())]
    EmptyFile { name: String, path: PathBuf, what: &'static str },
    #[error("{name}: certificates or key cannot be used: {source}")]
    Tls { name: String, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("{name}: {header:?} is no header of HTTP, or its value is none")]
    Header { name: String, header: String },
}
