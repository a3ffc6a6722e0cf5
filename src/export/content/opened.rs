//! A stored instance as a file of a file-set.

use std::sync::Arc;

use dicom_dictionary_std::{tags, uids};
use futures::stream::{StreamExt, TryStreamExt};
use serde_json::{Map, Value};

use super::Parts;
use crate::db::retrieve;
use crate::deidentify::{Profile, Subject, burned_in};
use crate::dicom::header::hex;
use crate::dicom::uid::SopInstanceUid;
use crate::dicom::{data_set, packed};
use crate::media::file_set::Object;
use crate::media::zip::{BoxError, Content};
use crate::query::retrieve::StoredInstance;
use crate::query::stored_object::{Chunks, ReadError, StoredObject};
use crate::query::transcoding::{TranscodeError, Transcoder, is_lossy};

/// What objects go out as.
#[derive(Clone)]
pub enum Form {
    /// As they are, but for syntaxes that are on no medium.
    Stored,
    /// In Explicit VR Little Endian, where nothing is lost by it.
    Native,
    Deidentified(Arc<Profile>),
}

/// A file with what the directory says of it.
pub(super) struct Opened {
    pub(super) object: Object,
    pub(super) length: Option<u64>,
    pub(super) content: Content,
}

pub(super) enum Outcome {
    Opened(Box<Opened>),
    LeftOut(&'static str),
}

#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    #[error("a stored object cannot be read")]
    Read(#[from] ReadError),
    #[error("an object cannot be written otherwise")]
    Transcode(#[from] TranscodeError),
    #[error("the stored attributes cannot be read")]
    Attributes(#[source] BoxError),
    #[error("the index failed")]
    Index(#[from] crate::db::DbError),
}

impl Parts {
    pub(super) async fn open(
        &self,
        instance: &StoredInstance,
        form: &Form,
        keep_burned_in: bool,
    ) -> Result<Outcome, OpenError> {
        let attributes = self.attributes(instance).await?;
        match form {
            Form::Deidentified(profile) => {
                if let Some(reason) = burned_in::reason(&attributes).filter(|_| !keep_burned_in) {
                    return Ok(Outcome::LeftOut(reason));
                }
                match self.deidentified(instance, profile, &attributes).await {
                    Ok(opened) => Ok(Outcome::Opened(Box::new(opened))),
                    Err(OpenError::Transcode(error)) if error.is_about_the_object() => {
                        tracing::info!(instance = %instance.sop_instance, %error, "left out of a copy");
                        Ok(Outcome::LeftOut("it cannot be written anew"))
                    }
                    Err(error) => Err(error),
                }
            }
            Form::Stored if !is_retired(instance.transfer_syntax.as_str()) => {
                Ok(Outcome::Opened(Box::new(self.stored(instance, attributes).await?)))
            }
            Form::Native if !wants_native(instance.transfer_syntax.as_str()) => {
                Ok(Outcome::Opened(Box::new(self.stored(instance, attributes).await?)))
            }
            Form::Stored | Form::Native => {
                Ok(Outcome::Opened(Box::new(self.native(instance, attributes).await?)))
            }
        }
    }

    async fn attributes(&self, instance: &StoredInstance) -> Result<Map<String, Value>, OpenError> {
        let stored = retrieve::metadata_of(&self.db, instance).await?.ok_or(ReadError::Gone)?;
        let json = packed::unpack(&stored).map_err(|error| OpenError::Attributes(error.into()))?;
        serde_json::from_slice(&json).map_err(|error| OpenError::Attributes(error.into()))
    }

    async fn stored(
        &self,
        instance: &StoredInstance,
        attributes: Map<String, Value>,
    ) -> Result<Opened, OpenError> {
        let content = StoredObject::file(&self.blobs, instance, None).await.map_err(ReadError::from)?;
        let object = Object {
            sop_class: instance.sop_class.clone(),
            sop_instance: instance.sop_instance.clone(),
            transfer_syntax: instance.transfer_syntax.clone(),
            attributes,
        };
        Ok(Opened { object, length: Some(instance.size_bytes), content: boxed(content) })
    }

    /// As stored, where there is no such form.
    async fn native(
        &self,
        instance: &StoredInstance,
        attributes: Map<String, Value>,
    ) -> Result<Opened, OpenError> {
        let object = StoredObject::open(&self.db, &self.blobs, instance.clone()).await?;
        let made = match self.transcoder().transcode(object, uids::EXPLICIT_VR_LITTLE_ENDIAN).await {
            Ok(made) => made,
            Err(error) if error.is_about_the_object() => return self.stored(instance, attributes).await,
            Err(error) => return Err(error.into()),
        };
        let object = Object {
            sop_class: instance.sop_class.clone(),
            sop_instance: instance.sop_instance.clone(),
            transfer_syntax: made.transfer_syntax,
            attributes,
        };
        Ok(Opened { object, length: made.length, content: boxed(made.content) })
    }

    async fn deidentified(
        &self,
        instance: &StoredInstance,
        profile: &Profile,
        attributes: &Map<String, Value>,
    ) -> Result<Opened, OpenError> {
        let subject = subject(instance, attributes);
        let uid = profile.sop_instance(&instance.sop_instance);
        let sop_instance: SopInstanceUid = uid.map_err(|error| OpenError::Attributes(error.into()))?;
        let stored = StoredObject::open(&self.db, &self.blobs, instance.clone()).await?;
        let rewriting = profile.rewriting(&subject, &instance.sop_class);
        let edits = profile.edits(&subject);
        let made = self.transcoder().rewrite(stored, sop_instance.clone(), edits, rewriting).await?;
        let object = Object {
            sop_class: instance.sop_class.clone(),
            sop_instance,
            transfer_syntax: made.file.transfer_syntax,
            attributes: made.attributes,
        };
        Ok(Opened { object, length: made.file.length, content: boxed(made.file.content) })
    }

    fn transcoder(&self) -> Transcoder<'_> {
        Transcoder { db: &self.db, decodes: &self.decodes }
    }
}

fn boxed(content: Chunks) -> Content {
    content.map_err(BoxError::from).boxed()
}

fn subject(instance: &StoredInstance, attributes: &Map<String, Value>) -> Subject {
    let text = |tag| attributes.get(&hex(tag)).map(data_set::text_of).unwrap_or_default();
    Subject {
        patient_id: text(tags::PATIENT_ID),
        issuer: text(tags::ISSUER_OF_PATIENT_ID),
        study: instance.study.to_string(),
    }
}

/// Syntaxes that no profile of PS3.11 has.
#[expect(deprecated, reason = "still found in archives")]
fn is_retired(transfer_syntax: &str) -> bool {
    [uids::IMPLICIT_VR_LITTLE_ENDIAN, uids::EXPLICIT_VR_BIG_ENDIAN, uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN]
        .contains(&transfer_syntax)
}

fn wants_native(transfer_syntax: &str) -> bool {
    transfer_syntax != uids::EXPLICIT_VR_LITTLE_ENDIAN && !is_lossy(transfer_syntax)
}
