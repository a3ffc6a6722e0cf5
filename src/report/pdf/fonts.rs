//! The embedded faces: which one has a character, and which glyphs of each a document uses.

use std::collections::{BTreeMap, BTreeSet};

use allsorts::Font;
use allsorts::binary::read::ReadScope;
use allsorts::font::MatchingPresentation;
use allsorts::font_data::{DynamicFontTableProvider, FontData};
use allsorts::subset::{CmapTarget, SubsetProfile, subset};

use super::PdfError;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weight {
    Regular,
    Bold,
}

struct Source {
    name: &'static str,
    /// OpenType script tag that its text is shaped as.
    script: &'static [u8; 4],
    bytes: &'static [u8],
}

macro_rules! font {
    ($name:literal, $script:literal) => {
        Source {
            name: $name,
            script: $script,
            bytes: include_bytes!(concat!("../../../assets/fonts/", $name)),
        }
    };
}

/// The two Latin faces, and then the fallbacks in the order in which they are asked.
static SOURCES: [Source; 12] = [
    font!("NotoSans-Regular.ttf", b"latn"),
    font!("NotoSans-Bold.ttf", b"latn"),
    font!("NotoSansArabic-Regular.ttf", b"arab"),
    font!("NotoSansHebrew-Regular.ttf", b"hebr"),
    font!("NotoSansThai-Regular.ttf", b"thai"),
    font!("NotoSansDevanagari-Regular.ttf", b"deva"),
    font!("NotoSansBengali-Regular.ttf", b"beng"),
    font!("NotoSansTamil-Regular.ttf", b"taml"),
    font!("NotoSansArmenian-Regular.ttf", b"armn"),
    font!("NotoSansGeorgian-Regular.ttf", b"geor"),
    font!("NotoSansCJKkr-Hangul.otf", b"hang"),
    font!("DroidSansFallback-Han.ttf", b"hani"),
];

const FALLBACKS: std::ops::Range<usize> = 2..SOURCES.len();

/// The files of the faces of regular weight, in the order in which they are asked for a character.
pub(crate) fn files() -> impl Iterator<Item = &'static [u8]> {
    [0].into_iter().chain(FALLBACKS).map(|face| SOURCES[face].bytes)
}

/// Position of a face in the table above.
pub(super) type FaceId = usize;

pub(super) struct Face {
    pub(super) font: Font<DynamicFontTableProvider<'static>>,
    pub(super) script: u32,
    /// Font units of one em.
    pub(super) units_per_em: f32,
}

pub(super) struct Fonts {
    faces: Vec<Face>,
}

impl Fonts {
    pub(super) fn load() -> Result<Self, PdfError> {
        Ok(Self { faces: SOURCES.iter().map(load).collect::<Result<_, _>>()? })
    }

    pub(super) fn face(&mut self, id: FaceId) -> &mut Face {
        &mut self.faces[id]
    }

    /// The face for a character: `current` where it fits and the character belongs to no script,
    /// then the Latin face of this weight, then the fallbacks. What no face has goes to the Latin
    /// one as an empty box, never into a run of a script that it does not belong to.
    pub(super) fn face_for(&mut self, character: char, weight: Weight, current: Option<FaceId>) -> FaceId {
        let latin = if weight == Weight::Bold { 1 } else { 0 };
        let kept = current.filter(|face| is_neutral(character) && self.has(*face, character));
        let mut candidates = [latin].into_iter().chain(FALLBACKS);
        kept.or_else(|| candidates.find(|face| self.has(*face, character))).unwrap_or(latin)
    }

    fn has(&mut self, face: FaceId, character: char) -> bool {
        let font = &mut self.faces[face].font;
        font.lookup_glyph_index(character, MatchingPresentation::NotRequired, None).0 != 0
    }
}

/// Spaces, digits and punctuation stay in the face of the text around them, as do joiners.
fn is_neutral(character: char) -> bool {
    !character.is_alphabetic()
}

fn load(source: &'static Source) -> Result<Face, PdfError> {
    let failed = |reason: String| PdfError::Font { font: source.name, reason };
    let provider = provider(source).map_err(failed)?;
    let font = Font::new(provider).map_err(|error| failed(error.to_string()))?;
    let units_per_em = f32::from(font.head_table.units_per_em);
    Ok(Face { font, script: u32::from_be_bytes(*source.script), units_per_em })
}

fn provider(source: &'static Source) -> Result<DynamicFontTableProvider<'static>, String> {
    let data = ReadScope::new(source.bytes).read::<FontData<'_>>().map_err(|error| error.to_string())?;
    data.table_provider(0).map_err(|error| format!("{error:?}"))
}

/// The glyphs that a document shows, by face.
#[derive(Default)]
pub(super) struct Usage(BTreeMap<FaceId, BTreeSet<u16>>);

/// A face reduced to the glyphs used.
pub(super) struct Subset {
    pub(super) face: FaceId,
    pub(super) bytes: Vec<u8>,
    /// From the glyph of the whole face to the glyph of the subset.
    pub(super) glyphs: BTreeMap<u16, u16>,
}

impl Usage {
    pub(super) fn note(&mut self, face: FaceId, glyph: u16) {
        self.0.entry(face).or_default().insert(glyph);
    }

    pub(super) fn subsets(&self) -> Result<Vec<Subset>, PdfError> {
        self.0.iter().map(|(face, glyphs)| reduce(*face, glyphs)).collect()
    }
}

/// Glyph 0, `.notdef`, comes first in every subset; the rest keep their order.
fn reduce(face: FaceId, used: &BTreeSet<u16>) -> Result<Subset, PdfError> {
    let source = &SOURCES[face];
    let failed = |reason: String| PdfError::Subset { font: source.name, reason };
    let ids: Vec<u16> = [0].into_iter().chain(used.iter().copied().filter(|glyph| *glyph != 0)).collect();
    let provider = provider(source).map_err(failed)?;
    let bytes = subset(&provider, &ids, &SubsetProfile::Pdf, CmapTarget::Unrestricted)
        .map_err(|error| failed(error.to_string()))?;
    Ok(Subset { face, bytes, glyphs: ids.into_iter().zip(0..).collect() })
}
