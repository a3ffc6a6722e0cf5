//! Arithmetic over slices of f32, written so that the compiler makes vector code of it.

use candle_core::{CpuStorage, Result, Storage, Tensor};
use gemm::Parallelism;

/// Sums run in so many lanes: a single one would be a chain that no vector unit can speed up.
const LANES: usize = 32;

/// `[rows, columns]` within a slice, with the distances of its elements.
#[derive(Debug, Clone, Copy)]
pub(super) struct Matrix<'a> {
    pub(super) data: &'a [f32],
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) row: usize,
    pub(super) column: usize,
}

impl Matrix<'_> {
    fn is_within(&self) -> bool {
        let last = |count: usize, step: usize| count.saturating_sub(1) * step;
        last(self.rows, self.row) + last(self.columns, self.column) < self.data.len()
    }
}

/// `out = left x right`, or added to what is there; the rows of `out` lie `stride` apart.
#[expect(unsafe_code, reason = "the matrix product takes pointers")]
pub(super) fn multiply(left: &Matrix<'_>, right: &Matrix<'_>, add: bool, out: &mut [f32], stride: usize) {
    let (m, k, n) = (left.rows, left.columns, right.columns);
    if m == 0 || k == 0 || n == 0 {
        return;
    }
    assert!(left.is_within() && right.is_within() && right.rows == k && n <= stride);
    assert!((m - 1) * stride + n <= out.len(), "the product does not fit");
    let (alpha, beta, out) = (f32::from(u8::from(add)), 1.0, out.as_mut_ptr());
    let step = |elements: usize| elements as isize;
    // SAFETY: all three matrices lie within their slices, which the asserts above say; `out` is
    // borrowed mutably and so overlaps neither of the others.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out,
            1,
            step(stride),
            add,
            left.data.as_ptr(),
            step(left.column),
            step(left.row),
            right.data.as_ptr(),
            step(right.column),
            step(right.row),
            alpha,
            beta,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

#[inline(always)]
fn total(lanes: [f32; LANES]) -> f32 {
    folded(lanes, |one, other| one + other)
}

/// By halves: one after the other would again be a chain.
#[inline(always)]
fn folded(mut lanes: [f32; LANES], join: impl Fn(f32, f32) -> f32) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] = join(lanes[lane], lanes[lane + half]);
        }
        half /= 2;
    }
    lanes[0]
}

#[inline(always)]
pub(super) fn dot(one: &[f32], other: &[f32]) -> f32 {
    let mut lanes = [0.0; LANES];
    let (ones, others) = (one.chunks_exact(LANES), other.chunks_exact(LANES));
    let rest: f32 = ones.remainder().iter().zip(others.remainder()).map(|(a, b)| a * b).sum();
    for (one, other) in ones.zip(others) {
        for lane in 0..LANES {
            lanes[lane] += one[lane] * other[lane];
        }
    }
    total(lanes) + rest
}

#[inline(always)]
pub(super) fn sum(values: &[f32]) -> f32 {
    let mut lanes = [0.0; LANES];
    let chunks = values.chunks_exact(LANES);
    let rest: f32 = chunks.remainder().iter().sum();
    for chunk in chunks {
        for lane in 0..LANES {
            lanes[lane] += chunk[lane];
        }
    }
    total(lanes) + rest
}

#[inline(always)]
pub(super) fn highest(values: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let chunks = values.chunks_exact(LANES);
    let rest = chunks.remainder().iter().copied().fold(f32::NEG_INFINITY, larger);
    for chunk in chunks {
        for lane in 0..LANES {
            lanes[lane] = larger(lanes[lane], chunk[lane]);
        }
    }
    larger(folded(lanes, larger), rest)
}

/// As one comparison: `f32::max` takes three, for the sake of values that are no numbers.
#[inline(always)]
fn larger(one: f32, other: f32) -> f32 {
    if one > other { one } else { other }
}

#[inline(always)]
pub(super) fn add_scaled(sums: &mut [f32], values: &[f32], factor: f32) {
    sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value * factor);
}

