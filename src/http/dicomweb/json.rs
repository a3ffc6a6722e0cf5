//! The DICOM JSON model on the way out: small data sets that the server itself writes
//! (PS3.18 annex F).

use std::collections::BTreeMap;

use dicom_core::{Tag, VR};
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

    pub(crate) fn into_value(self) -> Value {
        Value::Object(self.into_map())
    }

    pub(crate) fn into_map(self) -> Map<String, Value> {
        self.0.into_iter().collect()
    }

    /// The text of the data set with its keys in order.
    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(&self.0).unwrap_or_default()
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
        assert_eq!(set.to_json(), r#"{"00080050":{"vr":"SH"},"0020000D":{"vr":"UI","Value":["1.2"]}}"#);
    }

    #[test]
    fn empty_groups_of_a_name_are_left_out_q5() {
        assert_eq!(person_name("Doe^Ann==x"), json!({"Alphabetic": "Doe^Ann", "Phonetic": "x"}));
    }
}
