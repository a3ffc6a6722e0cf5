//! A decoded frame in the form of native pixel data: what every encoder starts from.

use super::arrange::ybr;
use super::codec::{self, Decoded, Depth, Layout, Words};
use super::color::{Ybr, split_422};
use super::{EncodedFrame, HeldIn, ImageDescription, Photometric, PixelError};

/// In which colours a frame of YCbCr leaves its codec.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colours {
    /// As Photometric Interpretation says: for a frame that goes out beside the metadata of its
    /// object.
    AsDescribed,
    /// What a lossy codec changed becomes RGB, and the raster says so.
    Decoded,
}

/// Samples by pixel and the attributes that describe them. What no codec took apart stays in its
/// container as it lay there, overlays in unused bits included; samples from a codec are
/// right-justified and sign-extended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raster {
    pub rows: usize,
    pub columns: usize,
    pub samples_per_pixel: usize,
    pub bits_allocated: u16,
    pub bits_stored: u16,
    pub high_bit: u16,
    pub signed: bool,
    pub photometric: Photometric,
    pub(super) values: Vec<u32>,
}

impl Raster {
    pub fn decode(
        image: &ImageDescription,
        frame: EncodedFrame<'_>,
        colours: Colours,
    ) -> Result<Self, PixelError> {
        if matches!(frame.held_in, HeldIn::Floats | HeldIn::Doubles) {
            return Err(PixelError::unsupported("the encoding of pixels", "floating point"));
        }
        let changed = codec::changes_colour(frame.transfer_syntax);
        let in_containers = codec::keeps_containers(frame.transfer_syntax);
        let decoded = codec::decode(image, frame)?;
        let depth = decoded.depth;
        let ybr = ybr(image.photometric, decoded.space);
        let mut raster = Self {
            rows: image.rows,
            columns: image.columns,
            samples_per_pixel: image.samples_per_pixel,
            bits_allocated: image.bits_allocated,
            bits_stored: image.bits_stored,
            high_bit: image.high_bit,
            signed: image.signed,
            photometric: image.photometric,
            values: by_pixel(image, decoded, in_containers),
        };
        raster.truncate()?;
        if !in_containers {
            raster.settle_depth(depth);
        }
        raster.settle_colours(ybr, changed, colours);
        Ok(raster)
    }

    fn truncate(&mut self) -> Result<(), PixelError> {
        let (found, needed) = (self.values.len(), self.samples());
        if found < needed {
            return Err(PixelError::Truncated { found, needed });
        }
        self.values.truncate(needed);
        Ok(())
    }

    /// Some codestreams are deeper than Bits Stored says.
    fn settle_depth(&mut self, depth: Depth) {
        if !self.fits(self.bits_stored) {
            self.bits_stored = depth.bits.min(self.bits_allocated);
        }
        self.high_bit = self.bits_stored - 1;
    }

    /// Bits of a sample in a codestream. Signed samples fill their container, so that readers find the
    /// sign where they look for it.
    pub(super) fn precision(&self) -> u16 {
        if self.signed { self.bits_allocated } else { self.bits_stored }
    }

    fn fits(&self, bits: u16) -> bool {
        let sign = u32::from(self.signed) << (bits - 1);
        self.values.iter().all(|value| value.wrapping_add(sign) <= u32::MAX >> (32 - bits))
    }

    fn settle_colours(&mut self, ybr: Option<Ybr>, changed: bool, colours: Colours) {
        if self.samples_per_pixel != 3 {
            return;
        }
        let described_ybr = matches!(self.photometric, Photometric::YbrFull | Photometric::YbrFull422);
        self.photometric = match (ybr, colours) {
            (None, _) => Photometric::Rgb,
            (Some(Ybr::Full), _) if !changed => Photometric::YbrFull,
            (Some(Ybr::Full), Colours::AsDescribed) if described_ybr => Photometric::YbrFull,
            (Some(ybr), _) => {
                self.convert_to_rgb(ybr);
                Photometric::Rgb
            }
        };
    }

    /// Lossy: YCbCr of 8 bits and RGB do not map one to one.
    pub(super) fn convert_to_rgb(&mut self, ybr: Ybr) {
        for pixel in self.values.chunks_exact_mut(3) {
            let rgb = ybr.to_rgb([pixel[0] as u8, pixel[1] as u8, pixel[2] as u8]);
            pixel.iter_mut().zip(rgb).for_each(|(level, new)| *level = u32::from(new));
        }
    }

    pub fn samples(&self) -> usize {
        self.rows * self.columns * self.samples_per_pixel
    }

    /// Bytes in native form.
    pub fn native_length(&self) -> usize {
        (self.samples() * usize::from(self.bits_allocated)).div_ceil(8)
    }

    /// Bytes of one sample in native form; 0 for single bits.
    pub(super) fn sample_bytes(&self) -> usize {
        usize::from(self.bits_allocated / 8)
    }

