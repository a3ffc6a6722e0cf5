//! Lines and areas of one level of grey.

use image::{DynamicImage, GenericImageView};

/// Lays a level over a pixel; outside the picture there is nothing to lay it on.
pub(super) fn blend(picture: &mut DynamicImage, (x, y): (i64, i64), level: u8, coverage: f32) {
    let (Ok(x), Ok(y)) = (u32::try_from(x), u32::try_from(y)) else { return };
    if !picture.in_bounds(x, y) {
        return;
    }
    let coverage = coverage.clamp(0.0, 1.0);
    let mix = |old: u8| (f32::from(old) + (f32::from(level) - f32::from(old)) * coverage).round() as u8;
    match picture {
        DynamicImage::ImageLuma8(gray) => gray.get_pixel_mut(x, y).0 = gray.get_pixel(x, y).0.map(mix),
        DynamicImage::ImageRgb8(rgb) => rgb.get_pixel_mut(x, y).0 = rgb.get_pixel(x, y).0.map(mix),
        _ => {}
    }
}

/// A line of the picture's own pixels between two points of it.
pub(super) fn line(picture: &mut DynamicImage, from: (f64, f64), to: (f64, f64), level: u8) {
    let Some((from, to)) = clipped(from, to, picture.dimensions()) else { return };
    let steps = (to.0 - from.0).abs().max((to.1 - from.1).abs()).ceil().max(1.0);
    for step in 0..=steps as u32 {
        let along = f64::from(step) / steps;
        let at = (from.0 + (to.0 - from.0) * along, from.1 + (to.1 - from.1) * along);
        blend(picture, (at.0.floor() as i64, at.1.floor() as i64), level, 1.0);
    }
}

/// The inside of a closed outline, odd crossings in (even-odd rule).
pub(super) fn fill(picture: &mut DynamicImage, outline: &[(f64, f64)], level: u8) {
    let (columns, rows) = picture.dimensions();
    for row in 0..rows {
        let mut crossings = crossings(outline, f64::from(row) + 0.5);
        crossings.sort_by(f64::total_cmp);
        for pair in crossings.chunks_exact(2) {
            let begin = pair[0].max(0.0).round() as i64;
            let end = pair[1].min(f64::from(columns)).round() as i64;
            (begin..end).for_each(|column| blend(picture, (column, row.into()), level, 1.0));
        }
    }
}

fn crossings(outline: &[(f64, f64)], y: f64) -> Vec<f64> {
    let next = outline.iter().cycle().skip(1);
    let edges = outline.iter().zip(next).filter(|(a, b)| (a.1 > y) != (b.1 > y));
    edges.map(|(a, b)| a.0 + (y - a.1) / (b.1 - a.1) * (b.0 - a.0)).collect()
}

/// The part of a line within the picture (Liang and Barsky), so that a far end costs nothing.
fn clipped(
    from: (f64, f64),
    to: (f64, f64),
    (columns, rows): (u32, u32),
) -> Option<((f64, f64), (f64, f64))> {
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let bounds =
        [(-dx, from.0), (dx, f64::from(columns) - from.0), (-dy, from.1), (dy, f64::from(rows) - from.1)];
    let (mut enter, mut leave) = (0.0_f64, 1.0_f64);
    for (slope, distance) in bounds {
        match slope {
            0.0 if distance < 0.0 => return None,
            0.0 => {}
            slope if slope < 0.0 => enter = enter.max(distance / slope),
            slope => leave = leave.min(distance / slope),
        }
    }
    // Of ends far away, rounding leaves some of the distance.
    let within = |at: f64, side: u32| at.clamp(0.0, f64::from(side));
    let at = |along: f64| (within(from.0 + dx * along, columns), within(from.1 + dy * along, rows));
    (enter <= leave).then(|| (at(enter), at(leave)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::GrayImage;

    fn marked(draw: impl FnOnce(&mut DynamicImage)) -> Vec<(u32, u32)> {
        let mut picture = DynamicImage::from(GrayImage::new(5, 4));
        draw(&mut picture);
        let gray = picture.into_luma8();
        gray.enumerate_pixels().filter(|(.., level)| level.0 != [0]).map(|(x, y, _)| (x, y)).collect()
    }

    #[test]
    fn a_line_marks_the_pixels_between_its_ends_w34c() {
        assert_eq!(marked(|p| line(p, (0.5, 0.5), (3.5, 3.5), 9)), [(0, 0), (1, 1), (2, 2), (3, 3)]);
        assert_eq!(marked(|p| line(p, (-1e12, 2.5), (1e12, 2.5), 9)).len(), 5);
        assert_eq!(
            marked(|p| line(p, (-1e30, 2.5), (3e29, 2.5), 9)).iter().filter(|(_, y)| *y != 2).count(),
            0
        );
        assert_eq!(marked(|p| line(p, (-5.0, -5.0), (-1.0, 9.0), 9)), []);
    }

    #[test]
    fn an_area_is_filled_within_its_outline_w34c() {
        let square = [(1.0, 1.0), (3.0, 1.0), (3.0, 3.0), (1.0, 3.0)];
        assert_eq!(marked(|p| fill(p, &square, 9)), [(1, 1), (2, 1), (1, 2), (2, 2)]);
    }
}
