//! Levels to quantised coefficients (T.81 A.3.3, A.3.4).

use std::ops::{Add, Mul, Sub};

pub(super) const BLOCK: usize = 8;

/// A row of a block. Written so that a compiler makes vectors of it.
#[derive(Debug, Clone, Copy)]
struct Lanes([f32; BLOCK]);

type Block = [Lanes; BLOCK];

/// Levels as they stand in a picture, row by row.
pub(super) type Tile = [[u8; BLOCK]; BLOCK];

/// By columns: coefficient (row, column) at eight times the column plus the row.
pub(super) type Coefficients = [i16; 64];

impl Lanes {
    #[inline(always)]
    fn with(self, other: Self, of: impl Fn(f32, f32) -> f32) -> Self {
        let mut made = [0.0; BLOCK];
        for (at, lane) in made.iter_mut().enumerate() {
            *lane = of(self.0[at], other.0[at]);
        }
        Self(made)
    }
}

impl Add for Lanes {
    type Output = Self;

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self.with(other, |a, b| a + b)
    }
}

impl Sub for Lanes {
    type Output = Self;

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        self.with(other, |a, b| a - b)
    }
}

impl Mul<f32> for Lanes {
    type Output = Self;

    #[inline(always)]
    fn mul(self, factor: f32) -> Self {
        self.with(Self([factor; BLOCK]), |a, b| a * b)
    }
}

/// What the transform below leaves out of row and column k: the square root of 2 times the cosine
/// of k sixteenths of pi, 1 for k = 0.
const SCALES: [f64; BLOCK] = [
    1.0,
    1.387_039_845_322_148,
    1.306_562_964_876_377,
    1.175_875_602_419_359,
    1.0,
    0.785_694_958_387_102,
    0.541_196_100_146_197,
    0.275_899_379_282_943,
];

/// 1.5 times 2 to the 23rd: added to a small number it leaves the nearest whole one in the low bits.
const ROUNDING: f32 = 12_582_912.0;

/// The division by the quantisation table, with the scales that belong in it.
pub(super) struct Transform {
    factors: [Lanes; BLOCK],
}

impl Transform {
    pub(super) fn new(quantisation: &[u8; 64]) -> Self {
        let factor = |row: usize, column: usize| {
            let step = f64::from(quantisation[row * BLOCK + column]);
            (1.0 / (step * SCALES[row] * SCALES[column] * 8.0)) as f32
        };
        let of_column = |column| Lanes(std::array::from_fn(|row| factor(row, column)));
        Self { factors: std::array::from_fn(of_column) }
    }

    pub(super) fn coefficients(&self, tile: &Tile) -> Coefficients {
        if tile.as_flattened().iter().all(|level| *level == tile[0][0]) {
            return self.of_one_level(tile[0][0]);
        }
        let mut block = around_zero(tile);
        transform(&mut block);
        let mut by_columns = transposed(&block);
        transform(&mut by_columns);
        let mut coefficients = [0; 64];
        for (at, coefficient) in coefficients.iter_mut().enumerate() {
            let (row, lane) = (at / BLOCK, at % BLOCK);
            *coefficient = rounded(by_columns[row].0[lane] * self.factors[row].0[lane]);
        }
        coefficients
    }

    /// What lies around a patient is black.
    fn of_one_level(&self, level: u8) -> Coefficients {
        let mut coefficients = [0; 64];
        coefficients[0] = rounded((f32::from(level) - 128.0) * 64.0 * self.factors[0].0[0]);
        coefficients
    }
}

#[inline(always)]
fn rounded(value: f32) -> i16 {
    (value + ROUNDING).to_bits() as i16
}

#[inline(always)]
fn around_zero(tile: &Tile) -> Block {
    let mut block = [Lanes([0.0; BLOCK]); BLOCK];
    for (lanes, levels) in block.iter_mut().zip(tile) {
        for (lane, level) in lanes.0.iter_mut().zip(levels) {
            *lane = f32::from(*level) - 128.0;
        }
    }
    block
}

#[inline(always)]
fn transposed(block: &Block) -> Block {
    let mut turned = [Lanes([0.0; BLOCK]); BLOCK];
    for (row, lanes) in block.iter().enumerate() {
        for (column, value) in lanes.0.iter().enumerate() {
            turned[column].0[row] = *value;
        }
    }
    turned
}

/// The discrete cosine transform of each column, but for [`SCALES`], in five multiplications (Arai,
/// Agui and Nakajima, 1988). In place: a compiler keeps the rows in registers so, and not otherwise.
#[inline(always)]
fn transform(rows: &mut Block) {
    let [a, b, c, d, e, f, g, h] = *rows;
    let (sum_ah, sum_bg, sum_cf, sum_de) = (a + h, b + g, c + f, d + e);
    let (odd_ah, odd_bg, odd_cf, odd_de) = (a - h, b - g, c - f, d - e);
    let (outer, inner) = (sum_ah + sum_de, sum_bg + sum_cf);
    rows[0] = outer + inner;
    rows[4] = outer - inner;
    let (outer, inner) = (sum_ah - sum_de, sum_bg - sum_cf);
    let turned = (inner + outer) * 0.707_106_77;
    rows[2] = outer + turned;
    rows[6] = outer - turned;

    let (low, middle, high) = (odd_de + odd_cf, odd_cf + odd_bg, odd_bg + odd_ah);
    let shared = (low - high) * 0.382_683_43;
    let (low, high) = (low * 0.541_196_1 + shared, high * 1.306_563 + shared);
    let middle = middle * 0.707_106_77;
    let (plus, minus) = (odd_ah + middle, odd_ah - middle);
    rows[5] = minus + low;
    rows[3] = minus - low;
    rows[1] = plus + high;
    rows[7] = plus - high;
}

#[cfg(test)]
mod tests {
    use std::f64::consts::PI;

    use super::*;

    /// T.81 A.3.3, as it is written there.
    fn coefficient(levels: impl Fn(usize, usize) -> f64, v: usize, u: usize) -> f64 {
        let c = |k| if k == 0 { 0.5_f64.sqrt() } else { 1.0 };
        let cosine = |x: usize, k: usize| ((2 * x + 1) as f64 * k as f64 * PI / 16.0).cos();
        let at = |x, y| levels(y, x) * cosine(x, u) * cosine(y, v);
        let sum: f64 = (0..8).flat_map(|y| (0..8).map(move |x| (x, y))).map(|(x, y)| at(x, y)).sum();
        sum * c(u) * c(v) / 4.0
    }

    #[test]
    fn coefficients_are_those_of_the_definition() {
        let level = |row: usize, column: usize| ((row * 37 + column * 91 + row * column * 13) % 256) as u8;
        let tile = std::array::from_fn(|row| std::array::from_fn(|column| level(row, column)));
        let found = Transform::new(&[1; 64]).coefficients(&tile);
        for (v, u) in (0..8).flat_map(|v| (0..8).map(move |u| (v, u))) {
            let exact = coefficient(|row, column| f64::from(level(row, column)) - 128.0, v, u);
            assert!((f64::from(found[u * 8 + v]) - exact).abs() < 0.51, "({v}, {u}): {exact}");
        }
    }
}
