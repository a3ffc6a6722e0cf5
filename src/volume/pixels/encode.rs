//! One frame into the codestream of a transfer syntax (PS3.5 8.2, Annexes A, F and G).

mod huffman;
mod jpeg_lossless;
mod registry;
mod rle;

use std::io::Write;

use dicom_dictionary_std::uids;
use flate2::Compression;
use flate2::write::DeflateEncoder;
use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, ImageEncoder};

use super::codec::guarded;
use super::color::Ybr;
use super::{Photometric, PixelError, Raster};

/// A form of pixel data that this program can make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    Native,
    RleLossless,
    /// Each frame deflated by itself, PS3.5 A.4.13.
    DeflatedFrame,
    /// First-order prediction, ITU-T T.81 H.
    JpegLossless,
    JpegLsLossless,
    JpegXlLossless,
    /// The only lossy one: never chosen by the server.
    JpegBaseline,
}

/// Where the artefacts of JPEG stay below what a display shows.
const JPEG_QUALITY: u8 = 90;

impl Encoding {
    /// Compressed forms, in the order of preference where a client leaves the choice.
    pub const COMPRESSED: [Self; 6] = [
        Self::JpegLossless,
        Self::JpegLsLossless,
        Self::RleLossless,
        Self::JpegXlLossless,
        Self::DeflatedFrame,
        Self::JpegBaseline,
    ];

    /// The syntaxes whose pixel data are native all mean the same here.
    pub fn of(transfer_syntax: &str) -> Option<Self> {
        match transfer_syntax {
            uids::EXPLICIT_VR_LITTLE_ENDIAN | uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN => Some(Self::Native),
            other => Self::COMPRESSED.into_iter().find(|encoding| encoding.transfer_syntax() == other),
        }
        .filter(|encoding| encoding.is_available())
    }

    pub fn transfer_syntax(self) -> &'static str {
        match self {
            Self::Native => uids::EXPLICIT_VR_LITTLE_ENDIAN,
            Self::RleLossless => uids::RLE_LOSSLESS,
            Self::DeflatedFrame => uids::DEFLATED_IMAGE_FRAME_COMPRESSION,
            Self::JpegLossless => uids::JPEG_LOSSLESS_SV1,
            Self::JpegLsLossless => uids::JPEGLS_LOSSLESS,
            Self::JpegXlLossless => uids::JPEGXL_LOSSLESS,
            Self::JpegBaseline => uids::JPEG_BASELINE8_BIT,
        }
    }

    /// JPEG-LS comes with a feature of the build.
    pub fn is_available(self) -> bool {
        self != Self::JpegLsLossless || cfg!(feature = "jpeg-ls")
    }

    pub fn is_lossy(self) -> bool {
        self == Self::JpegBaseline
    }

    /// Codestreams are right-justified; the other forms hold whole containers.
    pub fn high_bit(self, raster: &Raster) -> u16 {
        match self {
            Self::Native | Self::RleLossless | Self::DeflatedFrame => raster.high_bit,
            _ => raster.bits_stored - 1,
        }
    }

    /// Which Photometric Interpretation a frame has after this encoding.
    pub fn photometric(self, raster: &Raster) -> Photometric {
        match (self, raster.samples_per_pixel) {
            (Self::JpegBaseline, 3) => Photometric::YbrFull,
            _ => raster.photometric,
        }
    }
}

/// Encodes one frame. Compressed frames have an even length (PS3.5 A.4).
///
/// # Errors
/// The encoding has no form for such pixels.
pub fn encode(raster: &Raster, encoding: Encoding) -> Result<Vec<u8>, PixelError> {
    let mut bytes = match encoding {
        Encoding::Native => return Ok(raster.native()),
        Encoding::RleLossless => rle::encode(raster)?,
        Encoding::DeflatedFrame => deflate(&raster.native())?,
        Encoding::JpegLossless => jpeg_lossless::encode(raster)?,
        Encoding::JpegLsLossless => guarded("JPEG-LS", || registry::jpeg_ls(raster))?,
        Encoding::JpegXlLossless => guarded("JPEG XL", || registry::jpeg_xl(raster))?,
        Encoding::JpegBaseline => jpeg_baseline(raster)?,
    };
    if bytes.len() % 2 == 1 {
        bytes.push(0);
    }
    Ok(bytes)
}

fn deflate(native: &[u8]) -> Result<Vec<u8>, PixelError> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    let written = encoder.write_all(native).and_then(|()| encoder.finish());
    written.map_err(|error| PixelError::codestream("deflate", error))
}

/// YCbCr without subsampling, ITU-T T.81 baseline.
fn jpeg_baseline(raster: &Raster) -> Result<Vec<u8>, PixelError> {
    if raster.bits_stored > 8 || raster.signed || raster.photometric == Photometric::PaletteColor {
        return Err(PixelError::unsupported("JPEG Baseline of Bits Stored", raster.bits_stored));
    }
    let mut raster = raster.clone();
    if raster.photometric == Photometric::YbrFull {
        raster.convert_to_rgb(Ybr::Full);
    }
    let color = if raster.samples_per_pixel == 3 { ExtendedColorType::Rgb8 } else { ExtendedColorType::L8 };
    let levels: Vec<u8> = raster.words(8).map(|level| level as u8).collect();
    let mut bytes = Vec::new();
    let encoder = JpegEncoder::new_with_quality(&mut bytes, JPEG_QUALITY);
    let written = encoder.write_image(&levels, raster.columns as u32, raster.rows as u32, color);
    written.map_err(|error| PixelError::codestream("JPEG", error))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
