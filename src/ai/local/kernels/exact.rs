//! Numbers in f32: what parity with the reference is proven for.

use std::ops::Range;

use super::attention::KEYS;
use super::product::{Size, View, multiply};
use super::{Format, Lanes, Shape, Stored};

/// Columns of a matrix that are multiplied at a time: as f32 they stay in the second cache.
const PANEL: usize = 384;

pub(in crate::ai::local) struct Exact(pub(in crate::ai::local) Lanes);

/// As it was stored; it is widened panel by panel when it is used, which takes a
/// fiftieth of the time and half of the memory.
pub(in crate::ai::local) struct Matrix {
    stored: Stored,
    inputs: usize,
    outputs: usize,
}

/// Where keys and values of a head are: they are used as they lie.
pub(in crate::ai::local) struct Head<'a> {
    keys: &'a [f32],
    values: &'a [f32],
    width: usize,
    stride: usize,
}

impl Head<'_> {
    fn rows<'a>(&self, numbers: &'a [f32], keys: &Range<usize>) -> View<'a> {
        View::new(&numbers[keys.start * self.stride..], self.stride)
    }
}

impl Format for Exact {
    type Number = f32;
    type Matrix = Matrix;
    type Head<'a> = Head<'a>;

    const ROWS: usize = 256;
    const ROW_STEP: usize = 1;
    const COLUMN_STEP: usize = 1;

    fn lanes(&self) -> Lanes {
        self.0
    }

    fn matrix(&self, stored: Stored, outputs: usize) -> Matrix {
        Matrix { inputs: stored.len() / outputs, outputs, stored }
    }

    fn store(&self, values: &[f32], out: &mut [f32]) {
        out[..values.len()].copy_from_slice(values);
    }

    fn product(
        &self,
        matrix: &Matrix,
        input: &[f32],
        rows: usize,
        finish: &mut dyn FnMut(usize, Range<usize>, &mut [f32]),
    ) {
        let (inner, mut room, mut panel) = (matrix.inputs, Vec::new(), vec![0.0; rows * PANEL]);
        for first in (0..matrix.outputs).step_by(PANEL) {
            let columns = first..matrix.outputs.min(first + PANEL);
            let weights = matrix.stored.widened(first * inner..columns.end * inner, self.0, &mut room);
            let size = Size { rows, inner, columns: columns.len() };
            let weights = View::new(weights, inner).transposed();
            multiply(size, View::new(input, inner), weights, &mut panel, PANEL, false);
            for (row, values) in panel.chunks_exact_mut(PANEL).enumerate() {
                finish(row, columns.clone(), &mut values[..columns.len()]);
            }
        }
    }

    fn head<'a>(&self, keys: &'a [f32], values: &'a [f32], shape: &Shape, head: usize) -> Head<'a> {
        let first = shape.columns(head).start;
        Head { keys: &keys[first..], values: &values[first..], width: shape.width, stride: shape.hidden() }
    }

    fn scores(&self, queries: &[f32], rows: usize, head: &Head<'_>, keys: Range<usize>, scores: &mut [f32]) {
        let size = Size { rows, inner: head.width, columns: keys.len() };
        let transposed = head.rows(head.keys, &keys).transposed();
        multiply(size, View::new(queries, head.stride), transposed, scores, KEYS, false);
    }

    fn powers(&self, scores: &mut [f32], shift: f32, powers: &mut [f32]) -> f32 {
        let sum = self.0.exponentiate(scores, shift);
        powers[..scores.len()].copy_from_slice(scores);
        sum
    }

    fn mix(&self, powers: &[f32], rows: usize, head: &Head<'_>, keys: Range<usize>, mixed: &mut [f32]) {
        let size = Size { rows, inner: keys.len(), columns: head.width };
        multiply(size, View::new(powers, KEYS), head.rows(head.values, &keys), mixed, head.width, true);
    }
}
