//! The tensors of a model's files: name, shape, type and bytes, none of them read yet.

use std::collections::BTreeMap;
use std::fmt;

use candle_core::quantized::GgmlDType;
use candle_core::safetensors::SliceSafetensors;
use candle_core::{Device, Result, Tensor, bail};
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use super::bytes::Bytes;
use super::error::LoadError;
use super::files::ModelFiles;
use super::gguf;
use super::layout::Layout;
use super::norm::NormForm;
use super::quantised;
use super::tensors;

pub(super) struct Store {
    /// By canonical name; what has none keeps its own.
    pub(super) tensors: BTreeMap<String, Stored>,
    pub(super) norms: NormForm,
}

#[derive(Clone)]
pub(super) struct Stored {
    /// In the file.
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) shape: Vec<usize>,
    pub(super) bytes: Bytes,
}

/// How the values of a tensor are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// What the engine computes with.
    Ggml(GgmlDType),
    /// What it does not, by the name the format has for it.
    Foreign(String),
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Self::Foreign(name) => return f.write_str(name),
            Self::Ggml(kind) => kind,
        };
        match kind {
            GgmlDType::Q2K => f.write_str("Q2_K"),
            GgmlDType::Q3K => f.write_str("Q3_K"),
            GgmlDType::Q4K => f.write_str("Q4_K"),
            GgmlDType::Q5K => f.write_str("Q5_K"),
            GgmlDType::Q6K => f.write_str("Q6_K"),
            kind => write!(f, "{kind:?}"),
        }
    }
}

impl Stored {
    /// The whole tensor in f32 on the device. The file's pages are given back.
    pub(super) fn load(&self, device: &Device) -> Result<Tensor> {
        let values = match &self.kind {
            Kind::Ggml(GgmlDType::F32) => self.values(f32::from_le_bytes),
            Kind::Ggml(GgmlDType::F16) => self.widened(f16::from_le_bytes)?,
            Kind::Ggml(GgmlDType::BF16) => self.widened(bf16::from_le_bytes)?,
            Kind::Ggml(kind) => return quantised::expand(&self.bytes, *kind, &self.shape, device),
            Kind::Foreign(name) => bail!("holds {name}, which is not supported"),
        };
        self.bytes.release();
        Tensor::from_vec(values, self.shape.as_slice(), device)
    }

    fn values<T, const N: usize>(&self, read: fn([u8; N]) -> T) -> Vec<T> {
        self.bytes.as_chunks().0.iter().copied().map(read).collect()
    }

    fn widened<T>(&self, read: fn([u8; 2]) -> T) -> Result<Vec<f32>>
    where
        [T]: HalfFloatSliceExt,
    {
        let narrow = self.values(read);
        let mut wide = vec![0.0; narrow.len()];
        narrow.convert_to_f32_slice(&mut wide);
        Ok(wide)
    }
}

/// Every tensor of the files.
pub(super) fn open(files: &ModelFiles) -> std::result::Result<Store, LoadError> {
    let mut store = match files.layout()? {
        Layout::Safetensors => Store { tensors: BTreeMap::new(), norms: NormForm::DistanceFromOne },
        Layout::Gguf { .. } => Store { tensors: BTreeMap::new(), norms: NormForm::Scale },
    };
    for name in files.weight_names()? {
        match store.norms {
            NormForm::DistanceFromOne => {
                for stored in safetensors(&name, &files.bytes(&name)?)? {
                    store.add(tensors::canonical(&stored.name), stored)?;
                }
            }
            NormForm::Scale => {
                for (canonical, stored) in gguf::names::canonical(files.gguf(&name)?) {
                    store.add(canonical, stored)?;
                }
            }
        }
    }
    Ok(store)
}

impl Store {
    fn add(&mut self, canonical: String, stored: Stored) -> std::result::Result<(), LoadError> {
        match self.tensors.insert(canonical, stored) {
            None => Ok(()),
            Some(other) => Err(LoadError::Tensor {
                tensor: other.name,
                problem: "is there twice, in two files or under two names".to_owned(),
            }),
        }
    }

    /// Types without vector instructions, and how many tensors hold them.
    pub(super) fn slow_kinds(&self) -> BTreeMap<String, usize> {
        let mut slow = BTreeMap::new();
        for stored in self.tensors.values() {
            if matches!(stored.kind, Kind::Ggml(GgmlDType::Q4_1 | GgmlDType::Q5_0 | GgmlDType::Q5_1)) {
                *slow.entry(stored.kind.to_string()).or_default() += 1;
            }
        }
        slow
    }
}

fn safetensors(file: &str, bytes: &Bytes) -> std::result::Result<Vec<Stored>, LoadError> {
    let fail = |problem: String| LoadError::Safetensors { file: file.to_owned(), problem };
    let parsed = SliceSafetensors::new(bytes).map_err(|error| fail(error.to_string()))?;
    let mut found = Vec::new();
    for (name, view) in parsed.tensors() {
        // the parser gives out slices of what it was given
        let range = bytes.range_of(view.data());
        let part = range.and_then(|range| bytes.part(range)).ok_or_else(|| fail(name.clone()))?;
        let kind = safetensors_kind(&format!("{:?}", view.dtype()));
        found.push(Stored { name, kind, shape: view.shape().to_vec(), bytes: part });
    }
    Ok(found)
}

fn safetensors_kind(name: &str) -> Kind {
    match name {
        "F32" => Kind::Ggml(GgmlDType::F32),
        "F16" => Kind::Ggml(GgmlDType::F16),
        "BF16" => Kind::Ggml(GgmlDType::BF16),
        other => Kind::Foreign(other.to_owned()),
    }
}
