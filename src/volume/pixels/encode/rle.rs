//! RLE Lossless, PS3.5 Annex G: one PackBits segment per byte of a sample, most significant first.

use crate::volume::pixels::{PixelError, Raster};

const HEADER_BYTES: usize = 64;
const SEGMENTS_MAX: usize = 15;

/// Literal runs and repeats are both this long at most (G.3.1).
const RUN_MAX: usize = 128;

pub(super) fn encode(raster: &Raster) -> Result<Vec<u8>, PixelError> {
    let segments = raster.sample_bytes() * raster.samples_per_pixel;
    if raster.bits_allocated < 8 || segments > SEGMENTS_MAX {
        return Err(PixelError::unsupported("RLE of Bits Allocated", raster.bits_allocated));
    }
    let mut words = vec![segments as u32];
    let mut body = Vec::new();
    for sample in 0..raster.samples_per_pixel {
        for byte in (0..raster.sample_bytes()).rev() {
            words.push((HEADER_BYTES + body.len()) as u32);
            segment(&plane(raster, sample, byte), raster.columns, &mut body);
        }
    }
    words.resize(HEADER_BYTES / 4, 0);
    let mut bytes: Vec<u8> = words.into_iter().flat_map(u32::to_le_bytes).collect();
    bytes.append(&mut body);
    Ok(bytes)
}

fn plane(raster: &Raster, sample: usize, byte: usize) -> Vec<u8> {
    let samples = raster.values.iter().skip(sample).step_by(raster.samples_per_pixel);
    samples.map(|value| value.to_le_bytes()[byte]).collect()
}

/// Rows are encoded by themselves and the segment has an even length (G.3.1).
fn segment(plane: &[u8], columns: usize, out: &mut Vec<u8>) {
    let start = out.len();
    plane.chunks(columns).for_each(|row| pack(row, out));
    if (out.len() - start) % 2 == 1 {
        out.push(0);
    }
}

/// PackBits. Two equal bytes are no gain within a literal run, three are.
fn pack(mut row: &[u8], out: &mut Vec<u8>) {
    while !row.is_empty() {
        let repeat = repeat_length(row);
        if repeat > 1 {
            out.extend_from_slice(&[(257 - repeat) as u8, row[0]]);
            row = &row[repeat..];
            continue;
        }
        let length = literal_length(row);
        out.push((length - 1) as u8);
        out.extend_from_slice(&row[..length]);
        row = &row[length..];
    }
}

fn repeat_length(row: &[u8]) -> usize {
    row.iter().take(RUN_MAX).take_while(|byte| **byte == row[0]).count()
}

fn literal_length(row: &[u8]) -> usize {
    let limit = row.len().min(RUN_MAX);
    let gain = row[..limit].windows(3).position(|three| three[0] == three[1] && three[1] == three[2]);
    gain.unwrap_or(limit).max(1)
}
