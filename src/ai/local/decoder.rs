//! The Gemma 3 decoder: embeddings, layers, and logits of one position.

use std::ops::Range;

use candle_core::{Device, Result, Tensor};
use rayon::iter::{IndexedParallelIterator, ParallelIterator};
use rayon::slice::{ParallelSlice, ParallelSliceMut};

use super::attention::{Attention, Reader};
use super::blocks::ImageBlocks;
use super::cache::Cache;
use super::config::{Activation, Rope, Span, TextConfig};
use super::error::LoadError;
use super::linear::{Embeddings, Linear};
use super::mask::Sight;
use super::norm::RmsNorm;
use super::packed;
use super::rope::Angles;
use super::slices::{gelu_times, with_slice};
use super::tensors::{self, FINAL_NORM};
use super::weights::Weights;
use crate::ai::EngineError;

pub(super) struct Decoder {
    /// `[vocabulary, hidden]`: rows of tokens, and the matrix that makes logits.
    embeddings: Embeddings,
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
    pub(super) fn load(weights: &Weights, text: &TextConfig) -> std::result::Result<Self, LoadError> {
        let layers =
            text.layers.iter().enumerate().map(|(layer, &span)| Layer::load(weights, text, layer, span));
        Ok(Self {
            embeddings: weights.embeddings()?,
            layers: layers.collect::<std::result::Result<_, _>>()?,
            norm: weights.rms_norm(FINAL_NORM, text.norm_eps)?,
            text: text.clone(),
        })
    }

    pub(super) fn new_cache(&self) -> Cache {
        Cache::new(&self.text)
    }

    /// `[tokens, hidden]`, scaled as the architecture asks.
    pub(super) fn embed(&self, ids: &[u32]) -> Result<Tensor> {
        self.embeddings.rows(ids)? * (self.text.hidden as f64).sqrt()
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
        let chunk = Chunk { embedded: embedded.clone(), images, cache };
        Ok(self.forward_each(&mut [chunk], on_layer)?.remove(0))
    }

