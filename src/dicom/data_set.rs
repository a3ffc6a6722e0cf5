//! Data sets that are small enough to be held, such as identifiers, between their bytes and DICOM
//! JSON.

use std::io::Cursor;

use base64::prelude::*;
use dicom_core::header::DataElementHeader;
use dicom_core::{Length, PrimitiveValue, Tag, VR};
use dicom_encoding::transfer_syntax::{DynEncoder, Endianness, TransferSyntax};
use serde_json::{Map, Value};

use super::attributes::tag_of_digits;
use super::charset::{Encoder, Text};
use super::header::{self, HeaderError, Limits};
use super::json;
use super::reencode::{has_short_length, padding};

const DEPTH_MAX: usize = 16;
const ELEMENTS_MAX: usize = 20_000;
/// Longer values do not fit the 16-bit length of most VRs and become UN (PS3.5 6.2.2).
const SHORT_LENGTH_MAX: usize = 0xFFFE;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    #[error("the character set does not have the text of {0}")]
    NotInCharacterSet(Tag),
    #[error("{0} has a value that its VR does not take")]
    Value(Tag),
    #[error("the transfer syntax cannot be written")]
    TransferSyntax,
}

/// A data set as DICOM JSON, its text decoded.
pub fn read(bytes: &[u8], syntax: &TransferSyntax) -> Result<Map<String, Value>, HeaderError> {
    let limits = Limits {
        inline_bytes_max: u32::MAX,
        header_bytes_max: bytes.len() as u64,
        depth_max: DEPTH_MAX,
        elements_max: ELEMENTS_MAX,
        fragments_max: 0,
    };
    let header = header::read(&mut Cursor::new(bytes), syntax, limits)?;
    Ok(json::object(&header.elements, &[]))
}

/// The bytes of a data set whose text goes into the sets of `text`. Sequences and items have
/// undefined lengths, bulk data elsewhere is left out.
pub fn write(
    object: &Map<String, Value>,
    syntax: &TransferSyntax,
    text: &Encoder,
) -> Result<Vec<u8>, WriteError> {
    let writer = Writer {
        to: syntax.encoder_for().ok_or(WriteError::TransferSyntax)?,
        is_big: syntax.endianness() == Endianness::Big,
        text,
    };
    let mut out = Vec::new();
    writer.object(object, &mut out)?;
    Ok(out)
}

/// All values of an element as one text, between backslashes; '' of sequences.
pub fn text_of(element: &Value) -> String {
    let texts: Vec<String> = values(element).iter().map(value_text).collect();
    texts.join("\\")
}

fn values(element: &Value) -> &[Value] {
    element.get("Value").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn value_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Object(_) => name_text(value),
        _ => String::new(),
    }
}

/// The groups of a person name between equals signs, as PN has them.
pub fn name_text(name: &Value) -> String {
    let group = |group| name.get(group).and_then(Value::as_str).unwrap_or_default();
    let whole = [group("Alphabetic"), group("Ideographic"), group("Phonetic")].join("=");
    whole.trim_end_matches('=').to_owned()
}

struct Writer<'a> {
    to: DynEncoder<'a, Vec<u8>>,
    is_big: bool,
    text: &'a Encoder,
}

