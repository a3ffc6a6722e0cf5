//! Where the large values of a stored instance lie: what makes a frame one ranged read.

mod frame_table;

use std::ops::Range;

use crate::dicom::fragments::Fragments;
use crate::dicom::header::PixelData;
use crate::dicom::packed;

use frame_table::FrameTable;
pub use frame_table::{CHUNK_FRAMES, FrameSpan, ITEM_HEADER_BYTES, entry};

/// Offsets count from the start of the data set; for deflated objects, of the inflated one.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Layout {
    /// Where the data set begins in the stored file.
    pub dataset_offset: u64,
    /// The data set is deflated as a whole: ranges need inflating first.
    pub deflated: bool,
    /// Bytes of the data set, inflated where it is deflated. Rows of earlier versions leave it out.
    #[serde(default)]
    pub dataset_length: Option<u64>,
    pub bulk: Vec<Bulk>,
    pub pixel_data: Option<PixelDataLayout>,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Bulk {
    /// Tags and item indices from the root, as in `00540016/0/00189004`.
    pub path: String,
    pub vr: String,
    pub offset: u64,
    pub length: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum PixelDataLayout {
    /// Pixel Data, Float Pixel Data (VR OF) or Double Float Pixel Data (VR OD).
    Native {
        vr: String,
        offset: u64,
        length: u64,
        frames: u64,
        /// Bits of one frame; frames of 1-bit images need not begin at a byte.
        frame_bits: u64,
    },
    Encapsulated(Encapsulated),
}

impl PixelDataLayout {
    /// Where it begins, and how many bytes it has.
    fn extent(&self) -> (u64, u64) {
        match self {
            Self::Native { offset, length, .. } => (*offset, *length),
            Self::Encapsulated(one) => (one.first_item, one.end.saturating_sub(one.first_item)),
        }
    }
}

/// The fragments behind the Basic Offset Table.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "EncapsulatedText")]
pub struct Encapsulated {
    /// Of the first fragment's item header.
    pub first_item: u64,
    /// Of the sequence delimiter.
    pub end: u64,
    pub frames: u64,
    fragments: u32,
    /// Absent where the table is kept apart, in chunks.
    table: Option<FrameTable>,
}

/// Both forms in which rows hold it: the first listed every fragment and the first one of each frame.
#[derive(serde::Deserialize)]
struct EncapsulatedText {
    first_item: u64,
    end: Option<u64>,
    frames: Option<u64>,
    fragments: Option<u32>,
    table: Option<FrameTable>,
    #[serde(default, deserialize_with = "frame_table::unpacked")]
    lengths: Option<Vec<u32>>,
    #[serde(default, deserialize_with = "frame_table::unpacked")]
    frame_starts: Option<Vec<u32>>,
}

impl TryFrom<EncapsulatedText> for Encapsulated {
    type Error = &'static str;

    fn try_from(text: EncapsulatedText) -> Result<Self, &'static str> {
        let EncapsulatedText { first_item, table, .. } = text;
        match (text.end.zip(text.frames), text.fragments, text.lengths, text.frame_starts) {
            (Some((end, frames)), Some(fragments), _, _) => {
                Ok(Self { first_item, end, frames, fragments, table })
            }
            (_, _, Some(lengths), Some(starts)) if starts_fit(&starts, lengths.len()) => {
                Ok(Self::new(&Fragments { first_item, lengths, ..Fragments::default() }, &starts))
            }
            _ => Err("the encapsulated pixel data has neither form"),
        }
    }
}

fn starts_fit(starts: &[u32], fragments: usize) -> bool {
    starts.is_sorted() && starts.iter().all(|start| (*start as usize) < fragments)
}

impl Encapsulated {
    fn new(fragments: &Fragments, starts: &[u32]) -> Self {
        let table = FrameTable::new(fragments, starts);
        let size: u64 = fragments.lengths.iter().map(|length| ITEM_HEADER_BYTES + u64::from(*length)).sum();
        Self {
            first_item: fragments.first_item,
            end: fragments.first_item + size,
            frames: table.len(),
            fragments: fragments.lengths.len() as u32,
            table: Some(table),
        }
    }
}

