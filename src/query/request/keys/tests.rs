use super::*;
use crate::query::request::pattern::Pattern;
use crate::query::request::{Matcher, Range};

fn one(level: Level, pairs: &[(&str, &str)], options: Options) -> Result<Keys, BadKey> {
    parse(level, pairs.iter().copied(), options)
}

#[track_caller]
fn check(name: &str, value: &str, expected: Result<Option<Matcher>, BadKey>) {
    let parsed = one(Level::Instance, &[(name, value)], Options::default());
    assert_eq!(parsed.map(|keys| keys.keys.into_iter().next().map(|key| key.matcher)), expected);
}

fn named(text: &str) -> AttributePath {
    text.parse().unwrap()
}

fn exact(items: &[&str]) -> Matcher {
    Matcher::Any(items.iter().map(|&item| Pattern::Exact(item.to_owned())).collect())
}

fn between(from: Option<&str>, to: Option<&str>) -> Range {
    Range { from: from.map(str::to_owned), to: to.map(str::to_owned) }
}

#[test]
fn dates_are_single_or_ranges_q12_q19() {
    let found = |from, to| Ok(Some(Matcher::Range(between(from, to))));
    check("StudyDate", "20260131", found(Some("20260131"), Some("20260131")));
    check("StudyDate", "20260101-20261231", found(Some("20260101"), Some("20261231")));
    check("StudyDate", "20260101-", found(Some("20260101"), None));
    check("StudyDate", "-20260101", found(None, Some("20260101")));
    for bad in ["2026", "20261301", "20260100", "yesterday", "-", "20260101-x"] {
        check("StudyDate", bad, Err(BadKey::Date(named("StudyDate"))));
    }
}

#[test]
fn times_may_be_short_but_must_be_on_the_clock() {
    check("StudyTime", "10:15:30.5-", Ok(Some(Matcher::Range(between(Some("101530.5"), None)))));
    for bad in ["1", "24", "1060", "10.5", "101530.", "101530.1234567"] {
        check("StudyTime", bad, Err(BadKey::Time(named("StudyTime"))));
    }
}

#[test]
fn uid_lists_come_with_commas_or_backslashes_q10_q11() {
    check("StudyInstanceUID", "1.2,1.3", Ok(Some(exact(&["1.2", "1.3"]))));
    check("0020000d", r"1.2\1.3", Ok(Some(exact(&["1.2", "1.3"]))));
    check("StudyInstanceUID", "1.2*", Err(BadKey::Uid(named("StudyInstanceUID"))));
}

#[test]
fn everything_matches_a_star_and_an_empty_value_q7() {
    check("PatientName", "**", Ok(None));
    check("AccessionNumber", "", Ok(None));
    check("PatientID", "A?*", Ok(Some(Matcher::Any(vec![Pattern::Wildcard("A?*".into())]))));
    check("SeriesNumber", "x", Err(BadKey::Number(named("SeriesNumber"))));
    check("PixelData", "x", Err(BadKey::Binary(named("PixelData"))));
}

#[test]
fn what_no_archive_can_hold_is_refused() {
    let long = "*a".repeat(600);
    check("PatientName", &long, Err(BadKey::Long(named("PatientName"))));
    check("StudyInstanceUID", &"1,".repeat(10_001), Err(BadKey::ManyUids(named("StudyInstanceUID"))));
    let names: Vec<String> = (0x1001..0x1090).map(|element| format!("0008{element:04X}")).collect();
    let pairs: Vec<_> = names.iter().map(|name| (name.as_str(), "x")).collect();
    assert_eq!(one(Level::Instance, &pairs, Options::default()), Err(BadKey::ManyKeys));
}

#[test]
fn hyphens_of_datetimes_are_offsets_or_ranges() {
    let day = 86_400_000_000_i64;
    let found = |from, to| Ok(Some(Matcher::Instants { from, to }));
    check("AcquisitionDateTime", "19700102-", found(Some(day), None));
    check("AcquisitionDateTime", "19700101-0100", found(Some(day / 24), Some(day + day / 24 - 1)));
    check("AcquisitionDateTime", "19700101-19700102", found(Some(0), Some(2 * day - 1)));
}

