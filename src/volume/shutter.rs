//! The display shutter (PS3.3 C.7.6.11): what of a picture is not shown.

use std::ops::RangeInclusive;

use dicom_core::Tag;
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use ndarray::Axis;

use super::attributes::{integer, texts};
use super::grayscale::Picture;

/// Shapes that together, each within the others, leave the visible part open.
#[derive(Debug, Clone, PartialEq)]
pub struct Shutter {
    shapes: Vec<Shape>,
    /// Level outside, black unless the object says otherwise.
    level: u8,
}

/// In rows and columns of the image, from 1.
#[derive(Debug, Clone, PartialEq)]
enum Shape {
    Rectangle {
        left: i64,
        right: i64,
        upper: i64,
        lower: i64,
    },
    Circle {
        row: i64,
        column: i64,
        radius: i64,
    },
    /// Row and column of each vertex.
    Polygon(Vec<(i64, i64)>),
}

/// A polygon beyond this is no shutter.
const VERTICES_MAX: usize = 10_000;

/// One of each kind (PS3.3 C.7.6.11).
const SHAPES_MAX: usize = 3;

/// A radius beyond this shows any image whole.
const LENGTH_MAX: i64 = 1 << 20;

impl Shutter {
    /// `group` is the object, or the Frame Display Shutter item of a frame.
    pub fn of(group: &InMemDicomObject) -> Option<Self> {
        let names = texts(group, tags::SHUTTER_SHAPE);
        let shapes: Vec<Shape> =
            names.iter().take(SHAPES_MAX).filter_map(|name| Shape::named(group, name)).collect();
        // 16 bits of P-value.
        let level = integer(group, tags::SHUTTER_PRESENTATION_VALUE).unwrap_or(0).clamp(0, 0xFFFF) >> 8;
        (!shapes.is_empty()).then_some(Self { shapes, level: level as u8 })
    }

    pub fn close(&self, picture: &mut Picture) {
        match picture {
            Picture::Gray(levels) => {
                for (row, mut pixels) in levels.axis_iter_mut(Axis(0)).enumerate() {
                    let open = self.open_in(row);
                    let pixels = pixels.iter_mut().enumerate();
                    pixels.filter(|(at, _)| !shows(&open, *at)).for_each(|(_, pixel)| *pixel = self.level);
                }
            }
            Picture::Rgb(levels) => {
                for (row, mut pixels) in levels.axis_iter_mut(Axis(0)).enumerate() {
                    let open = self.open_in(row);
                    let pixels = pixels.axis_iter_mut(Axis(0)).enumerate();
                    pixels
                        .filter(|(at, _)| !shows(&open, *at))
                        .for_each(|(_, mut pixel)| pixel.fill(self.level));
                }
            }
        }
    }

    fn open_in(&self, row: usize) -> Vec<Open> {
        self.shapes.iter().map(|shape| shape.open_in(row as i64 + 1)).collect()
    }
}

fn shows(open: &[Open], column: usize) -> bool {
    open.iter().all(|open| open.contains(column as i64 + 1))
}

/// What a shape leaves open of one row: its outline is looked at once for all pixels of the row.
enum Open {
    Columns(RangeInclusive<i64>),
    /// Where the row crosses the outline, in order.
    Crossings(Vec<f64>),
}

impl Open {
    #[allow(clippy::reversed_empty_ranges, reason = "it is to be empty")]
    const NOTHING: Self = Self::Columns(1..=0);

    /// Crossings of a ray to the right are odd within; the left and top count as inside.
    fn contains(&self, column: i64) -> bool {
        match self {
            Self::Columns(columns) => columns.contains(&column),
            Self::Crossings(at) => (at.len() - at.partition_point(|at| *at <= column as f64)) % 2 == 1,
        }
    }
}

impl Shape {
    fn named(group: &InMemDicomObject, name: &str) -> Option<Self> {
        let edge = |tag| integer(group, tag);
        match name {
            "RECTANGULAR" => Some(Self::Rectangle {
                left: edge(tags::SHUTTER_LEFT_VERTICAL_EDGE)?,
                right: edge(tags::SHUTTER_RIGHT_VERTICAL_EDGE)?,
                upper: edge(tags::SHUTTER_UPPER_HORIZONTAL_EDGE)?,
                lower: edge(tags::SHUTTER_LOWER_HORIZONTAL_EDGE)?,
            }),
            "CIRCULAR" => {
                let (row, column) = *pairs(group, tags::CENTER_OF_CIRCULAR_SHUTTER).first()?;
                Some(Self::Circle { row, column, radius: edge(tags::RADIUS_OF_CIRCULAR_SHUTTER)? })
            }
            "POLYGONAL" => {
                let vertices = pairs(group, tags::VERTICES_OF_THE_POLYGONAL_SHUTTER);
                (3..=VERTICES_MAX).contains(&vertices.len()).then_some(Self::Polygon(vertices))
            }
            _ => None,
        }
    }

