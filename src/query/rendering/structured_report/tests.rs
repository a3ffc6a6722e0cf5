use serde_json::{Value, json};

use super::*;

fn code(value: &str, scheme: &str, meaning: &str) -> Value {
    json!({"vr": "SQ", "Value": [{
        "00080100": {"vr": "SH", "Value": [value]},
        "00080102": {"vr": "SH", "Value": [scheme]},
        "00080104": {"vr": "LO", "Value": [meaning]},
    }]})
}

/// A content item of a value type and relationship, with the attributes of its value.
fn item(relationship: &str, value_type: &str, name: &str, own: Value) -> Value {
    let mut item = json!({
        "0040A010": {"vr": "CS", "Value": [relationship]},
        "0040A040": {"vr": "CS", "Value": [value_type]},
        "0040A043": code("1", "99TEST", name),
    });
    let own = own.as_object().unwrap().clone();
    item.as_object_mut().unwrap().extend(own);
    item
}

fn text(name: &str, value: &str) -> Value {
    item("CONTAINS", "TEXT", name, json!({"0040A160": {"vr": "UT", "Value": [value]}}))
}

fn document(own: Value, children: Vec<Value>) -> Document {
    let children = json!({"0040A730": {"vr": "SQ", "Value": children}});
    let mut root = item("", "CONTAINER", "Report", children);
    root.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
    Document::read(root.as_object().unwrap()).unwrap()
}

fn nowhere(_: &Place) -> Option<String> {
    None
}

fn written(document: &Document, form: Form) -> String {
    let somewhere = |place: &Place| Some(format!("/{}/{}/{}", place.study, place.series, place.instance));
    String::from_utf8(document.write(form, &somewhere).unwrap()).unwrap()
}

/// Lines of the outline below the heading.
#[track_caller]
fn check(child: Value, expected: &str) {
    let verified = json!({"0040A493": {"vr": "CS", "Value": ["VERIFIED"]}});
    let plain = written(&document(verified, vec![child]), Form::Plain);
    assert_eq!(plain.split_once("\n\n").unwrap_or_default().1.trim_end(), expected, "{plain}");
}

#[test]
fn values_read_as_people_write_them_w34b() {
    check(text("Finding", "two\r\nlines"), "Finding: two\n  lines");
    let day = json!({"0040A121": {"vr": "DA", "Value": ["20260102"]}});
    check(item("CONTAINS", "DATE", "Day", day), "Day: 2026-01-02");
    let clock = json!({"0040A122": {"vr": "TM", "Value": ["0915"]}});
    check(item("CONTAINS", "TIME", "Time", clock), "Time: 09:15");
    let moment = json!({"0040A120": {"vr": "DT", "Value": ["20260102091530.5-0500"]}});
    check(item("CONTAINS", "DATETIME", "When", moment), "When: 2026-01-02 09:15:30 -0500");
    let name =
        json!({"0040A123": {"vr": "PN", "Value": [{"Alphabetic": "Doe^Ann^B^Dr", "Ideographic": "山^子"}]}});
    check(item("CONTAINS", "PNAME", "Who", name), "Who: Doe, Dr Ann B (山 子)");
    let uid = json!({"0040A124": {"vr": "UI", "Value": ["1.2.3"]}});
    check(item("CONTAINS", "UIDREF", "UID", uid), "UID: 1.2.3");
    check(item("CONTAINS", "CODE", "Site", json!({"0040A168": code("L", "S", "Lung")})), "Site: Lung");
}

#[test]
fn numbers_have_units_and_reasons_w34b() {
    let measured = |unit: Value| json!({"vr": "SQ", "Value": [{"0040A30A": {"vr": "DS", "Value": [12.5]}, "004008EA": unit}]});
    let number = |own: Value| item("CONTAINS", "NUM", "Size", own);
    check(number(json!({"0040A300": measured(code("mm", "UCUM", "millimeter"))})), "Size: 12.5 mm");
    check(number(json!({"0040A300": measured(code("1", "UCUM", "no units"))})), "Size: 12.5");
    check(number(json!({"0040A300": measured(code("{ratio}", "UCUM", "ratio"))})), "Size: 12.5 ratio");
    let reason = json!({"0040A300": {"vr": "SQ"}, "0040A301": code("114000", "DCM", "Not a number")});
    check(number(reason), "Size: no value: Not a number");
}

