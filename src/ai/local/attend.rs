//! Attention over slices, for the CPU: keys are visited in blocks with a running softmax.
//!
//! A unit of work is one group of heads that share keys, and a block of queries. Of the scores
//! only one block of queries against one block of keys ever exists, and of the keys only those
//! that a query of the unit sees are touched: a sliding layer costs the same at any depth.

use std::ops::Range;

use rayon::iter::{IntoParallelIterator, ParallelIterator};

use super::kernels::{BLOCK, Tiles};
use super::mask::Sight;
use super::packed;
use super::slices::{Matrix, add_scaled, dot, exp, highest, multiply, sum};

mod rounded;

use rounded::Halves;

/// Queries of a unit, per head.
const QUERY_ROWS: usize = 64;
/// The same on tiles, where laying out a key costs as much as multiplying it with this many.
const QUERY_ROWS_ROUNDED: usize = 256;
/// Keys that are scored at a time.
const KEY_ROWS: usize = 256;
/// Up to so many rows of scores are made by dot products: a blocked product would pack every key
/// to use it once.
const FEW_ROWS: usize = 8;

#[derive(Debug, Clone, Copy)]
pub(super) struct Heads {
    pub(super) queries: usize,
    pub(super) keys: usize,
    pub(super) width: usize,
}

/// Keys and values of one sequence, `[heads, room, width]` each.
pub(super) struct Past<'a> {
    pub(super) keys: &'a [f32],
    pub(super) values: &'a [f32],
    pub(super) room: usize,
    /// The position of row 0.
    pub(super) first: usize,
}

/// `queries` are `[rows, heads, width]`, rotated and scaled; so is the answer.
///
/// With tiles, scores and mixtures of many rows are rounded to bf16.
pub(super) fn attend(
    queries: &[f32],
    past: &Past<'_>,
    sight: &Sight,
    heads: Heads,
    tiles: Option<Tiles>,
) -> Vec<f32> {
    let rows = sight.rows();
    let step = if tiles.is_some() { QUERY_ROWS_ROUNDED } else { QUERY_ROWS };
    let blocks = (0..rows).step_by(step).map(|start| start..rows.min(start + step));
    let units: Vec<(usize, Range<usize>)> =
        blocks.flat_map(|block| (0..heads.keys).map(move |head| (head, block.clone()))).collect();
    let one = |(head, rows): &(usize, Range<usize>)| {
        Unit::new(queries, *head, rows.clone(), heads, tiles).run(past, sight)
    };
    let mixed: Vec<Vec<f32>> = match units.len() * rows {
        // waking the pool for one row costs more than it brings
        ..=FEW_ROWS if past.room <= KEY_ROWS => units.iter().map(one).collect(),
        _ => (&units).into_par_iter().map(one).collect(),
    };
    gather(&units, &mixed, rows, heads)
}

/// The rows of all units in the order of the queries.
fn gather(units: &[(usize, Range<usize>)], mixed: &[Vec<f32>], rows: usize, heads: Heads) -> Vec<f32> {
    let (group, stride) = (heads.queries / heads.keys, heads.queries * heads.width);
    let mut out = vec![0.0; rows * stride];
    for ((head, block), values) in units.iter().zip(mixed) {
        let each = (0..group).flat_map(|member| block.clone().map(move |row| (head * group + member, row)));
        for ((query_head, row), value) in each.zip(values.chunks_exact(heads.width)) {
            let start = row * stride + query_head * heads.width;
            out[start..start + heads.width].copy_from_slice(value);
        }
    }
    out
}

struct Unit {
    head: usize,
    rows: Range<usize>,
    width: usize,
    /// `[group x rows, width]`: the heads of a group one below the other, so that keys are read once.
    queries: Vec<f32>,
    mixed: Vec<f32>,
    softmax: Vec<Running>,
    scores: Vec<f32>,
    halves: Option<Halves>,
}

/// The softmax of one row as far as its keys were visited.
#[derive(Clone, Copy)]
struct Running {
    highest: f32,
    sum: f32,
}

