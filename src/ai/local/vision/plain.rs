//! The layers on candle's operations: for other devices than the processor, and for towers so small
//! that the time is in the operations' overhead, which is also what unoptimised builds run.

use candle_core::{D, Result, Tensor};
use candle_nn::{LayerNorm, Linear, Module};

use super::super::config::VisionConfig;
use super::super::error::LoadError;
use super::super::tensors;
use super::super::weights::Weights;
use crate::ai::EngineError;

/// Rows of queries that are scored at a time: 4096 patches squared would be a gigabyte of scores.
const QUERY_ROWS: usize = 256;

pub(super) struct Layer {
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

pub(super) fn load(weights: &Weights, config: &VisionConfig) -> std::result::Result<Vec<Layer>, LoadError> {
    (0..config.layers).map(|layer| Layer::load(weights, config, layer)).collect()
}

pub(super) fn run(
    layers: &[Layer],
    mut x: Tensor,
    between_layers: &mut dyn FnMut() -> std::result::Result<(), EngineError>,
) -> std::result::Result<Tensor, EngineError> {
    for layer in layers {
        between_layers()?;
        x = layer.forward(&x)?;
    }
    Ok(x)
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
