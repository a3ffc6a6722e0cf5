//! The report in sentences, section by section, for the REST API and the PDF.

use serde::Serialize;

use super::codes::{self, Mapping};
use super::content::{Content, Method, StatedFinding};
use super::document::{Draft, ImageReference, PriorStudy, Report, ReportFinding};
use super::findings::{Certainty, Finding, Laterality, Measurement, Quantity, Severity, Unit};
use super::measure::{Measurand, Measured};
use super::parse::Remark;
use super::region::Region;
use crate::volume::pixel_spacing::SpacingBasis;

/// On every report, whatever the model.
pub const AI_DRAFT: &str = "AI draft. Preliminary and unverified. Not for diagnosis.";

/// On the reports of experimental pipelines.
pub const EXPERIMENTAL: &str = "Experimental: vision-language models are weak on studies of this kind, some little better than chance. See the limitations.";

/// On what a person is working on.
pub const NOT_SIGNED: &str = "Not signed. Preliminary. Not for diagnosis.";

const REPAIRED: &str = "The first findings of the model contradicted themselves, and it was asked again: its other answer is kept with the analysis.";

const DISCLAIMERS: [&str; 3] = [
    "This text was written by a machine and has not been reviewed by a physician. It must not be used for diagnosis or treatment.",
    "Numbers called an estimate are the model's own and were not measured. Numbers of a region are those of the region that the model chose, which no person has checked. The wording of certainty is the model's own and is not calibrated.",
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
    /// What a person wrote on the findings beside the list of them.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub text: String,
    pub findings: Vec<FindingSection>,
    pub impression: String,
    /// What the model wrote in its own words: a draft, as everything that it says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_words: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addenda: Vec<String>,
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
    /// A version that people have a hand in.
    pub fn of_content(content: &Content, signed: bool) -> Self {
        let sections = &content.sections;
        let warning = if signed { None } else { Some(NOT_SIGNED.to_owned()) };
        let addenda = content.addenda.iter().map(|addendum| addendum.text.clone());
        Self {
            title: content.title.clone(),
            warnings: warning.into_iter().collect(),
            indication: sections.clinical_information.clone(),
            technique: sections.technique.clone(),
            comparison: sections.comparison.clone(),
            text: sections.findings.clone(),
            findings: (1..)
                .zip(content.stated())
                .map(|(number, found)| stated(content, number, found))
                .collect(),
            impression: sections.impression.clone(),
            model_words: None,
            addenda: addenda.collect(),
            measurements: measurement_rows(content),
            limitations: content.limitations.clone(),
            disclaimers: Vec::new(),
        }
    }

    pub fn of(report: &Report) -> Self {
        let draft = report.draft();
        Self {
            title: draft.provenance.pipeline.title.clone(),
            warnings: warnings(draft),
            indication: indication(draft),
            technique: technique(draft),
            comparison: comparison(draft),
            text: String::new(),
            addenda: Vec::new(),
            findings: numbered(draft).map(|(number, finding)| section(report, number, finding)).collect(),
            impression: draft.impression.clone(),
            model_words: model_words(draft).map(str::to_owned),
            measurements: numbered(draft)
                .flat_map(|(number, found)| rows(number, &found.finding, &found.measured))
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

/// `None` where none were asked for, or none can be shown.
pub(super) fn model_words(draft: &Draft) -> Option<&str> {
    draft.words.as_ref().map(|words| words.text.as_str()).filter(|text| !text.is_empty())
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

pub(super) fn comparison(draft: &Draft) -> String {
    let compared = match &draft.provenance.reading.prior {
        Some(prior) => compared(prior),
        None => "No prior study was shown to the model.".into(),
    };
    match draft.predecessor {
        Some(_) => format!("{compared} This draft supersedes an earlier draft of the same study."),
        None => compared,
    }
}

/// "The model was shown the study of 2025-11-22 for comparison (series 1, image 1; Study UID 2.25.7)."
fn compared(prior: &PriorStudy) -> String {
    let date = match (prior.date.get(0..4), prior.date.get(4..6), prior.date.get(6..8)) {
        (Some(year), Some(month), Some(day)) => format!("{year}-{month}-{day}"),
        _ => "an unknown date".into(),
    };
    let images = prior.images.iter().map(ImageReference::label).collect::<Vec<_>>().join("; ");
    format!("The model was shown the study of {date} for comparison ({images}; Study UID {}).", prior.uid)
}

pub(super) fn limitations(draft: &Draft) -> Vec<String> {
    let at_detector = draft
        .evidence
        .iter()
        .any(|image| image.spacing.is_some_and(|s| s.basis == SpacingBasis::ImagerPixelSpacing));
    let magnified = "Lengths are at the detector plane, not corrected for magnification: they are larger than in the patient.";
    let dropped = draft.remarks.iter().filter(|remark| remark.finding().is_none()).map(Remark::sentence);
    let doubts = draft.words.iter().flat_map(|words| &words.doubts).map(|doubt| doubt.sentence().to_owned());
    let repaired = (draft.provenance.reading.repairs > 0).then(|| REPAIRED.to_owned());
    let reused = draft.provenance.reading.reused_from.as_ref().map(|at| {
        format!("The model was not asked anew: this is its answer of {at} to the same images and words.")
    });
    let of_images = draft.limitations.iter().cloned().chain(at_detector.then(|| magnified.into()));
    of_images.chain(dropped).chain(doubts).chain(repaired).chain(reused).collect()
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

fn stated(content: &Content, number: usize, finding: &StatedFinding) -> FindingSection {
    let image = finding.words.image.as_ref().and_then(|place| content.image(place));
    FindingSection {
        number,
        sentence: finding.words.sentence(),
        image: image.map(|index| content.evidence[index].label()),
        region: finding.words.region,
        coding: if finding.words.code.is_some() { Mapping::Mapped } else { Mapping::Unmapped },
        remarks: Vec::new(),
    }
}

const ESTIMATE: &str = "estimate by the model";

fn rows(number: usize, finding: &Finding, measured: &[Measured]) -> Vec<MeasurementRow> {
    let estimates = finding.measurements.iter().map(|one| row(number, finding, one, ESTIMATE));
    estimates.chain(measured_rows(number, finding, measured)).collect()
}

fn row(number: usize, finding: &Finding, measurement: &Measurement, method: &'static str) -> MeasurementRow {
    MeasurementRow {
        finding: number,
        of: finding.finding.clone(),
        quantity: quantity_word(measurement.name),
        value: measurement.value.to_string(),
        unit: unit_word(measurement.unit),
        method,
    }
}

/// As people say it: both edges in one row, and what the values are in another.
fn measured_rows(number: usize, finding: &Finding, measured: &[Measured]) -> Vec<MeasurementRow> {
    let one = |name| measured.iter().find(|one| one.name == name);
    let row = |quantity, value, unit, spacing| MeasurementRow {
        finding: number,
        of: finding.finding.clone(),
        quantity,
        value,
        unit,
        method: measuring_words(spacing),
    };
    let size = one(Measurand::Height).zip(one(Measurand::Width)).map(|(height, width)| {
        row("height × width", format!("{} × {}", height.value, width.value), "mm", height.spacing)
    });
    let area = one(Measurand::Area).map(|area| row("area", area.value.to_string(), "mm²", area.spacing));
    let values = attenuation_words(measured).map(|words| row("attenuation", words, "HU", None));
    [size, values, area].into_iter().flatten().collect()
}

/// "-8.25 ± 11.5, -60 to 41": mean and standard deviation, then the range.
fn attenuation_words(measured: &[Measured]) -> Option<String> {
    let value = |name| measured.iter().find(|one| one.name == name).map(|one| one.value);
    Some(format!(
        "{} ± {}, {} to {}",
        value(Measurand::AttenuationMean)?,
        value(Measurand::AttenuationStandardDeviation)?,
        value(Measurand::AttenuationMinimum)?,
        value(Measurand::AttenuationMaximum)?
    ))
}

fn measuring_words(spacing: Option<SpacingBasis>) -> &'static str {
    match spacing {
        None => "values in the region: mean, standard deviation, range",
        Some(SpacingBasis::PixelSpacing) => "region, by Pixel Spacing",
        Some(SpacingBasis::GeometryCalibration) => "region, by Pixel Spacing (GEOMETRY)",
        Some(SpacingBasis::FiducialCalibration) => "region, by Pixel Spacing (FIDUCIAL)",
        Some(SpacingBasis::UnstatedCalibration) => {
            "region, by Pixel Spacing; how it was calibrated is not stated"
        }
        Some(SpacingBasis::ImagerPixelSpacing) => {
            "region, by Imager Pixel Spacing: at the detector plane, not corrected for magnification"
        }
        Some(SpacingBasis::NominalScannedPixelSpacing) => {
            "region, by Nominal Scanned Pixel Spacing: on the film that was scanned"
        }
        Some(SpacingBasis::UltrasoundRegion) => "region, by Ultrasound Region Calibration",
    }
}

/// Of the findings that are stated, by their number.
pub(super) fn measurement_rows(content: &Content) -> Vec<MeasurementRow> {
    let mut all = Vec::new();
    for (number, stated) in (1..).zip(content.stated()) {
        let finding = stated.words.as_finding();
        for (measurement, taken) in finding.measurements.iter().zip(&stated.words.measurements) {
            let method = match taken.method {
                Method::ModelEstimate => ESTIMATE,
                Method::Person => "given by the reader",
            };
            all.push(row(number, &finding, measurement, method));
        }
        all.extend(measured_rows(number, &finding, &stated.measured));
    }
    all
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
        let of_nodule: Vec<_> = narrative.measurements.iter().filter(|row| row.finding == 2).collect();
        let [row, height] = of_nodule[..] else { panic!("an estimate, then the region") };
        assert_eq!((row.quantity, row.value.as_str(), row.unit), ("diameter", "12.5", "mm"));
        assert_eq!(row.method, "estimate by the model");
        assert_eq!((height.quantity, height.value.as_str()), ("height × width", "17.08 × 17.08"));
        assert!(height.method.contains("not corrected for magnification"));
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
