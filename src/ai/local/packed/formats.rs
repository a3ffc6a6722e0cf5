//! How ggml packs 256 weights of a row, unpacked into vector registers.
//!
//! In all formats a weight is `factor * code + offset` with a code of up to eight bits; factor and
//! offset are shared by 16 weights or more. A format says which codes stand in which register, so
//! that no register has to be reordered.

#![expect(unsafe_code, reason = "vector registers are loaded from pointers")]

use std::arch::x86_64::*;
use std::marker::PhantomData;

use super::Packed;

/// Weights of a block; a row is a whole number of them.
pub(super) const BLOCK: usize = 256;

/// Where the weights of a block's eight lines of 32 stand in its four registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Two lines after one another in each.
    Natural,
    /// Lines 0 and 2, 1 and 3, 4 and 6, 5 and 7: low and high halves of the same bytes.
    Paired,
}

impl Order {
    /// The lines in register `register`.
    pub(super) const fn lines(self, register: usize) -> [usize; 2] {
        match self {
            Self::Natural => [2 * register, 2 * register + 1],
            Self::Paired => {
                let first = register / 2 * 4 + register % 2;
                [first, first + 2]
            }
        }
    }
}

/// One factor and one offset for each 16 weights of a block, in the order of the row.
pub(super) struct Affine {
    pub(super) factors: __m512,
    pub(super) offsets: __m512,
}

pub(super) trait Format: Sync + Send {
    /// Of a block.
    const BYTES: usize;
    const ORDER: Order;

    /// # Safety
    /// AVX-512 (F, BW, VL) and F16C are there, and `Self::BYTES` can be read at `block`.
    unsafe fn codes(block: *const u8) -> [__m512i; 4];

    /// # Safety
    /// As for [`Format::codes`].
    unsafe fn affine(block: *const u8) -> Affine;
}

/// A packed matrix whose size was checked.
pub(super) struct Blocks<'a, F> {
    bytes: &'a [u8],
    pub(super) rows: usize,
    pub(super) columns: usize,
    format: PhantomData<F>,
}

impl<'a, F: Format> Blocks<'a, F> {
    /// `None` where rows are no whole blocks.
    pub(super) fn of(matrix: &Packed<'a>) -> Option<Self> {
        let Packed { bytes, rows, columns, .. } = *matrix;
        let whole = columns > 0 && columns.is_multiple_of(BLOCK);
        let fits = whole && bytes.len() == rows * (columns / BLOCK) * F::BYTES;
        fits.then_some(Self { bytes, rows, columns, format: PhantomData })
    }

    /// The blocks of a row from block `first` on.
    pub(super) fn row(&self, row: usize, first: usize) -> *const u8 {
        let per_row = self.columns / BLOCK;
        assert!(row < self.rows && first < per_row, "a block outside the matrix");
        self.bytes[(row * per_row + first) * F::BYTES..].as_ptr()
    }
}

pub(super) struct Q4K;
pub(super) struct Q5K;
pub(super) struct Q6K;
pub(super) struct Q80;