/// Where the span of a frame is to be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FrameLookup {
    Known(FrameSpan),
    /// In this chunk of the table that is kept apart, at this place.
    Chunk {
        ordinal: u64,
        index: usize,
    },
}

#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    #[error("the stored layout cannot be decompressed: {0}")]
    Decompress(std::io::Error),
    #[error("the stored layout cannot be read: {0}")]
    Decode(serde_json::Error),
    #[error("the stored frame table lacks an entry")]
    FrameTable,
}

impl Layout {
    /// Whether everything that it points to lies within a file of so many bytes.
    pub fn fits(&self, size_bytes: u64) -> bool {
        let Some(behind_front) = size_bytes.checked_sub(self.dataset_offset) else { return false };
        let length = match self.deflated {
            true => self.dataset_length.unwrap_or(u64::MAX),
            false => behind_front,
        };
        let bulk = self.bulk.iter().map(|bulk| (bulk.offset, bulk.length));
        let pixels = self.pixel_data.as_ref().map(PixelDataLayout::extent);
        let ends = bulk.chain(pixels).map(|(offset, bytes)| offset.checked_add(bytes));
        ends.into_iter().all(|end| end.is_some_and(|end| end <= length))
    }

    pub fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        let json = serde_json::to_vec(self)?;
        // Compressing into memory has nothing to fail on but the encoder's own parameters.
        Ok(packed::pack(&json).unwrap_or(json))
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, LayoutError> {
        let json = packed::unpack(bytes).map_err(LayoutError::Decompress)?;
        serde_json::from_slice(&json).map_err(LayoutError::Decode)
    }

    pub fn frame_count(&self) -> u64 {
        match &self.pixel_data {
            None => 0,
            Some(PixelDataLayout::Native { frames, .. }) => *frames,
            Some(PixelDataLayout::Encapsulated(encapsulated)) => encapsulated.frames,
        }
    }

    /// Takes a table of more frames than one chunk out of the layout, to be kept apart: what is
    /// read for one frame must not grow with the number of frames.
    pub(super) fn take_frame_chunks(&mut self) -> Vec<Vec<u8>> {
        match &mut self.pixel_data {
            Some(PixelDataLayout::Encapsulated(encapsulated)) if encapsulated.frames > CHUNK_FRAMES => {
                encapsulated.table.take().map(|table| table.chunks()).unwrap_or_default()
            }
            _ => Vec::new(),
        }
    }

    /// Where a frame (from 1) lies; `None` when there is no such frame.
    pub fn frame(&self, number: u64) -> Option<FrameLookup> {
        let index = number.checked_sub(1).filter(|index| *index < self.frame_count())?;
        match self.pixel_data.as_ref()? {
            PixelDataLayout::Native { offset, length, frame_bits, .. } => {
                let begin = offset + index * frame_bits / 8;
                let end = offset + ((index + 1) * frame_bits).div_ceil(8);
                let range = begin..end.min(offset + length);
                Some(FrameLookup::Known(FrameSpan { range, fragments: 0 }))
            }
            PixelDataLayout::Encapsulated(Encapsulated { table: Some(table), .. }) => {
                table.get(index).cloned().map(FrameLookup::Known)
            }
            PixelDataLayout::Encapsulated(_) => {
                let (ordinal, index) = (index / CHUNK_FRAMES, (index % CHUNK_FRAMES) as usize);
                Some(FrameLookup::Chunk { ordinal, index })
            }
        }
    }

    /// The whole value of Pixel Data; when encapsulated, the fragments with their item headers.
    pub fn pixel_data_range(&self) -> Option<Range<u64>> {
        match self.pixel_data.as_ref()? {
            PixelDataLayout::Native { offset, length, .. } => Some(*offset..offset + length),
            PixelDataLayout::Encapsulated(encapsulated) => Some(encapsulated.first_item..encapsulated.end),
        }
    }

