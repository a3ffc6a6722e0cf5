//! How the layers come from a model's files, and an image's rows into them.

use candle_core::Tensor;
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::super::super::config::VisionConfig;
use super::super::super::error::LoadError;
use super::super::super::kernels::{Format, Shape, Stored};
use super::super::super::tensors;
use super::super::super::weights::Weights;
use super::{Affine, Blocked, Layer, Norm};
use crate::ai::EngineError;

impl<F: Format> Blocked<F> {
    pub(in super::super) fn load(
        format: F,
        weights: &Weights,
        config: &VisionConfig,
        threads: usize,
    ) -> Result<Self, LoadError> {
        let layers = (0..config.layers)
            .map(|layer| Layer::load(&format, weights, config, &tensors::vision_layer(layer)))
            .collect::<Result<_, _>>()?;
        let (patches, heads, width) = (config.side().pow(2), config.heads, config.hidden / config.heads);
        let shape = Shape { patches, heads, width };
        Ok(Self { format, layers, shape, intermediate: config.intermediate, pool: pool(threads)? })
    }

    /// `[patches, hidden]`. `between_layers` may stop it.
    pub(in super::super) fn encode(
        &self,
        x: &Tensor,
        between_layers: &mut dyn FnMut() -> Result<(), EngineError>,
    ) -> Result<Tensor, EngineError> {
        let mut rows = x.flatten_all()?.to_vec1()?;
        self.run(&mut rows, between_layers)?;
        Ok(Tensor::from_vec(rows, x.shape(), x.device())?)
    }
}

impl<F: Format> Layer<F> {
    fn load(format: &F, weights: &Weights, config: &VisionConfig, layer: &str) -> Result<Self, LoadError> {
        let norm = |part: &str| Norm::load(weights, &format!("{layer}.{part}"), config.norm_eps);
        let affine = |part: &str| Affine::load(format, weights, &format!("{layer}.{part}"));
        Ok(Self {
            norm1: norm("layer_norm1")?,
            queries: affine("self_attn.q_proj")?,
            keys: affine("self_attn.k_proj")?,
            values: affine("self_attn.v_proj")?,
            out: affine("self_attn.out_proj")?,
            norm2: norm("layer_norm2")?,
            up: affine("mlp.fc1")?,
            down: affine("mlp.fc2")?,
        })
    }
}

impl Norm {
    fn load(weights: &Weights, name: &str, eps: f64) -> Result<Self, LoadError> {
        let numbers = |part: &str| numbers(weights, &format!("{name}.{part}"));
        Ok(Self { weight: numbers("weight")?, bias: numbers("bias")?, eps: eps as f32 })
    }
}

impl<F: Format> Affine<F> {
    fn load(format: &F, weights: &Weights, name: &str) -> Result<Self, LoadError> {
        let bias = numbers(weights, &format!("{name}.bias"))?;
        let stored = Stored::narrowest(numbers(weights, &format!("{name}.weight"))?);
        Ok(Self { matrix: format.matrix(stored, bias.len()), bias })
    }
}

fn numbers(weights: &Weights, name: &str) -> Result<Vec<f32>, LoadError> {
    let flat = weights.get(name)?.flatten_all().and_then(|tensor| tensor.to_vec1());
    flat.map_err(|error| LoadError::Tensor { tensor: name.to_owned(), problem: error.to_string() })
}

/// Threads of the tower alone: they sleep between images, and what they configure of the processor
/// concerns nobody else.
fn pool(threads: usize) -> Result<ThreadPool, LoadError> {
    let available = std::thread::available_parallelism().map_or(1, |count| count.get());
    let threads = if threads == 0 { available.saturating_sub(1).max(1) } else { threads };
    ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|n| format!("vision-{n}"))
        .build()
        .map_err(|error| LoadError::VisionThreads(error.to_string()))
}
