//! Keys as an operator writes them.

use std::str::FromStr;

use dicom_core::dictionary::{DataDictionary, DataDictionaryEntry};
use dicom_core::{Tag, VR};
use dicom_dictionary_std::StandardDataDictionary;
use serde_json::{Map, Value, json};

use crate::dicom::header::hex;
use crate::dicom::json::{person_name, with_values};
use crate::query::request::path::{AttributePath, is_private, vr_of};

/// `PatientName=DOE*`, `0010,0020`, `00100020` or a path through sequences.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct KeyArgument {
    path: AttributePath,
    value: String,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum BadKey {
    #[error("{0} is neither a keyword of the data dictionary nor a tag such as 0010,0020")]
    Unknown(String),
    #[error("{0} has a binary value, which cannot be asked for")]
    Binary(String),
    #[error("{0} takes a number")]
    Number(String),
}

impl FromStr for KeyArgument {
    type Err = BadKey;

    fn from_str(text: &str) -> Result<Self, BadKey> {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        let digits = name.replace(['(', ')', ','], "");
        let path: AttributePath = digits.parse().map_err(|_| BadKey::Unknown(name.to_owned()))?;
        let key = Self { path, value: value.to_owned() };
        key.element().map_or_else(Err, |_| Ok(key))
    }
}

impl KeyArgument {
    pub(super) fn to_show(tag: Tag) -> Self {
        Self { path: tag.into(), value: String::new() }
    }

    /// Into an identifier, within the one item of each sequence on its way.
    pub(super) fn put(&self, keys: &mut Map<String, Value>) {
        let Ok(element) = self.element() else { return };
        let way: Vec<Tag> = [self.path.first].into_iter().chain(self.path.rest.iter().copied()).collect();
        place(keys, &way, element);
    }

    fn element(&self) -> Result<Value, BadKey> {
        let (tag, name) = (self.path.last(), self.path.to_string());
        // A private attribute is text unless its archive knows better.
        let vr = vr_of(tag).unwrap_or(VR::LO);
        let values: Vec<&str> = self.value.split('\\').collect();
        let values = match vr {
            _ if self.value.is_empty() => Vec::new(),
            VR::OB | VR::OW | VR::OF | VR::OD | VR::OL | VR::OV | VR::SQ | VR::UN => {
                return Err(BadKey::Binary(name));
            }
            VR::US | VR::SS | VR::UL | VR::SL | VR::UV | VR::SV | VR::FL | VR::FD => {
                let numbers = values.iter().map(|text| serde_json::from_str::<serde_json::Number>(text));
                let numbers = numbers.map(|number| number.map(Value::Number));
                numbers.collect::<Result<_, _>>().map_err(|_| BadKey::Number(name))?
            }
            VR::PN => values.into_iter().map(person_name).collect(),
            VR::LT | VR::ST | VR::UT | VR::UR => vec![self.value.as_str().into()],
            _ => values.into_iter().map(Value::from).collect(),
        };
        Ok(with_values(vr.to_string(), values))
    }
}

fn place(set: &mut Map<String, Value>, way: &[Tag], element: Value) {
    match way {
        [] => {}
        [last] => drop(set.insert(hex(*last), element)),
        [sequence, rest @ ..] => {
            let held = set.entry(hex(*sequence)).or_insert_with(|| json!({"vr": "SQ", "Value": [{}]}));
            if held["Value"][0].is_null() {
                *held = json!({"vr": "SQ", "Value": [{}]});
            }
            if let Some(item) = held["Value"][0].as_object_mut() {
                place(item, rest, element);
            }
        }
    }
}

/// Keyword or tag.
pub(super) fn name(tag: Tag) -> String {
    match StandardDataDictionary.by_tag(tag).filter(|_| !is_private(tag)) {
        Some(entry) => entry.alias().to_owned(),
        None => hex(tag),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identifier(arguments: &[&str]) -> Value {
        let mut keys = Map::new();
        arguments.iter().for_each(|text| text.parse::<KeyArgument>().unwrap().put(&mut keys));
        Value::Object(keys)
    }

    #[test]
    fn keywords_tags_and_paths_name_attributes() {
        let keys = identifier(&["PatientName=D*", "0010,0020", "(0020,000D)=1.2\\1.3", "Rows=512"]);
        let expected = json!({"00100010": {"vr": "PN", "Value": [{"Alphabetic": "D*"}]}, "00100020": {"vr": "LO"},
            "0020000D": {"vr": "UI", "Value": ["1.2", "1.3"]}, "00280010": {"vr": "US", "Value": [512]}});
        assert_eq!(keys, expected);
    }

    #[test]
    fn keys_of_one_sequence_go_into_one_item() {
        let path = "RequestAttributesSequence.RequestedProcedureID=P1";
        let keys = identifier(&["RequestAttributesSequence", path, "00400275.0040,0009"]);
        let item = json!({"00400009": {"vr": "SH"}, "00401001": {"vr": "SH", "Value": ["P1"]}});
        assert_eq!(keys, json!({"00400275": {"vr": "SQ", "Value": [item]}}));
    }

    #[test]
    fn what_is_no_attribute_is_refused_in_words() {
        for bad in ["Patient", "Rows=many", "ICCProfile=x", "0010"] {
            assert!(bad.parse::<KeyArgument>().is_err(), "{bad}");
        }
    }
}
