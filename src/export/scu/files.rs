//! PS3.10 files to a storage SCP, as they are: each transfer syntax is proposed alone, so nothing
//! is ever transcoded.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::association::{Association, Peer, ProposedContext, StoreReply, Stream};
use super::part10::Part10;
use super::{CONTEXTS_MAX, LOOK_AHEAD, ScuError, release};

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
/// the order of `files`. An association that breaks is opened again for the next file; where none
/// can be had, the rest is not tried.
pub async fn send_files(
    peer: &Peer,
    files: Vec<PathBuf>,
    mut progress: impl FnMut(&SendOutcome) + Send,
) -> Vec<SendOutcome> {
    let mut outcomes = Vec::with_capacity(files.len());
    let (mut sender, mut is_lost) = (FileSender { peer, association: None }, false);
    for (index, path) in files.iter().enumerate() {
        let result = match is_lost {
            true => Err(ScuError::NotTried),
            false => sender.send(path, &files[index..]).await,
        };
        is_lost |= result.as_ref().is_err_and(ScuError::is_unreachable);
        let outcome = SendOutcome { path: path.clone(), result };
        progress(&outcome);
        outcomes.push(outcome);
    }
    sender.finish().await;
    outcomes
}

struct FileSender<'a> {
    peer: &'a Peer,
    association: Option<Association<Stream>>,
}

impl FileSender<'_> {
    async fn send(&mut self, path: &Path, ahead: &[PathBuf]) -> Result<StoreReply, ScuError> {
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
    ) -> Result<Association<Stream>, ScuError> {
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

/// What the next files need, up to the file that would be one context too many; files that
/// cannot be read say so when their turn comes.
async fn contexts_ahead(files: &[PathBuf]) -> Vec<ProposedContext> {
    let mut contexts = BTreeSet::new();
    for path in files.iter().take(LOOK_AHEAD) {
        if let Ok(object) = Part10::open(path).await {
            contexts.insert(object.context());
        }
        if contexts.len() == CONTEXTS_MAX {
            break;
        }
    }
    contexts.into_iter().collect()
}
