//! The sections of the report, in the order in which they are read.

use std::collections::BTreeMap;

use super::canvas::{Area, Ink, Mark, PAGE_HEIGHT};
use super::flow::{BLACK, BODY, Flow, GREY, MARGIN, PALE, RED, SMALL, STRONG, Style, WHITE, WIDTH};
use super::fonts::Weight;
use super::picture::{Marked, Picture};
use crate::ai::Runs;
use crate::report::codes::Mapping;
use crate::report::document::{Draft, Provenance, Report, Subject};
use crate::report::narrative::{AI_DRAFT, FindingSection, MeasurementRow, Narrative};
use crate::report::sr::context;

const MODEL_WORDS: &str = "The model's own words (draft, unverified)";

/// Drawn boxes must stand out from grey images.
const YELLOW: Ink = Ink(1.0, 0.83, 0.0);

/// The longer side of the key image in points.
const PICTURE_MAX: f32 = 215.0;

pub(super) fn report(flow: &mut Flow, report: &Report, picture: Option<&Picture>) {
    let (draft, narrative) = (report.draft(), Narrative::of(report));
    title(flow, &narrative);
    subject(flow, &draft.subject);
    section(flow, "Indication", &narrative.indication);
    section(flow, "Technique", &narrative.technique);
    section(flow, "Comparison", &narrative.comparison);
    if let Some(picture) = picture {
        let sentences = narrative.findings.iter().map(|finding| (finding.number, finding.sentence.as_str()));
        key_image(flow, "Key image", picture, &sentences.collect(), POINTED);
    }
    findings(flow, &narrative.findings);
    measurements(flow, &narrative.measurements);
    section(flow, "Impression", &narrative.impression);
    if let Some(words) = &narrative.model_words {
        section(flow, MODEL_WORDS, words);
    }
    list(flow, "Limitations", &narrative.limitations);
    list(flow, "Disclaimers", &narrative.disclaimers);
    provenance(flow, &draft.provenance);
    furniture(flow, draft);
}

fn title(flow: &mut Flow, narrative: &Narrative) {
    let style = Style { size: 17.0, weight: Weight::Bold, ink: BLACK };
    flow.paragraph(&narrative.title, style);
    flow.space(4.0);
    for warning in &narrative.warnings {
        flow.paragraph(warning, Style { ink: RED, ..STRONG });
    }
    flow.space(6.0);
}

pub(super) fn subject(flow: &mut Flow, subject: &Subject) {
    let (patient, study) = (&subject.patient, &subject.study);
    let widths = [62.0, 222.0, 66.0, WIDTH - 350.0];
    let rows = [
        ["Patient", &person_name(&patient.name), "Study", &study.description],
        ["Patient ID", &patient.id, "Study date", &date(&study.date)],
        ["Born", &date(&patient.birth_date), "Accession", &study.accession_number],
        ["Sex", &patient.sex, "Referred by", &person_name(&study.referring_physician)],
    ];
    for row in rows {
        flow.row(&widths, &row.map(|cell| if cell.is_empty() { "-".into() } else { cell.to_owned() }), BODY);
    }
}

/// The groups of a VR PN, each as a person would write it: "Yamada Tarou · 山田 太郎".
fn person_name(name: &str) -> String {
    let spoken = |group: &str| group.split('^').filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
    let groups: Vec<String> = name.split('=').map(spoken).filter(|group| !group.is_empty()).collect();
    groups.join(" · ")
}

/// VR DA with hyphens; anything else as it is.
fn date(value: &str) -> String {
    match (value.get(0..4), value.get(4..6), value.get(6..8)) {
        (Some(year), Some(month), Some(day)) if value.len() == 8 => format!("{year}-{month}-{day}"),
        _ => value.to_owned(),
    }
}

pub(super) fn section(flow: &mut Flow, heading: &str, text: &str) {
    flow.heading(heading);
    lines(flow, text);
}

