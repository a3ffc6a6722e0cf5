//! The numbers of a model, for whoever computes the same with another program.
//!
//! A vision tower is not needed for it; where one is there it is loaded, so that the memory told
//! is that of the engine.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::Precision;
use super::blocks::ImageBlocks;
use super::cache::Cache;
use super::config::{ModelConfig, TextConfig};
use super::decoder::Decoder;
use super::error::LoadError;
use super::files::ModelFiles;
use super::gguf;
use super::layout::Layout;
use super::projector::Projector;
use super::tokens;
use super::vision::{VisionOptions, VisionTower};
use super::weights::Weights;
use crate::ai::EngineError;

/// Tokens that are read in one pass.
const CHUNK: usize = 128;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Question {
    /// To be cut into tokens.
    pub texts: Vec<String>,
    /// To be read by the decoder.
    pub ids: Vec<u32>,
    /// Tokens to write after them, the best one each time.
    pub greedy: usize,
    /// Where logits go: f32, little endian, a row per position.
    pub logits: Option<PathBuf>,
    /// The place in `ids` of the first row.
    pub logits_from: usize,
}

#[derive(Debug, Default, Serialize)]
pub struct Findings {
    pub tokens: Vec<Vec<u32>>,
    pub greedy: Vec<u32>,
    pub vocabulary: usize,
    pub after_loading: Resident,
    pub at_the_end: Resident,
}

/// Of this process, in bytes; zero where the system does not tell.
#[derive(Debug, Default, Clone, Copy, Serialize)]
pub struct Resident {
    pub own: u64,
    /// Pages of mapped files, which the system may take back at any time.
    pub mapped: u64,
    pub peak: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error("the forward pass fails")]
    Forward(#[from] EngineError),
    #[error("cannot write the logits to {}", path.display())]
    Write { path: PathBuf, source: std::io::Error },
}

/// Answers what it can of the question: without `ids` no weights are loaded.
pub fn probe(path: &Path, question: &Question) -> Result<Findings, ProbeError> {
    let files = ModelFiles::Folder(path.to_owned());
    let mut findings = Findings { tokens: tokenised(&files, &question.texts)?, ..Findings::default() };
    if question.ids.is_empty() {
        return Ok(findings);
    }
    let subject = Subject::load(&files)?;
    findings.vocabulary = subject.text.vocabulary;
    findings.after_loading = Resident::now();
    let mut cache = subject.decoder.new_cache();
    let last = subject.read(question, &mut cache)?;
    findings.greedy = subject.write(last, &mut cache, question.greedy)?;
    findings.at_the_end = Resident::now();
    Ok(findings)
}

fn tokenised(files: &ModelFiles, texts: &[String]) -> Result<Vec<Vec<u32>>, LoadError> {
    if texts.is_empty() {
        return Ok(Vec::new());
    }
    let tokenizer = tokens::tokenizer(files)?;
    let ids = texts.iter().map(|text| tokenizer.encode_fast(text.as_str(), false));
    ids.map(|encoding| match encoding {
        Ok(encoding) => Ok(encoding.get_ids().to_vec()),
        Err(error) => Err(LoadError::Tokenizer(error.to_string())),
    })
    .collect()
}

struct Subject {
    text: TextConfig,
    decoder: Decoder,
    /// Only to be there.
    _tower: Option<(VisionTower, Projector)>,
}

impl Subject {
    fn load(files: &ModelFiles) -> Result<Self, LoadError> {
        if let Layout::Gguf { text, vision: None } = files.layout()? {
            let text = gguf::config::text_config(&files.gguf(&text)?)?;
            let weights = Weights::open_text(files, &text, &Device::Cpu)?;
            return Ok(Self { decoder: Decoder::load(&weights, &text)?, text, _tower: None });
        }
        let config = ModelConfig::load(files)?;
        let weights = Weights::open(files, &config, &Device::Cpu, Precision::Exact)?;
        let tower = (
            VisionTower::load(&weights, &config, &VisionOptions::default())?,
            Projector::load(&weights, &config)?,
        );
        let decoder = Decoder::load(&weights, &config.text)?;
        Ok(Self { decoder, text: config.text, _tower: Some(tower) })
    }

