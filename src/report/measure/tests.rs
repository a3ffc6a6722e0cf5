use ndarray::{Array2, array};

use super::*;
use crate::report::samples;
use crate::volume::pixel_spacing::CalibratedArea;

fn region(left: f32, top: f32, right: f32, bottom: f32) -> Region {
    Region { left, top, right, bottom }
}

fn spacing(row_mm: f64, column_mm: f64) -> PixelSpacing {
    PixelSpacing { row_mm, column_mm, basis: SpacingBasis::ImagerPixelSpacing }
}

fn values(measured: &[Measured]) -> Vec<(Measurand, f64)> {
    measured.iter().map(|one| (one.name, one.value)).collect()
}

#[test]
fn a_size_follows_the_pixels_of_each_axis() {
    let measured = size(&region(10.0, 20.0, 110.5, 60.0), &spacing(0.5, 0.25));
    let expected = [
        (Measurand::Height, 20.0),
        (Measurand::Width, 25.13),
        (Measurand::LongAxis, 25.13),
        (Measurand::ShortAxis, 20.0),
    ];
    assert_eq!(values(&measured), expected);
    assert!(measured.iter().all(|one| one.spacing == Some(SpacingBasis::ImagerPixelSpacing)));
}

#[test]
fn an_image_without_spacing_gives_no_millimetres() {
    let mut image = samples::chest_draft().evidence.remove(0);
    assert_eq!(size_on(&image, &region(0.0, 0.0, 9.0, 9.0)).len(), 4);
    image.spacing = None;
    assert_eq!(size_on(&image, &region(0.0, 0.0, 9.0, 9.0)), []);
}

#[test]
fn ultrasound_has_a_size_only_within_one_of_its_regions() {
    let mut image = samples::chest_draft().evidence.remove(0);
    let area =
        |left, right, mm| CalibratedArea { left, right, top: 0, bottom: 100, row_mm: mm, column_mm: mm };
    image.calibrated = vec![area(0, 50, 0.1), area(50, 100, 0.2)];
    let height = |left, right| size_on(&image, &region(left, 0.0, right, 10.0)).first().map(|one| one.value);
    assert_eq!((height(0.0, 50.0), height(60.0, 90.0)), (Some(1.0), Some(2.0)));
    assert_eq!((height(40.0, 60.0), height(90.0, 110.0)), (None, None));
}

#[test]
fn the_pixels_of_a_region_are_those_whose_centre_is_in_it() {
    let pixels = Array2::from_shape_fn((4, 5), |(row, column)| (10 * row + column) as f32);
    let found = |region| Statistics::of(pixels.view(), &region);
    let whole = found(region(0.0, 0.0, 5.0, 4.0)).unwrap();
    assert_eq!((whole.pixels, whole.minimum, whole.maximum, whole.mean), (20, 0.0, 34.0, 17.0));
    let inner = found(region(0.5, 0.6, 2.4, 3.0)).unwrap();
    assert_eq!((inner.pixels, inner.minimum, inner.maximum), (4, 10.0, 21.0));
    assert_eq!(found(region(1.6, 1.6, 2.4, 2.4)), None);
}

#[test]
fn padding_counts_for_nothing() {
    let pixels = array![[1.0, f32::NAN, 3.0], [f32::NAN, f32::NAN, 8.0]];
    let found = Statistics::of(pixels.view(), &region(0.0, 0.0, 3.0, 2.0)).unwrap();
    assert_eq!((found.pixels, found.mean, found.minimum, found.maximum), (3, 4.0, 1.0, 8.0));
    assert!((found.standard_deviation - (26.0f64 / 3.0).sqrt()).abs() < 1e-12);
    let area = found.attenuation(Some(&spacing(0.5, 0.25))).pop().unwrap();
    assert_eq!((area.name, area.value, area.unit), (Measurand::Area, 0.38, MeasuredUnit::SquareMillimetre));
    assert_eq!(found.attenuation(None).len(), 4);
}

#[track_caller]
fn remarks(name: Quantity, value: f64, unit: Unit, spacing_mm: f64) -> Vec<Remark> {
    let mut found = samples::ct_draft().findings.remove(0);
    found.finding.measurements = vec![Measurement { name, value, unit }];
    found.measured.retain(|one| one.method == MeasuredBy::RegionValues);
    let basis = SpacingBasis::PixelSpacing;
    let spacing = PixelSpacing { row_mm: spacing_mm, column_mm: spacing_mm, basis };
    found.measured.extend(size(&region(0.0, 0.0, 30.0, 10.0), &spacing));
    let mut remarks = Vec::new();
    compare(&[found], &mut remarks);
    remarks
}

#[test]
fn an_estimate_far_from_the_region_is_told() {
    let told = |quantity| vec![Remark::EstimateAgainstRegion { finding: 1, quantity }];
    assert_eq!(remarks(Quantity::LongAxis, 40.0, Unit::Millimetre, 1.0), []);
    assert_eq!(remarks(Quantity::LongAxis, 4.0, Unit::Centimetre, 1.0), []);
    assert_eq!(remarks(Quantity::LongAxis, 46.0, Unit::Millimetre, 1.0), told(Quantity::LongAxis));
    assert_eq!(remarks(Quantity::Diameter, 19.0, Unit::Millimetre, 1.0), told(Quantity::Diameter));
    assert_eq!(remarks(Quantity::ShortAxis, 30.0, Unit::Millimetre, 1.0), told(Quantity::ShortAxis));
    assert_eq!(remarks(Quantity::Attenuation, -12.0, Unit::Hounsfield, 1.0), []);
    assert_eq!(remarks(Quantity::Attenuation, 300.0, Unit::Hounsfield, 1.0), told(Quantity::Attenuation));
}

#[test]
fn a_region_without_a_size_is_told() {
    let mut found = samples::chest_draft().findings.remove(0);
    found.measured.clear();
    let mut remarks = Vec::new();
    compare(&[found], &mut remarks);
    assert_eq!(remarks, [Remark::RegionWithoutSize { finding: 1 }]);
}
