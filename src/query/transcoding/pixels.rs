//! Pixel Data of the object that is made: copied where it is native on both sides, otherwise
//! frame by frame through the codecs.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use dicom_core::header::Length;
use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;
use futures::stream::{self, StreamExt};

use super::{TranscodeError, attributes, stored};
use crate::db::Db;
use crate::dicom::reencode::{Edits, Form, ITEM, SEQUENCE_DELIMITATION, write_item_header};
use crate::dicom::uid::SopInstanceUid;
use crate::ingest::layout::PixelDataLayout;
use crate::query::decoding::Decodes;
use crate::query::stored_object::{Chunks, FrameBytes, StoredObject};
use crate::volume::pixels::encode::{Encoding, encode};
use crate::volume::pixels::{Colours, ImageDescription, PixelError, Raster};

/// Tag and length that end a sequence.
pub(super) const DELIMITER_BYTES: u64 = 8;

/// Frames in the making at a time, for one client.
const AHEAD: usize = 2;

pub(super) enum Pixels {
    None,
    Copied(Copied),
    /// Fragments as they are stored.
    Kept(Kept),
    Encoded(Box<Encoded>),
}

impl Pixels {
    /// Native to native: only the order of bytes may differ.
    pub(super) async fn copied(object: &Arc<StoredObject>, db: &Db) -> Result<Self, TranscodeError> {
        let Some(PixelDataLayout::Native { vr, offset, length, .. }) = &object.layout.pixel_data else {
            return Ok(Self::None);
        };
        let vr = if vr == "OB" { VR::OB } else { VR::OW };
        let range = *offset..offset + length;
        let swap = if object.is_big_endian() { object.pixel_unit(db).await? } else { 1 };
        Ok(Self::Copied(Copied { object: Arc::clone(object), vr, range, swap }))
    }

    /// Encapsulated as it is, from where its offset table begins.
    pub(super) fn kept(object: &Arc<StoredObject>, begin: u64) -> Self {
        match object.layout.pixel_data_range() {
            Some(range) => {
                let range = begin..range.end + DELIMITER_BYTES;
                Self::Kept(Kept { object: Arc::clone(object), range })
            }
            None => Self::None,
        }
    }

    pub(super) async fn encoded(
        object: &Arc<StoredObject>,
        db: &Db,
        decodes: &Decodes,
        encoding: Encoding,
    ) -> Result<Self, TranscodeError> {
        let attributes = object.attributes(db).await?;
        let codec = FrameCodec {
            image: Arc::new(ImageDescription::from_object(&attributes)?),
            object: Arc::clone(object),
            decodes: decodes.clone(),
            encoding,
        };
        let (raster, first) = codec.make(1).await?;
        let mut edits = attributes::image_pixel(&raster, encoding);
        attributes::keep_lossy(&mut edits, object.instance.transfer_syntax.as_str(), &attributes);
        let ratio = raster.native_length() as f64 / first.len().max(1) as f64;
        let sop_instance = match encoding.is_lossy() {
            true => attributes::derive(&mut edits, &object.instance, &attributes, encoding, ratio),
            false => None,
        };
        let frames = object.layout.frame_count();
        let encoded =
            Encoded { codec, first, frames, bits_allocated: raster.bits_allocated, edits, sop_instance };
        encoded.check(&raster)?;
        Ok(Self::Encoded(Box::new(encoded)))
    }

    pub(super) fn edits(&self) -> Edits {
        match self {
            Self::None | Self::Copied(_) | Self::Kept(_) => Edits::default(),
            Self::Encoded(encoded) => encoded.edits.clone(),
        }
    }

    /// Of a lossy copy.
    pub(super) fn sop_instance(&self) -> Option<&SopInstanceUid> {
        match self {
            Self::Encoded(encoded) => encoded.sop_instance.as_ref(),
            Self::None | Self::Copied(_) | Self::Kept(_) => None,
        }
    }

    /// Of the element with its header; unknown until every frame is compressed.
    pub(super) fn length(&self, form: Form) -> Option<u64> {
        match self {
            Self::None => Some(0),
            Self::Copied(copied) => {
                let length = copied.range.end - copied.range.start;
                Some(header_bytes(form) + length + length % 2)
            }
            Self::Kept(kept) => Some(header_bytes(form) + kept.range.end - kept.range.start),
            Self::Encoded(encoded) => encoded.length(form),
        }
    }

    pub(super) fn stream(self, form: Form) -> Chunks {
        match self {
            Self::None => stream::empty().boxed(),
            Self::Copied(copied) => copied.stream(form),
            Self::Kept(kept) => {
                let header = pixel_data_header(form, VR::OB, Length::UNDEFINED);
                bytes(header).chain(stored(kept.object, kept.range, 1)).boxed()
            }
            Self::Encoded(encoded) => encoded.stream(form),
        }
    }
}

pub(super) struct Copied {
    object: Arc<StoredObject>,
    vr: VR,
    range: Range<u64>,
    swap: usize,
}

