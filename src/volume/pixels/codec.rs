//! Which decoder a transfer syntax asks for, and what every decoder answers with.

use std::panic::{AssertUnwindSafe, catch_unwind};

use dicom_dictionary_std::uids;

use super::{EncodedFrame, ImageDescription, PixelError, PlanarConfiguration};
use super::{jpeg, jpegxl, native, registry, rle};

/// Samples of one frame before colour and sign are settled.
pub(super) struct Decoded {
    pub(super) words: Words,
    pub(super) layout: Layout,
    pub(super) depth: Depth,
    pub(super) space: ColorSpace,
}

/// Sample containers, one per sample, right-justified unless `Depth::high_bit` says otherwise.
pub(super) enum Words {
    U8(Vec<u8>),
    U16(Vec<u16>),
    U32(Vec<u32>),
}

impl Words {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::U8(words) => words.len(),
            Self::U16(words) => words.len(),
            Self::U32(words) => words.len(),
        }
    }

    pub(super) fn bit_plane(&self, bit: u16) -> Vec<bool> {
        match self {
            Self::U8(words) => words.iter().map(|word| word >> bit & 1 == 1).collect(),
            Self::U16(words) => words.iter().map(|word| word >> bit & 1 == 1).collect(),
            Self::U32(words) => words.iter().map(|word| word >> bit & 1 == 1).collect(),
        }
    }

    /// From little-endian bytes; a trailing part of a sample is dropped.
    pub(super) fn from_le_bytes(bytes: impl AsRef<[u8]> + Into<Vec<u8>>, bits_allocated: u16) -> Self {
        let words = |width: usize| bytes.as_ref().chunks_exact(width);
        match bits_allocated {
            16 => Self::U16(words(2).map(|b| u16::from_le_bytes([b[0], b[1]])).collect()),
            32 => Self::U32(words(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()),
            _ => Self::U8(bytes.into()),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    ByPixel,
    ByPlane,
    /// Y1 Y2 Cb Cr for each pair of pixels: YBR_FULL_422 and YBR_PARTIAL_422 in native form.
    Subsampled422,
}

/// Where in its container the value of a sample sits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Depth {
    pub(super) bits: u16,
    pub(super) high_bit: u16,
    pub(super) signed: bool,
}

impl Depth {
    pub(super) fn of(image: &ImageDescription) -> Self {
        Self { bits: image.bits_stored, high_bit: image.high_bit, signed: image.signed }
    }

    /// Codecs always answer right-justified.
    pub(super) fn right_justified(bits: u16, signed: bool) -> Self {
        Self { bits, high_bit: bits - 1, signed }
    }
}

/// The space of three-sample words, as far as the codec knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ColorSpace {
    /// What Photometric Interpretation says.
    AsDescribed,
    Rgb,
    YCbCr,
}

/// Whether the colours of such a frame went through a transform that does not undo: they may as
/// well be given in RGB, which more readers take.
#[expect(deprecated, reason = "archives still hold and send objects in retired transfer syntaxes")]
pub(super) fn changes_colour(transfer_syntax: &str) -> bool {
    matches!(
        transfer_syntax,
        uids::JPEG_BASELINE8_BIT
            | uids::JPEG_EXTENDED12_BIT
            | uids::JPEG_FULL_PROGRESSION_NON_HIERARCHICAL1012
            | uids::JPEG_SPECTRAL_SELECTION_NON_HIERARCHICAL68
    )
}

#[expect(deprecated, reason = "archives still hold and send objects in retired transfer syntaxes")]
pub(super) fn decode(image: &ImageDescription, frame: EncodedFrame<'_>) -> Result<Decoded, PixelError> {
    if image.bits_allocated > 32 {
        return Err(PixelError::unsupported("Bits Allocated", image.bits_allocated));
    }
    let decoded = match frame.transfer_syntax {
        uids::IMPLICIT_VR_LITTLE_ENDIAN
        | uids::EXPLICIT_VR_LITTLE_ENDIAN
        | uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN
        | uids::ENCAPSULATED_UNCOMPRESSED_EXPLICIT_VR_LITTLE_ENDIAN => native::decode(image, frame),
        uids::EXPLICIT_VR_BIG_ENDIAN => native::decode_big_endian(image, frame),
        uids::DEFLATED_IMAGE_FRAME_COMPRESSION => native::decode_deflated(image, frame),
        uids::RLE_LOSSLESS => rle::decode(image, frame.bytes),
        uids::JPEG_BASELINE8_BIT
        | uids::JPEG_EXTENDED12_BIT
        | uids::JPEG_FULL_PROGRESSION_NON_HIERARCHICAL1012
        | uids::JPEG_SPECTRAL_SELECTION_NON_HIERARCHICAL68
        | uids::JPEG_LOSSLESS
        | uids::JPEG_LOSSLESS_SV1 => guarded("JPEG", || jpeg::decode(image, frame.bytes)),
        uids::JPEGLS_LOSSLESS | uids::JPEGLS_NEAR_LOSSLESS => {
            guarded("JPEG-LS", || registry::jpeg_ls(image, frame))
        }
        uids::JPEG2000_LOSSLESS
        | uids::JPEG2000
        | uids::HTJ2K_LOSSLESS
        | uids::HTJ2K_LOSSLESS_RPCL
        | uids::HTJ2K => guarded("JPEG 2000", || registry::jpeg_2000(image, frame)),
        uids::JPEGXL_LOSSLESS | uids::JPEGXLJPEG_RECOMPRESSION | uids::JPEGXL => {
            guarded("JPEG XL", || jpegxl::decode(image, frame.bytes))
        }
        other => Err(PixelError::TransferSyntax(other.to_owned())),
    }?;
    complete(image, decoded)
}

/// Whether samples come out of their frames in containers of Bits Allocated, whatever Bits Stored
/// says: native, RLE and deflate.
pub(super) fn keeps_containers(transfer_syntax: &str) -> bool {
    !transfer_syntax.starts_with("1.2.840.10008.1.2.4.")
}

/// Whether frames of a syntax can be decoded at all.
pub fn is_decodable(transfer_syntax: &str) -> bool {
    !transfer_syntax.starts_with("1.2.840.10008.1.2.4.10")
        && ![uids::JPEG2000MC, uids::JPEG2000MC_LOSSLESS].contains(&transfer_syntax)
        && (cfg!(feature = "jpeg-ls") || transfer_syntax != uids::JPEGLS_LOSSLESS)
}

/// Third-party codecs index out of bounds on some damaged streams; nothing they touch survives
/// the panic, so unwinding through them leaves no broken state behind.
pub(super) fn guarded<T>(
    codec: &'static str,
    work: impl FnOnce() -> Result<T, PixelError>,
) -> Result<T, PixelError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or(Err(PixelError::Panicked(codec)))
}

fn complete(image: &ImageDescription, decoded: Decoded) -> Result<Decoded, PixelError> {
    let needed = match decoded.layout {
        Layout::Subsampled422 => image.pixels() * 2,
        Layout::ByPixel | Layout::ByPlane => image.samples(),
    };
    match decoded.words.len() {
        found if found < needed => Err(PixelError::Truncated { found, needed }),
        _ => Ok(decoded),
    }
}

impl From<PlanarConfiguration> for Layout {
    fn from(planar: PlanarConfiguration) -> Self {
        match planar {
            PlanarConfiguration::ByPixel => Self::ByPixel,
            PlanarConfiguration::ByPlane => Self::ByPlane,
        }
    }
}
