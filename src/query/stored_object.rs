//! A stored instance opened for reading: ranges, frames, bulk values and attributes.

mod defragment;

use std::io::{self, Read};
use std::ops::Range;

use bytes::Bytes;
use dicom_core::ops::{ApplyOp, AttributeAction, AttributeOp, AttributeSelector, AttributeSelectorStep};
use dicom_core::{PrimitiveValue, Tag};
use dicom_dictionary_std::tags;
use dicom_encoding::{Codec, TransferSyntaxIndex};
use dicom_object::InMemDicomObject;
use dicom_transfer_syntax_registry::TransferSyntaxRegistry;
use futures::stream::{self, BoxStream, StreamExt};

use crate::blobs::{BlobError, BlobKey, Blobs};
use crate::db::{self, Db, DbError};
use crate::dicom::attributes::AttributeId;
use crate::dicom::packed;
use crate::dicom::reencode::Sparse;
use crate::ingest::layout::{Bulk, FrameLookup, FrameSpan, Layout, LayoutError, PixelDataLayout, entry};
use crate::query::retrieve::StoredInstance;
use crate::volume::attributes::integer;
use crate::volume::pixels::{EncodedFrame, HeldIn, SAMPLES_MAX};

#[expect(deprecated, reason = "retired from sending, still found in archives")]
const BIG_ENDIAN: &str = dicom_dictionary_std::uids::EXPLICIT_VR_BIG_ENDIAN;

/// Tables and overlays beyond these are no part of [`StoredObject::attributes`]: each, and all.
const TABLE_BYTES_MAX: u64 = 8 << 20;
const TABLES_BYTES_MAX: u64 = 32 << 20;

/// Reading such a value is cheaper than reading around it, as long as all of them fit in here.
const SHORT_VALUE_BYTES: u64 = 64 << 10;
const SHORT_VALUES_BYTES: u64 = 16 << 20;

