//! The Gemma 3 decoder: embeddings, layers, and logits of one position.

use std::ops::Range;

use candle_core::{DType, Device, Result, Tensor};

use super::attention::Attention;
use super::blocks::ImageBlocks;
use super::cache::Cache;
use super::config::{Activation, ModelConfig, Span, TextConfig};
use super::error::LoadError;
use super::linear::Linear;
use super::mask::Masks;
use super::norm::RmsNorm;
use super::rope::Angles;
use super::tensors::{self, EMBEDDINGS, FINAL_NORM};
use super::weights::Weights;
use crate::ai::EngineError;

pub(super) struct Decoder {
    /// `[vocabulary, hidden]`; f32, or as in the file where the output matrix is packed.
    embeddings: Tensor,
    /// The embedding table once more, as the matrix that makes logits.
    output: Linear,
    layers: Vec<Layer>,
    norm: RmsNorm,
    text: TextConfig,
}

struct Layer {
    span: Span,
    input_norm: RmsNorm,
    attention: Attention,
    post_attention_norm: RmsNorm,
    pre_feedforward_norm: RmsNorm,
    feedforward: FeedForward,
    post_feedforward_norm: RmsNorm,
}

struct FeedForward {
    gate: Linear,
    up: Linear,
    down: Linear,
    activation: Activation,
}

/// Looks at the output of each layer, `[positions, hidden]`, and may stop the pass.
pub(super) type OnLayer<'a> = dyn FnMut(usize, &Tensor) -> std::result::Result<(), EngineError> + 'a;

impl Decoder {
    pub(super) fn load(weights: &Weights, config: &ModelConfig) -> std::result::Result<Self, LoadError> {
        let text = config.text.clone();
        let table = weights.stored(EMBEDDINGS)?;
        let output = weights.pack(EMBEDDINGS, &table)?;
        let layers =
            text.layers.iter().enumerate().map(|(layer, &span)| Layer::load(weights, &text, layer, span));
        Ok(Self {
            embeddings: output.exact().cloned().unwrap_or(table),
            output,
            layers: layers.collect::<std::result::Result<_, _>>()?,
            norm: weights.rms_norm(FINAL_NORM, text.norm_eps)?,
            text,
        })
    }

    pub(super) fn new_cache(&self) -> Cache {
        Cache::new(&self.text)
    }

    /// `[tokens, hidden]`, scaled as the architecture asks.
    pub(super) fn embed(&self, ids: &[u32]) -> Result<Tensor> {
        let ids = Tensor::new(ids, self.device())?;
        let rows = self.embeddings.index_select(&ids, 0)?.to_dtype(DType::F32)?;
        rows * (self.text.hidden as f64).sqrt()
    }

    /// Embeddings of a stretch of the prompt: text from the table, images from the features.
    pub(super) fn splice(
        &self,
        ids: &[u32],
        images: &ImageBlocks,
        features: Option<&Tensor>,
        stretch: Range<usize>,
    ) -> std::result::Result<Tensor, EngineError> {
        let missing = || EngineError::Forward("the prompt has more image tokens than images".to_owned());
        let mut rows = Vec::new();
        for run in images.runs(stretch) {
            rows.push(if run.image {
                let first = images.features_before(run.positions.start);
                features.ok_or_else(missing)?.narrow(0, first, run.positions.len())?
            } else {
                self.embed(&ids[run.positions])?
            });
        }
        Ok(Tensor::cat(&rows, 0)?)
    }

    /// Reads a chunk that follows what is in the cache; returns its last layer's output,
    /// `[positions, hidden]`, before the final norm.
    pub(super) fn forward(
        &self,
        embedded: &Tensor,
        images: &ImageBlocks,
        cache: &mut Cache,
        on_layer: &mut OnLayer<'_>,
    ) -> std::result::Result<Tensor, EngineError> {
        let positions = cache.advance(embedded.dim(0)?);
        let sliding = self.geometry(Span::Sliding, &positions, images)?;
        let global = self.geometry(Span::Global, &positions, images)?;
        let mut x = embedded.clone();
        for (number, layer) in self.layers.iter().enumerate() {
            let geometry = match layer.span {
                Span::Sliding => &sliding,
                Span::Global => &global,
            };
            x = layer.forward(&x, geometry, cache, number)?;
            on_layer(number, &x)?;
        }
        Ok(x)
    }

    /// Logits over the vocabulary for the last row, `[vocabulary]`.
    pub(super) fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        let last = hidden.narrow(0, hidden.dim(0)? - 1, 1)?;
        self.output.forward(&self.norm.forward(&last)?)?.squeeze(0)
    }

    pub(super) fn device(&self) -> &Device {
        self.embeddings.device()
    }

    fn geometry(&self, span: Span, positions: &Range<usize>, images: &ImageBlocks) -> Result<Geometry> {
        let rope = match span {
            Span::Sliding => self.text.sliding_rope,
            Span::Global => self.text.global_rope,
        };
        Ok(Geometry {
            angles: Angles::new(rope, &self.text, positions, self.device())?,
            masks: Masks::new(span, &self.text, positions, images, self.device())?,
        })
    }
}

/// What the layers of one kind share while a chunk passes.
struct Geometry {
    angles: Angles,
    masks: Masks,
}

impl Layer {
    fn load(
        weights: &Weights,
        text: &TextConfig,
        layer: usize,
        span: Span,
    ) -> std::result::Result<Self, LoadError> {
        let layer = tensors::text_layer(layer);
        let norm = |name: &str| weights.rms_norm(&format!("{layer}.{name}"), text.norm_eps);
        Ok(Self {
            span,
            input_norm: norm("input_layernorm")?,
            attention: Attention::load(weights, text, &layer)?,
            post_attention_norm: norm("post_attention_layernorm")?,
            pre_feedforward_norm: norm("pre_feedforward_layernorm")?,
            feedforward: FeedForward::load(weights, text, &layer)?,
            post_feedforward_norm: norm("post_feedforward_layernorm")?,
        })
    }

    fn forward(&self, x: &Tensor, geometry: &Geometry, cache: &mut Cache, number: usize) -> Result<Tensor> {
        let attended = self.input_norm.forward(x)?;
        let attended =
            self.attention.forward(&attended, &geometry.angles, &geometry.masks, cache.layer(number))?;
        let x = (x + self.post_attention_norm.forward(&attended)?)?;
        let fed = self.feedforward.forward(&self.pre_feedforward_norm.forward(&x)?)?;
        x + self.post_feedforward_norm.forward(&fed)?
    }
}

impl FeedForward {
    fn load(weights: &Weights, text: &TextConfig, layer: &str) -> std::result::Result<Self, LoadError> {
        let name = |part: &str| format!("{layer}.mlp.{part}");
        Ok(Self {
            gate: weights.linear(&name("gate_proj"))?,
            up: weights.linear(&name("up_proj"))?,
            down: weights.linear(&name("down_proj"))?,
            activation: text.activation,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let gate = self.activation.apply(&self.gate.forward(x)?)?;
        self.down.forward(&(gate * self.up.forward(x)?)?)
    }
}

impl Activation {
    fn apply(self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::GeluTanh => x.gelu(),
            #[cfg(test)]
            Self::Silu => x.silu(),
        }
    }
}
