//! A data set goes through, and what comes out is read again.

use std::io::Cursor;

use dicom_dictionary_std::uids;
use dicom_encoding::TransferSyntaxIndex;
use dicom_transfer_syntax_registry::TransferSyntaxRegistry;
use serde_json::{Map, Value, json};

use super::*;
use crate::dicom::charset::Encoder;
use crate::dicom::reencode::{Piece, Source, Sparse, rewritten};
use crate::dicom::{data_set, header};

const NAMES: [&str; 3] = ["Smith", "12345", "Clinic"];

fn object() -> Map<String, Value> {
    let object = json!({
        "00080016": {"vr": "UI", "Value": [uids::CT_IMAGE_STORAGE]},
        "00080018": {"vr": "UI", "Value": ["1.2.3"]},
        "00080020": {"vr": "DA", "Value": ["20240305"]},
        "00080080": {"vr": "LO", "Value": ["Clinic"]},
        "00081030": {"vr": "LO", "Value": ["CT Thorax for Smith"]},
        "00081111": {"vr": "SQ", "Value": [{ "00081155": {"vr": "UI", "Value": ["1.2.9"]} }]},
        "00081115": {"vr": "SQ", "Value": [{ "00081199": {"vr": "SQ", "Value": [{
            "00081150": {"vr": "UI", "Value": [uids::CT_IMAGE_STORAGE]},
            "00081155": {"vr": "UI", "Value": ["1.2.3"]},
        }]} }]},
        "00090010": {"vr": "LO", "Value": ["Smith private"]},
        "00091001": {"vr": "LO", "Value": ["Smith"]},
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Smith^Anna"}]},
        "00100020": {"vr": "LO", "Value": ["12345"]},
        "00100040": {"vr": "CS", "Value": ["F"]},
        "00101010": {"vr": "AS", "Value": ["050Y"]},
        "0020000D": {"vr": "UI", "Value": ["1.2"]},
        "00200052": {"vr": "UI", "Value": ["1.2.840.10008.15.1.1"]},
        "00280010": {"vr": "US", "Value": [512]},
        "00400275": {"vr": "SQ", "Value": [{
            "00321060": {"vr": "LO", "Value": ["Smith procedure"]},
            "00400007": {"vr": "LO", "Value": ["Smith step"]},
        }]},
    });
    object.as_object().cloned().unwrap()
}

fn subject() -> Subject {
    Subject { patient_id: "12345".into(), issuer: String::new(), study: "1.2".into() }
}

fn pieces(object: &Map<String, Value>, options: &[&str]) -> Vec<u8> {
    let syntax = TransferSyntaxRegistry.get(uids::EXPLICIT_VR_LITTLE_ENDIAN).unwrap();
    let bytes = data_set::write(object, syntax, &Encoder::utf8()).unwrap();
    let mut data = Sparse::new(bytes.len() as u64);
    data.insert(0, bytes.into());
    let source = Source { data: &data, syntax, pixel_data: None, signed: false };
    let profile = Profile { options: Options::named(options).unwrap(), key: Key::of_secret(b"key") };
    let mut rewriting = profile.rewriting(&subject(), &uids::CT_IMAGE_STORAGE.parse().unwrap());
    let (pieces, _) = rewritten(&source, &profile.edits(&subject()), &mut rewriting).unwrap();
    let bytes = pieces.iter().map(|piece| match piece {
        Piece::Bytes(bytes) => bytes.clone(),
        other => unreachable!("{other:?}"),
    });
    bytes.collect::<Vec<_>>().concat()
}

fn copied(options: &[&str]) -> Map<String, Value> {
    let bytes = pieces(&object(), options);
    let limits = header::Limits {
        inline_bytes_max: u32::MAX,
        header_bytes_max: 1 << 20,
        depth_max: 9,
        elements_max: 999,
        fragments_max: 0,
    };
    let syntax = TransferSyntaxRegistry.get(uids::EXPLICIT_VR_LITTLE_ENDIAN).unwrap();
    let read = header::read(&mut Cursor::new(bytes), syntax, limits).unwrap();
    crate::dicom::json::object(&read.elements, &[])
}

fn text(object: &Map<String, Value>, tag: &str) -> Option<String> {
    object.get(tag).map(data_set::text_of)
}

#[test]
fn nothing_that_names_the_patient_survives_whatever_is_retained_of_the_rest() {
    let all = ["retain-uids", "retain-device-identity", "retain-full-dates", "clean-descriptors"];
    for options in [&[][..], &["clean-descriptors"], &all] {
        let text = String::from_utf8_lossy(&pieces(&object(), options)).into_owned();
        assert!(NAMES.iter().all(|name| !text.contains(name)), "{options:?}");
    }
}

#[test]
fn the_profile_alone_leaves_what_a_picture_is_made_of() {
    let copy = copied(&[]);
    assert_eq!(text(&copy, "00280010").as_deref(), Some("512"));
    assert_eq!(text(&copy, "00080020").as_deref(), Some(""));
    assert!(!copy.contains_key("00081111"), "of type 3 in a CT image");
    assert!(!copy.contains_key("00101010") && !copy.contains_key("00081030"));
    assert!(!copy.contains_key("00090010") && !copy.contains_key("00091001"));
    assert_eq!(text(&copy, "00120062").as_deref(), Some("YES"));
    assert_eq!(text(&copy, "00280303").as_deref(), Some("REMOVED"));
}

#[test]
fn uids_are_replaced_alike_wherever_they_stand() {
    let copy = copied(&[]);
    let instance = text(&copy, "00080018").unwrap();
    assert!(instance.starts_with("2.25."));
    let referenced = &copy["00081115"]["Value"][0]["00081199"]["Value"][0];
    assert_eq!(referenced["00081155"]["Value"][0], instance.as_str());
    assert_eq!(referenced["00081150"]["Value"][0], uids::CT_IMAGE_STORAGE);
    assert_eq!(text(&copy, "00200052").as_deref(), Some("1.2.840.10008.15.1.1"));
}

#[test]
fn options_retain_and_clean() {
    let copy = copied(&["retain-uids", "retain-patient-characteristics", "clean-descriptors"]);
    assert_eq!(text(&copy, "00080018").as_deref(), Some("1.2.3"));
    assert_eq!(text(&copy, "00101010").as_deref(), Some("050Y"));
    assert_eq!(text(&copy, "00081030").as_deref(), Some("CT Thorax for"));
    let codes = copy["00120064"]["Value"].as_array().unwrap();
    let codes: Vec<&str> = codes.iter().filter_map(|code| code["00080100"]["Value"][0].as_str()).collect();
    assert_eq!(codes, ["113100", "113110", "113108", "113105"]);
}

#[test]
fn modified_dates_keep_their_distance() {
    let copy = copied(&["retain-modified-dates"]);
    let date = text(&copy, "00080020").unwrap();
    assert!(date.len() == 8 && date.as_str() < "20240305");
    assert_eq!(text(&copy, "00280303").as_deref(), Some("MODIFIED"));
}

#[test]
fn dates_in_full_and_modified_are_not_had_together() {
    let both = Options::named(&["retain-full-dates", "retain-modified-dates"]);
    assert_eq!(both, Err(options::OptionsError::BothDates));
    assert!(Options::named(&["retain-everything"]).is_err());
}
