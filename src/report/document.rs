//! Everything a report says and about whom, checked once: [`Report`] is what the SR, the PDF and
//! the narrative are made of.

use serde::{Deserialize, Serialize};

use crate::ai::{ContextKind, ModelIdentity, Settings, Usage};
use crate::clock::Timestamp;
use crate::dicom::uid::{SeriesUid, SopClassUid, SopInstanceUid, StudyUid};
use crate::volume::pixel_spacing::{CalibratedArea, PixelSpacing};

use super::findings::Finding;
use super::measure::{self, Measured};
use super::parse::Remark;
use super::region::{Framing, Region};
use super::words::Words;

/// Attributes of patient and study, as the study's images carry them; empty where they do not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Subject {
    pub patient: Patient,
    pub study: Study,
    pub request: Request,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Patient {
    /// VR PN with its alphabetic, ideographic and phonetic groups, `=` between them.
    pub name: String,
    pub id: String,
    pub id_issuer: String,
    /// VR DA.
    pub birth_date: String,
    /// `M`, `F`, `O` or empty.
    pub sex: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Study {
    pub uid: StudyUid,
    /// VR DA.
    pub date: String,
    /// VR TM.
    pub time: String,
    pub id: String,
    pub accession_number: String,
    pub description: String,
    /// VR PN.
    pub referring_physician: String,
}

/// What was asked for, where the images say so.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Request {
    pub procedure_id: String,
    pub procedure_description: String,
    pub reason: String,
}

/// One image that the model was shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ImageReference {
    pub study: StudyUid,
    pub series: SeriesUid,
    pub sop_class: SopClassUid,
    pub sop_instance: SopInstanceUid,
    /// 1-based, for multi-frame images.
    pub frame: Option<u32>,
    pub rows: u32,
    pub columns: u32,
    pub spacing: Option<PixelSpacing>,
    /// Of ultrasound: where else than in these nothing has a size.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub calibrated: Vec<CalibratedArea>,
    pub modality: String,
    pub series_number: Option<i32>,
    pub instance_number: Option<i32>,
    pub frame_of_reference: Option<String>,
}

impl ImageReference {
    /// How large the pixels of a region are.
    pub fn spacing_at(&self, region: &Region) -> Option<PixelSpacing> {
        if self.calibrated.is_empty() {
            return self.spacing;
        }
        let holds = |area: &&CalibratedArea| {
            area.left as f32 <= region.left
                && area.top as f32 <= region.top
                && region.right <= area.right as f32
                && region.bottom <= area.bottom as f32
        };
        self.calibrated.iter().find(holds).map(CalibratedArea::spacing)
    }

    /// For people: "series 2, image 14, frame 3".
    pub fn label(&self) -> String {
        let parts = [
            self.series_number.map(|n| format!("series {n}")),
            self.instance_number.map(|n| format!("image {n}")),
            self.frame.map(|n| format!("frame {n}")),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

/// Which prompt was asked, by name, version and the digest of its file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromptIdentity {
    pub name: String,
    pub version: String,
    /// Lower-case hexadecimal.
    pub sha256: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pipeline {
    pub name: String,
    pub title: String,
    /// Cross-sectional pipelines are: the report says so.
    pub experimental: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    pub analysis_id: String,
    pub started: Timestamp,
    /// Of the analysis, not of the moment of writing: a rerun must give the same bytes.
    pub finished: Timestamp,
    pub pipeline: Pipeline,
    pub model: ModelIdentity,
    pub prompt: PromptIdentity,
    pub settings: Settings,
    pub usage: Usage,
    pub device: Device,
    #[serde(default)]
    pub reading: Reading,
}

/// How the model was asked, beside the prompt. Nothing of what it was told, only of which kinds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// Of the words and the impression, RFC 5646.
    pub language: String,
    pub context: Vec<ContextKind>,
    /// The part of the body that the prompt was about, where it has several.
    pub focus: Option<String>,
    /// How often the model was asked again because its answer contradicted itself.
    pub repairs: usize,
    /// Images of this study that it was shown.
    pub images: usize,
    /// What it was shown to compare them with.
    pub prior: Option<PriorStudy>,
    /// When the model gave the answer, RFC 3339, where that was to an earlier analysis that asked it
    /// exactly the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reused_from: Option<String>,
}

impl Default for Reading {
    fn default() -> Self {
        Self {
            language: "en".into(),
            context: Vec::new(),
            focus: None,
            repairs: 0,
            images: 0,
            prior: None,
            reused_from: None,
        }
    }
}

/// An earlier study of the same patient, whose images stood before the others in the prompt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PriorStudy {
    pub uid: StudyUid,
    /// VR DA.
    pub date: String,
    pub images: Vec<ImageReference>,
}

/// Of reports that this program makes.
pub const MANUFACTURER: &str = "RadiantAI";

/// The equipment that made the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    pub manufacturer: String,
    pub model: String,
    pub serial_number: String,
    pub software_version: String,
}

