//! Grouped-query self-attention of the decoder.

use candle_core::{Result, Tensor};

use super::cache::LayerCache;
use super::config::TextConfig;
use super::error::LoadError;
use super::linear::Linear;
use super::mask::Masks;
use super::norm::RmsNorm;
use super::rope::Angles;
use super::weights::Weights;

pub(super) struct Attention {
    queries: Linear,
    keys: Linear,
    values: Linear,
    out: Linear,
    query_norm: RmsNorm,
    key_norm: RmsNorm,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    score_scale: f64,
}

impl Attention {
    pub(super) fn load(
        weights: &Weights,
        text: &TextConfig,
        layer: &str,
    ) -> std::result::Result<Self, LoadError> {
        let name = |part: &str| format!("{layer}.self_attn.{part}");
        Ok(Self {
            queries: weights.linear(&name("q_proj"))?,
            keys: weights.linear(&name("k_proj"))?,
            values: weights.linear(&name("v_proj"))?,
            out: weights.linear(&name("o_proj"))?,
            query_norm: weights.rms_norm(&name("q_norm"), text.norm_eps)?,
            key_norm: weights.rms_norm(&name("k_norm"), text.norm_eps)?,
            heads: text.heads,
            kv_heads: text.kv_heads,
            head_dim: text.head_dim,
            score_scale: text.score_scale,
        })
    }

    /// `[positions, hidden]` to the same.
    pub(super) fn forward(
        &self,
        x: &Tensor,
        angles: &Angles,
        masks: &Masks,
        cache: &mut LayerCache,
    ) -> Result<Tensor> {
        let queries = self.split(&self.queries.forward(x)?, self.heads)?;
        let queries = (angles.rotate(&self.query_norm.forward(&queries)?)? * self.score_scale)?;
        let keys = self.split(&self.keys.forward(x)?, self.kv_heads)?;
        let keys = angles.rotate(&self.key_norm.forward(&keys)?)?;
        let values = self.split(&self.values.forward(x)?, self.kv_heads)?;
        let (keys, values) = cache.append(&keys, &values)?;
        self.out.forward(&self.attend(&queries, &keys, &values, masks)?)
    }

    /// `[positions, heads * head_dim]` to `[heads, positions, head_dim]`.
    fn split(&self, x: &Tensor, heads: usize) -> Result<Tensor> {
        x.reshape((x.dim(0)?, heads, self.head_dim))?.transpose(0, 1)?.contiguous()
    }

    fn attend(&self, queries: &Tensor, keys: &Tensor, values: &Tensor, masks: &Masks) -> Result<Tensor> {
        let keys = keys.t()?;
        let blocks: Vec<Tensor> = masks
            .blocks()
            .iter()
            .map(|block| {
                let rows = queries.narrow(1, block.rows.start, block.rows.len())?;
                self.attend_block(&rows, &keys, values, block.mask.as_ref())
            })
            .collect::<Result<_>>()?;
        Tensor::cat(&blocks, 0)
    }

    /// The heads of a group share keys and values: they are scored as further rows of one matrix,
    /// so that neither is ever repeated.
    fn attend_block(
        &self,
        queries: &Tensor,
        keys: &Tensor,
        values: &Tensor,
        mask: Option<&Tensor>,
    ) -> Result<Tensor> {
        let (rows, group) = (queries.dim(1)?, self.heads / self.kv_heads);
        let folded = queries.contiguous()?.reshape((self.kv_heads, group * rows, self.head_dim))?;
        let mut scores = folded.matmul(keys)?.reshape((self.heads, rows, keys.dim(2)?))?;
        if let Some(mask) = mask {
            scores = scores.broadcast_add(mask)?;
        }
        let shares = candle_nn::ops::softmax_last_dim(&scores)?.reshape((
            self.kv_heads,
            group * rows,
            keys.dim(2)?,
        ))?;
        let mixed = shares.matmul(values)?.reshape((self.heads, rows, self.head_dim))?;
        mixed.transpose(0, 1)?.contiguous()?.reshape((rows, self.heads * self.head_dim))
    }
}
