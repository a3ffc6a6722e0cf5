//! A matrix of the decoder without bias, held as the file has it wherever that can be computed with.

use candle_core::quantized::GgmlDType;
use candle_core::{D, Device, Module, Result, Tensor};

use super::Precision;
use super::half_matrix::{Half, HalfMatrix};
use super::quantised::Quantised;
use super::store::{Kind, Stored};

/// `[out, in]`.
pub(super) enum Linear {
    /// f32 in memory.
    Exact(candle_nn::Linear),
    /// bf16 or f16 in the file.
    Half(HalfMatrix),
    /// Blocks of weights with scales: in the file, or packed when the model was loaded.
    Quantised(Quantised),
}

impl Linear {
    pub(super) fn new(stored: &Stored, precision: Precision, device: &Device) -> Result<Self> {
        let in_place = device.is_cpu() && stored.bytes.is_mapped();
        match (&stored.kind, precision) {
            (Kind::Ggml(GgmlDType::F32 | GgmlDType::F16 | GgmlDType::BF16), Precision::EightBit) => {
                Self::packed(stored.load(device)?)
            }
            (Kind::Ggml(GgmlDType::BF16), _) if in_place => Self::mapped(stored, Half::Bf16),
            (Kind::Ggml(GgmlDType::F16), _) if in_place => Self::mapped(stored, Half::F16),
            (Kind::Ggml(kind), _) if kind.block_size() > 1 => {
                Quantised::over(&stored.bytes, *kind, &stored.shape, device).map(Self::Quantised)
            }
            _ => Ok(Self::Exact(candle_nn::Linear::new(stored.load(device)?, None))),
        }
    }

    /// A row that is no whole number of blocks stays exact.
    fn packed(matrix: Tensor) -> Result<Self> {
        match matrix.dim(D::Minus1)?.is_multiple_of(GgmlDType::Q8_0.block_size()) {
            true => Quantised::pack(&matrix, GgmlDType::Q8_0).map(Self::Quantised),
            false => Ok(Self::Exact(candle_nn::Linear::new(matrix, None))),
        }
    }

    fn mapped(stored: &Stored, half: Half) -> Result<Self> {
        match HalfMatrix::over(&stored.bytes, half, &stored.shape) {
            Ok(matrix) => Ok(Self::Half(matrix)),
            // a file may put values at odd addresses; they are copied once then
            Err(_) => Ok(Self::Exact(candle_nn::Linear::new(stored.load(&Device::Cpu)?, None))),
        }
    }

    pub(super) fn is_quantised(&self) -> bool {
        matches!(self, Self::Quantised(_))
    }

    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Exact(matrix) => matrix.forward(x),
            Self::Half(matrix) => matrix.forward(x),
            Self::Quantised(matrix) => matrix.forward(x),
        }
    }

    /// Rows of the matrix in f32, `[ids, in]`.
    fn rows(&self, ids: &[u32], device: &Device) -> Result<Tensor> {
        match self {
            Self::Exact(matrix) => matrix.weight().index_select(&Tensor::new(ids, device)?, 0),
            Self::Half(matrix) => matrix.rows(ids),
            Self::Quantised(matrix) => matrix.rows(&Tensor::new(ids, device)?),
        }
    }
}

/// The embedding table, which is also the matrix that makes logits.
pub(super) struct Embeddings {
    /// `None`: the output matrix has the same rows.
    table: Option<Linear>,
    output: Linear,
    device: Device,
}

impl Embeddings {
    /// Where the output matrix is packed the table stays as the file has it: rows cost nothing to
    /// read and would only lose by it.
    pub(super) fn new(stored: &Stored, precision: Precision, device: &Device) -> Result<Self> {
        let output = Linear::new(stored, precision, device)?;
        let packed = precision == Precision::EightBit && matches!(output, Linear::Quantised(_));
        let table = packed.then(|| Linear::new(stored, Precision::Exact, device)).transpose()?;
        Ok(Self { table, output, device: device.clone() })
    }

    /// Of a file that has an output matrix of its own.
    pub(super) fn apart(table: &Stored, output: &Stored, device: &Device) -> Result<Self> {
        let table = Some(Linear::new(table, Precision::Exact, device)?);
        Ok(Self { table, output: Linear::new(output, Precision::Exact, device)?, device: device.clone() })
    }

    /// The rows of some tokens in f32, `[tokens, hidden]`, as they are stored.
    pub(super) fn rows(&self, ids: &[u32]) -> Result<Tensor> {
        self.table.as_ref().unwrap_or(&self.output).rows(ids, &self.device)
    }

    /// `[rows, hidden]` to `[rows, vocabulary]`.
    pub(super) fn logits(&self, x: &Tensor) -> Result<Tensor> {
        self.output.forward(x)
    }

    pub(super) fn device(&self) -> &Device {
        &self.device
    }
}
