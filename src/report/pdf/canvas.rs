//! What is drawn on a page, and its way into the PDF file. Lengths in points from the top left.

use std::collections::BTreeMap;

use printpdf::{
    Codepoint, Color, DictItem, ExternalStream, ExternalXObject, FontId, Line, LinePoint, Mm, Op, PaintMode,
    ParsedFont, PdfDocument, PdfFont, PdfFontHandle, PdfPage, PdfSaveOptions, Point, Pt, Px, Rect, Rgb,
    TextItem, TextMatrix, XObject, XObjectId, XObjectTransform,
};

use super::PdfError;
use super::fonts::{FaceId, Subset, Usage};
use super::picture::Picture;
use super::shape::{self, Glyph};
use crate::clock::Timestamp;
use crate::report::document::{Device, Report};
use crate::report::elements;
use crate::report::signed::Signed;

/// A4.
pub(super) const PAGE_WIDTH: f32 = 595.28;
pub(super) const PAGE_HEIGHT: f32 = 841.89;

/// Name of the key image among the resources of a page.
const PICTURE: &str = "KeyImage";

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Ink(pub(super) f32, pub(super) f32, pub(super) f32);

impl Ink {
    fn color(self) -> Color {
        Color::Rgb(Rgb::new(self.0, self.1, self.2, None))
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Area {
    pub(super) x: f32,
    pub(super) y: f32,
    pub(super) width: f32,
    pub(super) height: f32,
}

pub(super) enum Mark {
    /// A line of text, its baseline starting at (x, y).
    Text {
        x: f32,
        y: f32,
        size: f32,
        ink: Ink,
        line: shape::Line,
    },
    Filled {
        area: Area,
        ink: Ink,
    },
    Framed {
        area: Area,
        ink: Ink,
        thickness: f32,
    },
    Rule {
        x: f32,
        y: f32,
        width: f32,
        ink: Ink,
    },
    Picture {
        area: Area,
    },
}

#[derive(Default)]
pub(super) struct Page {
    pub(super) marks: Vec<Mark>,
}

/// What the file says of itself.
pub(super) struct About {
    title: String,
    creator: String,
    made: i64,
}

impl About {
    pub(super) fn of(report: &Report) -> Self {
        let draft = report.draft();
        Self::new(elements::title(draft), &draft.provenance.device, draft.provenance.finished)
    }

    pub(super) fn of_signed(signed: &Signed) -> Self {
        Self::new(signed.title(), &signed.device, signed.signing.at)
    }

    fn new(title: String, device: &Device, made: Timestamp) -> Self {
        let creator = format!("{} {} {}", device.manufacturer, device.model, device.software_version);
        Self { title, creator, made: made.0 / 1_000_000 }
    }
}

pub(super) fn write(pages: &[Page], picture: Option<&Picture>, about: &About) -> Result<Vec<u8>, PdfError> {
    let subsets: BTreeMap<FaceId, Subset> =
        usage(pages).subsets()?.into_iter().map(|s| (s.face, s)).collect();
    let mut document = described(about);
    for subset in subsets.values() {
        document.resources.fonts.map.insert(font_id(subset.face), font(subset)?);
    }
    if let Some(picture) = picture {
        document.resources.xobjects.map.insert(XObjectId(PICTURE.into()), jpeg(picture));
    }
    document.pages = pages.iter().map(|page| pdf_page(page, &subsets)).collect();
    saved(&document)
}

fn described(about: &About) -> PdfDocument {
    let mut document = PdfDocument::new(&about.title);
    let info = &mut document.metadata.info;
    info.document_title.clone_from(&about.title);
    info.creator.clone_from(&about.creator);
    info.producer.clone_from(&about.creator);
    // Unix seconds of a report lie far inside the range that the date type takes.
    if let Ok(made) = printpdf::OffsetDateTime::from_unix_timestamp(about.made) {
        (info.creation_date, info.modification_date, info.metadata_date) = (made, made, made);
    }
    document
}

/// Without the file identifier, which would be a random one; it is optional (ISO 32000-1, 14.4).
fn saved(document: &PdfDocument) -> Result<Vec<u8>, PdfError> {
    let mut file = document.to_lopdf_document(&PdfSaveOptions::default(), &mut Vec::new());
    file.trailer.remove(b"ID");
    file.compress();
    let mut bytes = Vec::new();
    file.save_to(&mut bytes).map_err(PdfError::Write)?;
    Ok(bytes)
}

fn usage(pages: &[Page]) -> Usage {
    let mut usage = Usage::default();
    for mark in pages.iter().flat_map(|page| &page.marks) {
        if let Mark::Text { line, .. } = mark {
            line.glyphs.iter().for_each(|glyph| usage.note(glyph.face, glyph.id));
        }
    }
    usage
}

fn font_id(face: FaceId) -> FontId {
    FontId(format!("Face{face}"))
}

fn font(subset: &Subset) -> Result<PdfFont, PdfError> {
    let unreadable =
        PdfError::Subset { font: "subset", reason: "the reduced face cannot be read back".into() };
    ParsedFont::from_bytes(&subset.bytes, 0, &mut Vec::new()).map(PdfFont::new).ok_or(unreadable)
}

/// The JPEG as it is: DCTDecode, ISO 32000-1 7.4.8.
fn jpeg(picture: &Picture) -> XObject {
    let name = |text: &str| DictItem::Name(text.as_bytes().to_vec());
    let space = if picture.grey { "DeviceGray" } else { "DeviceRGB" };
    let dict = [
        ("Type", name("XObject")),
        ("Subtype", name("Image")),
        ("Width", DictItem::Int(picture.width.into())),
        ("Height", DictItem::Int(picture.height.into())),
        ("ColorSpace", name(space)),
        ("BitsPerComponent", DictItem::Int(8)),
        ("Filter", name("DCTDecode")),
    ];
    let dict = dict.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    let stream = ExternalStream { dict, content: picture.jpeg.clone(), compress: false };
    let (width, height) = (Some(Px(picture.width as usize)), Some(Px(picture.height as usize)));
    XObject::External(ExternalXObject { stream, width, height, dpi: None })
}

fn pdf_page(page: &Page, subsets: &BTreeMap<FaceId, Subset>) -> PdfPage {
    let ops = page.marks.iter().flat_map(|mark| operators(mark, subsets)).collect();
    PdfPage::new(Mm::from(Pt(PAGE_WIDTH)), Mm::from(Pt(PAGE_HEIGHT)), ops)
}

fn operators(mark: &Mark, subsets: &BTreeMap<FaceId, Subset>) -> Vec<Op> {
    match mark {
        Mark::Text { x, y, size, ink, line } => text(*x, *y, *size, *ink, line, subsets),
        Mark::Filled { area, ink } => {
            vec![
                Op::SetFillColor { col: ink.color() },
                Op::DrawRectangle { rectangle: rectangle(*area, PaintMode::Fill) },
            ]
        }
        Mark::Framed { area, ink, thickness } => vec![
            Op::SetOutlineColor { col: ink.color() },
            Op::SetOutlineThickness { pt: Pt(*thickness) },
            Op::DrawRectangle { rectangle: rectangle(*area, PaintMode::Stroke) },
        ],
        Mark::Rule { x, y, width, ink } => rule(*x, *y, *width, *ink),
        Mark::Picture { area } => vec![placed_picture(*area)],
    }
}

fn rectangle(area: Area, mode: PaintMode) -> Rect {
    let bottom = PAGE_HEIGHT - area.y - area.height;
    let mut rectangle = Rect::from_xywh(Pt(area.x), Pt(bottom), Pt(area.width), Pt(area.height));
    rectangle.mode = Some(mode);
    rectangle
}

fn rule(x: f32, y: f32, width: f32, ink: Ink) -> Vec<Op> {
    let point = |x: f32| LinePoint { p: Point { x: Pt(x), y: Pt(PAGE_HEIGHT - y) }, bezier: false };
    vec![
        Op::SetOutlineColor { col: ink.color() },
        Op::SetOutlineThickness { pt: Pt(0.5) },
        Op::DrawLine { line: Line { points: vec![point(x), point(x + width)], is_closed: false } },
    ]
}

fn placed_picture(area: Area) -> Op {
    let transform = XObjectTransform {
        translate_x: Some(Pt(area.x)),
        translate_y: Some(Pt(PAGE_HEIGHT - area.y - area.height)),
        scale_x: Some(area.width),
        scale_y: Some(area.height),
        no_auto_scale: true,
        ..XObjectTransform::default()
    };
    Op::UseXobject { id: XObjectId(PICTURE.into()), transform }
}

fn text(
    x: f32,
    y: f32,
    size: f32,
    ink: Ink,
    line: &shape::Line,
    subsets: &BTreeMap<FaceId, Subset>,
) -> Vec<Op> {
    let mut ops = vec![Op::SetFillColor { col: ink.color() }, Op::StartTextSection];
    let mut face = None;
    for glyph in &line.glyphs {
        if face != Some(glyph.face) {
            let font = PdfFontHandle::External(font_id(glyph.face));
            ops.push(Op::SetFont { font, size: Pt(size) });
            face = Some(glyph.face);
        }
        let (x, y) = (x + glyph.x * size, PAGE_HEIGHT - y + glyph.y * size);
        ops.push(Op::SetTextMatrix { matrix: TextMatrix::Translate(Pt(x), Pt(y)) });
        ops.push(Op::ShowText { items: vec![TextItem::GlyphIds(vec![codepoint(glyph, subsets)])] });
    }
    ops.push(Op::EndTextSection);
    ops
}

fn codepoint(glyph: &Glyph, subsets: &BTreeMap<FaceId, Subset>) -> Codepoint {
    let id = subsets.get(&glyph.face).and_then(|subset| subset.glyphs.get(&glyph.id));
    Codepoint::with_cid(id.copied().unwrap_or(0), 0.0, glyph.text.clone())
}
