//! Names and values of a request become keys.

use std::collections::BTreeMap;

use dicom_core::{Tag, VR};
use dicom_dictionary_std::tags;

use super::path::{AttributePath, creator_of, is_private, vr_of};
use super::pattern::{FuzzyWord, NamePattern, Pattern};
use super::{Key, Matcher, Range, Zone};
use crate::dicom::attributes::{self, AttributeId, Held, Level};
use crate::dicom::temporal::{self, Offset};
use crate::dicom::uid::StudyUid;

/// Of a value that is no list of UIDs: longer ones are no names and no descriptions, and cost more
/// than they find.
const VALUE_BYTES_MAX: usize = 1024;
const UIDS_MAX: usize = 10_000;
const KEYS_MAX: usize = 128;

/// How values are understood.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// PS3.18 8.3.4.2.
    pub fuzzy: bool,
    /// PS3.18 8.3.4.5: `""` stands for no value.
    pub empty_values: bool,
    /// PS3.18 8.3.4.6: each value of a list must be there.
    pub multiple_values: bool,
    /// The time zone of stored objects that do not say theirs.
    pub stored_zone: Offset,
}

/// What a request asks for with its keys.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Keys {
    pub keys: Vec<Key>,
    pub zone: Zone,
    /// Every key, also those that match everything: an answer has them (PS3.18 10.6.3.3).
    pub paths: Vec<AttributePath>,
    /// Of the private attributes among the paths, and of any other in their blocks.
    pub creators: BTreeMap<Tag, String>,
}

/// Why a key cannot be matched. The value itself stays out of the text: it may name a patient.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    #[error("{0} takes a date YYYYMMDD or a range of dates")]
    Date(AttributePath),
    #[error("{0} takes a time HHMMSS or a range of times")]
    Time(AttributePath),
    #[error("{0} takes a date and time YYYYMMDDHHMMSS&ZZXX or a range of them")]
    DateTime(AttributePath),
    #[error("{0} takes a UID or a list of UIDs")]
    Uid(AttributePath),
    #[error("{0} takes a number")]
    Number(AttributePath),
    #[error("{0} takes an offset from UTC, +HHMM or -HHMM")]
    Offset(AttributePath),
    #[error("{0} has a binary value, which cannot be matched")]
    Binary(AttributePath),
    #[error("{0} is a sequence: name an attribute of its items, as in {0}.CodeValue")]
    Sequence(AttributePath),
    #[error("{0} is not a sequence")]
    NotASequence(AttributePath),
    #[error("{0} takes a value of at most {VALUE_BYTES_MAX} bytes")]
    Long(AttributePath),
    #[error("{0} takes at most {UIDS_MAX} UIDs")]
    ManyUids(AttributePath),
    #[error("a search takes at most {KEYS_MAX} keys")]
    ManyKeys,
    #[error("{0} takes no wildcards among several values")]
    WildcardInList(AttributePath),
    #[error("{0} is there twice")]
    Twice(AttributePath),
    #[error("{name} is a private attribute: the request must name its creator as {creator}")]
    NoCreator { name: AttributePath, creator: AttributeId },
    #[error("{name} describes {level}, which this resource does not list: search for {level} instead")]
    BelowLevel { name: AttributePath, level: &'static str },
}

/// What says how a request or an answer is made; never matched (PS3.4 C.2.2.2).
const NO_KEYS: [Tag; 6] = [
    tags::SPECIFIC_CHARACTER_SET,
    tags::QUERY_RETRIEVE_LEVEL,
    tags::RETRIEVE_AE_TITLE,
    tags::INSTANCE_AVAILABILITY,
    tags::TIMEZONE_OFFSET_FROM_UTC,
    tags::RETRIEVE_URL,
];

type Values<'a> = BTreeMap<AttributePath, &'a str>;

