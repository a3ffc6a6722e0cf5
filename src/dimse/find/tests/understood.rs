//! What is made of an identifier.

use dicom_core::Tag;
use dicom_dictionary_std::tags;
use serde_json::{Value, json};

use super::archive::{key, text};
use crate::dicom::attributes::Level;
use crate::dimse::extended::Extended;
use crate::dimse::find::query::{self, Query, Terms};
use crate::dimse::find::refusal::Refusal;
use crate::dimse::services::InformationModel;

fn parsed(keys: &Value, agreed: Extended) -> Result<Query, Refusal> {
    let terms = Terms { agreed, ..Terms::default() };
    query::parse(keys.as_object().unwrap(), InformationModel::PatientRoot, terms)
}

fn relational() -> Extended {
    Extended { relational: true, ..Extended::default() }
}

#[test]
fn named_studies_and_series_are_the_scope_of_the_search() {
    let keys = json!({"00080052": text("CS", "IMAGE"), "00100020": text("LO", "P"), "0020000D": text("UI", "1.2"),
        "0020000E": text("UI", "1.3"), "00080018": key("UI")});
    let search = parsed(&keys, Extended::default()).unwrap().search;
    assert_eq!((search.study.unwrap().as_str(), search.series.unwrap().as_str()), ("1.2", "1.3"));
    let left: Vec<Tag> = search.keys.iter().map(|key| key.tag).collect();
    assert_eq!((left, search.level), (vec![tags::PATIENT_ID], Level::Instance));
}

#[test]
fn a_list_or_a_pattern_is_no_unique_key() {
    for (tag, element) in [
        ("0020000D", json!({"vr": "UI", "Value": ["1.2", "1.3"]})),
        ("00100020", text("LO", "P*")),
        ("00100020", key("LO")),
    ] {
        let mut keys = json!({"00080052": text("CS", "SERIES"), "00100020": text("LO", "P"), "0020000D": text("UI", "1.2")});
        keys[tag] = element;
        assert!(matches!(parsed(&keys, Extended::default()), Err(Refusal::UniqueKey(_))), "{keys}");
        assert!(parsed(&keys, relational()).is_ok(), "{keys}");
    }
}

#[test]
fn a_private_value_in_an_implicit_vr_is_read_in_the_character_set() {
    let keys = json!({"00080005": text("CS", "ISO_IR 100"), "00080052": text("CS", "IMAGE"),
        "00090010": {"vr": "UN", "InlineBinary": "QUNNRQ=="}, "00091001": {"vr": "UN", "InlineBinary": "TfxsICA="}});
    let query = parsed(&keys, relational()).unwrap();
    assert_eq!(query.search.keys[0].creator.as_deref(), Some("ACME"));
    assert!(format!("{:?}", query.search.keys[0].matcher).contains("Mül"));
}

#[test]
fn a_binary_key_and_too_deep_a_sequence_are_refused() {
    let binary = json!({"00080052": text("CS", "PATIENT"), "00282000": {"vr": "OB", "InlineBinary": "AAA="}});
    assert!(matches!(parsed(&binary, relational()), Err(Refusal::Key(_))));
    let mut deep = key("LO");
    for _ in 0..9 {
        deep = json!({"vr": "SQ", "Value": [{"00081032": deep}]});
    }
    let keys = json!({"00080052": text("CS", "STUDY"), "00081032": deep});
    assert!(matches!(parsed(&keys, relational()), Err(Refusal::TooDeep(_))));
}

#[test]
fn group_lengths_and_what_is_no_key_are_left_out() {
    let keys = json!({"00080000": {"vr": "UL", "Value": [8]}, "00080052": text("CS", "PATIENT"),
        "00080053": text("CS", "CLASSIC"), "00080054": key("AE"), "00100020": key("LO")});
    let query = parsed(&keys, Extended::default()).unwrap();
    let wanted: Vec<Tag> = query.wanted.iter().map(|wanted| wanted.tag).collect();
    assert_eq!((wanted, query.search.keys.len()), (vec![tags::PATIENT_ID], 0));
}
