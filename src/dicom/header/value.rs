//! How the bytes of a value are taken.

use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry};
use dicom_core::header::DataElementHeader;
use dicom_core::{PrimitiveValue, Tag, VR};
use dicom_dictionary_std::StandardDataDictionary;

use crate::dicom::charset::{CharacterSet, Text};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// The parser reads it.
    AsParsed,
    Text(VR),
    /// Numbers that came as UN: in little endian, whatever the transfer syntax (PS3.5 6.2.2).
    Numbers(VR),
    /// The length is no multiple of what one value takes: the bytes as they are.
    Torn,
}

impl Form {
    pub(super) fn of(header: &DataElementHeader) -> Self {
        let known = if header.vr == VR::UN { known_vr(header.tag) } else { None };
        let vr = known.unwrap_or(header.vr);
        match width(vr) {
            Some(width) if !header.len.0.is_multiple_of(width) => Self::Torn,
            Some(_) if known.is_some() => Self::Numbers(vr),
            Some(_) => Self::AsParsed,
            None if is_binary(vr) || vr == VR::SQ => Self::AsParsed,
            None => Self::Text(vr),
        }
    }

    pub(super) fn value(self, bytes: Vec<u8>, charset: CharacterSet) -> (VR, PrimitiveValue) {
        match self {
            Self::Text(vr) => (vr, text(vr, charset, &bytes)),
            Self::Numbers(vr) => (vr, numbers(vr, &bytes)),
            Self::AsParsed | Self::Torn => (VR::UN, PrimitiveValue::U8(bytes.into())),
        }
    }
}

/// Some writers send what they do not know as UN; the dictionary knows it. Sequences stay bytes.
fn known_vr(tag: Tag) -> Option<VR> {
    if tag.0 % 2 == 1 {
        return None;
    }
    let vr = StandardDataDictionary.by_tag(tag)?.vr().exact()?;
    (!is_binary(vr) && vr != VR::SQ).then_some(vr)
}

pub(super) fn is_binary(vr: VR) -> bool {
    matches!(vr, VR::OB | VR::OW | VR::OF | VR::OD | VR::OL | VR::OV | VR::UN)
}

/// Bytes of one value of a number.
fn width(vr: VR) -> Option<u32> {
    match vr {
        VR::US | VR::SS => Some(2),
        VR::UL | VR::SL | VR::FL | VR::AT => Some(4),
        VR::UV | VR::SV | VR::FD => Some(8),
        _ => None,
    }
}

/// VRs outside Specific Character Set have the default repertoire (PS3.5 6.1.2.2).
fn text(vr: VR, charset: CharacterSet, bytes: &[u8]) -> PrimitiveValue {
    let decoded = match Text::of(vr) {
        Some(text) => charset.decode(bytes, text),
        None => CharacterSet::default().decode(bytes, Text::Values),
    };
    match vr {
        VR::ST | VR::LT | VR::UT | VR::UR => PrimitiveValue::Str(decoded),
        _ => PrimitiveValue::Strs(decoded.split('\\').map(str::to_owned).collect()),
    }
}

fn numbers(vr: VR, bytes: &[u8]) -> PrimitiveValue {
    match vr {
        VR::US => PrimitiveValue::U16(values(bytes, u16::from_le_bytes)),
        VR::SS => PrimitiveValue::I16(values(bytes, i16::from_le_bytes)),
        VR::UL => PrimitiveValue::U32(values(bytes, u32::from_le_bytes)),
        VR::SL => PrimitiveValue::I32(values(bytes, i32::from_le_bytes)),
        VR::FL => PrimitiveValue::F32(values(bytes, f32::from_le_bytes)),
        VR::FD => PrimitiveValue::F64(values(bytes, f64::from_le_bytes)),
        VR::UV => PrimitiveValue::U64(values(bytes, u64::from_le_bytes)),
        VR::SV => PrimitiveValue::I64(values(bytes, i64::from_le_bytes)),
        _ => PrimitiveValue::Tags(values(bytes, |[a, b, c, d]: [u8; 4]| {
            Tag(u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]))
        })),
    }
}

fn values<T, const N: usize, C>(bytes: &[u8], number: fn([u8; N]) -> T) -> C
where
    C: FromIterator<T>,
{
    bytes.as_chunks::<N>().0.iter().map(|chunk| number(*chunk)).collect()
}