/// The keys of a search for entities of a level. Names that are no attributes are left out: they are
/// other parameters, or unknown ones (PS3.18 8.3.1).
///
/// # Errors
/// A value does not have the form of its attribute, or the attribute cannot be matched here.
pub fn parse<'a>(
    level: Level,
    pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
    options: Options,
) -> Result<Keys, BadKey> {
    let mut values = Values::new();
    for (name, value) in pairs {
        let Ok(path) = name.parse::<AttributePath>() else { continue };
        if values.contains_key(&path) {
            return Err(BadKey::Twice(path));
        }
        values.insert(path, value);
    }
    if values.len() > KEYS_MAX {
        return Err(BadKey::ManyKeys);
    }
    let zone = Zone { asked: asked_zone(&values)?, stored: options.stored_zone };
    values.retain(|path, _| !NO_KEYS.contains(&path.first));
    let mut keys = Vec::new();
    for (path, value) in &values {
        if let Some(matcher) = matcher(path, value, zone, options)? {
            in_reach(level, path)?;
            keys.push(nested(path, matcher, &values)?);
        }
    }
    let creators = creators(&values);
    Ok(Keys { keys: combined(merged(keys)), zone, paths: values.into_keys().collect(), creators })
}

/// By the tag at which the request names them.
fn creators(values: &Values<'_>) -> BTreeMap<Tag, String> {
    let reserves = |tag: Tag| is_private(tag) && (0x10..0x100).contains(&tag.element());
    let named =
        values.iter().filter(|(path, name)| path.rest.is_empty() && reserves(path.first) && !name.is_empty());
    named.map(|(path, name)| (path.first, name.trim().to_owned())).collect()
}

fn asked_zone(values: &Values<'_>) -> Result<Option<Offset>, BadKey> {
    let path = tags::TIMEZONE_OFFSET_FROM_UTC.into();
    let text = values.get(&path).filter(|text| !text.is_empty());
    text.map(|text| text.parse().map_err(|_| BadKey::Offset(path))).transpose()
}

/// PS3.18 10.6.1.2.1: what describes a lower level cannot select entities of this one.
fn in_reach(level: Level, path: &AttributePath) -> Result<(), BadKey> {
    let known = attributes::by_tag(path.first);
    let level = match known.map_or_else(|| attributes::level_of(path.first), |known| known.level) {
        own if own <= level => return Ok(()),
        Level::Patient | Level::Study => "studies",
        Level::Series => "series",
        Level::Instance => "instances",
    };
    Err(BadKey::BelowLevel { name: path.clone(), level })
}

/// `None` stands for universal matching (PS3.4 C.2.2.2.3).
fn matcher(
    path: &AttributePath,
    value: &str,
    zone: Zone,
    options: Options,
) -> Result<Option<Matcher>, BadKey> {
    let name = || path.clone();
    if let Some(parent) = path.parent().filter(|parent| vr_of(parent.last()).is_some_and(|vr| vr != VR::SQ)) {
        return Err(BadKey::NotASequence(parent));
    }
    if options.empty_values && value == "\"\"" {
        return Ok(Some(Matcher::Empty));
    }
    if value.is_empty() || value.bytes().all(|b| b == b'*') {
        return Ok(None);
    }
    let vr = vr_of(path.last());
    match vr {
        Some(VR::UI) if split(value).count() > UIDS_MAX => return Err(BadKey::ManyUids(name())),
        Some(VR::UI) => {}
        _ if value.len() > VALUE_BYTES_MAX => return Err(BadKey::Long(name())),
        _ => {}
    }
    let matcher = match vr {
        _ if path.first == tags::MODALITIES_IN_STUDY && !options.multiple_values => {
            Matcher::Any(split(value).map(Pattern::of).collect())
        }
        Some(VR::UI) => uids(value).ok_or_else(|| BadKey::Uid(name()))?,
        Some(VR::DA) => Matcher::Range(range(value, temporal::date).ok_or_else(|| BadKey::Date(name()))?),
        Some(VR::TM) => {
            let Range { from, to } = range(value, temporal::time).ok_or_else(|| BadKey::Time(name()))?;
            Matcher::Range(Range { from: from.map(|from| temporal::beginning(&from)), to })
        }
        Some(VR::DT) => instants(value, zone).ok_or_else(|| BadKey::DateTime(name()))?,
        Some(VR::IS | VR::DS | VR::US | VR::SS | VR::UL | VR::SL | VR::UV | VR::SV | VR::FL | VR::FD) => {
            Matcher::Number(value.trim().parse().map_err(|_| BadKey::Number(name()))?)
        }
        Some(VR::SQ) => return Err(BadKey::Sequence(name())),
        Some(VR::OB | VR::OW | VR::OF | VR::OD | VR::OL | VR::OV) => return Err(BadKey::Binary(name())),
        Some(VR::LT | VR::ST | VR::UT | VR::UR) => text(value),
        Some(VR::PN) => return several(path, value, options, |name| person(name, options.fuzzy)),
        _ => return several(path, value, options, |one| Some(text(one))),
    };
    Ok(Some(matcher))
}