impl Device {
    /// This program, as an installation with this serial number.
    pub fn radiant(serial_number: impl Into<String>) -> Self {
        Self {
            manufacturer: MANUFACTURER.into(),
            model: "radiant".into(),
            serial_number: serial_number.into(),
            software_version: env!("CARGO_PKG_VERSION").into(),
        }
    }
}

/// A finding, with its image and box resolved.
#[derive(Debug, Clone, PartialEq)]
pub struct ReportFinding {
    pub finding: Finding,
    /// Position in [`Draft::evidence`].
    pub image: Option<usize>,
    pub region: Option<Region>,
    /// Taken on the region.
    pub measured: Vec<Measured>,
}

/// Resolves the images and boxes of an answer that [`super::parse`] has checked; `evidence` is in
/// the order of the prompt. A box beside its image is dropped with a remark. What is placed has the
/// sizes that follow from the image; what its pixels say is for the caller to add.
pub fn placed(
    findings: Vec<Finding>,
    evidence: &[ImageReference],
    framing: Framing,
    remarks: &mut Vec<Remark>,
) -> Vec<ReportFinding> {
    let mut place = |(number, finding): (usize, Finding)| {
        let image =
            finding.image.and_then(|image| (image as usize).checked_sub(1)).filter(|i| *i < evidence.len());
        let region = finding.box_2d.zip(image).map(|(square, index)| {
            Region::of(square, framing, evidence[index].rows, evidence[index].columns)
        });
        if region == Some(None) {
            remarks.push(Remark::BoxBesideImage { finding: number });
        }
        let region = region.flatten();
        let measured = region.zip(image).map(|(region, index)| measure::size_on(&evidence[index], &region));
        ReportFinding { finding, image, region, measured: measured.unwrap_or_default() }
    };
    (1..).zip(findings).map(&mut place).collect()
}

/// An SR that this one replaces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Predecessor {
    pub series: SeriesUid,
    pub sop_class: SopClassUid,
    pub sop_instance: SopInstanceUid,
}

/// What a report is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    pub subject: Subject,
    /// In the order of the prompt.
    pub evidence: Vec<ImageReference>,
    pub provenance: Provenance,
    pub findings: Vec<ReportFinding>,
    pub impression: String,
    /// The report that the model wrote before it was asked for findings, where it was.
    pub words: Option<Words>,
    pub remarks: Vec<Remark>,
    /// What stood in the way: gaps in the volume, images left out, and the like.
    pub limitations: Vec<String>,
    pub predecessor: Option<Predecessor>,
}

impl Draft {
    /// In the order of the prompt, where they stand before the others.
    pub fn prior_images(&self) -> &[ImageReference] {
        self.provenance.reading.prior.as_ref().map_or(&[], |prior| &prior.images)
    }
}

/// A draft whose references all hold.
#[derive(Debug, Clone, PartialEq)]
pub struct Report(Draft);

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    #[error("a report needs at least one image")]
    NoEvidence,
    #[error("an image of the report belongs to another study")]
    ForeignImage,
    #[error("finding {0} names an image that the report does not hold")]
    NoSuchImage(usize),
    #[error("finding {0} has a region without an image")]
    RegionWithoutImage(usize),
    #[error("the region of finding {0} is not inside its image")]
    RegionOutsideImage(usize),
    #[error("finding {0} has a measurement that is not a number")]
    NotANumber(usize),
}

