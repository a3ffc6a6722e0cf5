//! The DICOM JSON model, PS3.18 Annex F, made once per instance at ingest.

use std::collections::HashSet;

use base64::prelude::*;
use dicom_core::value::Value as DicomValue;
use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_object::InMemDicomObject;
use serde_json::{Map, Value, json};

use super::header::hex;

/// Stands for the instance's own URL in stored metadata; replaced on the way out.
pub const INSTANCE_MARKER: &str = "@instance";

/// A data set as DICOM JSON. Values at `bulk_paths` become BulkDataURIs that begin with
/// [`INSTANCE_MARKER`]; group lengths are left out (F.2.2).
pub fn object(elements: &InMemDicomObject, bulk_paths: &[&str]) -> Map<String, Value> {
    Writer { bulk_paths: bulk_paths.iter().copied().collect() }.object(elements, "")
}

struct Writer<'a> {
    bulk_paths: HashSet<&'a str>,
}

impl Writer<'_> {
    fn object(&self, elements: &InMemDicomObject, prefix: &str) -> Map<String, Value> {
        let kept = elements.iter().filter(|e| e.header().tag.element() != 0);
        kept.map(|element| {
            let key = hex(element.header().tag);
            let path = format!("{prefix}{key}");
            let value = self.element(element, &path);
            (key, value)
        })
        .collect()
    }

    fn element(&self, element: &DataElement<InMemDicomObject>, path: &str) -> Value {
        let vr = element.vr();
        if self.bulk_paths.contains(path) {
            let uri = format!("{INSTANCE_MARKER}/bulkdata/{path}");
            return json!({ "vr": vr.to_string(), "BulkDataURI": uri });
        }
        match element.value() {
            DicomValue::Primitive(value) => primitive(vr, value),
            DicomValue::Sequence(sequence) => {
                let items = sequence.items().iter().enumerate();
                let items: Vec<Value> = items
                    .map(|(i, item)| Value::Object(self.object(item, &format!("{path}/{i}/"))))
                    .collect();
                with_values("SQ", items)
            }
            DicomValue::PixelSequence(_) => json!({ "vr": vr.to_string() }),
        }
    }
}

/// An element without values has only its `vr` (F.2.5).
pub fn with_values(vr: &str, values: Vec<Value>) -> Value {
    match values.is_empty() {
        true => json!({ "vr": vr }),
        false => json!({ "vr": vr, "Value": values }),
    }
}

fn primitive(vr: VR, value: &PrimitiveValue) -> Value {
    let name = vr.to_string();
    match vr {
        VR::OB | VR::OW | VR::OF | VR::OD | VR::OL | VR::OV | VR::UN => inline_binary(name, value),
        VR::PN => with_values(name, strings(value, person_name)),
        VR::IS | VR::DS => with_values(name, strings(value, number_text)),
        VR::FL | VR::FD => with_values(name, floats(value)),
        VR::US | VR::SS | VR::UL | VR::SL | VR::UV | VR::SV => with_values(name, integers(value)),
        VR::AT => with_values(name, tags(value)),
        VR::UC => with_values(name, strings(value, as_it_is)),
        VR::ST | VR::LT | VR::UT | VR::UR => with_values(name, whole_text(value)),
        _ => with_values(name, strings(value, plain)),
    }
}

fn inline_binary(vr: &str, value: &PrimitiveValue) -> Value {
    let bytes = value.to_bytes();
    match bytes.is_empty() {
        true => json!({ "vr": vr }),
        false => json!({ "vr": vr, "InlineBinary": BASE64_STANDARD.encode(&bytes) }),
    }
}

/// Values of a text VR, empty ones among others as null (F.2.5).
fn strings(value: &PrimitiveValue, make: fn(&str) -> Value) -> Vec<Value> {
    let text = value.to_multi_str();
    let values: Vec<Value> = text
        .iter()
        .map(|text| text.trim_end_matches(['\0', ' ']))
        .map(|text| if text.is_empty() { Value::Null } else { make(text) })
        .collect();
    match values.as_slice() {
        [Value::Null] => Vec::new(),
        _ => values,
    }
}

fn plain(text: &str) -> Value {
    text.trim_start().into()
}

/// Spaces before the text of UC are part of it (PS3.5 Table 6.2-1).
fn as_it_is(text: &str) -> Value {
    text.into()
}

/// VRs whose backslash is a character, not a delimiter.
fn whole_text(value: &PrimitiveValue) -> Vec<Value> {
    let text = value.to_str();
    let text = text.trim_end_matches(['\0', ' ']);
    if text.is_empty() { Vec::new() } else { vec![text.into()] }
}

/// IS and DS are numbers where the text is one, and stay text where it is not or where a number
/// would lose some of its digits (F.2.3).
pub(super) fn number_text(text: &str) -> Value {
    let text = text.trim();
    if let Ok(int) = text.parse::<i64>() {
        return int.into();
    }
    let number = text.parse::<f64>().ok().filter(|number| keeps_digits(text, *number));
    match number.and_then(serde_json::Number::from_f64) {
        Some(number) => Value::Number(number),
        None => text.into(),
    }
}

fn keeps_digits(text: &str, number: f64) -> bool {
    let digits = significant(text);
    digits.len() <= f64::DIGITS as usize || digits == significant(&format!("{number:e}"))
}

/// The digits before the exponent without zeros at either end.
fn significant(text: &str) -> String {
    let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    digits.trim_matches('0').to_owned()
}

