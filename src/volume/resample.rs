//! Isotropic resampling by trilinear interpolation.

use ndarray::Array3;

use super::assemble::{AssembleError, Volume, within};
use super::geometry::VolumeGeometry;

/// The same box of tissue in cubes of `spacing_mm`. Where slices are missing, the tissue between
/// their neighbours is interpolated at its true place.
pub fn isotropic(volume: &Volume, spacing_mm: f64, bytes_max: usize) -> Result<Volume, AssembleError> {
    let (_, rows, columns) = volume.values.dim();
    let [_, between_rows, between_columns] = volume.geometry.spacing_mm;
    let even = |count: usize, step: f64| (0..count).map(|at| at as f64 * step).collect::<Vec<_>>();
    let places_mm = [volume.depths_mm.clone(), even(rows, between_rows), even(columns, between_columns)];
    let [slices, rows, columns] = places_mm.each_ref().map(|places| count(places, spacing_mm));
    within((slices, rows, columns), bytes_max)?;
    Ok(Volume {
        values: interpolate(&volume.values, &places_mm.map(|places| Samples::over(&places, spacing_mm))),
        geometry: VolumeGeometry { spacing_mm: [spacing_mm; 3], ..volume.geometry },
        depths_mm: even(slices, spacing_mm),
    })
}

/// How many steps fit; a voxel that rounding alone puts beyond the end is kept.
fn count(places_mm: &[f64], spacing_mm: f64) -> usize {
    let extent_mm = places_mm.last().copied().unwrap_or(0.0);
    ((extent_mm / spacing_mm + 1e-6) as usize).saturating_add(1)
}

/// For each new place on an axis, the old index before it and the weight of the index after.
struct Samples(Vec<(usize, f32)>);

impl Samples {
    fn over(places_mm: &[f64], spacing_mm: f64) -> Self {
        Self((0..count(places_mm, spacing_mm)).map(|at| sample(places_mm, at as f64 * spacing_mm)).collect())
    }

    fn len(&self) -> usize {
        self.0.len()
    }
}

fn sample(places_mm: &[f64], place_mm: f64) -> (usize, f32) {
    let after = places_mm.partition_point(|known| *known <= place_mm).min(places_mm.len() - 1);
    let before = after.saturating_sub(1);
    match places_mm[after] - places_mm[before] {
        step if step > 0.0 => (before, ((place_mm - places_mm[before]) / step).clamp(0.0, 1.0) as f32),
        _ => (before, 0.0),
    }
}

fn interpolate(values: &Array3<f32>, [slices, rows, columns]: &[Samples; 3]) -> Array3<f32> {
    let last = (values.dim().0 - 1, values.dim().1 - 1, values.dim().2 - 1);
    Array3::from_shape_fn((slices.len(), rows.len(), columns.len()), |(slice, row, column)| {
        let ((s, ws), (r, wr), (c, wc)) = (slices.0[slice], rows.0[row], columns.0[column]);
        let (s1, r1, c1) = ((s + 1).min(last.0), (r + 1).min(last.1), (c + 1).min(last.2));
        let line = |s, r| mix(values[[s, r, c]], values[[s, r, c1]], wc);
        let plane = |s| mix(line(s, r), line(s, r1), wr);
        mix(plane(s), plane(s1), ws)
    })
}

fn mix(a: f32, b: f32, weight: f32) -> f32 {
    a + (b - a) * weight
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Linear in patient coordinates, so that interpolation must reproduce it exactly.
    fn volume(depths_mm: Vec<f64>) -> Volume {
        let geometry = VolumeGeometry {
            origin_mm: [1.0, 2.0, 3.0],
            along_slices: [0.0, 0.0, 1.0],
            along_column: [0.0, 1.0, 0.0],
            along_row: [1.0, 0.0, 0.0],
            spacing_mm: [3.0, 0.5, 2.0],
        };
        let value = |(slice, row, column): (usize, usize, usize)| {
            (100.0 * depths_mm[slice] + 10.0 * row as f64 * 0.5 + column as f64 * 2.0) as f32
        };
        Volume { values: Array3::from_shape_fn((depths_mm.len(), 9, 4), value), geometry, depths_mm }
    }

    #[track_caller]
    fn assert_still_linear(volume: &Volume) {
        for ((slice, row, column), value) in volume.values.indexed_iter() {
            let expected = 100 * slice + 10 * row + column;
            assert!((value - expected as f32).abs() < 1e-3, "{slice} {row} {column}: {value}");
        }
    }

    #[test]
    fn a_linear_field_stays_what_it_is() {
        let cubes = isotropic(&volume(vec![0.0, 3.0, 6.0]), 1.0, 1 << 20).unwrap();
        assert_eq!((cubes.values.dim(), cubes.geometry.spacing_mm), ((7, 5, 7), [1.0; 3]));
        assert_still_linear(&cubes);
    }

    #[test]
    fn a_missing_slice_does_not_shift_what_follows() {
        let cubes = isotropic(&volume(vec![0.0, 3.0, 9.0]), 1.0, 1 << 20).unwrap();
        assert_eq!(cubes.values.dim().0, 10);
        assert_still_linear(&cubes);
    }

    #[test]
    fn a_single_slice_stays_single() {
        assert_eq!(isotropic(&volume(vec![0.0]), 0.5, 1 << 20).unwrap().values.dim(), (1, 9, 13));
    }

    #[test]
    fn a_tiny_spacing_is_refused_by_the_memory_limit() {
        let error = isotropic(&volume(vec![0.0, 3.0]), 1e-6, 1 << 20).unwrap_err();
        assert!(matches!(error, AssembleError::TooLarge { limit: 0x10_0000, .. }), "{error}");
    }
}