impl Report {
    pub fn new(draft: Draft) -> Result<Self, ReportError> {
        if draft.evidence.is_empty() {
            return Err(ReportError::NoEvidence);
        }
        if draft.evidence.iter().any(|image| image.study != draft.subject.study.uid) {
            return Err(ReportError::ForeignImage);
        }
        for (index, finding) in draft.findings.iter().enumerate() {
            check_finding(index + 1, finding, &draft.evidence)?;
        }
        Ok(Self(draft))
    }

    pub fn draft(&self) -> &Draft {
        &self.0
    }

    pub fn image_of(&self, finding: &ReportFinding) -> Option<&ImageReference> {
        finding.image.and_then(|index| self.0.evidence.get(index))
    }

    /// Position of the image that shows most: the first with a box, else the first of a finding,
    /// else the first of all.
    pub fn key_image(&self) -> usize {
        let boxed = self.0.findings.iter().filter(|finding| finding.region.is_some());
        boxed.chain(&self.0.findings).find_map(|finding| finding.image).unwrap_or(0)
    }

    /// Remarks on the finding with this 1-based number.
    pub fn remarks_on(&self, number: usize) -> impl Iterator<Item = &Remark> {
        self.0.remarks.iter().filter(move |remark| remark.finding() == Some(number))
    }
}

fn check_finding(
    number: usize,
    finding: &ReportFinding,
    evidence: &[ImageReference],
) -> Result<(), ReportError> {
    if finding.finding.measurements.iter().any(|m| !m.value.is_finite()) {
        return Err(ReportError::NotANumber(number));
    }
    let image = match finding.image {
        Some(index) => Some(evidence.get(index).ok_or(ReportError::NoSuchImage(number))?),
        None => None,
    };
    match (finding.region, image) {
        (None, _) => Ok(()),
        (Some(_), None) => Err(ReportError::RegionWithoutImage(number)),
        (Some(region), Some(image)) if region.has_area() && region.is_inside(image.rows, image.columns) => {
            Ok(())
        }
        (Some(_), Some(_)) => Err(ReportError::RegionOutsideImage(number)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[track_caller]
    fn refused(change: impl FnOnce(&mut Draft), expected: ReportError) {
        let mut draft = samples::chest_draft();
        change(&mut draft);
        assert_eq!(Report::new(draft), Err(expected));
    }

    #[test]
    fn a_report_refers_to_nothing_it_does_not_hold() {
        refused(|draft| draft.evidence.clear(), ReportError::NoEvidence);
        refused(|draft| draft.findings[0].image = Some(9), ReportError::NoSuchImage(1));
        refused(|draft| draft.findings[0].image = None, ReportError::RegionWithoutImage(1));
        refused(|draft| draft.evidence[0].rows = 10, ReportError::RegionOutsideImage(1));
    }

    #[test]
    fn a_box_on_the_padding_is_dropped_with_a_remark() {
        let draft = samples::chest_draft();
        let mut finding = draft.findings[0].finding.clone();
        finding.box_2d = Some([100, 0, 200, 40].into());
        let mut remarks = Vec::new();
        let placed = placed(vec![finding], &draft.evidence, Framing::Padded, &mut remarks);
        assert_eq!((placed[0].image, placed[0].region), (Some(0), None));
        assert_eq!(remarks, [Remark::BoxBesideImage { finding: 1 }]);
    }

    #[test]
    fn the_key_image_is_the_one_with_a_box() {
        assert_eq!(samples::report(samples::ct_draft()).key_image(), 2);
        assert_eq!(samples::report(samples::normal_draft()).key_image(), 0);
    }

    #[test]
    fn an_image_of_another_study_is_refused() {
        let other: StudyUid = "2.25.9".parse().expect("a UID");
        refused(|draft| draft.evidence[0].study = other, ReportError::ForeignImage);
    }
}
