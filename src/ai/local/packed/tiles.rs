//! Many rows: products of 16 x 32 tiles in bf16, summed in f32 (AMX).
//!
//! A unit of work takes 128 rows of the matrix and 1024 of their columns, unpacks them to bf16
//! where the second-level cache holds them, and runs all rows of values past them. The matrix is
//! the left factor, because its rows then are tiles as they are unpacked; so a tile of results is
//! transposed, and is turned round when it is written out.

#![expect(unsafe_code, reason = "tiles are loaded from pointers, by instructions without intrinsics")]

use std::arch::asm;
use std::arch::x86_64::*;

use rayon::iter::{IntoParallelIterator, ParallelIterator};

use super::super::kernels::Tiles;
use super::Output;
use super::formats::{BLOCK, Blocks, Format};

/// Rows and columns of a tile of results; a tile of factors is 16 rows of 32 in bf16.
const TILE: usize = 16;
const DEPTH: usize = 32;
const TILE_BYTES: usize = 1024;
/// Rows of values that are multiplied at a time: what is summed up has to stay in the cache.
const VALUES_MAX: usize = 512;
const UNIT_ROWS: usize = 128;
const UNIT_COLUMNS: usize = 1024;

/// Whether a matrix of so many rows is a whole number of pairs of tiles.
pub(super) fn fits(rows: usize) -> bool {
    rows.is_multiple_of(2 * TILE)
}

pub(super) fn multiply<F: Format>(tiles: Tiles, matrix: &Blocks<'_, F>, x: &[f32], out: &mut [f32]) {
    let (width, stride) = (matrix.columns, matrix.rows);
    let chunks = x.chunks(VALUES_MAX * width).zip(out.chunks_mut(VALUES_MAX * stride));
    for (x, out) in chunks {
        // SAFETY: the level at which this module is called has the features.
        let values = unsafe { Values::pack(x, width) };
        let out = Output { start: out.as_mut_ptr(), stride };
        // SAFETY: as above; each unit writes to columns of its own.
        let unit = |scratch: &mut Scratch, number: usize| unsafe {
            run(tiles, matrix, number * UNIT_ROWS, &values, scratch, &out);
        };
        let units = 0..matrix.rows.div_ceil(UNIT_ROWS);
        match rayon::current_num_threads() {
            1 => {
                let mut scratch = Scratch::new(&values);
                units.for_each(|number| unit(&mut scratch, number));
            }
            _ => units.into_par_iter().for_each_init(|| Scratch::new(&values), unit),
        }
    }
}

/// 64 bytes: what a row of a tile takes.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u32; 16]);

const EMPTY: Line = Line([0; 16]);

/// Rows of values in bf16 as right factors: for each 32 columns, for each 16 rows, a tile whose
/// lines hold two columns of all its rows.
struct Values {
    lines: Vec<Line>,
    rows: usize,
    /// Tiles per 32 columns.
    tiles: usize,
}

impl Values {
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    unsafe fn pack(x: &[f32], width: usize) -> Self {
        let rows = x.len() / width;
        let tiles = rows.div_ceil(TILE);
        let mut lines = vec![EMPTY; width / DEPTH * tiles * TILE];
        for (number, tile) in lines.chunks_exact_mut(TILE).enumerate() {
            let (step, first) = (number / tiles, number % tiles * TILE);
            let mut registers = [_mm512_setzero_si512(); TILE];
            for (row, register) in registers.iter_mut().enumerate().take(rows - first) {
                let values = &x[(first + row) * width + step * DEPTH..][..DEPTH];
                // SAFETY: the slice has 32 values.
                *register = unsafe { halves(values.as_ptr()) };
            }
            transpose(&mut registers);
            for (line, register) in tile.iter_mut().zip(registers) {
                // SAFETY: a line is as large as a register, and aligned to it.
                unsafe { _mm512_store_si512(line.0.as_mut_ptr().cast(), register) };
            }
        }
        Self { lines, rows, tiles }
    }

