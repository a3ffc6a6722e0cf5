//! A signed version on paper: who answers for it and when, what it says, and how it came about.

use std::collections::BTreeMap;

use super::canvas::Ink;
use super::compose::{
    banner, footer, header, key_image, lines, list, measurements, provenance, section, subject,
};
use super::flow::{BLACK, BLUE, BODY, Flow, GREEN, RED, SMALL, STRONG, Style, WIDTH};
use super::fonts::Weight;
use super::picture::Picture;
use super::{KeyImage, PdfError};
use crate::ai::RgbImage;
use crate::report::content::{Decision, StatedFinding};
use crate::report::narrative::measurement_rows;
use crate::report::region::Framing;
use crate::report::signed::{Kind, Signed, is_of_model};

pub(super) fn picture(signed: &Signed, evidence: usize, picture: &RgbImage) -> Result<Picture, PdfError> {
    let image = signed.content.evidence.get(evidence).ok_or(PdfError::NoSuchEvidence)?;
    let here = |finding: &StatedFinding| finding.words.image.as_ref().is_some_and(|place| place.is(image));
    let stated = (1..).zip(signed.content.stated()).filter(|(_, finding)| here(finding));
    let regions = stated.filter_map(|(number, finding)| Some((number, finding.words.region?)));
    // The picture is the whole image and nothing else.
    let key = KeyImage { picture, evidence, framing: Framing::Stretched };
    Picture::with_regions(image, key, regions)
}

pub(super) fn compose(flow: &mut Flow, signed: &Signed, picture: Option<&Picture>) {
    let content = &signed.content;
    title(flow, signed);
    subject(flow, &signed.subject);
    signature(flow, signed);
    for (heading, text) in [
        ("Clinical information", &content.sections.clinical_information),
        ("Technique", &content.sections.technique),
        ("Comparison", &content.sections.comparison),
    ] {
        if !text.trim().is_empty() {
            section(flow, heading, text);
        }
    }
    if let Some(picture) = picture {
        let sentences: Vec<(usize, String)> =
            (1..).zip(content.stated().map(|finding| finding.words.sentence())).collect();
        let sentences: BTreeMap<usize, &str> =
            sentences.iter().map(|(number, sentence)| (*number, sentence.as_str())).collect();
        key_image(flow, "Key image", picture, &sentences, "Boxes mark where the findings are.");
    }
    findings(flow, signed);
    measurements(flow, &measurement_rows(content));
    section(flow, "Impression", &content.sections.impression);
    addenda(flow, signed);
    list(flow, "Limitations", &content.limitations);
    history(flow, signed);
    furniture(flow, signed);
}

fn title(flow: &mut Flow, signed: &Signed) {
    let style = Style { size: 17.0, weight: Weight::Bold, ink: BLACK };
    flow.paragraph(&signed.content.title, style);
    flow.space(6.0);
}

/// Under the patient, before anything that is said.
fn signature(flow: &mut Flow, signed: &Signed) {
    let signing = &signed.signing;
    flow.space(5.0);
    let what = match signed.kind {
        Kind::Report => "Signed by",
        Kind::Addendum => "Addendum signed by",
        Kind::Correction => "Correction signed by",
    };
    let line = format!("{what} {}, {}, on {}.", signing.name, signing.organization, signing.time());
    flow.paragraph(&line, Style { ink: GREEN, ..STRONG });
    let replaced = match (signed.kind, signed.earlier.iter().rfind(|earlier| earlier.signed.is_some())) {
        (Kind::Report, _) | (_, None) => None,
        (_, Some(earlier)) => Some(format!("It replaces version {} of this report.", earlier.version)),
    };
    let reason = signed.reason.as_ref().filter(|_| signed.kind != Kind::Report);
    let reason = reason.map(|reason| format!("Reason: {reason}"));
    for line in [replaced, reason].into_iter().flatten() {
        flow.paragraph(&line, BODY);
    }
    let model = signed.provenance.as_ref().map(|provenance| &provenance.model);
    if let Some(notice) = model.and_then(|model| model.notice.as_ref()) {
        flow.paragraph(&format!("Findings were drafted by a machine. {notice}"), Style { ink: RED, ..SMALL });
    }
}