    /// The logits after the last token; those after the tokens that are asked for go into the file.
    fn read(&self, question: &Question, cache: &mut Cache) -> Result<Vec<f32>, ProbeError> {
        let Some(path) = &question.logits else { return Ok(self.read_last(&question.ids, cache)?) };
        let (early, told) = question.ids.split_at(question.logits_from.min(question.ids.len()));
        let (mut file, mut last) = (Rows::create(path)?, self.read_last(early, cache)?);
        for chunk in told.chunks(CHUNK) {
            let hidden = self.forward(chunk, cache)?;
            for logits in self.logits_of_all(&hidden).map_err(EngineError::from)? {
                last = logits;
                file.add(&last)?;
            }
        }
        file.finish()?;
        Ok(last)
    }

    /// The logits after the last of the tokens; none after none.
    fn read_last(&self, ids: &[u32], cache: &mut Cache) -> Result<Vec<f32>, EngineError> {
        let mut last = None;
        for chunk in ids.chunks(CHUNK) {
            last = Some((self.forward(chunk, cache)?, chunk.len() - 1));
        }
        last.map_or(Ok(Vec::new()), |(hidden, row)| self.logits(&hidden, row))
    }

    fn write(&self, mut logits: Vec<f32>, cache: &mut Cache, count: usize) -> Result<Vec<u32>, EngineError> {
        let mut written = Vec::with_capacity(count);
        while written.len() < count {
            let best = (0_u32..).zip(&logits).max_by(|(_, one), (_, other)| one.total_cmp(other));
            let Some((best, _)) = best else { break };
            written.push(best);
            logits = self.logits(&self.forward(&[best], cache)?, 0)?;
        }
        Ok(written)
    }

    fn forward(&self, ids: &[u32], cache: &mut Cache) -> Result<Tensor, EngineError> {
        let no_images = ImageBlocks::find(&[], u32::MAX);
        self.decoder.forward(&self.decoder.embed(ids)?, &no_images, cache, &mut |_, _| Ok(()))
    }

    fn logits_of_all(&self, hidden: &Tensor) -> candle_core::Result<Vec<Vec<f32>>> {
        let rows: Vec<Tensor> =
            (0..hidden.dim(0)?).map(|row| hidden.narrow(0, row, 1)).collect::<Result<_, _>>()?;
        self.decoder.logits_each(&rows)?.iter().map(|row| row.to_vec1()).collect()
    }

    fn logits(&self, hidden: &Tensor, row: usize) -> Result<Vec<f32>, EngineError> {
        Ok(self.decoder.logits(&hidden.narrow(0, row, 1)?)?.to_vec1()?)
    }
}

/// A file of rows of numbers.
struct Rows {
    path: PathBuf,
    file: BufWriter<File>,
}

impl Rows {
    fn create(path: &Path) -> Result<Self, ProbeError> {
        let file =
            File::create(path).map_err(|source| ProbeError::Write { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), file: BufWriter::new(file) })
    }

    fn add(&mut self, row: &[f32]) -> Result<(), ProbeError> {
        let mut bytes = vec![0; size_of_val(row)];
        for (place, value) in bytes.chunks_exact_mut(size_of::<f32>()).zip(row) {
            place.copy_from_slice(&value.to_le_bytes());
        }
        self.file.write_all(&bytes).map_err(|source| ProbeError::Write { path: self.path.clone(), source })
    }

    fn finish(mut self) -> Result<(), ProbeError> {
        self.file.flush().map_err(|source| ProbeError::Write { path: self.path, source })
    }
}

impl Resident {
    fn now() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let bytes = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key));
            let kilobytes = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
            kilobytes.unwrap_or(0) * 1024
        };
        Self { own: bytes("RssAnon:"), mapped: bytes("RssFile:"), peak: bytes("VmHWM:") }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn tokens_and_logits_are_told_without_an_engine() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let question = Question {
            texts: vec!["a b".to_owned(), String::new()],
            ids: vec![2, 30, 31, 32],
            greedy: 3,
            logits: Some(file.path().to_owned()),
            logits_from: 1,
        };
        let findings = probe(&fixture::folder(), &question).unwrap();
        assert_eq!((findings.tokens.len(), findings.greedy.len()), (2, 3));
        assert_eq!(std::fs::metadata(file.path()).unwrap().len(), 3 * 4 * findings.vocabulary as u64);
    }
}
