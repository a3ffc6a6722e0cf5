//! A search as a type: what to match, what to return, which page (PS3.4 C.2.2.2, PS3.18 8.3.4).

pub mod keys;
pub mod moments;
pub mod path;
pub mod pattern;

use std::collections::BTreeMap;

use dicom_core::Tag;

use self::path::AttributePath;
use self::pattern::{FuzzyWord, NamePattern, Pattern};
use crate::auth::Reach;
use crate::dicom::attributes::{self, Level};
use crate::dicom::temporal::Offset;
use crate::dicom::uid::{SeriesUid, StudyUid};

/// A search that is valid by construction.
#[derive(Debug, Clone, PartialEq)]
pub struct SearchRequest {
    /// What one answer is about.
    pub level: Level,
    pub study: Option<StudyUid>,
    pub series: Option<SeriesUid>,
    /// All of them must match.
    pub keys: Vec<Key>,
    pub zone: Zone,
    pub include: Include,
    pub limit: u32,
    pub offset: u32,
    /// Of who searches; what is beyond it is neither found nor counted.
    pub reach: Reach,
}

impl SearchRequest {
    /// Whether entities of several parents of this level may be found (PS3.18 Table 10.6.1-1).
    pub fn is_open_above(&self, level: Level) -> bool {
        let is_open = match level {
            Level::Patient | Level::Study => self.study.is_none(),
            Level::Series => self.series.is_none(),
            Level::Instance => false,
        };
        level < self.level && is_open
    }
}

/// What dates and times without an offset mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Zone {
    /// Timezone Offset From UTC of the request (PS3.18 8.3.4.1.1): its dates and times are local to
    /// it, and what is stored is moved there before it is compared.
    pub asked: Option<Offset>,
    /// Of stored objects that do not say theirs.
    pub stored: Offset,
}

/// Attributes wanted beyond those that are always returned.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Include {
    /// Everything known at the level.
    pub all: bool,
    pub paths: Vec<AttributePath>,
    /// Of private attributes those that come with their creator.
    pub creators: BTreeMap<Tag, String>,
}

impl Include {
    /// Whether the attribute, or something in it, is asked for by name.
    pub fn names(&self, tag: Tag) -> bool {
        self.paths.iter().any(|path| path.first == tag)
    }

    /// Whether an answer needs the stored JSON and not the columns alone.
    pub fn needs_json(&self) -> bool {
        let in_column = |path: &AttributePath| attributes::by_tag(path.first).is_some();
        self.all || !self.paths.iter().all(in_column)
    }
}

/// An attribute and what its value must be.
#[derive(Debug, Clone, PartialEq)]
pub struct Key {
    pub tag: Tag,
    /// Of a private attribute. Its block may have another number in the object (PS3.5 7.8).
    pub creator: Option<String>,
    pub matcher: Matcher,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Matcher {
    /// PS3.4 C.2.2.2.7: absent or without a value.
    Empty,
    /// PS3.4 C.2.2.2.1, C.2.2.2.2 and C.2.2.2.4: some value is one of these.
    Any(Vec<Pattern>),
    Name(NamePattern),
    /// PS3.18 8.3.4.2: each word is found, or the name matches literally.
    FuzzyName {
        words: Vec<FuzzyWord>,
        literally: Option<NamePattern>,
    },
    /// PS3.4 C.2.2.2.5, the attribute a DA or TM.
    Range(Range),
    /// PS3.4 C.2.2.2.5.1: a DA together with the TM that belongs to it is one interval.
    Combined {
        time: Tag,
        dates: Range,
        times: Range,
    },
    /// Of DT, microseconds since 1970 UTC, both ends inclusive.
    Instants {
        from: Option<i64>,
        to: Option<i64>,
    },
    Number(f64),
    /// PS3.4 C.2.2.2.6: some item matches all of these.
    Item(Vec<Key>),
    /// PS3.4 C.2.2.2.8, of attributes with several values.
    Every(Vec<Matcher>),
    /// Of attributes with one value, which a list names the choice of.
    OneOf(Vec<Matcher>),
}

/// Both ends inclusive, at least one there. An end stands for all that begins with it: up to 1015
/// takes in 101559.9.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    pub from: Option<String>,
    pub to: Option<String>,
}

impl Range {
    pub fn contains(&self, value: &str) -> bool {
        !value.is_empty()
            && self.from.as_ref().is_none_or(|from| value >= from.as_str())
            && self.to.as_ref().is_none_or(|to| value <= to.as_str() || value.starts_with(to.as_str()))
    }

    /// The end as a bound that is not reached: `:` sorts behind the digits and the point.
    pub fn end(&self) -> Option<String> {
        self.to.as_ref().map(|to| format!("{to}:"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dicom_dictionary_std::tags;

    #[test]
    fn only_attributes_without_a_column_need_the_json() {
        let including = |tag: Tag| Include { paths: vec![tag.into()], ..Include::default() };
        assert!(!including(tags::STUDY_DESCRIPTION).needs_json());
        assert!(including(tags::PATIENT_AGE).needs_json());
    }

    #[test]
    fn ranges_include_their_ends_and_never_the_empty_value_q12() {
        let range = Range { from: Some("1000".into()), to: Some("1015".into()) };
        assert!(range.contains("1000") && range.contains("101559.9"));
        assert!(!range.contains("1016") && !range.contains("0959") && !range.contains(""));
    }
}
