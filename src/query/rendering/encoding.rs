//! Pictures as files: JPEG, PNG, GIF, and GIFs of several frames.

mod grey;

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use image::codecs::gif::{GifEncoder, Repeat};
use image::codecs::png::PngEncoder;
use image::{Delay, DynamicImage, ExtendedColorType, ImageEncoder};

use super::{Format, RenderingError};

/// A picture and the ICC profile of its colours.
#[derive(Debug, Clone, PartialEq)]
pub struct Drawn {
    pub picture: DynamicImage,
    pub profile: Option<Vec<u8>>,
}

/// Of the colours of a GIF, from 1 (best) to 30 (fastest). Grey has 256 levels and loses none.
const GIF_SPEED: i32 = 10;

impl Drawn {
    pub fn encode(&self, format: Format) -> Result<Vec<u8>, RenderingError> {
        match format {
            Format::Jpeg { quality } => self.jpeg(quality),
            Format::Png => self.png(),
            Format::Gif => {
                let mut bytes = Vec::new();
                let mut encoder = GifEncoder::new_with_speed(&mut bytes, GIF_SPEED);
                encoder.encode_frame(image::Frame::new(self.picture.to_rgba8()))?;
                drop(encoder);
                Ok(bytes)
            }
        }
    }

    fn jpeg(&self, quality: u8) -> Result<Vec<u8>, RenderingError> {
        let side = |length: u32| u16::try_from(length).map_err(|_| RenderingError::TooLarge);
        let (columns, rows) = (side(self.picture.width())?, side(self.picture.height())?);
        if let (DynamicImage::ImageLuma8(levels), None) = (&self.picture, &self.profile) {
            return Ok(grey::encode(levels, columns, rows, quality));
        }
        let color = match self.picture {
            DynamicImage::ImageLuma8(_) => jpeg_encoder::ColorType::Luma,
            _ => jpeg_encoder::ColorType::Rgb,
        };
        let mut bytes = Vec::with_capacity(self.picture.as_bytes().len() / 4);
        let mut encoder = jpeg_encoder::Encoder::new(&mut bytes, quality.clamp(1, 100));
        if let Some(profile) = &self.profile {
            encoder.add_icc_profile(profile)?;
        }
        encoder.encode(self.picture.as_bytes(), columns, rows, color)?;
        Ok(bytes)
    }

    fn png(&self) -> Result<Vec<u8>, RenderingError> {
        let color = match self.picture {
            DynamicImage::ImageLuma8(_) => ExtendedColorType::L8,
            _ => ExtendedColorType::Rgb8,
        };
        let mut bytes = Vec::new();
        let mut encoder = PngEncoder::new(&mut bytes);
        if let Some(profile) = &self.profile {
            encoder.set_icc_profile(profile.clone()).map_err(image::ImageError::Unsupported)?;
        }
        encoder.write_image(self.picture.as_bytes(), self.picture.width(), self.picture.height(), color)?;
        Ok(bytes)
    }
}

/// A GIF that is written frame by frame, so that a long one is never held.
pub struct Animation {
    encoder: GifEncoder<Taken>,
    written: Taken,
}

impl Animation {
    /// Repeats without end, as a cine loop does.
    pub fn new() -> Result<Self, RenderingError> {
        let written = Taken::default();
        let mut encoder = GifEncoder::new_with_speed(written.clone(), GIF_SPEED);
        encoder.set_repeat(Repeat::Infinite)?;
        Ok(Self { encoder, written })
    }

    /// The bytes that one more frame adds.
    pub fn frame(&mut self, drawn: &Drawn, shown_for: Duration) -> Result<Vec<u8>, RenderingError> {
        let delay = Delay::from_saturating_duration(shown_for);
        self.encoder.encode_frame(image::Frame::from_parts(drawn.picture.to_rgba8(), 0, 0, delay))?;
        Ok(self.written.take())
    }

    /// The bytes that end the file.
    pub fn finish(self) -> Vec<u8> {
        drop(self.encoder);
        self.written.take()
    }
}

/// What an encoder has written and nobody has taken yet.
#[derive(Clone, Default)]
struct Taken(Arc<Mutex<Vec<u8>>>);

impl Taken {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Write for Taken {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{AnimationDecoder, GrayImage, RgbImage};

    fn ramp() -> Drawn {
        let picture = GrayImage::from_fn(40, 20, |column, row| image::Luma([(row * 5 + column) as u8]));
        Drawn { picture: picture.into(), profile: None }
    }

    fn read(drawn: &Drawn, format: Format) -> DynamicImage {
        image::load_from_memory(&drawn.encode(format).unwrap()).unwrap()
    }

    #[test]
    fn png_and_gif_keep_every_level_of_grey_w28() {
        for format in [Format::Png, Format::Gif] {
            assert_eq!(read(&ramp(), format).into_luma8(), ramp().picture.into_luma8());
        }
    }

    #[test]
    fn jpeg_is_baseline_and_close_to_the_picture_w34c() {
        let bytes = ramp().encode(Format::Jpeg { quality: 95 }).unwrap();
        let has = |marker: u8| bytes.windows(2).any(|pair| pair == [0xFF, marker]);
        assert!(has(0xC0) && !has(0xC2));
        let read = image::load_from_memory(&bytes).unwrap().into_luma8();
        let expected = ramp().picture.into_luma8();
        assert!(read.iter().zip(expected.iter()).all(|(a, b)| a.abs_diff(*b) < 6));
    }

    #[test]
    fn colors_keep_their_channel_order() {
        let red = RgbImage::from_pixel(16, 16, image::Rgb([200, 7, 7]));
        let drawn = Drawn { picture: red.into(), profile: None };
        for format in [Format::Png, Format::Gif, Format::Jpeg { quality: 100 }] {
            let [r, g, b] = read(&drawn, format).into_rgb8().get_pixel(8, 8).0;
            assert!(r > 195 && g < 12 && b < 12, "{format:?}");
        }
    }

    #[test]
    fn jpeg_and_png_carry_a_profile_w33c() {
        let profile = moxcms::ColorProfile::new_srgb().encode().unwrap();
        let picture = RgbImage::new(2, 2).into();
        let drawn = Drawn { picture, profile: Some(profile.clone()) };
        for format in [Format::Png, Format::Jpeg { quality: 90 }] {
            let bytes = drawn.encode(format).unwrap();
            let reader = image::ImageReader::new(io::Cursor::new(&bytes)).with_guessed_format().unwrap();
            let mut decoder = reader.into_decoder().unwrap();
            let found = image::ImageDecoder::icc_profile(&mut decoder).unwrap();
            assert_eq!(found.as_ref(), Some(&profile), "{format:?}");
        }
    }

    #[test]
    fn an_animation_is_written_frame_by_frame_w28() {
        let mut animation = Animation::new().unwrap();
        let mut bytes = Vec::new();
        for _ in 0..3 {
            let added = animation.frame(&ramp(), Duration::from_millis(40)).unwrap();
            assert!(!added.is_empty());
            bytes.extend(added);
        }
        bytes.extend(animation.finish());
        let decoder = image::codecs::gif::GifDecoder::new(io::Cursor::new(bytes)).unwrap();
        let frames = decoder.into_frames().collect_frames().unwrap();
        assert_eq!(frames.len(), 3);
        assert_eq!(frames[0].delay().numer_denom_ms(), (40, 1));
    }
}
