//! From the model's square to the pixels of the image, and which side of the patient that is.

use serde::{Deserialize, Serialize};

use super::findings::{Box2d, Laterality};
use crate::volume::model_view::PaddedSquare;

/// The edge of the model's square in box units.
const SQUARE: f32 = 1000.0;

/// How an image became the square that the model saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Framing {
    /// Padded with black to a square, centred: one scale for both axes.
    Padded,
    /// Resized without regard to the aspect ratio.
    Stretched,
}

/// A rectangle on an image in pixels, (0, 0) being the top left corner of the top left pixel
/// (PS3.3 C.10.5.1.2). Inside the image, with an area.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Region {
    pub left: f32,
    pub top: f32,
    pub right: f32,
    pub bottom: f32,
}

impl Region {
    /// `None` where nothing of the box lies on the image: the model pointed at the padding.
    pub fn of(square: Box2d, framing: Framing, rows: u32, columns: u32) -> Option<Self> {
        let (height, width, above, before) = match framing {
            Framing::Padded => {
                let PaddedSquare { side, top, left, .. } = PaddedSquare::around(rows, columns);
                (side, side, top, left)
            }
            Framing::Stretched => (rows, columns, 0, 0),
        };
        let pixels = [rows, columns, height, width, above, before];
        let [rows, columns, height, width, above, before] = pixels.map(|count| count as f32);
        let x = |v: u16| (f32::from(v) / SQUARE * width - before).clamp(0.0, columns);
        let y = |v: u16| (f32::from(v) / SQUARE * height - above).clamp(0.0, rows);
        let region =
            Self { left: x(square.x0), top: y(square.y0), right: x(square.x1), bottom: y(square.y1) };
        region.has_area().then_some(region)
    }

    pub fn has_area(&self) -> bool {
        self.left < self.right && self.top < self.bottom
    }

    pub fn is_inside(&self, rows: u32, columns: u32) -> bool {
        self.left >= 0.0 && self.top >= 0.0 && self.right <= columns as f32 && self.bottom <= rows as f32
    }

    /// The closed outline as (column, row) pairs, for a SCOORD of type POLYLINE.
    pub fn outline(&self) -> [f32; 10] {
        let Self { left, top, right, bottom } = *self;
        [left, top, right, top, right, bottom, left, bottom, left, top]
    }
}

/// The patient's side a box lies on, on a frontal view: the picture's left is the patient's
/// right. `None` for a box that reaches clearly over the middle.
pub fn side_on_frontal(square: Box2d) -> Option<Laterality> {
    const MIDDLE: u16 = 500;
    let over = |inner: u16, outer: u16| u32::from(inner) * 4 > u32::from(outer);
    let (left_part, right_part) = (MIDDLE.saturating_sub(square.x0), square.x1.saturating_sub(MIDDLE));
    match (left_part, right_part) {
        (left, right) if over(left, right) && over(right, left) => None,
        (left, right) if left > right => Some(Laterality::Right),
        _ => Some(Laterality::Left),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn square(y0: u16, x0: u16, y1: u16, x1: u16) -> Box2d {
        Box2d { y0, x0, y1, x1 }
    }

    #[test]
    fn padding_is_taken_off_the_short_side() {
        let region = Region::of(square(0, 250, 1000, 750), Framing::Padded, 2000, 1000);
        assert_eq!(region, Some(Region { left: 0.0, top: 0.0, right: 1000.0, bottom: 2000.0 }));
    }

    /// The frame is drawn into the square, its box found there, and mapped back to its pixels.
    #[track_caller]
    fn found_again(rows: usize, columns: usize, photometric: &str) {
        use crate::volume::{functional_groups::FrameAttributes, model_view, pixels, testing};
        let is_marked = |row, column| (rows / 2..rows / 2 + 20).contains(&row) && (10..40).contains(&column);
        let (marked, around) = if photometric == "MONOCHROME1" { (0, 255) } else { (255, 0) };
        let stored = ndarray::Array2::from_shape_fn((rows, columns), |(row, column)| {
            if is_marked(row, column) { marked } else { around }
        });
        let frame = pixels::Frame { rows, columns, samples: pixels::Samples::Gray(stored) };
        let object =
            testing::object(&[(dicom_dictionary_std::tags::PHOTOMETRIC_INTERPRETATION, photometric)]);
        let shown =
            model_view::radiograph(&frame, &FrameAttributes::new(&object, 0)).expect("a picture").image;
        let lit = |index: usize| shown.data[index * 3] > 128;
        let side = shown.width as usize;
        let lit: Vec<usize> = (0..side * side).filter(|index| lit(*index)).collect();
        let thousandths = |pixel: usize| (pixel as f32 / side as f32 * SQUARE).round() as u16;
        let (first, last) = (lit[0], lit[lit.len() - 1]);
        let found = square(
            thousandths(first / side),
            thousandths(first % side),
            thousandths(last / side + 1),
            thousandths(last % side + 1),
        );
        let region = Region::of(found, Framing::Padded, rows as u32, columns as u32).expect("on the image");
        let top = (rows / 2) as f32;
        let expected = [10.0, top, 40.0, top + 20.0];
        let got = [region.left, region.top, region.right, region.bottom];
        let farthest = expected.iter().zip(got).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(farthest <= side as f32 / SQUARE, "{got:?} for {expected:?}");
    }

    #[test]
    fn what_the_model_is_shown_leads_back_to_its_pixels() {
        for photometric in ["MONOCHROME2", "MONOCHROME1"] {
            found_again(240, 100, photometric);
            found_again(100, 240, photometric);
            found_again(121, 60, photometric);
        }
    }

    #[test]
    fn a_stretched_image_scales_each_axis() {
        let region = Region::of(square(100, 200, 300, 400), Framing::Stretched, 2000, 1000);
        assert_eq!(region, Some(Region { left: 200.0, top: 200.0, right: 400.0, bottom: 600.0 }));
    }

    #[test]
    fn a_box_on_the_padding_is_nowhere() {
        assert_eq!(Region::of(square(0, 0, 1000, 200), Framing::Padded, 2000, 1000), None);
    }

    #[test]
    fn the_left_of_the_picture_is_the_right_of_the_patient() {
        assert_eq!(side_on_frontal(square(0, 100, 10, 300)), Some(Laterality::Right));
        assert_eq!(side_on_frontal(square(0, 700, 10, 900)), Some(Laterality::Left));
        assert_eq!(side_on_frontal(square(0, 300, 10, 700)), None);
    }

    #[test]
    fn the_outline_is_closed() {
        let outline = Region { left: 1.0, top: 2.0, right: 3.0, bottom: 4.0 }.outline();
        assert_eq!(outline[..2], outline[8..]);
    }
}
