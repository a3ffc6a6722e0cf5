//! What one version of a report says, as it is kept: sections of text, findings with what became
//! of them, and the images that they are on.

mod check;
mod difference;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::codes::{self, Mapping};
use super::document::{Draft, ImageReference, Report, ReportFinding};
use super::findings::{Certainty, Finding, Laterality, Measurement, Quantity, Severity, Unit};
use super::measure::Measured;
use super::narrative::Narrative;
use super::region::Region;
use super::uids::{self, Role};
use crate::clock::Timestamp;
use crate::json;

pub use check::{Fault, Limits};
pub use difference::{By, Change, Difference, FieldChange, FindingChange, SectionChange, between};

/// Everything a version says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Content {
    pub title: String,
    /// Of the text, RFC 5646.
    pub language: String,
    pub sections: Sections,
    /// Whether a model wrote the impression and nobody has touched it since.
    pub impression_of_model: bool,
    pub findings: Vec<StatedFinding>,
    /// What was added to a signed report, in order.
    #[serde(default)]
    pub addenda: Vec<Addendum>,
    #[serde(default)]
    pub limitations: Vec<String>,
    /// What findings refer to by SOP Instance UID and frame, and what the report was made of.
    pub evidence: Vec<ImageReference>,
}

/// The sections of text, in reading order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Sections {
    pub clinical_information: String,
    pub technique: String,
    pub comparison: String,
    pub findings: String,
    pub impression: String,
}

impl Sections {
    /// By name, in reading order.
    pub fn named(&self) -> [(&'static str, &str); 5] {
        [
            ("clinical_information", &self.clinical_information),
            ("technique", &self.technique),
            ("comparison", &self.comparison),
            ("findings", &self.findings),
            ("impression", &self.impression),
        ]
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addendum {
    pub text: String,
    pub by: String,
    pub at: Timestamp,
}

/// A finding with where it came from and what a person made of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatedFinding {
    pub id: String,
    pub origin: Origin,
    pub decision: Decision,
    pub decided: Option<Decided>,
    pub words: Words,
    /// The model's own, beside what a person made of them.
    pub original: Option<Words>,
    /// Taken by the server on the region of the words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub measured: Vec<Measured>,
    /// Of automatic checks.
    #[serde(default)]
    pub remarks: Vec<String>,
    pub tracking_uid: String,
}

impl StatedFinding {
    /// Whether the report says it: what was rejected is only on record.
    pub fn is_stated(&self) -> bool {
        self.decision != Decision::Rejected
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    Model,
    Person,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = FindingDecision)]
pub enum Decision {
    /// Of the model, and nobody has said anything about it.
    Undecided,
    Accepted,
    /// Changed, or written, by a person.
    Edited,
    Rejected,
}

/// Who decided, when and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decided {
    pub by: String,
    pub at: Timestamp,
    pub reason: Option<String>,
}

/// A finding in words and codes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Words {
    /// What is seen, 3 to 120 characters.
    pub finding: String,
    /// Where, 1 to 80 characters.
    pub location: String,
    pub laterality: Laterality,
    pub certainty: Certainty,
    #[serde(default)]
    pub severity: Option<Severity>,
    /// For readers, in the language of the report; without it one is made of the words.
    #[serde(default)]
    pub sentence: Option<String>,
    /// Of `finding`; left out, the server looks it up.
    #[serde(default, deserialize_with = "json::optional")]
    pub code: Option<CodedWords>,
    #[serde(default, deserialize_with = "json::optional")]
    pub image: Option<ImagePlace>,
    /// In pixels of the image, which must be named.
    #[serde(default, deserialize_with = "json::optional")]
    pub region: Option<Region>,
    #[serde(default, deserialize_with = "json::many")]
    pub measurements: Vec<Taken>,
}

impl Words {
    /// As the checks, the sentences and the SR take it.
    pub fn as_finding(&self) -> Finding {
        let measurement =
            |taken: &Taken| Measurement { name: taken.name, value: taken.value, unit: taken.unit };
        Finding {
            finding: self.finding.clone(),
            location: self.location.clone(),
            laterality: self.laterality,
            certainty: self.certainty,
            severity: self.severity,
            image: None,
            box_2d: None,
            measurements: self.measurements.iter().map(measurement).collect(),
        }
    }

    pub fn sentence(&self) -> String {
        self.sentence.clone().unwrap_or_else(|| super::narrative::sentence(&self.as_finding()))
    }
}

/// A coded entry as the API has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CodedWords {
    /// Coding Scheme Designator, `SCT`.
    pub scheme: String,
    pub value: String,
    pub meaning: String,
}

