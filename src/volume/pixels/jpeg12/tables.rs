//! Huffman tables and the bits they read (ITU-T T.81 Annex C, F.2.2).

use super::{PixelError, truncated};

/// Row-major place of each coefficient in coding order.
pub(super) const ZIGZAG: [usize; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7,
    14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39,
    46, 53, 60, 61, 54, 47, 55, 62, 63,
];

/// A canonical code: for each length, the first code, how many there are and where their values are.
pub(super) struct Huffman {
    lengths: [Length; 16],
    values: Vec<u8>,
}

#[derive(Clone, Copy, Default)]
struct Length {
    first_code: u32,
    count: u32,
    first_value: usize,
}

impl Huffman {
    /// One table of a DHT segment, and what follows it.
    pub(super) fn parse(segment: &[u8]) -> Result<(Self, &[u8]), PixelError> {
        let (counts, rest) = segment.split_at_checked(16).ok_or_else(truncated)?;
        let mut lengths = [Length::default(); 16];
        let (mut code, mut value) = (0, 0);
        for (length, &count) in lengths.iter_mut().zip(counts) {
            *length = Length { first_code: code, count: u32::from(count), first_value: value };
            code = (code + u32::from(count)) << 1;
            value += usize::from(count);
        }
        let (values, rest) = rest.split_at_checked(value).ok_or_else(truncated)?;
        Ok((Self { lengths, values: values.to_vec() }, rest))
    }

    pub(super) fn decode(&self, bits: &mut Bits<'_>) -> Result<u8, PixelError> {
        let mut code = 0;
        for length in &self.lengths {
            code = code << 1 | bits.next()?;
            if code >= length.first_code && code - length.first_code < length.count {
                return Ok(self.values[length.first_value + (code - length.first_code) as usize]);
            }
        }
        Err(PixelError::codestream("JPEG", "a code is in no Huffman table"))
    }
}

/// Entropy-coded bits, stuffed zero bytes taken out.
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    byte: u8,
    left: u8,
}

impl<'a> Bits<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, byte: 0, left: 0 }
    }

    fn next(&mut self) -> Result<u32, PixelError> {
        if self.left == 0 {
            self.byte = *self.bytes.get(self.at).ok_or_else(truncated)?;
            self.at += 1;
            if self.byte == 0xFF {
                match self.bytes.get(self.at) {
                    Some(0) => self.at += 1,
                    _ => return Err(truncated()),
                }
            }
            self.left = 8;
        }
        self.left -= 1;
        Ok(u32::from(self.byte >> self.left & 1))
    }

    /// RECEIVE and EXTEND: a value of `size` bits, negative when its first bit is 0.
    pub(super) fn value(&mut self, size: u8) -> Result<i32, PixelError> {
        let mut value = 0;
        for _ in 0..size {
            value = value << 1 | self.next()?.cast_signed();
        }
        let negative = size > 0 && value >> (size - 1) == 0;
        Ok(if negative { value - (1 << size) + 1 } else { value })
    }

    /// Drops the rest of the byte and the restart marker after it.
    pub(super) fn restart(&mut self) -> Result<(), PixelError> {
        self.left = 0;
        match self.bytes.get(self.at..self.at + 2) {
            Some([0xFF, 0xD0..=0xD7]) => self.at += 2,
            _ => return Err(PixelError::codestream("JPEG", "a restart marker is absent")),
        }
        Ok(())
    }

    pub(super) fn used(&self) -> usize {
        self.at
    }
}
