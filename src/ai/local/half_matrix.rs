//! Matrices in bf16 or f16, multiplied where they lie in the file.
//!
//! Activations stay f32, and a weight becomes f32 on its way into a register or a small panel: the
//! product is that of the widened matrix, without its memory.

use candle_core::{CpuStorage, CustomOp1, Device, Layout, Result, Shape, Tensor, bail};
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use rayon::prelude::*;

use super::bytes::Bytes;
use super::kernels::widen;

mod dot;

/// Up to so many rows of activations a weight is read once per row, straight from the file.
const ROWS_DIRECT: usize = 4;
/// Elements of a panel that is widened at a time: one that stays in a core's own cache.
const PANEL: usize = 1 << 18;
/// Rows of weights that one task of a direct product takes.
const TASK_ROWS: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Half {
    Bf16,
    F16,
}

/// `[out, in]`.
pub(super) struct HalfMatrix {
    bytes: Bytes,
    half: Half,
    out: usize,
    input: usize,
}

/// The weights of a matrix, by their type.
#[derive(Clone, Copy)]
enum Weights<'a> {
    Bf16(&'a [bf16]),
    F16(&'a [f16]),
}

impl HalfMatrix {
    pub(super) fn over(bytes: &Bytes, half: Half, shape: &[usize]) -> Result<Self> {
        let &[out, input] = shape else { bail!("a matrix has two dimensions, not {shape:?}") };
        if bytes.len() != 2 * out * input {
            bail!("{} bytes are no matrix of {out} x {input}", bytes.len())
        }
        if !(bytes.as_ptr() as usize).is_multiple_of(align_of::<u16>()) {
            bail!("the values are not aligned")
        }
        Ok(Self { bytes: bytes.clone(), half, out, input })
    }

    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        x.contiguous()?.apply_op1_no_bwd(self)
    }

    /// Rows of the matrix in f32, `[ids, in]`.
    pub(super) fn rows(&self, ids: &[u32]) -> Result<Tensor> {
        let mut values = vec![0.0; ids.len() * self.input];
        for (row, &id) in values.chunks_exact_mut(self.input).zip(ids) {
            if id as usize >= self.out {
                bail!("there is no row {id}, only {}", self.out)
            }
            self.weights().rows(id as usize..id as usize + 1, self.input).widen(row);
        }
        Tensor::from_vec(values, (ids.len(), self.input), &Device::Cpu)
    }

    #[expect(unsafe_code, reason = "copying the values would hold them in memory twice")]
    fn weights(&self) -> Weights<'_> {
        let (start, count) = (self.bytes.as_ptr(), self.out * self.input);
        // SAFETY: `over` has checked size and alignment; both types are plain numbers, for which
        // every pattern of bits is a value; the bytes live as long as `self` and never change.
        unsafe {
            match self.half {
                Half::Bf16 => Weights::Bf16(std::slice::from_raw_parts(start.cast(), count)),
                Half::F16 => Weights::F16(std::slice::from_raw_parts(start.cast(), count)),
            }
        }
    }

    /// `[rows, in]` to `[out, rows]`, every weight read once per row.
    fn direct(&self, x: &[f32], products: &mut [f32]) {
        let (rows, weights) = (x.len() / self.input, self.weights());
        products.par_chunks_mut(TASK_ROWS * rows).enumerate().for_each(|(task, products)| {
            for (offset, products) in products.chunks_exact_mut(rows).enumerate() {
                let row = task * TASK_ROWS + offset;
                let weights = weights.rows(row..row + 1, self.input);
                for (product, x) in products.iter_mut().zip(x.chunks_exact(self.input)) {
                    *product = weights.dot(x);
                }
            }
        });
    }

    /// The same by panels of widened weights, each read once for all rows.
    fn paneled(&self, x: &[f32], products: &mut [f32]) {
        let (rows, weights) = (x.len() / self.input, self.weights());
        let panel = (PANEL / self.input).clamp(1, self.out);
        products.par_chunks_mut(panel * rows).enumerate().for_each_init(
            Vec::new,
            |widened, (n, products)| {
                let first = n * panel;
                let weights = weights.rows(first..first + products.len() / rows, self.input);
                widened.resize(weights.len(), 0.0);
                weights.widen(widened);
                multiply(widened, x, self.input, products);
            },
        );
    }
}

impl CustomOp1 for HalfMatrix {
    fn name(&self) -> &'static str {
        "half-matrix"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let Some((start, end)) = layout.contiguous_offsets() else { bail!("the input is not contiguous") };
        let x = &storage.as_slice::<f32>()?[start..end];
        let mut dims = layout.dims().to_vec();
        match dims.last_mut() {
            Some(last) if *last == self.input => *last = self.out,
            _ => bail!("a matrix of {} x {} cannot take {:?}", self.out, self.input, layout.dims()),
        }
        let rows = x.len() / self.input;
        let mut products = vec![0.0; rows * self.out];
        if rows <= ROWS_DIRECT {
            self.direct(x, &mut products)
        } else {
            self.paneled(x, &mut products)
        }
        let products = if rows > 1 { transposed(&products, rows) } else { products };
        Ok((CpuStorage::F32(products), Shape::from(dims)))
    }
}

