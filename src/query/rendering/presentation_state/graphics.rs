//! Graphic annotations (PS3.3 C.10.5): lines, shapes and text on layers.

use std::f64::consts::TAU;

use dicom_core::Tag;
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;
use image::DynamicImage;

use super::super::{drawing, lettering};
use crate::volume::attributes::{decimal_array, decimals, integer, items, text};

/// More than these are not drawn: a state is somebody's marks, no picture of its own.
const GRAPHICS_MAX: usize = 1000;
/// Points and characters of all graphics together.
const POINTS_MAX: usize = 20_000;

/// Corners of the polygon that a circle or an ellipse is drawn as.
const CURVE_POINTS: u32 = 96;

const TEXT_HEIGHTS: std::ops::RangeInclusive<f64> = 10.0..=48.0;
const TEXT_HEIGHT: f64 = 16.0;

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Graphic {
    layer: Layer,
    units: Units,
    shape: Shape,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Layer {
    order: i64,
    level: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Units {
    /// Of the image, from the corner of its first pixel.
    Pixel,
    /// Fractions of the displayed area.
    Display,
}

#[derive(Debug, Clone, PartialEq)]
enum Shape {
    Point([f64; 2]),
    Line { points: Vec<[f64; 2]>, filled: bool },
    Text { lines: Vec<String>, begin: [f64; 2], end: Option<[f64; 2]> },
}

/// What the state draws on the image that `applies` is for, the lowest layer first.
pub(super) fn of_state(
    state: &InMemDicomObject,
    applies: impl Fn(&&InMemDicomObject) -> bool,
) -> Vec<Graphic> {
    let annotations = items(state, tags::GRAPHIC_ANNOTATION_SEQUENCE).iter().filter(|item| applies(item));
    let mut graphics: Vec<Graphic> = annotations
        .flat_map(|item| {
            let layer = Layer::named(state, text(item, tags::GRAPHIC_LAYER).as_deref());
            let shapes = items(item, tags::GRAPHIC_OBJECT_SEQUENCE).iter().filter_map(shape);
            let texts = items(item, tags::TEXT_OBJECT_SEQUENCE).iter().filter_map(written);
            shapes.chain(texts).map(move |(units, shape)| Graphic { layer, units, shape })
        })
        .take(GRAPHICS_MAX)
        .scan(POINTS_MAX, |room, graphic| {
            *room = room.checked_sub(graphic.shape.points())?;
            Some(graphic)
        })
        .collect();
    graphics.sort_by_key(|graphic| graphic.layer.order);
    graphics
}

impl Shape {
    /// What drawing it costs.
    fn points(&self) -> usize {
        match self {
            Self::Point(_) => 1,
            Self::Line { points, .. } => points.len(),
            Self::Text { lines, .. } => lines.iter().map(|line| line.len() + 1).sum(),
        }
    }
}

impl Layer {
    fn named(state: &InMemDicomObject, name: Option<&str>) -> Self {
        let layers = items(state, tags::GRAPHIC_LAYER_SEQUENCE);
        let found = layers.iter().find(|layer| text(layer, tags::GRAPHIC_LAYER).as_deref() == name);
        let number = |tag| found.and_then(|layer| integer(layer, tag));
        // 16 bits of P-value.
        let level = number(tags::GRAPHIC_LAYER_RECOMMENDED_DISPLAY_GRAYSCALE_VALUE).unwrap_or(0xFFFF);
        Self {
            order: number(tags::GRAPHIC_LAYER_ORDER).unwrap_or(0),
            level: (level.clamp(0, 0xFFFF) >> 8) as u8,
        }
    }
}

fn units(item: &InMemDicomObject, tag: Tag) -> Option<Units> {
    match text(item, tag)?.as_str() {
        "PIXEL" => Some(Units::Pixel),
        "DISPLAY" => Some(Units::Display),
        _ => None,
    }
}

fn shape(item: &InMemDicomObject) -> Option<(Units, Shape)> {
    let units = units(item, tags::GRAPHIC_ANNOTATION_UNITS)?;
    let data = decimals(item, tags::GRAPHIC_DATA);
    let points: Vec<[f64; 2]> =
        data.chunks_exact(2).take(POINTS_MAX).map(|pair| [pair[0], pair[1]]).collect();
    let filled = text(item, tags::GRAPHIC_FILLED).is_some_and(|filled| filled == "Y");
    let shape = match (text(item, tags::GRAPHIC_TYPE)?.as_str(), points.as_slice()) {
        ("POINT", [point, ..]) => Shape::Point(*point),
        ("POLYLINE" | "INTERPOLATED", [_, _, ..]) => {
            let closed = points.first() == points.last();
            Shape::Line { points, filled: filled && closed }
        }
        ("CIRCLE", &[center, on]) => {
            let radius = (on[0] - center[0]).hypot(on[1] - center[1]);
            Shape::Line { points: curve(center, [radius, 0.0], [0.0, radius]), filled }
        }
        ("ELLIPSE", &[a, b, c, d]) => {
            let half = |from: [f64; 2], to: [f64; 2]| [(to[0] - from[0]) / 2.0, (to[1] - from[1]) / 2.0];
            let center = [(a[0] + b[0]) / 2.0, (a[1] + b[1]) / 2.0];
            Shape::Line { points: curve(center, half(a, b), half(c, d)), filled }
        }
        _ => return None,
    };
    Some((units, shape))
}

fn curve(center: [f64; 2], major: [f64; 2], minor: [f64; 2]) -> Vec<[f64; 2]> {
    let at = |step: u32| {
        let (sine, cosine) = (f64::from(step) / f64::from(CURVE_POINTS) * TAU).sin_cos();
        [0, 1].map(|axis| center[axis] + cosine * major[axis] + sine * minor[axis])
    };
    (0..=CURVE_POINTS).map(at).collect()
}

/// In its box, else beside its anchor.
fn written(item: &InMemDicomObject) -> Option<(Units, Shape)> {
    let value = item.get(tags::UNFORMATTED_TEXT_VALUE)?.to_str().ok()?;
    let lines = value.lines().map(|line| line.trim_end_matches([' ', '\0']).to_owned()).collect();
    let point = |tag| decimal_array::<2>(item, tag);
    let boxed = point(tags::BOUNDING_BOX_TOP_LEFT_HAND_CORNER)
        .zip(point(tags::BOUNDING_BOX_BOTTOM_RIGHT_HAND_CORNER))
        .zip(units(item, tags::BOUNDING_BOX_ANNOTATION_UNITS));
    if let Some(((begin, end), units)) = boxed {
        return Some((units, Shape::Text { lines, begin, end: Some(end) }));
    }
    let begin = point(tags::ANCHOR_POINT)?;
    Some((units(item, tags::ANCHOR_POINT_ANNOTATION_UNITS)?, Shape::Text { lines, begin, end: None }))
}

impl Graphic {
    /// `in_image` leads from the image to the picture.
    pub(super) fn draw(&self, picture: &mut DynamicImage, in_image: &dyn Fn(f64, f64) -> (f64, f64)) {
        let (width, height) = (f64::from(picture.width()), f64::from(picture.height()));
        let map = |[x, y]: [f64; 2]| match self.units {
            Units::Pixel => in_image(x, y),
            Units::Display => (x * width, y * height),
        };
        let level = self.layer.level;
        match &self.shape {
            Shape::Point(point) => cross(picture, map(*point), level),
            Shape::Line { points, filled } => {
                let points: Vec<(f64, f64)> = points.iter().map(|point| map(*point)).collect();
                if *filled {
                    drawing::fill(picture, &points, level);
                }
                points.windows(2).for_each(|ends| drawing::line(picture, ends[0], ends[1], level));
            }
            Shape::Text { lines, begin, end } => {
                let (begin, end) = (map(*begin), end.map(map));
                let top = end.map_or(begin.1, |end| end.1.min(begin.1));
                let left = end.map_or(begin.0, |end| end.0.min(begin.0));
                let room = end.map_or(TEXT_HEIGHT, |end| (end.1 - begin.1).abs() / lines.len().max(1) as f64);
                let line_height = room.clamp(*TEXT_HEIGHTS.start(), *TEXT_HEIGHTS.end());
                for (at, line) in lines.iter().enumerate() {
                    let corner = (left as f32, (top + line_height * at as f64) as f32);
                    lettering::write(picture, corner, line_height as f32, line);
                }
            }
        }
    }
}

/// A point alone would hardly be seen.
fn cross(picture: &mut DynamicImage, (x, y): (f64, f64), level: u8) {
    drawing::line(picture, (x - 3.0, y), (x + 3.0, y), level);
    drawing::line(picture, (x, y - 3.0), (x, y + 3.0), level);
}
