//! Intensities to the range 0 to 1.

use ndarray::{Array, ArrayView, Dimension};

/// Percentiles are taken from at most about this many values, evenly spread.
const PERCENTILE_VALUES: usize = 1 << 20;

/// Least and greatest value; `None` for an empty array.
pub fn range<D: Dimension>(values: ArrayView<'_, f32, D>) -> Option<(f32, f32)> {
    let first = *values.iter().next()?;
    Some(values.fold((first, first), |(low, high), value| (low.min(*value), high.max(*value))))
}

/// The values that `low` and `high` percent of all values do not exceed; `None` for an empty array.
pub fn percentiles<D: Dimension>(values: ArrayView<'_, f32, D>, low: f64, high: f64) -> Option<(f32, f32)> {
    let stride = values.len().div_ceil(PERCENTILE_VALUES).max(1);
    let mut sorted: Vec<f32> = values.iter().step_by(stride).copied().collect();
    sorted.sort_by(f32::total_cmp);
    let last = sorted.len().checked_sub(1)?;
    let at = |percent: f64| sorted[((percent.clamp(0.0, 100.0) / 100.0) * last as f64).round() as usize];
    Some((at(low), at(high)))
}

/// Linear from `low` at 0 to `high` at 1, clipped; all 0 when the range has no extent.
pub fn scale<D: Dimension>(values: ArrayView<'_, f32, D>, (low, high): (f32, f32)) -> Array<f32, D> {
    match high - low {
        extent if extent > 0.0 => values.mapv(|value| ((value - low) / extent).clamp(0.0, 1.0)),
        _ => Array::zeros(values.raw_dim()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn a_window_clips_both_ends() {
        let levels = scale(array![-2000.0, -1000.0, -500.0, 0.0, 3000.0].view(), (-1000.0, 0.0));
        assert_eq!(levels, array![0.0, 0.0, 0.5, 1.0, 1.0]);
    }

    #[test]
    fn outliers_do_not_move_percentiles() {
        let mut values = Array::linspace(0.0, 100.0, 1001);
        values[1000] = 1e9;
        assert_eq!(range(values.view()), Some((0.0, 1e9)));
        assert_eq!(percentiles(values.view(), 1.0, 99.0), Some((1.0, 99.0)));
    }

    #[test]
    fn constant_and_empty_arrays_have_an_answer() {
        assert_eq!(scale(array![7.0, 7.0].view(), (7.0, 7.0)), array![0.0, 0.0]);
        assert_eq!(percentiles(Array::<f32, _>::zeros(0).view(), 1.0, 99.0), None);
    }
}
