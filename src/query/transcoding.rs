//! A stored object in another transfer syntax, streamed: its header re-encoded, large values
//! copied from the file, pixel data copied or made frame by frame.
//!
//! The first frame is made before anything is given out, so that what cannot be made is refused
//! in time. Compressed pixel data go out with an empty Basic Offset Table and one fragment per
//! frame (PS3.5 A.4): offsets would be known only after the last frame.

mod attributes;
mod deflate;
mod pixels;
mod rewritten;

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use dicom_dictionary_std::uids;
use dicom_encoding::TransferSyntaxIndex;
use dicom_transfer_syntax_registry::TransferSyntaxRegistry;
use futures::stream::{self, StreamExt, TryStreamExt};

use super::decoding::{Decodes, DecodesError};
use super::stored_object::{Chunks, ReadError, StoredObject};
use crate::db::Db;
use crate::dicom::file_meta;
use crate::dicom::reencode::{self, Edits, Form, Piece, ReencodeError, Rewrite, Source, reverse_units};
use crate::dicom::uid::{SopInstanceUid, TransferSyntaxUid};
use crate::ingest::layout::PixelDataLayout;
use crate::volume::attributes::integer;
use crate::volume::pixels::PixelError;
use crate::volume::pixels::encode::Encoding;

use pixels::Pixels;

pub use rewritten::Rewritten;

/// An object on its way out, a whole Part 10 file.
pub struct Transcoded {
    pub transfer_syntax: TransferSyntaxUid,
    /// Unknown while frames are still to be compressed.
    pub length: Option<u64>,
    pub content: Chunks,
}

/// A data set on its way out.
pub struct TranscodedDataSet {
    pub transfer_syntax: TransferSyntaxUid,
    /// Other than the stored one for a lossy copy.
    pub sop_instance: SopInstanceUid,
    /// Unknown while frames are still to be compressed.
    pub length: Option<u64>,
    pub content: Chunks,
}

