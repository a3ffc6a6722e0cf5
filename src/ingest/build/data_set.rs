//! A data set as a stream, Explicit VR Little Endian: encoded elements and, between them, bytes
//! of staged files.

use std::collections::HashMap;
use std::io::{self, Seek, SeekFrom};

use bytes::Bytes;
use dicom_core::value::Value as ElementValue;
use dicom_core::{DataElement, Length, Tag, VR};
use dicom_encoding::text::SpecificCharacterSet;
use dicom_encoding::transfer_syntax::TransferSyntaxIndex;
use dicom_object::InMemDicomObject;
use dicom_transfer_syntax_registry::TransferSyntaxRegistry;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio_util::io::{ReaderStream, StreamReader};

use super::bulk::Content;
use crate::blobs::BUFFER_BYTES;
use crate::dicom::reencode::{
    ITEM, ITEM_DELIMITATION, SEQUENCE_DELIMITATION, has_short_length, padding, write_header,
    write_item_header,
};
use crate::ingest::Refusal;
use crate::ingest::prepare::EXPLICIT_LITTLE_ENDIAN;

const UNDEFINED: u32 = u32::MAX;

/// Values that are not in memory, by the paths of their elements.
pub(super) type Values = HashMap<String, Value>;

pub(super) enum Value {
    Plain(Content),
    /// Native pixels that did not come as such: their VR follows from the bits.
    Native(Content, VR),
    /// Fragments, one for each frame.
    Encapsulated(Vec<Content>),
}

pub(super) enum Segment {
    Encoded(Vec<u8>),
    Staged(Content),
}

pub(super) fn segments(elements: &InMemDicomObject, values: &Values) -> Result<Vec<Segment>, Refusal> {
    let mut writer = Writer { values, done: Vec::new(), encoded: Vec::new() };
    writer.object(elements, "")?;
    writer.done.push(Segment::Encoded(writer.encoded));
    Ok(writer.done)
}

/// Streams the segments; every file is opened when its turn comes.
pub(super) fn reader(segments: Vec<Segment>) -> impl AsyncRead + Unpin + Send {
    StreamReader::new(stream::iter(segments).then(open).try_flatten().boxed())
}

async fn open(segment: Segment) -> io::Result<BoxStream<'static, io::Result<Bytes>>> {
    match segment {
        Segment::Encoded(bytes) => Ok(stream::iter([Ok(Bytes::from(bytes))]).boxed()),
        Segment::Staged(content) => {
            let length = content.length();
            let opened = tokio::task::spawn_blocking(move || {
                let mut file = content.staged.open()?;
                file.seek(SeekFrom::Start(content.range.start))?;
                // The name may go once the file is open; its bytes stay.
                Ok::<_, io::Error>(file)
            });
            let file = tokio::fs::File::from_std(opened.await.map_err(io::Error::other)??);
            Ok(ReaderStream::with_capacity(file.take(length), BUFFER_BYTES).boxed())
        }
    }
}

struct Writer<'a> {
    values: &'a Values,
    done: Vec<Segment>,
    encoded: Vec<u8>,
}

impl Writer<'_> {
    fn object(&mut self, object: &InMemDicomObject, prefix: &str) -> Result<(), Refusal> {
        for element in object {
            let tag = element.header().tag;
            let path = format!("{prefix}{}", crate::dicom::header::hex(tag));
            match (self.values.get(&path), element.value()) {
                (Some(Value::Plain(content)), _) => self.plain(tag, element.vr(), content)?,
                (Some(Value::Native(content, vr)), _) => self.plain(tag, *vr, content)?,
                (Some(Value::Encapsulated(frames)), _) => self.encapsulated(tag, frames)?,
                (None, ElementValue::Sequence(sequence)) => {
                    self.header(tag, VR::SQ, UNDEFINED)?;
                    for (index, item) in sequence.items().iter().enumerate() {
                        write_item_header(&mut self.encoded, ITEM, UNDEFINED);
                        self.object(item, &format!("{path}/{index}/"))?;
                        write_item_header(&mut self.encoded, ITEM_DELIMITATION, 0);
                    }
                    write_item_header(&mut self.encoded, SEQUENCE_DELIMITATION, 0);
                }
                (None, _) => self.small(element)?,
            }
        }
        Ok(())
    }

    /// An element in memory. Its text is written as UTF-8, of which ASCII is a part.
    fn small(&mut self, element: &DataElement<InMemDicomObject>) -> Result<(), Refusal> {
        let alone = InMemDicomObject::from_element_iter([element.clone()]);
        let unwritable =
            || Refusal::Unparsable(format!("attribute {} of the metadata", element.header().tag));
        let syntax = TransferSyntaxRegistry.get(EXPLICIT_LITTLE_ENDIAN).ok_or_else(unwritable)?;
        let written =
            alone.write_dataset_with_ts_cs(&mut self.encoded, syntax, SpecificCharacterSet::ISO_IR_192);
        written.map_err(|_| unwritable())
    }

    fn plain(&mut self, tag: Tag, vr: VR, content: &Content) -> Result<(), Refusal> {
        self.header(tag, vr, even(content.length())?)?;
        self.staged(content, padding(vr));
        Ok(())
    }

    /// PS3.5 A.4: an offset table, and one fragment for each frame.
    fn encapsulated(&mut self, tag: Tag, frames: &[Content]) -> Result<(), Refusal> {
        self.header(tag, VR::OB, UNDEFINED)?;
        let table = offset_table(frames);
        write_item_header(&mut self.encoded, ITEM, (table.len() * 4) as u32);
        self.encoded.extend(table.iter().flat_map(|offset| offset.to_le_bytes()));
        for frame in frames {
            write_item_header(&mut self.encoded, ITEM, even(frame.length())?);
            self.staged(frame, 0);
        }
        write_item_header(&mut self.encoded, SEQUENCE_DELIMITATION, 0);
        Ok(())
    }

    fn staged(&mut self, content: &Content, padding: u8) {
        self.done.push(Segment::Encoded(std::mem::take(&mut self.encoded)));
        self.done.push(Segment::Staged(content.clone()));
        if content.length() % 2 == 1 {
            self.encoded.push(padding);
        }
    }

    /// PS3.5 7.1.2.
    fn header(&mut self, tag: Tag, vr: VR, length: u32) -> Result<(), Refusal> {
        let limit = u64::from(u16::MAX);
        if has_short_length(vr) && u64::from(length) > limit {
            return Err(Refusal::LimitExceeded { what: "a value of a short VR", limit });
        }
        write_header(&mut self.encoded, tag, vr, Length(length));
        Ok(())
    }
}

/// Empty where one frame needs none, and where offsets pass 32 bits.
fn offset_table(frames: &[Content]) -> Vec<u32> {
    let mut offset = 0_u64;
    let offsets = frames.iter().map(|frame| {
        let at = u32::try_from(offset).ok();
        offset += 8 + frame.length().next_multiple_of(2);
        at
    });
    let offsets: Option<Vec<u32>> = offsets.collect();
    offsets.filter(|offsets| offsets.len() > 1).unwrap_or_default()
}

/// The length with padding; FFFFFFFEH is the longest that is defined.
fn even(length: u64) -> Result<u32, Refusal> {
    let limit = u64::from(UNDEFINED - 1);
    match length.next_multiple_of(2) {
        even if even <= limit => Ok(even as u32),
        _ => Err(Refusal::LimitExceeded { what: "the length of a value", limit }),
    }
}
