//! The report in sentences, section by section, for the REST API and the PDF.

use serde::Serialize;

use super::codes::{self, Mapping};
use super::document::{Draft, Report, ReportFinding};
use super::findings::{Certainty, Finding, Laterality, Measurement, Quantity, Severity, Unit};
use super::parse::Remark;
use super::region::Region;

/// On every report, whatever the model.
pub const AI_DRAFT: &str = "AI draft. Preliminary and unverified. Not for diagnosis.";

/// On the reports of experimental pipelines.
pub const EXPERIMENTAL: &str = "Experimental: the accuracy of vision-language models on cross-sectional studies is little better than chance.";

const DISCLAIMERS: [&str; 3] = [
    "This text was written by a machine and has not been reviewed by a physician. It must not be used for diagnosis or treatment.",
    "Sizes and other numbers are estimates by the model, not measurements on the pixels. The wording of certainty is the model's own and is not calibrated.",
    "The absence of a finding from this draft does not mean that it is absent from the patient.",
];

/// The sections of a report, in reading order.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Narrative {
    pub title: String,
    /// What must be read first.
    pub warnings: Vec<String>,
    pub indication: String,
    pub technique: String,
    pub comparison: String,
    pub findings: Vec<FindingSection>,
    pub impression: String,
    pub measurements: Vec<MeasurementRow>,
    pub limitations: Vec<String>,
    pub disclaimers: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FindingSection {
    /// 1-based, as remarks and measurements refer to it.
    pub number: usize,
    pub sentence: String,
    /// Which image, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// In pixels of that image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<Region>,
    pub coding: Mapping,
    pub remarks: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MeasurementRow {
    pub finding: usize,
    pub of: String,
    pub quantity: &'static str,
    pub value: String,
    pub unit: &'static str,
    pub method: &'static str,
}

impl Narrative {
    pub fn of(report: &Report) -> Self {
        let draft = report.draft();
        Self {
            title: draft.provenance.pipeline.title.clone(),
            warnings: warnings(draft),
            indication: indication(draft),
            technique: technique(draft),
            comparison: comparison(draft),
            findings: numbered(draft).map(|(number, finding)| section(report, number, finding)).collect(),
            impression: draft.impression.clone(),
            measurements: numbered(draft)
                .flat_map(|(number, finding)| rows(number, &finding.finding))
                .collect(),
            limitations: limitations(draft),
            disclaimers: disclaimers(draft),
        }
    }
}

fn numbered(draft: &Draft) -> impl Iterator<Item = (usize, &ReportFinding)> {
    draft.findings.iter().enumerate().map(|(index, finding)| (index + 1, finding))
}

/// The lines that the SR, the PDF and the API all show first.
pub(super) fn warnings(draft: &Draft) -> Vec<String> {
    let notice = draft.provenance.model.notice.as_deref();
    let experimental = draft.provenance.pipeline.experimental.then_some(EXPERIMENTAL);
    [Some(AI_DRAFT), notice, experimental].into_iter().flatten().map(str::to_owned).collect()
}

fn disclaimers(draft: &Draft) -> Vec<String> {
    let notice = draft.provenance.model.notice.clone();
    DISCLAIMERS.iter().map(|text| (*text).to_owned()).chain(notice).collect()
}

fn indication(draft: &Draft) -> String {
    let request = &draft.subject.request;
    let given = [&request.reason, &request.procedure_description].into_iter().find(|text| !text.is_empty());
    given.cloned().unwrap_or_else(|| "Not given.".into())
}

fn technique(draft: &Draft) -> String {
    let (images, provenance) = (draft.evidence.len(), &draft.provenance);
    let plural = if images == 1 { "image" } else { "images" };
    let modality = draft.evidence.first().map_or("", |image| image.modality.as_str());
    format!(
        "{images} {modality} {plural} read by {} version {} with the prompt {} version {}.",
        provenance.model.name, provenance.model.version, provenance.prompt.name, provenance.prompt.version,
    )
}

fn comparison(draft: &Draft) -> String {
    match draft.predecessor {
        Some(_) => {
            "No prior study was shown to the model. This draft supersedes an earlier draft of the same study."
                .into()
        }
        None => "No prior study was shown to the model.".into(),
    }
}

pub(super) fn limitations(draft: &Draft) -> Vec<String> {
    use crate::volume::geometry::SpacingPlane::Detector;
    let at_detector = draft.evidence.iter().any(|image| image.spacing.is_some_and(|s| s.plane == Detector));
    let magnified =
        "The pixel spacing is that of the detector: lengths on the image are larger than in the patient.";
    let dropped = draft.remarks.iter().filter(|remark| remark.finding().is_none()).map(Remark::sentence);
    draft.limitations.iter().cloned().chain(at_detector.then(|| magnified.into())).chain(dropped).collect()
}

fn section(report: &Report, number: usize, finding: &ReportFinding) -> FindingSection {
    FindingSection {
        number,
        sentence: sentence(&finding.finding),
        image: report.image_of(finding).map(|image| image.label()),
        region: finding.region,
        coding: codes::finding(&finding.finding.finding).mapping,
        remarks: report.remarks_on(number).map(Remark::sentence).collect(),
    }
}

/// "Probable: moderate pleural effusion, right, pleural space."
pub(super) fn sentence(finding: &Finding) -> String {
    let severity = finding.severity.map(|severity| format!("{} ", severity_word(severity)));
    let side = side_word(finding.laterality).map(|side| format!(", {side}"));
    format!(
        "{}: {}{}{}, {}.",
        certainty_word(finding.certainty),
        severity.unwrap_or_default(),
        finding.finding,
        side.unwrap_or_default(),
        finding.location,
    )
}

fn rows(number: usize, finding: &Finding) -> Vec<MeasurementRow> {
    let row = |measurement: &Measurement| MeasurementRow {
        finding: number,
        of: finding.finding.clone(),
        quantity: quantity_word(measurement.name),
        value: measurement.value.to_string(),
        unit: unit_word(measurement.unit),
        method: "estimate by the model",
    };
    finding.measurements.iter().map(row).collect()
}

fn certainty_word(certainty: Certainty) -> &'static str {
    match certainty {
        Certainty::Definite => "Stated",
        Certainty::Probable => "Probable",
        Certainty::Possible => "Possible",
        Certainty::Absent => "Not seen",
    }
}

