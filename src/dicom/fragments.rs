//! Encapsulated pixel data, PS3.5 A.4: where its fragments lie.

use std::io::{ErrorKind, Read, Seek, SeekFrom};

use super::header::HeaderError;

const ITEM: [u8; 4] = [0xFE, 0xFF, 0x00, 0xE0];
const SEQUENCE_DELIMITER: [u8; 4] = [0xFE, 0xFF, 0xDD, 0xE0];

/// Fragments in file order; items follow each other with an 8-byte header between them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fragments {
    /// Offset of the first fragment's item header, from the start of the data set.
    pub first_item: u64,
    /// Length of each fragment's value.
    pub lengths: Vec<u32>,
    /// Whether a fragment begins like a codestream: what tells frames apart without a table.
    pub starts_codestream: Vec<bool>,
    /// Basic Offset Table as written; empty when absent.
    pub offsets: Vec<u32>,
}

/// Reads item headers from the offset table to the sequence delimiter, skipping the values.
pub(super) fn scan<R: Read + Seek>(
    source: &mut R,
    start: u64,
    end: u64,
    fragments_max: usize,
) -> Result<Fragments, HeaderError> {
    let offsets = read_offset_table(source, end, fragments_max)?;
    let mut fragments = Fragments { offsets, ..Fragments::default() };
    fragments.first_item = source.stream_position()? - start;
    while let Some(length) = next_item(source, end)? {
        if fragments.lengths.len() == fragments_max {
            return Err(too_many(fragments_max));
        }
        fragments.starts_codestream.push(pass_value(source, length)?);
        fragments.lengths.push(length);
    }
    Ok(fragments)
}

fn too_many(fragments_max: usize) -> HeaderError {
    HeaderError::Limit { what: "the number of fragments", limit: fragments_max as u64 }
}

fn read_offset_table<R: Read + Seek>(
    source: &mut R,
    end: u64,
    fragments_max: usize,
) -> Result<Vec<u32>, HeaderError> {
    let Some(length) = next_item(source, end)? else {
        // No item at all: the delimiter is read again by the caller.
        source.seek(SeekFrom::Current(-8))?;
        return Ok(Vec::new());
    };
    if length as usize / 4 > fragments_max {
        return Err(too_many(fragments_max));
    }
    let mut table = vec![0; length as usize];
    source.read_exact(&mut table).map_err(truncated)?;
    Ok(table.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
}

/// The length of the next item's value, or `None` at the sequence delimiter.
fn next_item<R: Read + Seek>(source: &mut R, end: u64) -> Result<Option<u32>, HeaderError> {
    let mut header = [0; 8];
    source.read_exact(&mut header).map_err(truncated)?;
    let length = u32::from_le_bytes([header[4], header[5], header[6], header[7]]);
    match [header[0], header[1], header[2], header[3]] {
        SEQUENCE_DELIMITER => Ok(None),
        ITEM if source.stream_position()? + u64::from(length) <= end => Ok(Some(length)),
        ITEM => Err(HeaderError::Truncated("a pixel data fragment".to_owned())),
        _ => Err(HeaderError::Parse("a pixel data fragment has no item tag".to_owned())),
    }
}

/// Skips a fragment, looking at its first two bytes.
fn pass_value<R: Read + Seek>(source: &mut R, length: u32) -> Result<bool, HeaderError> {
    let mut first = [0; 2];
    if length < 2 {
        source.seek(SeekFrom::Current(length.into()))?;
        return Ok(false);
    }
    source.read_exact(&mut first).map_err(truncated)?;
    source.seek(SeekFrom::Current(i64::from(length) - 2))?;
    // JPEG and JPEG-LS SOI, JPEG 2000 SOC, JPEG XL codestream
    Ok(matches!(first, [0xFF, 0xD8] | [0xFF, 0x4F] | [0xFF, 0x0A]))
}

fn truncated(error: std::io::Error) -> HeaderError {
    match error.kind() {
        ErrorKind::UnexpectedEof => HeaderError::Truncated("the pixel data".to_owned()),
        _ => HeaderError::Read(error),
    }
}