#[test]
fn an_unknown_name_is_no_key_and_a_repeated_one_is_refused_q22_q42() {
    assert_eq!(
        one(Level::Study, &[("nonsense", "1"), ("patientid", "1")], Options::default()),
        Ok(Keys::default())
    );
    let twice = one(Level::Study, &[("PatientID", "a"), ("00100020", "a")], Options::default());
    assert_eq!(twice, Err(BadKey::Twice(named("PatientID"))));
}

#[test]
fn attributes_of_lower_levels_select_nothing_above_q44() {
    let refused = one(Level::Study, &[("SOPClassUID", "1.2")], Options::default()).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "SOPClassUID describes instances, which this resource does not list: search for instances instead"
    );
    let fits = [("Modality", "CT"), ("PatientAge", "040Y"), ("Rows", ""), ("SpecificCharacterSet", "x")];
    assert_eq!(one(Level::Series, &fits, Options::default()).unwrap().keys.len(), 2);
}

#[test]
fn keys_of_a_sequence_are_about_one_item_q30() {
    let pairs = [("RequestAttributesSequence.ScheduledProcedureStepID", "S"), ("00400275.00401001", "P")];
    let keys = one(Level::Series, &pairs, Options::default()).unwrap().keys;
    let Matcher::Item(items) = &keys[0].matcher else { panic!("{keys:?}") };
    assert_eq!((keys.len(), items.len()), (1, 2));
    check("PatientID.CodeValue", "1", Err(BadKey::NotASequence(named("PatientID"))));
}

#[test]
fn a_private_attribute_needs_its_creator_q41() {
    check(
        "00091002",
        "x",
        Err(BadKey::NoCreator { name: named("00091002"), creator: AttributeId(Tag(9, 0x10)) }),
    );
    let named = [("00091002", "x"), ("00090010", "ACME")];
    let keys = one(Level::Instance, &named, Options::default()).unwrap().keys;
    assert_eq!((keys.len(), keys[0].creator.as_deref()), (1, Some("ACME")));
}

#[test]
fn date_and_time_ranges_are_one_interval_q13b() {
    let keys = |date, time| {
        let pairs = [("StudyDate", date), ("StudyTime", time)];
        one(Level::Study, &pairs, Options::default()).unwrap().keys.len()
    };
    assert_eq!(keys("20260101-20260103", "1000-1800"), 1);
    assert_eq!((keys("20260101-", "10"), keys("-20260103", "1000-")), (2, 2));
}

#[test]
fn empty_and_multiple_values_need_their_option_q21_q21b() {
    let options = Options { empty_values: true, multiple_values: true, ..Options::default() };
    let found = |value| one(Level::Study, &[("ModalitiesInStudy", value)], options).map(|keys| keys.keys);
    assert_eq!(found("\"\"").unwrap()[0].matcher, Matcher::Empty);
    assert_eq!(found(r"CT\PT").unwrap()[0].matcher, Matcher::Every(vec![exact(&["CT"]), exact(&["PT"])]));
    assert_eq!(found(r"CT\P*"), Err(BadKey::WildcardInList(named("ModalitiesInStudy"))));
    let either = one(Level::Study, &[("AccessionNumber", r"A\B")], options).unwrap();
    assert_eq!(either.keys[0].matcher, Matcher::OneOf(vec![exact(&["A"]), exact(&["B"])]));
    check("StudyDate", "\"\"", Err(BadKey::Date(named("StudyDate"))));
    for name in ["ModalitiesInStudy", "AccessionNumber", "PatientName"] {
        assert_eq!(
            one(Level::Study, &[(name, r"\\")], options).map(|keys| keys.keys),
            Ok(Vec::new()),
            "{name}"
        );
    }
    check("ModalitiesInStudy", ",", Ok(None));
}

#[test]
fn the_offset_of_the_request_is_no_key_q13c() {
    let keys = one(Level::Study, &[("TimezoneOffsetFromUTC", "-0500")], Options::default()).unwrap();
    assert!(keys.keys.is_empty() && keys.zone.asked == "-0500".parse().ok());
    let bad = one(Level::Study, &[("TimezoneOffsetFromUTC", "EST")], Options::default());
    assert_eq!(bad, Err(BadKey::Offset(named("TimezoneOffsetFromUTC"))));
}
