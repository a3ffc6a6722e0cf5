//! Values of a data set in DICOM JSON.

use dicom_core::Tag;
use serde_json::{Map, Value};

use crate::dicom::header::hex;

#[derive(Debug, Clone, Copy)]
pub(super) struct Attributes<'a>(pub(super) &'a Map<String, Value>);

impl<'a> Attributes<'a> {
    pub(super) fn values(self, tag: Tag) -> &'a [Value] {
        let values = self.0.get(&hex(tag)).and_then(|element| element["Value"].as_array());
        values.map_or(&[], Vec::as_slice)
    }

    /// The first value as text, empty where there is none.
    pub(super) fn text(self, tag: Tag) -> String {
        self.texts(tag).into_iter().next().unwrap_or_default()
    }

    pub(super) fn texts(self, tag: Tag) -> Vec<String> {
        self.values(tag).iter().map(text).collect()
    }

    pub(super) fn numbers(self, tag: Tag) -> Vec<f64> {
        self.values(tag).iter().filter_map(Value::as_f64).collect()
    }

    pub(super) fn items(self, tag: Tag) -> impl Iterator<Item = Attributes<'a>> {
        self.values(tag).iter().filter_map(Value::as_object).map(Attributes)
    }

    pub(super) fn item(self, tag: Tag) -> Option<Attributes<'a>> {
        self.items(tag).next()
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        Value::Object(groups) => person_name(groups),
        other => other.to_string(),
    }
}

/// `Family, Given Middle`, the other writings behind it.
fn person_name(groups: &Map<String, Value>) -> String {
    let group = |name: &str| groups.get(name).and_then(Value::as_str).unwrap_or_default();
    let latin = in_order(group("Alphabetic"));
    let others = ["Ideographic", "Phonetic"].map(|name| group(name).replace('^', " ").trim().to_owned());
    let others = joined(&others.each_ref().map(String::as_str), ", ");
    match (latin.is_empty(), others.is_empty()) {
        (false, false) => format!("{latin} ({others})"),
        _ => latin + &others,
    }
}

/// Components of a name in the order in which people write them, PS3.5 6.2.1.2.
fn in_order(name: &str) -> String {
    let mut parts = name.split('^').map(str::trim).chain(std::iter::repeat(""));
    let [family, given, middle, prefix, suffix] = std::array::from_fn(|_| parts.next().unwrap_or_default());
    let given = joined(&[prefix, given, middle], " ");
    joined(&[family, &given, suffix], ", ")
}

pub(super) fn joined(parts: &[&str], separator: &str) -> String {
    let present: Vec<&str> = parts.iter().copied().filter(|part| !part.is_empty()).collect();
    present.join(separator)
}
