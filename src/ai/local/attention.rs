//! Grouped-query self-attention of the decoder.

use std::ops::Range;

use candle_core::{Device, Result, Tensor};

use super::attend::{self, Heads, Past};
use super::cache::{Held, LayerCache};
use super::config::TextConfig;
use super::error::LoadError;
use super::kernels::Tiles;
use super::linear::Linear;
use super::mask::Sight;
use super::norm::RmsNorm;
use super::rope::Angles;
use super::slices::with_slice;
use super::weights::Weights;

/// Rows of queries that are scored at a time where attention is not ours but candle's.
const QUERY_ROWS: usize = 128;

pub(super) struct Attention {
    queries: Linear,
    keys: Linear,
    values: Linear,
    out: Linear,
    query_norm: RmsNorm,
    key_norm: RmsNorm,
    heads: Heads,
    score_scale: f64,
    /// Where the matrices are rounded already, scores may be, too.
    tiles: Option<Tiles>,
}

/// The rows of a pass that continue one sequence, and what they see of it in this layer.
pub(super) struct Reader<'a> {
    pub(super) rows: Range<usize>,
    pub(super) sight: &'a Sight,
    pub(super) cache: &'a mut LayerCache,
}

impl Attention {
    pub(super) fn load(
        weights: &Weights,
        text: &TextConfig,
        layer: &str,
    ) -> std::result::Result<Self, LoadError> {
        let name = |part: &str| format!("{layer}.self_attn.{part}");
        let queries = weights.linear(&name("q_proj"))?;
        Ok(Self {
            tiles: queries.is_quantised().then(Tiles::request).flatten(),
            queries,
            keys: weights.linear(&name("k_proj"))?,
            values: weights.linear(&name("v_proj"))?,
            out: weights.linear(&name("o_proj"))?,
            query_norm: weights.rms_norm(&name("q_norm"), text.norm_eps)?,
            key_norm: weights.rms_norm(&name("k_norm"), text.norm_eps)?,
            heads: Heads { queries: text.heads, keys: text.kv_heads, width: text.head_dim },
            score_scale: text.score_scale,
        })
    }

    /// `[rows, hidden]` to the same. The matrices take the rows of all sequences at once; each
    /// sequence then looks at its own past.
    pub(super) fn forward<'a>(
        &self,
        x: &Tensor,
        angles: &Angles,
        readers: impl Iterator<Item = Reader<'a>>,
    ) -> Result<Tensor> {
        let queries = self.split(&self.queries.forward(x)?, self.heads.queries)?;
        let queries = (angles.rotate(&self.query_norm.forward(&queries)?)? * self.score_scale)?;
        let keys = self.split(&self.keys.forward(x)?, self.heads.keys)?;
        let keys = angles.rotate(&self.key_norm.forward(&keys)?)?;
        let values = self.split(&self.values.forward(x)?, self.heads.keys)?;
        let mixed = readers.map(|reader| {
            let own = |x: &Tensor| x.narrow(0, reader.rows.start, reader.rows.len());
            let held = reader.cache.append(&heads_first(&own(&keys)?)?, &heads_first(&own(&values)?)?)?;
            self.attend(&own(&queries)?, &held, reader.sight)
        });
        let mixed = Tensor::cat(&mixed.collect::<Result<Vec<_>>>()?, 0)?;
        self.out.forward(&mixed)
    }

    /// `[rows, heads * head_dim]` to `[rows, heads, head_dim]`.
    fn split(&self, x: &Tensor, heads: usize) -> Result<Tensor> {
        x.reshape((x.dim(0)?, heads, self.heads.width))
    }

    fn attend(&self, queries: &Tensor, held: &Held, sight: &Sight) -> Result<Tensor> {
        match queries.device() {
            Device::Cpu => self.attend_here(queries, held, sight),
            _ => self.attend_there(queries, held, sight),
        }
    }

    fn attend_here(&self, queries: &Tensor, held: &Held, sight: &Sight) -> Result<Tensor> {
        let mixed = with_slice(queries, |queries| {
            with_slice(&held.keys, |keys| {
                with_slice(&held.values, |values| {
                    let past = Past { keys, values, room: held.keys.dim(1)?, first: held.first };
                    Ok(attend::attend(queries, &past, sight, self.heads, self.tiles))
                })
            })
        })?;
        Tensor::from_vec(mixed, (sight.rows(), self.heads.queries * self.heads.width), &Device::Cpu)
    }

    /// On any other device, by candle's operations: in blocks of queries, each over what it sees.
    fn attend_there(&self, queries: &Tensor, held: &Held, sight: &Sight) -> Result<Tensor> {
        let rows = sight.rows();
        let blocks = (0..rows).step_by(QUERY_ROWS).map(|start| start..rows.min(start + QUERY_ROWS));
        let mixed = blocks.map(|block| self.attend_block(queries, held, sight, block));
        Tensor::cat(&mixed.collect::<Result<Vec<_>>>()?, 0)
    }

    /// The heads of a group share keys and values: they are scored as further rows of one matrix,
    /// so that neither is ever repeated.
    fn attend_block(
        &self,
        queries: &Tensor,
        held: &Held,
        sight: &Sight,
        block: Range<usize>,
    ) -> Result<Tensor> {
        let Heads { queries: heads, keys: kv_heads, width } = self.heads;
        let (seen, rows) = (sight.union(block.clone()), block.len());
        let visible = |x: &Tensor| x.narrow(1, seen.start - held.first, seen.len())?.contiguous();
        let queries = heads_first(&queries.narrow(0, block.start, rows)?)?.contiguous()?;
        let folded = queries.reshape((kv_heads, heads / kv_heads * rows, width))?;
        let scores = folded.matmul(&visible(&held.keys)?.t()?)?.reshape((heads, rows, seen.len()))?;
        let scores = scores.broadcast_add(&mask(sight, block, &seen, queries.device())?)?;
        let shares = candle_nn::ops::softmax_last_dim(&scores)?;
        let shares = shares.reshape((kv_heads, heads / kv_heads * rows, seen.len()))?;
        let mixed = shares.matmul(&visible(&held.values)?)?.reshape((heads, rows, width))?;
        mixed.transpose(0, 1)?.contiguous()?.reshape((rows, heads * width))
    }
}

