//! Whether stored attributes match the keys of a search (PS3.4 C.2.2.2): values in, a verdict out.

use base64::prelude::*;
use dicom_core::Tag;
use dicom_dictionary_std::tags;
use serde_json::{Map, Value};

use crate::dicom::data_set::name_text;
use crate::dicom::header::hex;
use crate::dicom::person_name::NameKeys;
use crate::dicom::temporal::{self, Offset};
use crate::query::request::moments::{date_of, time_of};
use crate::query::request::{Key, Matcher, Zone};

/// A data set as DICOM JSON (PS3.18 F.2).
type Object = Map<String, Value>;

/// Whether all keys match.
pub fn matches(object: &Object, keys: &[Key], zone: Zone) -> bool {
    let here = Here { zone, stored: stored_offset(object).unwrap_or(zone.stored) };
    keys.iter().all(|key| here.matches(object, key))
}

fn stored_offset(object: &Object) -> Option<Offset> {
    let element = object.get(&hex(tags::TIMEZONE_OFFSET_FROM_UTC))?;
    texts(element).first()?.parse().ok()
}

/// Which clock the request and the object go by.
struct Here {
    zone: Zone,
    stored: Offset,
}

impl Here {
    fn matches(&self, object: &Object, key: &Key) -> bool {
        match &key.matcher {
            Matcher::Range(range) => self.moments(object, key.tag).iter().any(|value| range.contains(value)),
            Matcher::Combined { time, dates, times } => {
                let (date, time) = self.moment(object, key.tag, *time);
                let after =
                    |from: &str| date.as_str() > from || times.from.as_ref().is_none_or(|t| time >= *t);
                let before = |to: &str| date.as_str() < to || times.to.is_none() || within(&time, &times.to);
                dates.contains(&date)
                    && dates.from.as_deref().is_none_or(after)
                    && dates.to.as_deref().is_none_or(before)
            }
            matcher => {
                let element = find(object, key.tag, key.creator.as_deref());
                element.map_or(*matcher == Matcher::Empty, |element| self.element_matches(element, matcher))
            }
        }
    }

    fn element_matches(&self, element: &Value, matcher: &Matcher) -> bool {
        match matcher {
            Matcher::Empty => is_empty(element),
            Matcher::Any(patterns) => {
                let values = texts(element);
                values.iter().any(|value| patterns.iter().any(|pattern| pattern.matches(value)))
            }
            Matcher::Name(pattern) => names(element).iter().any(|name| pattern.matches(name.groups())),
            Matcher::FuzzyName { words, literally } => names(element).iter().any(|name| {
                literally.as_ref().is_some_and(|pattern| pattern.matches(name.groups()))
                    || words.iter().all(|word| word.matches(&name.words, &name.sounds))
            }),
            Matcher::Instants { from, to } => {
                let read = texts(element);
                let mut spans = read.iter().filter_map(|text| temporal::instants(text, self.stored));
                spans.any(|(first, last)| {
                    from.is_none_or(|from| last >= from) && to.is_none_or(|to| first <= to)
                })
            }
            Matcher::Number(number) => values(element).any(|value| number_of(value) == Some(*number)),
            Matcher::Item(keys) => values(element)
                .filter_map(Value::as_object)
                .any(|item| keys.iter().all(|key| self.matches(item, key))),
            Matcher::OneOf(each) => each.iter().any(|matcher| self.element_matches(element, matcher)),
            Matcher::Every(each) => each.iter().all(|matcher| self.element_matches(element, matcher)),
            Matcher::Range(range) => texts(element).iter().any(|value| range.contains(value)),
            // Of two elements, and compared where both are at hand.
            Matcher::Combined { .. } => false,
        }
    }

    /// The values of a date or a time as the request's clock shows them.
    fn moments(&self, object: &Object, tag: Tag) -> Vec<String> {
        let of = |tag| object.get(&hex(tag)).map(texts).unwrap_or_default();
        match (self.zone.asked, time_of(tag), date_of(tag)) {
            (Some(_), Some(time), _) => vec![self.moment(object, tag, time).0],
            (Some(_), None, Some(date)) => vec![self.moment(object, date, tag).1],
            _ => of(tag),
        }
    }

