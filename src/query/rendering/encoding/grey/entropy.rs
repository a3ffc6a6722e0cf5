//! Quantised coefficients to the bits of a scan (T.81 F.1.2), with the tables of annex K.3.

use super::ZIGZAG;
use super::transform::Coefficients;

/// How many codes there are of each length from 1 on, and what they stand for.
pub(super) const DC_LENGTHS: [u8; 16] = [0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0];
pub(super) const DC_VALUES: [u8; 12] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11];
pub(super) const AC_LENGTHS: [u8; 16] = [0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 0x7D];
pub(super) const AC_VALUES: [u8; 162] = [
    0x01, 0x02, 0x03, 0x00, 0x04, 0x11, 0x05, 0x12, 0x21, 0x31, 0x41, 0x06, 0x13, 0x51, 0x61, 0x07, 0x22,
    0x71, 0x14, 0x32, 0x81, 0x91, 0xA1, 0x08, 0x23, 0x42, 0xB1, 0xC1, 0x15, 0x52, 0xD1, 0xF0, 0x24, 0x33,
    0x62, 0x72, 0x82, 0x09, 0x0A, 0x16, 0x17, 0x18, 0x19, 0x1A, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2A, 0x34,
    0x35, 0x36, 0x37, 0x38, 0x39, 0x3A, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4A, 0x53, 0x54, 0x55,
    0x56, 0x57, 0x58, 0x59, 0x5A, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6A, 0x73, 0x74, 0x75, 0x76,
    0x77, 0x78, 0x79, 0x7A, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x92, 0x93, 0x94, 0x95, 0x96,
    0x97, 0x98, 0x99, 0x9A, 0xA2, 0xA3, 0xA4, 0xA5, 0xA6, 0xA7, 0xA8, 0xA9, 0xAA, 0xB2, 0xB3, 0xB4, 0xB5,
    0xB6, 0xB7, 0xB8, 0xB9, 0xBA, 0xC2, 0xC3, 0xC4, 0xC5, 0xC6, 0xC7, 0xC8, 0xC9, 0xCA, 0xD2, 0xD3, 0xD4,
    0xD5, 0xD6, 0xD7, 0xD8, 0xD9, 0xDA, 0xE1, 0xE2, 0xE3, 0xE4, 0xE5, 0xE6, 0xE7, 0xE8, 0xE9, 0xEA, 0xF1,
    0xF2, 0xF3, 0xF4, 0xF5, 0xF6, 0xF7, 0xF8, 0xF9, 0xFA,
];

/// A code, the bits that follow it, or both.
#[derive(Debug, Clone, Copy)]
struct Bits {
    bits: u32,
    length: u32,
}

impl Bits {
    const NONE: Self = Self { bits: 0, length: 0 };

    #[inline(always)]
    fn then(self, other: Self) -> Self {
        Self { bits: self.bits << other.length | other.bits, length: self.length + other.length }
    }

    /// How a value is written behind the code of its length, T.81 F.1.2.1.1.
    #[inline(always)]
    fn of_value(value: i32) -> Self {
        let length = 32 - value.unsigned_abs().leading_zeros();
        let bits = (value + (value >> 31)).cast_unsigned() & ((1 << length) - 1);
        Self { bits, length }
    }
}

/// T.81 annex C, by the value that a code stands for.
const fn codes(lengths: &[u8; 16], values: &[u8]) -> [Bits; 256] {
    let mut codes = [Bits::NONE; 256];
    let (mut code, mut at, mut length) = (0, 0, 1);
    while length <= 16 {
        let end = at + lengths[length - 1] as usize;
        while at < end {
            codes[values[at] as usize] = Bits { bits: code, length: length as u32 };
            code += 1;
            at += 1;
        }
        code <<= 1;
        length += 1;
    }
    codes
}

static DC: [Bits; 256] = codes(&DC_LENGTHS, &DC_VALUES);
static AC: [Bits; 256] = codes(&AC_LENGTHS, &AC_VALUES);
const END_OF_BLOCK: usize = 0x00;
const SIXTEEN_ZEROS: usize = 0xF0;
/// Of zeros before a coefficient, as one code says it.
const RUN_MAX: u32 = 15;

/// The bits of one component, block by block, behind the header of its file.
pub(super) struct Scan {
    file: Vec<u8>,
    /// Bits that are not written yet, the last of them lowest.
    held: u64,
    /// Of the bits of `held`, those that are none.
    free: u32,
    /// The first coefficient of the block before.
    level: i32,
}

impl Scan {
    pub(super) fn new(file: Vec<u8>) -> Self {
        Self { file, held: 0, free: u64::BITS, level: 0 }
    }

    pub(super) fn block(&mut self, coefficients: &Coefficients) {
        let in_order = IN_SCAN_ORDER.map(|at| coefficients[usize::from(at % 64)]);
        let level = i32::from(in_order[0]);
        let difference = Bits::of_value(level - self.level);
        self.level = level;
        self.put(DC[difference.length as usize % 256].then(difference));
        self.coefficients(&in_order);
    }

