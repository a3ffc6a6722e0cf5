//! Where a model's files come from: a folder, or the program itself.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::Precision;
use super::bytes::Bytes;
use super::error::LoadError;
use super::gguf::Gguf;
use super::layout::{self, Layout};
use crate::ids::hex;

pub(super) const CONFIG: &str = "config.json";
pub(super) const TOKENIZER: &str = "tokenizer.json";
pub(super) const GENERATION: &str = "generation_config.json";
pub(super) const CARD: &str = "radiant.json";
const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// The files of one model, laid out as on the Hugging Face hub, or in GGUF.
#[derive(Debug, Clone)]
pub enum ModelFiles {
    /// A folder, or the GGUF file of the decoder in it.
    Folder(PathBuf),
    /// Name and content of each file, compiled into the program.
    Embedded(&'static [(&'static str, &'static [u8])]),
}

/// The digest of one weight file.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct FileDigest {
    pub name: String,
    pub bytes: u64,
    /// Lower-case hexadecimal.
    pub sha256: String,
}

impl ModelFiles {
    pub(super) fn read(&self, name: &str) -> Result<Cow<'static, [u8]>, LoadError> {
        match self {
            Self::Folder(folder) => {
                let path = layout::folder(folder).join(name);
                std::fs::read(&path).map(Cow::Owned).map_err(|source| LoadError::ReadFile { path, source })
            }
            Self::Embedded(_) => {
                let content = self.embedded(name).ok_or_else(|| LoadError::NotEmbedded(name.to_owned()))?;
                Ok(Cow::Borrowed(content))
            }
        }
    }

    /// The content of a weight file, not read yet.
    pub(super) fn bytes(&self, name: &str) -> Result<Bytes, LoadError> {
        match self {
            Self::Folder(folder) => {
                let path = layout::folder(folder).join(name);
                Bytes::map(&path).map_err(|source| LoadError::ReadFile { path, source })
            }
            Self::Embedded(_) => {
                let content = self.embedded(name).ok_or_else(|| LoadError::NotEmbedded(name.to_owned()))?;
                Ok(Bytes::of_program(content))
            }
        }
    }

    /// Absent is fine; present and unreadable is not.
    pub(super) fn read_if_present(&self, name: &str) -> Result<Option<Cow<'static, [u8]>>, LoadError> {
        if self.has(name) { self.read(name).map(Some) } else { Ok(None) }
    }

    /// In which form the weights are there. Where both forms are, safetensors.
    pub(super) fn layout(&self) -> Result<Layout, LoadError> {
        match self {
            Self::Folder(path) if layout::is_gguf(path) => layout::of_file(path),
            Self::Folder(folder) if !self.has(INDEX) && !self.has(WEIGHTS) => layout::of_folder(folder),
            _ => Ok(Layout::Safetensors),
        }
    }

    /// How matrices are held if the engine is started with `precision`: GGUF says it itself.
    pub(super) fn packed(&self, precision: Precision) -> Result<Precision, LoadError> {
        Ok(if self.layout()? == Layout::Safetensors { precision } else { Precision::Exact })
    }

    pub(super) fn gguf(&self, name: &str) -> Result<Gguf, LoadError> {
        Gguf::parse(name, &self.bytes(name)?)
    }

    /// Names of the weight files, sorted: one, or the shards that the index names; of GGUF the text
    /// first.
    pub(super) fn weight_names(&self) -> Result<Vec<String>, LoadError> {
        if let Layout::Gguf { text, vision } = self.layout()? {
            return Ok([text].into_iter().chain(vision).collect());
        }
        if let Some(index) = self.read_if_present(INDEX)? {
            return shards(&index);
        }
        if self.has(WEIGHTS) {
            return Ok(vec![WEIGHTS.to_owned()]);
        }
        Err(match self {
            Self::Folder(folder) => LoadError::NoWeights(folder.clone()),
            Self::Embedded(_) => LoadError::NotEmbedded(WEIGHTS.to_owned()),
        })
    }

    /// Reads every weight file once, in blocks.
    pub(super) fn digest_weights(&self) -> Result<Vec<FileDigest>, LoadError> {
        self.weight_names()?.into_iter().map(|name| self.digest(name)).collect()
    }

    pub(super) fn embedded(&self, name: &str) -> Option<&'static [u8]> {
        let Self::Embedded(files) = self else { return None };
        files.iter().find(|(known, _)| *known == name).map(|(_, content)| *content)
    }

    /// The folder's own name, for models that say nothing else about themselves.
    pub(super) fn folder_name(&self) -> Option<String> {
        let Self::Folder(folder) = self else { return None };
        let whole = folder.canonicalize().unwrap_or_else(|_| folder.clone());
        whole.file_name().map(|name| name.to_string_lossy().into_owned())
    }

    pub(super) fn has(&self, name: &str) -> bool {
        match self {
            Self::Folder(folder) => layout::folder(folder).join(name).is_file(),
            Self::Embedded(_) => self.embedded(name).is_some(),
        }
    }

    fn digest(&self, name: String) -> Result<FileDigest, LoadError> {
        match self {
            Self::Folder(folder) => {
                let path = layout::folder(folder).join(&name);
                digest_file(&path, name).map_err(|source| LoadError::ReadFile { path, source })
            }
            Self::Embedded(_) => {
                let content = self.read(&name)?;
                Ok(FileDigest {
                    name,
                    bytes: content.len() as u64,
                    sha256: hex(Sha256::digest(&content).as_slice()),
                })
            }
        }
    }
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

fn shards(index: &[u8]) -> Result<Vec<String>, LoadError> {
    let index: Index = serde_json::from_slice(index)
        .map_err(|source| LoadError::ParseJson { file: INDEX.to_owned(), source })?;
    let mut names: Vec<String> = index.weight_map.into_values().collect();
    names.sort_unstable();
    names.dedup();
    match names.iter().find(|name| Path::new(name).components().count() != 1 || name.contains("..")) {
        Some(outside) => Err(LoadError::Config {
            file: INDEX.to_owned(),
            key: "weight_map".to_owned(),
            problem: format!("names {outside}, which is not a file of the folder"),
        }),
        None => Ok(names),
    }
}

fn digest_file(path: &Path, name: String) -> std::io::Result<FileDigest> {
    let mut file = std::fs::File::open(path)?;
    let (mut hasher, mut bytes, mut block) = (Sha256::new(), 0_u64, vec![0; 1 << 20]);
    loop {
        let read = file.read(&mut block)?;
        if read == 0 {
            return Ok(FileDigest { name, bytes, sha256: hex(hasher.finalize().as_slice()) });
        }
        hasher.update(&block[..read]);
        bytes += read as u64;
    }
}

/// One digest for all weight files: of the single file, or of the list of the shards' digests.
pub(super) fn combine(digests: &[FileDigest]) -> String {
    match digests {
        [only] => only.sha256.clone(),
        many => {
            let list: String = many.iter().map(|file| format!("{}  {}\n", file.sha256, file.name)).collect();
            hex(Sha256::digest(list.as_bytes()).as_slice())
        }
    }
}
