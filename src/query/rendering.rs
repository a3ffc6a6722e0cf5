//! Pictures for people: a displayed frame as JPEG or PNG (PS3.18 10.4.1.1, Rendered Media Types).

pub mod category;

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::imageops::FilterType;
use image::{DynamicImage, ExtendedColorType, GrayImage, ImageEncoder, RgbImage};

use crate::volume::functional_groups::FrameAttributes;
use crate::volume::grayscale::{self, GrayscaleError, Picture, Window};
use crate::volume::pixels::{self, EncodedFrame, ImageDescription, PixelError};

/// How a frame becomes a file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rendering {
    pub format: Format,
    pub window: Window,
    /// The picture is scaled, keeping its aspect ratio, to fit in here (PS3.18 8.3.5.1.3).
    pub viewport: Option<Viewport>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `quality` is 1 to 100 (PS3.18 8.3.5.1.2).
    Jpeg {
        quality: u8,
    },
    Png,
}

impl Format {
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Jpeg { .. } => "image/jpeg",
            Self::Png => "image/png",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Viewport {
    pub columns: u32,
    pub rows: u32,
}

/// What PS3.18 10.4.1.1.5 leaves to the server, chosen for viewers' lists.
pub const THUMBNAIL: Rendering = Rendering {
    format: Format::Jpeg { quality: 80 },
    window: Window::First,
    viewport: Some(Viewport { columns: 128, rows: 128 }),
};

#[derive(Debug, thiserror::Error)]
pub enum RenderingError {
    #[error("the frame cannot be decoded")]
    Pixels(#[from] PixelError),
    #[error("the frame has no displayable values")]
    Grayscale(#[from] GrayscaleError),
    #[error("the picture cannot be encoded")]
    Encoding(#[from] image::ImageError),
}

/// Decodes, displays, scales and encodes one frame; `frame_index` counts from 0.
///
/// This takes tens of milliseconds of CPU: call it where blocking is allowed, with the stack that
/// [`pixels::decode`] asks for.
pub fn render(
    attributes: &dicom_object::InMemDicomObject,
    frame_index: usize,
    frame: EncodedFrame<'_>,
    rendering: Rendering,
) -> Result<Vec<u8>, RenderingError> {
    let decoded = pixels::decode(&ImageDescription::from_object(attributes)?, frame)?;
    let picture =
        grayscale::display(&decoded, &FrameAttributes::new(attributes, frame_index), rendering.window)?;
    encode(picture, rendering.format, rendering.viewport)
}

/// Scales and encodes a picture.
pub fn encode(
    picture: Picture,
    format: Format,
    viewport: Option<Viewport>,
) -> Result<Vec<u8>, RenderingError> {
    let picture = fit(into_image(picture), viewport);
    let color = match picture {
        DynamicImage::ImageLuma8(_) => ExtendedColorType::L8,
        _ => ExtendedColorType::Rgb8,
    };
    let (columns, rows) = (picture.width(), picture.height());
    let mut bytes = Vec::new();
    match format {
        Format::Jpeg { quality } => JpegEncoder::new_with_quality(&mut bytes, quality.clamp(1, 100))
            .write_image(picture.as_bytes(), columns, rows, color),
        Format::Png => PngEncoder::new(&mut bytes).write_image(picture.as_bytes(), columns, rows, color),
    }?;
    Ok(bytes)
}

fn into_image(picture: Picture) -> DynamicImage {
    match picture {
        Picture::Gray(levels) => {
            let (rows, columns) = levels.dim();
            let pixels = levels.into_iter().collect();
            GrayImage::from_raw(columns as u32, rows as u32, pixels).unwrap_or_default().into()
        }
        Picture::Rgb(levels) => {
            let (rows, columns, _) = levels.dim();
            let pixels = levels.into_iter().collect();
            RgbImage::from_raw(columns as u32, rows as u32, pixels).unwrap_or_default().into()
        }
    }
}

/// A picture that already fits exactly is left alone; a smaller one is enlarged, as 8.3.5.1.3 asks.
fn fit(picture: DynamicImage, viewport: Option<Viewport>) -> DynamicImage {
    match viewport {
        Some(Viewport { columns, rows }) if (columns, rows) != (picture.width(), picture.height()) => {
            picture.resize(columns.max(1), rows.max(1), FilterType::Triangle)
        }
        _ => picture,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::grayscale::voi::{VoiFunction, WindowLevel};
    use crate::volume::testing::object;
    use dicom_dictionary_std::{tags, uids};
    use ndarray::{Array2, Array3};

    fn decoded(format: Format, picture: Picture, viewport: Option<Viewport>) -> DynamicImage {
        image::load_from_memory(&encode(picture, format, viewport).unwrap()).unwrap()
    }

    fn ramp() -> Picture {
        Picture::Gray(Array2::from_shape_fn((20, 40), |(row, column)| (row * 5 + column) as u8))
    }

    #[test]
    fn png_keeps_every_level() {
        let Picture::Gray(levels) = ramp() else { unreachable!() };
        let read = decoded(Format::Png, ramp(), None).into_luma8();
        assert_eq!(read.into_raw(), levels.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn jpeg_is_close_to_the_picture() {
        let Picture::Gray(levels) = ramp() else { unreachable!() };
        let read = decoded(Format::Jpeg { quality: 95 }, ramp(), None).into_luma8();
        assert_eq!(read.dimensions(), (40, 20));
        assert!(read.into_raw().iter().zip(&levels).all(|(read, level)| read.abs_diff(*level) < 6));
    }

    #[test]
    fn color_keeps_its_channel_order() {
        let red = Picture::Rgb(Array3::from_shape_fn(
            (2, 3, 3),
            |(_, _, channel)| {
                if channel == 0 { 200 } else { 7 }
            },
        ));
        assert_eq!(decoded(Format::Png, red, None).into_rgb8().get_pixel(2, 1).0, [200, 7, 7]);
    }

    fn rendered(bytes: &[u8], window: Window) -> Result<Vec<u8>, RenderingError> {
        let attributes = object(&[
            (tags::ROWS, "1"),
            (tags::COLUMNS, "3"),
            (tags::BITS_ALLOCATED, "16"),
            (tags::PHOTOMETRIC_INTERPRETATION, "MONOCHROME2"),
            (tags::RESCALE_INTERCEPT, "-1000"),
        ]);
        let frame = EncodedFrame::new(uids::EXPLICIT_VR_LITTLE_ENDIAN, bytes);
        let rendering = Rendering { format: Format::Png, window, viewport: None };
        let file = render(&attributes, 0, frame, rendering)?;
        Ok(image::load_from_memory(&file)?.into_luma8().into_raw())
    }

    #[test]
    fn a_frame_is_decoded_windowed_and_encoded() {
        let bytes: Vec<u8> = [900_u16, 1000, 1100].into_iter().flat_map(u16::to_le_bytes).collect();
        let window = WindowLevel { center: 0.0, width: 400.0, function: VoiFunction::LinearExact };
        assert_eq!(rendered(&bytes, Window::Explicit(window)).unwrap(), [64, 128, 191]);
        assert_eq!(rendered(&bytes, Window::First).unwrap(), [0, 128, 255]);
    }

    #[test]
    fn a_short_frame_is_refused() {
        let refused = rendered(&[0; 5], Window::First).unwrap_err();
        assert!(matches!(refused, RenderingError::Pixels(PixelError::Truncated { found: 5, needed: 6 })));
    }

    #[test]
    fn a_viewport_keeps_the_aspect_ratio() {
        let read = decoded(Format::Png, ramp(), Some(Viewport { columns: 16, rows: 16 }));
        assert_eq!((read.width(), read.height()), (16, 8));
        let read = decoded(Format::Png, ramp(), Some(Viewport { columns: 160, rows: 160 }));
        assert_eq!((read.width(), read.height()), (160, 80));
    }
}
