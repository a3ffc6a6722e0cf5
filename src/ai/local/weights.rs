//! Tensors by canonical name, in the form the parts of the model want them.

use candle_core::{Device, Tensor};
use candle_nn::LayerNorm;

use super::Precision;
use super::config::{ModelConfig, TextConfig};
use super::error::LoadError;
use super::files::ModelFiles;
use super::linear::{Embeddings, Linear};
use super::norm::{NormForm, RmsNorm};
use super::store::{self, Kind, Store, Stored};
use super::tensors::{self, EMBEDDINGS, OUTPUT, Shapes};

pub(super) struct Weights {
    store: Store,
    expected: Shapes,
    device: Device,
    precision: Precision,
}

impl Weights {
    pub(super) fn open(
        files: &ModelFiles,
        config: &ModelConfig,
        device: &Device,
        precision: Precision,
    ) -> Result<Self, LoadError> {
        Self::with(files, tensors::expected(config), device, precision)
    }

    /// Of a decoder whose vision tower is not needed, or not there.
    pub(super) fn open_text(
        files: &ModelFiles,
        config: &TextConfig,
        device: &Device,
    ) -> Result<Self, LoadError> {
        Self::with(files, tensors::expected_text(config), device, Precision::Exact)
    }

    fn with(
        files: &ModelFiles,
        expected: Shapes,
        device: &Device,
        precision: Precision,
    ) -> Result<Self, LoadError> {
        let store = store::open(files)?;
        for (kind, tensors) in store.slow_kinds() {
            tracing::warn!(kind, tensors, "weights of this type are computed without vector instructions");
        }
        Ok(Self { store, expected, device: device.clone(), precision: files.packed(precision)? })
    }

    /// The tensor as f32 on the device. Its shape must be the one the configuration asks for.
    pub(super) fn get(&self, name: &str) -> Result<Tensor, LoadError> {
        self.stored(name)?.load(&self.device).map_err(|error| fault(name, error))
    }

    /// A matrix of the decoder: from the file, or packed where the engine was started so.
    pub(super) fn linear(&self, name: &str) -> Result<Linear, LoadError> {
        let name = format!("{name}.weight");
        Linear::new(self.stored(&name)?, self.precision, &self.device).map_err(|error| fault(&name, error))
    }

    pub(super) fn embeddings(&self) -> Result<Embeddings, LoadError> {
        let table = self.stored(EMBEDDINGS)?;
        let embeddings = match self.store.tensors.get(OUTPUT).filter(|_| self.store.norms == NormForm::Scale)
        {
            Some(_) => Embeddings::apart(table, self.stored(OUTPUT)?, &self.device),
            None => Embeddings::new(table, self.precision, &self.device),
        };
        embeddings.map_err(|error| fault(EMBEDDINGS, error))
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
        RmsNorm::new(&weight, self.store.norms, eps).map_err(|error| fault(name, error))
    }

    fn stored(&self, name: &str) -> Result<&Stored, LoadError> {
        let fail = |problem: String| LoadError::Tensor { tensor: name.to_owned(), problem };
        let stored = self.store.tensors.get(name).ok_or_else(|| fail("is missing".to_owned()))?;
        match self.expected.get(if name == OUTPUT { EMBEDDINGS } else { name }) {
            Some(shape) if *shape == stored.shape => {}
            Some(shape) => {
                return Err(fail(format!(
                    "has shape {:?}, the configuration asks for {shape:?}",
                    stored.shape
                )));
            }
            None => return Err(fail("is not part of this architecture".to_owned())),
        }
        match &stored.kind {
            Kind::Ggml(_) => Ok(stored),
            Kind::Foreign(kind) => Err(fail(format!("holds {kind}, which the engine does not compute with"))),
        }
    }
}

fn fault(tensor: &str, error: candle_core::Error) -> LoadError {
    LoadError::Tensor { tensor: tensor.to_owned(), problem: error.to_string() }
}
