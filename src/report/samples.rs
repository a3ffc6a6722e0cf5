//! Three reports that the tests of this room share: a chest radiograph with findings, a CT that
//! supersedes an earlier draft, and a normal one of a patient whose name has many scripts.

use std::str::FromStr;

use crate::ai::{ContextKind, Cut, ModelIdentity, PromptSet, RgbImage, Runs, Settings, Usage};
use crate::clock::Timestamp;
use crate::volume::pixel_spacing::{PixelSpacing, SpacingBasis};

use super::document::*;
use super::findings::*;
use super::measure::{self, Statistics};
use super::parse::Remark;
use super::region::{Framing, Region};
use super::words::Words;

fn uid<T: FromStr>(text: &str) -> T
where
    T::Err: std::fmt::Debug,
{
    text.parse().expect("a valid UID")
}

fn image(modality: &str, number: i32, rows: u32, columns: u32) -> ImageReference {
    let sop_class = if modality == "CT" { "1.2.840.10008.5.1.4.1.1.2" } else { "1.2.840.10008.5.1.4.1.1.1" };
    ImageReference {
        study: uid("2.25.1000"),
        series: uid("2.25.1001"),
        sop_class: uid(sop_class),
        sop_instance: uid(&format!("2.25.20{number:02}")),
        frame: None,
        rows,
        columns,
        spacing: Some(PixelSpacing {
            row_mm: 0.139,
            column_mm: 0.139,
            basis: SpacingBasis::ImagerPixelSpacing,
        }),
        calibrated: Vec::new(),
        modality: modality.into(),
        series_number: Some(1),
        instance_number: Some(number),
        frame_of_reference: None,
    }
}

fn provenance(pipeline: &str, title: &str, experimental: bool) -> Provenance {
    Provenance {
        analysis_id: "019aae4c-2f6b-7000-8000-000000000001".into(),
        started: Timestamp(1_763_870_400_000_000),
        finished: Timestamp(1_763_870_412_500_000),
        pipeline: Pipeline { name: pipeline.into(), title: title.into(), experimental },
        model: ModelIdentity {
            name: "radiant-demo-cxr".into(),
            version: "1".into(),
            weights_sha256: "5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef".into(),
            notice: Some("Demonstration model trained on synthetic phantoms: not a medical model.".into()),
            prompts: PromptSet::Demonstration,
            runs: Runs::Here,
        },
        prompt: PromptIdentity {
            name: pipeline.into(),
            version: "1".into(),
            sha256: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08".into(),
        },
        settings: Settings::default(),
        usage: Usage { prompt_tokens: 96, image_tokens: 16, answer_tokens: 61, ..Usage::default() },
        device: Device::radiant("0001"),
        reading: Reading::default(),
    }
}

fn subject(name: &str, description: &str) -> Subject {
    Subject {
        patient: Patient {
            name: name.into(),
            id: "PH-0001".into(),
            id_issuer: "RADIANT".into(),
            birth_date: "19610704".into(),
            sex: "F".into(),
        },
        study: Study {
            uid: uid("2.25.1000"),
            date: "20251122".into(),
            time: "104210".into(),
            id: "S1".into(),
            accession_number: "A-77".into(),
            description: description.into(),
            referring_physician: "House^Gregory".into(),
        },
        request: Request {
            procedure_id: "RP-1".into(),
            procedure_description: description.into(),
            reason: "Shortness of breath".into(),
        },
    }
}

fn finding(words: &str, location: &str, laterality: Laterality, certainty: Certainty) -> Finding {
    Finding {
        finding: words.into(),
        location: location.into(),
        laterality,
        certainty,
        severity: None,
        image: Some(1),
        box_2d: None,
        measurements: Vec::new(),
    }
}

fn placed(finding: Finding, image: &ImageReference) -> ReportFinding {
    let region = finding.box_2d.and_then(|b| Region::of(b, Framing::Padded, image.rows, image.columns));
    let measured = region.map(|region| measure::size_on(image, &region)).unwrap_or_default();
    ReportFinding { finding, image: Some(0), region, measured }
}

pub(crate) fn chest_draft() -> Draft {
    let evidence = vec![image("CR", 1, 2048, 1792)];
    let mut effusion = finding("pleural effusion", "pleural space", Laterality::Right, Certainty::Probable);
    effusion.severity = Some(Severity::Moderate);
    effusion.box_2d = Some(Box2d { y0: 610, x0: 120, y1: 880, x1: 430 });
    let mut nodule = finding("pulmonary nodule", "upper lung zone", Laterality::Left, Certainty::Possible);
    nodule.box_2d = Some(Box2d { y0: 260, x0: 640, y1: 320, x1: 700 });
    nodule.measurements = vec![Measurement { name: Quantity::Diameter, value: 12.5, unit: Unit::Millimetre }];
    let mut shmoo = finding(
        "feeding tube tip in unusual position",
        "below the field of view",
        Laterality::None,
        Certainty::Definite,
    );
    shmoo.severity = Some(Severity::Small);
    let absent = finding("pneumothorax", "pleural space", Laterality::Bilateral, Certainty::Absent);
    let findings = [effusion, nodule, shmoo, absent].into_iter().map(|f| placed(f, &evidence[0])).collect();
    Draft {
        subject: subject("Phantom^Chest^^Dr.", "Chest PA"),
        evidence,
        provenance: provenance("chest-radiograph", "Chest radiograph", false),
        findings,
        impression: "Moderate right pleural effusion. Possible nodule in the left upper zone.".into(),
        words: Some(Words::of("FINDINGS: Moderate right pleural effusion.\nIMPRESSION: Effusion.", None)),
        remarks: vec![Remark::LateralityAgainstBox { finding: 2 }],
        limitations: vec!["The lateral view was not shown to the model.".into()],
        predecessor: None,
    }
}

