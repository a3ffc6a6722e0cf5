//! In which form a folder holds a model.

use std::ffi::OsStr;
use std::path::Path;

use super::bytes::Bytes;
use super::error::LoadError;
use super::gguf::{self, Gguf};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Layout {
    /// `config.json`, `tokenizer.json`, and one file of weights or shards with an index.
    Safetensors,
    /// One file with the decoder and the tokenizer, one with the vision tower and the projector.
    Gguf { text: String, vision: Option<String> },
}

pub(super) fn is_gguf(path: &Path) -> bool {
    path.extension() == Some(OsStr::new("gguf")) && path.is_file()
}

/// The folder of a model: it is given itself, or by its GGUF file.
pub(super) fn folder(path: &Path) -> &Path {
    if is_gguf(path) { path.parent().unwrap_or(path) } else { path }
}

/// Where the decoder is named, only the vision tower has to be found beside it.
pub(super) fn of_file(path: &Path) -> Result<Layout, LoadError> {
    let text = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    Ok(Layout::Gguf { text, vision: only(folder(path), gguf::VISION)? })
}

/// A folder without GGUF files is taken for one of the other form, whose errors then apply.
pub(super) fn of_folder(folder: &Path) -> Result<Layout, LoadError> {
    match only(folder, gguf::TEXT)? {
        Some(text) => Ok(Layout::Gguf { text, vision: only(folder, gguf::VISION)? }),
        None => Ok(Layout::Safetensors),
    }
}

/// The one file of a folder with this architecture.
fn only(folder: &Path, architecture: &str) -> Result<Option<String>, LoadError> {
    let mut found = Vec::new();
    for name in gguf_names(folder)? {
        let bytes = Bytes::map(&folder.join(&name))
            .map_err(|source| LoadError::ReadFile { path: folder.join(&name), source })?;
        if Gguf::parse(&name, &bytes)?.architecture()? == architecture {
            found.push(name);
        }
    }
    match found.len() {
        0 | 1 => Ok(found.pop()),
        _ => Err(LoadError::SeveralModels { folder: folder.to_owned(), names: found }),
    }
}

fn gguf_names(folder: &Path) -> Result<Vec<String>, LoadError> {
    let unreadable = |source| LoadError::ReadFile { path: folder.to_owned(), source };
    // a folder that is not there is told of by the file that is wanted from it
    let Ok(entries) = folder.read_dir() else { return Ok(Vec::new()) };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(unreadable)?;
        if is_gguf(&entry.path()) {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort_unstable();
    Ok(names)
}
