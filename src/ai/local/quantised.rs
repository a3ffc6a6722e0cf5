//! Matrices in ggml's blocks, computed with where they lie in the file.

use std::borrow::Cow;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::quantized::k_quants::{
    self, BlockQ2K, BlockQ3K, BlockQ4_0, BlockQ4_1, BlockQ4K, BlockQ5_0, BlockQ5_1, BlockQ5K, BlockQ6K,
    BlockQ8_0, GgmlType,
};
use candle_core::quantized::{GgmlDType, QMatMul, QStorage, QTensor, QuantizedType};
use candle_core::{CpuStorage, Device, Module, Result, Tensor, bail};
use half::f16;

use super::bytes::Bytes;
use super::packed::{self, Packed};
use super::slices::with_slice;

/// A matrix of blocks, `[out, in]`.
pub(super) struct Quantised {
    tensor: Arc<QTensor>,
    /// Of a mapped matrix: the file's bytes, and whether a kernel has made its own copy of them.
    original: Option<(Bytes, Arc<AtomicBool>)>,
}

impl Quantised {
    /// Packs a matrix into blocks of `kind`.
    pub(super) fn pack(matrix: &Tensor, kind: GgmlDType) -> Result<Self> {
        Ok(Self { tensor: Arc::new(QTensor::quantize(matrix, kind)?), original: None })
    }

    /// On the CPU the blocks are borrowed from the file; any other device gets a copy.
    pub(super) fn over(bytes: &Bytes, kind: GgmlDType, shape: &[usize], device: &Device) -> Result<Self> {
        if !device.is_cpu() {
            let storage = QStorage::from_data(Cow::Borrowed(bytes), device, kind)?;
            return Ok(Self { tensor: Arc::new(QTensor::new(storage, shape)?), original: None });
        }
        let copied = Arc::new(AtomicBool::new(false));
        let storage = QStorage::Cpu(borrow(bytes, kind, &copied)?);
        Ok(Self { tensor: Arc::new(QTensor::new(storage, shape)?), original: Some((bytes.clone(), copied)) })
    }

    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        if let Some(product) = self.product(x)? {
            return Ok(product);
        }
        let product = QMatMul::QTensor(Arc::clone(&self.tensor)).forward(&x.contiguous()?)?;
        self.settle();
        Ok(product)
    }

    /// By our own kernels, which compute with the blocks as they lie in the file.
    fn product(&self, x: &Tensor) -> Result<Option<Tensor>> {
        if !x.device().is_cpu() {
            return Ok(None);
        }
        let (rows, columns) = self.tensor.shape().dims2()?;
        let bytes = match &self.original {
            Some((bytes, _)) => Cow::Borrowed(&**bytes),
            None => self.tensor.data()?,
        };
        let matrix = Packed { kind: self.tensor.dtype(), bytes: &bytes, rows, columns };
        let product = with_slice(&x.contiguous()?, |x| Ok(packed::product(&matrix, x)))?;
        product.map(|product| Tensor::from_vec(product, (x.dim(0)?, rows), x.device())).transpose()
    }

    /// Rows of the matrix in f32, `[ids, in]`.
    pub(super) fn rows(&self, ids: &Tensor) -> Result<Tensor> {
        self.tensor.embedding(ids)
    }

    /// A kernel that packs the blocks anew reads the original once: its pages can go then.
    pub(super) fn settle(&self) {
        if let Some((bytes, copied)) = &self.original
            && copied.swap(false, Ordering::Relaxed)
        {
            bytes.release();
        }
    }
}

/// The matrix in f32 on the device; for what is small or needed whole.
pub(super) fn expand(bytes: &Bytes, kind: GgmlDType, shape: &[usize], device: &Device) -> Result<Tensor> {
    let whole = borrow(bytes, kind, &Arc::default())?.dequantize(shape.iter().product())?;
    let CpuStorage::F32(values) = whole else { bail!("{kind:?} does not expand to f32") };
    Tensor::from_vec(values, shape, device)
}

fn borrow(bytes: &Bytes, kind: GgmlDType, copied: &Arc<AtomicBool>) -> Result<Box<dyn QuantizedType>> {
    fn boxed<T: GgmlType + 'static>(
        bytes: &Bytes,
        copied: &Arc<AtomicBool>,
    ) -> Result<Box<dyn QuantizedType>> {
        Ok(Box::new(Borrowed::<T>::new(bytes, copied)?))
    }
    match kind {
        GgmlDType::Q4_0 => boxed::<BlockQ4_0>(bytes, copied),
        GgmlDType::Q4_1 => boxed::<BlockQ4_1>(bytes, copied),
        GgmlDType::Q5_0 => boxed::<BlockQ5_0>(bytes, copied),
        GgmlDType::Q5_1 => boxed::<BlockQ5_1>(bytes, copied),
        GgmlDType::Q8_0 => boxed::<BlockQ8_0>(bytes, copied),
        GgmlDType::Q2K => boxed::<BlockQ2K>(bytes, copied),
        GgmlDType::Q3K => boxed::<BlockQ3K>(bytes, copied),
        GgmlDType::Q4K => boxed::<BlockQ4K>(bytes, copied),
        GgmlDType::Q5K => boxed::<BlockQ5K>(bytes, copied),
        GgmlDType::Q6K => boxed::<BlockQ6K>(bytes, copied),
        // intermediate forms, and what has no blocks at all
        _ => bail!("{kind:?} is no form of a file's blocks"),
    }
}

/// Blocks that lie in a file.
struct Borrowed<T> {
    bytes: Bytes,
    copied: Arc<AtomicBool>,
    block: PhantomData<T>,
}

