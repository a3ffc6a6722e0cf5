//! Rotary position embedding, half-rotation form, always in f32.
//!
//! Angles are made for the positions of a pass when it comes: a table for the whole context
//! would be hundreds of megabytes.

use candle_core::{Device, Result, Tensor};

use super::config::{Rope, TextConfig};

/// Cosines and sines, `[positions, head_dim / 2]` each.
pub(super) struct Angles {
    cos: Tensor,
    sin: Tensor,
}

impl Angles {
    pub(super) fn new(rope: Rope, text: &TextConfig, positions: &[usize], device: &Device) -> Result<Self> {
        let frequencies = frequencies(rope, text.head_dim);
        let angles: Vec<f32> = positions
            .iter()
            .flat_map(|&position| frequencies.iter().map(move |frequency| position as f32 * frequency))
            .collect();
        let angles = Tensor::from_vec(angles, (positions.len(), text.head_dim / 2), device)?;
        Ok(Self { cos: angles.cos()?, sin: angles.sin()? })
    }

    /// Rotates `[positions, heads, head_dim]`.
    pub(super) fn rotate(&self, x: &Tensor) -> Result<Tensor> {
        candle_nn::rotary_emb::rope_thd(&x.unsqueeze(0)?.contiguous()?, &self.cos, &self.sin)?.squeeze(0)
    }
}

fn frequencies(rope: Rope, head_dim: usize) -> Vec<f32> {
    let frequency = |pair: usize| 1.0 / rope.base.powf(2.0 * pair as f64 / head_dim as f64);
    (0..head_dim / 2).map(|pair| (frequency(pair) as f32) / rope.factor as f32).collect()
}
