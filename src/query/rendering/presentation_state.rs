//! Softcopy presentation states (PS3.3 A.33, PS3.4 N): how somebody wanted images to be seen.

mod graphics;

use std::str::FromStr;

use dicom_core::Tag;
use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;
use image::{DynamicImage, GenericImage, GrayImage, RgbImage};
use ndarray::Array3;

use super::placement::{Layout, Orientation, PIXELS_MAX, Placement, Region};
use super::{RenderingError, lay};
use crate::dicom::uid::{SeriesUid, SopInstanceUid};
use crate::volume::attributes::{decimal, decimal_array, integer, items, text, texts};
use crate::volume::grayscale::modality::ModalityTransform;
use crate::volume::grayscale::voi::Voi;
use crate::volume::grayscale::{GrayscaleError, Picture, Presentation, Softcopy, Window};
use crate::volume::lookup_table::{Input, LookupTable};
use crate::volume::overlays::{self, Overlay};
use crate::volume::pixels::{Palette, PixelError};
use crate::volume::shutter::Shutter;
use graphics::Graphic;

/// A presentation state that can be drawn.
pub struct PresentationState {
    object: InMemDicomObject,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Grayscale,
    Color,
    PseudoColor,
}

/// An image that a state refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    pub series: SeriesUid,
    pub sop_instance: SopInstanceUid,
    /// From 1; empty for all.
    pub frames: Vec<u32>,
}