impl Writer<'_> {
    fn object(&self, object: &Map<String, Value>, out: &mut Vec<u8>) -> Result<(), WriteError> {
        let tagged = object.iter().filter_map(|(key, element)| Some((tag_of_digits(key)?, element)));
        let mut elements: Vec<(Tag, &Value)> = tagged.collect();
        elements.sort_by_key(|(tag, _)| *tag);
        elements.into_iter().try_for_each(|(tag, element)| self.element(tag, element, out))
    }

    fn element(&self, tag: Tag, element: &Value, out: &mut Vec<u8>) -> Result<(), WriteError> {
        let vr = element["vr"].as_str().and_then(|vr| vr.parse().ok()).ok_or(WriteError::Value(tag))?;
        if vr == VR::SQ {
            return self.sequence(tag, values(element), out);
        }
        let mut value = self.value(tag, vr, element)?;
        if value.len() % 2 == 1 {
            value.push(padding(vr));
        }
        let vr = if has_short_length(vr) && value.len() > SHORT_LENGTH_MAX { VR::UN } else { vr };
        self.header(tag, vr, Length(value.len() as u32), out)?;
        out.extend_from_slice(&value);
        Ok(())
    }

    fn header(&self, tag: Tag, vr: VR, length: Length, out: &mut Vec<u8>) -> Result<(), WriteError> {
        let written = self.to.encode_element_header(out, DataElementHeader::new(tag, vr, length));
        written.map(drop).map_err(|_| WriteError::Value(tag))
    }

    fn sequence(&self, tag: Tag, items: &[Value], out: &mut Vec<u8>) -> Result<(), WriteError> {
        if items.is_empty() {
            return self.header(tag, VR::SQ, Length(0), out);
        }
        self.header(tag, VR::SQ, Length::UNDEFINED, out)?;
        let unwritable = |_| WriteError::Value(tag);
        for item in items.iter().filter_map(Value::as_object) {
            self.to.encode_item_header(out, Length::UNDEFINED.0).map_err(unwritable)?;
            self.object(item, out)?;
            self.to.encode_item_delimiter(out).map_err(unwritable)?;
        }
        self.to.encode_sequence_delimiter(out).map_err(unwritable)
    }

    fn value(&self, tag: Tag, vr: VR, element: &Value) -> Result<Vec<u8>, WriteError> {
        use VR::{AT, FD, FL, OB, OD, OF, OL, OV, OW, SL, SS, SV, UL, UN, US, UV};
        match vr {
            OB | UN => self.binary(tag, 1, element),
            OW => self.binary(tag, 2, element),
            OF | OL => self.binary(tag, 4, element),
            OD | OV => self.binary(tag, 8, element),
            US | SS | UL | SL | UV | SV | FL | FD | AT => self.numbers(tag, vr, values(element)),
            _ => self.text(tag, vr, &text_of(element)),
        }
    }

    /// DICOM JSON has little endian (PS3.18 F.2.7).
    fn binary(&self, tag: Tag, width: usize, element: &Value) -> Result<Vec<u8>, WriteError> {
        let base64 = element.get("InlineBinary").and_then(Value::as_str).unwrap_or_default();
        let mut bytes = BASE64_STANDARD.decode(base64).map_err(|_| WriteError::Value(tag))?;
        if self.is_big {
            bytes.chunks_exact_mut(width).for_each(<[u8]>::reverse);
        }
        Ok(bytes)
    }

    fn text(&self, tag: Tag, vr: VR, text: &str) -> Result<Vec<u8>, WriteError> {
        match Text::of(vr) {
            Some(kind) => self.text.encode(text, kind).ok_or(WriteError::NotInCharacterSet(tag)),
            // The default repertoire, whatever is declared (PS3.5 6.1.2.2).
            None => Ok(text.chars().map(|c| if c.is_ascii() { c as u8 } else { b'?' }).collect()),
        }
    }

    fn numbers(&self, tag: Tag, vr: VR, values: &[Value]) -> Result<Vec<u8>, WriteError> {
        let value = match vr {
            VR::US => integers(values).map(PrimitiveValue::U16),
            VR::SS => integers(values).map(PrimitiveValue::I16),
            VR::UL => integers(values).map(PrimitiveValue::U32),
            VR::SL => integers(values).map(PrimitiveValue::I32),
            VR::UV => integers(values).map(PrimitiveValue::U64),
            VR::SV => integers(values).map(PrimitiveValue::I64),
            VR::FL => floats(values)
                .map(|n: Vec<f64>| n.iter().map(|n| *n as f32).collect())
                .map(PrimitiveValue::F32),
            VR::FD => floats(values).map(PrimitiveValue::F64),
            _ => values
                .iter()
                .map(|tag| tag_of_digits(tag.as_str()?))
                .collect::<Option<_>>()
                .map(PrimitiveValue::Tags),
        };
        let value = value.ok_or(WriteError::Value(tag))?;
        let mut bytes = Vec::new();
        self.to.encode_primitive(&mut bytes, &value).map_err(|_| WriteError::Value(tag))?;
        Ok(bytes)
    }
}

