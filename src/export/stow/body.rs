//! The body of a request: `multipart/related`, PS3.18 8.6.1.2, streamed.

use bytes::Bytes;
use dicom_dictionary_std::uids;
use futures::stream::{self, Stream, StreamExt};

use crate::causes::chain;
use crate::dicom::uid::TransferSyntaxUid;
use crate::export::Parts;
use crate::export::courier::Fate;
use crate::query::retrieve::StoredInstance;
use crate::query::stored_object::{Chunks, ReadError, StoredObject};
use crate::query::transcoding::{TranscodeError, Transcoder, is_lossy};

/// An object that is ready to go.
pub(super) struct Outgoing {
    /// Unknown while frames are still to be compressed.
    length: Option<u64>,
    content: Chunks,
}

/// Opens an object in the first transfer syntax that can be had of those that are wanted.
pub(super) async fn open(
    parts: &Parts,
    instance: &StoredInstance,
    preferred: &[TransferSyntaxUid],
) -> Result<Outgoing, Fate> {
    for syntax in wanted(instance, preferred) {
        match open_in(parts, instance, &syntax).await {
            Ok(outgoing) => return Ok(outgoing),
            Err(error) if error.is_about_the_object() => {
                tracing::debug!(instance = %instance.sop_instance, syntax, %error, "no such form");
            }
            Err(error) => return Err(fate_of(&error)),
        }
    }
    stored(parts, instance).await.map_err(|error| fate_of(&error))
}

fn fate_of(error: &TranscodeError) -> Fate {
    match error {
        TranscodeError::Read(ReadError::Gone) => Fate::Gone,
        error => Fate::Failed(format!("the stored object cannot be opened: {}", chain(error))),
    }
}

/// What is preferred, then as stored; retired syntaxes are not for web services (PS3.18 8.7.3). A lossy
/// copy is another object, with a UID of its own: nobody asked for that.
#[expect(deprecated, reason = "still found in archives")]
fn wanted(instance: &StoredInstance, preferred: &[TransferSyntaxUid]) -> Vec<String> {
    let stored = instance.transfer_syntax.as_str();
    let is_retired = [uids::IMPLICIT_VR_LITTLE_ENDIAN, uids::EXPLICIT_VR_BIG_ENDIAN].contains(&stored);
    let fallback = if is_retired { uids::EXPLICIT_VR_LITTLE_ENDIAN } else { stored };
    let preferred = preferred.iter().map(TransferSyntaxUid::as_str);
    let faithful = preferred.filter(|syntax| *syntax == stored || !is_lossy(syntax));
    faithful.chain([fallback]).map(str::to_owned).collect()
}

async fn open_in(parts: &Parts, instance: &StoredInstance, syntax: &str) -> Result<Outgoing, TranscodeError> {
    if syntax == instance.transfer_syntax.as_str() {
        return stored(parts, instance).await;
    }
    let object = StoredObject::open(&parts.db, &parts.blobs, instance.clone()).await?;
    let transcoder = Transcoder { db: &parts.db, decodes: &parts.decodes };
    let made = transcoder.transcode(object, syntax).await?;
    Ok(Outgoing { length: made.length, content: made.content })
}

async fn stored(parts: &Parts, instance: &StoredInstance) -> Result<Outgoing, TranscodeError> {
    let content = StoredObject::file(&parts.blobs, instance, None).await.map_err(ReadError::from)?;
    Ok(Outgoing { length: Some(instance.size_bytes), content })
}

/// No object has it in it but by a chance of one in 2^122.
pub(super) fn boundary() -> String {
    format!("radiant-{}", crate::ids::row_id())
}

fn closing(boundary: &str) -> String {
    format!("\r\n--{boundary}--\r\n")
}

/// Without the transfer syntax, which the file says itself: there are servers that pass over parts
/// whose type has a parameter, and answer 200.
fn header(boundary: &str) -> String {
    format!("\r\n--{boundary}\r\nContent-Type: application/dicom\r\n\r\n")
}

/// Of the body, where that of every object is known.
pub(super) fn length(parts: &[Outgoing], boundary: &str) -> Option<u64> {
    let one = |part: &Outgoing| Some(part.length? + header(boundary).len() as u64);
    let objects: Option<u64> = parts.iter().map(one).sum();
    objects.map(|objects| objects + closing(boundary).len() as u64)
}

/// One after the other; an error breaks the request off.
pub(super) fn stream(
    parts: Vec<Outgoing>,
    boundary: &str,
) -> impl Stream<Item = std::io::Result<Bytes>> + Send + 'static {
    let closing = Bytes::from(closing(boundary));
    let boundary = boundary.to_owned();
    let written = stream::iter(parts).flat_map(move |part| {
        let header = Bytes::from(header(&boundary));
        stream::iter([Ok(header)]).chain(part.content)
    });
    written.chain(stream::iter([Ok(closing)]))
}
