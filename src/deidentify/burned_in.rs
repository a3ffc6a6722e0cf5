//! Which objects may show who the patient is in their pixels or documents, by rule (PS3.15 E.3.1):
//! nothing here looks at pixels.

use dicom_dictionary_std::tags;
use serde_json::{Map, Value};

use crate::dicom::header::hex;

/// Of images that people label as they make them, or that were digitised or captured.
const MODALITIES: [&str; 12] = ["US", "IVUS", "ES", "XC", "GM", "OT", "DOC", "RF", "XA", "SC", "SM", "DG"];
/// Secondary capture, ultrasound, visible light and video, encapsulated documents (PS3.4 B.5).
const SOP_CLASSES: [&str; 6] = [
    "1.2.840.10008.5.1.4.1.1.7",
    "1.2.840.10008.5.1.4.1.1.3.",
    "1.2.840.10008.5.1.4.1.1.6.",
    "1.2.840.10008.5.1.4.1.1.77.1.",
    "1.2.840.10008.5.1.4.1.1.104.",
    "1.2.840.10008.5.1.4.1.1.12.77",
];
const DOCUMENTS: &str = "1.2.840.10008.5.1.4.1.1.104.";

/// Why the object may show who the patient is; nothing where there is no reason to think so.
pub fn reason(attributes: &Map<String, Value>) -> Option<&'static str> {
    let text = |tag| attributes.get(&hex(tag))?["Value"][0].as_str();
    let sop_class = text(tags::SOP_CLASS_UID).unwrap_or_default();
    if sop_class.starts_with(DOCUMENTS) {
        return Some("it is a document");
    }
    if !attributes.contains_key(&hex(tags::ROWS)) {
        return None;
    }
    if text(tags::RECOGNIZABLE_VISUAL_FEATURES) == Some("YES") {
        return Some("it shows a recognizable person");
    }
    match text(tags::BURNED_IN_ANNOTATION) {
        Some("YES") => Some("its pixels have burned-in annotation"),
        Some("NO") => None,
        _ if text(tags::CONVERSION_TYPE).is_some() => Some("it was captured or digitised"),
        _ if SOP_CLASSES.iter().any(|class| sop_class.starts_with(class)) => {
            Some("objects of its kind have annotation in their pixels")
        }
        _ if text(tags::MODALITY).is_some_and(|modality| MODALITIES.contains(&modality)) => {
            Some("images of its modality have annotation in their pixels")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(sop_class: &str, modality: &str, burned_in: Option<&str>, expected: bool) {
        let mut object = json!({
            "00080016": {"vr": "UI", "Value": [sop_class]},
            "00080060": {"vr": "CS", "Value": [modality]},
            "00280010": {"vr": "US", "Value": [1]},
        });
        if let Some(value) = burned_in {
            object["00280301"] = json!({"vr": "CS", "Value": [value]});
        }
        assert_eq!(reason(object.as_object().unwrap()).is_some(), expected, "{sop_class} {modality}");
    }

    #[test]
    fn what_is_labelled_by_people_is_suspected_unless_it_says_no() {
        check("1.2.840.10008.5.1.4.1.1.2", "CT", None, false);
        check("1.2.840.10008.5.1.4.1.1.2", "CT", Some("YES"), true);
        check("1.2.840.10008.5.1.4.1.1.6.1", "US", None, true);
        check("1.2.840.10008.5.1.4.1.1.6.1", "US", Some("NO"), false);
        check("1.2.840.10008.5.1.4.1.1.7", "OT", None, true);
        check("1.2.840.10008.5.1.4.1.1.104.1", "DOC", Some("NO"), true);
    }
}
