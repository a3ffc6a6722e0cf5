//! CT and MR: the best series as a volume, and slices spread over it from head to feet.

use std::collections::BTreeMap;
use std::sync::Arc;

use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

use super::{GatherError, Gathered, GatheredImage, GatheredVolume, Gatherer, Intensities, Opened};
use crate::ai::prompt::WindowKind;
use crate::analysis::limitations;
use crate::analysis::trigger::Content;
use crate::dicom::uid::{SeriesUid, StudyUid};
use crate::report::parse::View;
use crate::reporting::subject;
use crate::volume::assemble::Assembly;
use crate::volume::attributes::text;
use crate::volume::description::VolumeDescription;
use crate::volume::functional_groups::FrameAttributes;
use crate::volume::pixels::Frame;
use crate::volume::selection::{SeriesCandidate, choose, select};
use crate::volume::series::{SliceFrame, Stack, Stacks, stacks};
use crate::volume::{grayscale, model_view, normalize};

/// A series whose frames have been sorted into stacks.
struct Series {
    uid: SeriesUid,
    objects: Vec<Opened>,
    /// Object and frame (from 0) of each frame that the stacks count.
    places: Vec<(usize, usize)>,
    stacks: Stacks,
}

/// How values of slices become what the model sees.
#[derive(Debug, Clone, Copy)]
enum Shades {
    Ct,
    Range((f32, f32)),
}

impl Gatherer<'_> {
    pub(super) async fn stack(&self, study: &StudyUid, content: &Content) -> Result<Gathered, GatherError> {
        let template = self.template(content.pipeline)?;
        let images_max = self.images_max(content.pipeline, template);
        let series = by_series(self.open(study, content).await?);
        let candidates: Vec<SeriesCandidate> = series.iter().map(Series::candidate).collect();
        let choice = choose(&candidates);
        let chosen = choice.chosen.and_then(|index| series.get(index));
        let chosen = chosen.ok_or_else(|| GatherError::NothingToShow(choice.reason.clone()))?;
        let stack = &chosen.stacks.stacks[0];
        let mut limitations = limitations::of_stacks(&chosen.stacks, stack);
        let intensities = match self.intensities(chosen, stack).await {
            Err(GatherError::Assemble(error)) => {
                limitations.push(format!("The volume was not assembled: {error}."));
                None
            }
            other => other?,
        };
        // A stack is in reading order: head to feet where it is axial.
        let order = &stack.order;
        let slices = select(order.len(), images_max);
        limitations.push(format!("{} of {} slices were shown to the model.", slices.len(), order.len()));
        let mut images = Vec::with_capacity(slices.len());
        let window = match template.window {
            WindowKind::VolumeRange => Shades::Range(chosen.range(stack, intensities).await?),
            WindowKind::First | WindowKind::CtThreeWindows | WindowKind::None => Shades::Ct,
        };
        for slice in slices {
            images.push(chosen.image(order[slice], window).await?);
        }
        let volume = GatheredVolume {
            series: chosen.uid.clone(),
            description: VolumeDescription::of(stack),
            intensities,
            choice: choice.reason,
        };
        let first = &chosen.objects[chosen.places[stack.order[0]].0].attributes;
        let (subject, institution) = (subject::of(study, first), subject::institution(first));
        let focus = template.focus_of(&descriptions(first).each_ref().map(String::as_str));
        Ok(Gathered {
            template,
            focus,
            context: self.context(template, &subject, first, None).await?,
            subject,
            institution,
            images,
            prior: None,
            volume: Some(volume),
            limitations,
        })
    }

    /// Assembles the volume slice by slice for the range of its values.
    async fn intensities(&self, series: &Series, stack: &Stack) -> Result<Option<Intensities>, GatherError> {
        let bytes_max = usize::try_from(self.settings.volume_bytes_max).unwrap_or(usize::MAX);
        let mut assembly = Assembly::new(stack, bytes_max)?;
        for index in &stack.order {
            let (object, frame) = series.places[*index];
            let values = series.objects[object].with_frame(frame, grayscale::modality_values).await?;
            assembly.push(&values)?;
        }
        let volume = assembly.finish()?;
        let work = tokio::task::spawn_blocking(move || {
            let (least, greatest) = normalize::range(volume.values.view())?;
            let (percentile_1, percentile_99) = normalize::percentiles(volume.values.view(), 1.0, 99.0)?;
            Some(Intensities { least, greatest, percentile_1, percentile_99 })
        });
        work.await.map_err(GatherError::Decoder)
    }
}

/// What says which part of the body it is, the surest first.
fn descriptions(object: &InMemDicomObject) -> [String; 4] {
    [tags::BODY_PART_EXAMINED, tags::SERIES_DESCRIPTION, tags::PROTOCOL_NAME, tags::STUDY_DESCRIPTION]
        .map(|tag| text(object, tag).unwrap_or_default())
}

fn by_series(opened: Vec<Opened>) -> Vec<Series> {
    let mut groups: BTreeMap<SeriesUid, Vec<Opened>> = BTreeMap::new();
    for object in opened {
        groups.entry(object.object.instance.series.clone()).or_default().push(object);
    }
    groups.into_iter().map(|(uid, objects)| Series::new(uid, objects)).collect()
}

impl Series {
    fn new(uid: SeriesUid, objects: Vec<Opened>) -> Self {
        let places: Vec<(usize, usize)> = objects
            .iter()
            .enumerate()
            .flat_map(|(index, object)| (0..object.frames()).map(move |frame| (index, frame)))
            .collect();
        let frames: Vec<SliceFrame> = places
            .iter()
            .map(|(object, frame)| SliceFrame::of(&objects[*object].frame_attributes(*frame), *frame))
            .collect();
        let stacks = stacks(&frames);
        Self { uid, objects, places, stacks }
    }

    /// A series is made of at least one object.
    fn candidate(&self) -> SeriesCandidate {
        SeriesCandidate::of(&self.objects[0].attributes, &self.stacks)
    }

    /// Least and greatest value of the whole acquisition, also where it is too large for a volume.
    async fn range(&self, stack: &Stack, known: Option<Intensities>) -> Result<(f32, f32), GatherError> {
        if let Some(known) = known {
            return Ok((known.least, known.greatest));
        }
        let mut range = (f32::INFINITY, f32::NEG_INFINITY);
        for index in &stack.order {
            let (object, frame) = self.places[*index];
            let values = self.objects[object].with_frame(frame, grayscale::modality_values).await?;
            let (least, greatest) = normalize::range(values.view()).unwrap_or(range);
            range = (range.0.min(least), range.1.max(greatest));
        }
        Ok(range)
    }

    async fn image(&self, index: usize, shades: Shades) -> Result<GatheredImage, GatherError> {
        let (object, frame) = self.places[index];
        let object = &self.objects[object];
        let view = match shades {
            Shades::Ct => object.with_frame(frame, model_view::ct).await?,
            Shades::Range(range) => {
                let shown = move |frame: &Frame, attributes: &FrameAttributes<'_>| {
                    model_view::stretched(frame, attributes, range)
                };
                object.with_frame(frame, shown).await?
            }
        };
        Ok(GatheredImage {
            reference: object.reference(frame),
            view: View::Other,
            picture: Arc::new(view.image),
        })
    }
}
