//! The arithmetic of the vision tower at its real size: 4096 patches, 27 layers, five million million
//! multiplications per image.
//!
//! A [`Format`] is a way to hold numbers and to multiply them; [`Exact`] is f32, [`Rounded`] is
//! bf16 with sums in f32, for processors with matrix tiles. What is written in terms of a format
//! (attention here, the layers in `vision::blocked`) is written once. Which instructions are used
//! is decided at run time: a program built for the oldest x86-64 has all of them in it.
//!
//! `unsafe` is in three places, each behind a function that checks what it promises: `lanes` (code
//! for a processor that detection has seen), `product` (the matrix product of the `gemm` crate) and
//! `tiles` (instructions that the compiler does not know).

use std::ops::Range;

use super::packed::{self, Level};

pub(super) use attention::{Attention, Shape};
pub(super) use exact::Exact;
pub(super) use lanes::{Lanes, round, widen};
pub(super) use rounded::Rounded;
pub(super) use stored::Stored;
pub(super) use tiles::{BLOCK, Configured, Rows, STEP_WEIGHTS, Tiles};

mod attention;
mod exact;
#[expect(unsafe_code, reason = "loops compiled for instructions that only detection knows to be there")]
mod lanes;
#[expect(unsafe_code, reason = "the matrix product of the gemm crate takes pointers")]
mod product;
mod rounded;
mod stored;
#[cfg(test)]
mod tests;
#[expect(unsafe_code, reason = "matrix tiles have no other form than assembler")]
mod tiles;

/// A way to hold the numbers between two products.
pub(super) trait Format: Send + Sync {
    type Number: Copy + Default + Send + Sync;
    /// A matrix `[outputs, inputs]`, laid out for products.
    type Matrix: Send + Sync;
    /// Keys and values of one head, laid out for products.
    type Head<'a>: Send + Sync;

    /// Rows that one thread carries through a layer together.
    const ROWS: usize;
    /// Rows of a buffer come in multiples of this; what is in the surplus rows does not matter.
    const ROW_STEP: usize;
    /// Numbers in a row of a buffer come in multiples of this.
    const COLUMN_STEP: usize;

    fn lanes(&self) -> Lanes;

    fn matrix(&self, stored: Stored, outputs: usize) -> Self::Matrix;

    fn store(&self, values: &[f32], out: &mut [Self::Number]);

    /// `rows` of `input` times the matrix, some columns of all rows at a time: `finish` gets the
    /// row, which columns these are, and their values.
    fn product(
        &self,
        matrix: &Self::Matrix,
        input: &[Self::Number],
        rows: usize,
        finish: &mut dyn FnMut(usize, Range<usize>, &mut [f32]),
    );

    fn head<'a>(
        &self,
        keys: &'a [Self::Number],
        values: &'a [Self::Number],
        shape: &Shape,
        head: usize,
    ) -> Self::Head<'a>;

    /// Queries times keys: `rows` rows of [`attention::KEYS`] scores, of which the first are written.
    fn scores(
        &self,
        queries: &[Self::Number],
        rows: usize,
        head: &Self::Head<'_>,
        keys: Range<usize>,
        scores: &mut [f32],
    );

    /// `powers = 2 ^ (scores - shift)`; what follows them in the row becomes zero. Returns the sum.
    fn powers(&self, scores: &mut [f32], shift: f32, powers: &mut [Self::Number]) -> f32;

    /// `mixed += powers * values`, in rows of [`Format::mixed_stride`].
    fn mix(
        &self,
        powers: &[Self::Number],
        rows: usize,
        head: &Self::Head<'_>,
        keys: Range<usize>,
        mixed: &mut [f32],
    );

    fn padded(width: usize) -> usize {
        width.next_multiple_of(Self::COLUMN_STEP)
    }

    /// A buffer for `rows` of `width` numbers. One step of columns more than that lets the last row
    /// be read beyond its end.
    fn buffer(rows: usize, width: usize) -> Vec<Self::Number> {
        let numbers = rows.next_multiple_of(Self::ROW_STEP) * Self::padded(width) + Self::COLUMN_STEP;
        vec![Self::Number::default(); numbers]
    }
}

/// Which instructions compute what: the products of f32 (the `gemm` crate's), those of quantised
/// matrices (ours or candle's), and the vision tower, which says it itself.
pub(super) fn describe(vision: &str) -> String {
    let quantised = match packed::level() {
        Level::Portable => quantised(),
        level => level.name(),
    };
    format!("products {}, quantised {quantised}, {vision}", floating())
}

/// By the conditions under which the `gemm` crate chooses.
#[cfg(target_arch = "x86_64")]
fn floating() -> &'static str {
    if is_x86_feature_detected!("avx512f") {
        "avx512f"
    } else if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        "avx2+fma"
    } else {
        "baseline"
    }
}

/// By the conditions under which candle chooses.
#[cfg(target_arch = "x86_64")]
fn quantised() -> &'static str {
    if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni") {
        "avx512-vnni"
    } else if is_x86_feature_detected!("avxvnni") && is_x86_feature_detected!("avx2") {
        "avx-vnni"
    } else if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        "avx2"
    } else {
        "baseline"
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn floating() -> &'static str {
    "baseline"
}

#[cfg(not(target_arch = "x86_64"))]
fn quantised() -> &'static str {
    "baseline"
}
