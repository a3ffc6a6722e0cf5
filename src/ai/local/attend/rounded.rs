//! Scores and mixtures in bf16 with sums in f32, on matrix tiles: for prompts, where every key
//! meets hundreds of queries.

use half::bf16;

use super::super::kernels::{BLOCK, Configured, Rows, STEP_WEIGHTS, Tiles, round};
use super::{KEY_ROWS, packed};

/// What a unit needs beside its f32 numbers. Rows come in multiples of [`BLOCK`].
pub(super) struct Halves {
    tiles: Tiles,
    width: usize,
    rows: usize,
    queries: Vec<bf16>,
    shares: Vec<bf16>,
    /// The keys of a block as right operand, and then their values.
    right: Vec<bf16>,
    lines: Vec<bf16>,
}

impl Halves {
    /// `None` where heads are no whole number of blocks wide.
    pub(super) fn new(tiles: Tiles, queries: &[f32], width: usize) -> Option<Self> {
        if !width.is_multiple_of(BLOCK) {
            return None;
        }
        let rows = (queries.len() / width).next_multiple_of(BLOCK);
        let mut halves = vec![bf16::ZERO; rows * width];
        packed::wide(|| round(queries, &mut halves));
        Some(Self {
            tiles,
            width,
            rows,
            queries: halves,
            shares: vec![bf16::ZERO; rows * KEY_ROWS],
            right: vec![bf16::ZERO; KEY_ROWS * width],
            lines: vec![bf16::ZERO; KEY_ROWS * width],
        })
    }

    /// `scores = queries x keys`, in rows of [`KEY_ROWS`].
    pub(super) fn score(&mut self, keys: &[f32], scores: &mut [f32]) {
        let (width, count) = (self.width, keys.len() / self.width);
        packed::wide(|| round(keys, &mut self.lines));
        self.lines[count * width..count.next_multiple_of(BLOCK) * width].fill(bf16::ZERO);
        let blocks = self.lines.chunks_exact(BLOCK * width).zip(self.right.chunks_exact_mut(BLOCK * width));
        for (keys, right) in blocks.take(count.div_ceil(BLOCK)) {
            packed::wide(|| by_columns(keys, width, right));
        }
        let tiles = self.tiles.configure();
        for block in 0..count.div_ceil(BLOCK) {
            let right = &self.right[block * BLOCK * width..][..BLOCK * width];
            let left = Rows { numbers: &self.queries, apart: width };
            self.rows(&tiles, left, right, &mut scores[block * BLOCK..], KEY_ROWS, false);
        }
    }

    /// `mixed += shares x values`; the shares are what became of the scores.
    pub(super) fn mix(&mut self, shares: &[f32], values: &[f32], mixed: &mut [f32]) {
        let (width, count) = (self.width, values.len() / self.width);
        let steps = count.div_ceil(BLOCK);
        packed::wide(|| {
            round(values, &mut self.lines);
            for (shares, halves) in shares.chunks_exact(KEY_ROWS).zip(self.shares.chunks_exact_mut(KEY_ROWS))
            {
                round(&shares[..count], halves);
                halves[count..steps * BLOCK].fill(bf16::ZERO);
            }
        });
        self.lines[count * width..steps * BLOCK * width].fill(bf16::ZERO);
        for (step, values) in self.lines.chunks_exact(BLOCK * width).take(steps).enumerate() {
            packed::wide(|| by_rows(values, width, step, steps, &mut self.right));
        }
        let tiles = self.tiles.configure();
        for column in 0..width / BLOCK {
            let right = &self.right[column * steps * STEP_WEIGHTS..][..steps * STEP_WEIGHTS];
            let left = Rows { numbers: &self.shares, apart: KEY_ROWS };
            self.rows(&tiles, left, right, &mut mixed[column * BLOCK..], width, true);
        }
    }

    /// All rows of `left` times one block of columns.
    fn rows(
        &self,
        tiles: &Configured,
        left: Rows<'_>,
        right: &[bf16],
        out: &mut [f32],
        apart: usize,
        add: bool,
    ) {
        for row in (0..self.rows).step_by(BLOCK) {
            let left = Rows { numbers: &left.numbers[row * left.apart..], ..left };
            tiles.multiply(left, right, &mut out[row * apart..], apart, add);
        }
    }
}

/// 32 keys as columns: for each 32 of their numbers two tiles, of which a row holds two numbers of
/// each of sixteen keys.
#[inline(always)]
fn by_columns(keys: &[bf16], width: usize, right: &mut [bf16]) {
    for (number, tile) in right.chunks_exact_mut(STEP_WEIGHTS / 2).enumerate() {
        let (step, half) = (number / 2, number % 2);
        for key in 0..BLOCK / 2 {
            let start = (half * BLOCK / 2 + key) * width + step * BLOCK;
            for (pair, numbers) in keys[start..start + BLOCK].chunks_exact(2).enumerate() {
                tile[pair * BLOCK + 2 * key] = numbers[0];
                tile[pair * BLOCK + 2 * key + 1] = numbers[1];
            }
        }
    }
}

/// 32 values as rows: step `step` of each block of 32 columns, of which a tile's row holds sixteen
/// columns of two values.
#[inline(always)]
fn by_rows(values: &[bf16], width: usize, step: usize, steps: usize, right: &mut [bf16]) {
    for (pair, rows) in values.chunks_exact(2 * width).enumerate() {
        let (upper, lower) = rows.split_at(width);
        let columns = upper.chunks_exact(BLOCK / 2).zip(lower.chunks_exact(BLOCK / 2)).enumerate();
        for (half, (upper, lower)) in columns {
            let tile = (half / 2 * steps + step) * STEP_WEIGHTS + half % 2 * STEP_WEIGHTS / 2;
            let line = &mut right[tile + pair * BLOCK..][..BLOCK];
            for (both, (upper, lower)) in line.chunks_exact_mut(2).zip(upper.iter().zip(lower)) {
                both[0] = *upper;
                both[1] = *lower;
            }
        }
    }
}