/// Text as it was written: a line end is one on paper too.
pub(super) fn lines(flow: &mut Flow, text: &str) {
    for line in text.lines() {
        match line.trim().is_empty() {
            true => flow.space(BODY.leading() / 2.0),
            false => flow.paragraph(line, BODY),
        }
    }
}

pub(super) fn list(flow: &mut Flow, heading: &str, entries: &[String]) {
    if entries.is_empty() {
        return;
    }
    flow.heading(heading);
    entries.iter().for_each(|entry| flow.bullet(entry, BODY));
}

/// What the boxes of a draft are.
const POINTED: &str = "Boxes are where the model points, not outlines of findings.";

/// `sentences` are those of the findings, by number; `note` says what the boxes are.
pub(super) fn key_image(
    flow: &mut Flow,
    heading: &str,
    picture: &Picture,
    sentences: &BTreeMap<usize, &str>,
    note: &str,
) {
    let scale = PICTURE_MAX / picture.width.max(picture.height) as f32;
    let (width, height) = (picture.width as f32 * scale, picture.height as f32 * scale);
    flow.ensure(height + 40.0);
    flow.heading(heading);
    flow.space(6.0);
    let area = flow.reserve(MARGIN, width, height);
    flow.draw(Mark::Picture { area });
    picture.boxes.iter().for_each(|marked| draw_box(flow, area, marked));
    caption(flow, area, picture, sentences, note);
}

fn draw_box(flow: &mut Flow, picture: Area, marked: &Marked) {
    let area = Area {
        x: picture.x + marked.left * picture.width,
        y: picture.y + marked.top * picture.height,
        width: (marked.right - marked.left) * picture.width,
        height: (marked.bottom - marked.top) * picture.height,
    };
    flow.draw(Mark::Framed { area, ink: YELLOW, thickness: 1.2 });
    let tag = Area { x: area.x, y: (area.y - 10.0).max(picture.y), width: 10.0, height: 10.0 };
    flow.draw(Mark::Filled { area: tag, ink: YELLOW });
    let style = Style { size: 8.0, weight: Weight::Bold, ink: BLACK };
    flow.label(flow.page_count() - 1, tag.x + 2.8, tag.y + 8.0, &marked.number.to_string(), style);
}

/// Beside the picture: which image it is, and what the numbers stand for.
fn caption(flow: &mut Flow, picture: Area, shown: &Picture, sentences: &BTreeMap<usize, &str>, note: &str) {
    let (x, bottom) = (picture.x + picture.width + 14.0, flow.y());
    let width = MARGIN + WIDTH - x;
    flow.space(-picture.height);
    flow.column(x, width, &format!("Shown: {}", shown.label), SMALL);
    for marked in &shown.boxes {
        let sentence = sentences.get(&marked.number).copied().unwrap_or_default();
        flow.column(x, width, &format!("{}  {sentence}", marked.number), BODY);
    }
    let note = if shown.boxes.is_empty() { "No boxes on this image." } else { note };
    flow.column(x, width, note, SMALL);
    flow.space((bottom - flow.y()).max(0.0) + 6.0);
}

const WITHOUT_CODE: &str = "Not coded: the table of codes does not have these words.";

fn findings(flow: &mut Flow, findings: &[FindingSection]) {
    flow.heading("Findings");
    if findings.is_empty() {
        flow.paragraph("The model reports no finding.", BODY);
    }
    for finding in findings {
        let place = finding.image.as_ref().map(|image| format!(" ({image})")).unwrap_or_default();
        flow.item(&format!("{}", finding.number), &format!("{}{place}", finding.sentence), BODY);
        if finding.coding == Mapping::Unmapped {
            flow.item("", WITHOUT_CODE, SMALL);
        }
        for remark in &finding.remarks {
            flow.item("", &format!("Automatic check: {remark}"), Style { ink: RED, ..SMALL });
        }
    }
}

