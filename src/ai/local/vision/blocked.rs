//! The layers of the tower in blocks of rows: one thread carries a block from the keys to the end of
//! the layer, so that what lies between is never in memory for all patches.

use rayon::ThreadPool;
use rayon::prelude::*;

use super::super::kernels::{Attention, Format, Shape};

mod load;

pub(super) struct Blocked<F: Format> {
    format: F,
    layers: Vec<Layer<F>>,
    shape: Shape,
    intermediate: usize,
    pool: ThreadPool,
}

struct Layer<F: Format> {
    norm1: Norm,
    queries: Affine<F>,
    keys: Affine<F>,
    values: Affine<F>,
    out: Affine<F>,
    norm2: Norm,
    up: Affine<F>,
    down: Affine<F>,
}

struct Norm {
    weight: Vec<f32>,
    bias: Vec<f32>,
    eps: f32,
}

struct Affine<F: Format> {
    matrix: F::Matrix,
    bias: Vec<f32>,
}

/// Of all patches, between the two halves of a layer.
struct Projected<F: Format> {
    queries: Vec<F::Number>,
    keys: Vec<F::Number>,
    values: Vec<F::Number>,
}

/// What one thread needs for its block.
struct Room<F: Format> {
    attention: Attention<F>,
    /// Rows of the hidden width: normed, or mixed by attention.
    narrow: Vec<F::Number>,
    wide: Vec<F::Number>,
}

impl<F: Format> Blocked<F> {
    /// `[patches, hidden]` in place. `between_layers` may stop it.
    fn run<E>(&self, x: &mut [f32], between_layers: &mut dyn FnMut() -> Result<(), E>) -> Result<(), E> {
        let buffer = || F::buffer(self.shape.patches, self.shape.hidden());
        let mut projected = Projected::<F> { queries: buffer(), keys: buffer(), values: buffer() };
        for layer in &self.layers {
            between_layers()?;
            self.pool.install(|| {
                self.project(layer, x, &mut projected);
                self.finish(layer, x, &projected);
            });
        }
        Ok(())
    }

    fn project(&self, layer: &Layer<F>, x: &[f32], projected: &mut Projected<F>) {
        let (hidden, stride) = (self.shape.hidden(), F::padded(self.shape.hidden()));
        let block = F::ROWS * stride;
        let (queries, keys, values) = (&mut projected.queries, &mut projected.keys, &mut projected.values);
        x.par_chunks(F::ROWS * hidden)
            .zip(queries.par_chunks_mut(block))
            .zip(keys.par_chunks_mut(block))
            .zip(values.par_chunks_mut(block))
            .for_each_init(
                || F::buffer(F::ROWS, hidden),
                |normed, (((x, queries), keys), values)| {
                    self.norm(&layer.norm1, x, normed);
                    self.affine(&layer.queries, normed, x, self.shape.query_scale(), queries);
                    self.affine(&layer.keys, normed, x, 1.0, keys);
                    self.affine(&layer.values, normed, x, 1.0, values);
                },
            );
    }

    /// Everything after the keys, on blocks of rows that need nothing of each other.
    fn finish(&self, layer: &Layer<F>, x: &mut [f32], projected: &Projected<F>) {
        let heads: Vec<F::Head<'_>> = (0..self.shape.heads)
            .into_par_iter()
            .map(|head| self.format.head(&projected.keys, &projected.values, &self.shape, head))
            .collect();
        let (hidden, stride) = (self.shape.hidden(), F::padded(self.shape.hidden()));
        x.par_chunks_mut(F::ROWS * hidden).enumerate().for_each_init(
            || Room::new(self.shape, self.intermediate),
            |room, (block, x)| {
                let queries = &projected.queries[block * F::ROWS * stride..];
                room.attention.attend(&self.format, queries, x.len() / hidden, &heads, &mut room.narrow);
                self.add(&layer.out, &room.narrow, x);
                self.norm(&layer.norm2, x, &mut room.narrow);
                self.widen(&layer.up, &room.narrow, x.len() / hidden, &mut room.wide);
                self.add(&layer.down, &room.wide, x);
            },
        );
    }

    fn norm(&self, norm: &Norm, x: &[f32], out: &mut [F::Number]) {
        let hidden = self.shape.hidden();
        let mut normed = vec![0.0; hidden];
        for (row, out) in x.chunks_exact(hidden).zip(out.chunks_mut(F::padded(hidden))) {
            self.format.lanes().layer_norm(row, &norm.weight, &norm.bias, norm.eps, &mut normed);
            self.format.store(&normed, out);
        }
    }

    /// `out = (matrix * input + bias) * factor`, for as many rows as `x` has.
    fn affine(&self, affine: &Affine<F>, input: &[F::Number], x: &[f32], factor: f32, out: &mut [F::Number]) {
        let (rows, stride) = (x.len() / self.shape.hidden(), F::padded(self.shape.hidden()));
        self.format.product(&affine.matrix, input, rows, &mut |row, columns, values| {
            self.format.lanes().shift_and_scale(values, &affine.bias[columns.clone()], factor);
            self.format.store(values, &mut out[row * stride + columns.start..]);
        });
    }

    fn widen(&self, affine: &Affine<F>, input: &[F::Number], rows: usize, out: &mut [F::Number]) {
        let stride = F::padded(self.intermediate);
        self.format.product(&affine.matrix, input, rows, &mut |row, columns, values| {
            self.format.lanes().gelu(values, &affine.bias[columns.clone()]);
            self.format.store(values, &mut out[row * stride + columns.start..]);
        });
    }

    /// `x = x + matrix * input + bias`
    fn add(&self, affine: &Affine<F>, input: &[F::Number], x: &mut [f32]) {
        let hidden = self.shape.hidden();
        self.format.product(&affine.matrix, input, x.len() / hidden, &mut |row, columns, values| {
            let bias = &affine.bias[columns.clone()];
            self.format.lanes().add(&mut x[row * hidden..][columns], values, bias);
        });
    }
}

impl<F: Format> Room<F> {
    fn new(shape: Shape, intermediate: usize) -> Self {
        Self {
            attention: Attention::new(shape),
            narrow: F::buffer(F::ROWS, shape.hidden()),
            wide: F::buffer(F::ROWS, intermediate),
        }
    }
}
