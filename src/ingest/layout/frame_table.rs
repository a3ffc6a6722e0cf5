//! Where the frames of encapsulated pixel data lie: entries of equal size, so that one of them is
//! found without reading the others.

use std::ops::Range;

use base64::prelude::*;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::dicom::fragments::Fragments;

/// Tag and length in front of each fragment (PS3.5 A.4).
pub const ITEM_HEADER_BYTES: u64 = 8;

/// Frames of one chunk. A larger table is kept apart from the layout, chunk by chunk.
pub const CHUNK_FRAMES: u64 = 512;

/// The bytes that hold one frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameSpan {
    /// From the header of the first fragment to the end of the last; of a native frame, its bytes.
    pub range: Range<u64>,
    /// 0 for a native frame, which has no item headers.
    pub fragments: u32,
}

impl FrameSpan {
    /// Bytes of the frame itself.
    pub fn content_length(&self) -> u64 {
        (self.range.end - self.range.start).saturating_sub(u64::from(self.fragments) * ITEM_HEADER_BYTES)
    }

    /// The frame as one run of bytes, unless it lies in several fragments.
    pub fn contiguous(&self) -> Option<Range<u64>> {
        match self.fragments {
            0 => Some(self.range.clone()),
            1 => Some(self.range.start + ITEM_HEADER_BYTES..self.range.end),
            _ => None,
        }
    }
}

/// Spans in the order of the frames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FrameTable(Vec<FrameSpan>);

const ENTRY_BYTES: usize = 20;

impl FrameTable {
    /// `starts` is the index of the first fragment of each frame.
    pub(super) fn new(fragments: &Fragments, starts: &[u32]) -> Self {
        let mut item = fragments.first_item;
        let ends: Vec<u64> = fragments
            .lengths
            .iter()
            .map(|length| {
                item += ITEM_HEADER_BYTES + u64::from(*length);
                item
            })
            .collect();
        let begin = |first: usize| first.checked_sub(1).map_or(fragments.first_item, |before| ends[before]);
        let next = |at: usize| starts.get(at + 1).map_or(ends.len(), |next| *next as usize);
        let span = |(at, first): (usize, &u32)| {
            let (first, next) = (*first as usize, next(at));
            FrameSpan { range: begin(first)..begin(next), fragments: (next - first) as u32 }
        };
        Self(starts.iter().enumerate().map(span).collect())
    }

    pub(super) fn len(&self) -> u64 {
        self.0.len() as u64
    }

    pub(super) fn get(&self, index: u64) -> Option<&FrameSpan> {
        self.0.get(usize::try_from(index).ok()?)
    }

    /// The table cut into chunks of [`CHUNK_FRAMES`].
    pub(super) fn chunks(&self) -> Vec<Vec<u8>> {
        self.0.chunks(CHUNK_FRAMES as usize).map(written).collect()
    }
}

fn written(spans: &[FrameSpan]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(spans.len() * ENTRY_BYTES);
    for span in spans {
        bytes.extend_from_slice(&span.range.start.to_le_bytes());
        bytes.extend_from_slice(&span.range.end.to_le_bytes());
        bytes.extend_from_slice(&span.fragments.to_le_bytes());
    }
    bytes
}

/// One entry of a chunk.
pub fn entry(chunk: &[u8], index: usize) -> Option<FrameSpan> {
    chunk.get(index * ENTRY_BYTES..(index + 1) * ENTRY_BYTES).and_then(read)
}

fn read(entry: &[u8]) -> Option<FrameSpan> {
    let (start, rest) = entry.split_first_chunk()?;
    let (end, rest) = rest.split_first_chunk()?;
    let (fragments, _) = rest.split_first_chunk()?;
    let range = u64::from_le_bytes(*start)..u64::from_le_bytes(*end);
    (range.start <= range.end).then_some(FrameSpan { range, fragments: u32::from_le_bytes(*fragments) })
}

impl Serialize for FrameTable {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64_STANDARD.encode(written(&self.0)))
    }
}

impl<'de> Deserialize<'de> for FrameTable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = BASE64_STANDARD.decode(text).map_err(serde::de::Error::custom)?;
        let spans = bytes.chunks_exact(ENTRY_BYTES).map(read).collect::<Option<_>>();
        spans.map(Self).ok_or_else(|| serde::de::Error::custom("a frame ends before it begins"))
    }
}

/// Lists of the first form of the layout: base64 of little-endian words.
pub(super) fn unpacked<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<u32>>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
    let bytes = BASE64_STANDARD.decode(text).map_err(serde::de::Error::custom)?;
    Ok(Some(bytes.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()))
}
