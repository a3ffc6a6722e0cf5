//! Numbers that the server takes on the region of a finding: they rest on the pixels and on what
//! the object says of them, and on the model's wording only so far as it chose the region.
//!
//! Sizes are those of the region, whose edges lie along rows and columns, and not of the lesion in
//! it, which may be smaller and lie across. A pixel is in a region if its centre is.

use ndarray::{ArrayView2, s};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::document::{ImageReference, ReportFinding};
use super::findings::{Measurement, Quantity, Unit};
use super::parse::Remark;
use super::region::Region;
use crate::volume::pixel_spacing::{PixelSpacing, SpacingBasis};

/// An estimate of the model and a number taken on its region disagree if one is more than so many
/// times the other. Detectors magnify by less.
pub const DISAGREEMENT_FACTOR: f64 = 1.5;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Measurand {
    /// From the upper to the lower edge.
    Height,
    /// From the left to the right edge.
    Width,
    /// The greater of height and width.
    LongAxis,
    /// The lesser of height and width.
    ShortAxis,
    /// Of the pixels that the values are those of.
    Area,
    AttenuationMean,
    AttenuationStandardDeviation,
    AttenuationMinimum,
    AttenuationMaximum,
}

/// UCUM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
pub enum MeasuredUnit {
    #[serde(rename = "mm")]
    Millimetre,
    #[serde(rename = "mm2")]
    SquareMillimetre,
    #[serde(rename = "[hnsf'U]")]
    Hounsfield,
}

/// On what a number rests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MeasuredBy {
    /// The edges of the region and the spacing of the pixels.
    RegionSize,
    /// The values of the pixels in the region, padding left out.
    RegionValues,
}

/// A number taken on a region.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Measured {
    pub name: Measurand,
    pub value: f64,
    pub unit: MeasuredUnit,
    pub method: MeasuredBy,
    /// Of a length or an area: where the size of a pixel is from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spacing: Option<SpacingBasis>,
}

/// Height, width and axes in millimetres.
pub fn size(region: &Region, spacing: &PixelSpacing) -> Vec<Measured> {
    let height = f64::from(region.bottom - region.top) * spacing.row_mm;
    let width = f64::from(region.right - region.left) * spacing.column_mm;
    let sizes = [
        (Measurand::Height, height),
        (Measurand::Width, width),
        (Measurand::LongAxis, height.max(width)),
        (Measurand::ShortAxis, height.min(width)),
    ];
    let measured = |(name, value)| Measured {
        name,
        value: rounded(value),
        unit: MeasuredUnit::Millimetre,
        method: MeasuredBy::RegionSize,
        spacing: Some(spacing.basis),
    };
    sizes.map(measured).to_vec()
}

/// Of the region on its image; nothing where the image does not say how large its pixels are.
pub fn size_on(image: &ImageReference, region: &Region) -> Vec<Measured> {
    image.spacing_at(region).map_or(Vec::new(), |spacing| size(region, &spacing))
}

/// The values of the pixels in a region.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Statistics {
    pub pixels: usize,
    pub mean: f64,
    /// Of these pixels, not of a population they are a sample of.
    pub standard_deviation: f64,
    pub minimum: f64,
    pub maximum: f64,
}

impl Statistics {
    /// What is not a number is left out; `None` where nothing remains.
    pub fn of(values: ArrayView2<'_, f32>, region: &Region) -> Option<Self> {
        let (rows, columns) = values.dim();
        let (top, bottom) = centres(region.top, region.bottom, rows);
        let (left, right) = centres(region.left, region.right, columns);
        let inside = values.slice(s![top..bottom, left..right]);
        let counted: Vec<f64> =
            inside.iter().filter(|value| value.is_finite()).map(|value| f64::from(*value)).collect();
        let pixels = counted.len();
        let mean = counted.iter().sum::<f64>() / pixels as f64;
        let variance = counted.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / pixels as f64;
        let minimum = counted.iter().copied().reduce(f64::min)?;
        let maximum = counted.iter().copied().reduce(f64::max)?;
        Some(Self { pixels, mean, standard_deviation: variance.sqrt(), minimum, maximum })
    }

    /// As Hounsfield units, with the area of the pixels.
    pub fn attenuation(&self, spacing: Option<&PixelSpacing>) -> Vec<Measured> {
        let values = [
            (Measurand::AttenuationMean, self.mean),
            (Measurand::AttenuationStandardDeviation, self.standard_deviation),
            (Measurand::AttenuationMinimum, self.minimum),
            (Measurand::AttenuationMaximum, self.maximum),
        ];
        let measured = |name, value, unit, spacing| Measured {
            name,
            value: rounded(value),
            unit,
            method: MeasuredBy::RegionValues,
            spacing,
        };
        let area = spacing.map(|spacing| {
            let area = self.pixels as f64 * spacing.row_mm * spacing.column_mm;
            measured(Measurand::Area, area, MeasuredUnit::SquareMillimetre, Some(spacing.basis))
        });
        let values = values.map(|(name, value)| measured(name, value, MeasuredUnit::Hounsfield, None));
        values.into_iter().chain(area).collect()
    }
}

/// The rows, or columns, whose centres lie between two edges.
fn centres(first: f32, last: f32, count: usize) -> (usize, usize) {
    let from = |edge: f32| ((edge - 0.5).ceil().max(0.0) as usize).min(count);
    let (first, last) = (from(first), from(last));
    (first, last.max(first))
}

/// A region is known to a thousandth of the picture: more digits would say nothing.
fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// Notes which regions have no size, and which estimates disagree with their region.
pub fn compare(findings: &[ReportFinding], remarks: &mut Vec<Remark>) {
    for (number, found) in (1..).zip(findings) {
        if found.region.is_some() && !has_size(&found.measured) {
            remarks.push(Remark::RegionWithoutSize { finding: number });
        }
        let against = found.finding.measurements.iter().filter(|one| disagrees(one, &found.measured));
        remarks
            .extend(against.map(|one| Remark::EstimateAgainstRegion { finding: number, quantity: one.name }));
    }
}

fn has_size(measured: &[Measured]) -> bool {
    measured.iter().any(|one| one.method == MeasuredBy::RegionSize)
}

fn disagrees(estimate: &Measurement, measured: &[Measured]) -> bool {
    let value = |name| measured.iter().find(|one| one.name == name).map(|one| one.value);
    let by_factor = |name| value(name).is_some_and(|value| differ(value, millimetres(estimate)));
    match estimate.name {
        Quantity::Diameter | Quantity::LongAxis => by_factor(Measurand::LongAxis),
        Quantity::ShortAxis => by_factor(Measurand::ShortAxis),
        Quantity::Attenuation => {
            let range = value(Measurand::AttenuationMinimum).zip(value(Measurand::AttenuationMaximum));
            range.is_some_and(|(least, most)| !(least..=most).contains(&estimate.value))
        }
        Quantity::Thickness | Quantity::Ratio | Quantity::Volume => false,
    }
}

fn millimetres(estimate: &Measurement) -> f64 {
    if estimate.unit == Unit::Centimetre { estimate.value * 10.0 } else { estimate.value }
}

fn differ(a: f64, b: f64) -> bool {
    a.max(b) > DISAGREEMENT_FACTOR * a.min(b)
}

#[cfg(test)]
mod tests;
