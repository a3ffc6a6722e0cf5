//! Native (uncompressed) frames, PS3.5 8.1 and 8.2, and Deflated Image Frame Compression, A.4.13.

use std::io::Read;

use flate2::read::DeflateDecoder;

use super::codec::{ColorSpace, Decoded, Depth, Layout, Words};
use super::{EncodedFrame, HeldIn, ImageDescription, Photometric, PixelError};

pub(super) fn decode(image: &ImageDescription, frame: EncodedFrame<'_>) -> Result<Decoded, PixelError> {
    if image.photometric == Photometric::YbrPartial420 {
        return Err(PixelError::unsupported(
            "Photometric Interpretation of native pixels",
            "YBR_PARTIAL_420",
        ));
    }
    let words = match image.bits_allocated {
        1 => Words::U8(unpack_bits(image, frame)?),
        bits => Words::from_le_bytes(exact(image, frame.bytes)?, bits),
    };
    Ok(as_described(image, words))
}

pub(super) fn decode_big_endian(
    image: &ImageDescription,
    frame: EncodedFrame<'_>,
) -> Result<Decoded, PixelError> {
    let sample_bytes = match image.bits_allocated {
        1 => return decode(image, frame),
        8 if frame.held_in == HeldIn::Words => 2,
        bits => usize::from(bits / 8),
    };
    let mut bytes = frame.bytes.to_vec();
    bytes.chunks_exact_mut(sample_bytes).for_each(<[u8]>::reverse);
    decode(image, EncodedFrame { bytes: &bytes, ..frame })
}

/// Inflates no more than the frame can hold, however much the stream promises.
pub(super) fn decode_deflated(
    image: &ImageDescription,
    frame: EncodedFrame<'_>,
) -> Result<Decoded, PixelError> {
    let mut bytes = Vec::new();
    let inflated = DeflateDecoder::new(frame.bytes).take(needed_bytes(image) as u64).read_to_end(&mut bytes);
    inflated.map_err(|error| PixelError::codestream("deflate", error))?;
    decode(image, EncodedFrame { bytes: &bytes, ..frame })
}

fn as_described(image: &ImageDescription, words: Words) -> Decoded {
    let layout = match is_subsampled(image) {
        true => Layout::Subsampled422,
        false => image.planar_configuration.into(),
    };
    Decoded { words, layout, depth: Depth::of(image), space: ColorSpace::AsDescribed }
}

fn is_subsampled(image: &ImageDescription) -> bool {
    matches!(image.photometric, Photometric::YbrFull422 | Photometric::YbrPartial422)
}

fn needed_bytes(image: &ImageDescription) -> usize {
    let samples = if is_subsampled(image) { image.pixels() * 2 } else { image.samples() };
    match image.bits_allocated {
        1 => samples.div_ceil(8) + 1,
        bits => samples * usize::from(bits / 8),
    }
}

/// Trailing bytes are padding; missing ones are an error.
fn exact<'a>(image: &ImageDescription, bytes: &'a [u8]) -> Result<&'a [u8], PixelError> {
    let needed = needed_bytes(image);
    bytes.get(..needed).ok_or(PixelError::Truncated { found: bytes.len(), needed })
}

/// The first pixel is the least significant bit.
fn unpack_bits(image: &ImageDescription, frame: EncodedFrame<'_>) -> Result<Vec<u8>, PixelError> {
    let first = usize::from(frame.first_bit % 8);
    let last = first + image.samples();
    if frame.bytes.len() * 8 < last {
        return Err(PixelError::Truncated { found: frame.bytes.len(), needed: last.div_ceil(8) });
    }
    Ok((first..last).map(|bit| frame.bytes[bit / 8] >> (bit % 8) & 1).collect())
}
