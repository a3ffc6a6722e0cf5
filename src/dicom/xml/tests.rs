use std::collections::BTreeMap;

use base64::prelude::*;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::dicom::header::hex;
use crate::dicom::json;

const LIMITS: Limits = Limits { depth_max: 40, elements_max: 100_000 };

fn xml(set: &Value) -> String {
    String::from_utf8(write(set.as_object().unwrap()).unwrap()).unwrap()
}

fn parse(document: &str) -> Result<Value, XmlError> {
    read(document, LIMITS).map(Value::Object)
}

/// The inside of a document.
fn parse_inside(content: &str) -> Result<Value, XmlError> {
    parse(&format!("<NativeDicomModel>{content}</NativeDicomModel>"))
}

#[track_caller]
fn check(set: Value, attributes: &str) {
    let document = xml(&set);
    let inside = document.split_once("preserve\">").unwrap().1.strip_suffix("</NativeDicomModel>");
    assert_eq!(inside, Some(attributes));
    assert_eq!(parse(&document), Ok(set));
}

#[track_caller]
fn refused(content: &str, error: XmlError) {
    assert_eq!(parse_inside(content), Err(error));
}

#[test]
fn values_are_numbered_and_absent_ones_keep_their_place() {
    check(
        json!({"00280030": {"vr": "DS", "Value": [0.5, null, -3]}}),
        r#"<DicomAttribute tag="00280030" vr="DS" keyword="PixelSpacing"><Value number="1">0.5</Value><Value number="2"/><Value number="3">-3</Value></DicomAttribute>"#,
    );
    check(
        json!({"00080050": {"vr": "SH"}}),
        r#"<DicomAttribute tag="00080050" vr="SH" keyword="AccessionNumber"/>"#,
    );
}

#[test]
fn names_have_groups_and_components() {
    check(
        json!({"00100010": {"vr": "PN", "Value": [{"Alphabetic": "Doe^^X^", "Phonetic": "y"}]}}),
        concat!(
            r#"<DicomAttribute tag="00100010" vr="PN" keyword="PatientName"><PersonName number="1">"#,
            "<Alphabetic><FamilyName>Doe</FamilyName><MiddleName>X</MiddleName><NamePrefix></NamePrefix></Alphabetic>",
            "<Phonetic><FamilyName>y</FamilyName></Phonetic></PersonName></DicomAttribute>"
        ),
    );
}

#[test]
fn private_attributes_name_their_creator_instead_of_a_block() {
    check(
        json!({"00090011": {"vr": "LO", "Value": ["A&B"]}, "00091102": {"vr": "LO", "Value": ["x"]}}),
        concat!(
            r#"<DicomAttribute tag="00090011" vr="LO"><Value number="1">A&amp;B</Value></DicomAttribute>"#,
            r#"<DicomAttribute tag="00090002" vr="LO" privateCreator="A&amp;B"><Value number="1">x</Value></DicomAttribute>"#
        ),
    );
}

#[test]
fn one_creator_with_two_blocks_keeps_both() {
    let set = json!({
        "00090010": {"vr": "LO", "Value": ["A"]}, "00090011": {"vr": "LO", "Value": ["A"]},
        "00091001": {"vr": "LO", "Value": ["x"]}, "00091101": {"vr": "LO", "Value": ["y"]},
    });
    assert_eq!(parse(&xml(&set)), Ok(set));
}

#[test]
fn a_creator_without_a_block_gets_one() {
    let set = parse_inside(
        r#"<DicomAttribute tag="00090001" vr="LO" privateCreator="A"><Value number="1">x</Value></DicomAttribute>"#,
    );
    let expected =
        json!({"00090010": {"vr": "LO", "Value": ["A"]}, "00091001": {"vr": "LO", "Value": ["x"]}});
    assert_eq!(set, Ok(expected));
}

#[test]
fn items_nest_and_may_be_empty() {
    check(
        json!({"00400275": {"vr": "SQ", "Value": [{}, {"00400009": {"vr": "SH", "Value": ["1"]}}]}}),
        concat!(
            r#"<DicomAttribute tag="00400275" vr="SQ" keyword="RequestAttributesSequence"><Item number="1"></Item>"#,
            r#"<Item number="2"><DicomAttribute tag="00400009" vr="SH" keyword="ScheduledProcedureStepID">"#,
            r#"<Value number="1">1</Value></DicomAttribute></Item></DicomAttribute>"#
        ),
    );
}

