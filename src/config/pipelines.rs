//! What models are asked: the pipelines, their images, the language of the answer, and what the
//! order and earlier reports may add.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

/// One kind of analysis. Rules name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pipeline {
    ChestRadiograph,
    LongitudinalChest,
    Ct,
    Mr,
    Photograph,
}

impl Pipeline {
    pub const ALL: [Self; 5] =
        [Self::ChestRadiograph, Self::LongitudinalChest, Self::Ct, Self::Mr, Self::Photograph];

    /// In the configuration and in results; also that of its prompt.
    pub fn name(self) -> &'static str {
        match self {
            Self::ChestRadiograph => "chest-radiograph",
            Self::LongitudinalChest => "longitudinal-chest",
            Self::Ct => "ct",
            Self::Mr => "mr",
            Self::Photograph => "photograph",
        }
    }

    /// Whether it is off unless `analysis.experimental` turns it on.
    pub fn is_experimental(self) -> bool {
        self != Self::ChestRadiograph
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|pipeline| pipeline.name() == name)
    }
}

/// How many images a model is shown, by pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImagesMax {
    chest_radiograph: usize,
    ct: usize,
    mr: usize,
    photograph: usize,
}

/// As many as one model can be shown.
const IMAGES: std::ops::RangeInclusive<usize> = 1..=85;

impl ImagesMax {
    /// A comparison is always of two.
    pub fn of(&self, pipeline: Pipeline) -> usize {
        match pipeline {
            Pipeline::ChestRadiograph => self.chest_radiograph,
            Pipeline::LongitudinalChest => 2,
            Pipeline::Ct => self.ct,
            Pipeline::Mr => self.mr,
            Pipeline::Photograph => self.photograph,
        }
    }

    pub(super) fn check(&self) -> Result<(), String> {
        let all = [
            ("chest_radiograph", self.chest_radiograph),
            ("ct", self.ct),
            ("mr", self.mr),
            ("photograph", self.photograph),
        ];
        match all.into_iter().find(|(_, images)| !IMAGES.contains(images)) {
            Some((key, images)) => Err(format!("analysis.images_max.{key} = {images} must be 1 to 85")),
            None => Ok(()),
        }
    }
}

/// What can be told to a model beside the images. Names, identifiers and dates of birth are in none
/// of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ContextKind {
    /// Reason for the Requested Procedure (0040,1002).
    Reason,
    /// Requested Procedure Description (0032,1060).
    Procedure,
    /// Study Description (0008,1030).
    StudyDescription,
    /// Additional Patient History (0010,21B0).
    History,
    /// Patient's Age (0010,1010).
    Age,
    /// Patient's Sex (0010,0040).
    Sex,
    /// The signed report of the study before.
    PriorReport,
}

impl ContextKind {
    pub const ALL: [Self; 7] = [
        Self::Reason,
        Self::Procedure,
        Self::StudyDescription,
        Self::History,
        Self::Age,
        Self::Sex,
        Self::PriorReport,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Reason => "reason",
            Self::Procedure => "procedure",
            Self::StudyDescription => "study-description",
            Self::History => "history",
            Self::Age => "age",
            Self::Sex => "sex",
            Self::PriorReport => "prior-report",
        }
    }
}

/// What a report is written in: a tag of RFC 5646 and the English name of the language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Language {
    pub tag: &'static str,
    pub name: &'static str,
}

impl Language {
    pub const ENGLISH: Self = Self { tag: "en", name: "English" };

    pub fn of(tag: &str) -> Option<Self> {
        let known = LANGUAGES.iter().find(|(known, _)| known.eq_ignore_ascii_case(tag));
        known.map(|&(tag, name)| Self { tag, name })
    }
}

impl<'de> Deserialize<'de> for Language {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let tag = String::deserialize(deserializer)?;
        let known = || LANGUAGES.map(|(tag, _)| tag).join(", ");
        Self::of(&tag).ok_or_else(|| D::Error::custom(format!("no language {tag:?} here, only {}", known())))
    }
}

const LANGUAGES: [(&str, &str); 31] = [
    ("ar", "Arabic"),
    ("bg", "Bulgarian"),
    ("cs", "Czech"),
    ("da", "Danish"),
    ("de", "German"),
    ("el", "Greek"),
    ("en", "English"),
    ("es", "Spanish"),
    ("et", "Estonian"),
    ("fi", "Finnish"),
    ("fr", "French"),
    ("he", "Hebrew"),
    ("hi", "Hindi"),
    ("hr", "Croatian"),
    ("hu", "Hungarian"),
    ("it", "Italian"),
    ("ja", "Japanese"),
    ("ko", "Korean"),
    ("lt", "Lithuanian"),
    ("lv", "Latvian"),
    ("nb", "Norwegian"),
    ("nl", "Dutch"),
    ("pl", "Polish"),
    ("pt", "Portuguese"),
    ("ro", "Romanian"),
    ("ru", "Russian"),
    ("sk", "Slovak"),
    ("sv", "Swedish"),
    ("tr", "Turkish"),
    ("uk", "Ukrainian"),
    ("zh", "Chinese"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_to_their_pipelines() {
        for pipeline in Pipeline::ALL {
            assert_eq!(Pipeline::from_name(pipeline.name()), Some(pipeline));
            assert_eq!(serde_json::to_value(pipeline).unwrap(), pipeline.name());
        }
        for kind in ContextKind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
        }
    }

    #[test]
    fn a_language_without_a_name_is_refused_with_those_that_have_one() {
        let language = |tag: &str| serde_json::from_value::<Language>(tag.into());
        assert_eq!(language("DE").unwrap().name, "German");
        assert!(language("tlh").unwrap_err().to_string().contains("de, el, en"));
    }
}
