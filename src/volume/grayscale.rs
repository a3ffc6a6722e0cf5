//! The grayscale pipeline (PS3.4 N.2): modality transform, values of interest, presentation.

pub mod modality;
pub mod voi;

use dicom_dictionary_std::tags;
use ndarray::{Array2, Array3};

use super::attributes::{decimal, text};
use super::functional_groups::FrameAttributes;
use super::lookup_table::LookupTable;
use super::pixels::{Frame, Samples, StoredWords};
use modality::ModalityTransform;
use voi::{Voi, WindowLevel};

/// Which values fill the display range.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Window {
    /// The frame's first window, else its first VOI table, else the full range.
    First,
    /// This one, in modality values.
    Explicit(WindowLevel),
    /// From the least to the greatest value that is no padding.
    FullRange,
}

/// A picture of 8 bits, black at 0; colour is red, green, blue on the third axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Picture {
    Gray(Array2<u8>),
    Rgb(Array3<u8>),
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum GrayscaleError {
    #[error("the frame is in colour and has no modality values")]
    Color,
    #[error("the modality lookup table has no usable descriptor and data")]
    ModalityTable,
    #[error("the VOI lookup table has no usable descriptor and data")]
    VoiTable,
    #[error("the Presentation LUT has no usable descriptor and data")]
    PresentationTable,
}

/// A grayscale frame in the units of its modality, for CT Hounsfield units.
pub fn modality_values(
    frame: &Frame,
    attributes: &FrameAttributes<'_>,
) -> Result<Array2<f32>, GrayscaleError> {
    let transform = ModalityTransform::of(attributes)?;
    match &frame.samples {
        Samples::Gray(stored) => Ok(stored.mapv(|value| transform.apply(f64::from(value)))),
        Samples::WideGray(stored) => Ok(stored.mapv(|value| transform.apply(f64::from(value)))),
        Samples::Real(values) => Ok(values.mapv(|value| transform.apply(value))),
        Samples::Rgb(_) | Samples::DeepRgb { .. } => Err(GrayscaleError::Color),
    }
}

/// As [`modality_values`]; what is padding (PS3.3 C.7.5.1.1.2) is not a number.
pub fn measurable_values(
    frame: &Frame,
    attributes: &FrameAttributes<'_>,
) -> Result<Array2<f32>, GrayscaleError> {
    let mut values = modality_values(frame, attributes)?;
    let mut leave_out = |is_padding: &dyn Fn((usize, usize)) -> bool| {
        values.indexed_iter_mut().filter(|(at, _)| is_padding(*at)).for_each(|(_, value)| *value = f32::NAN);
    };
    match (&frame.samples, Padding::of(attributes), real_padding(attributes)) {
        (Samples::Gray(stored), Some(padding), _) => leave_out(&|at| padding.contains(stored[at])),
        (Samples::Real(stored), _, Some(padding)) => leave_out(&|at| stored[at] == padding),
        _ => {}
    }
    Ok(values)
}

/// What a viewer shows of a frame. Colour passes through; the window applies to grayscale alone.
pub fn display(
    frame: &Frame,
    attributes: &FrameAttributes<'_>,
    window: Window,
) -> Result<Picture, GrayscaleError> {
    display_as(frame, attributes, &Softcopy { window, ..Softcopy::default() })
}

/// What of the pipeline is other than the image itself asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct Softcopy {
    pub modality: Option<ModalityTransform>,
    pub window: Window,
    /// Wins over `window`.
    pub voi: Option<Voi>,
    pub presentation: Presentation,
}

impl Default for Softcopy {
    fn default() -> Self {
        Self { modality: None, window: Window::First, voi: None, presentation: Presentation::OfImage }
    }
}

/// From the display range to P-values (PS3.3 C.11.6).
#[derive(Debug, Clone, PartialEq)]
pub enum Presentation {
    OfImage,
    Identity,
    Inverse,
    Table(LookupTable),
}

/// [`display`] with parts of the pipeline replaced, as a presentation state does.
pub fn display_as(
    frame: &Frame,
    attributes: &FrameAttributes<'_>,
    softcopy: &Softcopy,
) -> Result<Picture, GrayscaleError> {
    match &frame.samples {
        Samples::Rgb(levels) => Ok(Picture::Rgb(levels.clone())),
        Samples::DeepRgb { bits, values } => {
            Ok(Picture::Rgb(values.mapv(|value| (value >> (bits - 8)) as u8)))
        }
        grayscale => {
            let range = |modality: &_| displayed_range(grayscale, attributes, modality);
            let pipeline = Pipeline::of(attributes, softcopy, range)?;
            Ok(Picture::Gray(pipeline.levels(grayscale)))
        }
    }
}

/// [`display_as`] of values that need no decoder.
pub fn display_words(
    words: StoredWords<'_>,
    attributes: &FrameAttributes<'_>,
    softcopy: &Softcopy,
) -> Result<Picture, GrayscaleError> {
    let range = |modality: &_| integer_range(words.values(), attributes, modality).unwrap_or_default();
    let pipeline = Pipeline::of(attributes, softcopy, range)?;
    let levels = words.mapped(|value| pipeline.level(f64::from(value)));
    Ok(Picture::Gray(Array2::from_shape_vec((words.rows, words.columns), levels).unwrap_or_default()))
}

/// Modality, VOI and presentation of one frame, all settled.
struct Pipeline {
    modality: ModalityTransform,
    voi: Voi,
    presentation: Presentation,
}