#[test]
fn binary_is_inline_or_a_link() {
    check(
        json!({"00420011": {"vr": "OB", "InlineBinary": "AAE="}, "7FE00010": {"vr": "OW", "BulkDataURI": "a?b=1&c"}}),
        concat!(
            r#"<DicomAttribute tag="00420011" vr="OB" keyword="EncapsulatedDocument"><InlineBinary>AAE=</InlineBinary></DicomAttribute>"#,
            r#"<DicomAttribute tag="7FE00010" vr="OW" keyword="PixelData"><BulkData uri="a?b=1&amp;c"/></DicomAttribute>"#
        ),
    );
}

#[test]
fn other_writers_are_understood() {
    let document = "\u{FEFF}<?xml version='1.0'?><!-- a --><n:NativeDicomModel xmlns:n='x'>\n <n:DicomAttribute vr='OB' tag='00420011'>\n\
        <n:InlineBinary>AA\n E=</n:InlineBinary></n:DicomAttribute>\
        <n:DicomAttribute vr='LT' tag='00104000'><n:Value number='1'>a<![CDATA[<b>]]>&#x41;&quot;\r\n</n:Value></n:DicomAttribute>\
        <n:DicomAttribute vr='DS' tag='00280030'><n:Value number='2'> 1 </n:Value></n:DicomAttribute></n:NativeDicomModel>\n";
    let expected = json!({
        "00104000": {"vr": "LT", "Value": ["a<b>A\"\n"]},
        "00280030": {"vr": "DS", "Value": [null, 1]},
        "00420011": {"vr": "OB", "InlineBinary": "AAE="},
    });
    assert_eq!(parse(document), Ok(expected));
}

#[test]
fn what_xml_cannot_write_is_replaced() {
    let set = json!({"00104000": {"vr": "LT", "Value": ["a\u{c}b\rc\n"]}});
    let read = parse(&xml(&set)).unwrap();
    assert_eq!(read["00104000"]["Value"][0], "a\u{FFFD}b\rc\n");
}

#[test]
fn entities_of_the_document_are_refused() {
    let bomb = r#"<!DOCTYPE a [<!ENTITY b "xxxx"><!ENTITY c "&b;&b;">]><NativeDicomModel/>"#;
    assert_eq!(parse(bomb), Err(XmlError::DocumentType));
    let used = r#"<DicomAttribute tag="00100020" vr="LO"><Value number="1">&c;</Value></DicomAttribute>"#;
    refused(used, XmlError::Entity);
}

