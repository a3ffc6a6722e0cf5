//! A search as a type: what to match, what to return, which page (PS3.4 C.2.2.2, PS3.18 8.3.4).

use dicom_core::Tag;

use crate::dicom::attributes::{self, Attribute, Level, Matching};
use crate::dicom::uid::{SeriesUid, StudyUid};

/// A search that is valid by construction.
#[derive(Debug, Clone, PartialEq)]
pub struct SearchRequest {
    /// What one answer is about: a study, a series or an instance.
    pub level: Level,
    pub study: Option<StudyUid>,
    pub series: Option<SeriesUid>,
    pub matches: Vec<Match>,
    pub include: Include,
    pub limit: u32,
    pub offset: u32,
}

/// Attributes wanted beyond those that are always returned.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Include {
    /// Everything known at the level.
    pub all: bool,
    pub tags: Vec<Tag>,
}

impl Include {
    pub fn names(&self, tag: Tag) -> bool {
        self.all || self.tags.contains(&tag)
    }

    /// Whether an answer needs the stored JSON and not the columns alone.
    pub fn needs_json(&self) -> bool {
        let in_column =
            |tag: &Tag| attributes::by_tag(*tag).is_some_and(|a| a.held != attributes::Held::Json);
        self.all || !self.tags.iter().all(in_column)
    }
}