    fn tile(&self, step: usize, tile: usize) -> *const u8 {
        self.lines[(step * self.tiles + tile) * TILE..].as_ptr().cast()
    }
}

/// What a unit needs; made once per thread.
struct Scratch {
    /// For each 16 rows of the unit, for each 32 columns, a tile.
    matrix: Vec<Line>,
    /// Transposed results: for each row of the unit, one for each row of values.
    sums: Vec<f32>,
}

impl Scratch {
    fn new(values: &Values) -> Self {
        Self {
            matrix: vec![EMPTY; UNIT_ROWS * UNIT_COLUMNS / DEPTH],
            sums: vec![0.0; UNIT_ROWS * values.tiles * TILE],
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16,f16c,fma")]
unsafe fn run<F: Format>(
    tiles: Tiles,
    matrix: &Blocks<'_, F>,
    first: usize,
    values: &Values,
    scratch: &mut Scratch,
    out: &Output,
) {
    let rows = UNIT_ROWS.min(matrix.rows - first);
    // SAFETY: the caller has the features; what the functions read and write is theirs by their
    // own contracts. The tile registers are as they were when this returns.
    unsafe {
        let configured = tiles.configure();
        for column in (0..matrix.columns).step_by(UNIT_COLUMNS) {
            let columns = UNIT_COLUMNS.min(matrix.columns - column);
            expand(matrix, first, rows, column, columns, &mut scratch.matrix);
            sum_up(scratch, values, rows, column / DEPTH, columns / DEPTH);
        }
        drop(configured);
        write_out(&scratch.sums, values, first, rows, out);
    }
}

/// A part of the matrix as tiles.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16,f16c,fma")]
unsafe fn expand<F: Format>(
    matrix: &Blocks<'_, F>,
    first: usize,
    rows: usize,
    column: usize,
    columns: usize,
    tiles: &mut [Line],
) {
    let steps = columns / DEPTH;
    for row in 0..rows {
        let blocks = matrix.row(first + row, column / BLOCK);
        for number in 0..columns / BLOCK {
            let line = (row / TILE * steps + number * BLOCK / DEPTH) * TILE + row % TILE;
            // SAFETY: the row has these blocks.
            unsafe { expand_block::<F>(blocks.add(number * F::BYTES), &mut tiles[line..]) };
        }
    }
}

/// Eight lines of 32 weights, one to each of the tiles that follow each other.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16,f16c,fma")]
unsafe fn expand_block<F: Format>(block: *const u8, tiles: &mut [Line]) {
    // SAFETY: the caller has a block there.
    let (codes, affine) = unsafe { (F::codes(block), F::affine(block)) };
    let (mut factors, mut offsets) = ([0.0_f32; 16], [0.0_f32; 16]);
    // SAFETY: sixteen numbers each.
    unsafe {
        _mm512_storeu_ps(factors.as_mut_ptr(), affine.factors);
        _mm512_storeu_ps(offsets.as_mut_ptr(), affine.offsets);
    }
    let weights = |codes: __m128i, group: usize| {
        let codes = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(codes));
        _mm512_fmadd_ps(codes, _mm512_set1_ps(factors[group]), _mm512_set1_ps(offsets[group]))
    };
    for (register, codes) in codes.into_iter().enumerate() {
        let [a, b] = F::ORDER.lines(register);
        let (c0, c1) = (_mm512_extracti32x4_epi32::<0>(codes), _mm512_extracti32x4_epi32::<1>(codes));
        let (c2, c3) = (_mm512_extracti32x4_epi32::<2>(codes), _mm512_extracti32x4_epi32::<3>(codes));
        store(&mut tiles[a * TILE], weights(c0, 2 * a), weights(c1, 2 * a + 1));
        store(&mut tiles[b * TILE], weights(c2, 2 * b), weights(c3, 2 * b + 1));
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
fn store(line: &mut Line, low: __m512, high: __m512) {
    // SAFETY: a line is as large as a register and aligned to it; 32 numbers of 16 bits are 16 of 32.
    unsafe {
        let both: __m512i = std::mem::transmute(_mm512_cvtne2ps_pbh(high, low));
        _mm512_store_si512(line.0.as_mut_ptr().cast(), both);
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn halves(values: *const f32) -> __m512i {
    // SAFETY: the caller has 32 values there; 32 numbers of 16 bits are 16 of 32.
    unsafe {
        let (low, high) = (_mm512_loadu_ps(values), _mm512_loadu_ps(values.add(16)));
        std::mem::transmute(_mm512_cvtne2ps_pbh(high, low))
    }
}

/// Adds to the results what `steps` of 32 columns from `first` on contribute; the first ones start
/// the sums.
#[target_feature(enable = "avx512f")]
unsafe fn sum_up(scratch: &mut Scratch, values: &Values, rows: usize, first: usize, steps: usize) {
    let width = values.tiles * TILE;
    for pair in 0..rows / (2 * TILE) {
        let left = scratch.matrix[2 * pair * steps * TILE..].as_ptr().cast::<u8>();
        for tile in (0..values.tiles).step_by(2) {
            let start = 2 * pair * TILE * width + tile * TILE;
            let sums = Sums {
                upper: scratch.sums[start..].as_mut_ptr(),
                lower: scratch.sums[start + TILE * width..].as_mut_ptr(),
                stride: 4 * width,
                is_wide: tile + 1 < values.tiles,
            };
            let right = values.tile(first, tile);
            // SAFETY: two rows of `steps` tiles lie at `left`, and at `right` one or two tiles for
            // each step, a row of tiles apart; the tiles of sums lie within the scratch.
            unsafe {
                sums.begin(first == 0);
                sums.add(left, right, steps, values.tiles * TILE_BYTES);
                sums.end();
            }
        }
    }
}

/// Two by two tiles of results; two by one where the values end.
struct Sums {
    upper: *mut f32,
    lower: *mut f32,
    /// Bytes from one row to the next.
    stride: usize,
    is_wide: bool,
}

impl Sums {
    unsafe fn begin(&self, is_first: bool) {
        let Self { upper, lower, stride, .. } = *self;
        // SAFETY: the caller has tiles of results there; tile registers are nobody else's.
        unsafe {
            match (is_first, self.is_wide) {
                (true, _) => {
                    asm!(
                        "tilezero tmm0",
                        "tilezero tmm1",
                        "tilezero tmm2",
                        "tilezero tmm3",
                        options(nostack)
                    );
                }
                (false, true) => asm!("tileloadd tmm0, [{u} + {s}]", "tileloadd tmm1, [{u} + {s} + 64]",
                    "tileloadd tmm2, [{l} + {s}]", "tileloadd tmm3, [{l} + {s} + 64]",
                    u = in(reg) upper, l = in(reg) lower, s = in(reg) stride, options(nostack)),
                (false, false) => asm!("tileloadd tmm0, [{u} + {s}]", "tileloadd tmm2, [{l} + {s}]",
                    u = in(reg) upper, l = in(reg) lower, s = in(reg) stride, options(nostack)),
            }
        }
    }

    unsafe fn add(&self, left: *const u8, right: *const u8, steps: usize, apart: usize) {
        let below = steps * TILE_BYTES;
        for step in 0..steps {
            // SAFETY: the caller has so many tiles there.
            unsafe {
                let (left, right) = (left.add(step * TILE_BYTES), right.add(step * apart));
                if self.is_wide {
                    asm!("tileloadd tmm4, [{u} + {s}]", "tileloadd tmm6, [{r} + {s}]", "tdpbf16ps tmm0, tmm4, tmm6",
                        "tileloadd tmm7, [{r} + {s} + 1024]", "tdpbf16ps tmm1, tmm4, tmm7",
                        "tileloadd tmm5, [{l} + {s}]", "tdpbf16ps tmm2, tmm5, tmm6", "tdpbf16ps tmm3, tmm5, tmm7",
                        u = in(reg) left, l = in(reg) left.add(below), r = in(reg) right, s = in(reg) 64_usize,
                        options(nostack, readonly));
                } else {
                    asm!("tileloadd tmm4, [{u} + {s}]", "tileloadd tmm6, [{r} + {s}]", "tdpbf16ps tmm0, tmm4, tmm6",
                        "tileloadd tmm5, [{l} + {s}]", "tdpbf16ps tmm2, tmm5, tmm6",
                        u = in(reg) left, l = in(reg) left.add(below), r = in(reg) right, s = in(reg) 64_usize,
                        options(nostack, readonly));
                }
            }
        }
    }

    unsafe fn end(&self) {
        let Self { upper, lower, stride, is_wide } = *self;
        // SAFETY: the caller has tiles of results there.
        unsafe {
            asm!("tilestored [{u} + {s}], tmm0", "tilestored [{l} + {s}], tmm2",
                u = in(reg) upper, l = in(reg) lower, s = in(reg) stride, options(nostack));
            if is_wide {
                asm!("tilestored [{u} + {s} + 64], tmm1", "tilestored [{l} + {s} + 64], tmm3",
                    u = in(reg) upper, l = in(reg) lower, s = in(reg) stride, options(nostack));
            }
        }
    }
}

#[target_feature(enable = "avx512f")]
unsafe fn write_out(sums: &[f32], values: &Values, first: usize, rows: usize, out: &Output) {
    let width = values.tiles * TILE;
    for (row, tile) in (0..rows / TILE).flat_map(|row| (0..values.tiles).map(move |tile| (row, tile))) {
        let mut registers = [_mm512_setzero_si512(); TILE];
        for (line, register) in registers.iter_mut().enumerate() {
            let start = (row * TILE + line) * width + tile * TILE;
            // SAFETY: the slice has sixteen numbers.
            *register = unsafe { _mm512_loadu_si512(sums[start..start + TILE].as_ptr().cast()) };
        }
        transpose(&mut registers);
        for (line, register) in registers.into_iter().enumerate().take(values.rows - tile * TILE) {
            // SAFETY: `out` has this row, and sixteen columns there that belong to this unit.
            unsafe {
                let at = out.start.add((tile * TILE + line) * out.stride + first + row * TILE);
                _mm512_storeu_si512(at.cast(), register);
            }
        }
    }
}

/// Sixteen rows of sixteen numbers of 32 bits.
#[inline]
#[target_feature(enable = "avx512f")]
fn transpose(rows: &mut [__m512i; TILE]) {
    let mut pairs = *rows;
    for n in 0..8 {
        pairs[2 * n] = _mm512_unpacklo_epi32(rows[2 * n], rows[2 * n + 1]);
        pairs[2 * n + 1] = _mm512_unpackhi_epi32(rows[2 * n], rows[2 * n + 1]);
    }
    // of four rows each: column `j` of every quarter in register `4 n + j`
    let mut fours = pairs;
    for n in 0..4 {
        let [a, b, c, d] = [pairs[4 * n], pairs[4 * n + 1], pairs[4 * n + 2], pairs[4 * n + 3]];
        fours[4 * n] = _mm512_unpacklo_epi64(a, c);
        fours[4 * n + 1] = _mm512_unpackhi_epi64(a, c);
        fours[4 * n + 2] = _mm512_unpacklo_epi64(b, d);
        fours[4 * n + 3] = _mm512_unpackhi_epi64(b, d);
    }
    for j in 0..4 {
        let even = |a, b| _mm512_shuffle_i32x4::<0x88>(a, b);
        let odd = |a, b| _mm512_shuffle_i32x4::<0xdd>(a, b);
        let [a, b, c, d] = [fours[j], fours[4 + j], fours[8 + j], fours[12 + j]];
        rows[j] = even(even(a, b), even(c, d));
        rows[4 + j] = even(odd(a, b), odd(c, d));
        rows[8 + j] = odd(even(a, b), even(c, d));
        rows[12 + j] = odd(odd(a, b), odd(c, d));
    }
}
