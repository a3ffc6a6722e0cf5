//! A data set without its bulk: every element in memory except large binary values and pixel
//! data, of which only the place in the file is kept.

mod value;

use std::io::{self, BufRead, Read, Seek, SeekFrom};

use dicom_core::header::DataElementHeader;
use dicom_core::value::{DataSetSequence, Value};
use dicom_core::{DataElement, Length, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_encoding::TransferSyntax;
use dicom_object::InMemDicomObject;
use dicom_parser::StatefulDecode;
use dicom_parser::dataset::LazyDataToken;
use dicom_parser::dataset::lazy_read::LazyDataSetReader;

use super::charset::CharacterSet;
use super::fragments::{self, Fragments};
use crate::causes::chain;
use value::{Form, is_binary};

/// What is too much for a header.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Binary values longer than this stay in the file.
    pub inline_bytes_max: u32,
    /// Of all values that are kept in memory.
    pub header_bytes_max: u64,
    pub depth_max: usize,
    pub elements_max: usize,
    pub fragments_max: usize,
}

/// A parsed data set; offsets count from where the data set begins.
#[derive(Debug)]
pub struct Header {
    pub elements: InMemDicomObject,
    pub bulk: Vec<Bulk>,
    pub pixel_data: Option<PixelData>,
    /// Zeros behind the last element, as some writers leave them.
    pub padding_bytes: u64,
}

/// A value left in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bulk {
    /// Tags and item indices from the root, as in `00540016/0/00189004`.
    pub path: String,
    pub vr: VR,
    pub offset: u64,
    pub length: u64,
}

/// Pixel Data (7FE0,0010) at the root.
#[derive(Debug, PartialEq, Eq)]
pub enum PixelData {
    Native { vr: VR, offset: u64, length: u64 },
    Encapsulated(Fragments),
}

