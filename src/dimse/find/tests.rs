//! Queries as a peer asks them, of an archive with objects in it.

mod archive;
mod understood;

use dicom_dictionary_std::{tags, uids};
use dicom_ul::pdu::Pdu;
use serde_json::{Value, json};

use crate::dimse::Settings;
use crate::dimse::tests::settings;
use crate::export::scu::find::{Ending, Finding, Reply, Root, Wishes};
use crate::ul::Incoming;
use crate::ul::command::CommandSet;

use archive::{Archive, key, text};

const STUDY_ROOT: &str = uids::STUDY_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_FIND;
const PATIENT_ROOT: &str = uids::PATIENT_ROOT_QUERY_RETRIEVE_INFORMATION_MODEL_FIND;

#[tokio::test]
async fn a_match_has_what_was_asked_for_and_nothing_else() {
    let archive = Archive::new(settings()).await;
    let mut asking = archive.ask(STUDY_ROOT, &[]).await;
    let keys = json!({"00080052": text("CS", "STUDY"), "00100010": text("PN", "a*"), "0020000D": key("UI"),
        "00080061": key("CS"), "00081030": key("LO"), "00080056": key("CS"), "00201206": key("IS")});
    let (found, last) = asking.find(&keys).await;
    assert_eq!(last.status(), Ok(0x0000));
    let expected = json!({"00080052": text("CS", "STUDY"), "00080054": text("AE", "RADIANT"),
        "00080056": text("CS", "ONLINE"), "00080061": text("CS", "CT"), "00081030": key("LO"),
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": "A^Ann"}]}, "0020000D": text("UI", "1.1"),
        "00201206": {"vr": "IS", "Value": [2]}});
    assert_eq!(found, [(0xFF00, expected)]);
}

#[tokio::test]
async fn both_roots_and_all_levels_are_searched() {
    let archive = Archive::new(settings()).await;
    let mut study_root = archive.ask(STUDY_ROOT, &[]).await;
    let mut patient_root = archive.ask(PATIENT_ROOT, &[]).await;
    let uid = |found: &[(u16, Value)], tag: &str| -> Vec<String> {
        found.iter().map(|(_, set)| set[tag]["Value"][0].as_str().unwrap_or_default().to_owned()).collect()
    };
    let (found, _) =
        patient_root.find(&json!({"00080052": text("CS", "PATIENT"), "00100020": key("LO")})).await;
    assert_eq!(uid(&found, "00100020"), ["P1", "P2"]);
    let series =
        json!({"00080052": text("CS", "SERIES"), "0020000D": text("UI", "1.1"), "0020000E": key("UI")});
    let (found, _) = study_root.find(&series).await;
    assert_eq!(uid(&found, "0020000E"), ["1.1.1", "1.1.2"]);
    let image = json!({"00080052": text("CS", "IMAGE"), "00100020": text("LO", "P2"), "0020000D": text("UI", "1.2"),
        "0020000E": text("UI", "1.2.1"), "00080018": key("UI")});
    let (found, _) = patient_root.find(&image).await;
    assert_eq!(uid(&found, "00080018"), ["1.2.1.1"]);
}

#[tokio::test]
async fn unique_keys_of_the_levels_above_are_needed_unless_negotiated_otherwise() {
    let archive = Archive::new(settings()).await;
    let keys = json!({"00080052": text("CS", "SERIES"), "0020000E": key("UI")});
    let mut strict = archive.ask(STUDY_ROOT, &[]).await;
    let (found, last) = strict.find(&keys).await;
    assert_eq!((found.len(), last.status()), (0, Ok(0xA900)));
    assert_eq!(
        last.text(tags::ERROR_COMMENT).unwrap(),
        "0020000D: one value, or relational queries negotiated"
    );
    let mut relational = archive.ask(STUDY_ROOT, &[1]).await;
    assert_eq!(relational.find(&keys).await.0.len(), 3);
    let find = crate::dimse::FindSettings { always_relational: true, ..settings().find };
    let lenient = Archive::new(Settings { find, ..settings() }).await;
    assert_eq!(lenient.ask(STUDY_ROOT, &[]).await.find(&keys).await.0.len(), 3);
}

