//! From the objects of a study to what the model is shown: which images, in which order, as which
//! pictures, and what must be said about what was left out.

mod chest;
mod ct;
mod subject;

use std::sync::Arc;

use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

use super::trigger::Content;
use crate::ai::RgbImage;
use crate::ai::prompt::Pipeline;
use crate::blobs::Blobs;
use crate::db::{self, Db, DbError};
use crate::dicom::uid::{SeriesUid, StudyUid};
use crate::query::Scope;
use crate::query::stored_object::{ReadError, StoredObject};
use crate::report::document::{ImageReference, Subject};
use crate::report::parse::View;
use crate::volume::assemble::AssembleError;
use crate::volume::attributes::{integer, text};
use crate::volume::description::VolumeDescription;
use crate::volume::functional_groups::FrameAttributes;
use crate::volume::geometry::PixelSpacing;
use crate::volume::grayscale::GrayscaleError;
use crate::volume::pixels::{self, Frame, ImageDescription, PixelError};

#[derive(Debug, thiserror::Error)]
pub(super) enum GatherError {
    #[error("the index could not be read")]
    Index(#[from] DbError),
    #[error("a stored object could not be read")]
    Read(#[from] ReadError),
    #[error("an object of the study is no longer stored")]
    Gone,
    #[error("frame {frame} is not in the object")]
    NoFrame { frame: u64 },
    #[error("a frame cannot be decoded: {0}")]
    Pixels(#[from] PixelError),
    #[error("a frame has no values to show: {0}")]
    Grayscale(#[from] GrayscaleError),
    #[error("the volume cannot be assembled: {0}")]
    Assemble(#[from] AssembleError),
    #[error("nothing in the study can be shown to the model: {0}")]
    NothingToShow(String),
    #[error("the decoder stopped unexpectedly")]
    Decoder(#[source] tokio::task::JoinError),
}

impl GatherError {
    /// Whether the same study may be gathered later.
    pub(super) fn is_retryable(&self) -> bool {
        matches!(self, Self::Index(_) | Self::Read(_))
    }
}

/// What one analysis works on.
pub(super) struct Gathered {
    pub(super) subject: Subject,
    pub(super) images: Vec<GatheredImage>,
    pub(super) volume: Option<GatheredVolume>,
    /// Sentences for the report.
    pub(super) limitations: Vec<String>,
}

pub(super) struct GatheredImage {
    pub(super) reference: ImageReference,
    pub(super) view: View,
    pub(super) picture: Arc<RgbImage>,
}

/// The volume that slices were chosen from.
pub(super) struct GatheredVolume {
    pub(super) series: SeriesUid,
    pub(super) description: VolumeDescription,
    pub(super) intensities: Option<Intensities>,
    /// Why this series and no other.
    pub(super) choice: String,
}

/// Values of the whole volume in the units of the modality, for normalisation.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub(super) struct Intensities {
    pub(super) least: f32,
    pub(super) greatest: f32,
    pub(super) percentile_1: f32,
    pub(super) percentile_99: f32,
}

pub(super) struct Gatherer<'a> {
    pub(super) db: &'a Db,
    pub(super) blobs: &'a Blobs,
    pub(super) volume_bytes_max: usize,
}

impl Gatherer<'_> {
    pub(super) async fn gather(&self, study: &StudyUid, content: &Content) -> Result<Gathered, GatherError> {
        let images_max = content.pipeline.template().images_max;
        match content.pipeline {
            Pipeline::ChestRadiograph => self.radiographs(study, content, images_max).await,
            Pipeline::Ct => self.ct(study, content, images_max).await,
        }
    }

    /// Opens every object of the content, by series and instance.
    async fn open(&self, study: &StudyUid, content: &Content) -> Result<Vec<Opened>, GatherError> {
        let mut opened = Vec::with_capacity(content.members.len());
        for member in &content.members {
            let scope = Scope::Instance(study.clone(), member.series.clone(), member.sop_instance.clone());
            let stored = db::retrieve::instances(self.db, &scope, 0).await?;
            let stored = stored.into_iter().next().ok_or(GatherError::Gone)?;
            let object = StoredObject::open(self.db, self.blobs, stored).await?;
            let attributes = Arc::new(object.attributes(self.db).await?);
            opened.push(Opened { object, attributes, modality: member.modality.clone() });
        }
        Ok(opened)
    }
}

/// An object of the study with its attributes at hand.
struct Opened {
    object: StoredObject,
    attributes: Arc<InMemDicomObject>,
    modality: String,
}

impl Opened {
    fn frame_attributes(&self, frame: usize) -> FrameAttributes<'_> {
        FrameAttributes::new(&self.attributes, frame)
    }

    fn frames(&self) -> usize {
        usize::try_from(self.object.layout.frame_count()).unwrap_or(usize::MAX)
    }

    /// Decodes a frame (from 0) and makes something of it, off the async threads.
    async fn with_frame<T: Send + 'static>(
        &self,
        frame: usize,
        make: impl FnOnce(&Frame, &FrameAttributes<'_>) -> Result<T, GrayscaleError> + Send + 'static,
    ) -> Result<T, GatherError> {
        let number = frame as u64 + 1;
        let bytes = self.object.frame(number).await?.ok_or(GatherError::NoFrame { frame: number })?;
        let syntax = self.object.instance.transfer_syntax.clone();
        let attributes = Arc::clone(&self.attributes);
        let work = tokio::task::spawn_blocking(move || {
            let image = ImageDescription::from_object(&attributes)?;
            let decoded = pixels::decode(&image, bytes.encoded(syntax.as_str()))?;
            Ok(make(&decoded, &FrameAttributes::new(&attributes, frame))?)
        });
        work.await.map_err(GatherError::Decoder)?
    }

    fn reference(&self, frame: usize) -> ImageReference {
        let instance = &self.object.instance;
        let number = |tag| integer(&self.attributes, tag).and_then(|n| i32::try_from(n).ok());
        let size = |tag| integer(&self.attributes, tag).and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
        ImageReference {
            study: instance.study.clone(),
            series: instance.series.clone(),
            sop_class: instance.sop_class.clone(),
            sop_instance: instance.sop_instance.clone(),
            frame: (self.frames() > 1).then(|| u32::try_from(frame + 1).unwrap_or(u32::MAX)),
            rows: size(tags::ROWS),
            columns: size(tags::COLUMNS),
            spacing: PixelSpacing::of(&self.frame_attributes(frame)),
            modality: self.modality.clone(),
            series_number: number(tags::SERIES_NUMBER),
            instance_number: number(tags::INSTANCE_NUMBER),
            frame_of_reference: text(&self.attributes, tags::FRAME_OF_REFERENCE_UID),
        }
    }
}