#[test]
fn regions_and_times_are_told_w34b() {
    let points = |count: usize| json!({"vr": "FL", "Value": vec![1.5; count]});
    let region = |kind, graphic, count| {
        item(
            "INFERRED FROM",
            kind,
            "Region",
            json!({"00700023": {"vr": "CS", "Value": [graphic]}, "00700022": points(count)}),
        )
    };
    check(region("SCOORD", "POINT", 2), "inferred from Region: POINT: (1.5, 1.5)");
    check(region("SCOORD3D", "POLYGON", 60), "inferred from Region: POLYGON in space (mm) of 20 points");
    let times =
        json!({"0040A130": {"vr": "CS", "Value": ["SEGMENT"]}, "0040A138": {"vr": "DS", "Value": [0.5, 2]}});
    check(item("CONTAINS", "TCOORD", "Beat", times), "Beat: SEGMENT: 0.5 s, 2 s");
}

#[test]
fn references_by_position_lead_to_their_item_w34b() {
    let see = json!({"0040A010": {"vr": "CS", "Value": ["INFERRED FROM"]}, "0040DB73": {"vr": "UL", "Value": [1, 2]}});
    check(see.clone(), "inferred from see item 1.2");
    let html = written(&document(json!({}), vec![text("A", "x"), see]), Form::Html);
    assert!(html.contains("<a href=\"#item-1.2\">") && html.contains("id=\"item-1.2\""));
}

#[test]
fn continuous_content_is_read_on_w34b() {
    let words = vec![text("Name", "A mass of"), text("Name", "3 cm"), text("Name", "was detected.")];
    let own =
        json!({"0040A050": {"vr": "CS", "Value": ["CONTINUOUS"]}, "0040A730": {"vr": "SQ", "Value": words}});
    check(item("CONTAINS", "CONTAINER", "Findings", own), "Findings: A mass of 3 cm was detected.");
    let tracking =
        item("HAS OBS CONTEXT", "TEXT", "Lesion", json!({"0040A160": {"vr": "UT", "Value": ["1"]}}));
    let own = json!({"0040A050": {"vr": "CS", "Value": ["CONTINUOUS"]}, "0040A730": {"vr": "SQ", "Value": [tracking]}});
    check(item("CONTAINS", "CONTAINER", "Group", own), "Group\n  Lesion: 1");
}

fn image_in(own: Value) -> Document {
    let object = json!({"vr": "SQ", "Value": [{
        "00081150": {"vr": "UI", "Value": ["1.2.840.10008.5.1.4.1.1.2"]},
        "00081155": {"vr": "UI", "Value": ["1.3"]},
        "00081160": {"vr": "IS", "Value": [2, 5]},
        "0062000B": {"vr": "US", "Value": [1]},
    }]});
    document(own, vec![item("CONTAINS", "IMAGE", "Slice", json!({"00081199": object}))])
}

#[test]
fn images_are_links_to_their_frames_w34b() {
    let series = json!({"0020000E": {"vr": "UI", "Value": ["1.2"]}, "00081199": {"vr": "SQ", "Value": [{"00081155": {"vr": "UI", "Value": ["1.3"]}}]}});
    let study =
        json!({"0020000D": {"vr": "UI", "Value": ["1.1"]}, "00081115": {"vr": "SQ", "Value": [series]}});
    let evidence = json!({"0040A375": {"vr": "SQ", "Value": [study]}});
    let html = written(&image_in(evidence), Form::Html);
    assert!(
        html.contains("<a href=\"/1.1/1.2/1.3/frames/2,5/rendered\">CT Image, frames 2, 5, segment 1</a>"),
        "{html}"
    );
    let elsewhere = image_in(json!({}));
    assert!(!written(&elsewhere, Form::Html).contains("<a "));
    assert!(written(&elsewhere, Form::Plain).contains("Slice: CT Image, frames 2, 5, segment 1 1.3"));
}

