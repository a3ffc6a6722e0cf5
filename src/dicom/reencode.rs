//! A data set in little endian, with the VR of its elements or without, whatever it is stored in
//! (PS3.5 7.1, A.1 to A.4).
//!
//! Only element headers are written anew. Values are copied, text in its own character set, and
//! large ones are named by their place in the stored file, so that an object of any size is
//! re-encoded in the memory of its header. Lengths change with the headers: sequences and items
//! come out with undefined length, group lengths are left out.

mod edits;
mod rewrite;
mod sparse;

use std::ops::Range;

use dicom_core::dictionary::{DataDictionary, VirtualVr};
use dicom_core::header::{DataElementHeader, Length, SequenceItemHeader};
use dicom_core::{Tag, VR};
use dicom_dictionary_std::uids::IMPLICIT_VR_LITTLE_ENDIAN;
use dicom_dictionary_std::{StandardDataDictionary, tags};
use dicom_encoding::decode::DecodeFrom;
use dicom_encoding::decode::implicit_le::ImplicitVRLittleEndianDecoder;
use dicom_encoding::encode::Encode;
use dicom_encoding::encode::explicit_le::ExplicitVRLittleEndianEncoder;
use dicom_encoding::transfer_syntax::{Endianness, TransferSyntax};

pub use edits::Edits;
pub use rewrite::{Fate, Rewrite, Seen};
pub use sparse::Sparse;

/// What holds items together (PS3.5 7.5).
pub const ITEM: Tag = Tag(0xFFFE, 0xE000);
pub const ITEM_DELIMITATION: Tag = Tag(0xFFFE, 0xE00D);
pub const SEQUENCE_DELIMITATION: Tag = Tag(0xFFFE, 0xE0DD);

/// A run of the data set on its way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    Bytes(Vec<u8>),
    /// A value of the stored data set, in units of `swap` bytes that are to be reversed.
    Stored {
        range: Range<u64>,
        swap: usize,
    },
    /// Here Pixel Data goes, element header included.
    PixelData,
}

/// How the data set is stored.
pub struct Source<'a> {
    pub data: &'a Sparse,
    pub syntax: &'static TransferSyntax,
    /// The value of Pixel Data, up to the end of its sequence delimiter where it has one.
    pub pixel_data: Option<Range<u64>>,
    /// Pixel Representation: what an implicit VR of "US or SS" means.
    pub signed: bool,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ReencodeError {
    #[error("the data set ends within the element at byte {0}")]
    Truncated(u64),
    #[error("the element header at byte {0} cannot be read")]
    Header(u64),
    #[error("the sequence at byte {0} holds something else than items")]
    Item(u64),
    #[error("sequences are nested more than {DEPTH_MAX} deep")]
    Depth,
}

/// More than what is taken in: only damaged bytes come here.
const DEPTH_MAX: usize = 128;

/// Longer values do not fit the 16-bit length of most VRs and become UN (PS3.5 6.2.2).
const SHORT_LENGTH_MAX: u32 = 0xFFFE;

/// Whether elements say their VR (PS3.5 7.1.2) or not (7.1.3). What peers must take is implicit
/// (PS3.5 10.1), and nothing else is sent so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Explicit,
    Implicit,
}

pub fn little_endian(source: &Source<'_>, edits: &Edits, form: Form) -> Result<Vec<Piece>, ReencodeError> {
    let mut walker = Walker::new(source, form);
    walker.root(edits)?;
    walker.flush();
    Ok(walker.pieces)
}

/// In explicit VR; what `edits` does not name at the root, `rewrite` decides about. With the pieces comes
/// where the stored value of Pixel Data begins, its offset table included.
pub fn rewritten(
    source: &Source<'_>,
    edits: &Edits,
    rewrite: &mut dyn Rewrite,
) -> Result<(Vec<Piece>, Option<u64>), ReencodeError> {
    let mut walker = Walker::new(source, Form::Explicit);
    walker.rewrite = Some(rewrite);
    walker.root(edits)?;
    walker.flush();
    Ok((walker.pieces, walker.pixel_data_at))
}

type Decoder<'a> = Box<dyn DecodeFrom<&'a [u8]>>;

