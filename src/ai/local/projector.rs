//! From patch features to image tokens: average pooling, a norm, one matrix.

use candle_core::{Result, Tensor};

use super::config::ModelConfig;
use super::error::LoadError;
use super::norm::RmsNorm;
use super::tensors::{PROJECTION, PROJECTOR_NORM};
use super::weights::Weights;

pub(super) struct Projector {
    norm: RmsNorm,
    /// `[vision, text]`, multiplied as it is stored.
    matrix: Tensor,
    /// Patches per side, image tokens per side.
    sides: (usize, usize),
}

impl Projector {
    pub(super) fn load(weights: &Weights, config: &ModelConfig) -> std::result::Result<Self, LoadError> {
        // the reference norms with the vision tower's epsilon, not the decoder's
        let norm = weights.rms_norm(PROJECTOR_NORM, config.vision.norm_eps)?;
        Ok(Self { norm, matrix: weights.get(PROJECTION)?, sides: config.image_sides() })
    }

    /// `[patches, vision]` to `[image tokens, text]`. The rows go into the prompt as they are: the
    /// factor that text embeddings carry does not apply to them.
    pub(super) fn forward(&self, features: &Tensor) -> Result<Tensor> {
        let (patches, tokens) = self.sides;
        let width = features.dim(1)?;
        let square = features.t()?.contiguous()?.reshape((1, width, patches, patches))?;
        let pooled = square.avg_pool2d(patches / tokens)?.reshape((width, tokens * tokens))?;
        self.norm.forward(&pooled.t()?)?.matmul(&self.matrix)
    }
}
