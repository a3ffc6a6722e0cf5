//! JPEG XL through `jxl-oxide`, which answers in fractions of full scale.

use jxl_oxide::{AllocTracker, JxlImage};

use super::codec::{ColorSpace, Decoded, Depth, Layout, Words};
use super::{ImageDescription, PixelError};

/// What the decoder may allocate: planes of 32 bits with their intermediate stages, and its tables.
/// Channels and frames that a codestream has beyond the attributes are not paid for.
const BYTES_PER_SAMPLE_MAX: usize = 64;
const WORKING_BYTES: usize = 32 << 20;

pub(super) fn decode(image: &ImageDescription, bytes: &[u8]) -> Result<Decoded, PixelError> {
    let tracker = AllocTracker::with_limit(image.samples() * BYTES_PER_SAMPLE_MAX + WORKING_BYTES);
    let stream = JxlImage::builder().alloc_tracker(tracker).read(bytes).map_err(invalid)?;
    let bits = u16::try_from(stream.image_header().metadata.bit_depth.bits_per_sample()).unwrap_or(u16::MAX);
    if !(1..=16).contains(&bits) {
        return Err(PixelError::unsupported("the codestream's precision", bits));
    }
    expect(image, &stream)?;
    let words = Words::U16(render(image, &stream, bits)?);
    let depth = Depth::right_justified(bits, image.signed);
    Ok(Decoded { words, layout: Layout::ByPixel, depth, space: ColorSpace::Rgb })
}

fn expect(image: &ImageDescription, stream: &JxlImage) -> Result<(), PixelError> {
    let found = (stream.width() as usize, stream.height() as usize);
    if found == (image.columns, image.rows) {
        return Ok(());
    }
    let samples = image.samples_per_pixel;
    Err(PixelError::Mismatch {
        found: format!("{}x{}x{samples}", found.0, found.1),
        expected: format!("{}x{}x{samples}", image.columns, image.rows),
    })
}

fn render(image: &ImageDescription, stream: &JxlImage, bits: u16) -> Result<Vec<u16>, PixelError> {
    let render = stream.render_frame(0).map_err(invalid)?;
    let mut samples = render.stream_no_alpha();
    if samples.channels() as usize != image.samples_per_pixel {
        return Err(invalid(format!("{} channels", samples.channels())));
    }
    let mut fractions = vec![0_f32; image.samples()];
    let written = samples.write_to_buffer(&mut fractions);
    let scale = ((1_u32 << bits) - 1) as f32;
    Ok(fractions[..written]
        .iter()
        .map(|fraction| (fraction * scale).round().clamp(0.0, scale) as u16)
        .collect())
}

fn invalid(reason: impl ToString) -> PixelError {
    PixelError::codestream("JPEG XL", reason)
}
