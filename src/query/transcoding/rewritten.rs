//! An object with other attributes: every element was asked about, pixel data are as they were.

use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::sync::Arc;

use bytes::Bytes;
use dicom_dictionary_std::uids;
use dicom_encoding::TransferSyntaxIndex;
use dicom_transfer_syntax_registry::TransferSyntaxRegistry;
use futures::stream::{self, StreamExt};
use serde_json::{Map, Value};

use super::{DataSet, Edits, Form, Piece, Pixels, Rewrite, TranscodeError, Transcoded, Transcoder, reencode};
use crate::dicom::uid::SopInstanceUid;
use crate::dicom::{file_meta, header, json};
use crate::query::stored_object::StoredObject;

/// A Part 10 file, and what its attributes say now.
pub struct Rewritten {
    pub file: Transcoded,
    /// DICOM JSON without pixel data and large values.
    pub attributes: Map<String, Value>,
}

/// Of the header that was just written: it has passed those of ingest.
const LIMITS: header::Limits = header::Limits {
    inline_bytes_max: 1 << 10,
    header_bytes_max: 1 << 30,
    depth_max: 128,
    elements_max: usize::MAX,
    fragments_max: 0,
};

impl Transcoder<'_> {
    /// Encapsulated pixel data stay in their transfer syntax, everything else becomes Explicit VR
    /// Little Endian.
    pub async fn rewrite<R: Rewrite + Send + 'static>(
        &self,
        object: StoredObject,
        sop_instance: SopInstanceUid,
        edits: Edits,
        mut rewrite: R,
    ) -> Result<Rewritten, TranscodeError> {
        let stored = object.instance.transfer_syntax.clone();
        let explicit = uids::EXPLICIT_VR_LITTLE_ENDIAN;
        let native = || explicit.parse().map_err(|_| TranscodeError::NoEncoder(explicit.to_owned()));
        let transfer_syntax = if object.is_encapsulated() { stored } else { native()? };
        let object = Arc::new(object);
        let walk = move |source: &reencode::Source<'_>| {
            let (pieces, pixel_data_at) = reencode::rewritten(source, &edits, &mut rewrite)?;
            Ok(attributes(&pieces).map(|attributes| (pieces, pixel_data_at, attributes)))
        };
        let walked = self.walked(&object, walk).await?;
        let (pieces, pixel_data_at, attributes) = walked.map_err(|_| reencode::ReencodeError::Header(0))?;
        let pixels = match (object.is_encapsulated(), pixel_data_at) {
            (true, Some(begin)) => Pixels::kept(&object, begin),
            _ => Pixels::copied(&object, self.db).await?,
        };
        let sop_class = object.instance.sop_class.clone();
        let meta = Bytes::from(file_meta::write(&sop_class, &sop_instance, &transfer_syntax));
        let data_set = DataSet { object, pieces, pixels, form: Form::Explicit };
        let length = data_set.length().map(|length| length + meta.len() as u64);
        let content = stream::iter([Ok(meta)]).chain(data_set.stream()).boxed();
        Ok(Rewritten { file: Transcoded { transfer_syntax, length, content }, attributes })
    }
}

/// What stands in front of the pixel data, as JSON.
fn attributes(pieces: &[Piece]) -> Result<Map<String, Value>, header::HeaderError> {
    let missing = || header::HeaderError::Parse("no transfer syntax".to_owned());
    let syntax = TransferSyntaxRegistry.get(uids::EXPLICIT_VR_LITTLE_ENDIAN).ok_or_else(missing)?;
    let read = header::read(&mut BufReader::new(Written::new(pieces)), syntax, LIMITS)?;
    Ok(json::object(&read.elements, &[]))
}

/// Pieces up to the pixel data as one file, in which large values are zeros.
struct Written<'a> {
    pieces: Vec<(u64, &'a Piece)>,
    length: u64,
    position: u64,
}

impl<'a> Written<'a> {
    fn new(pieces: &'a [Piece]) -> Self {
        let mut length = 0;
        let until = pieces.iter().take_while(|piece| !matches!(piece, Piece::PixelData));
        let placed = until.map(|piece| {
            let begin = length;
            length += match piece {
                Piece::Bytes(bytes) => bytes.len() as u64,
                Piece::Stored { range, .. } => range.end - range.start,
                Piece::PixelData => 0,
            };
            (begin, piece)
        });
        let pieces: Vec<_> = placed.collect();
        let filled = |at: usize| pieces.get(at + 1).map_or(length, |(next, _)| *next);
        let pieces =
            (0..pieces.len()).filter(|at| filled(*at) > pieces[*at].0).map(|at| pieces[at]).collect();
        Self { pieces, length, position: 0 }
    }
}

impl Read for Written<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = self.length.saturating_sub(self.position);
        let after = self.pieces.partition_point(|(begin, _)| *begin <= self.position);
        let Some((begin, piece)) = after.checked_sub(1).map(|at| self.pieces[at]).filter(|_| left > 0) else {
            return Ok(0);
        };
        let inside = (self.position - begin) as usize;
        let count = match piece {
            Piece::Bytes(bytes) => (&bytes[inside.min(bytes.len())..]).read(into)?,
            Piece::Stored { range, .. } => {
                let count = (range.end - range.start - inside as u64).min(into.len() as u64) as usize;
                into[..count].fill(0);
                count
            }
            Piece::PixelData => 0,
        };
        self.position += count as u64;
        Ok(count)
    }
}

impl Seek for Written<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(by) => self.length.checked_add_signed(by),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}