/// `e^x` for `x <= 0`, within two units in the last place; without a branch, so that it vectorises.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    /// Adding and subtracting it rounds to a whole number.
    const ROUND: f32 = 12_582_912.0;
    /// ln 2, in two parts whose products with small whole numbers are exact.
    const LN2: (f32, f32) = (0.693_359_4, -2.121_944_4e-4);
    let x = larger(x, -87.0);
    let whole = (x * std::f32::consts::LOG2_E + ROUND) - ROUND;
    let rest = (x - whole * LN2.0) - whole * LN2.1;
    let series = 1.987_569_1e-4;
    let series = series * rest + 1.398_2e-3;
    let series = series * rest + 8.333_452e-3;
    let series = series * rest + 4.166_579_6e-2;
    let series = series * rest + 0.166_666_65;
    let series = series * rest + 0.5;
    let power = series * rest * rest + rest + 1.0;
    power * f32::from_bits(((whole as i32 + 127) as u32) << 23)
}

/// The tanh form of GELU of each gate, times what it lets through.
#[inline(always)]
pub(super) fn gelu_times(gates: &mut [f32], values: &[f32]) {
    /// sqrt(2 / pi), twice: `x (1 + tanh y) / 2` is `x / (1 + e^-2y)`.
    const TWICE: f32 = 1.595_769;
    for (gate, value) in gates.iter_mut().zip(values) {
        let x = *gate;
        let y = TWICE * (x + 0.044_715 * x * x * x);
        let power = exp(-y.abs());
        let share = if y > 0.0 { 1.0 } else { power };
        *gate = x * share / (1.0 + power) * value;
    }
}

/// What a tensor of f32 on the CPU holds, in order.
pub(super) fn with_slice<T>(tensor: &Tensor, then: impl FnOnce(&[f32]) -> Result<T>) -> Result<T> {
    let (storage, layout) = tensor.storage_and_layout();
    let (Storage::Cpu(CpuStorage::F32(values)), Some((start, end))) =
        (&*storage, layout.contiguous_offsets())
    else {
        candle_core::bail!("a slice of f32 was expected, not {tensor:?}")
    };
    then(&values[start..end])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_exponential_is_that_of_the_library(x in -80.0_f32..=0.0) {
            let (ours, theirs) = (exp(x), x.exp());
            prop_assert!((ours - theirs).abs() <= 3e-7 * theirs, "{} of {}: {}", ours, x, theirs);
        }
    }

    #[test]
    fn gates_are_those_of_the_library() {
        let x: Vec<f32> = (-400..400).map(|n| n as f32 / 20.0).collect();
        let theirs =
            candle_core::Tensor::new(x.as_slice(), &candle_core::Device::Cpu).unwrap().gelu().unwrap();
        let mut ours = x.clone();
        gelu_times(&mut ours, &vec![2.0; x.len()]);
        for (ours, theirs) in ours.iter().zip(theirs.to_vec1::<f32>().unwrap()) {
            assert!((ours - 2.0 * theirs).abs() < 4e-6, "{ours} {theirs}");
        }
    }

    #[test]
    fn far_below_nothing_is_left() {
        assert!(exp(-1e30) < 1e-37 && exp(f32::NEG_INFINITY) < 1e-37);
        assert_eq!(exp(0.0), 1.0);
    }

    #[test]
    fn sums_and_products_count_every_element() {
        let values: Vec<f32> = (1..=100).map(|n| n as f32).collect();
        assert_eq!(sum(&values), 5050.0);
        assert_eq!(dot(&values, &values), 338_350.0);
        assert_eq!(highest(&values), 100.0);
    }

    #[test]
    fn a_product_reads_by_its_strides() {
        let (left, right) = ([1.0, 2.0, 3.0, 4.0], [5.0, 7.0, 6.0, 8.0]);
        let left = Matrix { data: &left, rows: 2, columns: 2, row: 2, column: 1 };
        let transposed = Matrix { data: &right, rows: 2, columns: 2, row: 1, column: 2 };
        let mut out = [100.0; 5];
        multiply(&left, &transposed, false, &mut out, 3);
        assert_eq!(out, [19.0, 22.0, 100.0, 43.0, 50.0]);
        multiply(&left, &transposed, true, &mut out, 3);
        assert_eq!(out, [38.0, 44.0, 100.0, 86.0, 100.0]);
    }
}