pub(super) fn ct_draft() -> Draft {
    let mut evidence: Vec<ImageReference> = (1..=4).map(|number| image("CT", number, 512, 512)).collect();
    for image in &mut evidence {
        image.spacing =
            Some(PixelSpacing { row_mm: 0.7031, column_mm: 0.7031, basis: SpacingBasis::PixelSpacing });
        image.frame_of_reference = Some("2.25.1009".into());
    }
    let mut mass = finding("hypodense liver mass", "liver", Laterality::None, Certainty::Possible);
    mass.box_2d = Some(Box2d { y0: 300, x0: 200, y1: 420, x1: 340 });
    mass.measurements = vec![
        Measurement { name: Quantity::LongAxis, value: 4.2, unit: Unit::Centimetre },
        Measurement { name: Quantity::Attenuation, value: -12.0, unit: Unit::Hounsfield },
    ];
    let mut found = ReportFinding { image: Some(2), ..placed(mass, &evidence[2]) };
    let values =
        Statistics { pixels: 4464, mean: -8.25, standard_deviation: 11.5, minimum: -60.0, maximum: 41.0 };
    found.measured.extend(values.attenuation(evidence[2].spacing.as_ref()));
    let findings = vec![found];
    Draft {
        subject: subject("Phantom^Computed", "CT abdomen"),
        evidence,
        provenance: provenance("ct", "CT (experimental)", true),
        findings,
        impression: "Possible hypodense lesion of the liver.".into(),
        words: None,
        remarks: Vec::new(),
        limitations: vec!["4 of 120 slices were shown to the model.".into()],
        predecessor: Some(Predecessor {
            series: uid("2.25.3001"),
            sop_class: uid(dicom_dictionary_std::uids::COMPREHENSIVE3_DSR_STORAGE),
            sop_instance: uid("2.25.3002"),
        }),
    }
}

/// With nothing but what a viewer can draw.
pub(super) fn outlined_draft() -> Draft {
    let mut draft = chest_draft();
    draft.findings.retain(|found| found.region.is_some());
    draft
}

pub(super) fn normal_draft() -> Draft {
    let mut draft = chest_draft();
    draft.subject = subject("Yamada^Tarou=山田^太郎=やまだ^たろう", "胸部正面 / Грудная клетка");
    draft.subject.study.referring_physician = "محمد^أحمد".into();
    draft.subject.request.reason = "ไอเรื้อรัง / кашель / सांस फूलना / שיעול / 기침".into();
    draft.findings.clear();
    draft.remarks.clear();
    draft.impression = "No acute abnormality.".into();
    draft
}

/// Read in German beside an earlier study, after a contradiction.
pub(super) fn compared_draft() -> Draft {
    let mut draft = chest_draft();
    let earlier = ImageReference {
        study: uid("2.25.900"),
        series: uid("2.25.901"),
        sop_instance: uid("2.25.902"),
        ..image("CR", 1, 2048, 1792)
    };
    draft.provenance.reading = Reading {
        language: "de".into(),
        context: vec![ContextKind::Reason],
        repairs: 1,
        images: 1,
        prior: Some(PriorStudy { uid: uid("2.25.900"), date: "20250102".into(), images: vec![earlier] }),
        ..Reading::default()
    };
    draft.words = Some(Words::of("BEFUND: Größerer Pleuraerguss rechts.", Some(Cut::Tokens)));
    draft.impression = "Der Erguss rechts hat zugenommen.".into();
    draft
}

pub(crate) fn report(draft: Draft) -> Report {
    Report::new(draft).expect("the sample is sound")
}

/// A grey ramp with a bright disc, as a picture to draw boxes on.
pub(super) fn picture(width: u32, height: u32) -> RgbImage {
    let level = |x: u32, y: u32| {
        let (dx, dy) = (x as f32 - width as f32 * 0.3, y as f32 - height as f32 * 0.7);
        let disc = if dx.hypot(dy) < width as f32 * 0.12 { 120.0 } else { 0.0 };
        (40.0 + 80.0 * y as f32 / height as f32 + disc) as u8
    };
    let data = (0..height).flat_map(|y| (0..width).flat_map(move |x| [level(x, y); 3])).collect();
    RgbImage { width, height, data }
}

/// Writes the objects that `conformance/report/check_report.py` judges into the folder that
/// `RADIANT_REPORT_SAMPLES` names.
#[test]
#[ignore = "writes files for conformance/report"]
fn sample_objects_for_the_judges() {
    #[allow(clippy::disallowed_methods, reason = "the judge names the folder that it looks into")]
    let folder = std::env::var("RADIANT_REPORT_SAMPLES").expect("RADIANT_REPORT_SAMPLES names a folder");
    let drafts = [
        ("chest", chest_draft()),
        ("ct", ct_draft()),
        ("normal", normal_draft()),
        ("compared", compared_draft()),
        ("outlined", outlined_draft()),
    ];
    for (name, draft) in drafts {
        let report = report(draft);
        let path = |kind: &str| std::path::Path::new(&folder).join(format!("{name}.{kind}.dcm"));
        let picture = picture(896, 896);
        let key = super::pdf::KeyImage {
            picture: &picture,
            evidence: report.key_image(),
            framing: Framing::Padded,
        };
        let pdf = super::pdf::write(&report, Some(key)).expect("a PDF");
        super::sr::write(&report).expect("an SR").write_to_file(path("sr")).expect("a file");
        super::encapsulated::write(&report, pdf)
            .expect("a document")
            .write_to_file(path("pdf"))
            .expect("a file");
    }
}
