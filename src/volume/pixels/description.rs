//! The Image Pixel module (PS3.3 C.7.6.3) as a value that is valid once built.

use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

use super::{Palette, PixelError, SAMPLES_MAX};
use crate::volume::attributes::{integer, text};

/// How one frame is laid out. Every field is within the limits that the decoders rely on.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageDescription {
    pub rows: usize,
    pub columns: usize,
    /// 1 or 3.
    pub samples_per_pixel: usize,
    /// 1, 8, 16 or 32; 64 for Double Float Pixel Data.
    pub bits_allocated: u16,
    pub bits_stored: u16,
    pub high_bit: u16,
    /// Pixel Representation is two's complement.
    pub signed: bool,
    pub planar_configuration: PlanarConfiguration,
    pub photometric: Photometric,
    /// Present exactly for PALETTE COLOR.
    pub palette: Option<Palette>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlanarConfiguration {
    /// R1 G1 B1 R2 G2 B2 …
    ByPixel,
    /// R1 R2 … G1 G2 … B1 B2 …
    ByPlane,
}

/// Photometric Interpretation, PS3.3 C.7.6.3.1.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Photometric {
    Monochrome1,
    Monochrome2,
    PaletteColor,
    Rgb,
    YbrFull,
    YbrFull422,
    YbrPartial422,
    YbrPartial420,
    YbrIct,
    YbrRct,
    /// JPEG XL's own space; its decoder answers in RGB.
    Xyb,
}

impl Photometric {
    fn parse(value: &str) -> Result<Self, PixelError> {
        match value {
            "MONOCHROME1" => Ok(Self::Monochrome1),
            "MONOCHROME2" => Ok(Self::Monochrome2),
            "PALETTE COLOR" => Ok(Self::PaletteColor),
            "RGB" => Ok(Self::Rgb),
            "YBR_FULL" => Ok(Self::YbrFull),
            "YBR_FULL_422" => Ok(Self::YbrFull422),
            "YBR_PARTIAL_422" => Ok(Self::YbrPartial422),
            "YBR_PARTIAL_420" => Ok(Self::YbrPartial420),
            "YBR_ICT" => Ok(Self::YbrIct),
            "YBR_RCT" => Ok(Self::YbrRct),
            "XYB" => Ok(Self::Xyb),
            other => Err(PixelError::unsupported("Photometric Interpretation", other)),
        }
    }

    /// The defined term.
    pub fn name(self) -> &'static str {
        match self {
            Self::Monochrome1 => "MONOCHROME1",
            Self::Monochrome2 => "MONOCHROME2",
            Self::PaletteColor => "PALETTE COLOR",
            Self::Rgb => "RGB",
            Self::YbrFull => "YBR_FULL",
            Self::YbrFull422 => "YBR_FULL_422",
            Self::YbrPartial422 => "YBR_PARTIAL_422",
            Self::YbrPartial420 => "YBR_PARTIAL_420",
            Self::YbrIct => "YBR_ICT",
            Self::YbrRct => "YBR_RCT",
            Self::Xyb => "XYB",
        }
    }

    fn samples_per_pixel(self) -> usize {
        match self {
            Self::Monochrome1 | Self::Monochrome2 | Self::PaletteColor => 1,
            _ => 3,
        }
    }
}

impl ImageDescription {
    /// Reads the Image Pixel module of an instance; pixel data may be absent from it.
    pub fn from_object(object: &InMemDicomObject) -> Result<Self, PixelError> {
        let photometric = photometric(object)?;
        let bits_allocated = bits_allocated(object)?;
        let bits_stored = bits_stored(object, bits_allocated)?;
        let image = Self {
            rows: dimension(object, tags::ROWS, "Rows")?,
            columns: dimension(object, tags::COLUMNS, "Columns")?,
            samples_per_pixel: samples_per_pixel(object, photometric)?,
            bits_allocated,
            bits_stored,
            high_bit: high_bit(object, bits_allocated, bits_stored)?,
            signed: integer(object, tags::PIXEL_REPRESENTATION) == Some(1),
            planar_configuration: planar_configuration(object),
            photometric,
            palette: Palette::for_image(object, photometric)?,
        };
        image.within_limit()
    }

    /// Rows times columns.
    pub fn pixels(&self) -> usize {
        self.rows * self.columns
    }

    /// Rows times columns times samples per pixel.
    pub fn samples(&self) -> usize {
        self.pixels() * self.samples_per_pixel
    }

    fn within_limit(self) -> Result<Self, PixelError> {
        match self.samples() {
            samples if samples > SAMPLES_MAX => Err(PixelError::TooLarge { samples }),
            _ => Ok(self),
        }
    }
}

fn dimension(
    object: &InMemDicomObject,
    tag: dicom_core::Tag,
    name: &'static str,
) -> Result<usize, PixelError> {
    let value = integer(object, tag).ok_or(PixelError::Missing(name))?;
    let value = u16::try_from(value).map_err(|_| PixelError::unsupported(name, value))?;
    if value == 0 { Err(PixelError::unsupported(name, 0)) } else { Ok(usize::from(value)) }
}

/// Old single-sample objects without the attribute are taken as MONOCHROME2.
fn photometric(object: &InMemDicomObject) -> Result<Photometric, PixelError> {
    match text(object, tags::PHOTOMETRIC_INTERPRETATION) {
        Some(value) => Photometric::parse(&value),
        None if integer(object, tags::SAMPLES_PER_PIXEL).unwrap_or(1) == 1 => Ok(Photometric::Monochrome2),
        None => Err(PixelError::Missing("Photometric Interpretation")),
    }
}

fn samples_per_pixel(object: &InMemDicomObject, photometric: Photometric) -> Result<usize, PixelError> {
    let expected = photometric.samples_per_pixel();
    match integer(object, tags::SAMPLES_PER_PIXEL) {
        None => Ok(expected),
        Some(value) if usize::try_from(value) == Ok(expected) => Ok(expected),
        Some(value) => Err(PixelError::unsupported("Samples per Pixel", value)),
    }
}

fn bits_allocated(object: &InMemDicomObject) -> Result<u16, PixelError> {
    match integer(object, tags::BITS_ALLOCATED) {
        Some(1) => Ok(1),
        Some(8) => Ok(8),
        Some(16) => Ok(16),
        Some(32) => Ok(32),
        Some(64) => Ok(64),
        Some(other) => Err(PixelError::unsupported("Bits Allocated", other)),
        None => Err(PixelError::Missing("Bits Allocated")),
    }
}

fn bits_stored(object: &InMemDicomObject, allocated: u16) -> Result<u16, PixelError> {
    let Some(value) = integer(object, tags::BITS_STORED) else {
        return Ok(allocated);
    };
    let stored = u16::try_from(value).ok().filter(|stored| (1..=allocated).contains(stored));
    stored.ok_or_else(|| PixelError::unsupported("Bits Stored", value))
}

fn high_bit(object: &InMemDicomObject, allocated: u16, stored: u16) -> Result<u16, PixelError> {
    let Some(value) = integer(object, tags::HIGH_BIT) else {
        return Ok(stored - 1);
    };
    let high = u16::try_from(value).ok().filter(|high| (stored - 1..allocated).contains(high));
    high.ok_or_else(|| PixelError::unsupported("High Bit", value))
}

fn planar_configuration(object: &InMemDicomObject) -> PlanarConfiguration {
    match integer(object, tags::PLANAR_CONFIGURATION) {
        Some(1) => PlanarConfiguration::ByPlane,
        _ => PlanarConfiguration::ByPixel,
    }
}
