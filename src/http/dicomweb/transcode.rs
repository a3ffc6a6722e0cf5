//! An object in Explicit VR Little Endian, when a client cannot take it as it is stored.

use bytes::Bytes;
use dicom_encoding::TransferSyntaxIndex;
use dicom_pixeldata::Transcode;
use dicom_transfer_syntax_registry::TransferSyntaxRegistry;

use crate::blobs::BlobKey;
use crate::http::State;
use crate::http::body::BoxError;
use crate::http::error::HttpError;
use crate::http::negotiation::NotAcceptable;
use crate::query::retrieve::StoredInstance;

/// Larger objects are given as stored or not at all: a transcoded one is held in memory.
const BYTES_MAX: u64 = 512 << 20;

/// # Errors
/// 406 for an object that cannot be decoded or is too large.
pub(super) async fn to_little_endian(state: &State, instance: &StoredInstance) -> Result<Bytes, HttpError> {
    let not_acceptable = || {
        let available = format!("application/dicom; transfer-syntax={}", instance.transfer_syntax);
        HttpError::NotAcceptable(NotAcceptable { available })
    };
    if instance.size_bytes > BYTES_MAX {
        return Err(not_acceptable());
    }
    let key = BlobKey::from_index(&instance.blob_key);
    let stored = state.blobs.get_range(&key, 0..instance.size_bytes).await?;
    let transcoded = state.decodes.run(move || transcode(&stored)).await?;
    transcoded.map_err(|error| {
        tracing::info!(error, instance = %instance.sop_instance, "an object could not be transcoded");
        not_acceptable()
    })
}

fn transcode(stored: &[u8]) -> Result<Bytes, BoxError> {
    let mut object = dicom_object::from_reader(stored)?;
    let target = dicom_dictionary_std::uids::EXPLICIT_VR_LITTLE_ENDIAN;
    let syntax = TransferSyntaxRegistry.get(target).ok_or("the syntax is not registered")?;
    object.transcode(syntax)?;
    let mut written = Vec::with_capacity(stored.len());
    object.write_all(&mut written)?;
    Ok(written.into())
}
