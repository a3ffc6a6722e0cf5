//! Native grey frames of 16 bits, read where they lie: what most objects hold and most viewers ask
//! to see. Everything else is decoded into a [`Frame`](super::Frame) first.

use dicom_dictionary_std::uids;

use super::{EncodedFrame, HeldIn, ImageDescription};

/// The stored values of a frame whose bytes are its samples.
#[derive(Debug, Clone, Copy)]
pub struct StoredWords<'a> {
    pub rows: usize,
    pub columns: usize,
    samples: &'a [[u8; 2]],
    /// Brings the high bit to the top of a word …
    above: u16,
    /// … and the lowest bit down again.
    below: u16,
    signed: bool,
}

impl<'a> StoredWords<'a> {
    /// `None` for what has to be decoded, and for what a decoder has to refuse.
    pub fn of(image: &ImageDescription, frame: EncodedFrame<'a>) -> Option<Self> {
        let is_grey = image.samples_per_pixel == 1 && image.palette.is_none();
        let is_native = matches!(
            frame.transfer_syntax,
            uids::IMPLICIT_VR_LITTLE_ENDIAN | uids::EXPLICIT_VR_LITTLE_ENDIAN
        );
        let is_integer = matches!(frame.held_in, HeldIn::Bytes | HeldIn::Words);
        if !(is_grey && is_native && is_integer && image.bits_allocated == 16) {
            return None;
        }
        Some(Self {
            rows: image.rows,
            columns: image.columns,
            samples: frame.bytes.as_chunks().0.get(..image.pixels())?,
            above: 15 - image.high_bit,
            below: 16 - image.bits_stored,
            signed: image.signed,
        })
    }

    /// Row by row, sign-extended.
    pub fn values(self) -> impl Iterator<Item = i32> + Clone + 'a {
        self.samples.iter().map(move |sample| self.value(self.rank(*sample)))
    }

    /// Of each pixel what `of` makes of its value, asked once for each value between the least and
    /// the greatest.
    pub fn mapped(self, of: impl Fn(i32) -> u8) -> Vec<u8> {
        let Some((low, high)) = self.extremes() else { return Vec::new() };
        let mut table = [0; 1 << 16];
        (low..=high).for_each(|rank| table[usize::from(rank)] = of(self.value(rank)));
        self.samples.iter().map(|sample| table[usize::from(self.rank(*sample))]).collect()
    }

    /// Of the ranks, in words with a sign, whose least and greatest a processor finds at once.
    fn extremes(self) -> Option<(u16, u16)> {
        let signed = move |sample: &[u8; 2]| (self.rank(*sample) ^ SIGN).cast_signed();
        let low = self.samples.iter().map(signed).min()?;
        let high = self.samples.iter().map(signed).max()?;
        Some((low.cast_unsigned() ^ SIGN, high.cast_unsigned() ^ SIGN))
    }

    /// Where a value stands among all that the stored bits can be, from 0.
    #[inline(always)]
    fn rank(self, sample: [u8; 2]) -> u16 {
        let flipped = if self.signed { SIGN } else { 0 };
        (u16::from_le_bytes(sample) << self.above ^ flipped) >> self.below
    }

    #[inline(always)]
    fn value(self, rank: u16) -> i32 {
        let least = if self.signed { i32::from(SIGN >> self.below) } else { 0 };
        i32::from(rank) - least
    }
}

const SIGN: u16 = 0x8000;

#[cfg(test)]
mod tests {
    use super::super::{Photometric, PlanarConfiguration, Samples, decode};
    use super::*;

    fn image(bits_stored: u16, high_bit: u16, signed: bool) -> ImageDescription {
        ImageDescription {
            rows: 2,
            columns: 128,
            samples_per_pixel: 1,
            bits_allocated: 16,
            bits_stored,
            high_bit,
            signed,
            planar_configuration: PlanarConfiguration::ByPixel,
            photometric: Photometric::Monochrome2,
            palette: None,
        }
    }

    #[test]
    fn values_are_those_of_the_decoder_wherever_they_lie_in_their_words() {
        let bytes: Vec<u8> = (0..256_u32).flat_map(|at| ((at * 40_503) as u16).to_le_bytes()).collect();
        let frame = EncodedFrame::new(uids::EXPLICIT_VR_LITTLE_ENDIAN, &bytes);
        for (bits_stored, high_bit) in [(16, 15), (12, 11), (12, 15), (10, 12), (1, 0), (8, 7)] {
            for signed in [false, true] {
                let image = image(bits_stored, high_bit, signed);
                let Samples::Gray(decoded) = decode(&image, frame).unwrap().samples else { panic!() };
                let read = StoredWords::of(&image, frame).unwrap();
                assert!(read.values().eq(decoded.iter().copied()), "{bits_stored} {high_bit} {signed}");
                let lowest: Vec<u8> = decoded.iter().map(|value| *value as u8).collect();
                assert_eq!(read.mapped(|value| value as u8), lowest, "{bits_stored} {high_bit} {signed}");
            }
        }
    }

    #[test]
    fn what_is_short_or_encoded_is_left_to_the_decoder() {
        let of = |syntax, bytes: &[u8]| {
            StoredWords::of(&image(16, 15, false), EncodedFrame::new(syntax, bytes)).is_some()
        };
        assert!(of(uids::EXPLICIT_VR_LITTLE_ENDIAN, &[0; 513]));
        assert!(!of(uids::EXPLICIT_VR_LITTLE_ENDIAN, &[0; 511]) && !of(uids::RLE_LOSSLESS, &[0; 512]));
    }
}