struct Walker<'a> {
    source: &'a Source<'a>,
    form: Form,
    stored: Decoder<'a>,
    implicit: Decoder<'a>,
    position: u64,
    pieces: Vec<Piece>,
    /// What comes behind the pieces.
    bytes: Vec<u8>,
    depth: usize,
    rewrite: Option<&'a mut dyn Rewrite>,
    pixel_data_at: Option<u64>,
}

/// Whose rules the element headers of a data set follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Headers {
    Stored,
    /// Within a value of VR UN and undefined length (PS3.5 6.2.2).
    Implicit,
}

impl<'a> Walker<'a> {
    fn new(source: &'a Source<'a>, form: Form) -> Self {
        let implicit = || Box::new(ImplicitVRLittleEndianDecoder::with_std_dict());
        let stored = source.syntax.decoder_for().unwrap_or_else(|| implicit() as Decoder<'a>);
        Self {
            source,
            form,
            stored,
            implicit: implicit(),
            position: 0,
            pieces: Vec::new(),
            bytes: Vec::new(),
            depth: 0,
            rewrite: None,
            pixel_data_at: None,
        }
    }

    fn root(&mut self, edits: &Edits) -> Result<(), ReencodeError> {
        let mut written = edits.written(self.form);
        while self.position < self.source.data.length() {
            let header = self.header(Headers::Stored)?;
            written.copy_up_to(header.tag, &mut self.bytes);
            if edits.touches(header.tag) {
                self.pass(header)?;
            } else if header.tag == tags::PIXEL_DATA {
                self.pixel_data_at = Some(self.position);
                self.push(Piece::PixelData);
                self.position = self.source.pixel_data.as_ref().map_or(self.position, |range| range.end);
            } else {
                self.element(header, Headers::Stored)?;
            }
        }
        written.copy_rest(&mut self.bytes);
        Ok(())
    }

    /// Goes past a value that is replaced.
    fn pass(&mut self, header: DataElementHeader) -> Result<(), ReencodeError> {
        self.pass_in(header, Headers::Stored)
    }

    fn pass_in(&mut self, header: DataElementHeader, headers: Headers) -> Result<(), ReencodeError> {
        let kept = (std::mem::take(&mut self.pieces), std::mem::take(&mut self.bytes));
        let rewrite = self.rewrite.take();
        let passed = self.copied(header, headers);
        self.rewrite = rewrite;
        (self.pieces, self.bytes) = kept;
        passed
    }

    fn header(&mut self, headers: Headers) -> Result<DataElementHeader, ReencodeError> {
        let mut rest = self.source.data.from(self.position).ok_or(ReencodeError::Truncated(self.position))?;
        let decoder = match headers {
            Headers::Stored => &self.stored,
            Headers::Implicit => &self.implicit,
        };
        let (header, size) =
            decoder.decode_header(&mut rest).map_err(|_| ReencodeError::Header(self.position))?;
        self.position += size as u64;
        Ok(DataElementHeader { vr: self.resolved(header, headers), ..header })
    }

    /// Implicit VR: what the dictionary leaves open, the object decides.
    fn resolved(&self, header: DataElementHeader, headers: Headers) -> VR {
        let implicit = headers == Headers::Implicit || self.source.syntax.uid() == IMPLICIT_VR_LITTLE_ENDIAN;
        let either = || {
            let entry = StandardDataDictionary.by_tag(header.tag);
            entry.is_some_and(|entry| entry.vr == VirtualVr::Xs)
        };
        if implicit && self.source.signed && either() { VR::SS } else { header.vr }
    }

    fn element(&mut self, header: DataElementHeader, headers: Headers) -> Result<(), ReencodeError> {
        match self.fate(header) {
            Fate::Keep => return self.copied(header, headers),
            Fate::Remove => {}
            Fate::Value(vr, mut value) => {
                if value.len() % 2 == 1 {
                    value.push(padding(vr));
                }
                self.write_header(header.tag, vr, Length(value.len() as u32));
                self.bytes.extend_from_slice(&value);
            }
            Fate::Encoded(element) => self.bytes.extend_from_slice(&element),
        }
        self.pass_in(header, headers)
    }

    fn fate(&mut self, header: DataElementHeader) -> Fate {
        let Some(rewrite) = &mut self.rewrite else { return Fate::Keep };
        let length = header.len.get();
        let range = length.map(|length| self.position..self.position + u64::from(length));
        let value = range.filter(|_| header.vr != VR::SQ);
        let value = value.and_then(|range| self.source.data.get(&range));
        rewrite.fate(&Seen { tag: header.tag, vr: header.vr, value, length })
    }

    fn copied(&mut self, header: DataElementHeader, headers: Headers) -> Result<(), ReencodeError> {
        match (header.vr, header.len.get()) {
            _ if header.tag.element() == 0 => self.skip(header.len),
            (VR::UN, None) => self.sequence(header, Headers::Implicit),
            (VR::SQ, _) => self.sequence(header, headers),
            (_, None) => self.fragments(header),
            _ => self.value(header, headers),
        }
    }

    fn skip(&mut self, length: Length) -> Result<(), ReencodeError> {
        self.position += u64::from(length.get().ok_or(ReencodeError::Header(self.position))?);
        Ok(())
    }

    fn sequence(&mut self, header: DataElementHeader, headers: Headers) -> Result<(), ReencodeError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(ReencodeError::Depth);
        }
        let end = self.end(header.len);
        self.write_header(header.tag, VR::SQ, Length::UNDEFINED);
        if let Some(rewrite) = &mut self.rewrite {
            rewrite.enter(header.tag);
        }
        while end.is_none_or(|end| self.position < end) {
            match self.item_header(headers)? {
                SequenceItemHeader::Item { len } => self.item(len, headers)?,
                SequenceItemHeader::ItemDelimiter => {}
                SequenceItemHeader::SequenceDelimiter => break,
            }
        }
        if let Some(rewrite) = &mut self.rewrite {
            rewrite.leave();
        }
        self.delimiter(SEQUENCE_DELIMITATION);
        self.depth -= 1;
        Ok(())
    }

    fn item_header(&mut self, headers: Headers) -> Result<SequenceItemHeader, ReencodeError> {
        let mut rest = self.source.data.from(self.position).ok_or(ReencodeError::Truncated(self.position))?;
        let decoder = match headers {
            Headers::Stored => &self.stored,
            Headers::Implicit => &self.implicit,
        };
        let item = decoder.decode_item_header(&mut rest).map_err(|_| ReencodeError::Item(self.position))?;
        self.position += 8;
        Ok(item)
    }

    fn item(&mut self, length: Length, headers: Headers) -> Result<(), ReencodeError> {
        let end = self.end(length);
        self.delimiter_with(ITEM, u32::MAX);
        if let Some(rewrite) = &mut self.rewrite {
            rewrite.begin_item();
        }
        while end.is_none_or(|end| self.position < end) {
            let header = self.header(headers)?;
            if header.tag == ITEM_DELIMITATION {
                break;
            }
            self.element(header, headers)?;
        }
        self.delimiter(ITEM_DELIMITATION);
        Ok(())
    }

    fn end(&self, length: Length) -> Option<u64> {
        length.get().map(|length| self.position + u64::from(length))
    }

    /// Encapsulated pixel data within an item, as of an icon: copied fragment by fragment.
    fn fragments(&mut self, header: DataElementHeader) -> Result<(), ReencodeError> {
        self.write_header(header.tag, header.vr, Length::UNDEFINED);
        loop {
            match self.item_header(Headers::Stored)? {
                SequenceItemHeader::Item { len } => {
                    let length = len.get().ok_or(ReencodeError::Item(self.position))?;
                    self.delimiter_with(ITEM, length);
                    self.copy(length, 1)?;
                }
                SequenceItemHeader::ItemDelimiter => return Err(ReencodeError::Item(self.position)),
                SequenceItemHeader::SequenceDelimiter => break,
            }
        }
        self.delimiter(SEQUENCE_DELIMITATION);
        Ok(())
    }

    fn value(&mut self, header: DataElementHeader, headers: Headers) -> Result<(), ReencodeError> {
        let length = header.len.get().ok_or(ReencodeError::Header(self.position))?;
        let is_odd = length % 2 == 1 && length < u32::MAX - 1;
        let written = if is_odd { length + 1 } else { length };
        let is_too_long = written > SHORT_LENGTH_MAX && has_short_length(header.vr);
        let vr = if is_too_long && self.form == Form::Explicit { VR::UN } else { header.vr };
        self.write_header(header.tag, vr, Length(written));
        let is_big = headers == Headers::Stored && self.source.syntax.endianness() == Endianness::Big;
        self.copy(length, if is_big { swap_unit(header.vr) } else { 1 })?;
        if is_odd {
            self.bytes.push(padding(header.vr));
        }
        Ok(())
    }

    fn copy(&mut self, length: u32, swap: usize) -> Result<(), ReencodeError> {
        let range = self.position..self.position + u64::from(length);
        if range.end > self.source.data.length() {
            return Err(ReencodeError::Truncated(self.position));
        }
        self.position = range.end;
        match self.source.data.get(&range) {
            Some(value) => {
                let start = self.bytes.len();
                self.bytes.extend_from_slice(value);
                reverse_units(&mut self.bytes[start..], swap);
            }
            None => self.push(Piece::Stored { range, swap }),
        }
        Ok(())
    }

    fn write_header(&mut self, tag: Tag, vr: VR, length: Length) {
        self.form.write_header(&mut self.bytes, tag, vr, length);
    }

    fn delimiter(&mut self, tag: Tag) {
        self.delimiter_with(tag, 0);
    }

    fn delimiter_with(&mut self, tag: Tag, length: u32) {
        write_item_header(&mut self.bytes, tag, length);
    }

    fn push(&mut self, piece: Piece) {
        self.flush();
        self.pieces.push(piece);
    }

    fn flush(&mut self) {
        if !self.bytes.is_empty() {
            self.pieces.push(Piece::Bytes(std::mem::take(&mut self.bytes)));
        }
    }
}