#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error("presentation states of SOP class {0} are not drawn")]
    Class(String),
    #[error("{0} is not drawn")]
    Unsupported(&'static str),
    #[error("a lookup table of the state cannot be read")]
    Grayscale(#[from] GrayscaleError),
    #[error("the palette or an overlay of the state cannot be read")]
    Pixels(#[from] PixelError),
}

impl PresentationState {
    /// # Errors
    /// The state blends or subtracts images: it would be shown otherwise than it was meant.
    pub fn new(sop_class: &str, object: InMemDicomObject) -> Result<Self, StateError> {
        let kind = match sop_class {
            uids::GRAYSCALE_SOFTCOPY_PRESENTATION_STATE_STORAGE
            | uids::XAXRF_GRAYSCALE_SOFTCOPY_PRESENTATION_STATE_STORAGE => Kind::Grayscale,
            uids::COLOR_SOFTCOPY_PRESENTATION_STATE_STORAGE => Kind::Color,
            uids::PSEUDO_COLOR_SOFTCOPY_PRESENTATION_STATE_STORAGE => Kind::PseudoColor,
            other => return Err(StateError::Class(other.to_owned())),
        };
        if !items(&object, tags::MASK_SUBTRACTION_SEQUENCE).is_empty() {
            return Err(StateError::Unsupported("mask subtraction"));
        }
        Ok(Self { object, kind })
    }

    /// In the order of the state.
    pub fn references(&self) -> Vec<Reference> {
        let series = items(&self.object, tags::REFERENCED_SERIES_SEQUENCE).iter();
        series.flat_map(references_of_series).collect()
    }

    /// What the state makes of one frame (from 1) of one image.
    pub fn view(&self, image: &SopInstanceUid, frame: u32) -> Result<View, StateError> {
        let state = &self.object;
        let applies = |item: &&InMemDicomObject| applies_to(item, image, frame);
        let area = items(state, tags::DISPLAYED_AREA_SELECTION_SEQUENCE).iter().find(applies);
        let palette = match self.kind {
            Kind::PseudoColor => Some(Palette::of(state)?),
            Kind::Grayscale | Kind::Color => None,
        };
        Ok(View {
            softcopy: self.softcopy(image, frame)?,
            shutter: Shutter::of(state),
            palette,
            own_overlays: overlays::of_frame(state, 0, None)?,
            active_overlays: active_overlays(state),
            area: area.map(Area::of),
            orientation: orientation(state),
            graphics: graphics::of_state(state, applies),
            profile: (self.kind != Kind::Grayscale).then(|| profile_of(state)).flatten(),
        })
    }

    fn softcopy(&self, image: &SopInstanceUid, frame: u32) -> Result<Softcopy, StateError> {
        let applies = |item: &&InMemDicomObject| applies_to(item, image, frame);
        let voi = items(&self.object, tags::SOFTCOPY_VOILUT_SEQUENCE).iter().find(applies);
        Ok(Softcopy {
            modality: ModalityTransform::of_presentation_state(&self.object)?,
            // Without a VOI transformation the whole range of values is shown (PS3.4 N.2.2).
            window: Window::FullRange,
            voi: voi.map(Voi::of_softcopy_item).transpose()?.flatten(),
            presentation: presentation(&self.object)?,
        })
    }
}

fn references_of_series(series: &InMemDicomObject) -> Vec<Reference> {
    let Some(of) = uid::<SeriesUid>(series, tags::SERIES_INSTANCE_UID) else { return Vec::new() };
    let images = items(series, tags::REFERENCED_IMAGE_SEQUENCE).iter();
    let reference = |image: &InMemDicomObject| {
        let sop_instance = uid(image, tags::REFERENCED_SOP_INSTANCE_UID)?;
        Some(Reference { series: of.clone(), sop_instance, frames: frames_of(image) })
    };
    images.filter_map(reference).collect()
}

fn uid<U: FromStr>(object: &InMemDicomObject, tag: Tag) -> Option<U> {
    text(object, tag)?.parse().ok()
}

fn frames_of(image: &InMemDicomObject) -> Vec<u32> {
    texts(image, tags::REFERENCED_FRAME_NUMBER)
        .iter()
        .filter_map(|number| number.trim().parse().ok())
        .collect()
}

/// An item that names no image is for all.
fn applies_to(item: &InMemDicomObject, image: &SopInstanceUid, frame: u32) -> bool {
    let images = items(item, tags::REFERENCED_IMAGE_SEQUENCE);
    let names = |reference: &InMemDicomObject| {
        let frames = frames_of(reference);
        let is_image =
            uid::<SopInstanceUid>(reference, tags::REFERENCED_SOP_INSTANCE_UID).as_ref() == Some(image);
        is_image && (frames.is_empty() || frames.contains(&frame))
    };
    images.is_empty() || images.iter().any(names)
}

/// A table, or the shape; P-values are what a display takes, whatever the image's own
/// photometric interpretation is (PS3.4 N.2.3).
fn presentation(state: &InMemDicomObject) -> Result<Presentation, GrayscaleError> {
    if let Some(item) = items(state, tags::PRESENTATION_LUT_SEQUENCE).first() {
        let table = LookupTable::from_item(item, Input::Unsigned);
        return table.map(Presentation::Table).ok_or(GrayscaleError::PresentationTable);
    }
    match text(state, tags::PRESENTATION_LUT_SHAPE).as_deref() {
        Some("INVERSE") => Ok(Presentation::Inverse),
        Some(_) => Ok(Presentation::Identity),
        None => Ok(Presentation::OfImage),
    }
}

fn orientation(state: &InMemDicomObject) -> Orientation {
    let degrees = integer(state, tags::IMAGE_ROTATION).unwrap_or(0);
    Orientation {
        quarter_turns: (degrees.rem_euclid(360) / 90) as u8,
        flip_horizontally: text(state, tags::IMAGE_HORIZONTAL_FLIP).is_some_and(|flip| flip == "Y"),
        flip_vertically: false,
    }
}

/// Groups whose overlay a layer shows (PS3.3 C.11.7).
fn active_overlays(state: &InMemDicomObject) -> Vec<u16> {
    let groups = (0x6000..=0x601E).step_by(2);
    groups.filter(|group| text(state, Tag(*group, ACTIVATION_LAYER)).is_some()).collect()
}

const ACTIVATION_LAYER: u16 = 0x1001;

fn profile_of(state: &InMemDicomObject) -> Option<InMemDicomObject> {
    let element = state.get(tags::ICC_PROFILE)?.clone();
    Some(InMemDicomObject::from_element_iter([element]))
}

/// The displayed area, in pixels of the image from 1, both ends included (PS3.3 C.10.4).
#[derive(Debug, Clone, Copy, PartialEq)]
struct Area {
    corners: Option<[[i64; 2]; 2]>,
    magnification: f64,
    pixel_aspect: Option<f64>,
}

impl Area {
    fn of(item: &InMemDicomObject) -> Self {
        let corner = |tag| {
            let numbers = item.get(tag).and_then(|element| element.to_multi_int::<i32>().ok())?;
            <[i32; 2]>::try_from(numbers).ok().map(|corner| corner.map(i64::from))
        };
        let top_left = corner(tags::DISPLAYED_AREA_TOP_LEFT_HAND_CORNER);
        let bottom_right = corner(tags::DISPLAYED_AREA_BOTTOM_RIGHT_HAND_CORNER);
        let magnifies = text(item, tags::PRESENTATION_SIZE_MODE).is_some_and(|mode| mode == "MAGNIFY");
        let ratio = decimal(item, tags::PRESENTATION_PIXEL_MAGNIFICATION_RATIO);
        let sides = |tag| decimal_array::<2>(item, tag).filter(|sides| sides.iter().all(|side| *side > 0.0));
        let aspect =
            sides(tags::PRESENTATION_PIXEL_SPACING).or_else(|| sides(tags::PRESENTATION_PIXEL_ASPECT_RATIO));
        Self {
            corners: top_left.zip(bottom_right).map(|(a, b)| [a, b]),
            magnification: ratio.filter(|ratio| magnifies && *ratio > 0.0).unwrap_or(1.0),
            pixel_aspect: aspect.map(|[height, width]| height / width),
        }
    }

    /// Left, top, right and bottom in pixels from 0, the ends excluded. Which pixel is the upper left
    /// one is told after turning and flipping, where it lies before: any two corners may come.
    fn bounds(&self) -> Option<[i64; 4]> {
        let [[x1, y1], [x2, y2]] = self.corners?;
        Some([x1.min(x2) - 1, y1.min(y2) - 1, x1.max(x2), y1.max(y2)])
    }
}

/// What a state makes of one frame.
pub struct View {
    pub(super) softcopy: Softcopy,
    pub(super) shutter: Option<Shutter>,
    palette: Option<Palette>,
    own_overlays: Vec<Overlay>,
    active_overlays: Vec<u16>,
    area: Option<Area>,
    orientation: Orientation,
    graphics: Vec<Graphic>,
    profile: Option<InMemDicomObject>,
}

/// An area may lie around the image, but not by more than this.
const MARGIN_MAX: i64 = 16_384;

impl View {
    pub(super) fn profile(&self) -> Option<&InMemDicomObject> {
        self.profile.as_ref()
    }

    /// P-values through the palette of a pseudo-color state.
    pub(super) fn colored(&self, picture: Picture) -> Picture {
        match (&self.palette, picture) {
            (Some(palette), Picture::Gray(levels)) => {
                let (rows, columns) = levels.dim();
                let table: Vec<[u8; 3]> = (0..=255).map(|level| palette.color_of_level(level)).collect();
                Picture::Rgb(Array3::from_shape_fn((rows, columns, 3), |(row, column, channel)| {
                    table[usize::from(levels[[row, column]])][channel]
                }))
            }
            (_, picture) => picture,
        }
    }

    /// Overlays that the state activates: its own, and those of the image with the same group.
    pub(super) fn covered(&self, mut picture: Picture, of_image: Vec<Overlay>) -> Picture {
        let is_active = |plane: &&Overlay| self.active_overlays.contains(&plane.group);
        let own = self.own_overlays.iter().filter(is_active);
        let replaced = |plane: &&Overlay| self.own_overlays.iter().any(|own| own.group == plane.group);
        let images = of_image.iter().filter(is_active).filter(|plane| !replaced(plane));
        own.chain(images).for_each(|plane| lay(plane, 255, &mut picture));
        picture
    }

    /// The displayed area, turned, flipped, scaled, and drawn upon.
    pub(super) fn place(&self, picture: DynamicImage, asked: Layout) -> Result<DynamicImage, RenderingError> {
        let size = (i64::from(picture.width()), i64::from(picture.height()));
        let [left, top, right, bottom] =
            self.area.and_then(|area| area.bounds()).unwrap_or([0, 0, size.0, size.1]);
        let (begin, end) = ((left.min(0), top.min(0)), (right.max(size.0), bottom.max(size.1)));
        if [-begin.0, -begin.1, end.0 - size.0, end.1 - size.1].iter().any(|margin| *margin > MARGIN_MAX) {
            return Err(RenderingError::Region);
        }
        let picture = padded(picture, begin, end)?;
        let region = Region {
            left: (left - begin.0) as f64,
            top: (top - begin.1) as f64,
            columns: Some((right - left) as f64),
            rows: Some((bottom - top) as f64),
        };
        let layout = Layout {
            region,
            orientation: self.orientation,
            magnification: self.area.map_or(1.0, |area| area.magnification),
            pixel_aspect: self.area.and_then(|area| area.pixel_aspect).unwrap_or(asked.pixel_aspect),
            ..asked
        };
        let placement = Placement::of(&layout, (picture.width(), picture.height()))?;
        let mut placed = placement.apply(picture)?;
        let in_image = |x: f64, y: f64| placement.point(x - begin.0 as f64, y - begin.1 as f64);
        self.graphics.iter().for_each(|graphic| graphic.draw(&mut placed, &in_image));
        Ok(placed)
    }
}

/// The picture with black around it where the area is larger.
fn padded(picture: DynamicImage, begin: (i64, i64), end: (i64, i64)) -> Result<DynamicImage, RenderingError> {
    let (columns, rows) = ((end.0 - begin.0) as u32, (end.1 - begin.1) as u32);
    if (columns, rows) == (picture.width(), picture.height()) {
        return Ok(picture);
    }
    if f64::from(columns) * f64::from(rows) > PIXELS_MAX {
        return Err(RenderingError::TooLarge);
    }
    let mut around: DynamicImage = match picture {
        DynamicImage::ImageLuma8(_) => GrayImage::new(columns, rows).into(),
        _ => RgbImage::new(columns, rows).into(),
    };
    around.copy_from(&picture, (-begin.0) as u32, (-begin.1) as u32)?;
    Ok(around)
}

#[cfg(test)]
mod tests;
