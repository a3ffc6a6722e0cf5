//! Soft-edged shapes in the unit square, and the box around one.

use crate::report::findings::Box2d;

/// An axis-parallel ellipse; x runs to the patient's left, y towards the feet or the back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ellipse {
    pub(crate) x: f32,
    pub(crate) y: f32,
    pub(crate) half_width: f32,
    pub(crate) half_height: f32,
}

impl Ellipse {
    /// 1 inside, 0 outside, linear over `edge` (a fraction of the radius) around the border.
    pub(crate) fn cover(&self, x: f32, y: f32, edge: f32) -> f32 {
        step((1.0 - self.radius(x, y)) / edge)
    }

    /// 1 on the border.
    pub(crate) fn radius(&self, x: f32, y: f32) -> f32 {
        let dx = (x - self.x) / self.half_width;
        let dy = (y - self.y) / self.half_height;
        (dx * dx + dy * dy).sqrt()
    }
}

/// A ramp from 0 to 1, centred on 0, one unit long.
pub(crate) fn step(t: f32) -> f32 {
    (t + 0.5).clamp(0.0, 1.0)
}

/// A triangle of height 1 around 0 that reaches 0 at -1 and 1.
pub(crate) fn bump(t: f32) -> f32 {
    (1.0 - t.abs()).max(0.0)
}

/// The samples per side on which [`area_and_box`] looks at a shape.
const GRID: u16 = 100;
/// Boxes are widened to multiples of this many thousandths: nobody outlines an effusion finer.
const BOX_STEP: u16 = 50;

/// The share of the image that `cover` fills by more than half, and the box around that part.
pub(crate) fn area_and_box(cover: impl Fn(f32, f32) -> f32) -> (f32, Box2d) {
    let (mut count, mut low, mut high) = (0u32, [GRID; 2], [0u16; 2]);
    for (row, column) in (0..GRID).flat_map(|row| (0..GRID).map(move |column| (row, column))) {
        let at = |index: u16| (f32::from(index) + 0.5) / f32::from(GRID);
        if cover(at(column), at(row)) > 0.5 {
            count += 1;
            low = [low[0].min(row), low[1].min(column)];
            high = [high[0].max(row + 1), high[1].max(column + 1)];
        }
    }
    let share = count as f32 / (f32::from(GRID) * f32::from(GRID));
    let [y0, x0] = low.map(|cell| cell * (1000 / GRID) / BOX_STEP * BOX_STEP);
    let [y1, x1] = high.map(|cell| (cell * (1000 / GRID)).next_multiple_of(BOX_STEP));
    (share, Box2d { y0, x0, y1, x1 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_is_boxed_by_rows_then_columns() {
        let ellipse = Ellipse { x: 0.7, y: 0.3, half_width: 0.19, half_height: 0.09 };
        let (share, found) = area_and_box(|x, y| ellipse.cover(x, y, 0.01));
        assert_eq!(<[u16; 4]>::from(found), [200, 500, 400, 900]);
        assert!((share - 0.0537).abs() < 0.002, "{share}");
    }
}