    fn moment(&self, object: &Object, date: Tag, time: Tag) -> (String, String) {
        let first = |tag| {
            let values = object.get(&hex(tag)).map(texts).unwrap_or_default();
            values.into_iter().next().unwrap_or_default()
        };
        let (date, time) = (first(date), first(time));
        match self.zone.asked {
            Some(asked) => temporal::rebased(&date, &time, self.stored, asked),
            None => (date, time),
        }
    }
}

fn within(time: &str, end: &Option<String>) -> bool {
    let end = end.as_deref().unwrap_or_default();
    !time.is_empty() && (time <= end || time.starts_with(end))
}

fn find<'a>(object: &'a Object, tag: Tag, creator: Option<&str>) -> Option<&'a Value> {
    let tag = creator.map_or(Some(tag), |creator| private(object, tag, creator))?;
    object.get(&hex(tag))
}

/// A private attribute lies in the block that its creator has in this object (PS3.5 7.8.1).
pub fn private(object: &Object, tag: Tag, creator: &str) -> Option<Tag> {
    let reserves = |block: &u16| {
        let element = object.get(&hex(Tag(tag.group(), *block)));
        element.is_some_and(|element| texts(element).first().is_some_and(|name| name == creator))
    };
    let mut blocks = (0x10..=0xFF_u16).filter(reserves);
    let in_block = |block: u16| Tag(tag.group(), block << 8 | (tag.element() & 0xFF));
    blocks.find(|block| object.contains_key(&hex(in_block(*block)))).map(in_block)
}

fn is_empty(element: &Value) -> bool {
    let says_something = |key| element.get(key).is_some();
    !says_something("InlineBinary") && !says_something("BulkDataURI") && values(element).next().is_none()
}

/// The values that are there.
fn values(element: &Value) -> impl Iterator<Item = &Value> {
    let listed = element.get("Value").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    listed.iter().filter(|value| !value.is_null())
}

/// Values as text. What came without a known VR is text in some unknown repertoire.
fn texts(element: &Value) -> Vec<String> {
    if let Some(bytes) = element.get("InlineBinary").and_then(Value::as_str) {
        let bytes = BASE64_STANDARD.decode(bytes).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        return text.split('\\').map(|value| value.trim_matches([' ', '\0']).to_owned()).collect();
    }
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.trim_matches(' ').to_owned()),
        Value::Number(number) => Some(number.to_string()),
        Value::Object(_) => Some(name_text(value)),
        _ => None,
    };
    values(element).filter_map(text).collect()
}

fn number_of(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.trim().parse().ok())
}

