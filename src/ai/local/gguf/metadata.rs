//! The metadata of a GGUF file.

use std::collections::BTreeMap;

use crate::ai::local::bytes::Bytes;
use crate::ai::local::error::LoadError;

/// A key or a string longer than this is no metadata; chat templates have tens of kilobytes.
const TEXT_MAX: usize = 1 << 24;

pub(in crate::ai::local) struct Metadata {
    file: String,
    entries: BTreeMap<String, Value>,
}

#[derive(Debug, Clone, PartialEq)]
enum Value {
    Whole(i64),
    Real(f64),
    Flag(bool),
    Text(String),
    List(List),
}

/// Elements of one type, as they lie in the file.
#[derive(Debug, Clone, PartialEq)]
struct List {
    kind: u32,
    elements: Vec<u8>,
}

const U8: u32 = 0;
const I8: u32 = 1;
const U16: u32 = 2;
const I16: u32 = 3;
const U32: u32 = 4;
const I32: u32 = 5;
const F32: u32 = 6;
const BOOL: u32 = 7;
const TEXT: u32 = 8;
const LIST: u32 = 9;
const U64: u32 = 10;
const I64: u32 = 11;
const F64: u32 = 12;

impl Metadata {
    pub(super) fn read(file: &str, reader: &mut Reader<'_>, count: u64) -> Result<Self, String> {
        let mut entries = BTreeMap::new();
        for _ in 0..count {
            let key = reader.text()?;
            let kind = reader.u32()?;
            entries.insert(key, reader.value(kind)?);
        }
        Ok(Self { file: file.to_owned(), entries })
    }

    pub(in crate::ai::local) fn whole(&self, key: &str) -> Result<Option<usize>, LoadError> {
        match self.entries.get(key) {
            None => Ok(None),
            Some(Value::Whole(value)) => {
                usize::try_from(*value).map(Some).map_err(|_| self.refusal(key, "is negative"))
            }
            Some(_) => Err(self.refusal(key, "is no whole number")),
        }
    }

    pub(in crate::ai::local) fn need_whole(&self, key: &str) -> Result<usize, LoadError> {
        self.whole(key)?.ok_or_else(|| self.refusal(key, "is missing"))
    }

    pub(in crate::ai::local) fn real(&self, key: &str) -> Result<Option<f64>, LoadError> {
        match self.entries.get(key) {
            None => Ok(None),
            Some(Value::Real(value)) if value.is_finite() => Ok(Some(*value)),
            Some(_) => Err(self.refusal(key, "is no number")),
        }
    }

    pub(in crate::ai::local) fn need_real(&self, key: &str) -> Result<f64, LoadError> {
        self.real(key)?.ok_or_else(|| self.refusal(key, "is missing"))
    }

    pub(in crate::ai::local) fn text(&self, key: &str) -> Result<Option<&str>, LoadError> {
        match self.entries.get(key) {
            None => Ok(None),
            Some(Value::Text(value)) => Ok(Some(value)),
            Some(_) => Err(self.refusal(key, "is no text")),
        }
    }

    pub(in crate::ai::local) fn flag(&self, key: &str) -> Result<Option<bool>, LoadError> {
        match self.entries.get(key) {
            None => Ok(None),
            Some(Value::Flag(value)) => Ok(Some(*value)),
            Some(_) => Err(self.refusal(key, "is neither true nor false")),
        }
    }

    pub(in crate::ai::local) fn texts(&self, key: &str) -> Result<Option<Vec<String>>, LoadError> {
        let each = |value| match value {
            Value::Text(text) => Some(text),
            _ => None,
        };
        self.list(key, each).map_err(|_| self.refusal(key, "is no list of texts"))
    }

    pub(in crate::ai::local) fn numbers(&self, key: &str) -> Result<Option<Vec<f64>>, LoadError> {
        let each = |value| match value {
            Value::Whole(number) => Some(number as f64),
            Value::Real(number) => Some(number),
            _ => None,
        };
        self.list(key, each).map_err(|_| self.refusal(key, "is no list of numbers"))
    }

    fn list<T>(&self, key: &str, each: impl Fn(Value) -> Option<T>) -> Result<Option<Vec<T>>, String> {
        let wrong = || "of another type".to_owned();
        let Some(value) = self.entries.get(key) else { return Ok(None) };
        let Value::List(list) = value else { return Err(wrong()) };
        let mut reader = Reader { bytes: &list.elements, position: 0 };
        let mut values = Vec::new();
        while reader.position < list.elements.len() {
            values.push(each(reader.value(list.kind)?).ok_or_else(wrong)?);
        }
        Ok(Some(values))
    }

    pub(in crate::ai::local) fn refusal(&self, key: &str, problem: &str) -> LoadError {
        LoadError::Config { file: self.file.clone(), key: key.to_owned(), problem: problem.to_owned() }
    }
}

