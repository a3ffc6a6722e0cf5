//! Series as volumes: read, decoded and assembled within limits, and kept for the next question.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dicom_object::InMemDicomObject;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::Scope;
use super::decoding::{Decodes, DecodesError};
use super::stored_object::{ReadError, StoredObject};
use crate::blobs::Blobs;
use crate::config;
use crate::db::{Db, DbError, retrieve};
use crate::volume::assemble::{AssembleError, Assembly, Volume};
use crate::volume::description::VolumeDescription;
use crate::volume::functional_groups::FrameAttributes;
use crate::volume::geometry::Vector;
use crate::volume::grayscale::voi::WindowLevel;
use crate::volume::grayscale::{GrayscaleError, modality_values};
use crate::volume::pixels::{self, ImageDescription, PixelError};
use crate::volume::plane::Extent;
use crate::volume::series::{Issue, SliceFrame, Stack, stacks};
use crate::volume::{nifti, normalize};

#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    #[error("the index failed")]
    Index(#[from] DbError),
    #[error("a stored object cannot be read")]
    Read(#[from] ReadError),
    #[error("a frame cannot be decoded: {0}")]
    Pixels(#[from] PixelError),
    #[error("a frame has no values: {0}")]
    Grayscale(#[from] GrayscaleError),
    #[error("the volume cannot be assembled: {0}")]
    Assemble(#[from] AssembleError),
    #[error("the decoder stopped unexpectedly")]
    Decoder(#[from] DecodesError),
    /// Nothing that makes a volume.
    #[error("the series has no slices with a place in the patient")]
    NoStack,
    #[error("the series has more than {0} frames")]
    TooManyFrames(usize),
    #[error("an object of the series lacks a frame")]
    NoFrame,
    /// As many wait as may.
    #[error("as many volumes are being read as may be")]
    Busy,
}

/// The largest stack of a series, and what there is beside it.
pub struct Described {
    pub description: VolumeDescription,
    /// Of the whole series.
    pub issues: Vec<Issue>,
    /// Stacks beside this one: other orientations, phases, sizes.
    pub other_stacks: usize,
    pub window: Option<WindowLevel>,
    /// From one slice to the next, in mm.
    pub step_mm: Vector,
    pub extent: Extent,
}

/// A volume with what is known about it.
pub struct Loaded {
    pub described: Described,
    pub volume: Volume,
    /// Of all values.
    pub least: f32,
    /// The range of most of them, for pictures without a window of their own.
    pub usual: (f32, f32),
}

/// One frame of the series: its object, and which of its frames (from 0).
type Place = (usize, usize);

/// The objects of a series, opened.
struct Opened {
    objects: Vec<(StoredObject, Arc<InMemDicomObject>)>,
    places: Vec<Place>,
    stack: Stack,
    described: Described,
}

pub struct Parts {
    pub db: Db,
    pub blobs: Blobs,
    pub decodes: Decodes,
    pub settings: config::Volumes,
    /// Of one volume.
    pub bytes_max: usize,
}

pub struct Volumes {
    parts: Parts,
    at_a_time: Semaphore,
    waiting: Semaphore,
    kept: Mutex<Vec<(String, Arc<Loaded>)>>,
}

impl Volumes {
    pub fn new(parts: Parts) -> Self {
        let at_a_time = Semaphore::new(parts.settings.at_a_time.max(1));
        let waiting = Semaphore::new(parts.settings.at_a_time + parts.settings.waiting_max);
        Self { parts, at_a_time, waiting, kept: Mutex::default() }
    }

    pub fn settings(&self) -> &config::Volumes {
        &self.parts.settings
    }

    /// What the volume of a series would be, from the attributes alone.
    pub async fn describe(&self, scope: &Scope) -> Result<Described, VolumeError> {
        let _turn = self.turn()?;
        Ok(self.open(scope).await?.described)
    }

    /// The volume of a series; `key` names its content.
    pub async fn load(&self, scope: &Scope, key: &str) -> Result<Arc<Loaded>, VolumeError> {
        if let Some(known) = self.known(key) {
            return Ok(known);
        }
        let _turn = self.turn()?;
        let _permit = self.at_a_time.acquire().await.map_err(|_| VolumeError::Busy)?;
        // Whoever was in front may have wanted the same.
        if let Some(known) = self.known(key) {
            return Ok(known);
        }
        let loaded = Arc::new(self.assemble(self.open(scope).await?).await?);
        self.keep(key, &loaded);
        Ok(loaded)
    }

    fn turn(&self) -> Result<SemaphorePermit<'_>, VolumeError> {
        self.waiting.try_acquire().map_err(|_| VolumeError::Busy)
    }

    async fn open(&self, scope: &Scope) -> Result<Opened, VolumeError> {
        let Parts { db, blobs, settings, .. } = &self.parts;
        let (mut objects, mut places, mut after) = (Vec::new(), Vec::new(), 0);
        loop {
            let page = retrieve::instances(db, scope, after).await?;
            let Some(last) = page.last() else { break };
            after = last.row;
            for instance in page {
                let object = StoredObject::open(db, blobs, instance).await?;
                let frames = usize::try_from(object.layout.frame_count()).unwrap_or(usize::MAX);
                if frames > settings.slices_max.saturating_sub(places.len()) {
                    return Err(VolumeError::TooManyFrames(settings.slices_max));
                }
                let attributes = Arc::new(object.attributes(db).await?);
                places.extend((0..frames).map(|frame| (objects.len(), frame)));
                objects.push((object, attributes));
            }
        }
        let attributes: Vec<Arc<InMemDicomObject>> = objects.iter().map(|(_, a)| Arc::clone(a)).collect();
        let frames = places.clone();
        let sorted = self.parts.decodes.run(move || sorted(&attributes, &frames)).await?;
        let (stack, described) = sorted.ok_or(VolumeError::NoStack)?;
        Ok(Opened { objects, places, stack, described })
    }

    async fn assemble(&self, opened: Opened) -> Result<Loaded, VolumeError> {
        let Opened { objects, places, stack, described } = opened;
        let mut assembly = Assembly::new(&stack, self.parts.bytes_max)?;
        for index in &stack.order {
            let (object, frame) = places[*index];
            let (object, attributes) = &objects[object];
            let bytes = object.frame(frame as u64 + 1).await?.ok_or(VolumeError::NoFrame)?;
            let (attributes, syntax) = (Arc::clone(attributes), object.instance.transfer_syntax.clone());
            let values = self.parts.decodes.run(move || {
                let image = ImageDescription::from_object(&attributes)?;
                let decoded = pixels::decode(&image, bytes.encoded(syntax.as_str()))?;
                Ok::<_, VolumeError>(modality_values(&decoded, &FrameAttributes::new(&attributes, frame))?)
            });
            assembly.push(&values.await??)?;
        }
        let volume = assembly.finish()?;
        let measured = self.parts.decodes.run(move || {
            let least = normalize::range(volume.values.view()).map_or(0.0, |(least, _)| least);
            let usual = normalize::percentiles(volume.values.view(), 1.0, 99.0).unwrap_or((0.0, 1.0));
            (volume, least, usual)
        });
        let (volume, least, usual) = measured.await?;
        Ok(Loaded { described, volume, least, usual })
    }

    fn known(&self, key: &str) -> Option<Arc<Loaded>> {
        let mut kept = self.kept();
        let at = kept.iter().position(|(known, _)| known == key)?;
        let found = kept.remove(at);
        let loaded = Arc::clone(&found.1);
        kept.push(found);
        Some(loaded)
    }

    /// The newest that have room; what nobody has asked for goes first.
    fn keep(&self, key: &str, loaded: &Arc<Loaded>) {
        let mut kept = self.kept();
        kept.push((key.to_owned(), Arc::clone(loaded)));
        let bytes = |loaded: &Loaded| loaded.volume.values.len() as u64 * size_of::<f32>() as u64;
        let mut total: u64 = kept.iter().map(|(_, loaded)| bytes(loaded)).sum();
        while total > self.parts.settings.kept_bytes_max && !kept.is_empty() {
            total -= bytes(&kept.remove(0).1);
        }
    }

    /// Every change is one step: what a panicking thread left behind is whole.
    fn kept(&self) -> MutexGuard<'_, Vec<(String, Arc<Loaded>)>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The largest stack in reading order.
fn sorted(attributes: &[Arc<InMemDicomObject>], places: &[Place]) -> Option<(Stack, Described)> {
    let of = |place: &Place| FrameAttributes::new(&attributes[place.0], place.1);
    let frames: Vec<SliceFrame> = places.iter().map(|place| SliceFrame::of(&of(place), place.1)).collect();
    let mut found = stacks(&frames);
    let other_stacks = found.stacks.len().checked_sub(1)?;
    let stack = found.stacks.swap_remove(0);
    let position = |index: &usize| frames[*index].plane.map(|plane| plane.position);
    let first = stack.order.first().and_then(position)?;
    let last = stack.order.last().and_then(position)?;
    let slices = stack.order.len();
    let step_mm = nifti::step(&stack.geometry(), slices, first, last);
    let window = WindowLevel::first_of(&of(&places[stack.order[slices / 2]]));
    let description = VolumeDescription::of(&stack);
    let extent = Extent {
        geometry: description.geometry,
        shape: (slices, description.rows, description.columns),
        depth_mm: stack.depths_mm.last().copied().unwrap_or(0.0),
    };
    Some((stack, Described { description, issues: found.issues, other_stacks, window, step_mm, extent }))
}