fn floats(value: &PrimitiveValue) -> Vec<Value> {
    let single = matches!(value, PrimitiveValue::F32(_));
    let numbers = value.to_multi_float64().unwrap_or_default();
    numbers.into_iter().map(|n| float(shortest(n, single))).collect()
}

/// JSON has no NaN and no infinities: they become text.
pub(super) fn float(n: f64) -> Value {
    match serde_json::Number::from_f64(n) {
        Some(number) => Value::Number(number),
        None => n.to_string().into(),
    }
}

/// A single-precision value written with the digits of single precision.
fn shortest(n: f64, single: bool) -> f64 {
    match single {
        true => (n as f32).to_string().parse().unwrap_or(n),
        false => n,
    }
}

fn integers(value: &PrimitiveValue) -> Vec<Value> {
    match value {
        PrimitiveValue::U64(numbers) => numbers.iter().map(|n| (*n).into()).collect(),
        other => {
            let numbers = other.to_multi_int::<i64>().unwrap_or_default();
            numbers.into_iter().map(Value::from).collect()
        }
    }
}

fn tags(value: &PrimitiveValue) -> Vec<Value> {
    match value {
        PrimitiveValue::Tags(tags) => tags.iter().map(|tag| hex(*tag).into()).collect(),
        _ => Vec::new(),
    }
}

/// Component groups, empty ones omitted (F.2.2); a name without any is empty.
pub fn person_name(text: &str) -> Value {
    let names = ["Alphabetic", "Ideographic", "Phonetic"];
    let groups = names.iter().zip(text.splitn(3, '=').map(str::trim_end));
    let groups = groups.filter(|(_, group)| !group.is_empty());
    let groups: Map<_, _> = groups.map(|(name, group)| ((*name).to_owned(), group.into())).collect();
    if groups.is_empty() { Value::Null } else { Value::Object(groups) }
}

#[cfg(test)]
mod tests {
    use dicom_core::dicom_value;
    use dicom_dictionary_std::tags;

    use super::*;

    #[track_caller]
    fn check(element: DataElement<InMemDicomObject>, expected: Value) {
        let key = hex(element.header().tag);
        let json = object(&InMemDicomObject::from_element_iter([element]), &[]);
        assert_eq!(json[&key], expected);
    }

    #[test]
    fn person_names_are_objects_of_their_groups() {
        let name = DataElement::new(tags::PATIENT_NAME, VR::PN, "Yamada^Tarou==やまだ");
        check(name, json!({"vr": "PN", "Value": [{"Alphabetic": "Yamada^Tarou", "Phonetic": "やまだ"}]}));
    }

    #[test]
    fn numbers_in_text_become_numbers() {
        let number = DataElement::new(tags::SERIES_NUMBER, VR::IS, " 12 ");
        check(number, json!({"vr": "IS", "Value": [12]}));
        let spacing = DataElement::new(tags::PIXEL_SPACING, VR::DS, dicom_value!(Strs, ["0.5", ""]));
        check(spacing, json!({"vr": "DS", "Value": [0.5, null]}));
    }

    #[test]
    fn numbers_that_would_lose_digits_stay_text_w18() {
        let texts = ["+1.50", "1E2", "0.1234567890123456", "nan", "0.10000000000000001", "9007199254740993"];
        let values: Vec<Value> = texts.into_iter().map(number_text).collect();
        let expected = [
            json!(1.5),
            json!(100.0),
            json!(0.1234567890123456),
            json!("nan"),
            json!("0.10000000000000001"),
            json!(9_007_199_254_740_993_i64),
        ];
        assert_eq!(values, expected);
    }

    #[test]
    fn values_beyond_json_numbers_are_text_w19() {
        let values = dicom_value!(F64, [f64::NAN, f64::INFINITY, -0.5]);
        let tag = tags::REAL_WORLD_VALUE_SLOPE;
        check(DataElement::new(tag, VR::FD, values), json!({"vr": "FD", "Value": ["NaN", "inf", -0.5]}));
    }

    #[test]
    fn empty_values_among_others_are_null_w20() {
        let names = dicom_value!(Strs, ["A^B", "==", ""]);
        let name = json!({"Alphabetic": "A^B"});
        check(
            DataElement::new(tags::OPERATORS_NAME, VR::PN, names),
            json!({"vr": "PN", "Value": [name, null, null]}),
        );
        let empty = dicom_value!(Strs, ["", ""]);
        check(DataElement::new(tags::IMAGE_TYPE, VR::CS, empty), json!({"vr": "CS", "Value": [null, null]}));
    }

    #[test]
    fn empty_elements_have_only_a_vr() {
        check(DataElement::new(tags::STUDY_ID, VR::SH, PrimitiveValue::Empty), json!({"vr": "SH"}));
        check(DataElement::new(tags::STUDY_ID, VR::SH, "  "), json!({"vr": "SH"}));
    }

    #[test]
    fn a_backslash_in_long_text_is_a_character() {
        check(DataElement::new(tags::IMAGE_COMMENTS, VR::LT, "a\\b"), json!({"vr": "LT", "Value": ["a\\b"]}));
    }

    #[test]
    fn bulk_values_become_links() {
        let pixels = DataElement::new(tags::PIXEL_DATA, VR::OW, PrimitiveValue::Empty);
        let json = object(&InMemDicomObject::from_element_iter([pixels]), &["7FE00010"]);
        assert_eq!(json["7FE00010"], json!({"vr": "OW", "BulkDataURI": "@instance/bulkdata/7FE00010"}));
    }
}