fn names(element: &Value) -> Vec<NameKeys> {
    values(element).map(|value| NameKeys::of(&name_text(value))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::dicom::attributes::Level;
    use crate::query::request::keys::{self, Options};

    const EVERY: Options = Options {
        fuzzy: false,
        empty_values: true,
        multiple_values: true,
        separate_moments: false,
        stored_zone: Offset::UTC,
    };

    fn object() -> Value {
        json!({
            "00080005": {"vr": "CS", "Value": ["ISO_IR 100"]},
            "00080008": {"vr": "CS", "Value": ["ORIGINAL", "PRIMARY"]},
            "00080020": {"vr": "DA", "Value": ["20260110"]},
            "00080030": {"vr": "TM", "Value": ["0030"]},
            "00080201": {"vr": "SH", "Value": ["+0100"]},
            "0008002A": {"vr": "DT", "Value": ["20260110003000"]},
            "00091010": {"vr": "UN", "InlineBinary": "QUJDIA=="},
            "00090010": {"vr": "LO", "Value": ["ACME"]},
            "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Müller^Hans"}]},
            "00104000": {"vr": "LT"},
            "00101030": {"vr": "DS", "Value": [72.5]},
            "00400275": {"vr": "SQ", "Value": [
                {"00400009": {"vr": "SH", "Value": ["S1"]}, "00401001": {"vr": "SH", "Value": ["P1"]}},
                {"00400009": {"vr": "SH", "Value": ["S2"]}, "00401001": {"vr": "SH", "Value": ["P2"]},
                 "00400008": {"vr": "SQ", "Value": [{"00080100": {"vr": "SH", "Value": ["C1"]}}]}},
            ]},
        })
    }

    fn found(pairs: &[(&str, &str)], options: Options) -> bool {
        let Value::Object(object) = object() else { unreachable!() };
        let keys = keys::parse(Level::Instance, pairs.iter().copied(), options).unwrap();
        matches(&object, &keys.keys, keys.zone)
    }

    #[track_caller]
    fn check(name: &str, value: &str, expected: bool) {
        assert_eq!(found(&[(name, value)], EVERY), expected, "{name}={value}");
    }

    #[test]
    fn any_value_of_an_attribute_may_match() {
        check("ImageType", "PRIMARY", true);
        check("ImageType", "prim*", true);
        check("ImageType", "AXIAL", false);
        check("PatientWeight", "72.50", true);
        check("AcquisitionDateTime", "20260109-20260110", true);
        check("AcquisitionDateTime", "20260110010000+0200-", true);
        check("AcquisitionDateTime", "20260110010000-", false);
    }

    #[test]
    fn no_value_is_a_value_where_the_request_says_so_q21() {
        check("PatientComments", "\"\"", true);
        check("PatientAge", "\"\"", true);
        check("PatientName", "\"\"", false);
        check("PatientAge", "040Y", false);
    }

    #[test]
    fn every_one_of_several_values_must_be_there_q21b() {
        check("ImageType", r"PRIMARY\ORIGINAL", true);
        check("ImageType", r"PRIMARY\AXIAL", false);
    }

    #[test]
    fn keys_of_a_sequence_match_in_one_item_q30_q31() {
        let both = |step, procedure| {
            found(
                &[
                    ("RequestAttributesSequence.ScheduledProcedureStepID", step),
                    ("RequestAttributesSequence.RequestedProcedureID", procedure),
                ],
                EVERY,
            )
        };
        assert!(both("S2", "P2") && !both("S1", "P2"));
        check("00400275.ScheduledProtocolCodeSequence.CodeValue", "C1", true);
        check("00400275.ScheduledProtocolCodeSequence.CodeValue", "C2", false);
    }

    #[test]
    fn private_attributes_are_found_by_their_creator_q41() {
        assert!(found(&[("00091010", "ABC"), ("00090010", "ACME")], EVERY));
        assert!(found(&[("00091110", "AB*"), ("00090011", "ACME")], EVERY));
        assert!(!found(&[("00091010", "ABC"), ("00090010", "OTHER")], EVERY));
        check("00090010", "ACME", true);
    }

    #[test]
    fn a_date_and_its_time_are_one_moment_q13b() {
        let within = |date, time| found(&[("StudyDate", date), ("StudyTime", time)], EVERY);
        assert!(within("20260109-20260110", "2300-0100") && within("20260109-", "2300-"));
        assert!(!within("20260109-20260110", "2300-0010") && !within("20260110-", "0031-"));
    }

    #[test]
    fn dates_and_times_are_those_of_the_requests_clock_q13c() {
        let there = |date, zone| found(&[("StudyDate", date), ("TimezoneOffsetFromUTC", zone)], EVERY);
        assert!(there("20260109", "+0000") && there("20260110", "+0100"));
        assert!(!there("20260110", "-0500"));
        assert!(found(&[("StudyTime", "1830"), ("TimezoneOffsetFromUTC", "-0500")], EVERY));
    }

    #[test]
    fn fuzzy_names_match_by_word_and_sound_q20() {
        let fuzzy = Options { fuzzy: true, ..EVERY };
        for near in ["hans", "mueller", "Muller^H", "*ller*"] {
            assert!(found(&[("PatientName", near)], fuzzy), "{near}");
        }
        assert!(!found(&[("PatientName", "schmidt")], fuzzy) && !found(&[("PatientName", "hans")], EVERY));
    }
}