    fn coefficients(&mut self, in_order: &[i16; 64]) {
        let mut left = occupied(in_order) & !1;
        let mut last = 0;
        while left != 0 {
            let at = left.trailing_zeros();
            let mut run = at - last - 1;
            while run > RUN_MAX {
                self.put(AC[SIXTEEN_ZEROS]);
                run -= RUN_MAX + 1;
            }
            let value = Bits::of_value(in_order[at as usize % 64].into());
            self.put(AC[(run << 4 | value.length) as usize % 256].then(value));
            last = at;
            left &= left - 1;
        }
        if last != 63 {
            self.put(AC[END_OF_BLOCK]);
        }
    }

    #[inline(always)]
    fn put(&mut self, Bits { bits, length }: Bits) {
        if length <= self.free {
            self.free -= length;
            self.held = self.held << length | u64::from(bits);
        } else {
            let over = length - self.free;
            self.write(self.held << self.free | u64::from(bits >> over));
            self.held = bits.into();
            self.free = u64::BITS - over;
        }
    }

    /// A byte of ones alone is followed by a zero, or it would begin a marker (T.81 B.1.1.5).
    fn write(&mut self, word: u64) {
        match has_byte_of_ones(word) {
            false => self.file.extend_from_slice(&word.to_be_bytes()),
            true => word.to_be_bytes().into_iter().for_each(|byte| self.write_byte(byte)),
        }
    }

    fn write_byte(&mut self, byte: u8) {
        self.file.push(byte);
        if byte == 0xFF {
            self.file.push(0);
        }
    }

    /// The last byte is filled up with ones (T.81 F.1.2.3).
    pub(super) fn finish(mut self) -> Vec<u8> {
        let padding = self.free % 8;
        self.put(Bits { bits: (1 << padding) - 1, length: padding });
        let bytes = (u64::BITS - self.free) / 8;
        for at in (0..bytes).rev() {
            self.write_byte((self.held >> (8 * at)) as u8);
        }
        self.file
    }
}

/// [`ZIGZAG`] where coefficients lie by columns.
const IN_SCAN_ORDER: [u8; 64] = {
    let mut order = [0; 64];
    let mut at = 0;
    while at < order.len() {
        order[at] = ZIGZAG[at] % 8 * 8 + ZIGZAG[at] / 8;
        at += 1;
    }
    order
};

/// A bit for each coefficient that is not zero.
#[inline(always)]
fn occupied(coefficients: &[i16; 64]) -> u64 {
    let flags = coefficients.map(|coefficient| u8::from(coefficient != 0));
    let (eights, _) = flags.as_chunks::<8>();
    // The multiplication brings the lowest bit of every byte together in the highest byte.
    let gathered = |eight: &[u8; 8]| u64::from_le_bytes(*eight).wrapping_mul(0x0102_0408_1020_4080) >> 56;
    eights.iter().rev().fold(0, |bits, eight| bits << 8 | gathered(eight))
}

fn has_byte_of_ones(word: u64) -> bool {
    word & 0x8080_8080_8080_8080 & !word.wrapping_add(0x0101_0101_0101_0101) != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(bits: &[(u32, u32)]) -> Vec<u8> {
        let mut scan = Scan::new(Vec::new());
        bits.iter().for_each(|&(bits, length)| scan.put(Bits { bits, length }));
        scan.finish()
    }

    #[test]
    fn bits_follow_each_other_and_ones_fill_the_last_byte() {
        assert_eq!(written(&[(0b101, 3), (0b1, 2)]), [0b1010_1111]);
        assert!(written(&[]).is_empty());
        let long: Vec<_> = (0..9).map(|n| (0x02AA_AAA0 + n, 27)).collect();
        let whole = long.iter().fold(String::new(), |text, (bits, length)| {
            text + &format!("{bits:0length$b}", length = *length as usize)
        });
        let read: String = written(&long).iter().map(|byte| format!("{byte:08b}")).collect();
        assert!(read.starts_with(&whole) && read.len() < whole.len() + 8);
    }

    #[test]
    fn a_byte_of_ones_is_no_marker() {
        assert_eq!(written(&[(0xFF, 8), (1, 8)]), [0xFF, 0, 1]);
        assert_eq!(written(&[(0x00FF_00FF, 24); 3])[..6], [0xFF, 0, 0, 0xFF, 0, 0xFF]);
    }

    #[test]
    fn coefficients_that_are_not_zero_have_a_bit() {
        let mut coefficients = [0; 64];
        for at in [0, 1, 8, 31, 32, 62, 63] {
            coefficients[at] = -1;
        }
        assert_eq!(occupied(&coefficients), 0xC000_0001_8000_0103);
    }
}
