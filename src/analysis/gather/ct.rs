//! CT: the best series as a volume, and slices spread over it from head to feet.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{GatherError, Gathered, GatheredImage, GatheredVolume, Gatherer, Intensities, Opened, subject};
use crate::analysis::limitations;
use crate::analysis::trigger::Content;
use crate::dicom::uid::{SeriesUid, StudyUid};
use crate::report::parse::View;
use crate::volume::assemble::Assembly;
use crate::volume::description::VolumeDescription;
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

impl Gatherer<'_> {
    pub(super) async fn ct(
        &self,
        study: &StudyUid,
        content: &Content,
        images_max: usize,
    ) -> Result<Gathered, GatherError> {
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
        for slice in slices {
            images.push(chosen.image(order[slice]).await?);
        }
        let volume = GatheredVolume {
            series: chosen.uid.clone(),
            description: VolumeDescription::of(stack),
            intensities,
            choice: choice.reason,
        };
        let subject = subject::of(study, &chosen.objects[chosen.places[stack.order[0]].0].attributes);
        Ok(Gathered { subject, images, volume: Some(volume), limitations })
    }

    /// Assembles the volume slice by slice for the range of its values.
    async fn intensities(&self, series: &Series, stack: &Stack) -> Result<Option<Intensities>, GatherError> {
        let mut assembly = Assembly::new(stack, self.volume_bytes_max)?;
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

    async fn image(&self, index: usize) -> Result<GatheredImage, GatherError> {
        let (object, frame) = self.places[index];
        let object = &self.objects[object];
        let view = object.with_frame(frame, model_view::ct).await?;
        Ok(GatheredImage {
            reference: object.reference(frame),
            view: View::Other,
            picture: Arc::new(view.image),
        })
    }
}