/// With multiple value matching each of several values must be found (PS3.4 C.2.2.2.8).
fn several(
    path: &AttributePath,
    value: &str,
    options: Options,
    one: impl Fn(&str) -> Option<Matcher>,
) -> Result<Option<Matcher>, BadKey> {
    if !options.multiple_values || !value.contains('\\') {
        return Ok(one(value));
    }
    if value.contains(['*', '?']) {
        return Err(BadKey::WildcardInList(path.clone()));
    }
    let each = value.split('\\').filter_map(one).collect();
    // Every one of them cannot be in an attribute that has one value.
    let has_one = attributes::by_tag(path.first).is_some_and(|known| !matches!(known.held, Held::List(_)));
    Ok(Some(if has_one { Matcher::OneOf(each) } else { Matcher::Every(each) }))
}

fn text(value: &str) -> Matcher {
    Matcher::Any(vec![Pattern::of(value)])
}

fn person(value: &str, fuzzy: bool) -> Option<Matcher> {
    let literally = NamePattern::of(value);
    let words = FuzzyWord::all_of(value);
    match fuzzy && !words.is_empty() {
        true => Some(Matcher::FuzzyName { words, literally }),
        false => literally.map(Matcher::Name),
    }
}

/// Lists come with commas (PS3.18 8.3.4.1) and, from older clients, with backslashes.
fn split(value: &str) -> impl Iterator<Item = &str> {
    value.split([',', '\\']).map(str::trim).filter(|item| !item.is_empty())
}

fn uids(value: &str) -> Option<Matcher> {
    let valid = |uid: &str| uid.parse::<StudyUid>().is_ok();
    let listed = split(value).all(valid) && split(value).next().is_some();
    listed.then(|| Matcher::Any(split(value).map(|uid| Pattern::Exact(uid.to_owned())).collect()))
}

fn range(value: &str, valid: fn(&str) -> Option<String>) -> Option<Range> {
    let (from, to) = match value.split_once('-') {
        None => (Some(valid(value)?), Some(valid(value)?)),
        Some(("", "")) => return None,
        Some(("", to)) => (None, Some(valid(to)?)),
        Some((from, "")) => (Some(valid(from)?), None),
        Some((from, to)) => (Some(valid(from)?), Some(valid(to)?)),
    };
    Some(Range { from, to })
}

/// A hyphen may begin an offset or part two values: what reads as one value is one.
fn instants(value: &str, zone: Zone) -> Option<Matcher> {
    let local = zone.asked.unwrap_or(zone.stored);
    let read = |text: &str| temporal::instants(text, local);
    if let Some((from, to)) = read(value) {
        return Some(Matcher::Instants { from: Some(from), to: Some(to) });
    }
    let side = |text: &str| if text.is_empty() { Some(None) } else { read(text).map(Some) };
    let parted = |(at, _): (usize, &str)| {
        let (from, to) = (side(&value[..at])?, side(&value[at + 1..])?);
        (from.is_some() || to.is_some())
            .then(|| Matcher::Instants { from: from.map(|(first, _)| first), to: to.map(|(_, last)| last) })
    };
    value.match_indices('-').find_map(parted)
}

/// The key at the end of a path, within the sequences of the path.
fn nested(path: &AttributePath, matcher: Matcher, values: &Values<'_>) -> Result<Key, BadKey> {
    let mut key = Key { tag: path.last(), creator: creator(path, values)?, matcher };
    let mut place = path.parent();
    while let Some(parent) = place {
        let creator = creator(&parent, values)?;
        key = Key { tag: parent.last(), creator, matcher: Matcher::Item(vec![key]) };
        place = parent.parent();
    }
    Ok(key)
}

