//! Stored instances on their way to a peer: as stored where it takes them so, otherwise in a
//! transfer syntax that loses nothing.

use dicom_dictionary_std::uids;
use tokio::io::AsyncRead;
use tokio_util::io::StreamReader;

use super::ScuError;
use super::association::ProposedContext;
use crate::blobs::Blobs;
use crate::db::Db;
use crate::dicom::uid::TransferSyntaxUid;
use crate::ingest::StoreCommand;
use crate::query::decoding::Decodes;
use crate::query::retrieve::StoredInstance;
use crate::query::stored_object::{Chunks, StoredObject};
use crate::query::transcoding::{TranscodeError, Transcoder};
use crate::volume::pixels::encode::Encoding;

/// More preferences than these are not proposed.
const PREFERRED_MAX: usize = 16;

/// Where stored instances are read.
#[derive(Clone)]
pub struct Source {
    pub db: Db,
    pub blobs: Blobs,
    pub decodes: Decodes,
}

/// A data set that is ready to go.
pub struct Outgoing {
    pub command: StoreCommand,
    content: Chunks,
}

impl Outgoing {
    pub fn data_set(self) -> impl AsyncRead + Unpin + Send {
        StreamReader::new(self.content)
    }
}

impl Source {
    /// Opens an instance in the first of the transfer syntaxes that can be had; see [`choices`].
    ///
    /// # Errors
    /// Before anything was sent: the instance is gone or unreadable, or has none of these forms.
    pub async fn open(
        &self,
        instance: &StoredInstance,
        choices: &[TransferSyntaxUid],
    ) -> Result<Outgoing, ScuError> {
        for syntax in choices {
            match self.open_in(instance, syntax).await {
                Err(ScuError::Transcode(error)) if error.is_about_the_object() => {
                    tracing::debug!(instance = %instance.sop_instance, %syntax, %error, "no such form");
                }
                opened => return opened,
            }
        }
        let (sop_class, stored) = (instance.sop_class.clone(), instance.transfer_syntax.clone());
        Err(ScuError::NoCommonSyntax { sop_class, stored })
    }

    async fn open_in(
        &self,
        instance: &StoredInstance,
        syntax: &TransferSyntaxUid,
    ) -> Result<Outgoing, ScuError> {
        let command = StoreCommand {
            sop_class: instance.sop_class.clone(),
            sop_instance: instance.sop_instance.clone(),
            transfer_syntax: syntax.clone(),
        };
        if *syntax == instance.transfer_syntax {
            let content = StoredObject::data_set(&self.db, &self.blobs, instance).await?;
            return Ok(Outgoing { command, content });
        }
        let object = StoredObject::open(&self.db, &self.blobs, instance.clone()).await?;
        let transcoder = Transcoder { db: &self.db, decodes: &self.decodes };
        let made = transcoder.data_set(object, syntax.as_str()).await?;
        if made.sop_instance != instance.sop_instance {
            return Err(TranscodeError::NoEncoder(syntax.to_string()).into());
        }
        Ok(Outgoing { command, content: made.content })
    }
}

/// Transfer syntaxes that an instance could go out in, most wanted first: what the peer is to get,
/// as stored, and what every peer must be able to take (PS3.5 10.1).
fn wanted(instance: &StoredInstance, preferred: &[TransferSyntaxUid]) -> Vec<TransferSyntaxUid> {
    let native = [uids::EXPLICIT_VR_LITTLE_ENDIAN, uids::IMPLICIT_VR_LITTLE_ENDIAN];
    let native = native.into_iter().filter_map(|uid| uid.parse().ok());
    let preferred = preferred.iter().take(PREFERRED_MAX).cloned();
    let mut wanted = Vec::new();
    for syntax in preferred.chain([instance.transfer_syntax.clone()]).chain(native) {
        if !wanted.contains(&syntax) && can_be_had(instance, &syntax) {
            wanted.push(syntax);
        }
    }
    wanted
}

fn can_be_had(instance: &StoredInstance, syntax: &TransferSyntaxUid) -> bool {
    let uid = syntax.as_str();
    *syntax == instance.transfer_syntax
        || uid == uids::IMPLICIT_VR_LITTLE_ENDIAN
        || Encoding::of(uid).is_some_and(|encoding| !encoding.is_lossy())
}

/// Of what the peer takes, what an instance can go out in, most wanted first.
pub fn choices(
    instance: &StoredInstance,
    preferred: &[TransferSyntaxUid],
    accepted: &[TransferSyntaxUid],
) -> Vec<TransferSyntaxUid> {
    let mut choices = wanted(instance, preferred);
    choices.retain(|syntax| accepted.contains(syntax));
    for syntax in accepted {
        if !choices.contains(syntax) && can_be_had(instance, syntax) {
            choices.push(syntax.clone());
        }
    }
    choices
}

/// A context for each of them: a peer that is given several takes but one.
pub(super) fn contexts(instance: &StoredInstance, preferred: &[TransferSyntaxUid]) -> Vec<ProposedContext> {
    let context = |syntax| ProposedContext::single(instance.sop_class.clone(), syntax);
    wanted(instance, preferred).into_iter().map(context).collect()
}