#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    #[error("reading failed: {0}")]
    Read(#[from] io::Error),
    #[error("{0}")]
    Parse(String),
    #[error("the data ends inside {0}")]
    Truncated(String),
    #[error("{what} is beyond the limit of {limit}")]
    Limit { what: &'static str, limit: u64 },
}

/// Parses from where `source` stands to its end, without loading pixel data.
pub fn read<R: BufRead + Seek>(
    source: &mut R,
    syntax: &TransferSyntax,
    limits: Limits,
) -> Result<Header, HeaderError> {
    let start = source.stream_position()?;
    let end = source.seek(SeekFrom::End(0))?;
    source.seek(SeekFrom::Start(start))?;
    let mut parser = Parser::new(start, end, limits);
    let stop = parser.segment(source, syntax)?;
    let pixel_data = match stop {
        Stop::End => None,
        Stop::Native { vr, length } => Some(parser.skip_native(source, vr, length)?),
        Stop::Encapsulated => Some(PixelData::Encapsulated(parser.skip_fragments(source)?)),
    };
    if pixel_data.is_some() && !matches!(parser.segment(source, syntax)?, Stop::End) {
        return Err(HeaderError::Parse("there is more than one Pixel Data".to_owned()));
    }
    let Parser { root, bulk, padding_bytes, .. } = parser;
    Ok(Header { elements: root.elements, bulk, pixel_data, padding_bytes })
}

/// Why a run of elements ended.
enum Stop {
    End,
    Native { vr: VR, length: u32 },
    Encapsulated,
}

/// A sequence or item that is still open.
enum Open {
    Sequence { tag: Tag, items: Vec<InMemDicomObject> },
    Item(DataSet),
}

/// The root or an item, with the character set of its text: its own, or that of the data set
/// around it (PS3.5 7.5.3).
struct DataSet {
    elements: InMemDicomObject,
    charset: CharacterSet,
}

impl DataSet {
    fn new(charset: CharacterSet) -> Self {
        Self { elements: InMemDicomObject::new_empty(), charset }
    }
}

struct Parser {
    start: u64,
    end: u64,
    limits: Limits,
    root: DataSet,
    bulk: Vec<Bulk>,
    open: Vec<Open>,
    elements: usize,
    kept_bytes: u64,
    padding_bytes: u64,
}

impl Parser {
    fn new(start: u64, end: u64, limits: Limits) -> Self {
        Self {
            start,
            end,
            limits,
            root: DataSet::new(CharacterSet::default()),
            bulk: Vec::new(),
            open: Vec::new(),
            elements: 0,
            kept_bytes: 0,
            padding_bytes: 0,
        }
    }

    /// Reads elements up to the root's pixel data, leaving `source` at the start of its value.
    fn segment<R: BufRead + Seek>(
        &mut self,
        source: &mut R,
        syntax: &TransferSyntax,
    ) -> Result<Stop, HeaderError> {
        let mut reader = LazyDataSetReader::new_with_ts(&mut *source, syntax).map_err(parse)?;
        let stopped = loop {
            match reader.advance() {
                Some(Ok(token)) => match self.token(token)? {
                    Some(Stop::End) => break Ok(blank_header_bytes(syntax)),
                    Some(stop) => return Ok(stop),
                    None => {}
                },
                Some(Err(error)) => break Err(parse_or_truncated(error)),
                // The reader takes a cut inside a tag for the end.
                None => break Ok(0),
            }
        };
        let read_to = reader.into_decoder().position() - stopped.as_ref().map_or(0, |bytes| *bytes);
        if self.open.is_empty() && is_blank(source, read_to)? {
            self.padding_bytes = self.end.saturating_sub(read_to);
            return Ok(Stop::End);
        }
        stopped?;
        Err(HeaderError::Truncated(format!("the element after byte {read_to}")))
    }

    /// Stops at pixel data, and ends at an empty element (0000,0000): the first of many zeros, or
    /// something that has no place in a data set.
    fn token<D: StatefulDecode>(&mut self, token: LazyDataToken<D>) -> Result<Option<Stop>, HeaderError> {
        match token {
            LazyDataToken::ElementHeader(header) => {
                if header.tag == Tag(0, 0) && header.len.0 == 0 && self.open.is_empty() {
                    return Ok(Some(Stop::End));
                }
                if header.tag == tags::PIXEL_DATA && self.open.is_empty() {
                    return Ok(Some(Stop::Native { vr: header.vr, length: header.len.0 }));
                }
            }
            LazyDataToken::PixelSequenceStart if self.open.is_empty() => {
                return Ok(Some(Stop::Encapsulated));
            }
            // An encapsulated icon: kept as an empty value, its fragments passed over.
            LazyDataToken::PixelSequenceStart => {
                self.open(Open::Sequence { tag: tags::PIXEL_DATA, items: Vec::new() })?;
            }
            LazyDataToken::SequenceStart { tag, .. } => {
                self.open(Open::Sequence { tag, items: Vec::new() })?;
            }
            LazyDataToken::ItemStart { .. } => {
                self.open(Open::Item(DataSet::new(self.data_set().charset)))?;
            }
            LazyDataToken::ItemEnd => self.end_item()?,
            LazyDataToken::SequenceEnd => self.end_sequence()?,
            LazyDataToken::LazyValue { header, decoder } => {
                self.value(header, decoder)?;
            }
            token @ LazyDataToken::LazyItemValue { .. } => token.skip().map_err(parse)?,
            _ => return Err(HeaderError::Parse("unknown token".to_owned())),
        }
        Ok(None)
    }

    fn value<D: StatefulDecode>(
        &mut self,
        header: DataElementHeader,
        mut decoder: D,
    ) -> Result<(), HeaderError> {
        let DataElementHeader { tag, vr, len: length } = header;
        let offset = decoder.position() - self.start;
        self.check_inside(tag, offset, length.0)?;
        let value = if self.stays_in_file(tag, vr, length.0) {
            let path = self.path(Some(tag));
            self.bulk.push(Bulk { path, vr, offset, length: length.0.into() });
            decoder.skip_bytes(length.0).map_err(parse)?;
            DataElement::new(tag, vr, PrimitiveValue::Empty)
        } else {
            self.keep(length.0)?;
            self.kept_value(header, decoder)?
        };
        self.put(value)
    }

    /// Large binary values, and float pixels of any size: their frames are read by range.
    fn stays_in_file(&self, tag: Tag, vr: VR, length: u32) -> bool {
        let is_pixels =
            matches!(tag, tags::FLOAT_PIXEL_DATA | tags::DOUBLE_FLOAT_PIXEL_DATA) && self.open.is_empty();
        is_binary(vr) && (length > self.limits.inline_bytes_max || is_pixels)
    }

    /// Text is decoded here and not by the parser, which knows but one character set at a time.
    fn kept_value<D: StatefulDecode>(
        &mut self,
        header: DataElementHeader,
        mut decoder: D,
    ) -> Result<DataElement<InMemDicomObject>, HeaderError> {
        let DataElementHeader { tag, vr, len } = header;
        let form = Form::of(&header);
        if form == Form::AsParsed || len.0 == 0 {
            let value = decoder.read_value_preserved(&header).map_err(parse)?;
            return Ok(DataElement::new(tag, vr, value));
        }
        let mut bytes = Vec::new();
        decoder.read_to_vec(len.0, &mut bytes).map_err(parse)?;
        if tag == tags::SPECIFIC_CHARACTER_SET {
            self.data_set_mut().charset = CharacterSet::declared(&bytes);
        }
        let (vr, value) = form.value(bytes, self.data_set().charset);
        Ok(DataElement::new(tag, vr, value))
    }

    fn data_set(&self) -> &DataSet {
        let innermost = self.open.iter().rev().find_map(|open| match open {
            Open::Item(item) => Some(item),
            Open::Sequence { .. } => None,
        });
        innermost.unwrap_or(&self.root)
    }

    fn data_set_mut(&mut self) -> &mut DataSet {
        match self.open.last_mut() {
            Some(Open::Item(item)) => item,
            _ => &mut self.root,
        }
    }

    /// A length that points past the end is found before anything is allocated for it.
    fn check_inside(&self, tag: Tag, offset: u64, length: u32) -> Result<(), HeaderError> {
        if self.start + offset + u64::from(length) > self.end {
            return Err(HeaderError::Truncated(format!("element {tag}")));
        }
        Ok(())
    }

    fn keep(&mut self, length: u32) -> Result<(), HeaderError> {
        self.kept_bytes += u64::from(length);
        let limit = self.limits.header_bytes_max;
        if self.kept_bytes > limit {
            return Err(HeaderError::Limit { what: "the size of the header", limit });
        }
        Ok(())
    }

    fn put(&mut self, element: DataElement<InMemDicomObject>) -> Result<(), HeaderError> {
        self.count()?;
        match self.open.last_mut() {
            Some(Open::Sequence { .. }) => {
                return Err(HeaderError::Parse(
                    "an element stands between the items of a sequence".to_owned(),
                ));
            }
            _ => self.data_set_mut().elements.put(element),
        };
        Ok(())
    }

    /// Elements, sequences and items alike: an empty item costs eight bytes to send and far more
    /// to keep.
    fn count(&mut self) -> Result<(), HeaderError> {
        self.elements += 1;
        if self.elements > self.limits.elements_max {
            let limit = self.limits.elements_max as u64;
            return Err(HeaderError::Limit { what: "the number of elements", limit });
        }
        Ok(())
    }

    fn open(&mut self, open: Open) -> Result<(), HeaderError> {
        self.count()?;
        if self.open.len() >= 2 * self.limits.depth_max {
            let limit = self.limits.depth_max as u64;
            return Err(HeaderError::Limit { what: "the depth of sequences", limit });
        }
        self.open.push(open);
        Ok(())
    }

    /// The reader takes a delimiter for the end of whatever is open, and panics at the next item
    /// when nothing is.
    fn end_item(&mut self) -> Result<(), HeaderError> {
        let Some(Open::Item(item)) = self.open.pop() else {
            return Err(HeaderError::Parse("an item delimiter outside of an item".to_owned()));
        };
        if let Some(Open::Sequence { items, .. }) = self.open.last_mut() {
            items.push(item.elements);
        }
        Ok(())
    }

    fn end_sequence(&mut self) -> Result<(), HeaderError> {
        match self.open.pop() {
            Some(Open::Sequence { tag, items }) => self.close_sequence(tag, items),
            Some(Open::Item(_)) => {
                return Err(HeaderError::Parse("a sequence delimiter within an item".to_owned()));
            }
            None => {}
        }
        Ok(())
    }

    fn close_sequence(&mut self, tag: Tag, items: Vec<InMemDicomObject>) {
        let element = if tag == tags::PIXEL_DATA {
            DataElement::new(tag, VR::OB, Value::Primitive(PrimitiveValue::Empty))
        } else {
            let items = DataSetSequence::new(items, Length::UNDEFINED);
            DataElement::new(tag, VR::SQ, Value::Sequence(items))
        };
        self.data_set_mut().elements.put(element);
    }

    fn path(&self, last: Option<Tag>) -> String {
        let open = self.open.iter().map(|open| match open {
            Open::Sequence { tag, items } => format!("{}/{}", hex(*tag), items.len()),
            Open::Item(_) => String::new(),
        });
        let parts: Vec<String> = open.chain(last.map(hex)).filter(|part| !part.is_empty()).collect();
        parts.join("/")
    }

    fn skip_native<R: Read + Seek>(
        &mut self,
        source: &mut R,
        vr: VR,
        length: u32,
    ) -> Result<PixelData, HeaderError> {
        let offset = source.stream_position()? - self.start;
        self.check_inside(tags::PIXEL_DATA, offset, length)?;
        source.seek(SeekFrom::Current(length.into()))?;
        self.put(DataElement::new(tags::PIXEL_DATA, vr, PrimitiveValue::Empty))?;
        Ok(PixelData::Native { vr, offset, length: length.into() })
    }

    fn skip_fragments<R: Read + Seek>(&mut self, source: &mut R) -> Result<Fragments, HeaderError> {
        let fragments = fragments::scan(source, self.start, self.end, self.limits.fragments_max)?;
        self.put(DataElement::new(tags::PIXEL_DATA, VR::OB, PrimitiveValue::Empty))?;
        Ok(fragments)
    }
}

/// What the reader takes zeros for: without a VR that it knows, an element of VR UN.
fn blank_header_bytes(syntax: &TransferSyntax) -> u64 {
    if syntax.uid() == uids::IMPLICIT_VR_LITTLE_ENDIAN { 8 } else { 12 }
}

/// Whether nothing but zeros follows, or nothing at all.
fn is_blank<R: BufRead + Seek>(source: &mut R, from: u64) -> Result<bool, HeaderError> {
    source.seek(SeekFrom::Start(from))?;
    loop {
        let bytes = source.fill_buf()?;
        let length = bytes.len();
        match bytes.iter().all(|byte| *byte == 0) {
            true if length == 0 => return Ok(true),
            true => source.consume(length),
            false => return Ok(false),
        }
    }
}

/// Eight upper-case hexadecimal digits, as in DICOM JSON.
pub fn hex(tag: Tag) -> String {
    format!("{:04X}{:04X}", tag.group(), tag.element())
}

fn parse(error: impl std::error::Error) -> HeaderError {
    HeaderError::Parse(chain(&error))
}

/// The parser reports the end of the data as an I/O error deep in its chain.
fn parse_or_truncated(error: impl std::error::Error + 'static) -> HeaderError {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(inner) = source {
        if inner.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::UnexpectedEof) {
            return HeaderError::Truncated("an element header".to_owned());
        }
        source = inner.source();
    }
    parse(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dicom_encoding::TransferSyntaxIndex;
    use dicom_transfer_syntax_registry::TransferSyntaxRegistry;
    use std::io::Cursor;

    const LIMITS: Limits = Limits {
        inline_bytes_max: 64,
        header_bytes_max: 4096,
        depth_max: 8,
        elements_max: 100,
        fragments_max: 10,
    };

    const SEQUENCE: &[u8] = b"\x08\x00\x05\x11SQ\0\0\xff\xff\xff\xff";
    const ITEM: &[u8] = b"\xfe\xff\x00\xe0\xff\xff\xff\xff";
    const ITEM_END: &[u8] = b"\xfe\xff\x0d\xe0\0\0\0\0";

    #[track_caller]
    fn refused(parts: &[&[u8]]) {
        let syntax = TransferSyntaxRegistry.get("1.2.840.10008.1.2.1").unwrap();
        let read = read(&mut Cursor::new(parts.concat()), syntax, LIMITS);
        assert!(matches!(read, Err(HeaderError::Parse(_))));
    }

    const SOP_CLASS: &[u8] = b"\x08\x00\x16\0UI\x04\x001.2\0";
    const PIXEL_DATA: &[u8] = b"\xe0\x7f\x10\0OW\0\0\x02\0\0\0\0\0";

    #[track_caller]
    fn check_padding(uid: &str, parts: &[&[u8]], expected: Option<u64>) {
        let data = parts.concat();
        let read = read(&mut Cursor::new(&data), TransferSyntaxRegistry.get(uid).unwrap(), LIMITS);
        let read = read.map(|header| (header.padding_bytes, header.elements.iter().count())).ok();
        assert_eq!(read, expected.map(|bytes| (bytes, 1)), "{data:?}");
    }

    #[test]
    fn zeros_behind_the_last_element_are_padding() {
        let (implicit, explicit) = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1");
        for length in [0, 1, 2, 4, 6, 8, 11, 12, 13, 24, 4096] {
            check_padding(explicit, &[SOP_CLASS, &vec![0; length]], Some(length as u64));
            check_padding(explicit, &[PIXEL_DATA, &vec![0; length]], Some(length as u64));
            let sop_class = b"\x08\x00\x16\0\x04\0\0\x001.2\0";
            check_padding(implicit, &[sop_class, &vec![0; length]], Some(length as u64));
        }
    }

    #[test]
    fn what_is_not_all_zeros_is_no_padding() {
        let explicit = "1.2.840.10008.1.2.1";
        check_padding(explicit, &[SOP_CLASS, &[0; 40], b"x"], None);
        check_padding(explicit, &[SOP_CLASS, b"\0\0\0\0UN\0\0\0\0\0\0"], None);
        check_padding(explicit, &[SOP_CLASS, b"\x08\0"], None);
        check_padding(explicit, &[SEQUENCE, ITEM, &[0; 40]], None);
    }

    #[test]
    fn delimiters_that_close_nothing_are_refused() {
        refused(&[SEQUENCE, ITEM_END, ITEM, ITEM_END]);
        refused(&[SEQUENCE, ITEM, ITEM_END, ITEM_END, ITEM, ITEM_END]);
    }
}