/// `[rows, heads, head_dim]` to `[heads, rows, head_dim]`, as the cache holds it.
fn heads_first(x: &Tensor) -> Result<Tensor> {
    x.transpose(0, 1)
}

/// 0 or minus infinity for one block of queries, `[rows, keys]`.
fn mask(sight: &Sight, block: Range<usize>, keys: &Range<usize>, device: &Device) -> Result<Tensor> {
    let rows = block.len();
    let share = |seen: bool| if seen { 0.0_f32 } else { f32::NEG_INFINITY };
    let values = block.flat_map(|row| {
        let seen = sight.of(row);
        keys.clone().map(move |key| share(seen.contains(&key)))
    });
    Tensor::from_vec(values.collect(), (rows, keys.len()), device)
}

#[cfg(test)]
mod tests {
    use super::super::blocks::ImageBlocks;
    use super::super::config::Span;
    use super::super::fixture;
    use super::super::mask::Sight;
    use super::super::weights::Weights;
    use super::super::{Precision, cache::Cache};
    use super::*;

    /// All ways to attend, over a long past, for a chunk with an image and for one row.
    #[test]
    fn attention_in_blocks_is_attention_by_matrices() {
        let config = fixture::config();
        let weights = Weights::open(&fixture::files(), &config, &Device::Cpu, Precision::Exact).unwrap();
        let mut attention = Attention::load(&weights, &config.text, "language_model.model.layers.0").unwrap();
        let Heads { queries: heads, keys: kv_heads, width } = attention.heads;
        let random = |heads, rows| Tensor::randn(0_f32, 1.0, (rows, heads, width), &Device::Cpu).unwrap();
        let images = ImageBlocks::find(&[vec![0; 700], vec![8; 90], vec![0; 30]].concat(), 8);
        for layer in [0, 5] {
            let span = config.text.layers[layer];
            let mut cache = Cache::new(&config.text);
            for rows in [600, 210, 1, 3] {
                let positions = cache.advance(rows);
                let sight = Sight::new(span, &config.text, &positions, &images);
                let keys = heads_first(&random(kv_heads, rows)).unwrap();
                let held = cache.layer(layer).append(&keys, &keys).unwrap();
                let queries = (random(heads, rows) * 0.3).unwrap();
                let there = attention.attend_there(&queries, &held, &sight).unwrap();
                for (tiles, tolerance) in [(None, 1e-5), (Tiles::request(), 3e-2)] {
                    attention.tiles = tiles;
                    let here = attention.attend_here(&queries, &held, &sight).unwrap();
                    let distance = (here - &there).unwrap().abs().unwrap().flatten_all().unwrap();
                    let distance = distance.max(0).unwrap().to_scalar::<f32>().unwrap();
                    assert!(distance < tolerance, "{span:?}, {rows} rows, {tiles:?}: {distance:e}");
                }
            }
        }
        assert_eq!(config.text.layers[5], Span::Global);
    }
}