#[tokio::test]
async fn what_cannot_be_asked_is_refused_and_costs_not_the_association() {
    let archive = Archive::new(settings()).await;
    let mut asking = archive.ask(STUDY_ROOT, &[]).await;
    let level = |level| json!({"00080052": text("CS", level)});
    let with = |tag: &str, element: Value| {
        let mut keys = level("STUDY");
        keys[tag] = element;
        keys
    };
    for (keys, status) in [
        (json!({"0020000D": key("UI")}), 0xA900),
        (level("PATIENT"), 0xA900),
        (level("FRAME"), 0xA900),
        (with("0008103E", text("LO", "Thorax")), 0xA900),
        (with("00081032", json!({"vr": "SQ", "Value": [{}, {}]})), 0xA900),
        (with("00080020", text("DA", "2026")), 0xC001),
        (with("0020000D", text("UI", "1.2.*")), 0xC001),
        (with("00080005", text("CS", &"\\ISO 2022 IR 87".repeat(2000))), 0xC001),
        (with("00090010", text("LO", &"x".repeat(30_000))), 0xC001),
        (level("STUDY"), 0x0000),
    ] {
        assert_eq!(asking.find(&keys).await.1.status(), Ok(status), "{keys}");
    }
    assert_eq!(asking.find_bytes(b"\x08\x00\x52\x00\xff\xff\xff\x7f").await.1.status(), Ok(0xC000));
    let long = vec![0; settings().identifier_bytes_max as usize + 2];
    assert_eq!(asking.find_bytes(&long).await.1.status(), Ok(0xA700));
}

#[tokio::test]
async fn more_matches_than_allowed_end_with_out_of_resources() {
    let find = crate::dimse::FindSettings { results_max: 2, ..settings().find };
    let archive = Archive::new(Settings { find, ..settings() }).await;
    let mut asking = archive.ask(STUDY_ROOT, &[1]).await;
    let (found, last) = asking.find(&json!({"00080052": text("CS", "IMAGE"), "00080018": key("UI")})).await;
    assert_eq!((found.len(), last.status()), (2, Ok(0xA700)));
    assert_eq!(last.text(tags::ERROR_COMMENT).unwrap(), "more than 2 matches: narrow the query");
}

#[tokio::test]
async fn a_search_that_would_compare_too_much_is_refused() {
    let find = crate::dimse::FindSettings { scan_max: 1, ..settings().find };
    let archive = Archive::new(Settings { find, ..settings() }).await;
    let mut asking = archive.ask(STUDY_ROOT, &[]).await;
    let keys = json!({"00080052": text("CS", "STUDY"), "00101010": text("AS", "040Y")});
    assert_eq!(asking.find(&keys).await.1.status(), Ok(0xA700));
}

#[tokio::test]
async fn a_key_of_a_level_below_is_returned_empty_with_a_warning() {
    let archive = Archive::new(settings()).await;
    let mut asking = archive.ask(STUDY_ROOT, &[]).await;
    let keys = json!({"00080052": text("CS", "STUDY"), "0020000D": text("UI", "1.1"), "00080060": key("CS")});
    let (found, _) = asking.find(&keys).await;
    assert_eq!((found[0].0, &found[0].1["00080060"]), (0xFF01, &key("CS")));
}

#[tokio::test]
async fn text_comes_in_the_set_of_the_request_or_in_utf8() {
    let archive = Archive::new(settings()).await;
    let mut asking = archive.ask(STUDY_ROOT, &[]).await;
    let mut keys =
        json!({"00080052": text("CS", "STUDY"), "0020000D": text("UI", "1.2"), "00100010": key("PN")});
    for (declared, answered) in
        [(None, "ISO_IR 192"), (Some("ISO_IR 100"), "ISO_IR 100"), (Some("ISO_IR 144"), "ISO_IR 192")]
    {
        if let Some(declared) = declared {
            keys["00080005"] = text("CS", declared);
        }
        let (found, _) = asking.find(&keys).await;
        assert_eq!(found[0].1["00080005"], text("CS", answered));
        assert_eq!(found[0].1["00100010"]["Value"][0]["Alphabetic"], "Müller^Bo");
    }
}

#[tokio::test]
async fn of_a_sequence_the_items_that_match_are_returned_with_what_is_asked_for() {
    let archive = Archive::new(settings()).await;
    let mut asking = archive.ask(STUDY_ROOT, &[]).await;
    let item = json!({"00080100": text("SH", "C2"), "00080104": key("LO"), "00080103": key("SH")});
    let keys = json!({"00080052": text("CS", "STUDY"), "00081032": {"vr": "SQ", "Value": [item]}});
    let (found, _) = asking.find(&keys).await;
    let expected =
        json!([{"00080100": text("SH", "C2"), "00080104": text("LO", "Two"), "00080103": key("SH")}]);
    assert_eq!((found.len(), &found[0].1["00081032"]["Value"]), (1, &expected));
}

#[tokio::test]
async fn a_private_attribute_is_answered_in_the_block_that_was_asked() {
    let archive = Archive::new(settings()).await;
    let mut asking = archive.ask(STUDY_ROOT, &[1]).await;
    let keys = json!({"00080052": text("CS", "IMAGE"), "00090020": text("LO", "ACME"), "00092001": text("LO", "x*"),
        "00080018": key("UI")});
    let (found, _) = asking.find(&keys).await;
    assert_eq!((found.len(), &found[0].1["00090020"]), (1, &text("LO", "ACME")));
    // Its VR is not known, so it comes as it was stored.
    assert_eq!(found[0].1["00092001"], json!({"vr": "UN", "InlineBinary": "eHl6IA=="}));
}