/// PS3.18 8.3.4.1: a private attribute is named together with its creator, in the same item.
fn creator(path: &AttributePath, values: &Values<'_>) -> Result<Option<String>, BadKey> {
    let Some(creator) = creator_of(path.last()) else { return Ok(None) };
    let named = values.get(&path.sibling(creator)).map(|name| name.trim()).filter(|name| !name.is_empty());
    let missing = || BadKey::NoCreator { name: path.clone(), creator: AttributeId(creator) };
    named.map(|name| Some(name.to_owned())).ok_or_else(missing)
}

/// Keys of the same sequence are about the same item (PS3.4 C.2.2.2.6); a private creator is matched
/// with its attributes, whose block may have another number in the object.
fn merged(keys: Vec<Key>) -> Vec<Key> {
    let mut merged: Vec<Key> = Vec::new();
    for key in keys {
        let same = merged.iter_mut().find(|other| (other.tag, &other.creator) == (key.tag, &key.creator));
        match (same.map(|other| &mut other.matcher), key) {
            (Some(Matcher::Item(others)), Key { matcher: Matcher::Item(more), .. }) => {
                others.extend(more);
                *others = self::merged(std::mem::take(others));
            }
            (_, key) => merged.push(key),
        }
    }
    let named: Vec<Tag> = merged.iter().filter_map(|key| creator_of(key.tag)).collect();
    merged.retain(|key| !named.contains(&key.tag));
    merged
}

/// Dates and the times that belong to them.
const PAIRS: [(Tag, Tag); 8] = [
    (tags::STUDY_DATE, tags::STUDY_TIME),
    (tags::SERIES_DATE, tags::SERIES_TIME),
    (tags::ACQUISITION_DATE, tags::ACQUISITION_TIME),
    (tags::CONTENT_DATE, tags::CONTENT_TIME),
    (tags::INSTANCE_CREATION_DATE, tags::INSTANCE_CREATION_TIME),
    (tags::PERFORMED_PROCEDURE_STEP_START_DATE, tags::PERFORMED_PROCEDURE_STEP_START_TIME),
    (tags::PERFORMED_PROCEDURE_STEP_END_DATE, tags::PERFORMED_PROCEDURE_STEP_END_TIME),
    (tags::SCHEDULED_PROCEDURE_STEP_START_DATE, tags::SCHEDULED_PROCEDURE_STEP_START_TIME),
];

/// The other half of a date or time.
pub fn time_of(date: Tag) -> Option<Tag> {
    PAIRS.iter().find(|(one, _)| *one == date).map(|(_, time)| *time)
}

pub fn date_of(time: Tag) -> Option<Tag> {
    PAIRS.iter().find(|(_, one)| *one == time).map(|(date, _)| *date)
}

/// PS3.18 8.3.4.1.1: ranges of a date and of its time are the ends of one interval.
fn combined(mut keys: Vec<Key>) -> Vec<Key> {
    for (date, time) in PAIRS {
        let range_of = |tag| {
            keys.iter().find(|key| key.tag == tag).and_then(|key| match &key.matcher {
                Matcher::Range(range) => Some(range.clone()),
                _ => None,
            })
        };
        let (Some(dates), Some(times)) = (range_of(date), range_of(time)) else { continue };
        let bounds_nothing = |time: &Option<String>, date: &Option<String>| time.is_some() && date.is_none();
        let is_one_time = times.from == times.to.as_deref().map(temporal::beginning);
        if is_one_time || bounds_nothing(&times.from, &dates.from) || bounds_nothing(&times.to, &dates.to) {
            continue;
        }
        keys.retain(|key| key.tag != date && key.tag != time);
        keys.push(Key { tag: date, creator: None, matcher: Matcher::Combined { time, dates, times } });
    }
    for key in &mut keys {
        if let Matcher::Item(items) = &mut key.matcher {
            *items = combined(std::mem::take(items));
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

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
    }

    #[test]
    fn the_offset_of_the_request_is_no_key_q13c() {
        let keys = one(Level::Study, &[("TimezoneOffsetFromUTC", "-0500")], Options::default()).unwrap();
        assert!(keys.keys.is_empty() && keys.zone.asked == "-0500".parse().ok());
        let bad = one(Level::Study, &[("TimezoneOffsetFromUTC", "EST")], Options::default());
        assert_eq!(bad, Err(BadKey::Offset(named("TimezoneOffsetFromUTC"))));
    }
}