#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("the index failed")]
    Index(#[from] DbError),
    #[error("the instance was deleted or replaced while it was read")]
    Gone,
    #[error("the stored bytes cannot be read")]
    Blob(#[from] BlobError),
    #[error("the stored layout cannot be read")]
    Layout(#[from] LayoutError),
    #[error("a frame of {0} bytes is more than a codec takes")]
    LargeFrame(u64),
    #[error("the deflated data set cannot be inflated")]
    Inflate(#[source] io::Error),
    #[error("the stored metadata cannot be read")]
    Metadata(#[source] Box<dyn std::error::Error + Send + Sync>),
}

pub type Chunks = BoxStream<'static, io::Result<Bytes>>;

/// A frame in memory; one that no attributes describe is as long as the object.
const FRAME_BYTES_MAX: u64 = 4 * SAMPLES_MAX as u64;

fn check_length(span: &FrameSpan) -> Result<(), ReadError> {
    match span.range.end - span.range.start {
        length if length > FRAME_BYTES_MAX => Err(ReadError::LargeFrame(length)),
        _ => Ok(()),
    }
}

/// Ranges of this type count from the start of the data set, inflated where it is deflated.
pub struct StoredObject {
    pub instance: StoredInstance,
    pub layout: Layout,
    db: Db,
    blobs: Blobs,
    inflated: Option<Bytes>,
}

impl StoredObject {
    pub async fn open(db: &Db, blobs: &Blobs, instance: StoredInstance) -> Result<Self, ReadError> {
        let layout = db::retrieve::layout(db, &instance).await?.ok_or(ReadError::Gone)?;
        let layout = Layout::decode(&layout)?;
        let mut object = Self { instance, layout, db: db.clone(), blobs: blobs.clone(), inflated: None };
        if object.layout.deflated {
            object.inflated = Some(object.inflate().await?);
        }
        Ok(object)
    }

    pub fn is_big_endian(&self) -> bool {
        self.instance.transfer_syntax.as_str() == BIG_ENDIAN
    }

    pub fn is_encapsulated(&self) -> bool {
        matches!(self.layout.pixel_data, Some(PixelDataLayout::Encapsulated { .. }))
    }

    fn key(&self) -> BlobKey {
        BlobKey::from_index(&self.instance.blob_key)
    }

    /// Ends where ingest found the end, which bounds what a bomb can do.
    async fn inflate(&self) -> Result<Bytes, ReadError> {
        let file = self.layout.dataset_offset..self.instance.size_bytes;
        let deflated = self.blobs.get_range(&self.key(), file).await?;
        let ends = self.layout.bulk.iter().map(|bulk| bulk.offset + bulk.length);
        let pixels_end = self.layout.pixel_data_range().map(|range| range.end);
        let known = ends.chain(pixels_end).max().unwrap_or(0);
        let needed = self.layout.dataset_length.unwrap_or(known);
        let syntax = TransferSyntaxRegistry.get(self.instance.transfer_syntax.as_str());
        let Some(Codec::Dataset(Some(adapter))) = syntax.map(|syntax| syntax.codec()) else {
            return Err(ReadError::Inflate(io::ErrorKind::Unsupported.into()));
        };
        let inflating = tokio::task::spawn_blocking(move || {
            let mut inflated = Vec::with_capacity(needed as usize);
            let reader = adapter.adapt_reader(Box::new(io::Cursor::new(deflated)));
            reader.take(needed).read_to_end(&mut inflated).map(|_| inflated)
        });
        let inflated = inflating.await.map_err(io::Error::other).flatten();
        inflated.map(Bytes::from).map_err(ReadError::Inflate)
    }

    /// A range in memory.
    pub async fn bytes(&self, range: Range<u64>) -> Result<Bytes, ReadError> {
        match &self.inflated {
            Some(inflated) => Ok(slice(inflated, &range)),
            None if range.is_empty() => Ok(Bytes::new()),
            None => Ok(self.blobs.get_range(&self.key(), self.layout.in_file(&range)).await?),
        }
    }

    /// Ranges one after the other, in memory of one chunk.
    pub async fn stream(&self, ranges: Vec<Range<u64>>) -> Result<Chunks, ReadError> {
        let mut parts: Vec<Chunks> = Vec::with_capacity(ranges.len());
        for range in ranges.into_iter().filter(|range| !range.is_empty()) {
            parts.push(match &self.inflated {
                Some(inflated) => stream::iter([Ok(slice(inflated, &range))]).boxed(),
                None => self.blobs.stream(&self.key(), Some(self.layout.in_file(&range))).await?,
            });
        }
        Ok(stream::iter(parts).flatten().boxed())
    }

    /// The stored file, or a range of it.
    pub async fn file(
        blobs: &Blobs,
        instance: &StoredInstance,
        range: Option<Range<u64>>,
    ) -> Result<Chunks, BlobError> {
        blobs.stream(&BlobKey::from_index(&instance.blob_key), range).await
    }

    /// The data set as it is stored, behind the file meta information.
    pub async fn data_set(db: &Db, blobs: &Blobs, instance: &StoredInstance) -> Result<Chunks, ReadError> {
        let layout = db::retrieve::layout(db, instance).await?.ok_or(ReadError::Gone)?;
        let range = Layout::decode(&layout)?.dataset_offset..instance.size_bytes;
        Ok(Self::file(blobs, instance, Some(range)).await?)
    }

    /// Where a frame (from 1) lies; `None` when there is no such frame.
    pub async fn frame_span(&self, number: u64) -> Result<Option<FrameSpan>, ReadError> {
        match self.layout.frame(number) {
            None => Ok(None),
            Some(FrameLookup::Known(span)) => Ok(Some(span)),
            Some(FrameLookup::Chunk { ordinal, index }) => {
                let chunk = db::retrieve::frame_chunk(&self.db, &self.instance, ordinal).await?;
                let span = chunk.and_then(|chunk| entry(&chunk, index));
                Ok(Some(span.ok_or(LayoutError::FrameTable)?))
            }
        }
    }

    /// A frame as it is stored, without item headers: one ranged read, streamed.
    pub async fn frame_content(&self, span: &FrameSpan) -> Result<Chunks, ReadError> {
        match span.contiguous() {
            Some(range) => self.stream(vec![range]).await,
            None => Ok(defragment::values(self.stream(vec![span.range.clone()]).await?)),
        }
    }

    /// A frame (from 1) as [`EncodedFrame`] takes it; `None` when there is no such frame.
    pub async fn frame(&self, number: u64) -> Result<Option<FrameBytes>, ReadError> {
        let Some(span) = self.frame_span(number).await? else { return Ok(None) };
        check_length(&span)?;
        let bytes = match span.contiguous() {
            Some(range) => self.bytes(self.whole_words(range)).await?,
            None => defragment::joined(self.bytes(span.range).await?),
        };
        let (first_bit, held_in) = match &self.layout.pixel_data {
            Some(PixelDataLayout::Native { frame_bits, vr, .. }) => {
                (((number - 1) * frame_bits % 8) as u8, HeldIn::of_vr(vr))
            }
            _ => (0, HeldIn::Bytes),
        };
        Ok(Some(FrameBytes { bytes, first_bit, held_in }))
    }

    /// The last byte of a frame of big-endian words stands before one that belongs to no pixel.
    fn whole_words(&self, range: Range<u64>) -> Range<u64> {
        let end = self.layout.pixel_data_range().map_or(range.end, |pixels| pixels.end);
        let padding = if self.is_big_endian() { (range.end - range.start) % 2 } else { 0 };
        range.start..(range.end + padding).min(end)
    }

    /// Bytes of a unit of native pixel data whose order depends on the transfer syntax.
    pub async fn pixel_unit(&self, db: &Db) -> Result<usize, ReadError> {
        let bits = integer(&self.attributes(db).await?, tags::BITS_ALLOCATED);
        let is_words =
            matches!(&self.layout.pixel_data, Some(PixelDataLayout::Native { vr, .. }) if vr == "OW");
        Ok(match bits {
            Some(16) => 2,
            Some(32) => 4,
            Some(8) if is_words => 2,
            Some(64) => 8,
            _ => 1,
        })
    }

    /// The data set without its large values, for re-encoding.
    pub async fn header(&self) -> Result<Sparse, ReadError> {
        let length = self.dataset_length();
        let mut sparse = Sparse::new(length);
        let mut begin = 0;
        for hole in self.holes().into_iter().chain(std::iter::once(length..length)) {
            if begin < hole.start {
                sparse.insert(begin, self.bytes(begin..hole.start).await?);
            }
            begin = begin.max(hole.end);
        }
        Ok(sparse)
    }

    fn dataset_length(&self) -> u64 {
        let in_file = self.instance.size_bytes.saturating_sub(self.layout.dataset_offset);
        // Without what pads the file behind the last element, where ingest has found that.
        let in_file = self.layout.dataset_length.unwrap_or(in_file);
        self.inflated.as_ref().map_or(in_file, |inflated| inflated.len() as u64)
    }

    /// Values that stay in the file. Short ones come along, unless there are too many of them.
    fn holes(&self) -> Vec<Range<u64>> {
        let short = |bulk: &&Bulk| bulk.length <= SHORT_VALUE_BYTES;
        let of_short: u64 = self.layout.bulk.iter().filter(short).map(|bulk| bulk.length).sum();
        let least = if of_short > SHORT_VALUES_BYTES { 0 } else { SHORT_VALUE_BYTES };
        let large = self.layout.bulk.iter().filter(|bulk| bulk.length > least);
        let ranges = large.map(|bulk| bulk.offset..bulk.offset + bulk.length);
        let mut holes: Vec<_> = ranges.chain(self.layout.pixel_data_range()).collect();
        holes.sort_by_key(|hole| hole.start);
        holes
    }

    /// Every attribute but pixel data and large values, from the stored metadata. Of those, what an
    /// image is displayed by is there: tables at any depth, overlays, the colour profile.
    pub async fn attributes(&self, db: &Db) -> Result<InMemDicomObject, ReadError> {
        let mut object = self.small_attributes(db).await?;
        let mut left = TABLES_BYTES_MAX;
        for bulk in self.layout.bulk.iter().filter(|bulk| is_for_display(bulk)) {
            let Some(selector) = selector(&bulk.path).filter(|_| bulk.length <= left) else { continue };
            left -= bulk.length;
            let value = self.bytes(bulk.offset..bulk.offset + bulk.length).await?;
            let set = AttributeOp::new(selector, AttributeAction::Set(self.table(&bulk.vr, &value)));
            // What the metadata has no place for, a damaged index at most, stays out.
            let _ = object.apply(set);
        }
        Ok(object)
    }

    async fn small_attributes(&self, db: &Db) -> Result<InMemDicomObject, ReadError> {
        let stored = db::retrieve::metadata_of(db, &self.instance).await?.ok_or(ReadError::Gone)?;
        let json = packed::unpack(&stored).map_err(|e| ReadError::Metadata(e.into()))?;
        let mut elements: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(&json).map_err(|e| ReadError::Metadata(e.into()))?;
        drop_bulk(&mut elements);
        dicom_json::from_value(elements.into()).map_err(|e| ReadError::Metadata(e.into()))
    }

    fn table(&self, vr: &str, value: &[u8]) -> PrimitiveValue {
        match vr {
            "OB" | "UN" => PrimitiveValue::from(value.to_vec()),
            _ => {
                let word = |pair: &[u8]| match (pair, self.is_big_endian()) {
                    ([a, b], true) => u16::from_be_bytes([*a, *b]),
                    ([a, b], false) => u16::from_le_bytes([*a, *b]),
                    _ => 0,
                };
                PrimitiveValue::U16(value.chunks_exact(2).map(word).collect())
            }
        }
    }
}

/// Values that pictures depend on (PS3.3 C.11.1, C.11.2, C.7.6.3.1, C.9.2, C.11.15).
fn is_for_display(bulk: &Bulk) -> bool {
    let Some(Ok(AttributeId(tag))) = bulk.path.rsplit('/').next().map(str::parse) else { return false };
    let is_overlay = (0x6000..=0x601E).contains(&tag.group()) && tag.element() == OVERLAY_DATA;
    bulk.length <= TABLE_BYTES_MAX && (is_overlay || DISPLAYED_BY.contains(&tag))
}

const OVERLAY_DATA: u16 = 0x3000;

const DISPLAYED_BY: [Tag; 8] = [
    tags::LUT_DATA,
    tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DATA,
    tags::GREEN_PALETTE_COLOR_LOOKUP_TABLE_DATA,
    tags::BLUE_PALETTE_COLOR_LOOKUP_TABLE_DATA,
    tags::SEGMENTED_RED_PALETTE_COLOR_LOOKUP_TABLE_DATA,
    tags::SEGMENTED_GREEN_PALETTE_COLOR_LOOKUP_TABLE_DATA,
    tags::SEGMENTED_BLUE_PALETTE_COLOR_LOOKUP_TABLE_DATA,
    tags::ICC_PROFILE,
];

/// `00283010/0/00283006` as the way to a value.
fn selector(path: &str) -> Option<AttributeSelector> {
    let parts: Vec<&str> = path.split('/').collect();
    let (last, nested) = parts.split_last()?;
    let tag = |text: &str| text.parse::<AttributeId>().ok().map(|id| id.0);
    let mut steps = Vec::with_capacity(parts.len());
    for pair in nested.chunks(2) {
        let [sequence, item] = pair else { return None };
        steps.push(AttributeSelectorStep::Nested { tag: tag(sequence)?, item: item.parse().ok()? });
    }
    steps.push(AttributeSelectorStep::Tag(tag(last)?));
    AttributeSelector::new(steps)
}

/// References to values outside, at any depth: the reader of DICOM JSON has no place for them.
fn drop_bulk(elements: &mut serde_json::Map<String, serde_json::Value>) {
    elements.retain(|_, element| element.get("BulkDataURI").is_none());
    let sequences = elements.values_mut().filter(|element| element["vr"] == "SQ");
    let items = sequences.filter_map(|sequence| sequence.get_mut("Value")?.as_array_mut()).flatten();
    items.filter_map(serde_json::Value::as_object_mut).for_each(drop_bulk);
}

/// The bytes of one frame and how they lie.
#[derive(Debug, Clone)]
pub struct FrameBytes {
    pub bytes: Bytes,
    first_bit: u8,
    held_in: HeldIn,
}

impl FrameBytes {
    /// Bytes of a sample of Float or Double Float Pixel Data.
    pub fn float_unit(&self) -> Option<usize> {
        match self.held_in {
            HeldIn::Bytes | HeldIn::Words => None,
            HeldIn::Floats => Some(4),
            HeldIn::Doubles => Some(8),
        }
    }

    pub fn encoded<'a>(&'a self, transfer_syntax: &'a str) -> EncodedFrame<'a> {
        EncodedFrame {
            first_bit: self.first_bit,
            held_in: self.held_in,
            ..EncodedFrame::new(transfer_syntax, &self.bytes)
        }
    }
}

fn slice(bytes: &Bytes, range: &Range<u64>) -> Bytes {
    let at = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
    bytes.slice(at(range.start)..at(range.end).max(at(range.start)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_as_long_as_an_archive_is_not_read_into_memory() {
        let span = |end| FrameSpan { range: 8..end, fragments: 0 };
        assert!(check_length(&span(8 + FRAME_BYTES_MAX)).is_ok());
        assert!(matches!(check_length(&span(1 << 40)), Err(ReadError::LargeFrame(_))));
    }
}
