//! From a line of text to glyphs in the order and at the places in which they are drawn.

use allsorts::font::MatchingPresentation;
use allsorts::glyph_position::{GlyphLayout, TextDirection};
use allsorts::gpos::Info;
use allsorts::gsub::{FeatureMask, FeatureMaskExt};
use unicode_bidi::BidiInfo;

use super::fonts::{FaceId, Fonts, Weight};

/// One glyph; lengths in em.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Glyph {
    pub(super) face: FaceId,
    pub(super) id: u16,
    /// From the start of the line.
    pub(super) x: f32,
    /// Above the baseline.
    pub(super) y: f32,
    /// The characters it stands for, for the text layer.
    pub(super) text: String,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Line {
    pub(super) glyphs: Vec<Glyph>,
    /// In em.
    pub(super) width: f32,
}

/// Lays one line out, Unicode Bidirectional Algorithm and OpenType shaping included.
pub(super) fn line(fonts: &mut Fonts, text: &str, weight: Weight) -> Line {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let bidi = BidiInfo::new(&text, None);
    let mut line = Line::default();
    for paragraph in &bidi.paragraphs {
        let (levels, runs) = bidi.visual_runs(paragraph, paragraph.range.clone());
        for run in runs {
            let rtl = levels[run.start].is_rtl();
            direction_run(fonts, &text[run], weight, rtl, &mut line);
        }
    }
    line
}

fn direction_run(fonts: &mut Fonts, text: &str, weight: Weight, rtl: bool, line: &mut Line) {
    let mut runs = face_runs(fonts, text, weight);
    if rtl {
        runs.reverse();
    }
    for (face, text) in runs {
        face_run(fonts, face, &text, rtl, line);
    }
}

/// Pieces of one face each, in logical order.
fn face_runs(fonts: &mut Fonts, text: &str, weight: Weight) -> Vec<(FaceId, String)> {
    let mut runs: Vec<(FaceId, String)> = Vec::new();
    for character in text.chars() {
        let face = fonts.face_for(character, weight, runs.last().map(|(face, _)| *face));
        match runs.last_mut() {
            Some((last, run)) if *last == face => run.push(character),
            _ => runs.push((face, character.to_string())),
        }
    }
    runs
}

fn face_run(fonts: &mut Fonts, id: FaceId, text: &str, rtl: bool, line: &mut Line) {
    let face = fonts.face(id);
    let text: String = if rtl { text.chars().map(mirrored).collect() } else { text.to_owned() };
    let glyphs = face.font.map_glyphs(&text, face.script, MatchingPresentation::NotRequired);
    let shaped = face.font.shape(glyphs, face.script, None, FeatureMask::default_mask(), &[], None, true);
    // A feature that the shaper cannot apply leaves the glyphs usable without it.
    let infos = shaped.unwrap_or_else(|(_, infos)| infos);
    let direction = if rtl { TextDirection::RightToLeft } else { TextDirection::LeftToRight };
    let positions =
        GlyphLayout::new(&mut face.font, &infos, direction, false).glyph_positions().unwrap_or_default();
    let em = face.units_per_em;
    let placed = infos.iter().zip(positions);
    let mut append = |(info, position): (&Info, allsorts::glyph_position::GlyphPosition)| {
        let (x, y) = (position.x_offset as f32 / em, position.y_offset as f32 / em);
        let text = info.glyph.unicodes.iter().collect();
        line.glyphs.push(Glyph { face: id, id: info.glyph.glyph_index, x: line.width + x, y, text });
        line.width += position.hori_advance as f32 / em;
    };
    if rtl { placed.rev().for_each(&mut append) } else { placed.for_each(&mut append) }
}

/// The brackets of right-to-left text face the other way (UAX 9, L4).
fn mirrored(character: char) -> char {
    match character {
        '(' => ')',
        ')' => '(',
        '[' => ']',
        ']' => '[',
        '{' => '}',
        '}' => '{',
        '<' => '>',
        '>' => '<',
        '«' => '»',
        '»' => '«',
        other => other,
    }
}

/// Breaks text into lines of at most `width` em: at spaces, before any Han or Kana character,
/// and inside a word only where the word alone is too long.
pub(super) fn wrap(fonts: &mut Fonts, text: &str, weight: Weight, width: f32) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut used = 0.0;
    let mut fitted = Vec::new();
    for piece in pieces(text) {
        fitted.extend(fitting(fonts, piece, weight, width));
    }
    for piece in fitted {
        let wide = line(fonts, &piece, weight).width;
        let fits = used + line(fonts, piece.trim_end(), weight).width <= width;
        if !fits && used > 0.0 {
            lines.push(String::new());
            used = 0.0;
        }
        used += wide;
        // `lines` starts with one element and only grows.
        if let Some(last) = lines.last_mut() {
            last.push_str(&piece);
        }
    }
    lines.into_iter().map(|line| line.trim_end().to_owned()).collect()
}

