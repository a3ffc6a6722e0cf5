//! Text drawn into a picture: white on a dark edge, so that it is read on any background.

use std::sync::LazyLock;

use ab_glyph::{Font, FontRef, GlyphId, PxScale, ScaleFont, point};
use image::DynamicImage;

use super::drawing::blend;
use crate::report::pdf::fonts;

/// The faces in the order in which they are asked for a character.
static FACES: LazyLock<Vec<FontRef<'static>>> =
    LazyLock::new(|| fonts::files().filter_map(|bytes| FontRef::try_from_slice(bytes).ok()).collect());

/// A line longer than this is cut.
const CHARACTERS_MAX: usize = 256;

/// Draws one line whose upper left corner is at `(x, y)`, `height` pixels high.
pub(super) fn write(picture: &mut DynamicImage, (x, y): (f32, f32), height: f32, text: &str) {
    for (level, offset) in [(0, 1.0), (255, 0.0)] {
        let mut pen = x + offset;
        for character in text.chars().take(CHARACTERS_MAX) {
            let Some((face, id)) = glyph(character) else { continue };
            let face = face.as_scaled(PxScale::from(height));
            let placed = id.with_scale_and_position(face.scale(), point(pen, y + offset + face.ascent()));
            pen += face.h_advance(id);
            draw(picture, &face, placed, level);
        }
    }
}

/// How wide a line is.
pub(super) fn width(height: f32, text: &str) -> f32 {
    let advance =
        |(face, id): (&FontRef<'static>, GlyphId)| face.as_scaled(PxScale::from(height)).h_advance(id);
    text.chars().take(CHARACTERS_MAX).filter_map(glyph).map(advance).sum()
}

fn draw<F: Font, S: ScaleFont<F>>(picture: &mut DynamicImage, face: &S, glyph: ab_glyph::Glyph, level: u8) {
    if let Some(outline) = face.outline_glyph(glyph) {
        let bounds = outline.px_bounds();
        outline.draw(|column, row, coverage| {
            let at = (bounds.min.x as i64 + i64::from(column), bounds.min.y as i64 + i64::from(row));
            blend(picture, at, level, coverage);
        });
    }
}

/// The first face that has the character; what none has is a box of the first one.
fn glyph(character: char) -> Option<(&'static FontRef<'static>, GlyphId)> {
    let found = FACES.iter().map(|face| (face, face.glyph_id(character))).find(|(_, id)| id.0 != 0);
    found.or_else(|| FACES.first().map(|face| (face, GlyphId(0))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::GrayImage;

    fn ink(text: &str) -> u32 {
        let mut picture = DynamicImage::from(GrayImage::from_pixel(200, 40, image::Luma([100])));
        write(&mut picture, (2.0, 2.0), 24.0, text);
        picture.into_luma8().pixels().filter(|pixel| pixel.0 != [100]).count() as u32
    }

    #[test]
    fn names_of_many_scripts_are_written_w33b() {
        for name in ["Müller", "山田", "김희중", "Люкceмбypг", "Διονυσιος", "قباني", "שרון"]
        {
            assert!(ink(name) > 60, "{name}");
        }
        assert_eq!(ink(""), 0);
    }

    #[test]
    fn what_lies_outside_is_cut_off() {
        let mut picture = DynamicImage::from(GrayImage::new(4, 4));
        write(&mut picture, (-20.0, -20.0), 60.0, "Wide");
        assert_eq!((picture.width(), picture.height()), (4, 4));
        assert!(width(20.0, "WW") > width(20.0, "ii"));
    }
}
