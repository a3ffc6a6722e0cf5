//! JPEG (ITU-T T.81): baseline, progressive and lossless by `jpeg-decoder`, 12-bit here.
//!
//! The decoder is told to leave colours alone: which transform applies is for the Adobe segment,
//! the component identifiers and Photometric Interpretation to say, in this order.

use jpeg_decoder::{ColorTransform, Decoder};

use super::codec::{ColorSpace, Decoded, Depth, Layout, Words};
use super::headers::{Header, jpeg_header};
use super::{ImageDescription, Photometric, PixelError, SAMPLES_MAX, jpeg12};

const LOSSLESS: u8 = 0xC3;

pub(super) fn decode(image: &ImageDescription, bytes: &[u8]) -> Result<Decoded, PixelError> {
    let header =
        jpeg_header(bytes).ok_or_else(|| PixelError::codestream("JPEG", "no frame and scan header"))?;
    header.expect(image)?;
    let words = match (header.marker, header.precision) {
        (LOSSLESS, _) | (_, 8) => eight_bit_or_lossless(&header, bytes)?,
        _ => Words::U16(jpeg12::decode(bytes)?),
    };
    let depth = Depth::right_justified(depth_bits(image, &header), image.signed);
    Ok(Decoded { words, layout: Layout::ByPixel, depth, space: space(image, &header) })
}

fn eight_bit_or_lossless(header: &Header, bytes: &[u8]) -> Result<Words, PixelError> {
    let mut decoder = Decoder::new(bytes);
    decoder.set_max_decoding_buffer_size(SAMPLES_MAX * 2);
    // "RGB" hands the components over unchanged; "None" leaves them in separate padded lines.
    decoder.set_color_transform(ColorTransform::RGB);
    let bytes = decoder.decode().map_err(|error| PixelError::codestream("JPEG", error))?;
    Ok(match header.precision {
        8 => Words::U8(bytes),
        _ => Words::U16(bytes.chunks_exact(2).map(|b| u16::from_ne_bytes([b[0], b[1]])).collect()),
    })
}

/// Lossless streams are often written with the precision of the container, so Bits Stored says
/// where the sign is; a lossy stream's own precision does.
fn depth_bits(image: &ImageDescription, header: &Header) -> u16 {
    match header.marker {
        LOSSLESS => image.bits_stored.min(header.precision),
        _ => header.precision,
    }
}

fn space(image: &ImageDescription, header: &Header) -> ColorSpace {
    match (header.adobe_transform, image.photometric) {
        (Some(0), _) => ColorSpace::Rgb,
        (Some(_), _) => ColorSpace::YCbCr,
        (None, _) if &header.component_ids == b"RGB" => ColorSpace::Rgb,
        (None, Photometric::YbrFull | Photometric::YbrFull422) => ColorSpace::YCbCr,
        (None, _) => ColorSpace::AsDescribed,
    }
}
