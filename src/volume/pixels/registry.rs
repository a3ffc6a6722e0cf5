//! JPEG-LS and JPEG 2000 through the decoders of the transfer syntax registry.
//!
//! The registry truncates samples to Bits Allocated and knows nothing of the sign and precision a
//! codestream declares, so those are read from its header here and win over the attributes.

use std::borrow::Cow;

use dicom_core::value::C;
use dicom_encoding::adapters::{PixelDataObject, RawPixelData};
use dicom_encoding::transfer_syntax::TransferSyntaxIndex;
use dicom_transfer_syntax_registry::TransferSyntaxRegistry;

use super::codec::{ColorSpace, Decoded, Depth, Layout, Words};
use super::headers::{Header, jpeg_2000_header, jpeg_header};
use super::{EncodedFrame, ImageDescription, Photometric, PixelError};

pub(super) fn jpeg_ls(image: &ImageDescription, frame: EncodedFrame<'_>) -> Result<Decoded, PixelError> {
    let header =
        jpeg_header(frame.bytes).ok_or_else(|| PixelError::codestream("JPEG-LS", "no frame header"))?;
    header.expect(image)?;
    let container = if header.precision > 8 { 16 } else { 8 };
    let words = Words::from_le_bytes(decode(image, frame, container)?, container);
    let layout = if header.interleaved { Layout::ByPixel } else { Layout::ByPlane };
    Ok(Decoded { words, layout, depth: depth(image, &header), space: ColorSpace::AsDescribed })
}

pub(super) fn jpeg_2000(image: &ImageDescription, frame: EncodedFrame<'_>) -> Result<Decoded, PixelError> {
    let header =
        jpeg_2000_header(frame.bytes).ok_or_else(|| PixelError::codestream("JPEG 2000", "no SIZ marker"))?;
    header.expect(image)?;
    let container = if header.precision > 8 { 16 } else { 8 };
    let words = Words::from_le_bytes(decode(image, frame, container)?, container);
    let space = match image.photometric {
        Photometric::YbrFull | Photometric::YbrFull422 if !header.component_transform => ColorSpace::YCbCr,
        _ => ColorSpace::Rgb,
    };
    Ok(Decoded { words, layout: Layout::ByPixel, depth: depth(image, &header), space })
}

/// A stream that says it is signed is; one that says it is not may still carry two's complement
/// of its own precision, when Pixel Representation says so.
fn depth(image: &ImageDescription, header: &Header) -> Depth {
    Depth::right_justified(header.precision, header.signed || image.signed)
}

fn decode(image: &ImageDescription, frame: EncodedFrame<'_>, container: u16) -> Result<Vec<u8>, PixelError> {
    let unknown = || PixelError::TransferSyntax(frame.transfer_syntax.to_owned());
    let syntax = TransferSyntaxRegistry.get(frame.transfer_syntax).ok_or_else(unknown)?;
    let reader = syntax.pixel_data_reader().ok_or_else(unknown)?;
    let mut bytes = Vec::new();
    let decoded = reader.decode_frame(&OneFrame { image, frame, container }, 0, &mut bytes);
    decoded.map_err(|error| PixelError::codestream("compressed", error))?;
    Ok(bytes)
}

/// The registry's decoders read an object; this one has a single frame in a single fragment.
pub(super) struct OneFrame<'a> {
    image: &'a ImageDescription,
    frame: EncodedFrame<'a>,
    container: u16,
}

impl<'a> OneFrame<'a> {
    /// For an encoder.
    pub(super) fn native(image: &'a ImageDescription, bytes: &'a [u8]) -> Self {
        let frame = EncodedFrame::new(dicom_dictionary_std::uids::EXPLICIT_VR_LITTLE_ENDIAN, bytes);
        Self { image, frame, container: image.bits_allocated }
    }
}

impl PixelDataObject for OneFrame<'_> {
    fn transfer_syntax_uid(&self) -> &str {
        self.frame.transfer_syntax
    }

    fn rows(&self) -> Option<u16> {
        u16::try_from(self.image.rows).ok()
    }

    fn cols(&self) -> Option<u16> {
        u16::try_from(self.image.columns).ok()
    }

    fn samples_per_pixel(&self) -> Option<u16> {
        u16::try_from(self.image.samples_per_pixel).ok()
    }

    fn bits_allocated(&self) -> Option<u16> {
        Some(self.container)
    }

    fn bits_stored(&self) -> Option<u16> {
        Some(self.image.bits_stored)
    }

    fn photometric_interpretation(&self) -> Option<&str> {
        None
    }

    fn number_of_frames(&self) -> Option<u32> {
        Some(1)
    }

    fn number_of_fragments(&self) -> Option<u32> {
        Some(1)
    }

    fn fragment(&self, fragment: usize) -> Option<Cow<'_, [u8]>> {
        (fragment == 0).then_some(Cow::Borrowed(self.frame.bytes))
    }

    fn offset_table(&self) -> Option<Cow<'_, [u32]>> {
        None
    }

    fn raw_pixel_data(&self) -> Option<RawPixelData> {
        let fragments = C::from_vec(vec![self.frame.bytes.to_vec()]);
        Some(RawPixelData { fragments, offset_table: C::new() })
    }
}