fn findings(flow: &mut Flow, signed: &Signed) {
    let content = &signed.content;
    flow.heading("Findings");
    lines(flow, &content.sections.findings);
    if content.stated().next().is_none() && content.sections.findings.trim().is_empty() {
        flow.paragraph("No finding is stated.", BODY);
    }
    for (number, finding) in (1..).zip(content.stated()) {
        let place = signed.image_of(finding).map(|image| image.label()).filter(|label| !label.is_empty());
        let place = place.map(|label| format!(" ({label})")).unwrap_or_default();
        flow.item(&format!("{number}"), &format!("{}{place}", finding.words.sentence()), BODY);
    }
}

fn addenda(flow: &mut Flow, signed: &Signed) {
    for (number, addendum) in (1..).zip(&signed.content.addenda) {
        section(flow, &format!("Addendum {number}"), &addendum.text);
        flow.paragraph(&format!("Written by {}, {}", addendum.by, addendum.at.rfc3339()), SMALL);
    }
}

/// Everything that is not the report itself.
fn history(flow: &mut Flow, signed: &Signed) {
    list(flow, "Changes since the version signed before", &signed.changes_of_previous());
    list(flow, "Changes of the draft of the model", &signed.changes_of_draft());
    rejected(flow, signed);
    versions(flow, signed);
    list(flow, "How this report was made", &signed.notices());
    if let Some(made) = &signed.provenance {
        provenance(flow, made);
    }
}

fn rejected(flow: &mut Flow, signed: &Signed) {
    let mut rejected = signed.content.rejected().peekable();
    if rejected.peek().is_none() {
        return;
    }
    flow.heading("Rejected statements of the model: not findings");
    for finding in rejected {
        flow.bullet(&format!("Rejected: {}", finding.words.sentence()), SMALL);
        if let Some(decided) = &finding.decided {
            let reason = decided.reason.as_deref().unwrap_or("no reason given");
            flow.item("", &format!("By {}: {reason}", decided.by), SMALL);
        }
    }
}

fn versions(flow: &mut Flow, signed: &Signed) {
    const WIDTHS: [f32; 3] = [52.0, 190.0, WIDTH - 242.0];
    if signed.earlier.is_empty() {
        return;
    }
    flow.heading("Versions");
    flow.row(&WIDTHS, &["Version", "What", "SR document"].map(String::from), STRONG);
    for earlier in &signed.earlier {
        let what = match &earlier.signed {
            Some((name, _)) => format!("Signed by {name}, superseded"),
            None => "Draft of the model, superseded".into(),
        };
        let cells = [earlier.version.to_string(), what, earlier.sr.sop_instance.to_string()];
        flow.row(&WIDTHS, &cells, SMALL);
    }
    let decided = |decision| {
        signed.content.findings.iter().filter(|f| is_of_model(f) && f.decision == decision).count()
    };
    let counts = format!(
        "This version; of the model's findings {} accepted, {} edited, {} rejected",
        decided(Decision::Accepted),
        decided(Decision::Edited),
        decided(Decision::Rejected)
    );
    let what = if signed.provenance.is_some() { counts } else { "This version".into() };
    flow.row(&WIDTHS, &[signed.version.to_string(), what, String::new()], SMALL);
}

fn furniture(flow: &mut Flow, signed: &Signed) {
    let of = flow.page_count();
    let signing = &signed.signing;
    let ink: Ink = if signed.kind == Kind::Report { GREEN } else { BLUE };
    let stands = match signed.kind {
        Kind::Report => "Signed report",
        Kind::Addendum => "Signed report with addendum",
        Kind::Correction => "Corrected and signed report",
    };
    let text = format!("{stands}, version {}: {}, {}", signed.version, signing.name, signing.time());
    for page in 0..of {
        banner(flow, page, &text, ink);
        header(flow, page, &signed.subject);
        footer(flow, page, of, &format!("report {}  ·  version {}", signed.report, signed.version));
    }
}