/// Goes through a header; nothing it is told about lengths is believed before it is checked.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a Bytes) -> Self {
        Self { bytes, position: 0 }
    }

    pub(super) fn position(&self) -> usize {
        self.position
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let end = self.position.checked_add(count);
        let part = end.and_then(|end| self.bytes.get(self.position..end));
        self.position += part.map_or(0, <[u8]>::len);
        part.ok_or_else(|| "ends within its header".to_owned())
    }

    pub(super) fn u32(&mut self) -> Result<u32, String> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, String> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn text(&mut self) -> Result<String, String> {
        let length = usize::try_from(self.u64()?).unwrap_or(usize::MAX);
        if length > TEXT_MAX {
            return Err(format!("has a text of {length} bytes in its header"));
        }
        let text = std::str::from_utf8(self.take(length)?);
        text.map(str::to_owned).map_err(|_| "has a text in its header that is not UTF-8".to_owned())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let bytes = self.take(N)?;
        bytes.try_into().map_err(|_| "ends within its header".to_owned())
    }

    fn value(&mut self, kind: u32) -> Result<Value, String> {
        Ok(match kind {
            U8 => Value::Whole(i64::from(u8::from_le_bytes(self.array()?))),
            I8 => Value::Whole(i64::from(i8::from_le_bytes(self.array()?))),
            U16 => Value::Whole(i64::from(u16::from_le_bytes(self.array()?))),
            I16 => Value::Whole(i64::from(i16::from_le_bytes(self.array()?))),
            U32 => Value::Whole(i64::from(self.u32()?)),
            I32 => Value::Whole(i64::from(i32::from_le_bytes(self.array()?))),
            U64 => Value::Whole(i64::try_from(self.u64()?).map_err(|error| error.to_string())?),
            I64 => Value::Whole(i64::from_le_bytes(self.array()?)),
            F32 => Value::Real(f64::from(f32::from_le_bytes(self.array()?))),
            F64 => Value::Real(f64::from_le_bytes(self.array()?)),
            BOOL => Value::Flag(self.take(1)? != [0]),
            TEXT => Value::Text(self.text()?),
            LIST => Value::List(self.list()?),
            _ => return Err(format!("has metadata of the unknown type {kind}")),
        })
    }

    fn list(&mut self) -> Result<List, String> {
        let (kind, count) = (self.u32()?, self.u64()?);
        let start = self.position;
        match width(kind) {
            Some(width) => {
                let length = usize::try_from(count).ok().and_then(|count| count.checked_mul(width));
                self.take(length.unwrap_or(usize::MAX))?;
            }
            None if kind == TEXT => {
                for _ in 0..count {
                    let length = usize::try_from(self.u64()?).unwrap_or(usize::MAX);
                    self.take(length)?;
                }
            }
            None => return Err(format!("has a list of the type {kind}")),
        }
        Ok(List { kind, elements: self.bytes[start..self.position].to_vec() })
    }
}

/// Bytes of a value that always has the same number of them.
fn width(kind: u32) -> Option<usize> {
    match kind {
        U8 | I8 | BOOL => Some(1),
        U16 | I16 => Some(2),
        U32 | I32 | F32 => Some(4),
        U64 | I64 | F64 => Some(8),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Vec<u8> {
        [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
    }

    fn read(kind: u32, value: &[u8]) -> Result<Metadata, String> {
        let bytes = [text("key"), kind.to_le_bytes().to_vec(), value.to_vec()].concat();
        Metadata::read("m.gguf", &mut Reader { bytes: &bytes, position: 0 }, 1)
    }

    #[test]
    fn values_are_read_by_their_type() {
        assert_eq!(read(U32, &7_u32.to_le_bytes()).unwrap().whole("key").unwrap(), Some(7));
        assert_eq!(read(F32, &0.5_f32.to_le_bytes()).unwrap().real("key").unwrap(), Some(0.5));
        assert_eq!(read(BOOL, &[1]).unwrap().flag("key").unwrap(), Some(true));
        assert_eq!(read(TEXT, &text("ä")).unwrap().text("key").unwrap(), Some("ä"));
        let list = [TEXT.to_le_bytes().to_vec(), 2_u64.to_le_bytes().to_vec(), text("a"), text("")].concat();
        assert_eq!(
            read(LIST, &list).unwrap().texts("key").unwrap(),
            Some(vec!["a".to_owned(), String::new()])
        );
    }

    #[test]
    fn a_value_of_another_type_is_refused_by_key() {
        let metadata = read(I32, &(-1_i32).to_le_bytes()).unwrap();
        assert_eq!(metadata.whole("key").unwrap_err().to_string(), "m.gguf: key is negative");
        assert_eq!(metadata.text("key").unwrap_err().to_string(), "m.gguf: key is no text");
        assert_eq!(metadata.need_whole("other").unwrap_err().to_string(), "m.gguf: other is missing");
    }

    #[test]
    fn lengths_beyond_the_file_are_refused() {
        let list = [U64.to_le_bytes().to_vec(), u64::MAX.to_le_bytes().to_vec()].concat();
        assert!(read(LIST, &list).is_err());
        assert!(read(TEXT, &u64::MAX.to_le_bytes()).is_err());
        assert!(read(LIST, &[LIST.to_le_bytes().to_vec(), 1_u64.to_le_bytes().to_vec()].concat()).is_err());
        assert!(read(99, &[]).is_err());
    }
}