fn integers<T: TryFrom<i128>, C: FromIterator<T>>(values: &[Value]) -> Option<C> {
    let integer = |value: &Value| {
        let number = value.as_i64().map(i128::from).or_else(|| value.as_u64().map(i128::from));
        number.or_else(|| value.as_str()?.trim().parse().ok()).and_then(|number| T::try_from(number).ok())
    };
    values.iter().map(integer).collect()
}

/// What JSON has no number for is text: NaN and the infinities.
fn floats<C: FromIterator<f64>>(values: &[Value]) -> Option<C> {
    let float = |value: &Value| value.as_f64().or_else(|| value.as_str()?.trim().parse().ok());
    values.iter().map(float).collect()
}

#[cfg(test)]
mod tests {
    use dicom_dictionary_std::uids;
    use dicom_encoding::TransferSyntaxIndex;
    use dicom_transfer_syntax_registry::TransferSyntaxRegistry;
    use serde_json::json;

    use super::*;

    #[expect(deprecated, reason = "queries still come in big endian")]
    const SYNTAXES: [&str; 3] =
        [uids::IMPLICIT_VR_LITTLE_ENDIAN, uids::EXPLICIT_VR_LITTLE_ENDIAN, uids::EXPLICIT_VR_BIG_ENDIAN];

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn what_is_written_reads_back_in_every_transfer_syntax() {
        let set = object(json!({
            "00080005": {"vr": "CS", "Value": ["ISO_IR 100"]},
            "00080018": {"vr": "UI", "Value": ["1.2.3"]},
            "00080061": {"vr": "CS", "Value": ["CT", "SR"]},
            "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Müller^Jörg"}]},
            "00100020": {"vr": "LO"},
            "00201208": {"vr": "IS", "Value": [12]},
            "00280010": {"vr": "US", "Value": [512, 2]},
            "00280009": {"vr": "AT", "Value": ["00181063"]},
            "00180050": {"vr": "DS", "Value": [0.5]},
            "00189073": {"vr": "FD", "Value": [-2.25]},
            "00400275": {"vr": "SQ", "Value": [{"00400007": {"vr": "LO", "Value": ["Thorax"]}}, {}]},
            "00081140": {"vr": "SQ"},
        }));
        for uid in SYNTAXES {
            let syntax = TransferSyntaxRegistry.get(uid).unwrap();
            let bytes = write(&set, syntax, &Encoder::declared("ISO_IR 100")).unwrap();
            assert!(bytes.windows(6).any(|window| window == b"M\xfcller"));
            assert_eq!(read(&bytes, syntax).unwrap(), set, "{uid}");
        }
    }

    #[test]
    fn text_that_the_set_does_not_have_is_refused_by_its_tag() {
        let set = object(json!({"00100010": {"vr": "PN", "Value": [{"Alphabetic": "王"}]}}));
        let syntax = TransferSyntaxRegistry.get(uids::IMPLICIT_VR_LITTLE_ENDIAN).unwrap();
        let error = write(&set, syntax, &Encoder::declared("ISO_IR 100")).unwrap_err();
        assert_eq!(error, WriteError::NotInCharacterSet(Tag(0x0010, 0x0010)));
    }

    #[test]
    fn a_value_beyond_a_short_length_is_written_all_the_same() {
        let set = object(json!({"00100020": {"vr": "LO", "Value": ["x".repeat(70_000)]}}));
        let syntax = TransferSyntaxRegistry.get(uids::EXPLICIT_VR_LITTLE_ENDIAN).unwrap();
        let bytes = write(&set, syntax, &Encoder::utf8()).unwrap();
        assert_eq!(text_of(&read(&bytes, syntax).unwrap()["00100020"]).len(), 70_000);
    }
}
