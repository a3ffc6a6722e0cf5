//! Gemma's root mean square norm.

use candle_core::{Result, Tensor};

/// What files hold of a norm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NormForm {
    /// safetensors.
    DistanceFromOne,
    /// GGUF.
    Scale,
}

#[derive(Debug)]
pub(super) struct RmsNorm {
    scale: Tensor,
    eps: f32,
}

impl RmsNorm {
    pub(super) fn new(weight: &Tensor, form: NormForm, eps: f64) -> Result<Self> {
        let scale = match form {
            NormForm::DistanceFromOne => (weight + 1.0)?,
            NormForm::Scale => weight.clone(),
        };
        Ok(Self { scale, eps: eps as f32 })
    }

    /// Over the last dimension.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        candle_nn::ops::rms_norm(&x.contiguous()?, &self.scale, self.eps)
    }
}
