//! JPEG-LS and JPEG XL through the encoders of the transfer syntax registry.

use dicom_encoding::adapters::EncodeOptions;
use dicom_encoding::transfer_syntax::TransferSyntaxIndex;
use dicom_transfer_syntax_registry::TransferSyntaxRegistry;

use super::Encoding;
use crate::volume::pixels::registry::OneFrame;
use crate::volume::pixels::{
    Colours, EncodedFrame, ImageDescription, Photometric, PixelError, PlanarConfiguration, Raster,
};

/// Samples by plane, each plane a scan of its own. The encoder takes the precision from Bits
/// Stored.
pub(super) fn jpeg_ls(raster: &Raster) -> Result<Vec<u8>, PixelError> {
    let precision = raster.precision().max(8);
    let words = raster.codec_words(precision);
    let samples = raster.samples_per_pixel;
    let by_plane = (0..samples).flat_map(|sample| words.iter().skip(sample).step_by(samples).copied());
    encode(raster, Encoding::JpegLsLossless, precision, &bytes(by_plane, raster))
}

/// The encoder knows RGB and grey alone, and fails on some radiographs of 16 bits without saying
/// so: what it wrote is read back.
pub(super) fn jpeg_xl(raster: &Raster) -> Result<Vec<u8>, PixelError> {
    if raster.photometric == Photometric::YbrFull {
        return Err(PixelError::unsupported("JPEG XL of Photometric Interpretation", "YBR_FULL"));
    }
    let precision = raster.bits_allocated;
    let encoded = encode(
        raster,
        Encoding::JpegXlLossless,
        precision,
        &bytes(raster.codec_words(precision).into_iter(), raster),
    )?;
    let frame = EncodedFrame::new(Encoding::JpegXlLossless.transfer_syntax(), &encoded);
    let again = Raster::decode(&described(raster, precision), frame, Colours::Decoded)?;
    match again.words(precision).eq(raster.codec_words(precision)) {
        true => Ok(encoded),
        false => Err(PixelError::codestream("JPEG XL", "the encoder changed the pixels")),
    }
}

fn bytes(words: impl Iterator<Item = u32>, raster: &Raster) -> Vec<u8> {
    words.flat_map(|word| word.to_le_bytes().into_iter().take(raster.sample_bytes())).collect()
}

fn encode(raster: &Raster, encoding: Encoding, precision: u16, bytes: &[u8]) -> Result<Vec<u8>, PixelError> {
    if !matches!(raster.bits_allocated, 8 | 16) {
        return Err(PixelError::unsupported("compression of Bits Allocated", raster.bits_allocated));
    }
    let unknown = || PixelError::TransferSyntax(encoding.transfer_syntax().to_owned());
    let syntax = TransferSyntaxRegistry.get(encoding.transfer_syntax()).ok_or_else(unknown)?;
    let writer = syntax.pixel_data_writer().ok_or_else(unknown)?;
    let image = described(raster, precision);
    let mut encoded = Vec::new();
    let written =
        writer.encode_frame(&OneFrame::native(&image, bytes), 0, EncodeOptions::default(), &mut encoded);
    written.map_err(|error| PixelError::codestream("encoded", error))?;
    Ok(encoded)
}

fn described(raster: &Raster, precision: u16) -> ImageDescription {
    ImageDescription {
        rows: raster.rows,
        columns: raster.columns,
        samples_per_pixel: raster.samples_per_pixel,
        bits_allocated: raster.bits_allocated,
        bits_stored: precision,
        high_bit: precision - 1,
        signed: raster.signed,
        planar_configuration: PlanarConfiguration::ByPixel,
        photometric: raster.photometric,
        palette: None,
    }
}
