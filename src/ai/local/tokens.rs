//! The tokenizer: text to ids once per prompt, ids to bytes per answer.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Deserialize;
use tokenizers::Tokenizer;

use super::config::{ModelConfig, TokenList};
use super::error::LoadError;
use super::files::{GENERATION, ModelFiles, TOKENIZER};
use super::gguf;
use super::layout::Layout;
use super::template::Markers;
use crate::ai::EngineError;

/// How SentencePiece-style vocabularies write a space.
pub(super) const SPACE: &str = "\u{2581}";
/// Tokens that end an answer of Gemma, whatever the configuration says.
const ENDS: [&str; 2] = ["<eos>", "<end_of_turn>"];

pub(super) struct Tokens {
    tokenizer: Arc<Tokenizer>,
    /// Bytes of each row of the model's vocabulary.
    entries: Vec<Entry>,
    /// Ascending, never empty.
    stops: Vec<u32>,
    markers: Markers,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Entry {
    Text(Vec<u8>),
    /// A control token; it is never part of an answer's text.
    Special(String),
    /// A row of the model beyond the tokenizer's entries.
    Padding,
}

impl Tokens {
    pub(super) fn load(files: &ModelFiles, config: &ModelConfig) -> Result<Self, LoadError> {
        let tokenizer = tokenizer(files)?;
        let rows = config.text.vocabulary.max(config.image_token as usize + 1);
        let entries = entries(&tokenizer, rows)?;
        let markers = Markers::find(&entries, config)?;
        let stops = stops(&tokenizer, config, generation_stops(files)?)?;
        Ok(Self { tokenizer: Arc::new(tokenizer), entries, stops, markers })
    }

    /// The ids of a whole prompt; it already holds its `<bos>`.
    pub(super) fn encode(&self, prompt: &str) -> Result<Vec<u32>, EngineError> {
        match self.tokenizer.encode_fast(prompt, false) {
            Ok(encoding) => Ok(encoding.get_ids().to_vec()),
            Err(error) => Err(EngineError::Forward(format!("the prompt cannot be tokenised: {error}"))),
        }
    }

    /// The bytes of an answer; control tokens have none.
    pub(super) fn bytes(&self, ids: &[u32]) -> Vec<u8> {
        let text = |id: &u32| match self.entries.get(*id as usize) {
            Some(Entry::Text(bytes)) => Some(bytes.as_slice()),
            _ => None,
        };
        ids.iter().filter_map(text).flatten().copied().collect()
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(super) fn stops(&self) -> &[u32] {
        &self.stops
    }

    pub(super) fn markers(&self) -> &Markers {
        &self.markers
    }

    /// A handle for the constraint, which tokenises the text it forces.
    pub(super) fn tokenizer(&self) -> Arc<Tokenizer> {
        Arc::clone(&self.tokenizer)
    }
}

/// From `tokenizer.json`, or else from the GGUF file that has it in its metadata.
pub(super) fn tokenizer(files: &ModelFiles) -> Result<Tokenizer, LoadError> {
    match files.layout()? {
        Layout::Gguf { text, .. } if !files.has(TOKENIZER) => {
            gguf::vocabulary::tokenizer(&files.gguf(&text)?)
        }
        _ => Tokenizer::from_bytes(files.read(TOKENIZER)?)
            .map_err(|error| LoadError::Tokenizer(error.to_string())),
    }
}

fn entries(tokenizer: &Tokenizer, vocabulary: usize) -> Result<Vec<Entry>, LoadError> {
    let special: BTreeSet<u32> = tokenizer
        .get_added_tokens_decoder()
        .iter()
        .filter(|(_, token)| token.special || is_reserved(&token.content))
        .map(|(id, _)| *id)
        .collect();
    let last = tokenizer.get_vocab(true).into_values().max().unwrap_or(0);
    if last as usize >= vocabulary {
        return Err(LoadError::Tokenizer(format!("has an entry {last}, the model only {vocabulary} rows")));
    }
    let entry = |id: u32| match tokenizer.id_to_token(id) {
        None => Entry::Padding,
        Some(name) if special.contains(&id) => Entry::Special(name),
        Some(name) => Entry::Text(
            byte_fallback(&name).map_or_else(|| name.replace(SPACE, " ").into_bytes(), |byte| vec![byte]),
        ),
    };
    Ok((0..vocabulary as u32).map(entry).collect())
}

/// Entries without a meaning in text that Gemma's tokenizer does not mark as special.
fn is_reserved(name: &str) -> bool {
    name.starts_with("<unused") || matches!(name, "<mask>" | "[multimodal]")
}

/// `<0x0A>` stands for the byte 0AH.
fn byte_fallback(name: &str) -> Option<u8> {
    let digits = name.strip_prefix("<0x")?.strip_suffix('>')?;
    (digits.len() == 2).then(|| u8::from_str_radix(digits, 16).ok()).flatten()
}

#[derive(Deserialize)]
struct Generation {
    eos_token_id: Option<TokenList>,
}

fn generation_stops(files: &ModelFiles) -> Result<Vec<u32>, LoadError> {
    let Some(json) = files.read_if_present(GENERATION)? else { return Ok(Vec::new()) };
    let generation: Generation = serde_json::from_slice(&json)
        .map_err(|source| LoadError::ParseJson { file: GENERATION.to_owned(), source })?;
    Ok(generation.eos_token_id.map_or_else(Vec::new, TokenList::into_vec))
}

fn stops(tokenizer: &Tokenizer, config: &ModelConfig, generation: Vec<u32>) -> Result<Vec<u32>, LoadError> {
    let named = ENDS.iter().filter_map(|name| tokenizer.token_to_id(name));
    let stops: BTreeSet<u32> = config.stops.iter().copied().chain(generation).chain(named).collect();
    match stops.last() {
        Some(&last) if (last as usize) < config.text.vocabulary => Ok(stops.into_iter().collect()),
        Some(last) => Err(LoadError::Tokenizer(format!("the stop token {last} is outside the vocabulary"))),
        None => Err(LoadError::Tokenizer("no stop token is known".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn bytes_of_entries_are_text_and_control_tokens_have_none() {
        let tokens = fixture::tokens();
        let ids = tokens.encode("<bos>a é\n\nb").unwrap();
        assert_eq!(tokens.bytes(&ids), "a é\n\nb".as_bytes());
        assert_eq!(tokens.entries()[4], Entry::Special("<start_of_turn>".to_owned()));
        assert_eq!(tokens.entries()[511], Entry::Padding);
    }

    #[test]
    fn stops_come_from_all_three_files() {
        assert_eq!(fixture::tokens().stops(), [1, 5]);
    }

    #[test]
    fn reserved_entries_are_no_text() {
        assert!(is_reserved("<unused94>") && is_reserved("<mask>"));
        assert!(!is_reserved("<table>") && !is_reserved("\n\n"));
    }

    #[test]
    fn only_two_hexadecimal_digits_are_a_byte() {
        assert_eq!(byte_fallback("<0xE2>"), Some(0xE2));
        assert_eq!(byte_fallback("<0xE>"), None);
        assert_eq!(byte_fallback("<0xZZ>"), None);
    }
}
