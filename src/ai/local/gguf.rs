//! The GGUF container: typed metadata, then tensors at aligned places.
//!
//! A model is two such files: the decoder (architecture `gemma3`) with the tokenizer in its
//! metadata, and the vision tower with the projector (architecture `clip`).

use std::collections::BTreeMap;

use candle_core::quantized::GgmlDType;

use super::bytes::Bytes;
use super::error::LoadError;
use super::store::{Kind, Stored};
use metadata::{Metadata, Reader};

pub(super) mod config;
pub(super) mod metadata;
pub(super) mod names;
pub(super) mod vocabulary;
#[cfg(test)]
pub(super) mod writing;

pub(super) const TEXT: &str = "gemma3";
pub(super) const VISION: &str = "clip";
const MAGIC: &[u8] = b"GGUF";
const DIMENSIONS_MAX: u32 = 4;
const ALIGNMENT: u64 = 32;

pub(super) struct Gguf {
    pub(super) metadata: Metadata,
    pub(super) tensors: BTreeMap<String, Stored>,
}

/// What the header says about one tensor.
struct Entry {
    name: String,
    shape: Vec<usize>,
    kind: Kind,
    offset: u64,
}

impl Gguf {
    /// `file` is the name that errors use.
    pub(super) fn parse(file: &str, bytes: &Bytes) -> Result<Self, LoadError> {
        let fail = |problem: String| LoadError::Gguf { file: file.to_owned(), problem };
        let mut reader = Reader::new(bytes);
        let (tensors, entries) = header(&mut reader).map_err(fail)?;
        let metadata = Metadata::read(file, &mut reader, entries).map_err(fail)?;
        if metadata.whole("split.count")?.is_some_and(|parts| parts > 1) {
            return Err(fail("is one of several parts: join them by llama-gguf-split --merge".to_owned()));
        }
        let entries = (0..tensors).map(|_| Entry::read(&mut reader)).collect::<Result<Vec<_>, _>>();
        let start = data_start(&reader, &metadata).map_err(fail)?;
        let mut found = BTreeMap::new();
        for entry in entries.map_err(fail)? {
            let stored = entry.place(bytes, start).map_err(fail)?;
            if found.insert(entry.name.clone(), stored).is_some() {
                return Err(fail(format!("has the tensor {} twice", entry.name)));
            }
        }
        Ok(Self { metadata, tensors: found })
    }

    /// `gemma3`, `clip`, or something that is none of our business.
    pub(super) fn architecture(&self) -> Result<&str, LoadError> {
        self.metadata.text("general.architecture").map(|name| name.unwrap_or_default())
    }
}

/// Number of tensors and of metadata entries.
fn header(reader: &mut Reader<'_>) -> Result<(u64, u64), String> {
    if reader.take(MAGIC.len()) != Ok(MAGIC) {
        return Err("is no GGUF file".to_owned());
    }
    match reader.u32()? {
        2 | 3 => Ok((reader.u64()?, reader.u64()?)),
        version => Err(format!("has GGUF version {version}, not 2 or 3")),
    }
}

/// Where the tensors begin: after the header, at the next aligned place.
fn data_start(reader: &Reader<'_>, metadata: &Metadata) -> Result<u64, String> {
    let written = metadata.whole("general.alignment").map_err(|error| error.to_string())?;
    let alignment = written.map_or(ALIGNMENT, |alignment| alignment as u64);
    match alignment.is_power_of_two() {
        true => Ok((reader.position() as u64).next_multiple_of(alignment)),
        false => Err(format!("has the alignment {alignment}, no power of two")),
    }
}

impl Entry {
    fn read(reader: &mut Reader<'_>) -> Result<Self, String> {
        let name = reader.text()?;
        let dimensions = reader.u32()?;
        if dimensions > DIMENSIONS_MAX {
            return Err(format!("has a tensor {name} of {dimensions} dimensions"));
        }
        // the file counts from the innermost dimension outwards
        let mut shape = (0..dimensions)
            .map(|_| usize::try_from(reader.u64()?).map_err(|error| error.to_string()))
            .collect::<Result<Vec<_>, _>>()?;
        shape.reverse();
        Ok(Self { name, shape, kind: kind(reader.u32()?), offset: reader.u64()? })
    }

    fn place(&self, bytes: &Bytes, start: u64) -> Result<Stored, String> {
        let outside = || format!("ends before the tensor {}", self.name);
        let first = start.checked_add(self.offset).and_then(|first| usize::try_from(first).ok());
        let first = first.ok_or_else(outside)?;
        let length = self.length()?;
        let end = first.checked_add(length).ok_or_else(outside)?;
        let part = bytes.part(first..end).ok_or_else(outside)?;
        Ok(Stored {
            name: self.name.clone(),
            kind: self.kind.clone(),
            shape: self.shape.clone(),
            bytes: part,
        })
    }