    /// Reads chunks of several sequences in one pass. Every matrix is then read once for all of
    /// them; each sequence attends to itself alone.
    pub(super) fn forward_each(
        &self,
        chunks: &mut [Chunk<'_>],
        on_layer: &mut OnLayer<'_>,
    ) -> std::result::Result<Vec<Tensor>, EngineError> {
        let embedded: Vec<&Tensor> = chunks.iter().map(|chunk| &chunk.embedded).collect();
        let mut x = Tensor::cat(&embedded, 0)?;
        let pass = self.pass(chunks)?;
        for (number, layer) in self.layers.iter().enumerate() {
            x = layer.forward(&x, &pass, chunks, number)?;
            on_layer(number, &x)?;
        }
        let own = |rows: &Range<usize>| x.narrow(0, rows.start, rows.len());
        Ok(pass.rows.iter().map(own).collect::<Result<_>>()?)
    }

    /// One token, or a run of known ones, for each of several sequences in one pass; the logits,
    /// `[vocabulary]`, are those after each sequence's last token.
    pub(super) fn step_each(
        &self,
        stretches: &mut [Stretch<'_>],
        on_layer: &mut OnLayer<'_>,
    ) -> std::result::Result<Vec<Tensor>, EngineError> {
        let text = ImageBlocks::find(&[], 0);
        let embedded: Vec<Tensor> =
            stretches.iter().map(|stretch| self.embed(stretch.ids)).collect::<Result<_>>()?;
        let chunks = stretches.iter_mut().zip(embedded);
        let mut chunks: Vec<Chunk<'_>> = chunks
            .map(|(stretch, embedded)| Chunk { embedded, images: &text, cache: &mut *stretch.cache })
            .collect();
        let hidden = self.forward_each(&mut chunks, on_layer)?;
        Ok(self.logits_each(&hidden)?)
    }

    /// Logits over the vocabulary for the last row, `[vocabulary]`.
    pub(super) fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        Ok(self.logits_each(std::slice::from_ref(hidden))?.remove(0))
    }

    /// As [`Decoder::logits`], for several sequences by one product.
    pub(super) fn logits_each(&self, hidden: &[Tensor]) -> Result<Vec<Tensor>> {
        let last = |hidden: &Tensor| hidden.narrow(0, hidden.dim(0)? - 1, 1);
        let last = Tensor::cat(&hidden.iter().map(last).collect::<Result<Vec<_>>>()?, 0)?;
        let logits = self.embeddings.logits(&self.norm.forward(&last)?)?;
        (0..hidden.len()).map(|row| logits.get(row)).collect()
    }

    pub(super) fn device(&self) -> &Device {
        self.embeddings.device()
    }

    /// Counts the chunks as read, and lays out what the layers need to know of them.
    fn pass(&self, chunks: &mut [Chunk<'_>]) -> Result<Pass> {
        let (mut rows, mut positions, mut start) = (Vec::new(), Vec::new(), 0);
        for chunk in chunks.iter_mut() {
            let count = chunk.embedded.dim(0)?;
            positions.push(chunk.cache.advance(count));
            rows.push(start..start + count);
            start += count;
        }
        Ok(Pass {
            sliding: self.geometry(Span::Sliding, self.text.sliding_rope, &positions, chunks)?,
            global: self.geometry(Span::Global, self.text.global_rope, &positions, chunks)?,
            rows,
        })
    }

    fn geometry(
        &self,
        span: Span,
        rope: Rope,
        positions: &[Range<usize>],
        chunks: &[Chunk<'_>],
    ) -> Result<Geometry> {
        let all: Vec<usize> = positions.iter().flat_map(Range::clone).collect();
        let sights = positions.iter().zip(chunks);
        Ok(Geometry {
            angles: Angles::new(rope, &self.text, &all, self.device())?,
            sights: sights
                .map(|(positions, chunk)| Sight::new(span, &self.text, positions, chunk.images))
                .collect(),
        })
    }
}

/// Rows that continue one sequence.
pub(super) struct Chunk<'a> {
    /// `[positions, hidden]`.
    pub(super) embedded: Tensor,
    pub(super) images: &'a ImageBlocks,
    pub(super) cache: &'a mut Cache,
}

/// Tokens of text that continue one sequence.
pub(super) struct Stretch<'a> {
    pub(super) ids: &'a [u32],
    pub(super) cache: &'a mut Cache,
}

/// How the rows of a pass belong to its sequences.
struct Pass {
    /// Of each chunk.
    rows: Vec<Range<usize>>,
    sliding: Geometry,
    global: Geometry,
}

/// What the layers of one kind share in a pass.
struct Geometry {
    angles: Angles,
    /// Of each chunk.
    sights: Vec<Sight>,
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

    fn forward(&self, x: &Tensor, pass: &Pass, chunks: &mut [Chunk<'_>], number: usize) -> Result<Tensor> {
        let geometry = match self.span {
            Span::Sliding => &pass.sliding,
            Span::Global => &pass.global,
        };
        let readers =
            chunks.iter_mut().zip(&pass.rows).zip(&geometry.sights).map(|((chunk, rows), sight)| Reader {
                rows: rows.clone(),
                sight,
                cache: chunk.cache.layer(number),
            });
        let attended = self.attention.forward(&self.input_norm.forward(x)?, &geometry.angles, readers)?;
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
        let (gates, values) = (self.gate.forward(x)?, self.up.forward(x)?);
        self.down.forward(&self.activation.gate(&gates, &values)?)
    }
}

impl Activation {
    /// The activation of the gates, times the values.
    fn gate(self, gates: &Tensor, values: &Tensor) -> Result<Tensor> {
        match (self, gates.device()) {
            (Self::GeluTanh, Device::Cpu) => gelu_here(gates, values),
            (Self::GeluTanh, _) => gates.gelu()? * values,
            #[cfg(test)]
            (Self::Silu, _) => gates.silu()? * values,
        }
    }
}

/// In one pass over both: candle's tangent alone would take a third of the time of a prompt.
fn gelu_here(gates: &Tensor, values: &Tensor) -> Result<Tensor> {
    let width = gates.dim(1)?;
    let mut gated = gates.flatten_all()?.to_vec1::<f32>()?;
    with_slice(values, |values| {
        let rows = gated.par_chunks_mut(width).zip(values.par_chunks(width));
        rows.for_each(|(gates, values)| packed::wide(|| gelu_times(gates, values)));
        Ok(())
    })?;
    Tensor::from_vec(gated, gates.dims(), &Device::Cpu)
}
