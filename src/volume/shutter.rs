//! The display shutter (PS3.3 C.7.6.11): what of a picture is not shown.

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

impl Shutter {
    /// `group` is the object, or the Frame Display Shutter item of a frame.
    pub fn of(group: &InMemDicomObject) -> Option<Self> {
        let shapes: Vec<Shape> =
            texts(group, tags::SHUTTER_SHAPE).iter().filter_map(|name| Shape::named(group, name)).collect();
        // 16 bits of P-value.
        let level = integer(group, tags::SHUTTER_PRESENTATION_VALUE).unwrap_or(0).clamp(0, 0xFFFF) >> 8;
        (!shapes.is_empty()).then_some(Self { shapes, level: level as u8 })
    }

    pub fn close(&self, picture: &mut Picture) {
        match picture {
            Picture::Gray(levels) => {
                for ((row, column), level) in levels.indexed_iter_mut() {
                    if !self.shows(row, column) {
                        *level = self.level;
                    }
                }
            }
            Picture::Rgb(levels) => {
                for (row, mut pixels) in levels.axis_iter_mut(Axis(0)).enumerate() {
                    for (column, mut pixel) in pixels.axis_iter_mut(Axis(0)).enumerate() {
                        if !self.shows(row, column) {
                            pixel.fill(self.level);
                        }
                    }
                }
            }
        }
    }

    fn shows(&self, row: usize, column: usize) -> bool {
        self.shapes.iter().all(|shape| shape.contains(row as i64 + 1, column as i64 + 1))
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

    fn contains(&self, row: i64, column: i64) -> bool {
        match self {
            Self::Rectangle { left, right, upper, lower } => {
                (*left..=*right).contains(&column) && (*upper..=*lower).contains(&row)
            }
            Self::Circle { row: center_row, column: center_column, radius } => {
                let (down, across) = (row - center_row, column - center_column);
                down * down + across * across <= radius * radius
            }
            Self::Polygon(vertices) => is_inside(vertices, row, column),
        }
    }
}

fn pairs(group: &InMemDicomObject, tag: Tag) -> Vec<(i64, i64)> {
    let numbers = group.get(tag).and_then(|element| element.to_multi_int::<i32>().ok()).unwrap_or_default();
    numbers.chunks_exact(2).map(|pair| (i64::from(pair[0]), i64::from(pair[1]))).collect()
}

/// Crossings of a ray to the right; vertices and edges at the left and top count as inside.
fn is_inside(vertices: &[(i64, i64)], row: i64, column: i64) -> bool {
    let next = vertices.iter().cycle().skip(1);
    let crossings = vertices.iter().zip(next).filter(|((row_a, column_a), (row_b, column_b))| {
        let spans = (*row_a > row) != (*row_b > row);
        let meets = || {
            let along = (row - row_a) as f64 / (row_b - row_a) as f64;
            (column as f64) < *column_a as f64 + along * (column_b - column_a) as f64
        };
        spans && meets()
    });
    crossings.count() % 2 == 1
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
    fn an_unfinished_shutter_is_none() {
        assert_eq!(Shutter::of(&object(&[(tags::SHUTTER_SHAPE, "CIRCULAR")])), None);
    }
}