/// One key of the search.
#[derive(Debug, Clone, PartialEq)]
pub struct Match {
    pub attribute: &'static Attribute,
    pub matcher: Matcher,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Matcher {
    /// PS3.4 C.2.2.2.1.
    Single(String),
    /// PS3.4 C.2.2.2.4; the pattern with `*` and `?`.
    Wildcard(String),
    /// PS3.4 C.2.2.2.2: any of these.
    List(Vec<String>),
    /// PS3.4 C.2.2.2.5, both ends inclusive, at least one there.
    Range {
        from: Option<String>,
        to: Option<String>,
    },
    Number(i64),
}

/// Why a value cannot be matched. The value itself stays out of the text: it may name a patient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadValue {
    #[error("{0} takes a date YYYYMMDD or a range of dates")]
    Date(&'static str),
    #[error("{0} takes a time HHMMSS or a range of times")]
    Time(&'static str),
    #[error("{0} takes a UID or a list of UIDs")]
    Uid(&'static str),
    #[error("{0} takes a whole number")]
    Number(&'static str),
}

impl Match {
    /// `None` stands for universal matching (PS3.4 C.2.2.2.3) and for attributes that are not
    /// searchable.
    ///
    /// # Errors
    /// The value does not have the form of the attribute.
    pub fn parse(attribute: &'static Attribute, value: &str) -> Result<Option<Self>, BadValue> {
        if value.is_empty() || value.bytes().all(|b| b == b'*') {
            return Ok(None);
        }
        let matcher = match attribute.matching {
            Matching::None => return Ok(None),
            Matching::Text => text(value),
            Matching::Name { .. } => text(&folded_name(value)),
            Matching::Uid => uids(value).ok_or(BadValue::Uid(attribute.keyword))?,
            Matching::Date => range(value, date).ok_or(BadValue::Date(attribute.keyword))?,
            Matching::Time => range(value, time).ok_or(BadValue::Time(attribute.keyword))?,
            Matching::Number => {
                Matcher::Number(value.trim().parse().map_err(|_| BadValue::Number(attribute.keyword))?)
            }
            Matching::AnyModality => Matcher::List(split(value)),
        };
        Ok(Some(Self { attribute, matcher }))
    }
}

/// Names match whatever the case; empty trailing components do not count.
pub fn folded_name(name: &str) -> String {
    let groups: Vec<&str> = name.split('=').map(|group| group.trim_end_matches(['^', ' '])).collect();
    groups.join("=").trim_end_matches('=').to_uppercase()
}

fn text(value: &str) -> Matcher {
    if value.contains(['*', '?']) {
        Matcher::Wildcard(value.to_owned())
    } else {
        Matcher::Single(value.to_owned())
    }
}

/// Lists come with commas (PS3.18 8.3.4.1) and, from older clients, with backslashes.
fn split(value: &str) -> Vec<String> {
    value.split([',', '\\']).map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
}

fn uids(value: &str) -> Option<Matcher> {
    let uids = split(value);
    let valid = |uid: &String| uid.parse::<StudyUid>().is_ok();
    (!uids.is_empty() && uids.iter().all(valid)).then_some(Matcher::List(uids))
}

fn range(value: &str, valid: fn(&str) -> Option<String>) -> Option<Matcher> {
    match value.split_once('-') {
        None => valid(value).map(Matcher::Single),
        Some(("", "")) => None,
        Some(("", to)) => Some(Matcher::Range { from: None, to: Some(valid(to)?) }),
        Some((from, "")) => Some(Matcher::Range { from: Some(valid(from)?), to: None }),
        Some((from, to)) => Some(Matcher::Range { from: Some(valid(from)?), to: Some(valid(to)?) }),
    }
}

fn date(text: &str) -> Option<String> {
    let text = text.trim();
    let digits = text.len() == 8 && text.bytes().all(|b| b.is_ascii_digit());
    let month = digits.then(|| &text[4..6])?;
    let in_calendar = ("01"..="12").contains(&month) && ("01"..="31").contains(&&text[6..]);
    in_calendar.then(|| text.to_owned())
}

/// `HH[MM[SS[.F{1,6}]]]`; colons of the older form are dropped.
fn time(text: &str) -> Option<String> {
    let text = text.trim().replace(':', "");
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, "0"));
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    let fraction_fits = (1..=6).contains(&fraction.len()) && digits(fraction);
    let whole_fits =
        matches!(whole.len(), 2 | 4 | 6) && digits(whole) && (whole.len() == 6 || !text.contains('.'));
    let on_the_clock = |at: usize, below: &str| whole.get(at..at + 2).is_none_or(|part| part < below);
    let valid = fraction_fits
        && whole_fits
        && on_the_clock(0, "24")
        && on_the_clock(2, "60")
        && on_the_clock(4, "61");
    valid.then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(keyword: &str, value: &str, expected: Result<Option<Matcher>, BadValue>) {
        let attribute = attributes::ATTRIBUTES.iter().find(|a| a.keyword == keyword).unwrap();
        assert_eq!(Match::parse(attribute, value).map(|found| found.map(|m| m.matcher)), expected);
    }

    fn list(items: &[&str]) -> Matcher {
        Matcher::List(items.iter().map(|&item| item.to_owned()).collect())
    }

    #[test]
    fn dates_are_single_or_ranges() {
        let range = |from: Option<&str>, to: Option<&str>| {
            Ok(Some(Matcher::Range { from: from.map(str::to_owned), to: to.map(str::to_owned) }))
        };
        check("StudyDate", "20260131", Ok(Some(Matcher::Single("20260131".into()))));
        check("StudyDate", "20260101-20261231", range(Some("20260101"), Some("20261231")));
        check("StudyDate", "20260101-", range(Some("20260101"), None));
        check("StudyDate", "-20260101", range(None, Some("20260101")));
        for bad in ["2026", "20261301", "20260100", "yesterday", "-", "20260101-x"] {
            check("StudyDate", bad, Err(BadValue::Date("StudyDate")));
        }
    }

    #[test]
    fn times_may_be_short_but_must_be_on_the_clock() {
        check("StudyTime", "10", Ok(Some(Matcher::Single("10".into()))));
        check("StudyTime", "10:15:30.5", Ok(Some(Matcher::Single("101530.5".into()))));
        for bad in ["1", "24", "1060", "10.5", "101530.", "101530.1234567"] {
            check("StudyTime", bad, Err(BadValue::Time("StudyTime")));
        }
    }

    #[test]
    fn uid_lists_come_with_commas_or_backslashes() {
        check("StudyInstanceUID", "1.2,1.3", Ok(Some(list(&["1.2", "1.3"]))));
        check("StudyInstanceUID", r"1.2\1.3", Ok(Some(list(&["1.2", "1.3"]))));
        check("StudyInstanceUID", "1.2*", Err(BadValue::Uid("StudyInstanceUID")));
    }

    #[test]
    fn wildcards_names_and_universal_matching() {
        check("PatientID", "A?*", Ok(Some(Matcher::Wildcard("A?*".into()))));
        check("PatientName", "Doe^Ann^", Ok(Some(Matcher::Single("DOE^ANN".into()))));
        check("PatientName", "**", Ok(None));
        check("AccessionNumber", "", Ok(None));
        check("SeriesNumber", "x", Err(BadValue::Number("SeriesNumber")));
    }

    #[test]
    fn only_attributes_without_a_column_need_the_json() {
        use dicom_dictionary_std::tags;
        let including = |tag| Include { all: false, tags: vec![tag] };
        assert!(!including(tags::STUDY_DESCRIPTION).needs_json());
        assert!(including(tags::PATIENT_AGE).needs_json());
    }
}
