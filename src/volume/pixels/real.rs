//! Float and Double Float Pixel Data (PS3.3 C.7.6.24, C.7.6.25): native, one sample per pixel.

use dicom_dictionary_std::uids;
use ndarray::Array2;

use super::{EncodedFrame, HeldIn, ImageDescription, PixelError, Samples};

#[expect(deprecated, reason = "archives still hold and send objects in retired transfer syntaxes")]
pub(super) fn decode(image: &ImageDescription, frame: EncodedFrame<'_>) -> Result<Samples, PixelError> {
    let big_endian = match frame.transfer_syntax {
        uids::IMPLICIT_VR_LITTLE_ENDIAN
        | uids::EXPLICIT_VR_LITTLE_ENDIAN
        | uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN => false,
        uids::EXPLICIT_VR_BIG_ENDIAN => true,
        other => return Err(PixelError::TransferSyntax(other.to_owned())),
    };
    let width = if frame.held_in == HeldIn::Doubles { 8 } else { 4 };
    if usize::from(image.bits_allocated) != width * 8 || image.samples_per_pixel != 1 {
        return Err(PixelError::unsupported("Bits Allocated", image.bits_allocated));
    }
    let needed = image.pixels() * width;
    let bytes = frame.bytes.get(..needed);
    let bytes = bytes.ok_or(PixelError::Truncated { found: frame.bytes.len(), needed })?;
    let values = bytes.chunks_exact(width).map(|bytes| value(bytes, big_endian)).collect();
    let values = Array2::from_shape_vec((image.rows, image.columns), values);
    Ok(Samples::Real(values.map_err(|_| PixelError::Truncated { found: frame.bytes.len(), needed })?))
}

fn value(bytes: &[u8], big_endian: bool) -> f64 {
    let mut ordered = [0; 8];
    let ordered = &mut ordered[..bytes.len()];
    ordered.copy_from_slice(bytes);
    if big_endian {
        ordered.reverse();
    }
    match *ordered {
        [a, b, c, d] => f64::from(f32::from_le_bytes([a, b, c, d])),
        [a, b, c, d, e, f, g, h] => f64::from_le_bytes([a, b, c, d, e, f, g, h]),
        _ => f64::NAN,
    }
}
