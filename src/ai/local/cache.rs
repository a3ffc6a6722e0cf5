//! The keys and values of past positions.
//!
//! A sliding layer keeps the positions its next query can see and no more; a global layer grows
//! with what has been read, never with the context that would be possible.

use std::ops::Range;

use candle_core::{Result, Tensor};

use super::config::{Span, TextConfig};

/// Room is made in steps of this many positions.
const STEP: usize = 256;

pub(super) struct Cache {
    layers: Vec<LayerCache>,
    positions: usize,
}

pub(super) struct LayerCache {
    keys: Rows,
    values: Rows,
}

impl Cache {
    pub(super) fn new(text: &TextConfig) -> Self {
        let layer = |span: &Span| LayerCache { keys: Rows::new(*span, text), values: Rows::new(*span, text) };
        Self { layers: text.layers.iter().map(layer).collect(), positions: 0 }
    }

    /// Positions read so far.
    pub(super) fn positions(&self) -> usize {
        self.positions
    }

    pub(super) fn advance(&mut self, by: usize) -> Range<usize> {
        let start = self.positions;
        self.positions += by;
        start..self.positions
    }

    pub(super) fn layer(&mut self, layer: usize) -> &mut LayerCache {
        &mut self.layers[layer]
    }

    #[cfg(test)]
    pub(super) fn rows_held(&self, layer: usize) -> usize {
        self.layers[layer].keys.store.as_ref().map_or(0, |store| store.dims()[1])
    }
}

impl LayerCache {
    /// Adds a chunk, `[kv heads, positions, head_dim]` each, and returns all that its queries may
    /// see, the chunk included.
    pub(super) fn append(&mut self, keys: &Tensor, values: &Tensor) -> Result<(Tensor, Tensor)> {
        Ok((self.keys.append(keys)?, self.values.append(values)?))
    }
}

struct Rows {
    /// Past rows that the next query may need.
    keep: usize,
    store: Option<Tensor>,
    used: usize,
}

impl Rows {
    fn new(span: Span, text: &TextConfig) -> Self {
        let keep = match span {
            Span::Sliding => text.window - 1,
            Span::Global => usize::MAX,
        };
        Self { keep, store: None, used: 0 }
    }

    fn append(&mut self, new: &Tensor) -> Result<Tensor> {
        let count = new.dim(1)?;
        let store = self.with_room(count, new)?;
        store.slice_set(&new.contiguous()?, 1, self.used)?;
        let past = self.used.min(self.keep);
        let visible = store.narrow(1, self.used - past, past + count)?;
        self.used += count;
        self.store = Some(store);
        Ok(visible)
    }

    /// The store, or a larger one that starts with the rows still needed.
    fn with_room(&mut self, count: usize, like: &Tensor) -> Result<Tensor> {
        match self.store.take() {
            Some(store) if self.used + count <= store.dim(1)? => Ok(store),
            old => self.moved(old, count, like),
        }
    }

    /// A bounded store gets as much slack as it holds rows, so that moving costs little per token.
    fn moved(&mut self, old: Option<Tensor>, count: usize, like: &Tensor) -> Result<Tensor> {
        let (heads, _, width) = like.dims3()?;
        let past = self.used.min(self.keep);
        let slack = if self.keep == usize::MAX { STEP.max(self.used / 2) } else { STEP.min(self.keep) };
        let store = Tensor::zeros((heads, past + count + slack, width), like.dtype(), like.device())?;
        if let Some(old) = old.filter(|_| past > 0) {
            store.slice_set(&old.narrow(1, self.used - past, past)?.contiguous()?, 1, 0)?;
        }
        self.used = past;
        Ok(store)
    }
}