impl Unit {
    fn new(queries: &[f32], head: usize, rows: Range<usize>, heads: Heads, tiles: Option<Tiles>) -> Self {
        let (group, width) = (heads.queries / heads.keys, heads.width);
        let start = |member: usize, row: usize| (row * heads.queries + head * group + member) * width;
        let each = (0..group).flat_map(|member| rows.clone().map(move |row| start(member, row)));
        let queries: Vec<f32> = each.flat_map(|start| &queries[start..start + width]).copied().collect();
        let count = group * rows.len();
        let tiles = tiles.filter(|_| count > FEW_ROWS);
        let halves = tiles.and_then(|tiles| Halves::new(tiles, &queries, width));
        let padded = if halves.is_some() { count.next_multiple_of(BLOCK) } else { count };
        Self {
            halves,
            head,
            width,
            mixed: vec![0.0; padded * width],
            softmax: vec![Running { highest: f32::NEG_INFINITY, sum: 0.0 }; count],
            scores: vec![0.0; padded * KEY_ROWS],
            queries,
            rows,
        }
    }

    fn run(mut self, past: &Past<'_>, sight: &Sight) -> Vec<f32> {
        let seen = sight.union(self.rows.clone());
        for start in seen.clone().step_by(KEY_ROWS) {
            packed::wide(|| self.visit(past, sight, start..seen.end.min(start + KEY_ROWS)));
        }
        for (row, running) in self.mixed.chunks_exact_mut(self.width).zip(&self.softmax) {
            row.iter_mut().for_each(|value| *value /= running.sum);
        }
        self.mixed.truncate(self.softmax.len() * self.width);
        self.mixed
    }

    #[inline(always)]
    fn visit(&mut self, past: &Past<'_>, sight: &Sight, keys: Range<usize>) {
        let start = (self.head * past.room + keys.start - past.first) * self.width;
        let slice = start..start + keys.len() * self.width;
        self.score(&past.keys[slice.clone()], keys.len());
        let rows = self.rows.len();
        for (number, running) in self.softmax.iter_mut().enumerate() {
            let scores = &mut self.scores[number * KEY_ROWS..][..keys.len()];
            let seen = sight.of(self.rows.start + number % rows);
            let seen = clamp(seen.start, &keys)..clamp(seen.end, &keys);
            let mixed = &mut self.mixed[number * self.width..][..self.width];
            running.take(scores, seen, mixed);
        }
        self.mix(&past.values[slice], keys.len());
    }

    #[inline(always)]
    fn score(&mut self, keys: &[f32], count: usize) {
        let (rows, width) = (self.softmax.len(), self.width);
        if let Some(halves) = &mut self.halves {
            return halves.score(keys, &mut self.scores);
        }
        if rows > FEW_ROWS {
            let queries = Matrix { data: &self.queries, rows, columns: width, row: width, column: 1 };
            let keys = Matrix { data: keys, rows: width, columns: count, row: 1, column: width };
            return multiply(&queries, &keys, false, &mut self.scores, KEY_ROWS);
        }
        for (number, key) in keys.chunks_exact(width).enumerate() {
            for (row, query) in self.queries.chunks_exact(width).enumerate() {
                self.scores[row * KEY_ROWS + number] = dot(query, key);
            }
        }
    }

    #[inline(always)]
    fn mix(&mut self, values: &[f32], count: usize) {
        let (rows, width) = (self.softmax.len(), self.width);
        if let Some(halves) = &mut self.halves {
            return halves.mix(&self.scores, values, &mut self.mixed);
        }
        if rows > FEW_ROWS {
            let shares = Matrix { data: &self.scores, rows, columns: count, row: KEY_ROWS, column: 1 };
            let values = Matrix { data: values, rows: count, columns: width, row: width, column: 1 };
            return multiply(&shares, &values, true, &mut self.mixed, width);
        }
        for (number, value) in values.chunks_exact(width).enumerate() {
            for (row, mixed) in self.mixed.chunks_exact_mut(width).enumerate() {
                add_scaled(mixed, value, self.scores[row * KEY_ROWS + number]);
            }
        }
    }
}

fn clamp(position: usize, keys: &Range<usize>) -> usize {
    position.clamp(keys.start, keys.end) - keys.start
}

impl Running {
    /// Turns scores into shares relative to the highest so far, and what was mixed before to the
    /// same scale. What is not seen gets no share.
    #[inline(always)]
    fn take(&mut self, scores: &mut [f32], seen: Range<usize>, mixed: &mut [f32]) {
        scores[..seen.start].fill(0.0);
        scores[seen.end..].fill(0.0);
        let scores = &mut scores[seen];
        let highest = highest(scores).max(self.highest);
        if highest > self.highest {
            let factor = exp(self.highest - highest);
            mixed.iter_mut().for_each(|value| *value *= factor);
            (self.highest, self.sum) = (highest, self.sum * factor);
        }
        scores.iter_mut().for_each(|score| *score = exp(*score - highest));
        self.sum += sum(scores);
    }
}
