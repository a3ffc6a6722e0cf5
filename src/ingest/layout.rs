//! Where the large values of a stored instance lie: what makes a frame one ranged read.

use std::ops::Range;

use crate::dicom::fragments::Fragments;
use crate::dicom::header::PixelData;

/// Offsets count from the start of the data set; for deflated objects, of the inflated one.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Layout {
    /// Where the data set begins in the stored file.
    pub dataset_offset: u64,
    /// The data set is deflated as a whole: ranges need inflating first.
    pub deflated: bool,
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
    Native {
        vr: String,
        offset: u64,
        length: u64,
        frames: u64,
        /// Bits of one frame; frames of 1-bit images need not begin at a byte.
        frame_bits: u64,
    },
    Encapsulated {
        first_item: u64,
        #[serde(with = "packed")]
        lengths: Vec<u32>,
        /// Index of the first fragment of each frame.
        #[serde(with = "packed")]
        frame_starts: Vec<u32>,
    },
}

#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    #[error("the stored layout cannot be decompressed: {0}")]
    Decompress(std::io::Error),
    #[error("the stored layout cannot be read: {0}")]
    Decode(serde_json::Error),
}

impl Layout {
    pub fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        let json = serde_json::to_vec(self)?;
        // Compressing into memory has nothing to fail on but the encoder's own parameters.
        Ok(zstd::encode_all(json.as_slice(), 3).unwrap_or(json))
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, LayoutError> {
        let json = zstd::decode_all(bytes).map_err(LayoutError::Decompress)?;
        serde_json::from_slice(&json).map_err(LayoutError::Decode)
    }

    pub fn frame_count(&self) -> u64 {
        match &self.pixel_data {
            None => 0,
            Some(PixelDataLayout::Native { frames, .. }) => *frames,
            Some(PixelDataLayout::Encapsulated { frame_starts, .. }) => frame_starts.len() as u64,
        }
    }

    /// Byte ranges of a frame (from 1) in data-set offsets: one range when native, one per
    /// fragment when encapsulated. `None` when there is no such frame.
    pub fn frame(&self, number: u64) -> Option<Vec<Range<u64>>> {
        let index = number.checked_sub(1).filter(|index| *index < self.frame_count())?;
        match self.pixel_data.as_ref()? {
            PixelDataLayout::Native { offset, length, frame_bits, .. } => {
                let begin = offset + index * frame_bits / 8;
                let end = offset + ((index + 1) * frame_bits).div_ceil(8);
                Some(vec![begin..end.min(offset + length)])
            }
            PixelDataLayout::Encapsulated { first_item, lengths, frame_starts } => {
                let index = index as usize;
                let begin = *frame_starts.get(index)? as usize;
                let end = frame_starts.get(index + 1).map_or(lengths.len(), |next| *next as usize);
                Some(fragment_ranges(*first_item, lengths, begin..end))
            }
        }
    }

    /// The whole value of Pixel Data, item headers included when encapsulated.
    pub fn pixel_data_range(&self) -> Option<Range<u64>> {
        match self.pixel_data.as_ref()? {
            PixelDataLayout::Native { offset, length, .. } => Some(*offset..offset + length),
            PixelDataLayout::Encapsulated { first_item, lengths, .. } => {
                let size: u64 = lengths.iter().map(|length| 8 + u64::from(*length)).sum();
                Some(*first_item..first_item + size)
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

fn fragment_ranges(first_item: u64, lengths: &[u32], wanted: Range<usize>) -> Vec<Range<u64>> {
    let before: u64 = lengths[..wanted.start].iter().map(|length| 8 + u64::from(*length)).sum();
    let mut item = first_item + before;
    let ranges = lengths[wanted].iter().map(|length| {
        let begin = item + 8;
        item = begin + u64::from(*length);
        begin..item
    });
    ranges.collect()
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
    pub(super) fn new(pixel_data: PixelData, shape: FrameShape) -> Self {
        match pixel_data {
            PixelData::Native { vr, offset, length } => {
                // Where the attributes do not describe the bytes, the bytes are one frame.
                let (frames, frame_bits) = shape.native_frames(length).unwrap_or((1, length * 8));
                Self::Native { vr: vr.to_string().to_owned(), offset, length, frames, frame_bits }
            }
            PixelData::Encapsulated(fragments) => {
                let frame_starts = frame_starts(&fragments, shape.frames);
                let Fragments { first_item, lengths, .. } = fragments;
                Self::Encapsulated { first_item, lengths, frame_starts }
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

/// Numbers as base64 of little-endian words: a hundred thousand of them decode in no time.
mod packed {
    use base64::prelude::*;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(words: &[u32], serializer: S) -> Result<S::Ok, S::Error> {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        serializer.serialize_str(&BASE64_STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u32>, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = BASE64_STANDARD.decode(text).map_err(serde::de::Error::custom)?;
        Ok(bytes.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
    }
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
        Layout { dataset_offset: 1000, deflated: false, bulk: Vec::new(), pixel_data }
    }

    #[test]
    fn native_frames_follow_each_other() {
        let pixels = PixelData::Native { vr: dicom_core::VR::OW, offset: 10, length: 24 };
        let layout = layout(pixels, 2);
        assert_eq!(layout.frame(2), Some(vec![22..34]));
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
        assert_eq!(layout.frame(1), Some(vec![108..112, 120..126]));
        assert_eq!(layout.frame(2), Some(vec![134..142]));
    }

    #[test]
    fn without_a_table_the_codestreams_tell() {
        let layout = layout(fragments(&[4, 6, 8], &[], &[true, true, false]), 2);
        assert_eq!(layout.frame(2), Some(vec![120..126, 134..142]));
    }

    #[test]
    fn survives_its_encoding() {
        let layout = layout(fragments(&[4, 6], &[], &[true, true]), 2);
        assert_eq!(Layout::decode(&layout.encode().unwrap()).unwrap(), layout);
    }
}
