//! GIF and PNG to native pixels, frame by frame and without loss.

use std::io::{BufReader, Write};

use image::codecs::gif::GifDecoder;
use image::codecs::png::PngDecoder;
use image::{AnimationDecoder, ColorType, ImageDecoder, Limits};

use super::bulk::{BulkType, BulkValue};
use super::pixels::Description;
use crate::blobs::{Blobs, Staged};
use crate::ingest::Refusal;
use crate::ingest::prepare::write_refusal;

/// Native pixels on their way to a staged file.
pub(super) struct Native {
    staged: Staged,
    length: u64,
    picture_bytes_max: u64,
    pub(super) frames: u64,
    /// Of the first frame, for Frame Time (0018,1063).
    pub(super) frame_time_ms: u64,
}

impl Native {
    pub(super) fn begin(blobs: &Blobs, picture_bytes_max: u64) -> Result<Self, Refusal> {
        let staged = blobs.stage().map_err(write_refusal)?;
        Ok(Self { staged, length: 0, picture_bytes_max, frames: 0, frame_time_ms: 0 })
    }

    pub(super) fn add(&mut self, value: &BulkValue) -> Result<Description, Refusal> {
        let file = BufReader::new(value.open()?);
        match value.media_type {
            BulkType::Gif => self.gif(file),
            _ => self.png(file),
        }
    }

    pub(super) fn finish(self) -> Result<(Staged, u64), Refusal> {
        Ok((self.staged, self.length))
    }

    fn gif(&mut self, file: BufReader<std::fs::File>) -> Result<Description, Refusal> {
        let mut decoder = GifDecoder::new(file).map_err(unreadable)?;
        let (columns, rows) = decoder.dimensions();
        decoder.set_limits(self.limits()).map_err(unreadable)?;
        for frame in decoder.into_frames() {
            let frame = frame.map_err(unreadable)?;
            if self.frames == 0 {
                let (numerator, denominator) = frame.delay().numer_denom_ms();
                self.frame_time_ms = u64::from(numerator) / u64::from(denominator.max(1));
            }
            let pixels = without_alpha::<1>(frame.buffer().as_raw(), 3)?;
            self.write(&pixels)?;
        }
        Ok(description(rows, columns, 3, 8))
    }

    /// Bits below eight are spread over eight; two bytes are written little end first.
    fn png(&mut self, file: BufReader<std::fs::File>) -> Result<Description, Refusal> {
        let decoder = PngDecoder::with_limits(file, self.limits()).map_err(unreadable)?;
        if decoder.is_apng().map_err(unreadable)? {
            return Err(Refusal::PixelDataNotAccepted("an animated PNG is not taken"));
        }
        let (columns, rows) = decoder.dimensions();
        let color = decoder.color_type();
        let total = decoder.total_bytes();
        if total > self.picture_bytes_max {
            return Err(self.too_large());
        }
        let mut pixels = vec![0; total as usize];
        decoder.read_image(&mut pixels).map_err(unreadable)?;
        let samples = if color.has_color() { 3 } else { 1 };
        let bits = if matches!(color, ColorType::L16 | ColorType::La16 | ColorType::Rgb16 | ColorType::Rgba16)
        {
            pixels.chunks_exact_mut(2).for_each(|pair| {
                let sample = u16::from_ne_bytes([pair[0], pair[1]]);
                pair.copy_from_slice(&sample.to_le_bytes());
            });
            16
        } else {
            8
        };
        match (color.has_alpha(), bits) {
            (false, _) => self.write(&pixels)?,
            (true, 16) => self.write(&without_alpha::<2>(&pixels, samples)?)?,
            (true, _) => self.write(&without_alpha::<1>(&pixels, samples)?)?,
        }
        Ok(description(rows, columns, samples as u64, bits))
    }

    fn write(&mut self, pixels: &[u8]) -> Result<(), Refusal> {
        self.frames += 1;
        self.length += pixels.len() as u64;
        if self.length > self.picture_bytes_max {
            return Err(self.too_large());
        }
        self.staged.file.write_all(pixels).map_err(write_refusal)
    }

    fn too_large(&self) -> Refusal {
        Refusal::LimitExceeded { what: "a picture", limit: self.picture_bytes_max }
    }

    fn limits(&self) -> Limits {
        let mut limits = Limits::no_limits();
        limits.max_alloc = Some(self.picture_bytes_max);
        limits
    }
}

/// The words of the decoders may quote the picture's text.
fn unreadable(error: image::ImageError) -> Refusal {
    match error {
        image::ImageError::Limits(_) => Refusal::PixelDataNotAccepted("the picture is beyond the limit"),
        image::ImageError::IoError(error) if error.kind() != std::io::ErrorKind::UnexpectedEof => {
            Refusal::Storage(error)
        }
        _ => Refusal::PixelDataNotAccepted("the picture cannot be decoded"),
    }
}

/// DICOM has no transparency: pixels that have it would not be kept.
fn without_alpha<const BYTES: usize>(pixels: &[u8], samples: usize) -> Result<Vec<u8>, Refusal> {
    let color = samples * BYTES;
    let mut kept = Vec::with_capacity(pixels.len() / (samples + 1) * samples);
    for pixel in pixels.chunks_exact(color + BYTES) {
        if pixel[color..].iter().any(|alpha| *alpha != u8::MAX) {
            return Err(Refusal::PixelDataNotAccepted("a picture with transparent pixels would lose them"));
        }
        kept.extend_from_slice(&pixel[..color]);
    }
    Ok(kept)
}

fn description(rows: u32, columns: u32, samples: u64, bits: u64) -> Description {
    Description {
        rows: rows.into(),
        columns: columns.into(),
        samples,
        bits_allocated: bits,
        bits_stored: bits,
        signed: false,
        photometric: if samples == 1 { "MONOCHROME2" } else { "RGB" },
        lossy: None,
    }
}
