//! In which forms a frame can be given, PS3.18 Table 8.7.3-5.

use dicom_dictionary_std::uids;

use crate::query::transcoding::is_lossy;
use crate::volume::pixels::encode::{Encoding, encode};
use crate::volume::pixels::{Colours, EncodedFrame, ImageDescription, PixelError, Raster, is_decodable};

pub(in crate::http::dicomweb) const OCTETS: &str = "application/octet-stream";

/// What native frames are given as, whatever they are stored in.
pub(super) const NATIVE: &str = uids::EXPLICIT_VR_LITTLE_ENDIAN;

/// A media type and the transfer syntax that goes with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::http::dicomweb) struct Form {
    pub(super) media_type: &'static str,
    pub(super) transfer_syntax: String,
    pub(super) is_stored: bool,
}

impl Form {
    fn new(media_type: &'static str, transfer_syntax: &str) -> Self {
        Self { media_type, transfer_syntax: transfer_syntax.to_owned(), is_stored: false }
    }
}

/// The default comes first: little endian, unless the stored form is lossy. Lossy forms are made
/// only for who names them and come last.
pub(super) fn forms(stored: &str, is_encapsulated: bool) -> Vec<Form> {
    let native = Form { is_stored: !is_encapsulated, ..Form::new(OCTETS, NATIVE) };
    let made = Encoding::COMPRESSED.into_iter().filter(|encoding| encoding.is_available());
    let made = made.map(Encoding::transfer_syntax).filter(|syntax| *syntax != stored);
    let made = made.map(|syntax| Form::new(media_type(syntax), syntax));
    if !is_encapsulated {
        return [native].into_iter().chain(made).collect();
    }
    let kept = Form { is_stored: true, ..Form::new(media_type(stored), stored) };
    // For a client that takes nothing but octets, and knows what to do with these.
    let named = Form::new(OCTETS, stored);
    let first = if is_lossy(stored) || !is_decodable(stored) { [kept, native] } else { [native, kept] };
    first.into_iter().chain(made).chain([named]).collect()
}

/// The content of a frame without its item headers.
pub(in crate::http::dicomweb) fn media_type(transfer_syntax: &str) -> &'static str {
    match transfer_syntax {
        uids::RLE_LOSSLESS => "image/dicom-rle",
        uids::JPEGLS_LOSSLESS | uids::JPEGLS_NEAR_LOSSLESS => "image/jls",
        uids::JPEG2000_LOSSLESS | uids::JPEG2000 => "image/jp2",
        uids::JPEG2000MC_LOSSLESS | uids::JPEG2000MC => "image/jpx",
        uids::HTJ2K_LOSSLESS | uids::HTJ2K_LOSSLESS_RPCL | uids::HTJ2K => "image/jphc",
        uids::JPEGXL_LOSSLESS | uids::JPEGXLJPEG_RECOMPRESSION | uids::JPEGXL => "image/jxl",
        other if other.starts_with("1.2.840.10008.1.2.4.10") => video_type(other),
        other if other.starts_with("1.2.840.10008.1.2.4.") => "image/jpeg",
        _ => OCTETS,
    }
}

fn video_type(transfer_syntax: &str) -> &'static str {
    match transfer_syntax {
        uids::MPEG2MPML | uids::MPEG2MPHL => "video/mpeg",
        _ => "video/mp4",
    }
}

/// A frame in another form. Native frames go out beside the metadata of their object and must be
/// what it says; compressed ones say themselves what they hold.
pub(super) fn made(
    image: &ImageDescription,
    frame: EncodedFrame<'_>,
    wanted: Option<&str>,
) -> Result<Vec<u8>, PixelError> {
    let wanted = wanted.unwrap_or(NATIVE);
    match Encoding::of(wanted) {
        Some(Encoding::Native) => {
            Ok(Raster::decode(image, frame, Colours::AsDescribed)?.native_as_described(image))
        }
        Some(encoding) => encode(&Raster::decode(image, frame, Colours::Decoded)?, encoding),
        None => Err(PixelError::TransferSyntax(wanted.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compressed_frames_have_the_media_types_of_the_table_w14b() {
        for (syntax, expected) in [
            ("1.2.840.10008.1.2.4.50", "image/jpeg"),
            ("1.2.840.10008.1.2.4.70", "image/jpeg"),
            ("1.2.840.10008.1.2.4.80", "image/jls"),
            ("1.2.840.10008.1.2.4.91", "image/jp2"),
            ("1.2.840.10008.1.2.4.201", "image/jphc"),
            ("1.2.840.10008.1.2.4.110", "image/jxl"),
            ("1.2.840.10008.1.2.4.100", "video/mpeg"),
            ("1.2.840.10008.1.2.4.102", "video/mp4"),
            ("1.2.840.10008.1.2.5", "image/dicom-rle"),
        ] {
            assert_eq!(media_type(syntax), expected, "{syntax}");
        }
    }

    #[test]
    fn only_a_lossy_frame_is_first_offered_as_it_is_stored_g11() {
        let first = |syntax| forms(syntax, true)[0].transfer_syntax.clone();
        assert_eq!(first(uids::JPEG2000_LOSSLESS), NATIVE);
        assert_eq!(first(uids::JPEG_BASELINE8_BIT), uids::JPEG_BASELINE8_BIT);
        assert_eq!(forms(uids::IMPLICIT_VR_LITTLE_ENDIAN, false)[0].transfer_syntax, NATIVE);
    }
}
