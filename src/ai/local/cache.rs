//! The keys and values of past positions.
//!
//! A sliding layer keeps the positions its next query can see and little more; a global layer grows
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

/// What a layer holds of a sequence: `[kv heads, room, head_dim]` each, of which the rows from
/// `first`'s on are filled.
pub(super) struct Held {
    pub(super) keys: Tensor,
    pub(super) values: Tensor,
    /// The position whose key and value are row 0.
    pub(super) first: usize,
}

/// A sliding layer no longer holds what the query after the cut would see.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the sliding layers have forgotten what position {0} sees")]
pub(super) struct Forgotten(pub(super) usize);

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

    /// The same past once more, with memory of its own: rows are written in place, so a plain
    /// clone of the tensors would share them.
    pub(super) fn fork(&self) -> Result<Self> {
        let layers = self.layers.iter().map(LayerCache::fork).collect::<Result<_>>()?;
        Ok(Self { layers, positions: self.positions })
    }

    /// Forgets all positions from `positions` on, also where a pass failed in some layer. Global layers
    /// can always; a sliding layer only as long as it still holds the window before the cut, which after
    /// the next pass is never sure: where this fails, nothing is changed.
    pub(super) fn truncate(&mut self, positions: usize) -> std::result::Result<(), Forgotten> {
        let held = self.layers.iter().all(|layer| layer.keys.reaches(positions));
        if positions > self.positions || !held {
            return Err(Forgotten(positions));
        }
        for layer in &mut self.layers {
            layer.keys.used = positions - layer.keys.first;
            layer.values.used = positions - layer.values.first;
        }
        self.positions = positions;
        Ok(())
    }

    /// What keys and values take.
    pub(super) fn bytes(&self) -> usize {
        self.layers.iter().map(|layer| layer.keys.bytes() + layer.values.bytes()).sum()
    }

    #[cfg(test)]
    pub(super) fn rows_held(&self, layer: usize) -> usize {
        self.layers[layer].keys.store.as_ref().map_or(0, |store| store.dims()[1])
    }
}

impl LayerCache {
    /// Adds a chunk, `[kv heads, positions, head_dim]` each, and returns all that its queries may
    /// see, the chunk included.
    pub(super) fn append(&mut self, keys: &Tensor, values: &Tensor) -> Result<Held> {
        Ok(Held {
            keys: self.keys.append(keys)?,
            values: self.values.append(values)?,
            first: self.keys.first,
        })
    }

    fn fork(&self) -> Result<Self> {
        Ok(Self { keys: self.keys.fork()?, values: self.values.fork()? })
    }
}

struct Rows {
    /// Past rows that the next query may need.
    keep: usize,
    store: Option<Tensor>,
    /// The position in row 0.
    first: usize,
    used: usize,
}

impl Rows {
    fn new(span: Span, text: &TextConfig) -> Self {
        let keep = match span {
            Span::Sliding => text.window - 1,
            Span::Global => usize::MAX,
        };
        Self { keep, store: None, first: 0, used: 0 }
    }

    fn append(&mut self, new: &Tensor) -> Result<Tensor> {
        let count = new.dim(1)?;
        let store = self.with_room(count, new)?;
        store.slice_set(&new.contiguous()?, 1, self.used)?;
        self.used += count;
        Ok(store)
    }

    /// Whether the query at `position` would find all that it may see.
    fn reaches(&self, position: usize) -> bool {
        self.first <= position.saturating_sub(self.keep)
    }

    fn fork(&self) -> Result<Self> {
        let store = self.store.as_ref().map(Tensor::copy).transpose()?;
        Ok(Self { store, ..*self })
    }

    fn bytes(&self) -> usize {
        self.store.as_ref().map_or(0, |store| store.elem_count() * store.dtype().size_in_bytes())
    }

    /// The store, or a larger one that starts with the rows still needed. Nothing is lost where there
    /// is no memory for it.
    fn with_room(&mut self, count: usize, like: &Tensor) -> Result<Tensor> {
        match &self.store {
            Some(store) if self.used + count <= store.dim(1)? => Ok(store.clone()),
            _ => self.moved(count, like),
        }
    }

    /// A bounded store gets as much slack as it holds rows, so that moving costs little per token.
    fn moved(&mut self, count: usize, like: &Tensor) -> Result<Tensor> {
        let (heads, _, width) = like.dims3()?;
        let past = self.used.min(self.keep);
        let slack = if self.keep == usize::MAX { STEP.max(self.used / 4) } else { STEP.min(self.keep) };
        let store = Tensor::zeros((heads, past + count + slack, width), like.dtype(), like.device())?;
        if let Some(old) = self.store.as_ref().filter(|_| past > 0) {
            store.slice_set(&old.narrow(1, self.used - past, past)?.contiguous()?, 1, 0)?;
        }
        self.first += self.used - past;
        self.used = past;
        self.store = Some(store.clone());
        Ok(store)
    }
}
