//! Gemma's root mean square norm: the stored weight is the distance from one.

use candle_core::{Result, Tensor};

#[derive(Debug)]
pub(super) struct RmsNorm {
    scale: Tensor,
    eps: f32,
}

impl RmsNorm {
    pub(super) fn new(weight: &Tensor, eps: f64) -> Result<Self> {
        Ok(Self { scale: (weight + 1.0)?, eps: eps as f32 })
    }

    /// Over the last dimension.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        candle_nn::ops::rms_norm(&x.contiguous()?, &self.scale, self.eps)
    }
}