fn severity_word(severity: Severity) -> &'static str {
    match severity {
        Severity::Small => "small",
        Severity::Moderate => "moderate",
        Severity::Large => "large",
        Severity::Mild => "mild",
        Severity::Severe => "severe",
    }
}

fn side_word(laterality: Laterality) -> Option<&'static str> {
    match laterality {
        Laterality::Left => Some("left"),
        Laterality::Right => Some("right"),
        Laterality::Bilateral => Some("both sides"),
        Laterality::Midline => Some("midline"),
        Laterality::None => None,
    }
}

fn quantity_word(quantity: Quantity) -> &'static str {
    match quantity {
        Quantity::Diameter => "diameter",
        Quantity::LongAxis => "long axis",
        Quantity::ShortAxis => "short axis",
        Quantity::Thickness => "thickness",
        Quantity::Ratio => "ratio",
        Quantity::Attenuation => "attenuation",
        Quantity::Volume => "volume",
    }
}

fn unit_word(unit: Unit) -> &'static str {
    match unit {
        Unit::Millimetre => "mm",
        Unit::Centimetre => "cm",
        Unit::Hounsfield => "HU",
        Unit::Millilitre => "mL",
        Unit::One => "",
        Unit::Percent => "%",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn a_finding_reads_as_a_sentence() {
        let narrative = Narrative::of(&samples::report(samples::chest_draft()));
        let sentences: Vec<&str> = narrative.findings.iter().map(|f| f.sentence.as_str()).collect();
        assert_eq!(sentences[0], "Probable: moderate pleural effusion, right, pleural space.");
        assert_eq!(sentences[3], "Not seen: pneumothorax, both sides, pleural space.");
        assert_eq!(narrative.findings[2].coding, Mapping::Unmapped);
    }

    #[test]
    fn the_warnings_come_whatever_the_findings() {
        for draft in [samples::chest_draft(), samples::normal_draft()] {
            let narrative = Narrative::of(&samples::report(draft));
            assert_eq!(narrative.warnings[0], AI_DRAFT);
            assert!(narrative.warnings[1].contains("synthetic phantoms"));
        }
    }

    #[test]
    fn experimental_pipelines_say_so() {
        let narrative = Narrative::of(&samples::report(samples::ct_draft()));
        assert!(narrative.warnings.contains(&EXPERIMENTAL.to_owned()));
        assert!(narrative.comparison.contains("supersedes"));
    }

    #[test]
    fn a_remark_stands_beside_its_finding() {
        let narrative = Narrative::of(&samples::report(samples::chest_draft()));
        assert!(narrative.findings[0].remarks.is_empty());
        assert_eq!(narrative.findings[1].remarks.len(), 1);
    }

    #[test]
    fn estimates_are_called_estimates() {
        let narrative = Narrative::of(&samples::report(samples::chest_draft()));
        let row = &narrative.measurements[0];
        assert_eq!((row.finding, row.quantity, row.value.as_str(), row.unit), (2, "diameter", "12.5", "mm"));
        assert_eq!(row.method, "estimate by the model");
    }

    #[test]
    fn sections_keep_their_names_in_json() {
        let json = serde_json::to_value(Narrative::of(&samples::report(samples::normal_draft())))
            .expect("serialisable");
        let names: Vec<&str> = json.as_object().expect("an object").keys().map(String::as_str).collect();
        for name in [
            "indication",
            "technique",
            "comparison",
            "findings",
            "impression",
            "measurements",
            "limitations",
            "disclaimers",
        ] {
            assert!(names.contains(&name), "{name} is missing");
        }
    }
}