/// The code that the tables have for the words of a finding.
pub fn known_code(words: &str) -> Option<CodedWords> {
    let concept = codes::finding(words);
    (concept.mapping == Mapping::Mapped).then(|| CodedWords {
        scheme: concept.code.scheme.into_owned(),
        value: concept.code.value.into_owned(),
        meaning: concept.code.meaning.into_owned(),
    })
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImagePlace {
    pub sop_instance_uid: String,
    /// From 1, of multi-frame images.
    #[serde(default)]
    pub frame: Option<u32>,
}

impl ImagePlace {
    pub fn of(image: &ImageReference) -> Self {
        Self { sop_instance_uid: image.sop_instance.to_string(), frame: image.frame }
    }

    pub fn is(&self, image: &ImageReference) -> bool {
        self.sop_instance_uid == image.sop_instance.as_str() && self.frame == image.frame
    }
}

/// A number with where it came from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Taken {
    pub name: Quantity,
    pub value: f64,
    pub unit: Unit,
    /// Set by the server.
    #[serde(default = "by_person")]
    pub method: Method,
}

fn by_person() -> Method {
    Method::Person
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    ModelEstimate,
    Person,
}

impl Content {
    /// The first version of a report that a model drafted.
    pub fn of_draft(report: &Report) -> Self {
        let draft = report.draft();
        let narrative = Narrative::of(report);
        let findings = (1..).zip(&draft.findings);
        Self {
            title: draft.provenance.pipeline.title.clone(),
            language: draft.provenance.reading.language.clone(),
            sections: Sections {
                clinical_information: narrative.indication,
                technique: narrative.technique,
                comparison: narrative.comparison,
                findings: String::new(),
                impression: draft.impression.clone(),
            },
            impression_of_model: true,
            findings: findings.map(|(number, found)| stated(report, number, found)).collect(),
            addenda: Vec::new(),
            limitations: narrative.limitations,
            evidence: draft.evidence.clone(),
        }
    }

    pub fn finding(&self, id: &str) -> Option<&StatedFinding> {
        self.findings.iter().find(|finding| finding.id == id)
    }

    /// Position of an image in the evidence.
    pub fn image(&self, place: &ImagePlace) -> Option<usize> {
        self.evidence.iter().position(|image| place.is(image))
    }

    pub fn undecided(&self) -> usize {
        self.findings.iter().filter(|finding| finding.decision == Decision::Undecided).count()
    }

    pub fn stated(&self) -> impl Iterator<Item = &StatedFinding> {
        self.findings.iter().filter(|finding| finding.is_stated())
    }

    pub fn rejected(&self) -> impl Iterator<Item = &StatedFinding> {
        self.findings.iter().filter(|finding| !finding.is_stated())
    }

    /// Whether a person disagreed with a finding that the impression of the model rests on.
    pub fn impression_is_doubtful(&self) -> bool {
        let touched = |finding: &StatedFinding| {
            finding.origin == Origin::Model
                && matches!(finding.decision, Decision::Edited | Decision::Rejected)
        };
        self.impression_of_model && self.findings.iter().any(touched)
    }
}

/// As the tables of results name it, so that both tell of the same finding.
fn finding_id(draft: &Draft, number: usize) -> String {
    format!("{}.{number}", draft.provenance.analysis_id)
}

fn stated(report: &Report, number: usize, found: &ReportFinding) -> StatedFinding {
    let (draft, finding) = (report.draft(), &found.finding);
    let taken =
        |m: &Measurement| Taken { name: m.name, value: m.value, unit: m.unit, method: Method::ModelEstimate };
    StatedFinding {
        id: finding_id(draft, number),
        origin: Origin::Model,
        decision: Decision::Undecided,
        decided: None,
        words: Words {
            finding: finding.finding.clone(),
            location: finding.location.clone(),
            laterality: finding.laterality,
            certainty: finding.certainty,
            severity: finding.severity,
            sentence: None,
            code: known_code(&finding.finding),
            image: report.image_of(found).map(ImagePlace::of),
            region: found.region,
            measurements: finding.measurements.iter().map(taken).collect(),
        },
        original: None,
        measured: found.measured.clone(),
        remarks: report.remarks_on(number).map(super::parse::Remark::sentence).collect(),
        tracking_uid: uids::derive(&draft.provenance.analysis_id, Role::Finding(number - 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn a_draft_becomes_content_that_reads_back() {
        let content = Content::of_draft(&samples::report(samples::chest_draft()));
        let json = serde_json::to_vec(&content).expect("serialisable");
        assert_eq!(serde_json::from_slice::<Content>(&json).expect("readable"), content);
        assert_eq!((content.findings.len(), content.undecided()), (4, 4));
        let nodule = &content.findings[1];
        assert_eq!(nodule.words.code.as_ref().map(|code| code.scheme.as_str()), Some("SCT"));
        assert_eq!((nodule.remarks.len(), nodule.words.measurements[0].method), (1, Method::ModelEstimate));
        assert_eq!(content.findings[2].words.code, None);
    }

    #[test]
    fn an_impression_of_the_model_is_doubtful_once_a_finding_is_rejected() {
        let mut content = Content::of_draft(&samples::report(samples::chest_draft()));
        content.findings[0].decision = Decision::Accepted;
        assert!(!content.impression_is_doubtful());
        content.findings[1].decision = Decision::Rejected;
        assert!(content.impression_is_doubtful());
        content.impression_of_model = false;
        assert!(!content.impression_is_doubtful());
    }
}
