//! Sends PS3.10 files to a storage SCP, as they are: each transfer syntax is proposed alone,
//! so nothing is ever transcoded.

pub mod association;
pub mod part10;

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;

use association::{Association, Peer, ProposedContext, StoreReply};
use part10::{Part10, Part10Error};
use tokio::net::TcpStream;

use crate::dicom::uid::{SopClassUid, TransferSyntaxUid};
use crate::ul::UlError;

/// Presentation context ids are odd and one byte long, PS3.8 9.3.2.2.
const CONTEXTS_MAX: usize = 128;
/// How many files are looked at for their contexts before an association is requested.
const LOOK_AHEAD_FILES: usize = 1000;

#[derive(Debug, thiserror::Error)]
pub enum ScuError {
    #[error("{address} cannot be reached: {source}")]
    Connect { address: String, source: io::Error },
    #[error("the association was rejected: {0}")]
    Rejected(String),
    #[error("an association takes {CONTEXTS_MAX} presentation contexts at most")]
    TooManyContexts,
    #[error("the peer does not take {sop_class} in {transfer_syntax}")]
    ContextRefused { sop_class: SopClassUid, transfer_syntax: TransferSyntaxUid },
    #[error("the object cannot be read: {0}")]
    Read(#[source] io::Error),
    #[error(transparent)]
    Part10(#[from] Part10Error),
    #[error("the peer answered message {got} where {expected} was asked")]
    OtherMessage { expected: u16, got: u16 },
    #[error(transparent)]
    UpperLayer(#[from] UlError),
}

impl ScuError {
    /// Whether the association can serve the next object.
    fn spares_association(&self) -> bool {
        matches!(self, Self::ContextRefused { .. } | Self::Part10(_))
    }
}

/// What became of one file.
#[derive(Debug)]
pub struct SendOutcome {
    pub path: PathBuf,
    pub result: Result<StoreReply, ScuError>,
}

impl SendOutcome {
    pub fn is_stored(&self) -> bool {
        self.result.as_ref().is_ok_and(StoreReply::is_stored)
    }
}

/// Sends the files one after the other and tells `progress` about each; outcomes come back in
/// the order of `files`. An association that breaks is opened again for the next file.
pub async fn send_files(
    peer: &Peer,
    files: Vec<PathBuf>,
    mut progress: impl FnMut(&SendOutcome) + Send,
) -> Vec<SendOutcome> {
    let mut outcomes = Vec::with_capacity(files.len());
    let mut sender = Sender { peer, association: None };
    for (index, path) in files.iter().enumerate() {
        let result = sender.send(path, &files[index..]).await;
        let outcome = SendOutcome { path: path.clone(), result };
        progress(&outcome);
        outcomes.push(outcome);
    }
    sender.finish().await;
    outcomes
}

struct Sender<'a> {
    peer: &'a Peer,
    association: Option<Association<TcpStream>>,
}

impl Sender<'_> {
    async fn send(&mut self, path: &PathBuf, ahead: &[PathBuf]) -> Result<StoreReply, ScuError> {
        let object = Part10::open(path).await?;
        let mut association = self.association_for(&object, ahead).await?;
        let result = association.store_file(object).await;
        match &result {
            Err(error) if !error.spares_association() => association.abort().await,
            _ => self.association = Some(association),
        }
        result
    }

    /// The one that stands if it knows the object's context, otherwise a new one.
    async fn association_for(
        &mut self,
        object: &Part10,
        ahead: &[PathBuf],
    ) -> Result<Association<TcpStream>, ScuError> {
        match self.association.take() {
            Some(association) if association.has_proposed(&object.context()) => {
                return Ok(association);
            }
            Some(association) => release(association).await,
            None => {}
        }
        Association::connect(self.peer, &contexts_ahead(ahead).await).await
    }

    async fn finish(self) {
        if let Some(association) = self.association {
            release(association).await;
        }
    }
}

async fn release(association: Association<TcpStream>) {
    if let Err(error) = association.release().await {
        tracing::debug!(%error, "the peer did not confirm the release");
    }
}

/// What the next files need, up to the file that would be one context too many; files that
/// cannot be read say so when their turn comes.
async fn contexts_ahead(files: &[PathBuf]) -> Vec<ProposedContext> {
    let mut contexts = BTreeSet::new();
    for path in files.iter().take(LOOK_AHEAD_FILES) {
        if let Ok(object) = Part10::open(path).await {
            contexts.insert(object.context());
        }
        if contexts.len() == CONTEXTS_MAX {
            break;
        }
    }
    contexts.into_iter().collect()
}

#[cfg(test)]
mod tests;