    /// All fragments together, where pixel data are encapsulated: a video is one frame after the
    /// other without bounds.
    pub fn all_fragments(&self) -> Option<FrameSpan> {
        match self.pixel_data.as_ref()? {
            PixelDataLayout::Native { .. } => None,
            PixelDataLayout::Encapsulated(encapsulated) => {
                let range = encapsulated.first_item..encapsulated.end;
                Some(FrameSpan { range, fragments: encapsulated.fragments })
            }
        }
    }

    pub fn bulk(&self, path: &str) -> Option<&Bulk> {
        self.bulk.iter().find(|bulk| bulk.path == path)
    }

    /// A data-set range as a range of the stored file.
    pub fn in_file(&self, range: &Range<u64>) -> Range<u64> {
        range.start + self.dataset_offset..range.end + self.dataset_offset
    }
}

/// Image attributes that the frame table depends on.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct FrameShape {
    pub rows: u64,
    pub columns: u64,
    pub samples: u64,
    pub bits_allocated: u64,
    pub frames: u64,
}

impl FrameShape {
    /// Frames and bits of each, where `length` bytes hold them all. The attributes may be any
    /// number, so that nothing is multiplied unchecked.
    fn native_frames(&self, length: u64) -> Option<(u64, u64)> {
        let factors = [self.rows, self.columns, self.samples, self.bits_allocated];
        let bits = factors.into_iter().try_fold(1_u64, u64::checked_mul)?;
        let all = bits.checked_mul(self.frames)?;
        (bits > 0 && all.div_ceil(8) <= length).then_some((self.frames, bits))
    }
}

impl PixelDataLayout {
    /// Float Pixel Data or Double Float Pixel Data, which are never encapsulated (PS3.5 8.1.2).
    pub(super) fn float(bulk: &Bulk, shape: FrameShape) -> Self {
        let (frames, frame_bits) = shape.native_frames(bulk.length).unwrap_or((1, bulk.length * 8));
        Self::Native { vr: bulk.vr.clone(), offset: bulk.offset, length: bulk.length, frames, frame_bits }
    }

    pub(super) fn new(pixel_data: PixelData, shape: FrameShape) -> Self {
        match pixel_data {
            PixelData::Native { vr, offset, length } => {
                // Where the attributes do not describe the bytes, the bytes are one frame.
                let (frames, frame_bits) = shape.native_frames(length).unwrap_or((1, length * 8));
                Self::Native { vr: vr.to_string().to_owned(), offset, length, frames, frame_bits }
            }
            PixelData::Encapsulated(fragments) => {
                let starts = frame_starts(&fragments, shape.frames);
                Self::Encapsulated(Encapsulated::new(&fragments, &starts))
            }
        }
    }
}

/// Which fragment begins each frame, by the best evidence there is: the counts, the Basic
/// Offset Table, the first bytes of the codestreams.
fn frame_starts(fragments: &Fragments, frames: u64) -> Vec<u32> {
    let count = fragments.lengths.len() as u64;
    if count == 0 {
        return Vec::new();
    }
    if frames <= 1 {
        return vec![0];
    }
    if count == frames {
        return (0..count as u32).collect();
    }
    starts_by_offsets(fragments, frames).unwrap_or_else(|| starts_by_codestream(fragments))
}

fn starts_by_offsets(fragments: &Fragments, frames: u64) -> Option<Vec<u32>> {
    if fragments.offsets.len() as u64 != frames {
        return None;
    }
    let mut item = 0_u64;
    let mut starts = Vec::with_capacity(fragments.offsets.len());
    for (index, length) in fragments.lengths.iter().enumerate() {
        if fragments.offsets.get(starts.len()).is_some_and(|offset| u64::from(*offset) == item) {
            starts.push(index as u32);
        }
        item += 8 + u64::from(*length);
    }
    (starts.len() as u64 == frames).then_some(starts)
}

