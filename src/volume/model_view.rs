//! What the model is shown of a frame: 8-bit RGB on a black square, not yet resized.
//!
//! The values follow the model makers' own preprocessing, because a model reads best what it was
//! trained on: the first window (or the full range) for radiographs, three fixed windows as colours
//! for CT, one range for the whole acquisition for MR.

use ndarray::Array2;

use super::functional_groups::FrameAttributes;
use super::grayscale::voi::WindowLevel;
use super::grayscale::{GrayscaleError, Picture, Window, display, is_inverse, modality_values, value_range};
use super::pixels::{Frame, Samples};
use crate::ai::RgbImage;

/// Hounsfield ranges shown as red (wide), green (soft tissue) and blue (brain).
pub const CT_WINDOWS: [(f32, f32); 3] = [(-1024.0, 1024.0), (-135.0, 215.0), (0.0, 80.0)];

/// A picture for the model, and where the frame lies in it: the way back is `report::region`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelView {
    pub image: RgbImage,
    pub square: PaddedSquare,
}

/// Where a frame lies in the black square that the model sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PaddedSquare {
    pub rows: u32,
    pub columns: u32,
    pub side: u32,
    /// Rows of black above the frame.
    pub top: u32,
    /// Columns of black to the left of the frame.
    pub left: u32,
}

/// A radiograph: the first window, else the full range; the least value is black in either
/// photometric interpretation.
pub fn radiograph(frame: &Frame, attributes: &FrameAttributes<'_>) -> Result<ModelView, GrayscaleError> {
    if is_color(frame) {
        return color(frame, attributes);
    }
    let values = modality_values(frame, attributes)?;
    let range = match WindowLevel::first_of(attributes) {
        Some(window) => window_range(window),
        None => value_range(frame, attributes)?,
    };
    let inverse = is_inverse(attributes);
    Ok(gray(&values, |value| {
        let level = level(value, range);
        if inverse { 255 - level } else { level }
    }))
}

/// A CT slice: its Hounsfield units through [`CT_WINDOWS`].
pub fn ct(frame: &Frame, attributes: &FrameAttributes<'_>) -> Result<ModelView, GrayscaleError> {
    let values = modality_values(frame, attributes)?;
    Ok(padded(values.dim(), |at| CT_WINDOWS.map(|window| level(values[at], window))))
}

/// A slice of a volume whose least and greatest values are `range`. A range without extent is
/// white, as in the makers' code.
pub fn stretched(
    frame: &Frame,
    attributes: &FrameAttributes<'_>,
    range: (f32, f32),
) -> Result<ModelView, GrayscaleError> {
    let values = modality_values(frame, attributes)?;
    Ok(gray(&values, |value| level(value, range)))
}

/// A colour frame, as it is displayed.
pub fn color(frame: &Frame, attributes: &FrameAttributes<'_>) -> Result<ModelView, GrayscaleError> {
    Ok(match display(frame, attributes, Window::First)? {
        Picture::Rgb(levels) => padded((frame.rows, frame.columns), |(row, column)| {
            [0, 1, 2].map(|channel| levels[[row, column, channel]])
        }),
        Picture::Gray(levels) => padded(levels.dim(), |at| [levels[at]; 3]),
    })
}

fn is_color(frame: &Frame) -> bool {
    matches!(frame.samples, Samples::Rgb(_) | Samples::DeepRgb { .. })
}

/// Half a width, rounded down, to either side of the centre: the makers' reading of a window,
/// which leaves out the half-pixel terms of PS3.3 C.11.2.1.2.
fn window_range(window: WindowLevel) -> (f32, f32) {
    let half = (window.width / 2.0).floor();
    (window.center - half, window.center + half)
}

fn level(value: f32, (low, high): (f32, f32)) -> u8 {
    match high - low {
        extent if extent > 0.0 => ((value - low) / extent * 255.0).round_ties_even().clamp(0.0, 255.0) as u8,
        _ => 255,
    }
}

fn gray(values: &Array2<f32>, level: impl Fn(f32) -> u8) -> ModelView {
    padded(values.dim(), |at| [level(values[at]); 3])
}

fn padded((rows, columns): (usize, usize), pixel: impl Fn((usize, usize)) -> [u8; 3]) -> ModelView {
    let square = PaddedSquare::around(rows as u32, columns as u32);
    let side = square.side as usize;
    let mut data = vec![0; side * side * 3];
    for row in 0..rows {
        let start = ((row + square.top as usize) * side + square.left as usize) * 3;
        let line = data[start..start + columns * 3].chunks_exact_mut(3);
        line.enumerate().for_each(|(column, out)| out.copy_from_slice(&pixel((row, column))));
    }
    ModelView { image: RgbImage { width: square.side, height: square.side, data }, square }
}

impl PaddedSquare {
    /// The smallest square, the frame centred in it; an odd column or row of black goes after it.
    pub fn around(rows: u32, columns: u32) -> Self {
        let side = rows.max(columns);
        Self { rows, columns, side, top: (side - rows) / 2, left: (side - columns) / 2 }
    }
}

#[cfg(test)]
mod tests;
