//! What a model folder holds, for `radiant model check`.

use std::collections::BTreeMap;
use std::path::Path;

use super::config::{ModelConfig, Span};
use super::error::LoadError;
use super::files::{FileDigest, ModelFiles};
use super::identity;
use super::kernels;
use super::store::{self, Kind, Store, Stored};
use super::tensors;
use super::tokens::Tokens;
use super::vision;
use crate::ai::ModelIdentity;

/// The contents of a folder, held against its own configuration.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Inspection {
    pub identity: ModelIdentity,
    pub shape: Shape,
    /// What would compute it here, by the default settings.
    pub kernels: String,
    pub files: Vec<FileDigest>,
    /// Number of elements of all tensors that are used.
    pub parameters: u64,
    /// Data type → number of tensors.
    pub dtypes: BTreeMap<String, usize>,
    /// Tensors the architecture needs and the files lack.
    pub missing: Vec<String>,
    /// Tensors in the files that nothing uses; harmless.
    pub unused: Vec<String>,
    /// What costs time and does no harm, one sentence each.
    pub warnings: Vec<String>,
    /// What is there and wrong, one sentence each.
    pub faults: Vec<String>,
}

/// The figures that tell one model size from another.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Shape {
    pub layers: usize,
    pub global_layers: usize,
    pub hidden: usize,
    pub vocabulary: usize,
    pub context: usize,
    pub image_size: usize,
    pub image_tokens: usize,
    pub stop_tokens: Vec<u32>,
}

impl Inspection {
    /// Whether the engine would load it.
    pub fn is_loadable(&self) -> bool {
        self.missing.is_empty() && self.faults.is_empty()
    }
}

/// Reads configuration, tokenizer and tensor headers, and digests the weights; loads nothing.
///
/// Errors where a file cannot be read or understood; what is merely wrong in it is listed.
pub fn inspect(folder: &Path) -> Result<Inspection, LoadError> {
    let files = ModelFiles::Folder(folder.to_owned());
    let config = ModelConfig::load(&files)?;
    let tokens = Tokens::load(&files, &config)?;
    let found = Found::sort(store::open(&files)?, &config);
    let digests = files.digest_weights()?;
    Ok(Inspection {
        kernels: kernels::describe(&vision::intended(&config.vision)),
        identity: identity::identify(&files, &config, &digests)?,
        shape: Shape::of(&config, tokens.stops()),
        files: digests,
        parameters: found.parameters,
        dtypes: found.dtypes,
        missing: found.missing,
        unused: found.unused,
        warnings: found.warnings,
        faults: found.faults,
    })
}

impl Shape {
    fn of(config: &ModelConfig, stops: &[u32]) -> Self {
        Self {
            layers: config.text.layers.len(),
            global_layers: config.text.layers.iter().filter(|&&span| span == Span::Global).count(),
            hidden: config.text.hidden,
            vocabulary: config.text.vocabulary,
            context: config.text.context,
            image_size: config.vision.image_size,
            image_tokens: config.image_tokens,
            stop_tokens: stops.to_vec(),
        }
    }
}

#[derive(Default)]
struct Found {
    parameters: u64,
    dtypes: BTreeMap<String, usize>,
    missing: Vec<String>,
    unused: Vec<String>,
    warnings: Vec<String>,
    faults: Vec<String>,
}

impl Found {
    fn sort(store: Store, config: &ModelConfig) -> Self {
        let mut wanted = tensors::expected(config);
        let mut found = Self::default();
        for (kind, tensors) in store.slow_kinds() {
            found.warnings.push(format!("{tensors} tensors of {kind}, which has no fast kernel"));
        }
        for (canonical, stored) in store.tensors {
            match wanted.remove(&canonical) {
                Some(shape) => found.add(&stored, &shape),
                None if tensors::is_tied_copy(&canonical) => {}
                None => found.unused.push(stored.name),
            }
        }
        found.missing = wanted.into_keys().collect();
        found
    }

    fn add(&mut self, stored: &Stored, shape: &[usize]) {
        let name = &stored.name;
        self.parameters += stored.shape.iter().map(|&side| side as u64).product::<u64>();
        *self.dtypes.entry(stored.kind.to_string()).or_default() += 1;
        if stored.shape != shape {
            self.faults
                .push(format!("{name} has shape {:?}, the configuration asks for {shape:?}", stored.shape));
        }
        if let Kind::Foreign(kind) = &stored.kind {
            self.faults.push(format!("{name} holds {kind}, which the engine does not compute with"));
        }
    }
}
