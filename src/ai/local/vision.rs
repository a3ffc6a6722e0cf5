//! The SigLIP vision tower: one square image in, one feature row per patch out.

use std::fmt;

use candle_core::{Device, Result, Tensor};
use candle_nn::{LayerNorm, Linear, Module};

use super::config::{ModelConfig, VisionConfig};
use super::error::LoadError;
use super::kernels::{Exact, Format, Lanes, Rounded};
use super::tensors::{PATCHES, POSITIONS, POST_NORM};
use super::weights::Weights;
use crate::ai::EngineError;
use crate::config::{KernelChoice, VisionPrecision};
use blocked::Blocked;

mod blocked;
mod plain;
#[cfg(test)]
mod tests;

/// Multiplications of one layer beyond which the kernels of our own are used: what unoptimised
/// builds and tests of small models run stays in candle's, which are always optimised.
const LARGE: usize = 1 << 30;

/// How images are encoded, beside what the model says.
#[derive(Debug, Clone, Default)]
pub struct VisionOptions {
    pub precision: VisionPrecision,
    pub kernels: KernelChoice,
    /// 0: one fewer than the processor has, so that the server stays responsive.
    pub threads: usize,
}

pub(super) struct VisionTower {
    patches: Linear,
    positions: Tensor,
    layers: Layers,
    post_norm: LayerNorm,
    config: VisionConfig,
    /// What computes it.
    pub(super) kernels: String,
}

enum Layers {
    Plain(Vec<plain::Layer>),
    Exact(Blocked<Exact>),
    Rounded(Blocked<Rounded>),
}

/// Which layers a tower gets.
enum Plan {
    Plain,
    Exact(Exact),
    Rounded(Rounded),
}

impl Plan {
    fn choose(
        options: &VisionOptions,
        config: &VisionConfig,
        device: &Device,
    ) -> std::result::Result<Self, LoadError> {
        let (lanes, tiles) = match options.kernels {
            KernelChoice::Auto => (Lanes::detect(), Rounded::new(Lanes::detect())),
            KernelChoice::Baseline => (Lanes::BASELINE, None),
        };
        let large = device.is_cpu() && config.layer_products() >= LARGE;
        Ok(match (options.precision, tiles) {
            (VisionPrecision::Bf16, Some(rounded)) if device.is_cpu() => Self::Rounded(rounded),
            (VisionPrecision::Bf16, _) => return Err(LoadError::NoTiles),
            (VisionPrecision::Auto, Some(rounded)) if large => Self::Rounded(rounded),
            _ if large => Self::Exact(Exact(lanes)),
            _ => Self::Plain,
        })
    }
}

impl VisionTower {
    pub(super) fn load(
        weights: &Weights,
        config: &ModelConfig,
        options: &VisionOptions,
    ) -> std::result::Result<Self, LoadError> {
        let plan = Plan::choose(options, &config.vision, weights.get(POSITIONS)?.device())?;
        Self::with(plan, weights, &config.vision, options.threads)
    }

    fn with(
        plan: Plan,
        weights: &Weights,
        config: &VisionConfig,
        threads: usize,
    ) -> std::result::Result<Self, LoadError> {
        Ok(Self {
            kernels: plan.to_string(),
            patches: patch_matrix(weights, config)?,
            positions: weights.get(POSITIONS)?,
            layers: Layers::load(plan, weights, config, threads)?,
            post_norm: weights.layer_norm(POST_NORM, config.norm_eps)?,
            config: config.clone(),
        })
    }

    /// `[3, side, side]` normalised pixels to `[patches, hidden]`. `between_layers` may stop it.
    pub(super) fn encode(
        &self,
        pixels: &Tensor,
        between_layers: &mut dyn FnMut() -> std::result::Result<(), EngineError>,
    ) -> std::result::Result<Tensor, EngineError> {
        let x = self.embed(pixels)?;
        let x = match &self.layers {
            Layers::Plain(layers) => plain::run(layers, x, between_layers)?,
            Layers::Exact(layers) => layers.encode(&x, between_layers)?,
            Layers::Rounded(layers) => layers.encode(&x, between_layers)?,
        };
        Ok(self.post_norm.forward(&x)?)
    }

    /// Whether features are those of bf16: results have to say so.
    pub(super) fn is_rounded(&self) -> bool {
        matches!(self.layers, Layers::Rounded(_))
    }

    /// A convolution whose windows do not overlap is one matrix product over unfolded patches.
    fn embed(&self, pixels: &Tensor) -> Result<Tensor> {
        let (side, patch) = (self.config.side(), self.config.patch_size);
        let windows = pixels.reshape((3, side, patch, side, patch))?.permute((1, 3, 0, 2, 4))?;
        let rows = windows.reshape((side * side, 3 * patch * patch))?;
        self.patches.forward(&rows)? + &self.positions
    }
}

impl Layers {
    fn load(
        plan: Plan,
        weights: &Weights,
        config: &VisionConfig,
        threads: usize,
    ) -> std::result::Result<Self, LoadError> {
        Ok(match plan {
            Plan::Plain => Self::Plain(plain::load(weights, config)?),
            Plan::Exact(format) => Self::Exact(Blocked::load(format, weights, config, threads)?),
            Plan::Rounded(format) => Self::Rounded(Blocked::load(format, weights, config, threads)?),
        })
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain => f.write_str("vision f32"),
            Self::Exact(format) => write!(f, "vision f32 {}", format.lanes().name()),
            Self::Rounded(format) => write!(f, "vision bf16 amx-bf16+{}", format.lanes().name()),
        }
    }
}

/// What would compute in a tower of these sizes, were it loaded by the default settings.
pub(super) fn intended(config: &VisionConfig) -> String {
    let plan = Plan::choose(&VisionOptions::default(), config, &Device::Cpu);
    plan.map_or_else(|error| error.to_string(), |plan| plan.to_string())
}

fn patch_matrix(weights: &Weights, config: &VisionConfig) -> std::result::Result<Linear, LoadError> {
    let name = format!("{PATCHES}.weight");
    let kernel = weights.get(&name)?;
    let flat = kernel
        .reshape((config.hidden, 3 * config.patch_size * config.patch_size))
        .map_err(|error| LoadError::Tensor { tensor: name, problem: error.to_string() })?;
    Ok(Linear::new(flat, Some(weights.get(&format!("{PATCHES}.bias"))?)))
}
