//! RLE Lossless, PS3.5 Annex G: one PackBits segment per byte of a sample, most significant first.

use super::codec::{ColorSpace, Decoded, Depth, Layout, Words};
use super::{ImageDescription, PixelError};

const HEADER_BYTES: usize = 64;

pub(super) fn decode(image: &ImageDescription, bytes: &[u8]) -> Result<Decoded, PixelError> {
    let sample_bytes = match image.bits_allocated {
        1 => return Err(PixelError::unsupported("Bits Allocated", 1)),
        bits => usize::from(bits / 8),
    };
    let segments = segments(bytes, image.samples_per_pixel * sample_bytes)?;
    let mut plain = vec![0; image.samples() * sample_bytes];
    for (at, segment) in segments.into_iter().enumerate() {
        let (plane, byte) = (at / sample_bytes, sample_bytes - 1 - at % sample_bytes);
        let start = plane * image.pixels() * sample_bytes + byte;
        unpack(segment, plain[start..].iter_mut().step_by(sample_bytes).take(image.pixels()))?;
    }
    let words = Words::from_le_bytes(plain, image.bits_allocated);
    Ok(Decoded { words, layout: Layout::ByPlane, depth: Depth::of(image), space: ColorSpace::AsDescribed })
}

/// The header is the number of segments and their offsets, sixteen little-endian words (G.5).
fn segments(bytes: &[u8], expected: usize) -> Result<Vec<&[u8]>, PixelError> {
    let header = bytes.get(..HEADER_BYTES);
    let header = header.ok_or(PixelError::Truncated { found: bytes.len(), needed: HEADER_BYTES })?;
    let words: Vec<usize> =
        header.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]) as usize).collect();
    if words[0] != expected || expected > 15 {
        return Err(invalid(format!("{} segments where {expected} are needed", words[0])));
    }
    let end = |at: usize| {
        if at < expected { words[at + 1] } else { bytes.len() }
    };
    let segment =
        |at: usize| bytes.get(words[at]..end(at)).ok_or_else(|| invalid("a segment lies outside the frame"));
    (1..=expected).map(segment).collect()
}

/// PackBits (G.3.2). Bytes beyond the last pixel are padding.
fn unpack<'a>(mut segment: &[u8], mut out: impl Iterator<Item = &'a mut u8>) -> Result<(), PixelError> {
    let mut put = |byte: u8| out.next().map(|slot| *slot = byte).is_some();
    while let [control, rest @ ..] = segment {
        segment = match (control.cast_signed(), rest) {
            (-128, _) => rest,
            (literal @ 0.., _) => {
                let (run, rest) = rest.split_at(rest.len().min(literal as usize + 1));
                run.iter().for_each(|&byte| _ = put(byte));
                rest
            }
            (repeat, [byte, rest @ ..]) => {
                (0..=repeat.unsigned_abs()).for_each(|_| _ = put(*byte));
                rest
            }
            (_, []) => &[],
        };
    }
    if put(0) { Err(invalid("a segment ends before the last pixel")) } else { Ok(()) }
}

fn invalid(reason: impl ToString) -> PixelError {
    PixelError::codestream("RLE", reason)
}