    fn open_in(&self, row: i64) -> Open {
        match self {
            Self::Rectangle { left, right, upper, lower } => match (*upper..=*lower).contains(&row) {
                true => Open::Columns(*left..=*right),
                false => Open::NOTHING,
            },
            Self::Circle { row: center_row, column, radius } => {
                let (down, radius) = (row - center_row, (*radius).clamp(0, LENGTH_MAX));
                (radius * radius - down * down)
                    .checked_isqrt()
                    .map_or(Open::NOTHING, |half| Open::Columns(column - half..=column + half))
            }
            Self::Polygon(vertices) => Open::Crossings(crossings(vertices, row)),
        }
    }
}

fn pairs(group: &InMemDicomObject, tag: Tag) -> Vec<(i64, i64)> {
    let numbers = group.get(tag).and_then(|element| element.to_multi_int::<i32>().ok()).unwrap_or_default();
    numbers.chunks_exact(2).map(|pair| (i64::from(pair[0]), i64::from(pair[1]))).collect()
}

fn crossings(vertices: &[(i64, i64)], row: i64) -> Vec<f64> {
    let next = vertices.iter().cycle().skip(1);
    let edges = vertices.iter().zip(next).filter(|((row_a, _), (row_b, _))| (*row_a > row) != (*row_b > row));
    let at = |((row_a, column_a), (row_b, column_b)): (&(i64, i64), &(i64, i64))| {
        let along = (row - row_a) as f64 / (row_b - row_a) as f64;
        *column_a as f64 + along * (column_b - column_a) as f64
    };
    let mut crossings: Vec<f64> = edges.map(at).collect();
    crossings.sort_by(f64::total_cmp);
    crossings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::testing::object;
    use ndarray::{Array2, array};

    #[track_caller]
    fn closes(values: &[(Tag, &str)], expected: Array2<u8>) {
        let mut picture = Picture::Gray(Array2::from_elem(expected.dim(), 9));
        Shutter::of(&object(values)).unwrap().close(&mut picture);
        assert_eq!(picture, Picture::Gray(expected));
    }

    const RECTANGLE: [(Tag, &str); 4] = [
        (tags::SHUTTER_LEFT_VERTICAL_EDGE, "2"),
        (tags::SHUTTER_RIGHT_VERTICAL_EDGE, "3"),
        (tags::SHUTTER_UPPER_HORIZONTAL_EDGE, "1"),
        (tags::SHUTTER_LOWER_HORIZONTAL_EDGE, "2"),
    ];

    #[test]
    fn a_rectangle_shows_what_is_within_its_edges_w34c() {
        let values = [&RECTANGLE[..], &[(tags::SHUTTER_SHAPE, "RECTANGULAR")]].concat();
        closes(&values, array![[0, 9, 9, 0], [0, 9, 9, 0], [0, 0, 0, 0]]);
        let gray = [&values[..], &[(tags::SHUTTER_PRESENTATION_VALUE, "32768")]].concat();
        closes(&gray, array![[128, 9, 9], [128, 9, 9], [128, 128, 128]]);
    }

    #[test]
    fn a_circle_and_a_rectangle_show_what_is_in_both_w34c() {
        let circle = [
            (tags::SHUTTER_SHAPE, "RECTANGULAR\\CIRCULAR"),
            (tags::CENTER_OF_CIRCULAR_SHUTTER, "2\\2"),
            (tags::RADIUS_OF_CIRCULAR_SHUTTER, "1"),
        ];
        closes(&[&RECTANGLE[..], &circle].concat(), array![[0, 9, 0], [0, 9, 9], [0, 0, 0]]);
    }

    #[test]
    fn a_polygon_shows_its_inside_w34c() {
        let triangle = [
            (tags::SHUTTER_SHAPE, "POLYGONAL"),
            (tags::VERTICES_OF_THE_POLYGONAL_SHUTTER, "1\\1\\1\\5\\5\\1"),
        ];
        let expected = array![[9, 9, 9, 9, 0], [9, 9, 9, 0, 0], [9, 9, 0, 0, 0], [9, 0, 0, 0, 0], [0; 5]];
        closes(&triangle, expected);
    }

    #[test]
    fn a_circle_larger_than_any_number_shows_all_and_one_far_away_nothing() {
        let circle = |center: &'static str| {
            [
                (tags::SHUTTER_SHAPE, "CIRCULAR"),
                (tags::CENTER_OF_CIRCULAR_SHUTTER, center),
                (tags::RADIUS_OF_CIRCULAR_SHUTTER, "999999999999"),
            ]
        };
        closes(&circle("1\\1"), array![[9, 9], [9, 9]]);
        closes(&circle("-2147483648\\1"), array![[0, 0], [0, 0]]);
    }

    #[test]
    fn an_unfinished_shutter_is_none() {
        assert_eq!(Shutter::of(&object(&[(tags::SHUTTER_SHAPE, "CIRCULAR")])), None);
    }
}
