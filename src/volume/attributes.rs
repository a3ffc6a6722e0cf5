//! Lenient reading of single attributes: absent, empty and unreadable values are all `None`.
//!
//! Whether an absent value is an error is for the module that needs it to say.

use dicom_core::Tag;
use dicom_core::value::PrimitiveValue;
use dicom_object::InMemDicomObject;

/// The first value as text, without padding.
pub fn text(object: &InMemDicomObject, tag: Tag) -> Option<String> {
    let value = object.get(tag)?.to_multi_str().ok()?.first()?.trim_matches(PADDING).to_owned();
    (!value.is_empty()).then_some(value)
}

/// All values as text, without padding.
pub fn texts(object: &InMemDicomObject, tag: Tag) -> Vec<String> {
    let values = object.get(tag).and_then(|element| element.to_multi_str().ok());
    values
        .iter()
        .flat_map(|values| values.iter())
        .map(|value| value.trim_matches(PADDING).to_owned())
        .collect()
}

/// The first value of an integer attribute (US, SS, UL, IS …).
pub fn integer(object: &InMemDicomObject, tag: Tag) -> Option<i64> {
    object.get(tag)?.to_multi_int().ok()?.first().copied()
}

/// All values of a decimal attribute; empty unless every value is a finite number.
pub fn decimals(object: &InMemDicomObject, tag: Tag) -> Vec<f64> {
    let values = object.get(tag).and_then(|element| element.to_multi_float64().ok()).unwrap_or_default();
    if values.iter().all(|value| value.is_finite()) { values } else { Vec::new() }
}

/// The first value of a decimal attribute.
pub fn decimal(object: &InMemDicomObject, tag: Tag) -> Option<f64> {
    decimals(object, tag).first().copied()
}

/// Exactly `N` decimals.
pub fn decimal_array<const N: usize>(object: &InMemDicomObject, tag: Tag) -> Option<[f64; N]> {
    decimals(object, tag).try_into().ok()
}

/// The items of a sequence; none when it is absent.
pub fn items(object: &InMemDicomObject, tag: Tag) -> &[InMemDicomObject] {
    object.get(tag).and_then(|element| element.items()).unwrap_or(&[])
}

/// 16-bit words, also from a value that was read as bytes (little endian).
pub fn words(object: &InMemDicomObject, tag: Tag) -> Option<Vec<u16>> {
    let element = object.get(tag)?;
    match element.value().primitive()? {
        PrimitiveValue::U8(bytes) => {
            Some(bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect())
        }
        PrimitiveValue::I16(values) => Some(values.iter().map(|value| value.cast_unsigned()).collect()),
        _ => element.to_multi_int().ok(),
    }
}

const PADDING: [char; 2] = [' ', '\0'];
