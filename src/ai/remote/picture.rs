//! Pictures as a request carries them: squares of the model's size, as data URLs. They are drawn anew
//! from pixels, so nothing of a file comes along.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder, ImageError};

use crate::ai::RgbImage;
use crate::ai::resize::resize;

#[derive(Debug, thiserror::Error)]
pub(super) enum PictureError {
    #[error("{0}")]
    Resize(String),
    #[error("a picture cannot be encoded: {0}")]
    Encode(#[from] ImageError),
}

/// A picture in the size of the model, and its PNG.
pub(super) struct Picture {
    side: u32,
    levels: Levels,
    png: Vec<u8>,
}

/// Grey pictures take a third.
enum Levels {
    Grey(Vec<u8>),
    Rgb(Vec<u8>),
}

impl Picture {
    /// Takes a tenth of a second: call it from a thread that may block.
    pub(super) fn draw(image: &Arc<RgbImage>, side: u32) -> Result<Self, PictureError> {
        let rgb = resize(image, side).map_err(PictureError::Resize)?;
        let is_grey = rgb.chunks_exact(3).all(|pixel| pixel[0] == pixel[1] && pixel[1] == pixel[2]);
        let levels = match is_grey {
            true => Levels::Grey(rgb.into_iter().step_by(3).collect()),
            false => Levels::Rgb(rgb),
        };
        let mut png = Vec::new();
        let encoder = PngEncoder::new_with_quality(&mut png, CompressionType::Default, FilterType::Adaptive);
        levels.write(encoder, side)?;
        Ok(Self { side, levels, png })
    }

    pub(super) fn png_bytes(&self) -> u64 {
        self.png.len() as u64
    }

    pub(super) fn png(&self) -> String {
        data_url("image/png", &self.png)
    }

    pub(super) fn jpeg(&self, quality: u8) -> Result<String, PictureError> {
        let mut jpeg = Vec::new();
        self.levels.write(JpegEncoder::new_with_quality(&mut jpeg, quality), self.side)?;
        Ok(data_url("image/jpeg", &jpeg))
    }
}

impl Levels {
    fn write(&self, encoder: impl ImageEncoder, side: u32) -> Result<(), ImageError> {
        match self {
            Self::Grey(levels) => encoder.write_image(levels, side, side, ExtendedColorType::L8),
            Self::Rgb(levels) => encoder.write_image(levels, side, side, ExtendedColorType::Rgb8),
        }
    }
}

/// As PNG, unless all of them together are more than `png_bytes_max`.
pub(super) fn data_urls(
    pictures: &[Picture],
    png_bytes_max: u64,
    quality: u8,
) -> Result<Vec<String>, PictureError> {
    let total: u64 = pictures.iter().map(Picture::png_bytes).sum();
    match total <= png_bytes_max {
        true => Ok(pictures.iter().map(Picture::png).collect()),
        false => pictures.iter().map(|picture| picture.jpeg(quality)).collect(),
    }
}

fn data_url(kind: &str, bytes: &[u8]) -> String {
    format!("data:{kind};base64,{}", STANDARD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(side: u32, blue: u8) -> Picture {
        let pixel = |n: u32| [(n * 7 % 256) as u8, (n * 7 % 256) as u8, (n * 7 % 256) as u8 ^ blue];
        let data = (0..side * side).flat_map(pixel).collect();
        Picture::draw(&Arc::new(RgbImage { width: side, height: side, data }), 32).unwrap()
    }

    fn decoded(url: &str) -> image::DynamicImage {
        let (_, text) = url.split_once(";base64,").unwrap();
        image::load_from_memory(&STANDARD.decode(text).unwrap()).unwrap()
    }

    #[test]
    fn a_png_holds_the_very_pixels() {
        let own = picture(32, 9);
        let Levels::Rgb(levels) = &own.levels else { panic!("it is coloured") };
        assert_eq!(decoded(&own.png()).to_rgb8().as_raw(), levels);
        let grey = picture(32, 0);
        assert!(grey.png_bytes() < own.png_bytes());
        assert_eq!(decoded(&grey.png()).color(), image::ColorType::L8);
    }

    #[test]
    fn many_pictures_go_as_jpeg() {
        let pictures = [picture(64, 0), picture(64, 3)];
        let total = pictures.iter().map(Picture::png_bytes).sum();
        let kinds = |max| {
            data_urls(&pictures, max, 95).unwrap().iter().map(|url| url[..15].to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(kinds(total), ["data:image/png;"; 2]);
        assert_eq!(kinds(total - 1), ["data:image/jpeg"; 2]);
        let urls = data_urls(&pictures, 0, 95).unwrap();
        assert_eq!((decoded(&urls[1]).width(), decoded(&urls[1]).height()), (32, 32));
    }
}
