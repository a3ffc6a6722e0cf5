//! The SigLIP vision tower: one square image in, one feature row per patch out.

use candle_core::{D, Result, Tensor};
use candle_nn::{LayerNorm, Linear, Module};

use super::config::{ModelConfig, VisionConfig};
use super::error::LoadError;
use super::tensors::{self, PATCHES, POSITIONS, POST_NORM};
use super::weights::Weights;
use crate::ai::EngineError;

/// Rows of queries that are scored at a time: 4096 patches squared would be a gigabyte of scores.
const QUERY_ROWS: usize = 256;

pub(super) struct VisionTower {
    patches: Linear,
    positions: Tensor,
    layers: Vec<Layer>,
    post_norm: LayerNorm,
    config: VisionConfig,
}

struct Layer {
    norm1: LayerNorm,
    attention: Attention,
    norm2: LayerNorm,
    up: Linear,
    down: Linear,
}

struct Attention {
    queries: Linear,
    keys: Linear,
    values: Linear,
    out: Linear,
    heads: usize,
}

impl VisionTower {
    pub(super) fn load(weights: &Weights, config: &ModelConfig) -> std::result::Result<Self, LoadError> {
        let vision = config.vision.clone();
        let layers = (0..vision.layers)
            .map(|layer| Layer::load(weights, &vision, layer))
            .collect::<std::result::Result<_, _>>()?;
        Ok(Self {
            patches: patch_matrix(weights, &vision)?,
            positions: weights.get(POSITIONS)?,
            layers,
            post_norm: weights.layer_norm(POST_NORM, vision.norm_eps)?,
            config: vision,
        })
    }

    /// `[3, side, side]` normalised pixels to `[patches, hidden]`. `between_layers` may stop it.
    pub(super) fn encode(
        &self,
        pixels: &Tensor,
        between_layers: &mut dyn FnMut() -> std::result::Result<(), EngineError>,
    ) -> std::result::Result<Tensor, EngineError> {
        let mut x = self.embed(pixels)?;
        for layer in &self.layers {
            between_layers()?;
            x = layer.forward(&x)?;
        }
        Ok(self.post_norm.forward(&x)?)
    }

    /// A convolution whose windows do not overlap is one matrix product over unfolded patches.
    fn embed(&self, pixels: &Tensor) -> Result<Tensor> {
        let (side, patch) = (self.config.side(), self.config.patch_size);
        let windows = pixels.reshape((3, side, patch, side, patch))?.permute((1, 3, 0, 2, 4))?;
        let rows = windows.reshape((side * side, 3 * patch * patch))?;
        self.patches.forward(&rows)? + &self.positions
    }
}

fn patch_matrix(weights: &Weights, config: &VisionConfig) -> std::result::Result<Linear, LoadError> {
    let name = format!("{PATCHES}.weight");
    let kernel = weights.get(&name)?;
    let flat = kernel
        .reshape((config.hidden, 3 * config.patch_size * config.patch_size))
        .map_err(|error| LoadError::Tensor { tensor: name, problem: error.to_string() })?;
    Ok(Linear::new(flat, Some(weights.get(&format!("{PATCHES}.bias"))?)))
}

impl Layer {
    fn load(weights: &Weights, config: &VisionConfig, layer: usize) -> std::result::Result<Self, LoadError> {
        let name = |part: &str| format!("{}.{part}", tensors::vision_layer(layer));
        Ok(Self {
            norm1: weights.layer_norm(&name("layer_norm1"), config.norm_eps)?,
            attention: Attention {
                queries: weights.affine(&name("self_attn.q_proj"))?,
                keys: weights.affine(&name("self_attn.k_proj"))?,
                values: weights.affine(&name("self_attn.v_proj"))?,
                out: weights.affine(&name("self_attn.out_proj"))?,
                heads: config.heads,
            },
            norm2: weights.layer_norm(&name("layer_norm2"), config.norm_eps)?,
            up: weights.affine(&name("mlp.fc1"))?,
            down: weights.affine(&name("mlp.fc2"))?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let x = (x + self.attention.forward(&self.norm1.forward(x)?)?)?;
        // candle's gelu is the tanh form, which is the one SigLIP uses
        let widened = self.up.forward(&self.norm2.forward(&x)?)?.gelu()?;
        x + self.down.forward(&widened)?
    }
}

impl Attention {
    /// Every patch sees every patch. Head by head, which keeps the scores small.
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (q, k, v) = (self.queries.forward(x)?, self.keys.forward(x)?, self.values.forward(x)?);
        let width = x.dim(D::Minus1)? / self.heads;
        let head = |t: &Tensor, head: usize| t.narrow(1, head * width, width)?.contiguous();
        let scale = 1.0 / (width as f64).sqrt();
        let mixed: Vec<Tensor> = (0..self.heads)
            .map(|h| attend(&(head(&q, h)? * scale)?, &head(&k, h)?, &head(&v, h)?))
            .collect::<Result<_>>()?;
        self.out.forward(&Tensor::cat(&mixed, 1)?)
    }
}

/// One head, `[patches, width]` each, in blocks of query rows.
fn attend(queries: &Tensor, keys: &Tensor, values: &Tensor) -> Result<Tensor> {
    let rows = queries.dim(0)?;
    let keys = keys.t()?.contiguous()?;
    let blocks: Vec<Tensor> = (0..rows)
        .step_by(QUERY_ROWS)
        .map(|start| {
            let scores = queries.narrow(0, start, QUERY_ROWS.min(rows - start))?.matmul(&keys)?;
            candle_nn::ops::softmax_last_dim(&scores)?.matmul(values)
        })
        .collect::<Result<_>>()?;
    Tensor::cat(&blocks, 0)
}
