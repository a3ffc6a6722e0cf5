//! A matrix of the decoder without bias, in full precision or in eight bits.

use candle_core::quantized::{GgmlDType, QMatMul, QTensor};
use candle_core::{D, Module, Result, Tensor};

use super::Precision;

pub(super) enum Linear {
    Exact(candle_nn::Linear),
    /// Blocks of 32 weights with one scale each.
    EightBit(QMatMul),
}

impl Linear {
    /// `weight` is `[out, in]`. A row that is no whole number of blocks stays exact.
    pub(super) fn new(weight: Tensor, precision: Precision) -> Result<Self> {
        let whole_blocks = weight.dim(D::Minus1)?.is_multiple_of(GgmlDType::Q8_0.block_size());
        match precision {
            Precision::EightBit if whole_blocks => {
                let packed = QTensor::quantize(&weight, GgmlDType::Q8_0)?;
                Ok(Self::EightBit(QMatMul::from_qtensor(packed)?))
            }
            _ => Ok(Self::Exact(candle_nn::Linear::new(weight, None))),
        }
    }

    /// The matrix itself, where it was not packed.
    pub(super) fn exact(&self) -> Option<&Tensor> {
        match self {
            Self::Exact(matrix) => Some(matrix.weight()),
            Self::EightBit(_) => None,
        }
    }

    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Exact(matrix) => matrix.forward(x),
            Self::EightBit(matrix) => matrix.forward(&x.contiguous()?),
        }
    }
}
