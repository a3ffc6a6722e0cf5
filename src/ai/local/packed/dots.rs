//! Few rows: dot products of codes, eight bits by eight bits.
//!
//! A block of the matrix is unpacked once for all rows. What it costs to compute with it is less
//! than what it costs to fetch it, so a token takes as long as reading the weights takes.

#![expect(unsafe_code, reason = "vector registers are loaded from pointers")]

use std::arch::x86_64::*;
use std::ops::Range;

use rayon::iter::{IntoParallelIterator, ParallelIterator};

use super::Output;
use super::formats::{BLOCK, Blocks, Format, Order};

/// More rows than this are not few.
pub(super) const ROWS_MAX: usize = 4;
/// Rows of the matrix that are a unit of work.
const UNIT: usize = 128;
/// How far ahead of what is computed with memory is asked for, in bytes.
const AHEAD: usize = 1024;

/// 256 values of a row in eight bits, in the order of a format's registers.
#[derive(Clone)]
#[repr(C, align(64))]
struct Rounded {
    values: [i8; BLOCK],
    /// Of each 16 values, in the order of the row.
    sums: [f32; BLOCK / 16],
    /// What a value is to be multiplied with.
    scale: f32,
}

pub(super) fn multiply<F: Format>(matrix: &Blocks<'_, F>, x: &[f32], out: &mut [f32]) {
    let each = x.chunks_exact(matrix.columns);
    // SAFETY: the level at which this module is called has the features.
    let rounded: Vec<Vec<Rounded>> = each.map(|row| unsafe { round_row(row, F::ORDER) }).collect();
    let rows: Vec<&[Rounded]> = rounded.iter().map(Vec::as_slice).collect();
    let out = Output { start: out.as_mut_ptr(), stride: matrix.rows };
    match *rows.as_slice() {
        [a] => spread(matrix, [a], out),
        [a, b] => spread(matrix, [a, b], out),
        [a, b, c] => spread(matrix, [a, b, c], out),
        [a, b, c, d] => spread(matrix, [a, b, c, d], out),
        _ => unreachable!("the caller has at most four rows, and one at least"),
    }
}

fn spread<F: Format, const N: usize>(matrix: &Blocks<'_, F>, rows: [&[Rounded]; N], out: Output) {
    // SAFETY: the level at which this module is called has the features; each unit writes to
    // columns of its own.
    let unit = |number: usize| unsafe {
        let first = number * UNIT;
        run(matrix, first..matrix.rows.min(first + UNIT), &rows, &out);
    };
    let units = 0..matrix.rows.div_ceil(UNIT);
    match rayon::current_num_threads() {
        1 => units.for_each(unit),
        _ => units.into_par_iter().for_each(unit),
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,f16c,fma")]
unsafe fn run<F: Format, const N: usize>(
    matrix: &Blocks<'_, F>,
    range: Range<usize>,
    rows: &[&[Rounded]; N],
    out: &Output,
) {
    let lanes = lanes(F::ORDER);
    for row in range {
        // SAFETY: the features are ours; `out` has a row for each of `rows` and a column for each
        // row of the matrix.
        unsafe {
            let sums = one_row::<F, N>(matrix.row(row, 0), matrix.columns / BLOCK, rows, lanes);
            for (number, sum) in sums.into_iter().enumerate() {
                *out.start.add(number * out.stride + row) = sum;
            }
        }
    }
}

/// One row of the matrix against all rows of values.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,f16c,fma")]
unsafe fn one_row<F: Format, const N: usize>(
    blocks: *const u8,
    count: usize,
    rows: &[&[Rounded]; N],
    lanes: [__m512i; 4],
) -> [f32; N] {
    let mut sums = [_mm512_setzero_ps(); N];
    for number in 0..count {
        // SAFETY: the row has `count` blocks; a prefetch past its end does nothing.
        let (codes, affine) = unsafe {
            let block = blocks.add(number * F::BYTES);
            for line in 0..F::BYTES.div_ceil(64) {
                _mm_prefetch::<_MM_HINT_T0>(block.add(AHEAD + 64 * line).cast());
            }
            (F::codes(block), F::affine(block))
        };
        let factors = lanes.map(|lanes| _mm512_permutexvar_ps(lanes, affine.factors));
        for (sum, row) in sums.iter_mut().zip(rows) {
            let part = one_block(&codes, &factors, affine.offsets, &row[number]);
            *sum = _mm512_fmadd_ps(part, _mm512_set1_ps(row[number].scale), *sum);
        }
    }
    sums.map(|sum| _mm512_reduce_add_ps(sum))
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,f16c,fma")]
fn one_block(codes: &[__m512i; 4], factors: &[__m512; 4], offsets: __m512, values: &Rounded) -> __m512 {
    // SAFETY: the fields are arrays of the registers' size, aligned to it.
    let (sums, values) = unsafe {
        let (values, sums) = (values.values.as_ptr().cast::<__m512i>(), values.sums.as_ptr());
        (_mm512_load_ps(sums), [0, 1, 2, 3].map(|n| _mm512_load_si512(values.add(n))))
    };
    let mut part = _mm512_mul_ps(offsets, sums);
    for ((codes, values), factors) in codes.iter().zip(values).zip(factors) {
        let products = _mm512_dpbusd_epi32(_mm512_setzero_si512(), *codes, values);
        part = _mm512_fmadd_ps(_mm512_cvtepi32_ps(products), *factors, part);
    }
    part
}

/// For each register, which of 16 factors its lanes of four codes take.
#[target_feature(enable = "avx512f")]
fn lanes(order: Order) -> [__m512i; 4] {
    [0, 1, 2, 3].map(|register| {
        let [first, second] = order.lines(register).map(|line| 2 * line as i32);
        let pairs = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1);
        let starts = _mm512_mask_blend_epi32(0xff00, _mm512_set1_epi32(first), _mm512_set1_epi32(second));
        _mm512_add_epi32(pairs, starts)
    })
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn round_row(row: &[f32], order: Order) -> Vec<Rounded> {
    row.chunks_exact(BLOCK).map(|block| round_block(block, order)).collect()
}

/// The largest value becomes 127.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn round_block(block: &[f32], order: Order) -> Rounded {
    let highest = block.iter().fold(0.0_f32, |highest, value| highest.max(value.abs()));
    let (scale, by) = if highest > 0.0 { (highest / 127.0, 127.0 / highest) } else { (0.0, 0.0) };
    let mut rounded = Rounded { values: [0; BLOCK], sums: [0.0; BLOCK / 16], scale };
    let mut codes = [0_i8; BLOCK];
    for (code, value) in codes.iter_mut().zip(block) {
        *code = (value * by).round_ties_even() as i8;
    }
    for (sum, codes) in rounded.sums.iter_mut().zip(codes.chunks_exact(16)) {
        *sum = codes.iter().map(|&code| f32::from(code)).sum();
    }
    for register in 0..4 {
        for (place, line) in order.lines(register).into_iter().enumerate() {
            let at = 64 * register + 32 * place;
            rounded.values[at..at + 32].copy_from_slice(&codes[32 * line..32 * line + 32]);
        }
    }
    rounded
}
