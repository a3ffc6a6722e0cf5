//! One frame of Pixel Data, decoded into numbers or encoded anew (PS3.3 C.7.6.3, PS3.5 8).
//!
//! ```text
//! bytes of one frame ─ codec ─> samples as stored ─ arrange ─> Frame
//! ```
//! A codec may recurse and panics on some damaged streams. Panics come back as
//! [`PixelError::Panicked`]; a stack overflow cannot be caught, so call [`decode`] on a thread
//! whose stack is at least [`STACK_BYTES`].

mod arrange;
mod codec;
mod color;
mod description;
pub mod encode;
pub(crate) mod headers;
mod jpeg;
mod jpeg12;
mod jpegxl;
mod native;
mod palette;
mod raster;
mod real;
mod registry;
mod rle;
mod stored;

use ndarray::{Array2, Array3};

pub use codec::is_decodable;
pub use description::{ImageDescription, Photometric, PlanarConfiguration};
pub use palette::Palette;
pub use raster::{Colours, Raster};
pub use stored::StoredWords;

/// Ample: every file of the conformance suite decodes on a 32nd of it.
pub const STACK_BYTES: usize = 8 << 20;

/// More samples than this in one frame are refused before anything is allocated: 11,585 pixels
/// square in grey. A whole-slide frame is a tile and stays far below.
pub const SAMPLES_MAX: usize = 1 << 27;

/// The bytes of one frame, as they are stored.
#[derive(Debug, Clone, Copy)]
pub struct EncodedFrame<'a> {
    pub transfer_syntax: &'a str,
    /// Native: the bytes that hold the frame. Encapsulated: all its fragments, joined.
    pub bytes: &'a [u8],
    /// Where in the first byte the frame begins. Only 1-bit frames of a size that is no multiple
    /// of eight pixels begin anywhere but at 0 (PS3.5 8.1.1).
    pub first_bit: u8,
    pub held_in: HeldIn,
}

/// The element that the frame is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeldIn {
    /// Pixel Data, VR OB.
    Bytes,
    /// Pixel Data, VR OW. The bytes of 8-bit samples in Explicit VR Big Endian are then swapped in
    /// pairs; there is no other difference.
    Words,
    /// Float Pixel Data.
    Floats,
    /// Double Float Pixel Data.
    Doubles,
}

impl HeldIn {
    pub fn of_vr(vr: &str) -> Self {
        match vr {
            "OW" => Self::Words,
            "OF" => Self::Floats,
            "OD" => Self::Doubles,
            _ => Self::Bytes,
        }
    }
}

impl<'a> EncodedFrame<'a> {
    /// A frame that begins at a byte, of Pixel Data with the VR usual for its depth.
    pub fn new(transfer_syntax: &'a str, bytes: &'a [u8]) -> Self {
        let transfer_syntax = transfer_syntax.trim_end_matches(['\0', ' ']);
        Self { transfer_syntax, bytes, first_bit: 0, held_in: HeldIn::Bytes }
    }
}

/// A decoded frame: `samples` is `rows` by `columns`, colour with a third axis of red, green, blue.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    pub rows: usize,
    pub columns: usize,
    pub samples: Samples,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Samples {
    /// Stored values, sign-extended from Bits Stored.
    Gray(Array2<i32>),
    /// Unsigned stored values of 32 bits, which dose grids use in full.
    WideGray(Array2<u32>),
    /// Values of Float and Double Float Pixel Data.
    Real(Array2<f64>),
    /// Red, green, blue of 8 bits, whatever colour space or palette the frame was stored in.
    Rgb(Array3<u8>),
    /// Red, green, blue of `bits` (9 to 32) bits.
    DeepRgb { bits: u16, values: Array3<u32> },
}

/// Why a frame cannot be decoded. None of them is worth a retry.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PixelError {
    #[error("{0} is absent")]
    Missing(&'static str),
    #[error("{attribute} is {value}, which is not supported")]
    Unsupported { attribute: &'static str, value: String },
    #[error("the frame has {samples} samples and the limit is {SAMPLES_MAX}")]
    TooLarge { samples: usize },
    #[error("transfer syntax {0} has no frame decoder")]
    TransferSyntax(String),
    #[error("the frame has {found} bytes and needs {needed}")]
    Truncated { found: usize, needed: usize },
    #[error("the {codec} codestream is invalid: {reason}")]
    Codestream { codec: &'static str, reason: String },
    #[error("the codestream holds {found} (columns x rows x samples) and the attributes say {expected}")]
    Mismatch { found: String, expected: String },
    #[error("the {0} codec gave up on a damaged codestream")]
    Panicked(&'static str),
}

impl PixelError {
    fn codestream(codec: &'static str, reason: impl ToString) -> Self {
        Self::Codestream { codec, reason: reason.to_string() }
    }

    fn unsupported(attribute: &'static str, value: impl ToString) -> Self {
        Self::Unsupported { attribute, value: value.to_string() }
    }
}

/// Decodes one frame.
pub fn decode(image: &ImageDescription, frame: EncodedFrame<'_>) -> Result<Frame, PixelError> {
    let samples = match frame.held_in {
        HeldIn::Floats | HeldIn::Doubles => real::decode(image, frame)?,
        HeldIn::Bytes | HeldIn::Words => arrange::arrange(image, codec::decode(image, frame)?)?,
    };
    Ok(Frame { rows: image.rows, columns: image.columns, samples })
}

/// One bit of every sample container, as it is stored: an overlay in the pixels (PS3.5 8.1.2).
pub fn bit_plane(
    image: &ImageDescription,
    frame: EncodedFrame<'_>,
    bit: u16,
) -> Result<Vec<bool>, PixelError> {
    if bit >= image.bits_allocated || image.samples_per_pixel != 1 {
        return Err(PixelError::unsupported("Overlay Bit Position", bit));
    }
    Ok(codec::decode(image, frame)?.words.bit_plane(bit))
}

#[cfg(test)]
mod tests;