#[tokio::test]
async fn moments_are_moved_to_the_zone_of_the_request_when_negotiated() {
    let archive = Archive::new(settings()).await;
    let keys = json!({"00080052": text("CS", "STUDY"), "0020000D": text("UI", "1.1"), "00080020": key("DA"),
        "00080201": text("SH", "-0500")});
    let mut moved = archive.ask(STUDY_ROOT, &[0, 0, 0, 1]).await;
    let (found, _) = moved.find(&keys).await;
    assert_eq!(
        (&found[0].1["00080020"], &found[0].1["00080201"]),
        (&text("DA", "20260109"), &text("SH", "-0500"))
    );
    let mut plain = archive.ask(STUDY_ROOT, &[]).await;
    let (found, _) = plain.find(&keys).await;
    assert_eq!(
        (&found[0].1["00080020"], &found[0].1["00080201"]),
        (&text("DA", "20260110"), &text("SH", "+0000"))
    );
}

#[tokio::test]
async fn a_date_and_its_time_are_one_moment_when_negotiated() {
    let archive = Archive::new(settings()).await;
    let keys = json!({"00080052": text("CS", "STUDY"), "00080020": text("DA", "20260109-20260110"),
        "00080030": text("TM", "2300-0300")});
    assert_eq!(archive.ask(STUDY_ROOT, &[0, 1]).await.find(&keys).await.0.len(), 1);
    assert_eq!(archive.ask(STUDY_ROOT, &[]).await.find(&keys).await.0.len(), 0);
}

#[tokio::test]
async fn a_cancel_ends_the_answers() {
    let archive = Archive::new(settings()).await;
    let mut asking = archive.ask(STUDY_ROOT, &[1]).await;
    let keys = json!({"00080052": text("CS", "IMAGE"), "00080018": key("UI")});
    asking.request(&keys).await;
    asking.raw.send_command(1, &CommandSet::cancel(asking.last_message_id)).await.unwrap();
    let (found, last) = asking.answers().await;
    assert_eq!(last.status(), Ok(if found.len() == 3 { 0x0000 } else { 0xFE00 }));
    let (found, last) = asking.find(&keys).await;
    assert_eq!((found.len(), last.status()), (3, Ok(0x0000)));
}

#[tokio::test]
async fn a_release_in_the_middle_is_confirmed_behind_the_last_response() {
    let archive = Archive::new(settings()).await;
    let mut asking = archive.ask(STUDY_ROOT, &[1]).await;
    asking.request(&json!({"00080052": text("CS", "IMAGE"), "00080018": key("UI")})).await;
    asking.raw.send(&Pdu::ReleaseRQ).await.unwrap();
    asking.answers().await;
    assert!(matches!(asking.raw.next().await, Ok(Incoming::Pdu(Pdu::ReleaseRP))));
}

#[tokio::test]
async fn our_own_requestor_understands_the_answers_and_can_have_enough() {
    let archive = Archive::new(settings()).await;
    let mut association =
        archive.associate(Root::Study, Wishes { relational: true, ..Wishes::default() }).await;
    let keys =
        json!({"00080052": text("CS", "IMAGE"), "00100010": text("PN", "M\u{fc}*"), "00080018": key("UI")});
    let mut finding = Finding::begin(&mut association, Root::Study, keys.as_object().unwrap()).await.unwrap();
    let Reply::Match(found) = finding.next().await.unwrap() else { panic!("no match") };
    assert_eq!(found["00080018"], text("UI", "1.2.1.1"));
    let complete = Ending { status: 0, comment: None, offending: Vec::new() };
    assert_eq!(finding.next().await.unwrap(), Reply::Ended(complete));
    let keys = json!({"00080052": text("CS", "STUDY"), "00080020": text("DA", "yesterday")});
    let mut finding = Finding::begin(&mut association, Root::Study, keys.as_object().unwrap()).await.unwrap();
    let Reply::Ended(ending) = finding.next().await.unwrap() else { panic!("a match") };
    assert_eq!((ending.status, ending.offending), (0xC001, vec![tags::STUDY_DATE]));
    let keys = json!({"00080052": text("CS", "IMAGE"), "00080018": key("UI")});
    let mut finding = Finding::begin(&mut association, Root::Study, keys.as_object().unwrap()).await.unwrap();
    finding.cancel().await.unwrap();
    while matches!(finding.next().await.unwrap(), Reply::Match(_)) {}
    association.release().await.unwrap();
}
