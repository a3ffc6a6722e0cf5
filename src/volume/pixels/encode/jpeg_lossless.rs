//! JPEG Lossless, Non-Hierarchical, First-Order Prediction: process 14, selection value 1
//! (ITU-T T.81 Annex H).

use super::huffman::{CATEGORIES, Huffman};
use crate::volume::pixels::{PixelError, Raster};

pub(super) fn encode(raster: &Raster) -> Result<Vec<u8>, PixelError> {
    if !matches!(raster.bits_allocated, 8 | 16) {
        return Err(PixelError::unsupported("JPEG Lossless of Bits Allocated", raster.bits_allocated));
    }
    let precision = raster.precision().max(2);
    let differences = differences(raster, precision);
    let mut counts = [0; CATEGORIES];
    differences.iter().for_each(|difference| counts[category(*difference)] += 1);
    let huffman = Huffman::fitted(&counts);
    let mut bytes = headers(raster, precision, &huffman);
    entropy(&differences, &huffman, &mut bytes);
    bytes.extend_from_slice(&[0xFF, 0xD9]);
    Ok(bytes)
}

/// Of each sample from its predictor, modulo 65536 (H.1.2.1): from the left, in the first column
/// from above.
fn differences(raster: &Raster, precision: u16) -> Vec<i32> {
    let words: Vec<i32> = raster.codec_words(precision).into_iter().map(u32::cast_signed).collect();
    let (samples, line) = (raster.samples_per_pixel, raster.columns * raster.samples_per_pixel);
    let difference = |(at, word): (usize, &i32)| {
        let predicted = match (at % line >= samples, at >= line) {
            (true, _) => words[at - samples],
            (false, true) => words[at - line],
            (false, false) => 1 << (precision - 1),
        };
        match (word - predicted) as i16 {
            i16::MIN => 1 << 15,
            difference => i32::from(difference),
        }
    };
    words.iter().enumerate().map(difference).collect()
}

/// Bits of the magnitude (Table H.2).
fn category(difference: i32) -> usize {
    (32 - difference.unsigned_abs().leading_zeros()) as usize
}

fn headers(raster: &Raster, precision: u16, huffman: &Huffman) -> Vec<u8> {
    let samples = raster.samples_per_pixel as u8;
    let mut bytes = vec![0xFF, 0xD8];
    if samples == 3 {
        // Adobe's segment with transform 0: the components are what they are, no YCbCr.
        segment(&mut bytes, 0xEE, &[b"Adobe\0\x64\0\0\0\0".as_slice(), &[0]].concat());
    }
    let mut frame = vec![precision as u8];
    frame.extend_from_slice(&(raster.rows as u16).to_be_bytes());
    frame.extend_from_slice(&(raster.columns as u16).to_be_bytes());
    frame.push(samples);
    (1..=samples).for_each(|id| frame.extend_from_slice(&[id, 0x11, 0]));
    segment(&mut bytes, 0xC3, &frame);
    segment(&mut bytes, 0xC4, &[&[0], huffman.table().as_slice()].concat());
    let mut scan = vec![samples];
    (1..=samples).for_each(|id| scan.extend_from_slice(&[id, 0]));
    scan.extend_from_slice(&[1, 0, 0]);
    segment(&mut bytes, 0xDA, &scan);
    bytes
}

fn segment(bytes: &mut Vec<u8>, marker: u8, content: &[u8]) {
    bytes.extend_from_slice(&[0xFF, marker]);
    bytes.extend_from_slice(&(content.len() as u16 + 2).to_be_bytes());
    bytes.extend_from_slice(content);
}

fn entropy(differences: &[i32], huffman: &Huffman, bytes: &mut Vec<u8>) {
    let mut bits = Bits { bytes, pending: 0, count: 0 };
    for &difference in differences {
        let category = category(difference);
        let (code, length) = huffman.codes[category];
        bits.put(code, length);
        // A negative difference is written as its one's complement; category 16 has no bits.
        if category < 16 {
            let value = if difference < 0 { difference - 1 } else { difference };
            bits.put(value.cast_unsigned() & ((1 << category) - 1), category as u8);
        }
    }
    bits.finish();
}

/// Most significant bit first, a zero behind each FF (F.1.2.3).
struct Bits<'a> {
    bytes: &'a mut Vec<u8>,
    pending: u64,
    count: u8,
}

impl Bits<'_> {
    fn put(&mut self, value: u32, count: u8) {
        self.pending = self.pending << count | u64::from(value);
        self.count += count;
        while self.count >= 8 {
            self.count -= 8;
            let byte = (self.pending >> self.count) as u8;
            self.bytes.push(byte);
            if byte == 0xFF {
                self.bytes.push(0);
            }
        }
    }

    /// Fills the last byte with ones.
    fn finish(mut self) {
        if self.count > 0 {
            let missing = 8 - self.count;
            self.put((1 << missing) - 1, missing);
        }
    }
}