    /// In bytes; of a type that is not known, nothing.
    fn length(&self) -> Result<usize, String> {
        let Kind::Ggml(kind) = &self.kind else { return Ok(0) };
        let (block, row) = (kind.block_size(), self.shape.last().copied().unwrap_or(1));
        if !row.is_multiple_of(block) {
            return Err(format!("has rows of {row} values in blocks of {block} in the tensor {}", self.name));
        }
        let values = self.shape.iter().try_fold(1_usize, |product, &side| product.checked_mul(side));
        let length = values.and_then(|values| (values / block).checked_mul(kind.type_size()));
        length.ok_or_else(|| format!("has a tensor {} of impossible size", self.name))
    }
}

/// ggml's numbers of types; those that the engine computes with, and the names of the others.
fn kind(number: u32) -> Kind {
    let known = match number {
        0 => GgmlDType::F32,
        1 => GgmlDType::F16,
        2 => GgmlDType::Q4_0,
        3 => GgmlDType::Q4_1,
        6 => GgmlDType::Q5_0,
        7 => GgmlDType::Q5_1,
        8 => GgmlDType::Q8_0,
        10 => GgmlDType::Q2K,
        11 => GgmlDType::Q3K,
        12 => GgmlDType::Q4K,
        13 => GgmlDType::Q5K,
        14 => GgmlDType::Q6K,
        30 => GgmlDType::BF16,
        other => return Kind::Foreign(foreign(other)),
    };
    Kind::Ggml(known)
}

fn foreign(number: u32) -> String {
    let name = match number {
        9 => "Q8_1",
        15 => "Q8_K",
        16 => "IQ2_XXS",
        17 => "IQ2_XS",
        18 => "IQ3_XXS",
        19 => "IQ1_S",
        20 => "IQ4_NL",
        21 => "IQ3_S",
        22 => "IQ2_S",
        23 => "IQ4_XS",
        24 => "I8",
        25 => "I16",
        26 => "I32",
        27 => "I64",
        28 => "F64",
        29 => "IQ1_M",
        34 => "TQ1_0",
        35 => "TQ2_0",
        39 => "MXFP4",
        other => return format!("the ggml type {other}"),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(bytes: Vec<u8>) -> Result<Gguf, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        Gguf::parse("m.gguf", &Bytes::map(file.path()).unwrap()).map_err(|error| error.to_string())
    }

    fn text(text: &str) -> Vec<u8> {
        [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
    }

    /// A file with one tensor `t` of `shape`, innermost dimension first, and `data` bytes of it.
    fn file(kind: u32, shape: &[u64], data: usize) -> Vec<u8> {
        let mut file = [MAGIC, &3_u32.to_le_bytes(), &1_u64.to_le_bytes(), &1_u64.to_le_bytes()].concat();
        file.extend([text("general.architecture"), 8_u32.to_le_bytes().to_vec(), text("gemma3")].concat());
        file.extend([text("t"), (shape.len() as u32).to_le_bytes().to_vec()].concat());
        file.extend(shape.iter().flat_map(|side| side.to_le_bytes()));
        file.extend([kind.to_le_bytes().to_vec(), 0_u64.to_le_bytes().to_vec()].concat());
        file.resize(file.len().next_multiple_of(32) + data, 7);
        file
    }

    #[test]
    fn a_tensor_is_found_with_its_shape_type_and_bytes() {
        let gguf = parse(file(8, &[64, 3], 3 * 68)).unwrap();
        assert_eq!(gguf.architecture().unwrap(), "gemma3");
        let tensor = &gguf.tensors["t"];
        assert_eq!(
            (tensor.shape.as_slice(), tensor.kind.to_string()),
            ([3, 64].as_slice(), "Q8_0".to_owned())
        );
        assert_eq!(&tensor.bytes[..], [7; 204]);
    }

    #[test]
    fn what_the_engine_cannot_compute_keeps_its_name() {
        let gguf = parse(file(20, &[64, 3], 0)).unwrap();
        assert_eq!(gguf.tensors["t"].kind.to_string(), "IQ4_NL");
    }

    #[test]
    fn broken_files_are_refused_by_what_is_wrong() {
        let refusal = |bytes| parse(bytes).err().unwrap();
        assert!(refusal(b"GGML".to_vec()).contains("no GGUF file"));
        assert!(refusal(file(8, &[64, 3], 203)).contains("ends before the tensor t"));
        assert!(refusal(file(8, &[48, 3], 999)).contains("rows of 48 values in blocks of 32"));
        assert!(refusal(file(0, &[1 << 40, 1 << 40], 9)).contains("impossible size"));
        assert!(refusal(file(0, &[1; 5], 4)).contains("5 dimensions"));
    }

    /// Every prefix of a file is an error and never a panic.
    #[test]
    fn a_file_that_was_cut_is_refused_wherever_it_was_cut() {
        let whole = file(8, &[64, 3], 204);
        for length in 0..whole.len() {
            assert!(parse(whole[..length].to_vec()).is_err(), "{length} bytes");
        }
    }
}
