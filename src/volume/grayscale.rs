//! The grayscale pipeline (PS3.4 N.2): modality transform, values of interest, presentation.

pub mod modality;
pub mod voi;

use dicom_dictionary_std::tags;
use ndarray::{Array2, Array3, ArrayView2};

use super::attributes::text;
use super::functional_groups::FrameAttributes;
use super::pixels::{Frame, Samples};
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
        Samples::Rgb(_) | Samples::DeepRgb { .. } => Err(GrayscaleError::Color),
    }
}

/// What a viewer shows of a frame. Colour passes through; the window applies to grayscale alone.
pub fn display(
    frame: &Frame,
    attributes: &FrameAttributes<'_>,
    window: Window,
) -> Result<Picture, GrayscaleError> {
    match &frame.samples {
        Samples::Rgb(levels) => Ok(Picture::Rgb(levels.clone())),
        Samples::DeepRgb { bits, values } => {
            Ok(Picture::Rgb(values.mapv(|value| (value >> (bits - 8)) as u8)))
        }
        Samples::Gray(_) | Samples::WideGray(_) => {
            let values = modality_values(frame, attributes)?;
            let voi = Voi::choose(window, attributes, || value_range(frame, attributes, values.view()))?;
            Ok(Picture::Gray(levels(&values, &voi, is_inverse(attributes))))
        }
    }
}

fn levels(values: &Array2<f32>, voi: &Voi, inverse: bool) -> Array2<u8> {
    values.mapv(|value| {
        let level = (voi.fraction(value) * 255.0).round() as u8;
        if inverse { 255 - level } else { level }
    })
}

/// Whether the least value is white. Presentation LUT Shape INVERSE states it once more where
/// MONOCHROME1 already does (PS3.3 C.8.11.3.1.2), so one inversion answers both.
pub fn is_inverse(attributes: &FrameAttributes<'_>) -> bool {
    let says = |tag, value: &str| text(attributes.object, tag).is_some_and(|found| found == value);
    says(tags::PHOTOMETRIC_INTERPRETATION, "MONOCHROME1") || says(tags::PRESENTATION_LUT_SHAPE, "INVERSE")
}

/// Least and greatest modality value of a frame, padding left out (PS3.3 C.7.5.1.1.2).
pub fn value_range(
    frame: &Frame,
    attributes: &FrameAttributes<'_>,
    values: ArrayView2<'_, f32>,
) -> (f32, f32) {
    let padding = Padding::of(attributes);
    let range = match (&frame.samples, padding) {
        (Samples::Gray(stored), Some(padding)) => {
            let kept = stored.iter().zip(values).filter(|(stored, _)| !padding.contains(**stored));
            range(kept.map(|(_, value)| *value))
        }
        _ => range(values.iter().copied()),
    };
    range.unwrap_or((0.0, 0.0))
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