    /// What a codec is given: the stored bits alone, for nothing else may lie in a compressed sample
    /// (PS3.5 8.1.1), in [`Self::precision`] bits or more.
    pub(super) fn codec_words(&self, bits: u16) -> Vec<u32> {
        let depth = Depth { bits: self.bits_stored, high_bit: self.high_bit, signed: self.signed };
        let samples = self.values.iter().map(|value| sample(*value, depth));
        samples.map(|sample| sample & (u32::MAX >> (32 - bits))).collect()
    }

    /// The samples as an unsigned value of `bits` bits, two's complement where they are signed.
    pub(super) fn words(&self, bits: u16) -> impl Iterator<Item = u32> {
        let mask = u32::MAX >> (32 - bits);
        self.values.iter().map(move |value| value & mask)
    }

    /// Native pixel data in little endian, colour by pixel (PS3.5 8.1, 8.2).
    pub fn native(&self) -> Vec<u8> {
        match self.bits_allocated {
            1 => packed(self.values.iter().map(|&value| value & 1 != 0)),
            _ => {
                let width = self.sample_bytes();
                self.values.iter().flat_map(|value| value.to_le_bytes().into_iter().take(width)).collect()
            }
        }
    }

    /// Native pixel data as the attributes of the object describe it, chrominance shared by two
    /// pixels where they say so.
    pub fn native_as_described(&self, image: &ImageDescription) -> Vec<u8> {
        let shared = image.photometric == Photometric::YbrFull422
            && self.photometric == Photometric::YbrFull
            && self.columns.is_multiple_of(2)
            && self.bits_allocated == 8;
        match shared {
            true => self.values.chunks_exact(6).flat_map(subsampled_422).collect(),
            false => self.native(),
        }
    }
}

/// Y1 Cb1 Cr1 Y2 Cb2 Cr2 to Y1 Y2 Cb Cr.
fn subsampled_422(pair: &[u32]) -> [u8; 4] {
    let mean = |at: usize| ((pair[at] + pair[at + 3]).div_ceil(2)) as u8;
    [pair[0] as u8, pair[3] as u8, mean(1), mean(2)]
}

fn by_pixel(image: &ImageDescription, decoded: Decoded, in_containers: bool) -> Vec<u32> {
    let Decoded { words, layout, depth, .. } = decoded;
    let values = if in_containers { containers(words) } else { values(words, depth) };
    match layout {
        Layout::ByPlane if image.samples_per_pixel > 1 => {
            let (pixels, samples) = (image.pixels(), image.samples_per_pixel);
            (0..pixels * samples).map(|at| values[at % samples * pixels + at / samples]).collect()
        }
        Layout::Subsampled422 => {
            let quads = values.chunks_exact(4).map(|quad| [quad[0], quad[1], quad[2], quad[3]]);
            quads.flat_map(|quad| split_422(quad.map(|level| level as u8))).flatten().map(u32::from).collect()
        }
        Layout::ByPixel | Layout::ByPlane => values,
    }
}

fn containers(words: Words) -> Vec<u32> {
    match words {
        Words::U8(words) => words.into_iter().map(u32::from).collect(),
        Words::U16(words) => words.into_iter().map(u32::from).collect(),
        Words::U32(words) => words,
    }
}

/// Drops unused high and low bits, then extends the sign.
fn values(words: Words, depth: Depth) -> Vec<u32> {
    let value = |word: u32| sample(word, depth);
    match words {
        Words::U8(words) => words.into_iter().map(|word| value(u32::from(word))).collect(),
        Words::U16(words) => words.into_iter().map(|word| value(u32::from(word))).collect(),
        Words::U32(words) => words.into_iter().map(value).collect(),
    }
}

fn sample(word: u32, depth: Depth) -> u32 {
    let high = word >> (depth.high_bit + 1 - depth.bits) << (32 - depth.bits);
    match depth.signed {
        true => (high.cast_signed() >> (32 - depth.bits)).cast_unsigned(),
        false => high >> (32 - depth.bits),
    }
}

/// The first pixel in the least significant bit, PS3.5 8.1.1.
fn packed(pixels: impl Iterator<Item = bool>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (at, pixel) in pixels.enumerate() {
        if at % 8 == 0 {
            bytes.push(0);
        }
        if let Some(last) = bytes.last_mut() {
            *last |= u8::from(pixel) << (at % 8);
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bits_allocated: u16, values: &[u32], expected: &[u8]) {
        let raster = Raster {
            rows: 1,
            columns: values.len(),
            samples_per_pixel: 1,
            bits_allocated,
            bits_stored: bits_allocated,
            high_bit: bits_allocated - 1,
            signed: false,
            photometric: Photometric::Monochrome2,
            values: values.to_vec(),
        };
        assert_eq!(raster.native(), expected);
    }

    #[test]
    fn values_are_written_in_little_endian_as_wide_as_allocated_w9() {
        check(16, &[-2_i32 as u32, 258], &[0xFE, 0xFF, 2, 1]);
        check(8, &[7, 255], &[7, 255]);
        check(32, &[0x0403_0201, 5], &[1, 2, 3, 4, 5, 0, 0, 0]);
        check(1, &[1, 0, 1, 0, 0, 0, 0, 0, 1], &[0b101, 1]);
    }
}
