//! Tensors by canonical name, from memory-mapped files or from bytes inside the program.

use std::collections::BTreeMap;

use candle_core::safetensors::{MmapedSafetensors, SliceSafetensors};
use candle_core::{DType, Device, Tensor};
use candle_nn::LayerNorm;

use super::Precision;
use super::config::ModelConfig;
use super::error::LoadError;
use super::files::ModelFiles;
use super::linear::Linear;
use super::norm::RmsNorm;
use super::tensors::{self, Shapes};

pub(super) struct Weights {
    source: Source,
    /// Canonical name → name in the file.
    names: BTreeMap<String, String>,
    expected: Shapes,
    device: Device,
    precision: Precision,
}

/// What a file says about one tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) shape: Vec<usize>,
    pub(super) dtype: String,
}

enum Source {
    Mapped(MmapedSafetensors),
    Embedded(SliceSafetensors<'static>),
}

impl Weights {
    pub(super) fn open(
        files: &ModelFiles,
        config: &ModelConfig,
        device: &Device,
        precision: Precision,
    ) -> Result<Self, LoadError> {
        let source = Source::open(files)?;
        let mut names = BTreeMap::new();
        for name in source.headers().into_keys() {
            if let Some(other) = names.insert(tensors::canonical(&name), name) {
                return Err(LoadError::Tensor {
                    tensor: other,
                    problem: "is there twice, under two names".to_owned(),
                });
            }
        }
        Ok(Self { source, names, expected: tensors::expected(config), device: device.clone(), precision })
    }

    /// The tensor as f32 on the device. Its shape must be the one the configuration asks for.
    pub(super) fn get(&self, name: &str) -> Result<Tensor, LoadError> {
        self.stored(name)?.to_dtype(DType::F32).map_err(|error| fault(name, error))
    }

    /// As [`Weights::get`], in the data type of the file.
    pub(super) fn stored(&self, name: &str) -> Result<Tensor, LoadError> {
        let fail = |problem: String| LoadError::Tensor { tensor: name.to_owned(), problem };
        let stored = self.names.get(name).ok_or_else(|| fail("is missing".to_owned()))?;
        let tensor = self.source.load(stored, &self.device).map_err(|error| fail(error.to_string()))?;
        match self.expected.get(name) {
            Some(shape) if tensor.dims() == shape => {}
            Some(shape) => {
                return Err(fail(format!(
                    "has shape {:?}, the configuration asks for {shape:?}",
                    tensor.dims()
                )));
            }
            None => return Err(fail("is not part of this architecture".to_owned())),
        }
        if !matches!(tensor.dtype(), DType::F32 | DType::F16 | DType::BF16) {
            return Err(fail(format!("holds {:?}, not f32, f16 or bf16", tensor.dtype())));
        }
        Ok(tensor)
    }

    /// A matrix of the decoder, in the precision the engine was started with.
    pub(super) fn linear(&self, name: &str) -> Result<Linear, LoadError> {
        let name = format!("{name}.weight");
        self.pack(&name, &self.stored(&name)?)
    }

    pub(super) fn pack(&self, name: &str, weight: &Tensor) -> Result<Linear, LoadError> {
        let exact = weight.to_dtype(DType::F32).map_err(|error| fault(name, error))?;
        Linear::new(exact, self.precision).map_err(|error| fault(name, error))
    }

    pub(super) fn affine(&self, name: &str) -> Result<candle_nn::Linear, LoadError> {
        let bias = self.get(&format!("{name}.bias"))?;
        Ok(candle_nn::Linear::new(self.get(&format!("{name}.weight"))?, Some(bias)))
    }

    pub(super) fn layer_norm(&self, name: &str, eps: f64) -> Result<LayerNorm, LoadError> {
        let bias = self.get(&format!("{name}.bias"))?;
        Ok(LayerNorm::new(self.get(&format!("{name}.weight"))?, bias, eps))
    }

    pub(super) fn rms_norm(&self, name: &str, eps: f64) -> Result<RmsNorm, LoadError> {
        let weight = self.get(&format!("{name}.weight"))?;
        RmsNorm::new(&weight, eps).map_err(|error| fault(name, error))
    }
}

/// Every tensor of the files, by the name the files use.
pub(super) fn headers(files: &ModelFiles) -> Result<BTreeMap<String, Header>, LoadError> {
    Ok(Source::open(files)?.headers())
}

fn fault(tensor: &str, error: candle_core::Error) -> LoadError {
    LoadError::Tensor { tensor: tensor.to_owned(), problem: error.to_string() }
}

impl Source {
    fn open(files: &ModelFiles) -> Result<Self, LoadError> {
        let names = files.weight_names()?;
        let fail = |error: candle_core::Error| LoadError::Safetensors {
            file: names.join(", "),
            problem: error.to_string(),
        };
        match files {
            ModelFiles::Folder(folder) => {
                let paths: Vec<_> = names.iter().map(|name| folder.join(name)).collect();
                map(&paths).map(Self::Mapped).map_err(fail)
            }
            // A model inside the program is small: it is one file.
            ModelFiles::Embedded(_) => {
                let [name] = names.as_slice() else {
                    return Err(LoadError::NotEmbedded("model.safetensors".to_owned()));
                };
                let bytes = files.embedded(name).ok_or_else(|| LoadError::NotEmbedded(name.clone()))?;
                SliceSafetensors::new(bytes).map(Self::Embedded).map_err(fail)
            }
        }
    }

    fn load(&self, name: &str, device: &Device) -> candle_core::Result<Tensor> {
        match self {
            Self::Mapped(tensors) => tensors.load(name, device),
            Self::Embedded(tensors) => tensors.load(name, device),
        }
    }

    fn headers(&self) -> BTreeMap<String, Header> {
        let tensors = match self {
            Self::Mapped(tensors) => tensors.tensors(),
            Self::Embedded(tensors) => tensors.tensors(),
        };
        tensors
            .into_iter()
            .map(|(name, view)| {
                (name, Header { shape: view.shape().to_vec(), dtype: format!("{:?}", view.dtype()) })
            })
            .collect()
    }
}

#[expect(unsafe_code, reason = "the safe loader would hold gigabytes of weights in memory twice")]
fn map(paths: &[std::path::PathBuf]) -> candle_core::Result<MmapedSafetensors> {
    // SAFETY: the mapping is read while the model is loaded and dropped afterwards; a model folder
    // that somebody rewrites in that time is outside what this program can defend against.
    unsafe { MmapedSafetensors::multi(paths) }
}
