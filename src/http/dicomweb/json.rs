//! The DICOM JSON model on the way out: small data sets that the server itself writes
//! (PS3.18 annex F).

use std::collections::BTreeMap;

use dicom_core::{Tag, VR};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use serde_json::{Map, Value, json};

use crate::dicom::attributes::AttributeId;

pub(crate) const MEDIA_TYPE: &str = "application/dicom+json";

/// A data set in ascending tag order (F.2.2).
#[derive(Debug, Default, Clone)]
pub(crate) struct DataSet(BTreeMap<String, Value>);

impl DataSet {
    pub(crate) fn with(mut self, tag: Tag, vr: VR, values: Vec<Value>) -> Self {
        self.set(tag, vr, values);
        self
    }

    pub(crate) fn with_text(self, tag: Tag, vr: VR, text: &str) -> Self {
        self.with(tag, vr, vec![text.into()])
    }

    /// No values make an element of `vr` alone (F.2.5).
    pub(crate) fn set(&mut self, tag: Tag, vr: VR, values: Vec<Value>) {
        let element = match values.is_empty() {
            true => json!({ "vr": vr.to_string() }),
            false => json!({ "vr": vr.to_string(), "Value": values }),
        };
        self.0.insert(AttributeId(tag).to_string(), element);
    }

    pub(crate) fn into_map(self) -> Map<String, Value> {
        self.0.into_iter().collect()
    }

    /// The text of the data set with its keys in order, and of sequences behind them, whose items
    /// are made one by one.
    pub(crate) fn to_json_with<I>(
        &self,
        sequences: impl Iterator<Item = (Tag, I)>,
    ) -> serde_json::Result<Vec<u8>>
    where
        I: Iterator<Item = DataSet> + Clone,
    {
        let mut text = Vec::new();
        let mut serializer = serde_json::Serializer::new(&mut text);
        let mut map = serializer.serialize_map(None)?;
        self.0.iter().try_for_each(|(key, element)| map.serialize_entry(key, element))?;
        for (tag, items) in sequences {
            map.serialize_entry(&AttributeId(tag).to_string(), &Sequence { vr: "SQ", items: Items(items) })?;
        }
        map.end()?;
        Ok(text)
    }
}

#[derive(Serialize)]
struct Sequence<T> {
    vr: &'static str,
    #[serde(rename = "Value")]
    items: T,
}

struct Items<I>(I);

impl<I: Iterator<Item = DataSet> + Clone> Serialize for Items<I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.clone().map(|item| item.0))
    }
}

/// Up to three groups, empty ones left out (F.2.2).
pub(crate) fn person_name(name: &str) -> Value {
    let groups = ["Alphabetic", "Ideographic", "Phonetic"];
    let parts = groups.iter().zip(name.split('=')).filter(|(_, part)| !part.is_empty());
    Value::Object(parts.map(|(group, part)| ((*group).to_owned(), part.into())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use dicom_dictionary_std::tags;

    #[test]
    fn elements_are_in_tag_order_and_empty_ones_have_only_a_vr_q40_w20() {
        let set = DataSet::default().with_text(tags::STUDY_INSTANCE_UID, VR::UI, "1.2").with(
            tags::ACCESSION_NUMBER,
            VR::SH,
            vec![],
        );
        let text = r#"{"00080050":{"vr":"SH"},"0020000D":{"vr":"UI","Value":["1.2"]}}"#;
        let none = std::iter::empty::<(Tag, std::iter::Empty<DataSet>)>();
        assert_eq!(String::from_utf8(set.to_json_with(none).unwrap()).unwrap(), text);
    }

    #[test]
    fn empty_groups_of_a_name_are_left_out_q5() {
        assert_eq!(person_name("Doe^Ann==x"), json!({"Alphabetic": "Doe^Ann", "Phonetic": "x"}));
    }
}
