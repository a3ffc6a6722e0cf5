//! Attention of all patches to all patches, in blocks of keys, so that there is never a matrix of
//! scores: what a block adds is weighed against what the blocks before it have given.

use std::ops::Range;

use super::Format;

/// Keys that are scored at a time.
pub(super) const KEYS: usize = 512;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::ai::local) struct Shape {
    pub(in crate::ai::local) patches: usize,
    pub(in crate::ai::local) heads: usize,
    /// Numbers per head.
    pub(in crate::ai::local) width: usize,
}

impl Shape {
    pub(in crate::ai::local) fn hidden(&self) -> usize {
        self.heads * self.width
    }

    /// What queries are multiplied with: the square root of the width, and the step from powers of
    /// e to powers of two.
    pub(in crate::ai::local) fn query_scale(&self) -> f32 {
        std::f32::consts::LOG2_E / (self.width as f32).sqrt()
    }

    pub(super) fn columns(&self, head: usize) -> Range<usize> {
        head * self.width..(head + 1) * self.width
    }
}

/// The room that one thread needs.
pub(in crate::ai::local) struct Attention<F: Format> {
    shape: Shape,
    scores: Vec<f32>,
    powers: Vec<F::Number>,
    mixed: Vec<f32>,
    largest: Vec<f32>,
    sums: Vec<f32>,
}

impl<F: Format> Attention<F> {
    pub(in crate::ai::local) fn new(shape: Shape) -> Self {
        let rows = F::ROWS.next_multiple_of(F::ROW_STEP);
        Self {
            scores: vec![0.0; rows * KEYS],
            powers: F::buffer(rows, KEYS),
            mixed: vec![0.0; rows * F::padded(shape.width)],
            largest: Vec::new(),
            sums: Vec::new(),
            shape,
        }
    }

    /// `rows` rows of queries, scaled by [`Shape::query_scale`], against all keys of all heads.
    pub(in crate::ai::local) fn attend(
        &mut self,
        format: &F,
        queries: &[F::Number],
        rows: usize,
        heads: &[F::Head<'_>],
        out: &mut [F::Number],
    ) {
        let stride = F::padded(self.shape.hidden());
        for (n, head) in heads.iter().enumerate() {
            let columns = self.shape.columns(n);
            self.attend_head(format, &queries[columns.start..], rows, head);
            let mixed = self.mixed.chunks_exact_mut(F::padded(self.shape.width));
            for (row, (mixed, sum)) in mixed.zip(&self.sums).enumerate() {
                let mixed = &mut mixed[..self.shape.width];
                format.lanes().scale(mixed, 1.0 / sum);
                format.store(mixed, &mut out[row * stride..][columns.clone()]);
            }
        }
    }

    fn attend_head(&mut self, format: &F, queries: &[F::Number], rows: usize, head: &F::Head<'_>) {
        self.largest.clear();
        self.largest.resize(rows, f32::NEG_INFINITY);
        self.sums.clear();
        self.sums.resize(rows, 0.0);
        self.mixed.fill(0.0);
        for first in (0..self.shape.patches).step_by(KEYS) {
            let keys = first..self.shape.patches.min(first + KEYS);
            format.scores(queries, rows, head, keys.clone(), &mut self.scores);
            self.weigh(format, keys.len());
            format.mix(&self.powers, rows, head, keys, &mut self.mixed);
        }
    }

    /// From the scores of `keys` keys to their powers; what was mixed so far is brought to the same
    /// measure.
    fn weigh(&mut self, format: &F, keys: usize) {
        let lanes = format.lanes();
        let rows = self.scores.chunks_exact_mut(KEYS).zip(self.powers.chunks_exact_mut(KEYS));
        let mixed = self.mixed.chunks_exact_mut(F::padded(self.shape.width));
        let states = self.largest.iter_mut().zip(&mut self.sums);
        for (((scores, powers), mixed), (largest, sum)) in rows.zip(mixed).zip(states) {
            let larger = lanes.largest(&scores[..keys]).max(*largest);
            if larger > *largest {
                let factor = (*largest - larger).exp2();
                lanes.scale(mixed, factor);
                (*largest, *sum) = (larger, *sum * factor);
            }
            *sum += format.powers(&mut scores[..keys], larger, powers);
        }
    }
}