impl Copied {
    fn stream(self, form: Form) -> Chunks {
        let length = self.range.end - self.range.start;
        let padding = length % 2;
        let header = pixel_data_header(form, self.vr, Length((length + padding) as u32));
        let value = stored(self.object, self.range, self.swap);
        let padding = Bytes::from_static(&[0]).slice(..padding as usize);
        bytes(header).chain(value).chain(bytes(padding)).boxed()
    }
}

/// The value of Pixel Data with its delimiter.
pub(super) struct Kept {
    object: Arc<StoredObject>,
    range: Range<u64>,
}

pub(super) struct Encoded {
    codec: FrameCodec,
    first: Bytes,
    frames: u64,
    bits_allocated: u16,
    edits: Edits,
    sop_instance: Option<SopInstanceUid>,
}

impl Encoded {
    /// What a native element cannot hold is refused before anything of it is sent.
    fn check(&self, raster: &Raster) -> Result<(), TranscodeError> {
        if self.codec.encoding != Encoding::Native {
            return Ok(());
        }
        // Frames of single bits follow each other without padding (PS3.5 8.1.1).
        if raster.bits_allocated == 1 && self.frames > 1 && !raster.samples().is_multiple_of(8) {
            return Err(TranscodeError::LooseBits);
        }
        let length = self.native_length();
        if length < u64::from(u32::MAX) - 1 { Ok(()) } else { Err(TranscodeError::TooLong(length)) }
    }

    fn native_length(&self) -> u64 {
        self.frames * self.first.len() as u64
    }

    fn length(&self, form: Form) -> Option<u64> {
        let native = self.native_length();
        match (self.codec.encoding, self.frames) {
            (Encoding::Native, _) => Some(header_bytes(form) + native + native % 2),
            // Header, an empty offset table, one item, the delimiter.
            (_, 1) => Some(header_bytes(form) + 8 + 8 + self.first.len() as u64 + DELIMITER_BYTES),
            _ => None,
        }
    }

    fn stream(self, form: Form) -> Chunks {
        let native = self.native_length();
        let Self { codec, first, frames, bits_allocated, .. } = self;
        let is_native = codec.encoding == Encoding::Native;
        let rest = stream::iter(2..=frames).map(move |number| {
            let codec = codec.clone();
            async move { codec.make(number).await.map(|(_, frame)| frame).map_err(io::Error::other) }
        });
        let made = stream::iter([Ok(first)]).chain(rest.buffered(AHEAD));
        if is_native {
            let vr = if bits_allocated > 8 { VR::OW } else { VR::OB };
            let header = pixel_data_header(form, vr, Length((native + native % 2) as u32));
            let padding = Bytes::from_static(&[0]).slice(..(native % 2) as usize);
            return bytes(header).chain(made).chain(bytes(padding)).boxed();
        }
        let mut header = pixel_data_header(form, VR::OB, Length::UNDEFINED).to_vec();
        write_item_header(&mut header, ITEM, 0);
        let items = made.map(|frame| frame.map(|frame| [item(ITEM, frame.len()), frame]));
        let items = items.map(|item| match item {
            Ok(parts) => stream::iter(Vec::from(parts.map(Ok))),
            Err(error) => stream::iter(vec![Err(error)]),
        });
        let end = item(SEQUENCE_DELIMITATION, 0);
        bytes(header.into()).chain(items.flatten()).chain(bytes(end)).boxed()
    }
}

fn pixel_data_header(form: Form, vr: VR, length: Length) -> Bytes {
    let mut bytes = Vec::with_capacity(12);
    form.write_header(&mut bytes, tags::PIXEL_DATA, vr, length);
    bytes.into()
}

/// Of Pixel Data, whose VR has a length of 32 bits (PS3.5 7.1.2).
fn header_bytes(form: Form) -> u64 {
    match form {
        Form::Explicit => 12,
        Form::Implicit => 8,
    }
}

fn item(tag: Tag, length: usize) -> Bytes {
    let mut bytes = Vec::with_capacity(8);
    write_item_header(&mut bytes, tag, length as u32);
    bytes.into()
}

fn bytes(bytes: Bytes) -> Chunks {
    stream::iter([Ok(bytes)]).boxed()
}

/// Reads, decodes and encodes single frames.
#[derive(Clone)]
struct FrameCodec {
    object: Arc<StoredObject>,
    image: Arc<ImageDescription>,
    decodes: Decodes,
    encoding: Encoding,
}

impl FrameCodec {
    async fn make(&self, number: u64) -> Result<(Raster, Bytes), TranscodeError> {
        let stored = self.stored(number).await?;
        let (image, encoding) = (Arc::clone(&self.image), self.encoding);
        let syntax = self.object.instance.transfer_syntax.clone();
        let work = move || {
            let raster = Raster::decode(&image, stored.encoded(syntax.as_str()), Colours::Decoded)?;
            let bytes = encode(&raster, encoding)?;
            Ok::<_, PixelError>((raster, Bytes::from(bytes)))
        };
        Ok(self.decodes.run(work).await??)
    }

    async fn stored(&self, number: u64) -> Result<FrameBytes, TranscodeError> {
        self.object.frame(number).await?.ok_or(TranscodeError::NoPixelData)
    }
}