impl Pipeline {
    /// `range` tells the least and the greatest modality value, where they are needed.
    fn of(
        attributes: &FrameAttributes<'_>,
        softcopy: &Softcopy,
        range: impl FnOnce(&ModalityTransform) -> (f32, f32),
    ) -> Result<Self, GrayscaleError> {
        let modality = match &softcopy.modality {
            Some(modality) => modality.clone(),
            None => ModalityTransform::of(attributes)?,
        };
        let voi = match &softcopy.voi {
            Some(voi) => voi.clone(),
            None => Voi::choose(softcopy.window, attributes, modality.output(attributes.object), || {
                range(&modality)
            })?,
        };
        let presentation = match &softcopy.presentation {
            Presentation::OfImage if is_inverse(attributes) => Presentation::Inverse,
            other => other.clone(),
        };
        Ok(Self { modality, voi, presentation })
    }

    fn levels(&self, samples: &Samples) -> Array2<u8> {
        match samples {
            Samples::Gray(stored) => self.levels_of_integers(stored),
            Samples::WideGray(stored) => stored.mapv(|value| self.level(f64::from(value))),
            Samples::Real(values) => values.mapv(|value| self.level(value)),
            Samples::Rgb(_) | Samples::DeepRgb { .. } => Array2::zeros((0, 0)),
        }
    }

    /// Each value that occurs is computed once, unless there are more possible values than pixels.
    fn levels_of_integers(&self, stored: &Array2<i32>) -> Array2<u8> {
        let (low, high) =
            stored.iter().fold((i32::MAX, i32::MIN), |(low, high), &value| (low.min(value), high.max(value)));
        if i64::from(high) - i64::from(low) >= stored.len() as i64 {
            return stored.mapv(|value| self.level(f64::from(value)));
        }
        let table: Vec<u8> = (low..=high).map(|value| self.level(f64::from(value))).collect();
        stored.mapv(|value| table[(value - low) as usize])
    }

    fn level(&self, stored: f64) -> u8 {
        let fraction = self.voi.fraction(self.modality.apply(stored));
        match &self.presentation {
            Presentation::OfImage | Presentation::Identity => (fraction * 255.0).round() as u8,
            Presentation::Inverse => 255 - (fraction * 255.0).round() as u8,
            Presentation::Table(table) => (table.fraction_of_scale(fraction) * 255.0).round() as u8,
        }
    }
}

/// Least and greatest modality value of a frame, padding and what is no number left out.
fn displayed_range(
    samples: &Samples,
    attributes: &FrameAttributes<'_>,
    modality: &ModalityTransform,
) -> (f32, f32) {
    let apply = |stored: f64| modality.apply(stored);
    let range = match samples {
        Samples::Gray(stored) => integer_range(stored.iter().copied(), attributes, modality),
        Samples::WideGray(stored) => range(stored.iter().map(|stored| apply(f64::from(*stored)))),
        Samples::Real(values) => {
            let padding = real_padding(attributes);
            let kept = values.iter().filter(|value| value.is_finite() && Some(**value) != padding);
            range(kept.map(|value| apply(*value)))
        }
        Samples::Rgb(_) | Samples::DeepRgb { .. } => None,
    };
    range.unwrap_or((0.0, 0.0))
}

fn integer_range(
    stored: impl Iterator<Item = i32>,
    attributes: &FrameAttributes<'_>,
    modality: &ModalityTransform,
) -> Option<(f32, f32)> {
    let padding = Padding::of(attributes);
    let kept = stored.filter(|stored| !padding.is_some_and(|padding| padding.contains(*stored)));
    range(kept.map(|stored| modality.apply(f64::from(stored))))
}

fn real_padding(attributes: &FrameAttributes<'_>) -> Option<f64> {
    let object = attributes.object;
    decimal(object, tags::FLOAT_PIXEL_PADDING_VALUE)
        .or_else(|| decimal(object, tags::DOUBLE_FLOAT_PIXEL_PADDING_VALUE))
}

/// Whether the least value is white. Presentation LUT Shape INVERSE states it once more where
/// MONOCHROME1 already does (PS3.3 C.8.11.3.1.2), so one inversion answers both.
pub fn is_inverse(attributes: &FrameAttributes<'_>) -> bool {
    let says = |tag, value: &str| text(attributes.object, tag).is_some_and(|found| found == value);
    says(tags::PHOTOMETRIC_INTERPRETATION, "MONOCHROME1") || says(tags::PRESENTATION_LUT_SHAPE, "INVERSE")
}

/// Least and greatest modality value of a frame, padding left out (PS3.3 C.7.5.1.1.2).
pub fn value_range(frame: &Frame, attributes: &FrameAttributes<'_>) -> Result<(f32, f32), GrayscaleError> {
    Ok(displayed_range(&frame.samples, attributes, &ModalityTransform::of(attributes)?))
}

fn range(values: impl Iterator<Item = f32>) -> Option<(f32, f32)> {
    values.fold(None, |range, value| {
        let (low, high) = range.unwrap_or((value, value));
        Some((low.min(value), high.max(value)))
    })
}

/// Stored values that stand for "no image here".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Padding {
    low: i32,
    high: i32,
}

impl Padding {
    fn of(attributes: &FrameAttributes<'_>) -> Option<Self> {
        let value =
            |tag| super::attributes::integer(attributes.object, tag).and_then(|value| value.try_into().ok());
        let first: i32 = value(tags::PIXEL_PADDING_VALUE)?;
        let last = value(tags::PIXEL_PADDING_RANGE_LIMIT).unwrap_or(first);
        Some(Self { low: first.min(last), high: first.max(last) })
    }

    fn contains(self, stored: i32) -> bool {
        (self.low..=self.high).contains(&stored)
    }
}

#[cfg(test)]
mod tests;