#[test]
fn what_nobody_confirmed_says_so_before_anything_else_w34b() {
    let device = item(
        "HAS OBS CONTEXT",
        "CODE",
        "x",
        json!({"0040A168": code("121007", "DCM", "Device"), "0040A043": code("121005", "DCM", "Observer Type")}),
    );
    let named = item(
        "HAS OBS CONTEXT",
        "TEXT",
        "x",
        json!({"0040A160": {"vr": "UT", "Value": ["Model 1"]}, "0040A043": code("121013", "DCM", "Device Observer Name")}),
    );
    let flags = json!({"0040A493": {"vr": "CS", "Value": ["UNVERIFIED"]}, "0040A491": {"vr": "CS", "Value": ["PARTIAL"]}});
    let draft = document(flags, vec![device, named]);
    let plain = written(&draft, Form::Plain);
    let first: Vec<&str> = plain.lines().take(3).collect();
    let expected = [
        "*** UNVERIFIED: nobody has confirmed this document ***",
        "*** Observed by a device: Model 1 ***",
        "*** Partial: the document is not complete ***",
    ];
    assert_eq!(first, expected);
    let html = written(&draft, Form::Html);
    assert!(html.find("class=\"warning\"").unwrap() < html.find("class=\"facts\"").unwrap());
    assert!(
        written(&draft, Form::Xml)
            .contains("<standing completion=\"PARTIAL\" verification=\"UNVERIFIED\"><warning>UNVERIFIED")
    );
}

#[test]
fn an_algorithm_is_named_as_the_maker_w34b() {
    let algorithm = json!({"0040A160": {"vr": "UT", "Value": ["Net 2"]}, "0040A043": code("111001", "DCM", "Algorithm Name")});
    let plain =
        written(&document(json!({}), vec![item("HAS CONCEPT MOD", "TEXT", "x", algorithm)]), Form::Plain);
    assert_eq!(plain.lines().nth(1), Some("*** Made by software: Net 2 ***"));
}

#[test]
fn who_verified_is_named_and_nothing_warns_w34b() {
    let observer = json!({"0040A075": {"vr": "PN", "Value": [{"Alphabetic": "Roe^R"}]}, "0040A030": {"vr": "DT", "Value": ["20260102"]}, "0040A027": {"vr": "LO", "Value": ["Clinic"]}});
    let own = json!({"0040A493": {"vr": "CS", "Value": ["VERIFIED"]}, "0040A073": {"vr": "SQ", "Value": [observer]}});
    let plain = written(&document(own, vec![]), Form::Plain);
    assert!(plain.starts_with("Verified by Roe, R, Clinic, 2026-01-02\n"), "{plain}");
    assert!(!plain.contains("***"));
}

#[test]
fn values_are_no_markup_w34b() {
    let hostile = "</span><script>alert(1)</script>\u{1b}]0;x\u{7}\" onload='";
    let document = document(
        json!({"00100010": {"vr": "PN", "Value": [{"Alphabetic": hostile}]}}),
        vec![text(hostile, hostile)],
    );
    let html = written(&document, Form::Html);
    assert!(!html.contains("<script") && !html.contains('\u{1b}') && !html.contains("\" onload='"));
    assert!(!written(&document, Form::Plain).contains('\u{1b}'));
    let xml = written(&document, Form::Xml);
    assert!(!xml.contains("<script") && !xml.contains('\u{1b}'));
}

#[test]
fn documents_have_limits_w34b() {
    let many = vec![json!({}); ITEMS_MAX];
    let root = json!({"0040A730": {"vr": "SQ", "Value": many}});
    let refused = Document::read(root.as_object().unwrap());
    assert!(matches!(refused, Err(DocumentError::TooManyItems { .. })));
    let mut deep = json!({});
    for _ in 0..=DEPTH_MAX {
        deep = json!({"0040A730": {"vr": "SQ", "Value": [deep]}});
    }
    assert!(matches!(Document::read(deep.as_object().unwrap()), Err(DocumentError::TooDeep { .. })));
}

#[test]
fn anything_at_all_is_a_page() {
    for root in [
        json!({}),
        json!({"0040A730": {"vr": "SQ", "Value": [null, 1, "x", {"0040A040": {"vr": "CS", "Value": ["NEW"]}}]}}),
    ] {
        let document = Document::read(root.as_object().unwrap()).unwrap();
        for form in [Form::Html, Form::Plain, Form::Xml] {
            document.write(form, &nowhere).unwrap();
        }
    }
}
