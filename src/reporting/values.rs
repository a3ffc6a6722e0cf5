//! What the pixels of a stored frame say of a region.

use std::sync::Arc;

use crate::blobs::Blobs;
use crate::db::{self, Db, DbError};
use crate::query::Scope;
use crate::query::stored_object::{ReadError, StoredObject};
use crate::report::document::ImageReference;
use crate::report::measure::{self, Measured, Statistics};
use crate::report::region::Region;
use crate::volume::functional_groups::FrameAttributes;
use crate::volume::grayscale::modality::is_hounsfield;
use crate::volume::grayscale::{GrayscaleError, measurable_values};
use crate::volume::pixels::{self, ImageDescription, PixelError};

#[derive(Debug, thiserror::Error)]
pub enum ValuesError {
    #[error("the index failed")]
    Index(#[from] DbError),
    #[error("a stored object could not be read")]
    Read(#[from] ReadError),
    #[error("the image is no longer stored")]
    Gone,
    #[error("the frame cannot be decoded: {0}")]
    Pixels(#[from] PixelError),
    #[error("the frame has no values: {0}")]
    Grayscale(#[from] GrayscaleError),
    #[error("the decoder stopped unexpectedly")]
    Decoder(#[from] tokio::task::JoinError),
}

impl ValuesError {
    /// Whether the same values may be read later.
    pub(crate) fn is_retryable(&self) -> bool {
        matches!(self, Self::Index(_) | Self::Read(_))
    }
}

/// Everything that is measured on a region: its size, and on a CT the attenuation in it.
pub(crate) async fn measured(
    db: &Db,
    blobs: &Blobs,
    image: &ImageReference,
    region: &Region,
) -> Result<Vec<Measured>, ValuesError> {
    let mut measured = measure::size_on(image, region);
    if image.modality == "CT"
        && let Some(values) = attenuation(db, blobs, image, *region).await?
    {
        measured.extend(values.attenuation(image.spacing_at(region).as_ref()));
    }
    Ok(measured)
}

/// `None` where the values are no Hounsfield units, or all of them padding.
async fn attenuation(
    db: &Db,
    blobs: &Blobs,
    image: &ImageReference,
    region: Region,
) -> Result<Option<Statistics>, ValuesError> {
    let scope = Scope::Instance(image.study.clone(), image.series.clone(), image.sop_instance.clone());
    let stored = db::retrieve::instances(db, &scope, 0).await?;
    let object = StoredObject::open(db, blobs, stored.into_iter().next().ok_or(ValuesError::Gone)?).await?;
    let attributes = Arc::new(object.attributes(db).await?);
    let number = image.frame.unwrap_or(1);
    let frame = usize::try_from(number).unwrap_or(usize::MAX).saturating_sub(1);
    if !is_hounsfield(&FrameAttributes::new(&attributes, frame)) {
        return Ok(None);
    }
    let bytes = object.frame(u64::from(number)).await?.ok_or(ValuesError::Gone)?;
    let syntax = object.instance.transfer_syntax.clone();
    let work = tokio::task::spawn_blocking(move || {
        let description = ImageDescription::from_object(&attributes)?;
        let decoded = pixels::decode(&description, bytes.encoded(syntax.as_str()))?;
        let values = measurable_values(&decoded, &FrameAttributes::new(&attributes, frame))?;
        Ok(Statistics::of(values.view(), &region))
    });
    work.await?
}