fn starts_by_codestream(fragments: &Fragments) -> Vec<u32> {
    let flags = fragments.starts_codestream.iter().enumerate();
    let starts: Vec<u32> = flags.filter(|(_, starts)| **starts).map(|(i, _)| i as u32).collect();
    if starts.is_empty() { vec![0] } else { starts }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fragments(lengths: &[u32], offsets: &[u32], starts: &[bool]) -> PixelData {
        PixelData::Encapsulated(Fragments {
            first_item: 100,
            lengths: lengths.to_vec(),
            starts_codestream: starts.to_vec(),
            offsets: offsets.to_vec(),
        })
    }

    fn layout(pixel_data: PixelData, frames: u64) -> Layout {
        let shape = FrameShape { rows: 2, columns: 3, samples: 1, bits_allocated: 16, frames };
        let pixel_data = Some(PixelDataLayout::new(pixel_data, shape));
        Layout { dataset_offset: 1000, deflated: false, dataset_length: None, bulk: Vec::new(), pixel_data }
    }

    #[track_caller]
    fn check(layout: &Layout, number: u64, range: Range<u64>, fragments: u32) {
        assert_eq!(layout.frame(number), Some(FrameLookup::Known(FrameSpan { range, fragments })));
    }

    #[test]
    fn native_frames_follow_each_other() {
        let pixels = PixelData::Native { vr: dicom_core::VR::OW, offset: 10, length: 24 };
        let layout = layout(pixels, 2);
        check(&layout, 2, 22..34, 0);
        assert_eq!(layout.in_file(&(22..34)), 1022..1034);
        assert_eq!((layout.frame(3), layout.frame(0)), (None, None));
    }

    #[test]
    fn a_frame_count_beyond_all_numbers_is_one_frame() {
        for frames in [1 << 58, u64::MAX] {
            let pixels = PixelData::Native { vr: dicom_core::VR::OW, offset: 10, length: 24 };
            assert_eq!(layout(pixels, frames).frame_count(), 1);
        }
    }

    #[test]
    fn fragments_are_told_apart_by_the_offset_table() {
        let layout = layout(fragments(&[4, 6, 8], &[0, 26], &[true, false, false]), 2);
        check(&layout, 1, 100..126, 2);
        check(&layout, 2, 126..142, 1);
        assert_eq!(layout.pixel_data_range(), Some(100..142));
    }

    #[test]
    fn without_a_table_the_codestreams_tell() {
        let layout = layout(fragments(&[4, 6, 8], &[], &[true, true, false]), 2);
        check(&layout, 2, 112..142, 2);
    }

    #[test]
    fn item_headers_are_no_part_of_a_frame() {
        let span = FrameSpan { range: 100..126, fragments: 2 };
        assert_eq!((span.content_length(), span.contiguous()), (10, None));
        let span = FrameSpan { range: 126..142, fragments: 1 };
        assert_eq!((span.content_length(), span.contiguous()), (8, Some(134..142)));
    }

    #[test]
    fn survives_its_encoding() {
        let layout = layout(fragments(&[4, 6], &[], &[true, true]), 2);
        assert_eq!(Layout::decode(&layout.encode().unwrap()).unwrap(), layout);
    }

    #[test]
    fn the_first_form_is_still_read() {
        let text = r#"{"dataset_offset":1000,"deflated":false,"bulk":[],"pixel_data":
            {"Encapsulated":{"first_item":100,"lengths":"BAAAAAYAAAAIAAAA","frame_starts":"AAAAAAIAAAA="}}}"#;
        let layout = Layout::decode(&zstd::encode_all(text.as_bytes(), 1).unwrap()).unwrap();
        check(&layout, 1, 100..126, 2);
        check(&layout, 2, 126..142, 1);
    }

    #[test]
    fn a_long_table_is_kept_apart_and_read_entry_by_entry() {
        let frames = 3 * CHUNK_FRAMES + 1;
        let mut layout = layout(fragments(&vec![2; frames as usize], &[], &[]), frames);
        let known = layout.frame(frames);
        let chunks = layout.take_frame_chunks();
        assert_eq!((chunks.len(), chunks[3].len()), (4, 20));
        let Some(FrameLookup::Chunk { ordinal, index }) = layout.frame(frames) else { panic!() };
        assert_eq!(entry(&chunks[ordinal as usize], index).map(FrameLookup::Known), known);
        assert!(layout.encode().unwrap().len() < 200);
        assert_eq!(entry(&chunks[3], 1), None);
    }
}
