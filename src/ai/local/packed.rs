//! Products with matrices that stay packed as their file packs them, by what the processor has.
//!
//! Few rows are dot products in eight bits (AVX-512 VNNI), as fast as memory can be read. Many
//! rows are tile products in bf16 (AMX): a block of the matrix is unpacked where the second-level
//! cache holds it, so no second copy of the weights is ever kept. Where the processor has neither,
//! candle's own kernels do the work; they too choose at run time.

use std::sync::LazyLock;

use candle_core::quantized::GgmlDType;

#[cfg(target_arch = "x86_64")]
use super::kernels::Tiles;

#[cfg(target_arch = "x86_64")]
mod detect;
#[cfg(target_arch = "x86_64")]
mod dots;
#[cfg(target_arch = "x86_64")]
mod formats;
#[cfg(target_arch = "x86_64")]
mod tiles;

/// What the processor offers beyond candle's kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    Portable,
    Avx512,
    Amx,
}

impl Level {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Portable => "candle's",
            Self::Avx512 => "avx512-vnni",
            Self::Amx => "avx512-vnni+amx-bf16",
        }
    }
}

/// Found out once; on anything but x86-64 there is nothing to find.
pub(super) fn level() -> Level {
    #[cfg(target_arch = "x86_64")]
    static LEVEL: LazyLock<Level> = LazyLock::new(detect::level);
    #[cfg(not(target_arch = "x86_64"))]
    static LEVEL: LazyLock<Level> = LazyLock::new(|| Level::Portable);
    *LEVEL
}

/// The system is asked once.
#[cfg(target_arch = "x86_64")]
fn granted_tiles() -> Option<Tiles> {
    static TILES: LazyLock<Option<Tiles>> = LazyLock::new(Tiles::request);
    *TILES
}

/// Runs arithmetic over slices as vector code for the widest registers there are. `work` and what it
/// calls has to be inlined for that.
#[inline]
pub(super) fn wide<R>(work: impl FnOnce() -> R) -> R {
    #[cfg(target_arch = "x86_64")]
    return detect::wide(level(), work);
    #[cfg(not(target_arch = "x86_64"))]
    return work();
}

/// A matrix `[rows, columns]` in the blocks of its file, row by row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Packed<'a> {
    pub(super) kind: GgmlDType,
    pub(super) bytes: &'a [u8],
    pub(super) rows: usize,
    pub(super) columns: usize,
}

/// `x`, `[count, columns]`, times the matrix: `[count, rows]`. `None` where these kernels do not
/// apply and candle's have to.
pub(super) fn product(matrix: &Packed<'_>, x: &[f32]) -> Option<Vec<f32>> {
    #[cfg(target_arch = "x86_64")]
    return product_at(level(), matrix, x);
    #[cfg(not(target_arch = "x86_64"))]
    return None;
}

#[cfg(target_arch = "x86_64")]
fn product_at(level: Level, matrix: &Packed<'_>, x: &[f32]) -> Option<Vec<f32>> {
    use formats::{Q4K, Q5K, Q6K, Q80};
    match matrix.kind {
        GgmlDType::Q4K => product_of::<Q4K>(level, matrix, x),
        GgmlDType::Q5K => product_of::<Q5K>(level, matrix, x),
        GgmlDType::Q6K => product_of::<Q6K>(level, matrix, x),
        GgmlDType::Q8_0 => product_of::<Q80>(level, matrix, x),
        _ => None,
    }
}

#[cfg(target_arch = "x86_64")]
fn product_of<F: formats::Format>(level: Level, matrix: &Packed<'_>, x: &[f32]) -> Option<Vec<f32>> {
    let blocks = formats::Blocks::<F>::of(matrix)?;
    let count = x.len() / matrix.columns;
    assert_eq!(count * matrix.columns, x.len(), "rows of another width");
    let mut out = vec![0.0; count * matrix.rows];
    if count <= dots::ROWS_MAX && level >= Level::Avx512 {
        dots::multiply(&blocks, x, &mut out);
        return Some(out);
    }
    let tiles = granted_tiles().filter(|_| level == Level::Amx && tiles::fits(matrix.rows))?;
    tiles::multiply(tiles, &blocks, x, &mut out);
    Some(out)
}

/// Where kernels on several threads write: each to columns of its own.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
struct Output {
    start: *mut f32,
    /// Elements from one row to the next.
    stride: usize,
}

#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "the columns of one matrix are written by several threads")]
// SAFETY: the pointer is only written through, and every unit of work has columns of its own.
unsafe impl Sync for Output {}

#[cfg(target_arch = "x86_64")]
#[cfg(test)]
mod tests {
    use candle_core::quantized::QTensor;
    use candle_core::{Device, Tensor};

    use super::*;

    const KINDS: [GgmlDType; 4] = [GgmlDType::Q4K, GgmlDType::Q5K, GgmlDType::Q6K, GgmlDType::Q8_0];

    /// The largest error relative to the spread of the results.
    fn error(kind: GgmlDType, level: Level, rows: usize, columns: usize, count: usize) -> Option<f32> {
        let matrix = Tensor::randn(0.01_f32, 1.0, (rows, columns), &Device::Cpu).unwrap();
        let packed = QTensor::quantize(&matrix, kind).unwrap();
        let x = Tensor::randn(0_f32, 1.0, (count, columns), &Device::Cpu).unwrap();
        let exact = x.matmul(&packed.dequantize(&Device::Cpu).unwrap().t().unwrap()).unwrap();
        let exact = exact.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let bytes = packed.data().unwrap();
        let matrix = Packed { kind, bytes: &bytes, rows, columns };
        let ours = product_at(level, &matrix, &x.flatten_all().unwrap().to_vec1::<f32>().unwrap())?;
        let farthest = ours.iter().zip(&exact).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        Some(farthest / (columns as f32).sqrt())
    }

    #[test]
    fn few_rows_are_the_product_within_the_rounding_of_eight_bits() {
        for kind in KINDS.into_iter().filter(|_| level() >= Level::Avx512) {
            for count in 1..=4 {
                let error = error(kind, Level::Avx512, 48, 768, count).unwrap();
                assert!(error < 0.06, "{kind:?}, {count} rows: {error}");
            }
        }
    }

    #[test]
    fn many_rows_are_the_product_within_the_rounding_of_bf16() {
        for kind in KINDS.into_iter().filter(|_| level() == Level::Amx) {
            for (rows, columns, count) in [(32, 256, 5), (160, 2560, 16), (288, 1280, 33), (64, 512, 600)] {
                let error = error(kind, Level::Amx, rows, columns, count).unwrap();
                assert!(error < 0.02, "{kind:?}, {rows} x {columns}, {count} rows: {error}");
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_left_to_candle() {
        assert_eq!(error(GgmlDType::Q8_0, level(), 32, 640, 1), None);
        assert_eq!(error(GgmlDType::Q5_0, level(), 32, 256, 1), None);
        assert_eq!(error(GgmlDType::Q4K, Level::Portable, 32, 256, 1), None);
        assert_eq!(error(GgmlDType::Q4K, Level::Avx512, 32, 256, 5), None);
        assert_eq!(error(GgmlDType::Q4K, Level::Amx, 40, 256, 5), None);
    }
}