/// Words with the space that follows them; ideographs alone.
fn pieces(text: &str) -> Vec<String> {
    let mut pieces: Vec<String> = Vec::new();
    let mut open = false;
    for character in text.split_whitespace().collect::<Vec<_>>().join(" ").chars() {
        let alone = is_ideograph(character);
        match pieces.last_mut() {
            Some(last) if open && !alone => last.push(character),
            Some(last) if character == ' ' => last.push(character),
            _ => pieces.push(character.to_string()),
        }
        open = character != ' ' && !alone;
    }
    pieces
}

fn is_ideograph(character: char) -> bool {
    matches!(character, '\u{2E80}'..='\u{30FF}' | '\u{3400}'..='\u{9FFF}' | '\u{F900}'..='\u{FAFF}' | '\u{FF00}'..='\u{FFEF}')
}

/// The piece itself, or its parts where it is wider than a line.
fn fitting(fonts: &mut Fonts, piece: String, weight: Weight, width: f32) -> Vec<String> {
    if line(fonts, &piece, weight).width <= width {
        return vec![piece];
    }
    let mut parts = vec![String::new()];
    let mut filled = 0.0;
    for character in piece.chars() {
        let open = parts.last().map(|part| format!("{part}{character}")).unwrap_or_default();
        let wide = line(fonts, &open, weight).width;
        // A mark that takes no room stays with its base.
        let attached = wide <= filled;
        match parts.last_mut() {
            Some(last) if last.is_empty() || wide <= width || attached => *last = open,
            _ => parts.push(character.to_string()),
        }
        filled = wide.min(width);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shaped(text: &str) -> Line {
        line(&mut Fonts::load().expect("the fonts load"), text, Weight::Regular)
    }

    fn drawn(text: &str) -> String {
        shaped(text).glyphs.into_iter().map(|glyph| glyph.text).collect()
    }

    #[test]
    fn every_script_of_a_name_has_glyphs() {
        for name in [
            "Müller",
            "Ωμέγα",
            "Яковлев",
            "محمد",
            "שרה",
            "สมชาย",
            "राम",
            "山田太郎",
            "やまだ",
            "김철수",
            "রাম",
            "Արամ",
        ] {
            assert!(shaped(name).glyphs.iter().all(|glyph| glyph.id != 0), "{name} has a glyph missing");
        }
    }

    #[test]
    fn right_to_left_text_is_drawn_from_its_end() {
        assert_eq!(drawn("שרה"), "הרש");
        assert_eq!(drawn("Dr. שרה (1)"), "Dr. (1) הרש");
    }

    /// The Indic shaper panics on a mark of a script that is not its own.
    #[test]
    fn a_mark_of_another_script_is_no_part_of_a_run() {
        let faces: Vec<FaceId> = shaped("ল\u{cca}").glyphs.iter().map(|glyph| glyph.face).collect();
        assert_ne!(faces[0], faces[1]);
    }

    #[test]
    fn arabic_letters_join() {
        let (alone, joined) = (shaped("م").glyphs[0].id, shaped("ممم").glyphs[1].id);
        assert_ne!(alone, joined);
    }

    #[test]
    fn a_thai_vowel_takes_no_room_of_its_own() {
        assert_eq!(shaped("ก").width, shaped("กี").width);
    }

    #[test]
    fn lines_are_no_wider_than_asked() {
        let mut fonts = Fonts::load().expect("the fonts load");
        let text = "Short words and averyveryverylongwordwithoutanyspacewhatsoever 山田太郎さんの胸部正面写真です end";
        let lines = wrap(&mut fonts, text, Weight::Regular, 9.0);
        assert!(lines.iter().all(|text| line(&mut fonts, text, Weight::Regular).width <= 9.0));
        let kept = |text: &str| text.replace(' ', "");
        assert_eq!(kept(&lines.concat()), kept(text));
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(100))]
        #[test]
        fn no_text_makes_the_shaper_panic(text in "\\PC{0,24}", mixed in "[a\u{60c}-\u{652}\u{900}-\u{970}\u{e01}-\u{e4e}\u{980}-\u{9e3}\u{b80}-\u{bcd}\u{5b0}-\u{5ea}가나 ()1]{0,24}") {
            let mut fonts = Fonts::load().expect("the fonts load");
            for text in [text, mixed] {
                let line = line(&mut fonts, &text, Weight::Regular);
                proptest::prop_assert!(line.width.is_finite());
                wrap(&mut fonts, &text, Weight::Bold, 3.0);
            }
        }
    }
}