impl<'a> Weights<'a> {
    fn rows(self, rows: std::ops::Range<usize>, width: usize) -> Self {
        let range = rows.start * width..rows.end * width;
        match self {
            Self::Bf16(weights) => Self::Bf16(&weights[range]),
            Self::F16(weights) => Self::F16(&weights[range]),
        }
    }

    fn len(self) -> usize {
        match self {
            Self::Bf16(weights) => weights.len(),
            Self::F16(weights) => weights.len(),
        }
    }

    fn widen(self, into: &mut [f32]) {
        match self {
            Self::Bf16(weights) => widen(weights, into),
            Self::F16(weights) => weights.convert_to_f32_slice(into),
        }
    }

    fn dot(self, x: &[f32]) -> f32 {
        match self {
            Self::Bf16(weights) => dot::bf16(weights, x),
            Self::F16(weights) => dot::f16(weights, x),
        }
    }
}

/// `[n, width]` times the transpose of `[rows, width]`, to `[n, rows]`.
#[expect(unsafe_code, reason = "the matrix product takes pointers and strides")]
fn multiply(weights: &[f32], x: &[f32], width: usize, products: &mut [f32]) {
    let (n, rows) = (weights.len() / width, x.len() / width);
    assert_eq!(products.len(), n * rows);
    let (width_stride, rows_stride) = (width as isize, rows as isize);
    // SAFETY: sizes and strides are those of the three slices: row-major, the second one transposed.
    unsafe {
        gemm::gemm(
            n,
            rows,
            width,
            products.as_mut_ptr(),
            1,
            rows_stride,
            false,
            weights.as_ptr(),
            1,
            width_stride,
            x.as_ptr(),
            width_stride,
            1,
            0.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

/// `[n, rows]` to `[rows, n]`.
fn transposed(products: &[f32], rows: usize) -> Vec<f32> {
    let n = products.len() / rows;
    let mut turned = vec![0.0; products.len()];
    turned.par_chunks_exact_mut(n).enumerate().for_each(|(row, turned)| {
        for (value, products) in turned.iter_mut().zip(products.chunks_exact(rows)) {
            *value = products[row];
        }
    });
    turned
}

#[cfg(test)]
mod tests {
    use candle_core::DType;

    use super::*;

    /// A random matrix as a file would hold it, and the same in f32.
    fn stored(dtype: DType, shape: (usize, usize)) -> (HalfMatrix, Tensor) {
        let exact = Tensor::rand(-1_f32, 1.0, shape, &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
        let flat = exact.flatten_all().unwrap();
        let (half, bytes): (_, Vec<u8>) = match dtype {
            DType::BF16 => {
                (Half::Bf16, flat.to_vec1::<bf16>().unwrap().iter().flat_map(|v| v.to_le_bytes()).collect())
            }
            _ => (Half::F16, flat.to_vec1::<f16>().unwrap().iter().flat_map(|v| v.to_le_bytes()).collect()),
        };
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        let bytes = Bytes::map(file.path()).unwrap();
        (HalfMatrix::over(&bytes, half, &[shape.0, shape.1]).unwrap(), exact.to_dtype(DType::F32).unwrap())
    }

    fn farthest(ours: &Tensor, theirs: &Tensor) -> f32 {
        let distance = (ours - theirs).unwrap().abs().unwrap().flatten_all().unwrap();
        distance.max(0).unwrap().to_scalar().unwrap()
    }

    /// A width that no vector register divides, and more rows than one panel holds.
    #[test]
    fn products_are_those_of_the_widened_matrix() {
        for dtype in [DType::BF16, DType::F16] {
            let (matrix, exact) = stored(dtype, (2051, 301));
            for rows in [1, 3, 4, 5, 70] {
                let x = Tensor::rand(-1_f32, 1.0, (rows, 301), &Device::Cpu).unwrap();
                let expected = x.matmul(&exact.t().unwrap()).unwrap();
                let distance = farthest(&matrix.forward(&x).unwrap(), &expected);
                assert!(distance < 1e-4, "{dtype:?}, {rows} rows: {distance:e}");
            }
        }
    }

    #[test]
    fn rows_are_exact() {
        for dtype in [DType::BF16, DType::F16] {
            let (matrix, exact) = stored(dtype, (9, 33));
            let ids = Tensor::new(&[8_u32, 0], &Device::Cpu).unwrap();
            let expected = exact.index_select(&ids, 0).unwrap();
            assert_eq!(farthest(&matrix.rows(&[8, 0]).unwrap(), &expected), 0.0);
            assert!(matrix.rows(&[9]).is_err());
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let (matrix, _) = stored(DType::F16, (4, 8));
        assert!(matrix.forward(&Tensor::zeros((2, 9), DType::F32, &Device::Cpu).unwrap()).is_err());
        assert!(HalfMatrix::over(&Bytes::of_program(&[0; 10]), Half::F16, &[2, 3]).is_err());
    }
}