impl Format for Q4K {
    const BYTES: usize = 144;
    const ORDER: Order = Order::Paired;

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,f16c")]
    unsafe fn codes(block: *const u8) -> [__m512i; 4] {
        // SAFETY: 128 bytes of codes follow 16 of scales.
        unsafe { nibbles(block.add(16)) }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,f16c")]
    unsafe fn affine(block: *const u8) -> Affine {
        // SAFETY: the block begins with two halves and 12 bytes of scales.
        unsafe { scales_and_minima(block) }
    }
}

impl Format for Q5K {
    const BYTES: usize = 176;
    const ORDER: Order = Order::Paired;

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,f16c")]
    unsafe fn codes(block: *const u8) -> [__m512i; 4] {
        // SAFETY: 32 bytes of fifth bits, then 128 of low bits, follow 16 of scales. Bit `n` of a
        // byte belongs to line `n`.
        unsafe {
            let low = nibbles(block.add(48));
            let high = _mm512_broadcast_i64x4(_mm256_loadu_si256(block.add(16).cast()));
            let fifth = |line: i16| {
                let by = _mm512_mask_blend_epi16(
                    0xffff_0000,
                    _mm512_set1_epi16(line),
                    _mm512_set1_epi16(line + 2),
                );
                let bit = _mm512_and_si512(_mm512_srlv_epi16(high, by), _mm512_set1_epi8(1));
                _mm512_slli_epi16(bit, 4)
            };
            let join = |register: usize, line: i16| _mm512_or_si512(low[register], fifth(line));
            [join(0, 0), join(1, 1), join(2, 4), join(3, 5)]
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,f16c")]
    unsafe fn affine(block: *const u8) -> Affine {
        // SAFETY: the block begins as one of Q4_K does.
        unsafe { scales_and_minima(block) }
    }
}

impl Format for Q6K {
    const BYTES: usize = 210;
    const ORDER: Order = Order::Natural;

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,f16c")]
    unsafe fn codes(block: *const u8) -> [__m512i; 4] {
        // SAFETY: 128 bytes of low bits and 64 of high bits, each in two halves of 128 weights.
        unsafe {
            let (nibble, pair) = (_mm512_set1_epi8(15), _mm512_set1_epi8(0x30));
            let halves = |low: i16, high: i16| {
                _mm512_mask_blend_epi16(0xffff_0000, _mm512_set1_epi16(low), _mm512_set1_epi16(high))
            };
            let half = |number: usize| {
                let low = _mm512_loadu_si512(block.add(64 * number).cast());
                let high = _mm512_broadcast_i64x4(_mm256_loadu_si256(block.add(128 + 32 * number).cast()));
                let first = _mm512_and_si512(_mm512_sllv_epi16(high, halves(4, 2)), pair);
                let second = _mm512_and_si512(_mm512_srlv_epi16(high, halves(0, 2)), pair);
                let above = _mm512_and_si512(_mm512_srli_epi16(low, 4), nibble);
                [_mm512_or_si512(_mm512_and_si512(low, nibble), first), _mm512_or_si512(above, second)]
            };
            let ([a, b], [c, d]) = (half(0), half(1));
            [a, b, c, d]
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,f16c")]
    unsafe fn affine(block: *const u8) -> Affine {
        // SAFETY: 16 signed scales and a half end the block.
        unsafe {
            let scales = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(block.add(192).cast())));
            let factors = _mm512_mul_ps(scales, _mm512_set1_ps(half(block.add(208))));
            Affine { factors, offsets: _mm512_mul_ps(factors, _mm512_set1_ps(-32.0)) }
        }
    }
}

/// Eight blocks of ggml's, of 32 weights each.
impl Format for Q80 {
    const BYTES: usize = 8 * 34;
    const ORDER: Order = Order::Natural;

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,f16c")]
    unsafe fn codes(block: *const u8) -> [__m512i; 4] {
        // SAFETY: each 32 signed codes follow a half. The sign is turned into an offset of 128.
        unsafe {
            let line = |number: usize| _mm256_loadu_si256(block.add(34 * number + 2).cast());
            let register = |number: usize| {
                let low = _mm512_castsi256_si512(line(2 * number));
                let both = _mm512_inserti64x4(low, line(2 * number + 1), 1);
                _mm512_xor_si512(both, _mm512_set1_epi8(-128))
            };
            [register(0), register(1), register(2), register(3)]
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,f16c")]
    unsafe fn affine(block: *const u8) -> Affine {
        // SAFETY: a half begins each 34 bytes.
        unsafe {
            let scale = |number: usize| block.add(34 * number).cast::<i16>().read_unaligned();
            let halves = _mm_setr_epi16(
                scale(0),
                scale(1),
                scale(2),
                scale(3),
                scale(4),
                scale(5),
                scale(6),
                scale(7),
            );
            let eight = _mm512_castps256_ps512(_mm256_cvtph_ps(halves));
            let factors = _mm512_permutexvar_ps(each_twice(0), eight);
            Affine { factors, offsets: _mm512_mul_ps(factors, _mm512_set1_ps(-128.0)) }
        }
    }
}

/// 128 bytes: low halves of the first 64, high halves of them, and so of the next 64.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn nibbles(bytes: *const u8) -> [__m512i; 4] {
    let low = |x: __m512i| _mm512_and_si512(x, _mm512_set1_epi8(15));
    // SAFETY: the caller has 128 bytes there.
    let (a, b) = unsafe { (_mm512_loadu_si512(bytes.cast()), _mm512_loadu_si512(bytes.add(64).cast())) };
    [low(a), low(_mm512_srli_epi16(a, 4)), low(b), low(_mm512_srli_epi16(b, 4))]
}

/// Of Q4_K and Q5_K: a half for the scales, one for the minima, and eight of each in six bits.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,f16c")]
unsafe fn scales_and_minima(block: *const u8) -> Affine {
    // SAFETY: the caller has 16 bytes there.
    unsafe {
        let word = |at: usize| block.add(at).cast::<u32>().read_unaligned();
        let (a, b, c) = (word(4), word(8), word(12));
        let scales = (a & 0x3f3f_3f3f, (c & 0x0f0f_0f0f) | (a >> 2 & 0x3030_3030));
        let minima = (b & 0x3f3f_3f3f, (c >> 4 & 0x0f0f_0f0f) | (b >> 2 & 0x3030_3030));
        let bytes = _mm_setr_epi32(scales.0 as i32, scales.1 as i32, minima.0 as i32, minima.1 as i32);
        let both = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes));
        let factors = _mm512_permutexvar_ps(each_twice(0), both);
        let offsets = _mm512_permutexvar_ps(each_twice(8), both);
        Affine {
            factors: _mm512_mul_ps(factors, _mm512_set1_ps(half(block))),
            offsets: _mm512_mul_ps(offsets, _mm512_set1_ps(-half(block.add(2)))),
        }
    }
}

/// The numbers of eight lanes from `first` on, each twice.
#[inline]
#[target_feature(enable = "avx512f")]
fn each_twice(first: i32) -> __m512i {
    let pairs = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
    _mm512_add_epi32(pairs, _mm512_set1_epi32(first))
}

#[inline]
#[target_feature(enable = "f16c")]
unsafe fn half(bytes: *const u8) -> f32 {
    // SAFETY: the caller has two bytes there.
    let bits = unsafe { bytes.cast::<u16>().read_unaligned() };
    _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(i32::from(bits))))
}