#[test]
fn refusals_say_what_is_wrong() {
    let tag = Tag(0x0010, 0x0020);
    let one = |content: &str| format!(r#"<DicomAttribute tag="00100020" vr="LO">{content}</DicomAttribute>"#);
    refused(&one("").repeat(2), XmlError::Twice { tag });
    refused(&one("<Value>x</Value>"), XmlError::BadNumber { tag });
    refused(&one("<Value number='2'/><Value number='1'/>"), XmlError::BadNumber { tag });
    refused(&one("<Item number='1'/>"), XmlError::BadContent { tag });
    refused(&one("").replace("LO", "XX"), XmlError::BadVr { tag });
    refused(&one("<Value number='1'>x</Value>").replace("LO", "US"), XmlError::BadContent { tag });
    refused(&one("<Value number='1'>65536</Value>").replace("LO", "US"), XmlError::BadContent { tag });
    refused(&one("<InlineBinary>=</InlineBinary>").replace("LO", "OB"), XmlError::BadContent { tag });
    assert_eq!(parse("<Other/>"), Err(XmlError::Root));
    for cut in ["<NativeDicomModel>", "<NativeDicomModel", "<NativeDicomModel></Other>", ""] {
        assert!(matches!(parse(cut), Err(XmlError::Malformed { .. })), "{cut}");
    }
    refused("text", XmlError::StrayText { at: 22 });
}

#[test]
fn depth_and_number_have_limits() {
    let (open, close) =
        (r#"<DicomAttribute tag="00400275" vr="SQ"><Item number="1">"#, "</Item></DicomAttribute>");
    let nested = |depth| parse_inside(&(open.repeat(depth) + &close.repeat(depth)));
    assert!(nested(40).is_ok());
    assert_eq!(nested(41), Err(XmlError::Limit { what: "the depth of sequences", limit: 40 }));
    assert!(nested(100_000).is_err());
    let far =
        r#"<DicomAttribute tag="00100020" vr="LO"><Value number="4000000000">x</Value></DicomAttribute>"#;
    refused(far, XmlError::Limit { what: "the number of elements", limit: 100_000 });
}

/// Text that DICOM JSON holds and XML 1.0 can write.
fn text() -> impl Strategy<Value = String> {
    "[ -~\t\n\r\u{80}-\u{24F}あ-ん\u{10000}-\u{10010}]{1,12}"
}

fn name_group() -> impl Strategy<Value = String> {
    "[A-Za-zÄぁ\\^<&' ]{0,8}[A-Z^]"
}

fn person_name() -> impl Strategy<Value = Value> {
    let groups = (name_group(), proptest::option::of(name_group()), proptest::option::of(name_group()));
    groups.prop_map(|(first, second, third)| {
        let named = NAME_GROUPS.into_iter().zip([Some(first), second, third]);
        let groups = named.filter_map(|(name, text)| Some((name.to_owned(), text?.into())));
        Value::Object(groups.filter(|(_, text): &(_, Value)| text != "^").collect())
    })
}

fn values(vr: &'static str, one: impl Strategy<Value = Value> + 'static) -> BoxedStrategy<Value> {
    let many = vec(prop_oneof![3 => one.boxed(), 1 => Just(Value::Null)], 0..4);
    many.prop_map(move |values| element(vr, values)).boxed()
}

fn element(vr: &str, values: Vec<Value>) -> Value {
    let empty = |value: &Value| value.is_null() || value.as_object().is_some_and(Map::is_empty);
    match values.iter().all(empty) && vr != "SQ" || values.is_empty() {
        true => json!({ "vr": vr }),
        false => {
            json!({ "vr": vr, "Value": values.into_iter().map(|v| if vr != "SQ" && empty(&v) { Value::Null } else { v }).collect::<Vec<_>>() })
        }
    }
}

fn leaf() -> BoxedStrategy<Value> {
    prop_oneof![
        values("LO", text().prop_map(Value::from)),
        values("PN", person_name()),
        values("IS", any::<i32>().prop_map(Value::from)),
        values("DS", (-1e300..1e300).prop_map(json::float)),
        values("FD", any::<f64>().prop_map(json::float)),
        values("FL", any::<f32>().prop_map(|n| json::float(f64::from(n)))),
        values("UV", any::<u64>().prop_map(Value::from)),
        values("SV", any::<i64>().prop_map(Value::from)),
        values("AT", any::<(u16, u16)>().prop_map(|(g, e)| hex(Tag(g, e)).into())),
        vec(any::<u8>(), 1..9)
            .prop_map(|bytes| json!({"vr": "UN", "InlineBinary": BASE64_STANDARD.encode(bytes)})),
        text().prop_map(|uri| json!({"vr": "OB", "BulkDataURI": uri.replace(['\r', '\n', '\t'], "")})),
    ]
    .boxed()
}

fn tag_key() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<u32>().prop_map(|tag| format!("{tag:08X}")),
        (0x10u16..0x14, 0u8..3).prop_map(|(block, at)| format!("0009{:04X}", block << 8 | u16::from(at))),
    ]
}

/// Creators of the blocks that `tag_key` makes; two may have one name.
fn with_creators(mut set: BTreeMap<String, Value>, names: Vec<String>) -> Value {
    for (block, name) in (0x10..).zip(names) {
        set.insert(format!("0009{block:04X}"), json!({"vr": "LO", "Value": [name]}));
    }
    Value::Object(set.into_iter().collect())
}

fn data_set() -> impl Strategy<Value = Value> {
    let flat = btree_map(tag_key(), leaf(), 0..6);
    let flat = (flat, vec("[A-C]", 0..4)).prop_map(|(set, names)| with_creators(set, names));
    flat.prop_recursive(4, 40, 4, |inner| {
        let sequence = vec(inner, 0..3).prop_map(|items| element("SQ", items));
        btree_map(tag_key(), prop_oneof![leaf(), sequence.boxed()], 0..5)
            .prop_map(|set| with_creators(set, vec![]))
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(set in data_set()) {
        prop_assert_eq!(parse(&xml(&set)), Ok(set));
    }

    #[test]
    fn no_document_stops_the_reader(content in "(<(/)?(DicomAttribute|Item|Value|PersonName)( (tag|vr|number)='(00100010|PN|SQ|1)')*/?>|&[a-z#0-9]{1,4};|[a-z<]){0,20}") {
        let _ = parse_inside(&content);
    }
}
