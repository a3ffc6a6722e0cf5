//! Models from a Hugging Face hub, or a server that speaks as one: what a repository holds, which of
//! it the engine needs, on what terms, and its files, whole and digested or not at all.

mod choice;
mod client;
mod digest;
mod download;
mod folder;
mod listing;
mod manifest;
mod part;
mod refusal;
mod repo;
mod terms;

use std::path::PathBuf;
use std::time::Duration;

pub use choice::choose;
pub use client::Hub;
pub use digest::Digest;
pub use download::{Plan, Told};
pub use folder::{Folder, acceptance, manifest};
pub use listing::{Listing, RemoteFile};
pub use manifest::{FetchedFile, Manifest};
pub use repo::{RepoId, Revision};
pub use terms::{Acceptance, Means, Terms};

use crate::tls::TlsError;

#[derive(Debug, thiserror::Error)]
pub enum HubError {
    #[error("model.hub.token_file = {} cannot be read", path.display())]
    ReadToken { path: PathBuf, source: std::io::Error },
    #[error("the token for the hub is not one line of visible characters")]
    BadToken,
    #[error("model.hub.endpoint and model.hub.proxy cannot be used")]
    SetUp(#[source] reqwest::Error),
    #[error("model.hub.endpoint = {0} is not a URL")]
    Endpoint(String),
    #[error(transparent)]
    Tls(#[from] TlsError),

    #[error("{host} cannot be reached")]
    Connect { host: String, source: reqwest::Error },
    #[error("the transfer from {host} broke off")]
    Broken { host: String, source: reqwest::Error },
    #[error("{host} has said nothing for {} s", after.as_secs())]
    Silent { host: String, after: Duration },
    #[error("{host} ended the transfer early")]
    Short { host: String },
    #[error("{host} answered with {status}")]
    Busy { host: String, status: u16, retry_after: Option<Duration> },
    #[error("{host} answered with {status}")]
    Status { host: String, status: u16 },
    #[error("{host} sends us elsewhere without end")]
    Redirects { host: String },
    #[error("{host} sends us to {to}, which is neither https:// nor this machine")]
    RedirectedInTheClear { host: String, to: String },

    #[error(
        "{repo} is gated: accept its terms on {page}, logged in as the account of the token (model.hub.token, model.hub.token_file)"
    )]
    Gated { repo: RepoId, page: String },
    #[error(
        "{repo} is gated: accept its terms on {page}, then make a token there and name it in model.hub.token_file or RADIANT__MODEL__HUB__TOKEN"
    )]
    GatedWithoutToken { repo: RepoId, page: String },
    #[error(
        "the hub shows no {repo} to whoever has no token: it is not there, or it is private (model.hub.token_file, RADIANT__MODEL__HUB__TOKEN)"
    )]
    NotFoundWithoutToken { repo: RepoId },
    #[error("the hub has no repository {repo}, or shows it to others alone")]
    NotFound { repo: RepoId },
    #[error("{repo} has no revision {revision}")]
    NoRevision { repo: RepoId, revision: Revision },
    #[error("{repo} has no file {file} at this revision")]
    NoFile { repo: RepoId, file: String },
    #[error("the hub does not know the token (model.hub.token, model.hub.token_file)")]
    TokenRefused,
    #[error("the hub forbids it: {said}")]
    Forbidden { said: String },

    #[error("what the hub says of {repo} is too long")]
    ListingTooLong { repo: RepoId },
    #[error("what the hub says of {repo} is not understood")]
    ParseListing { repo: RepoId, source: serde_json::Error },
    #[error("what the hub says of {repo} is not understood: {problem}")]
    Listing { repo: RepoId, problem: String },
    #[error(
        "{0} has no weights that the engine knows: neither safetensors nor GGUF; --file names files by hand"
    )]
    NoWeights(RepoId),
    #[error("{repo} has no file like {pattern}")]
    NoMatch { repo: RepoId, pattern: String },

    #[error("{file} is not what the hub lists: {problem}")]
    Differs { file: String, problem: String },
    #[error("{file} came twice with another digest than the hub lists")]
    Digest { file: String },
    #[error("{} cannot be written", path.display())]
    Write { path: PathBuf, source: std::io::Error },
    #[error("{} cannot be read", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{} is not understood", path.display())]
    Parse { path: PathBuf, source: serde_json::Error },
    #[error("{} has {free} bytes free, and {needed} are needed", dir.display())]
    NoSpace { dir: PathBuf, free: u64, needed: u64 },
    #[error("another fetch is writing to {}", .0.display())]
    InUse(PathBuf),
    #[error("{} holds {there}: fetch {wanted} into a folder of its own (--to)", dir.display())]
    OtherModel { dir: PathBuf, there: RepoId, wanted: RepoId },
    #[error("given up after {attempts} attempts")]
    GivenUp { attempts: u32, source: Box<HubError> },
    #[error("the work was broken off")]
    Dropped(#[from] tokio::task::JoinError),
}

impl HubError {
    /// Whether the same request may succeed a little later.
    fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Connect { .. }
                | Self::Broken { .. }
                | Self::Silent { .. }
                | Self::Short { .. }
                | Self::Busy { .. }
        )
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}