pub(super) fn measurements(flow: &mut Flow, rows: &[MeasurementRow]) {
    if rows.is_empty() {
        return;
    }
    const WIDTHS: [f32; 5] = [46.0, 112.0, 80.0, 112.0, WIDTH - 350.0];
    flow.heading("Measurements");
    flow.row(&WIDTHS, &["Finding", "Of", "Quantity", "Value", "Method"].map(String::from), STRONG);
    for row in rows {
        let value = format!("{} {}", row.value, row.unit);
        let cells = [row.finding.to_string(), row.of.clone(), row.quantity.into(), value, row.method.into()];
        flow.row(&WIDTHS, &cells, BODY);
    }
}

pub(super) fn provenance(flow: &mut Flow, provenance: &Provenance) {
    flow.heading("Provenance");
    let model = format!("model={} version {}", provenance.model.name, provenance.model.version);
    let device = &provenance.device;
    let device = format!("device={} {} {}", device.manufacturer, device.model, device.software_version);
    let usage = &provenance.usage;
    let tokens = format!(
        "tokens={} prompt, {} image, {} answer",
        usage.prompt_tokens, usage.image_tokens, usage.answer_tokens
    );
    let times = format!("analysed={} to {}", provenance.started.rfc3339(), provenance.finished.rfc3339());
    let lines = [model, device, tokens, times].into_iter().chain(context::parameters(provenance));
    for (name, value) in
        lines.filter_map(|line| line.split_once('=').map(|(n, v)| (n.to_owned(), v.to_owned())))
    {
        flow.row(&[92.0, WIDTH - 92.0], &[name.replace('_', " "), value], SMALL);
    }
}

/// Header and footer of every page, once their number is known.
fn furniture(flow: &mut Flow, draft: &Draft) {
    let of = flow.page_count();
    for page in 0..of {
        let model = &draft.provenance.model;
        let demo = if model.notice.is_some() && model.runs == Runs::Here { "DEMO. " } else { "" };
        banner(flow, page, &format!("{demo}{AI_DRAFT}"), RED);
        header(flow, page, &draft.subject);
        let analysis = &draft.provenance.analysis_id;
        footer(flow, page, of, &format!("{} {}  ·  analysis {analysis}", model.name, model.version));
    }
}

/// How the report stands, white on a colour over the whole width.
pub(super) fn banner(flow: &mut Flow, page: usize, text: &str, ink: Ink) {
    let area = Area { x: MARGIN, y: 24.0, width: WIDTH, height: 17.0 };
    flow.draw_on(page, Mark::Filled { area, ink });
    let style = Style { ink: WHITE, ..STRONG };
    flow.clipped_label(page, MARGIN + 7.0, 36.0, text, style, WIDTH - 10.0);
}

pub(super) fn header(flow: &mut Flow, page: usize, subject: &Subject) {
    let (patient, study) = (&subject.patient, &subject.study);
    let area = Area { x: MARGIN, y: 43.0, width: WIDTH, height: 16.0 };
    flow.draw_on(page, Mark::Filled { area, ink: PALE });
    let who = format!("{}  ·  ID {}", person_name(&patient.name), patient.id);
    let when = format!("Study of {}", date(&study.date));
    let width = flow.width_of(&when, SMALL);
    flow.clipped_label(page, MARGIN + 7.0, 54.5, &who, SMALL, WIDTH - width - 24.0);
    flow.label(page, MARGIN + WIDTH - 7.0 - width, 54.5, &when, SMALL);
}

pub(super) fn footer(flow: &mut Flow, page: usize, of: usize, source: &str) {
    let y = PAGE_HEIGHT - 28.0;
    flow.draw_on(page, Mark::Rule { x: MARGIN, y: y - 12.0, width: WIDTH, ink: GREY });
    let number = format!("page {} of {of}", page + 1);
    let width = flow.width_of(&number, SMALL);
    flow.clipped_label(page, MARGIN, y, source, SMALL, WIDTH - width - 12.0);
    flow.label(page, MARGIN + WIDTH - width, y, &number, SMALL);
}
