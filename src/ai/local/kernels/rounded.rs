//! Numbers in bf16, sums in f32: the precision the published models were trained and are shipped in.
//!
//! Matrices are laid out for the tiles when they are loaded: for each 32 columns of the result, for
//! each 32 rows of the matrix, two tiles whose rows hold pairs of numbers of sixteen columns.

use std::ops::Range;

use half::bf16;

use super::attention::KEYS;
use super::tiles::{BLOCK, Configured, Rows, STEP, STEP_WEIGHTS, Tiles};
use super::{Format, Lanes, Shape, Stored};

/// Steps of the inner dimension before the next rows are taken: the weights of so many stay in the
/// first cache.
const STEPS: usize = 18;

pub(in crate::ai::local) struct Rounded {
    lanes: Lanes,
    tiles: Tiles,
}

impl Rounded {
    /// Where the processor has tiles for bf16, and the system lets us use them.
    pub(in crate::ai::local) fn new(lanes: Lanes) -> Option<Self> {
        Tiles::request().map(|tiles| Self { lanes, tiles })
    }
}

/// A right operand in tiles.
pub(in crate::ai::local) struct Matrix {
    tiles: Vec<bf16>,
    /// Steps of the inner dimension.
    steps: usize,
    columns: usize,
}

pub(in crate::ai::local) struct Head {
    /// Inner dimension the width of the head, columns the keys.
    keys: Matrix,
    /// Inner dimension the keys, columns the width of the head.
    values: Matrix,
    /// From one row of queries to the next.
    stride: usize,
}

impl Matrix {
    /// From its elements; beyond them are zeros.
    fn new(inner: usize, columns: usize, element: impl Fn(usize, usize) -> bf16) -> Self {
        let (steps, blocks) = (inner.div_ceil(STEP), columns.div_ceil(BLOCK));
        let mut tiles = vec![bf16::ZERO; steps * blocks * STEP_WEIGHTS];
        for (n, tile) in tiles.chunks_exact_mut(STEP_WEIGHTS / 2).enumerate() {
            let (first_row, first_column) = (n / 2 % steps * STEP, n / 2 / steps * BLOCK + n % 2 * 16);
            let width = columns.saturating_sub(first_column).min(16);
            for (row, lanes) in (first_row..inner).step_by(2).zip(tile.chunks_exact_mut(32)) {
                for (lane, pair) in lanes.chunks_exact_mut(2).take(width).enumerate() {
                    pair[0] = element(row, first_column + lane);
                    if row + 1 < inner {
                        pair[1] = element(row + 1, first_column + lane);
                    }
                }
            }
        }
        Self { tiles, steps, columns }
    }

    /// Of the block of columns `block`.
    fn steps(&self, block: usize, steps: Range<usize>) -> &[bf16] {
        let first = block * self.steps;
        &self.tiles[(first + steps.start) * STEP_WEIGHTS..(first + steps.end) * STEP_WEIGHTS]
    }
}

/// `rows` rows of `left` times one block of columns, to rows of `out_apart`.
fn multiply_block(
    tiles: &Configured,
    left: Rows<'_>,
    rows: usize,
    (matrix, block, steps): (&Matrix, usize, Range<usize>),
    out: &mut [f32],
    out_apart: usize,
    add: bool,
) {
    let mut first = steps.start;
    while first < steps.end {
        let stretch = first..steps.end.min(first + STEPS);
        let right = matrix.steps(block, stretch);
        let (inner, add) = ((first - steps.start) * STEP, add || first > steps.start);
        for row in (0..rows).step_by(BLOCK) {
            let left = Rows { numbers: &left.numbers[row * left.apart + inner..], ..left };
            tiles.multiply(left, right, &mut out[row * out_apart..], out_apart, add);
        }
        first += STEPS;
    }
}

impl Format for Rounded {
    type Number = bf16;
    type Matrix = Matrix;
    type Head<'a> = Head;

    const ROWS: usize = 256;
    const ROW_STEP: usize = BLOCK;
    const COLUMN_STEP: usize = STEP;

    fn lanes(&self) -> Lanes {
        self.lanes
    }

    fn matrix(&self, stored: Stored, outputs: usize) -> Matrix {
        let inner = stored.len() / outputs;
        let stored = stored.into_bf16(self.lanes);
        Matrix::new(inner, outputs, |row, column| stored[column * inner + row])
    }

    fn store(&self, values: &[f32], out: &mut [bf16]) {
        self.lanes.round_to_bf16(values, &mut out[..values.len()]);
    }

    fn product(
        &self,
        matrix: &Matrix,
        input: &[bf16],
        rows: usize,
        finish: &mut dyn FnMut(usize, Range<usize>, &mut [f32]),
    ) {
        let tiles = self.tiles.configure();
        let left = Rows { numbers: input, apart: matrix.steps * STEP };
        let mut panel = vec![0.0; rows.next_multiple_of(BLOCK) * BLOCK];
        for (block, first) in (0..matrix.columns).step_by(BLOCK).enumerate() {
            let columns = first..matrix.columns.min(first + BLOCK);
            multiply_block(&tiles, left, rows, (matrix, block, 0..matrix.steps), &mut panel, BLOCK, false);
            for (row, values) in panel.chunks_exact_mut(BLOCK).take(rows).enumerate() {
                finish(row, columns.clone(), &mut values[..columns.len()]);
            }
        }
    }

    fn head<'a>(&self, keys: &'a [bf16], values: &'a [bf16], shape: &Shape, head: usize) -> Head {
        let (first, stride) = (shape.columns(head).start, Self::padded(shape.hidden()));
        Head {
            stride,
            keys: Matrix::new(shape.width, shape.patches, |row, key| keys[key * stride + first + row]),
            values: Matrix::new(shape.patches, shape.width, |key, column| {
                values[key * stride + first + column]
            }),
        }
    }

    fn scores(&self, queries: &[bf16], rows: usize, head: &Head, keys: Range<usize>, scores: &mut [f32]) {
        let tiles = self.tiles.configure();
        let left = Rows { numbers: queries, apart: head.stride };
        for block in keys.start / BLOCK..keys.end.div_ceil(BLOCK) {
            let scores = &mut scores[block * BLOCK - keys.start..];
            multiply_block(&tiles, left, rows, (&head.keys, block, 0..head.keys.steps), scores, KEYS, false);
        }
    }

    fn powers(&self, scores: &mut [f32], shift: f32, powers: &mut [bf16]) -> f32 {
        // the last step may reach beyond the last key
        powers[scores.len()..].fill(bf16::ZERO);
        self.lanes.exponentiate_to_bf16(scores, shift, powers)
    }

    fn mix(&self, powers: &[bf16], rows: usize, head: &Head, keys: Range<usize>, mixed: &mut [f32]) {
        let tiles = self.tiles.configure();
        let (left, steps) =
            (Rows { numbers: powers, apart: KEYS }, keys.start / STEP..keys.end.div_ceil(STEP));
        let apart = Self::padded(head.values.columns);
        for block in 0..head.values.columns.div_ceil(BLOCK) {
            let mixed = &mut mixed[block * BLOCK..];
            multiply_block(&tiles, left, rows, (&head.values, block, steps.clone()), mixed, apart, true);
        }
    }
}