impl Form {
    /// The header of an element; where its VR is told, the length must fit it.
    pub fn write_header(self, bytes: &mut Vec<u8>, tag: Tag, vr: VR, length: Length) {
        match self {
            Self::Explicit => write_header(bytes, tag, vr, length),
            Self::Implicit => write_item_header(bytes, tag, length.0),
        }
    }
}

/// The header of an element in Explicit VR Little Endian; the length must fit the VR.
pub fn write_header(bytes: &mut Vec<u8>, tag: Tag, vr: VR, length: Length) {
    let header = DataElementHeader::new(tag, vr, length);
    // Writing to memory fails on nothing but a length that the VR cannot have.
    let _ = ExplicitVRLittleEndianEncoder::default().encode_element_header(bytes, header);
}

/// An item or a delimiter (PS3.5 7.5), or an element without its VR.
pub fn write_item_header(bytes: &mut Vec<u8>, tag: Tag, length: u32) {
    bytes.extend_from_slice(&tag.group().to_le_bytes());
    bytes.extend_from_slice(&tag.element().to_le_bytes());
    bytes.extend_from_slice(&length.to_le_bytes());
}

/// VRs whose length has 16 bits (PS3.5 7.1.2).
pub fn has_short_length(vr: VR) -> bool {
    use VR::*;
    matches!(
        vr,
        AE | AS
            | AT
            | CS
            | DA
            | DS
            | DT
            | FL
            | FD
            | IS
            | LO
            | LT
            | PN
            | SH
            | SL
            | SS
            | ST
            | TM
            | UI
            | UL
            | US
    )
}

/// Bytes of one number, whose order depends on the transfer syntax (PS3.5 7.3).
pub fn swap_unit(vr: VR) -> usize {
    match vr {
        VR::US | VR::SS | VR::OW | VR::AT => 2,
        VR::UL | VR::SL | VR::FL | VR::OL | VR::OF => 4,
        VR::FD | VR::UV | VR::SV | VR::OD | VR::OV => 8,
        _ => 1,
    }
}

pub fn reverse_units(bytes: &mut [u8], unit: usize) {
    if unit > 1 {
        bytes.chunks_exact_mut(unit).for_each(<[u8]>::reverse);
    }
}

/// PS3.5 6.2: what makes a value of this VR even.
pub fn padding(vr: VR) -> u8 {
    use VR::*;
    match vr {
        AE | AS | CS | DA | DS | DT | IS | LO | LT | PN | SH | ST | TM | UC | UR | UT => b' ',
        _ => 0,
    }
}

#[cfg(test)]
mod tests;
