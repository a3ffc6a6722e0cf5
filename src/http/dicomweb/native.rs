//! Frames as native little-endian pixels, whatever they are stored as.

use bytes::Bytes;

use crate::http::State;
use crate::http::error::HttpError;
use crate::ingest::layout::PixelDataLayout;
use crate::query::stored_object::StoredObject;
use crate::volume::pixels::{self, Frame, ImageDescription, Photometric, PixelError, Samples};

/// Whether the stored bytes are the answer: little endian and starting at a byte.
pub(super) fn lies_ready(object: &StoredObject, frame: u32) -> bool {
    let at_byte = match &object.layout.pixel_data {
        Some(PixelDataLayout::Native { frame_bits, .. }) => (u64::from(frame) - 1) * frame_bits % 8 == 0,
        _ => false,
    };
    at_byte && !object.is_big_endian()
}

/// # Errors
/// The inner error says why this frame cannot be decoded, the outer one is ours.
pub(super) async fn little_endian(
    state: &State,
    object: &StoredObject,
    frame: u32,
) -> Result<Result<Bytes, PixelError>, HttpError> {
    let bytes = object.frame(frame.into()).await?.ok_or(HttpError::NotFound("frame"))?;
    let attributes = object.attributes(&state.db).await?;
    let syntax = object.instance.transfer_syntax.clone();
    let decode = move || {
        let image = as_stored(ImageDescription::from_object(&attributes)?, syntax.as_str());
        let decoded = pixels::decode(&image, bytes.encoded(syntax.as_str()))?;
        Ok(written(&decoded, image.bits_allocated).into())
    };
    state.decodes.run(decode).await
}

/// Indices stay indices, and colour spaces that a codec does not change stay as they are: the
/// metadata goes on describing the frame.
fn as_stored(mut image: ImageDescription, transfer_syntax: &str) -> ImageDescription {
    let keeps_colour = !transfer_syntax.starts_with("1.2.840.10008.1.2.4.");
    match image.photometric {
        Photometric::PaletteColor => {
            image.photometric = Photometric::Monochrome2;
            image.palette = None;
        }
        Photometric::YbrFull if keeps_colour => image.photometric = Photometric::Rgb,
        _ => {}
    }
    image
}

/// Colour by pixel; the low bytes of each value, `bits_allocated` wide.
fn written(frame: &Frame, bits_allocated: u16) -> Vec<u8> {
    let width = usize::from(bits_allocated.div_ceil(8)).clamp(1, 4);
    match &frame.samples {
        Samples::Gray(values) if bits_allocated == 1 => packed(values.iter().map(|&value| value != 0)),
        Samples::Gray(values) => {
            values.iter().flat_map(|value| low_bytes(value.to_le_bytes(), width)).collect()
        }
        Samples::WideGray(values) => {
            values.iter().flat_map(|value| low_bytes(value.to_le_bytes(), width)).collect()
        }
        Samples::Real(values) if bits_allocated == 64 => {
            values.iter().flat_map(|value| value.to_le_bytes()).collect()
        }
        Samples::Real(values) => values.iter().flat_map(|value| (*value as f32).to_le_bytes()).collect(),
        Samples::Rgb(values) => values.iter().copied().collect(),
        Samples::DeepRgb { values, .. } => {
            values.iter().flat_map(|value| low_bytes(value.to_le_bytes(), width)).collect()
        }
    }
}

fn low_bytes(bytes: [u8; 4], width: usize) -> impl Iterator<Item = u8> {
    bytes.into_iter().take(width)
}

/// The first pixel in the least significant bit, PS3.5 8.1.1.
fn packed(pixels: impl Iterator<Item = bool>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (at, pixel) in pixels.enumerate() {
        if at % 8 == 0 {
            bytes.push(0);
        }
        if let Some(last) = bytes.last_mut() {
            *last |= u8::from(pixel) << (at % 8);
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[track_caller]
    fn check(samples: Samples, bits_allocated: u16, expected: &[u8]) {
        assert_eq!(written(&Frame { rows: 1, columns: 2, samples }, bits_allocated), expected);
    }

    #[test]
    fn values_are_written_in_little_endian_as_wide_as_allocated_w9() {
        check(Samples::Gray(array![[-2, 258]]), 16, &[0xFE, 0xFF, 2, 1]);
        check(Samples::Gray(array![[7, 255]]), 8, &[7, 255]);
        check(Samples::WideGray(array![[0x0403_0201, 5]]), 32, &[1, 2, 3, 4, 5, 0, 0, 0]);
        check(Samples::Gray(array![[1, 0, 1, 0, 0, 0, 0, 0, 1]]), 1, &[0b101, 1]);
    }
}