impl<T: GgmlType> Borrowed<T> {
    fn new(bytes: &Bytes, copied: &Arc<AtomicBool>) -> Result<Self> {
        if !bytes.len().is_multiple_of(size_of::<T>()) {
            bail!("{} bytes are no whole number of {:?} blocks", bytes.len(), T::DTYPE)
        }
        if !(bytes.as_ptr() as usize).is_multiple_of(align_of::<T>()) {
            bail!("the {:?} blocks are not aligned", T::DTYPE)
        }
        Ok(Self { bytes: bytes.clone(), copied: Arc::clone(copied), block: PhantomData })
    }

    #[expect(unsafe_code, reason = "copying the blocks would hold them in memory twice")]
    fn blocks(&self) -> &[T] {
        let (start, count) = (self.bytes.as_ptr().cast(), self.bytes.len() / size_of::<T>());
        // SAFETY: `new` has checked size and alignment; a block is plain numbers, for which every
        // pattern of bits is a value; the bytes live as long as `self` and nobody writes to them.
        unsafe { std::slice::from_raw_parts(start, count) }
    }
}

impl<T: GgmlType> QuantizedType for Borrowed<T> {
    fn dtype(&self) -> GgmlDType {
        T::DTYPE
    }

    fn matmul_t(&self, mkn: (usize, usize, usize), lhs: &[f32], dst: &mut [f32]) -> Result<()> {
        k_quants::matmul(mkn, lhs, self.blocks(), dst)
    }

    fn matmul_t_f16(&self, mkn: (usize, usize, usize), lhs: &[f16], dst: &mut [f16]) -> Result<()> {
        k_quants::matmul_f16(mkn, lhs, self.blocks(), dst)
    }

    fn embedding(&self, ids: &[u32], rows: usize, hidden: usize) -> Result<CpuStorage> {
        let (blocks, per_row) = (self.blocks(), hidden / T::BLCK_SIZE);
        let mut values = vec![0.0; ids.len() * hidden];
        for (row, &id) in values.chunks_exact_mut(hidden).zip(ids) {
            let start = id as usize * per_row;
            match blocks.get(start..start + per_row) {
                Some(blocks) if (id as usize) < rows => T::to_float(blocks, row),
                _ => bail!("there is no row {id}, only {rows}"),
            }
        }
        Ok(CpuStorage::F32(values))
    }

    fn dequantize(&self, elem_count: usize) -> Result<CpuStorage> {
        let mut values = vec![0.0; elem_count];
        T::to_float(self.blocks(), &mut values);
        Ok(CpuStorage::F32(values))
    }

    fn storage_size_in_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Asked for by the kernels that pack the blocks anew, and by nobody who computes with them.
    fn as_ptr(&self) -> *const u8 {
        self.copied.store(true, Ordering::Relaxed);
        self.bytes.as_ptr()
    }

    fn block_size(&self) -> usize {
        T::BLCK_SIZE
    }

    fn from_float(&mut self, _values: &[f32]) {
        unreachable!("a model file is never written to")
    }

    fn from_float_imatrix(&mut self, _values: &[f32], _weights: &[f32], _per_row: usize) {
        unreachable!("a model file is never written to")
    }

    fn size(&self) -> usize {
        self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The blocks of a random matrix as a file would hold them.
    fn stored(kind: GgmlDType) -> (QTensor, Bytes) {
        let matrix = Tensor::rand(-1_f32, 1.0, (32, 512), &Device::Cpu).unwrap();
        let packed = QTensor::quantize(&matrix, kind).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), packed.data().unwrap()).unwrap();
        (packed, Bytes::map(file.path()).unwrap())
    }

    fn values(tensor: &Tensor) -> Vec<f32> {
        tensor.flatten_all().unwrap().to_vec1().unwrap()
    }

    const KINDS: [GgmlDType; 6] =
        [GgmlDType::Q4_0, GgmlDType::Q5_0, GgmlDType::Q8_0, GgmlDType::Q4K, GgmlDType::Q5K, GgmlDType::Q6K];

    #[test]
    fn borrowed_blocks_compute_what_owned_ones_do() {
        for kind in KINDS {
            let (owned, bytes) = stored(kind);
            let borrowed = Quantised::over(&bytes, kind, &[32, 512], &Device::Cpu).unwrap();
            let owned = Quantised { tensor: Arc::new(owned), original: None };
            for rows in [1, 3, 40] {
                let x = Tensor::rand(-1_f32, 1.0, (rows, 512), &Device::Cpu).unwrap();
                let expected = values(&owned.forward(&x).unwrap());
                assert_eq!(values(&borrowed.forward(&x).unwrap()), expected, "{kind:?}, {rows} rows");
            }
        }
    }

    #[test]
    fn rows_of_borrowed_blocks_are_those_of_the_whole() {
        for kind in KINDS {
            let (owned, bytes) = stored(kind);
            let borrowed = Quantised::over(&bytes, kind, &[32, 512], &Device::Cpu).unwrap();
            let ids = Tensor::new(&[31_u32, 0, 7], &Device::Cpu).unwrap();
            let expected = owned.dequantize(&Device::Cpu).unwrap().index_select(&ids, 0).unwrap();
            assert_eq!(values(&borrowed.rows(&ids).unwrap()), values(&expected));
            assert!(borrowed.rows(&Tensor::new(&[32_u32], &Device::Cpu).unwrap()).is_err());
        }
    }

    #[test]
    fn part_of_a_block_is_refused() {
        let bytes = Bytes::of_program(&[0; 19]);
        assert!(Quantised::over(&bytes, GgmlDType::Q4_0, &[1, 32], &Device::Cpu).is_err());
    }
}
