//! The key image and the boxes on it, in fractions of the picture.

use image::codecs::jpeg::JpegEncoder;
use image::{ColorType, ImageEncoder};

use super::{KeyImage, PdfError};
use crate::report::document::{ImageReference, Report};
use crate::report::region::{Framing, Region};

/// Visually lossless at the size of a page.
const JPEG_QUALITY: u8 = 90;

pub(super) struct Picture {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) jpeg: Vec<u8>,
    pub(super) grey: bool,
    /// Of the image that it shows, for people.
    pub(super) label: String,
    pub(super) boxes: Vec<Marked>,
}

/// A finding's box, edges as fractions of the picture from its top left corner.
pub(super) struct Marked {
    pub(super) number: usize,
    pub(super) left: f32,
    pub(super) top: f32,
    pub(super) right: f32,
    pub(super) bottom: f32,
}

impl Picture {
    pub(super) fn of(report: &Report, key: KeyImage<'_>) -> Result<Self, PdfError> {
        let image = report.draft().evidence.get(key.evidence).ok_or(PdfError::NoSuchEvidence)?;
        let findings = (1..).zip(&report.draft().findings);
        let here = findings.filter(|(_, finding)| finding.image == Some(key.evidence));
        Self::with_regions(image, key, here.filter_map(|(number, finding)| Some((number, finding.region?))))
    }

    /// The regions of findings that lie on this image, by number.
    pub(super) fn with_regions(
        image: &ImageReference,
        key: KeyImage<'_>,
        regions: impl Iterator<Item = (usize, Region)>,
    ) -> Result<Self, PdfError> {
        let picture = key.picture;
        let expected = picture.width as usize * picture.height as usize * 3;
        if picture.data.len() != expected || expected == 0 {
            return Err(PdfError::PictureSize { expected, actual: picture.data.len() });
        }
        let grey = picture.data.chunks_exact(3).all(|pixel| pixel[0] == pixel[1] && pixel[1] == pixel[2]);
        Ok(Self {
            width: picture.width,
            height: picture.height,
            jpeg: encoded(key, grey).map_err(PdfError::Picture)?,
            grey,
            label: image.label(),
            boxes: regions.map(|(number, region)| marked(number, region, key.framing, image)).collect(),
        })
    }
}

fn encoded(key: KeyImage<'_>, grey: bool) -> Result<Vec<u8>, image::ImageError> {
    let (width, height, data) = (key.picture.width, key.picture.height, &key.picture.data);
    let mut bytes = Vec::new();
    let encoder = JpegEncoder::new_with_quality(&mut bytes, JPEG_QUALITY);
    if grey {
        let levels: Vec<u8> = data.iter().step_by(3).copied().collect();
        encoder.write_image(&levels, width, height, ColorType::L8.into())?;
    } else {
        encoder.write_image(data, width, height, ColorType::Rgb8.into())?;
    }
    Ok(bytes)
}

fn marked(number: usize, region: Region, framing: Framing, image: &ImageReference) -> Marked {
    let (rows, columns) = (image.rows as f32, image.columns as f32);
    let (height, width) = match framing {
        Framing::Padded => (rows.max(columns), rows.max(columns)),
        Framing::Stretched => (rows, columns),
    };
    let x = |column: f32| (column + (width - columns) / 2.0) / width;
    let y = |row: f32| (row + (height - rows) / 2.0) / height;
    Marked {
        number,
        left: x(region.left),
        top: y(region.top),
        right: x(region.right),
        bottom: y(region.bottom),
    }
}
