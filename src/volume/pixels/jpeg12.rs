//! Sequential DCT JPEG of more than 8 bits: the 12-bit half of process 4 (ITU-T T.81 F.2).
//!
//! It is written here because no maintained Rust decoder has it and DICOM's JPEG Extended transfer
//! syntax is 12-bit in practice. Progressive and arithmetic-coded streams of this depth, which
//! DICOM has retired, are refused.

mod idct;
mod scan;
mod tables;

use super::PixelError;
use scan::Scan;
use tables::{Huffman, ZIGZAG};

/// Samples of all components, interleaved by pixel. The caller has compared the frame header with
/// the attributes, which bounds what is allocated here.
pub(super) fn decode(bytes: &[u8]) -> Result<Vec<u16>, PixelError> {
    let mut stream = Stream { rest: bytes.get(2..).unwrap_or_default(), ..Stream::default() };
    while let Some((marker, segment)) = stream.next_segment()? {
        match marker {
            0xDB => stream.quantization(segment)?,
            0xC4 => stream.huffman(segment)?,
            0xC0 | 0xC1 if stream.frame.is_some() => {
                return Err(PixelError::codestream("JPEG", "it has a second frame"));
            }
            0xC0 | 0xC1 => stream.frame = Some(Frame::parse(segment)?),
            0xC2..=0xCF => {
                return Err(PixelError::unsupported("the coding process of a 12-bit JPEG stream", marker));
            }
            0xDD => stream.restart_interval = word(segment, 0)?,
            0xDA => stream.scan(segment)?,
            _ => {}
        }
    }
    Ok(stream.frame.ok_or_else(truncated)?.interleave())
}

/// Everything the segments read so far have set.
#[derive(Default)]
struct Stream<'a> {
    rest: &'a [u8],
    quantization: [Option<[f32; 64]>; 4],
    dc: [Option<Huffman>; 4],
    ac: [Option<Huffman>; 4],
    restart_interval: usize,
    frame: Option<Frame>,
}

struct Frame {
    precision: u8,
    rows: usize,
    columns: usize,
    /// The greatest sampling factors: horizontal, vertical.
    sampling: (usize, usize),
    components: Vec<Component>,
}

struct Component {
    id: u8,
    sampling: (usize, usize),
    table: usize,
    /// Blocks in a line of `samples`, padded to whole MCUs.
    blocks_across: usize,
    blocks_down: usize,
    samples: Vec<u16>,
}

impl<'a> Stream<'a> {
    /// The next marker and its content; `None` at the end of the image.
    fn next_segment(&mut self) -> Result<Option<(u8, &'a [u8])>, PixelError> {
        let start = self
            .rest
            .windows(2)
            .position(|pair| pair[0] == 0xFF && !matches!(pair[1], 0 | 0xFF | 0xD0..=0xD7));
        let Some(start) = start else { return Ok(None) };
        let marker = self.rest[start + 1];
        if marker == 0xD9 {
            return Ok(None);
        }
        let length = word(self.rest, start + 2)?;
        let segment = self.rest.get(start + 4..start + 2 + length).ok_or_else(truncated)?;
        self.rest = &self.rest[start + 2 + length..];
        Ok(Some((marker, segment)))
    }

    fn quantization(&mut self, mut segment: &[u8]) -> Result<(), PixelError> {
        while let [head, rest @ ..] = segment {
            let width = if head >> 4 == 0 { 1 } else { 2 };
            let values = rest.get(..64 * width).ok_or_else(truncated)?;
            let mut table = [0.0; 64];
            for (at, value) in values.chunks_exact(width).enumerate() {
                table[ZIGZAG[at]] = value.iter().fold(0.0, |high, byte| high * 256.0 + f32::from(*byte));
            }
            *slot(&mut self.quantization, head & 15)? = Some(table);
            segment = &rest[64 * width..];
        }
        Ok(())
    }

    fn huffman(&mut self, mut segment: &[u8]) -> Result<(), PixelError> {
        while let [head, rest @ ..] = segment {
            let (table, tail) = Huffman::parse(rest)?;
            let tables = if head >> 4 == 0 { &mut self.dc } else { &mut self.ac };
            *slot(tables, head & 15)? = Some(table);
            segment = tail;
        }
        Ok(())
    }

