//! The value of a key, by the VR of its attribute (PS3.4 C.2.2.2).

use dicom_core::VR;
use dicom_dictionary_std::tags;

use super::{BadKey, Options, UIDS_MAX, VALUE_BYTES_MAX};
use crate::dicom::attributes::{self, Held};
use crate::dicom::temporal;
use crate::dicom::uid::StudyUid;
use crate::query::request::path::{AttributePath, vr_of};
use crate::query::request::pattern::{FuzzyWord, NamePattern, Pattern};
use crate::query::request::{Matcher, Range, Zone};

/// `None` stands for universal matching (PS3.4 C.2.2.2.3).
pub(super) fn matcher(
    path: &AttributePath,
    value: &str,
    zone: Zone,
    options: Options,
) -> Result<Option<Matcher>, BadKey> {
    if options.empty_values && value == "\"\"" {
        return Ok(Some(Matcher::Empty));
    }
    if value.bytes().all(|b| b == b'*') {
        return Ok(None);
    }
    match vr_of(path.last()) {
        Some(VR::UI) => uids(path, value).map(Some),
        _ if value.len() > VALUE_BYTES_MAX => Err(BadKey::Long(path.clone())),
        Some(VR::DA) => dates(path, value).map(Some),
        Some(VR::TM) => times(path, value).map(Some),
        Some(VR::DT) => instants(path, value, zone).map(Some),
        Some(VR::IS | VR::DS | VR::US | VR::SS | VR::UL | VR::SL | VR::UV | VR::SV | VR::FL | VR::FD) => {
            number(path, value).map(Some)
        }
        Some(VR::SQ) => Err(BadKey::Sequence(path.clone())),
        Some(VR::OB | VR::OW | VR::OF | VR::OD | VR::OL | VR::OV) => Err(BadKey::Binary(path.clone())),
        Some(VR::LT | VR::ST | VR::UT | VR::UR) => Ok(Some(text(value))),
        Some(VR::PN) => several(path, value, options, |name| person(name, options.fuzzy)),
        _ if path.first == tags::MODALITIES_IN_STUDY && !options.multiple_values => {
            // A list of nothing is no choice.
            Ok(split(value).next().map(|_| any(value)))
        }
        _ => several(path, value, options, |one| Some(text(one))),
    }
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
    let each: Vec<Matcher> = value.split('\\').filter(|one| !one.is_empty()).filter_map(one).collect();
    if each.is_empty() {
        return Ok(None);
    }
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

fn any(value: &str) -> Matcher {
    Matcher::Any(split(value).map(Pattern::of).collect())
}

fn uids(path: &AttributePath, value: &str) -> Result<Matcher, BadKey> {
    let valid = |uid: &str| uid.parse::<StudyUid>().is_ok();
    match split(value).count() {
        0 => Err(BadKey::Uid(path.clone())),
        listed if listed > UIDS_MAX => Err(BadKey::ManyUids(path.clone())),
        _ if !split(value).all(valid) => Err(BadKey::Uid(path.clone())),
        _ => Ok(any(value)),
    }
}

fn number(path: &AttributePath, value: &str) -> Result<Matcher, BadKey> {
    let number = value.trim().parse().ok().filter(|number: &f64| number.is_finite());
    number.map(Matcher::Number).ok_or_else(|| BadKey::Number(path.clone()))
}

fn dates(path: &AttributePath, value: &str) -> Result<Matcher, BadKey> {
    range(value, temporal::date).map(Matcher::Range).ok_or_else(|| BadKey::Date(path.clone()))
}

fn times(path: &AttributePath, value: &str) -> Result<Matcher, BadKey> {
    let Range { from, to } = range(value, temporal::time).ok_or_else(|| BadKey::Time(path.clone()))?;
    Ok(Matcher::Range(Range { from: from.map(|from| temporal::beginning(&from)), to }))
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
fn instants(path: &AttributePath, value: &str, zone: Zone) -> Result<Matcher, BadKey> {
    let local = zone.asked.unwrap_or(zone.stored);
    let read = |text: &str| temporal::instants(text, local);
    if let Some((from, to)) = read(value) {
        return Ok(Matcher::Instants { from: Some(from), to: Some(to) });
    }
    let side = |text: &str| if text.is_empty() { Some(None) } else { read(text).map(Some) };
    let parted = |(at, _): (usize, &str)| {
        let (from, to) = (side(&value[..at])?, side(&value[at + 1..])?);
        (from.is_some() || to.is_some())
            .then(|| Matcher::Instants { from: from.map(|(first, _)| first), to: to.map(|(_, last)| last) })
    };
    value.match_indices('-').find_map(parted).ok_or_else(|| BadKey::DateTime(path.clone()))
}
