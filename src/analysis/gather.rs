//! From the objects of a study to what the model is shown: which images, in which order, as which
//! pictures, and what must be said about what was left out.

mod chest;
mod context;
mod photographs;
mod stack;

use std::sync::Arc;

use dicom_object::InMemDicomObject;

use super::limitations;
use super::outside::{self, Said};
use super::trigger::Content;
use crate::ai::prompt::{Context, Focus, Pipeline, Template};
use crate::ai::{PromptSet, RgbImage};
use crate::blobs::Blobs;
use crate::config;
use crate::db::{self, Db, DbError};
use crate::dicom::uid::{SeriesUid, StudyUid};
use crate::query::Scope;
use crate::query::stored_object::{ReadError, StoredObject};
use crate::report::document::{ImageReference, PriorStudy, Reading, Subject};
use crate::report::parse::View;
use crate::reporting::{evidence, subject};
use crate::volume::assemble::AssembleError;
use crate::volume::description::VolumeDescription;
use crate::volume::functional_groups::FrameAttributes;
use crate::volume::grayscale::GrayscaleError;
use crate::volume::model_view::ModelView;
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
    #[error("the prompts of this model know no pipeline {0}")]
    NoPrompt(&'static str),
    #[error("an object is not shown to the model: {0}")]
    Stays(&'static str),
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
    pub(super) template: &'static Template,
    pub(super) focus: Option<&'static Focus>,
    /// All that the configuration allows to be told.
    pub(super) context: Context,
    pub(super) subject: Subject,
    /// Institution Name (0008,0080) of the first image.
    pub(super) institution: String,
    pub(super) images: Vec<GatheredImage>,
    /// What stands before the images in the prompt.
    pub(super) prior: Option<GatheredPrior>,
    pub(super) volume: Option<GatheredVolume>,
    /// Sentences for the report.
    pub(super) limitations: Vec<String>,
}

impl Gathered {
    /// In the order of the prompt.
    pub(super) fn pictures(&self) -> Vec<Arc<RgbImage>> {
        let prior = self.prior.iter().flat_map(|prior| &prior.pictures);
        prior.chain(self.images.iter().map(|image| &image.picture)).cloned().collect()
    }

    /// In the order of the prompt.
    pub(super) fn views(&self) -> Vec<View> {
        let prior = self.prior.iter().flat_map(|prior| prior.study.images.iter().map(|_| View::Prior));
        prior.chain(self.images.iter().map(|image| image.view)).collect()
    }
}

/// Images of an earlier study.
pub(super) struct GatheredPrior {
    pub(super) study: PriorStudy,
    /// None once the model has answered: nothing else needs them.
    pub(super) pictures: Vec<Arc<RgbImage>>,
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
    pub(super) settings: &'a config::Analysis,
    pub(super) prompts: PromptSet,
    /// How the model was asked that has answered already.
    pub(super) earlier: Option<&'a Reading>,
    /// Images that the engine takes.
    pub(super) images_taken: usize,
    /// What pixels it may be shown, where it runs elsewhere.
    pub(super) leaving: Option<&'a config::RemotePixels>,
}

impl Gatherer<'_> {
    pub(super) async fn gather(&self, study: &StudyUid, content: &Content) -> Result<Gathered, GatherError> {
        let mut gathered = match content.pipeline {
            Pipeline::ChestRadiograph => self.radiographs(study, content).await,
            Pipeline::LongitudinalChest => self.longitudinal(study, content).await,
            Pipeline::Ct | Pipeline::Mr => self.stack(study, content).await,
            Pipeline::Photograph => self.photographs(study, content).await,
        }?;
        gathered.limitations.extend(limitations::of_pipeline(content.pipeline).map(str::to_owned));
        Ok(gathered)
    }

    fn template(&self, pipeline: Pipeline) -> Result<&'static Template, GatherError> {
        self.prompts.template(pipeline).ok_or(GatherError::NoPrompt(pipeline.name()))
    }

    /// As many as the prompt was made for, the configuration allows and the engine takes, or an answer
    /// was given for.
    fn images_max(&self, pipeline: Pipeline, template: &Template) -> usize {
        let configured =
            self.settings.images_max.of(pipeline).min(template.images_max).min(self.images_taken);
        match self.earlier.map(|earlier| earlier.images) {
            // Kept by a version that did not count them.
            None | Some(0) => configured.max(1),
            Some(images) => images,
        }
    }

    /// The last look at what is shown to a model elsewhere, whoever chose it.
    fn check_leaving(
        &self,
        object: &StoredObject,
        attributes: &InMemDicomObject,
        modality: &str,
    ) -> Result<(), GatherError> {
        let Some(policy) = self.leaving else { return Ok(()) };
        let said = Said::of_attributes(attributes);
        match outside::stays(policy, object.instance.sop_class.as_str(), modality, Some(&said)) {
            Some(why) => Err(GatherError::Stays(why.reason())),
            None => Ok(()),
        }
    }

    /// The first frame of each of the `chosen`, at least one, and what the first of them tells of the study.
    async fn first_frames(
        &self,
        template: &'static Template,
        study: &StudyUid,
        chosen: &[Opened],
        prior: Option<GatheredPrior>,
        shown: Shown,
    ) -> Result<Gathered, GatherError> {
        let first = &chosen[0].attributes;
        let (subject, institution) = (subject::of(study, first), subject::institution(first));
        let compared = prior.as_ref().map(|prior| &prior.study);
        let context = self.context(template, &subject, first, compared).await?;
        let mut images = Vec::with_capacity(chosen.len());
        for opened in chosen {
            let picture = Arc::new(opened.with_frame(0, shown.rendered).await?.image);
            images.push(GatheredImage {
                reference: opened.reference(0),
                view: (shown.view)(opened),
                picture,
            });
        }
        Ok(Gathered {
            template,
            focus: None,
            context,
            subject,
            institution,
            images,
            prior,
            volume: None,
            limitations: Vec::new(),
        })
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
            self.check_leaving(&object, &attributes, &member.modality)?;
            opened.push(Opened { object, attributes, modality: member.modality.clone() });
        }
        Ok(opened)
    }
}

/// How objects of one image become pictures.
struct Shown {
    rendered: fn(&Frame, &FrameAttributes<'_>) -> Result<ModelView, GrayscaleError>,
    view: fn(&Opened) -> View,
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
        evidence::reference(&self.object, &self.attributes, &self.modality, frame)
    }
}
