//! How well findings agree with what somebody who knows has said: pure, both sides in, figures out.
//!
//! [`expected`] reads what is said, [`judge`] counts one study, [`figures`] makes shares of counts.
//! Names are compared by the codes that reports carry: two wordings of one code are one finding.

pub mod expected;
pub mod figures;
pub mod judge;

use std::fmt;

use serde::{Deserialize, Serialize};

use super::codes;
use super::findings::{Certainty, Laterality};
use super::region::Region;

/// A finding by its code.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Name {
    pub scheme: String,
    pub value: String,
    pub meaning: String,
}

impl Name {
    pub fn of(words: &str) -> Self {
        let code = codes::finding(words).code;
        Self { scheme: code.scheme.into(), value: code.value.into(), meaning: code.meaning.into() }
    }

    /// Whether it is one that reports have a code for.
    pub fn is_coded(&self) -> bool {
        self.scheme != codes::PRIVATE_SCHEME
    }

    /// The meaning of words without a code keeps their spelling, which makes no difference.
    fn is(&self, other: &Self) -> bool {
        (&self.scheme, &self.value) == (&other.scheme, &other.value)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.meaning)
    }
}

/// A place on an image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Place {
    /// Of an expectation it may be open: a study of one image needs no name of it.
    pub sop_instance: Option<String>,
    pub region: Region,
}

/// What a model says that it sees.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    pub finding: String,
    pub laterality: Laterality,
    pub certainty: Certainty,
    pub place: Option<Place>,
}

impl Region {
    /// The area that both cover, of the area that either covers.
    pub fn intersection_over_union(&self, other: &Self) -> f64 {
        let length = |low: f32, high: f32| f64::from((high - low).max(0.0));
        let area = |one: &Self| length(one.left, one.right) * length(one.top, one.bottom);
        let common = length(self.left.max(other.left), self.right.min(other.right))
            * length(self.top.max(other.top), self.bottom.min(other.bottom));
        let either = area(self) + area(other) - common;
        if either > 0.0 { common / either } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wordings_of_one_code_are_one_finding() {
        assert!(Name::of("Enlarged heart").is(&Name::of("cardiomegaly")));
        assert!(Name::of("shmoo  sign").is(&Name::of("Shmoo sign")) && !Name::of("shmoo sign").is_coded());
        assert!(!Name::of("no pleural effusion").is(&Name::of("pleural effusion")));
    }

    #[test]
    fn overlap_is_the_share_of_what_either_covers() {
        let region = |left, right| Region { left, top: 0.0, right, bottom: 10.0 };
        let overlap = |a: Region, b: Region| a.intersection_over_union(&b);
        assert_eq!(overlap(region(0.0, 10.0), region(0.0, 10.0)), 1.0);
        assert_eq!(overlap(region(0.0, 10.0), region(5.0, 15.0)), 1.0 / 3.0);
        assert_eq!(overlap(region(0.0, 10.0), region(10.0, 15.0)), 0.0);
    }
}