#[derive(Debug, thiserror::Error)]
pub enum TranscodeError {
    #[error("transfer syntax {0} cannot be made")]
    NoEncoder(String),
    #[error("an object without integer pixel data has no compressed form")]
    NoPixelData,
    #[error("the pixel data would take {0} bytes, more than a native element holds")]
    TooLong(u64),
    #[error("frames of single bits that do not fill their last byte cannot be joined")]
    LooseBits,
    #[error("the data set cannot be re-encoded")]
    DataSet(#[from] ReencodeError),
    #[error("a frame cannot be transcoded")]
    Pixels(#[from] PixelError),
    #[error("the stored object cannot be read")]
    Read(#[from] ReadError),
    #[error("the codecs do not run")]
    Codecs(#[from] DecodesError),
}

impl TranscodeError {
    /// Whether the object has no such form, rather than that we failed.
    pub fn is_about_the_object(&self) -> bool {
        match self {
            Self::Read(ReadError::LargeFrame(_)) => true,
            Self::Read(_) | Self::Codecs(_) => false,
            _ => true,
        }
    }
}

/// Whether the frames of a syntax need not be what the modality saw.
pub fn is_lossy(transfer_syntax: &str) -> bool {
    attributes::is_lossy(transfer_syntax)
}

/// Makes objects in other transfer syntaxes.
#[derive(Clone, Copy)]
pub struct Transcoder<'a> {
    pub db: &'a Db,
    pub decodes: &'a Decodes,
}

impl Transcoder<'_> {
    pub async fn transcode(
        &self,
        object: StoredObject,
        transfer_syntax: &str,
    ) -> Result<Transcoded, TranscodeError> {
        let sop_class = object.instance.sop_class.clone();
        let data_set = self.data_set(object, transfer_syntax).await?;
        let TranscodedDataSet { transfer_syntax, sop_instance, length, content } = data_set;
        let meta = Bytes::from(file_meta::write(&sop_class, &sop_instance, &transfer_syntax));
        let length = length.map(|length| length + meta.len() as u64);
        let content = stream::iter([Ok(meta)]).chain(content).boxed();
        Ok(Transcoded { transfer_syntax, length, content })
    }

    /// What goes over an association: no file meta information (PS3.7 9.1.1).
    pub async fn data_set(
        &self,
        object: StoredObject,
        transfer_syntax: &str,
    ) -> Result<TranscodedDataSet, TranscodeError> {
        let unknown = || TranscodeError::NoEncoder(transfer_syntax.to_owned());
        let (form, encoding) = match transfer_syntax {
            uids::IMPLICIT_VR_LITTLE_ENDIAN => (Form::Implicit, Encoding::Native),
            other => (Form::Explicit, Encoding::of(other).ok_or_else(unknown)?),
        };
        let target: TransferSyntaxUid = transfer_syntax.parse().map_err(|_| unknown())?;
        let object = Arc::new(object);
        let pixels = self.pixels(&object, encoding).await?;
        let pieces = self.pieces(&object, pixels.edits(), form).await?;
        let sop_instance = pixels.sop_instance().unwrap_or(&object.instance.sop_instance).clone();
        let data_set = DataSet { object, pieces, pixels, form };
        let is_deflated = transfer_syntax == uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN;
        let length = if is_deflated { None } else { data_set.length() };
        let content = if is_deflated { deflate::deflated(data_set.stream()) } else { data_set.stream() };
        Ok(TranscodedDataSet { transfer_syntax: target, sop_instance, length, content })
    }

    async fn pixels(&self, object: &Arc<StoredObject>, encoding: Encoding) -> Result<Pixels, TranscodeError> {
        let is_float = object.layout.bulk("7FE00008").or(object.layout.bulk("7FE00009")).is_some();
        match (&object.layout.pixel_data, encoding) {
            (Some(PixelDataLayout::Native { .. }), Encoding::Native) if !is_float => {
                Pixels::copied(object, self.db).await
            }
            (Some(_), _) if !is_float => Pixels::encoded(object, self.db, self.decodes, encoding).await,
            (_, Encoding::Native) => Ok(Pixels::None),
            _ => Err(TranscodeError::NoPixelData),
        }
    }

    /// The data set in pieces, made where computing is allowed.
    async fn pieces(
        &self,
        object: &StoredObject,
        edits: Edits,
        form: Form,
    ) -> Result<Vec<Piece>, TranscodeError> {
        self.walked(object, move |source| reencode::little_endian(source, &edits, form)).await
    }

    async fn walked<T, W>(&self, object: &StoredObject, walk: W) -> Result<T, TranscodeError>
    where
        T: Send + 'static,
        W: FnOnce(&Source<'_>) -> Result<T, ReencodeError> + Send + 'static,
    {
        let data = object.header().await?;
        let signed =
            integer(&object.attributes(self.db).await?, dicom_dictionary_std::tags::PIXEL_REPRESENTATION);
        let uid = match object.layout.deflated {
            true => uids::EXPLICIT_VR_LITTLE_ENDIAN,
            false => object.instance.transfer_syntax.as_str(),
        };
        let known = TransferSyntaxRegistry.get(uid);
        let syntax = known.or_else(|| TransferSyntaxRegistry.get(uids::EXPLICIT_VR_LITTLE_ENDIAN));
        let syntax = syntax.ok_or_else(|| TranscodeError::NoEncoder(uid.to_owned()))?;
        let delimiter = if object.is_encapsulated() { pixels::DELIMITER_BYTES } else { 0 };
        let pixel_data = object.layout.pixel_data_range().map(|range| range.start..range.end + delimiter);
        let work = move || {
            let source = Source { data: &data, syntax, pixel_data, signed: signed == Some(1) };
            walk(&source)
        };
        Ok(self.decodes.run(work).await??)
    }
}

/// A data set that is ready to go.
struct DataSet {
    object: Arc<StoredObject>,
    pieces: Vec<Piece>,
    pixels: Pixels,
    form: Form,
}

impl DataSet {
    fn length(&self) -> Option<u64> {
        let length = |piece: &Piece| match piece {
            Piece::Bytes(bytes) => Some(bytes.len() as u64),
            Piece::Stored { range, .. } => Some(range.end - range.start),
            Piece::PixelData => self.pixels.length(self.form),
        };
        self.pieces.iter().map(length).sum()
    }

    fn stream(self) -> Chunks {
        let Self { object, pieces, pixels, form } = self;
        let mut pixels = Some(pixels);
        let streams: Vec<Chunks> = pieces
            .into_iter()
            .map(|piece| match piece {
                Piece::Bytes(bytes) => stream::iter([Ok(bytes.into())]).boxed(),
                Piece::Stored { range, swap } => stored(Arc::clone(&object), range, swap),
                // It stands at the root, once.
                Piece::PixelData => {
                    pixels.take().map_or_else(|| stream::empty().boxed(), |pixels| pixels.stream(form))
                }
            })
            .collect();
        stream::iter(streams).flatten().boxed()
    }
}

/// A stored value, opened when its turn comes.
fn stored(object: Arc<StoredObject>, range: std::ops::Range<u64>, swap: usize) -> Chunks {
    let opened = async move { object.stream(vec![range]).await.map_err(io::Error::other) };
    swapped(stream::once(opened).try_flatten().boxed(), swap)
}

/// Reverses units of bytes, which chunks may cut.
pub fn swapped(chunks: Chunks, unit: usize) -> Chunks {
    if unit <= 1 {
        return chunks;
    }
    let mut carried = Vec::new();
    let whole = move |chunk: Bytes| {
        carried.extend_from_slice(&chunk);
        let rest = carried.split_off(carried.len() - carried.len() % unit);
        let mut units = std::mem::replace(&mut carried, rest);
        reverse_units(&mut units, unit);
        Bytes::from(units)
    };
    chunks.map_ok(whole).boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn units_are_reversed_wherever_chunks_cut_them() {
        for size in 1..8 {
            let bytes: Vec<u8> = (0..8).collect();
            let chunks: Vec<_> = bytes.chunks(size).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
            let out: Vec<Bytes> = swapped(stream::iter(chunks).boxed(), 4).try_collect().await.unwrap();
            assert_eq!(out.concat(), [3, 2, 1, 0, 7, 6, 5, 4], "{size}");
        }
    }
}