    fn scan(&mut self, header: &[u8]) -> Result<(), PixelError> {
        let frame = self.frame.as_mut().ok_or_else(truncated)?;
        let tables = (&self.quantization, &self.dc, &self.ac);
        let mut scan = Scan::parse(header, frame, tables, self.restart_interval)?;
        let used = scan.decode(frame, self.rest)?;
        self.rest = &self.rest[used..];
        Ok(())
    }
}

impl Frame {
    fn parse(segment: &[u8]) -> Result<Self, PixelError> {
        let &[precision, _, _, _, _, count, ref specs @ ..] = segment else {
            return Err(truncated());
        };
        let (rows, columns) = (word(segment, 1)?, word(segment, 3)?);
        let specs = specs.get(..usize::from(count) * 3).ok_or_else(truncated)?;
        let factors = |spec: &[u8]| (usize::from(spec[1] >> 4), usize::from(spec[1] & 15));
        let sampling = specs
            .chunks_exact(3)
            .map(factors)
            .fold((1, 1), |most, own| (most.0.max(own.0), most.1.max(own.1)));
        let mcus = (columns.div_ceil(8 * sampling.0), rows.div_ceil(8 * sampling.1));
        let component = |spec: &[u8]| Component::new(spec[0], factors(spec), usize::from(spec[2]), mcus);
        let components = specs.chunks_exact(3).map(component).collect::<Result<_, _>>()?;
        Ok(Self { precision, rows, columns, sampling, components })
    }

    /// Subsampled components are repeated.
    fn interleave(&self) -> Vec<u16> {
        let mut samples = Vec::with_capacity(self.rows * self.columns * self.components.len());
        for row in 0..self.rows {
            for column in 0..self.columns {
                samples.extend(self.components.iter().map(|component| {
                    let row = row * component.sampling.1 / self.sampling.1;
                    let column = column * component.sampling.0 / self.sampling.0;
                    component.samples[row * component.blocks_across * 8 + column]
                }));
            }
        }
        samples
    }
}

impl Component {
    fn new(id: u8, sampling: (usize, usize), table: usize, mcus: (usize, usize)) -> Result<Self, PixelError> {
        if !(1..=4).contains(&sampling.0) || !(1..=4).contains(&sampling.1) {
            return Err(PixelError::codestream("JPEG", "a sampling factor is not 1 to 4"));
        }
        let (blocks_across, blocks_down) = (mcus.0 * sampling.0, mcus.1 * sampling.1);
        let samples = vec![0; blocks_across * blocks_down * 64];
        Ok(Self { id, sampling, table, blocks_across, blocks_down, samples })
    }
}

fn slot<T>(tables: &mut [T; 4], at: u8) -> Result<&mut T, PixelError> {
    tables
        .get_mut(usize::from(at))
        .ok_or_else(|| PixelError::codestream("JPEG", "a table number is not 0 to 3"))
}

fn word(bytes: &[u8], at: usize) -> Result<usize, PixelError> {
    match bytes.get(at..at + 2) {
        Some(&[high, low]) => Ok(usize::from(u16::from_be_bytes([high, low]))),
        _ => Err(truncated()),
    }
}

fn truncated() -> PixelError {
    PixelError::codestream("JPEG", "it ends early")
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: [u8; 13] = [0xFF, 0xC1, 0, 11, 12, 0, 8, 0, 8, 1, 1, 0x11, 0];

    fn decoded(segments: &[&[u8]]) -> Result<usize, PixelError> {
        decode(&[&[0xFF, 0xD8], &segments.concat()[..]].concat()).map(|samples| samples.len())
    }

    #[test]
    fn a_second_frame_is_refused_before_room_is_made_for_it() {
        assert_eq!(decoded(&[&FRAME]).unwrap(), 64);
        let large = [0xFF, 0xC1, 0, 11, 12, 0xFF, 0xFF, 0xFF, 0xFF, 1, 1, 0x11, 0];
        assert!(decoded(&[&FRAME, &large]).is_err());
    }

    #[test]
    fn a_scan_of_nothing_is_refused() {
        assert!(decoded(&[&FRAME, &[0xFF, 0xDA, 0, 6, 0, 0, 63, 0]]).is_err());
    }
}
