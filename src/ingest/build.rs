//! Objects put together from metadata and bulk data (PS3.18 10.5.2): the metadata in memory, bulk
//! values in staging, the data set a stream over both. What is added or changed on the way is
//! recorded in the object itself.

mod attributes;
pub mod bulk;
mod codestream;
mod data_set;
mod metadata;
mod picture;
mod pixels;
mod video;

use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use tokio::io::AsyncRead;
use tokio::sync::SemaphorePermit;

use super::outcome::stopped_unexpectedly;
use super::{Body, Ingest, Refusal, Refused, StoreCommand};
use crate::clock::Timestamp;
use crate::dicom::uid::TransferSyntaxUid;
use attributes::Attributes;
use bulk::{BulkData, BulkValue};
use data_set::{Segment, Values};
use metadata::{Metadata, Reference};

/// An object that this server put together from what was sent.
pub struct Built {
    command: StoreCommand,
    made_from: MadeFrom,
    segments: Vec<Segment>,
}

/// Where a built object comes from.
#[derive(Debug, Clone)]
pub struct MadeFrom {
    /// Over metadata and bulk data as they were sent: equal digests are the same object, although
    /// two built objects differ in when they were built.
    pub received_sha256: [u8; 32],
    /// Attributes were added or changed.
    pub coerced: bool,
}

impl Built {
    pub fn into_body(self) -> Body<impl AsyncRead + Unpin + Send> {
        let Self { command, made_from, segments } = self;
        Body::Built { reader: data_set::reader(segments), command, made_from }
    }
}

impl Ingest {
    /// Waits until metadata may be parsed and objects be built of it: both cost memory.
    pub async fn turn_to_build(&self) -> Result<SemaphorePermit<'_>, Refusal> {
        self.building.acquire().await.map_err(|_| Refusal::Stopping)
    }

    /// Puts the instance of `metadata` together with the bulk data that it refers to.
    pub async fn build(&self, metadata: Map<String, Value>, bulk: &BulkData) -> Result<Built, Refused> {
        let builder = Builder { ingest: self.clone(), bulk: bulk.clone(), now: self.clock.now() };
        let built = tokio::task::spawn_blocking(move || builder.build(&metadata)).await;
        built.unwrap_or_else(|_| Err(stopped_unexpectedly()))
    }
}

/// Blocking.
struct Builder {
    ingest: Ingest,
    bulk: BulkData,
    now: Timestamp,
}

impl Builder {
    fn build(&self, document: &Map<String, Value>) -> Result<Built, Refused> {
        let read = metadata::read(document, self.ingest.policy.header);
        let Metadata { elements, references } = read.map_err(Refused::anonymous)?;
        let about = |refusal| about(&elements, refusal);
        let command = command(&elements).map_err(about)?;
        let received_sha256 = self.digest(document, &references).map_err(about)?;
        let mut attributes = Attributes::of(elements.clone());
        let (values, transfer_syntax) = self.values(&references, &mut attributes).map_err(about)?;
        let (elements, coerced) = attributes.finish(self.now);
        let segments = data_set::segments(&elements, &values).map_err(about)?;
        Ok(Built {
            command: StoreCommand { transfer_syntax, ..command },
            made_from: MadeFrom { received_sha256, coerced },
            segments,
        })
    }

    fn digest(&self, document: &Map<String, Value>, references: &[Reference]) -> Result<[u8; 32], Refusal> {
        let text =
            serde_json::to_vec(document).map_err(|_| Refusal::Unparsable("the metadata".to_owned()))?;
        let mut digest = Sha256::new_with_prefix(text);
        for reference in references {
            self.bulk.claim(&reference.uri)?.iter().for_each(|value| digest.update(value.sha256()));
        }
        Ok(digest.finalize().into())
    }

    /// The values of the references by their paths, and how Pixel Data is encoded.
    fn values(
        &self,
        references: &[Reference],
        attributes: &mut Attributes,
    ) -> Result<(Values, TransferSyntaxUid), Refusal> {
        let mut values = Values::default();
        let mut transfer_syntax = uids::EXPLICIT_VR_LITTLE_ENDIAN.to_owned();
        for reference in references {
            let received = self.bulk.values(&reference.uri)?;
            let value = if reference.path == "7FE00010" {
                let built = pixels::build(self, received, attributes)?;
                transfer_syntax = built.transfer_syntax;
                built.value
            } else {
                let [value] = received else {
                    return Err(Refusal::Unparsable("several parts have one Content-Location".to_owned()));
                };
                plain_value(reference, value, attributes)?
            };
            values.insert(reference.path.clone(), value);
        }
        let transfer_syntax = transfer_syntax
            .parse()
            .map_err(|source| Refusal::BadUid { attribute: "Transfer Syntax UID", source })?;
        Ok((values, transfer_syntax))
    }
}

/// A value that is kept as its bytes are.
fn plain_value(
    reference: &Reference,
    value: &BulkValue,
    attributes: &mut Attributes,
) -> Result<data_set::Value, Refusal> {
    if !value.media_type.is_plain() {
        return Err(Refusal::PixelDataNotAccepted("only Pixel Data at the root is a picture"));
    }
    if reference.path == "00420011" {
        attributes.fill_number(tags::ENCAPSULATED_DOCUMENT_LENGTH, value.length());
        if let Some(name) = value.media_type.document() {
            attributes.fill_text(tags::MIME_TYPE_OF_ENCAPSULATED_DOCUMENT, name);
        }
    }
    Ok(data_set::Value::Plain(value.whole()))
}

/// What a C-STORE-RQ would say about the object.
fn command(elements: &InMemDicomObject) -> Result<StoreCommand, Refusal> {
    let sop_class = super::prepare::uid(elements, tags::SOP_CLASS_UID, "SOP Class UID")?;
    let sop_instance = super::prepare::uid(elements, tags::SOP_INSTANCE_UID, "SOP Instance UID")?;
    let transfer_syntax = super::prepare::EXPLICIT_LITTLE_ENDIAN.parse();
    let transfer_syntax =
        transfer_syntax.map_err(|source| Refusal::BadUid { attribute: "Transfer Syntax UID", source })?;
    Ok(StoreCommand { sop_class, sop_instance, transfer_syntax })
}

fn about(elements: &InMemDicomObject, refusal: Refusal) -> Refused {
    Refused {
        refusal,
        sop_class: super::prepare::text(elements, tags::SOP_CLASS_UID).parse().ok(),
        sop_instance: super::prepare::text(elements, tags::SOP_INSTANCE_UID).parse().ok(),
    }
}
