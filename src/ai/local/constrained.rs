//! Answers that satisfy a JSON schema: which tokens may come next, and which must.
//!
//! The JSON is compact and its keys stand in the schema's order.

use std::sync::Arc;

use llguidance::api::TopLevelGrammar;
use llguidance::{Matcher, ParserFactory};
use serde::de::IgnoredAny;
use serde_json::Value;
use tokenizers::Tokenizer;
use toktrie::{SimpleVob, TokEnv, TokRxInfo, TokTrie, TokenId, TokenizerEnv};

use super::error::LoadError;
use super::tokens::{Entry, Tokens};
use crate::ai::{EngineError, Form};

/// What all constraints over one vocabulary share; made once per model.
pub(super) struct Grammar {
    factory: ParserFactory,
    words: Arc<SimpleVob>,
}

impl Grammar {
    pub(super) fn new(tokens: &Tokens) -> Result<Self, LoadError> {
        let env: TokEnv = Arc::new(Vocabulary::new(tokens));
        let mut factory =
            ParserFactory::new_simple(&env).map_err(|error| LoadError::Grammar(format!("{error:#}")))?;
        factory.quiet();
        Ok(Self { factory, words: Arc::new(words(tokens)) })
    }

    pub(super) fn constraint(&self, form: &Form) -> Result<Constraint, EngineError> {
        match form {
            Form::Text => Ok(Constraint::Words(Arc::clone(&self.words))),
            Form::Json(schema) => self.json(schema),
        }
    }

    fn json(&self, schema: &str) -> Result<Constraint, EngineError> {
        let mut schema: Value =
            serde_json::from_str(schema).map_err(|error| EngineError::Constraint(error.to_string()))?;
        let Some(keys) = schema.as_object_mut() else {
            return Err(EngineError::Constraint("the schema is not a JSON object".to_owned()));
        };
        keys.insert("x-guidance".to_owned(), options());
        let matcher = Matcher::new(self.factory.create_parser(TopLevelGrammar::from_json_schema(schema)));
        match matcher.get_error() {
            Some(error) => Err(EngineError::Constraint(error)),
            None => Ok(Constraint::Json(Box::new(matcher))),
        }
    }
}

/// Everything that is text, and the tokens that end a turn.
fn words(tokens: &Tokens) -> SimpleVob {
    let mut words = SimpleVob::alloc(tokens.entries().len());
    let text = tokens.entries().iter().enumerate().filter(|(_, entry)| matches!(entry, Entry::Text(_)));
    text.for_each(|(id, _)| words.allow_token(id as u32));
    tokens.stops().iter().for_each(|&stop| words.allow_token(stop));
    words
}

/// No white space between tokens of JSON, and of the escapes only those that text needs: a model
/// could otherwise write control characters, which neither DICOM text nor PDF may hold.
fn options() -> Value {
    serde_json::json!({ "whitespace_flexible": false, "json_allowed_escapes": "nrt\"\\" })
}

/// The state of one answer.
pub(super) enum Constraint {
    Words(Arc<SimpleVob>),
    Json(Box<Matcher>),
}

impl Constraint {
    /// The tokens that may come next. Of JSON, only a complete answer allows a stop token.
    pub(super) fn allowed(&mut self) -> Result<SimpleVob, EngineError> {
        match self {
            Self::Words(words) => Ok(SimpleVob::clone(words)),
            Self::Json(matcher) => matcher.compute_mask_or_eos().map_err(broken),
        }
    }

    pub(super) fn accept(&mut self, token: u32) -> Result<(), EngineError> {
        match self {
            Self::Words(_) => Ok(()),
            Self::Json(matcher) => matcher.consume_token(token).map_err(broken),
        }
    }

    /// Accepts and returns the tokens that have no alternative.
    pub(super) fn forced(&mut self) -> Result<Vec<u32>, EngineError> {
        match self {
            Self::Json(matcher) if !matcher.is_stopped() => {
                let tokens = matcher.compute_ff_tokens();
                matcher.consume_tokens(&tokens).map_err(broken)?;
                Ok(tokens)
            }
            Self::Words(_) | Self::Json(_) => Ok(Vec::new()),
        }
    }

    /// Nothing can follow.
    pub(super) fn is_complete(&self) -> bool {
        match self {
            Self::Words(_) => false,
            Self::Json(matcher) => matcher.is_stopped(),
        }
    }

    /// Whether a finished answer is what was asked for. A grammar that gave up halfway also counts
    /// as having nothing to follow, so the text itself must be whole JSON.
    pub(super) fn holds(&self, answer: &str) -> Result<(), EngineError> {
        match self {
            Self::Words(_) => Ok(()),
            Self::Json(_) => serde_json::from_str::<IgnoredAny>(answer)
                .map(drop)
                .map_err(|_| EngineError::Constraint("the answer is not whole JSON".to_owned())),
        }
    }
}

fn broken(error: impl std::fmt::Display) -> EngineError {
    EngineError::Constraint(format!("{error:#}"))
}

/// The vocabulary as the grammar library wants to see it.
struct Vocabulary {
    trie: TokTrie,
    tokenizer: Arc<Tokenizer>,
}

impl Vocabulary {
    fn new(tokens: &Tokens) -> Self {
        let words: Vec<Vec<u8>> =
            tokens.entries().iter().enumerate().map(|(id, entry)| word(id, entry)).collect();
        let info = TokRxInfo::new(words.len() as u32, tokens.stops()[0]);
        let trie = TokTrie::from(&info, &words).with_eos_tokens(tokens.stops());
        Self { trie, tokenizer: tokens.tokenizer() }
    }
}

/// Control tokens, and rows the tokenizer does not know, carry a byte that no text can hold.
fn word(id: usize, entry: &Entry) -> Vec<u8> {
    let marked = |name: &str| [&[TokTrie::SPECIAL_TOKEN_MARKER], name.as_bytes()].concat();
    match entry {
        Entry::Text(bytes) => bytes.clone(),
        Entry::Special(name) => marked(name),
        Entry::Padding => marked(&format!("<[{id}]>")),
    }
}

impl TokenizerEnv for Vocabulary {
    fn tok_trie(&self) -> &TokTrie {
        &self.trie
    }

    fn tokenize_bytes(&self, bytes: &[u8]) -> Vec<TokenId> {
        self.trie.tokenize_with_greedy_fallback(bytes, |text| {
            match self.tokenizer.encode_fast(text, false) {
                Ok(encoding) => encoding.get_ids().to_vec(),
                // a tokenizer with byte fallback knows every text; greedy pieces are as valid
                Err(_) => self.trie.greedy_tokenize(text.as_bytes()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    const SCHEMA: &str = r#"{"type":"object","additionalProperties":false,"required":["zeta","alpha"],
        "properties":{"zeta":{"enum":["left","right"]},"alpha":{"type":"integer","minimum":0,"maximum":9}}}"#;

    fn constraint() -> (Tokens, Constraint) {
        let tokens = fixture::tokens();
        let constraint = Grammar::new(&tokens).unwrap().constraint(&Form::Json(SCHEMA.into())).unwrap();
        (tokens, constraint)
    }

    fn accepts(text: &str) -> bool {
        let (tokens, mut constraint) = constraint();
        let ids = tokens.encode(text).unwrap();
        let taken = ids.iter().all(|&id| {
            constraint.allowed().is_ok_and(|mask| mask.is_allowed(id)) && constraint.accept(id).is_ok()
        });
        taken && constraint.is_complete()
    }

    #[test]
    fn keys_come_compact_and_in_schema_order() {
        assert!(accepts(r#"{"zeta":"left","alpha":3}"#));
        assert!(!accepts(r#"{"alpha":3,"zeta":"left"}"#));
        assert!(!accepts(r#"{"zeta": "left","alpha":3}"#));
        assert!(!accepts(r#"{"zeta":"above","alpha":3}"#));
    }

    #[test]
    fn control_and_padding_rows_are_never_allowed_inside_an_answer() {
        let (tokens, mut constraint) = constraint();
        let mask = constraint.allowed().unwrap();
        let outside =
            tokens.entries().iter().enumerate().filter(|(_, entry)| !matches!(entry, Entry::Text(_)));
        assert!(outside.map(|(id, _)| id as u32).all(|id| !mask.is_allowed(id)));
    }

    #[test]
    fn what_the_schema_leaves_no_choice_about_is_forced() {
        let (tokens, mut constraint) = constraint();
        let forced = constraint.forced().unwrap();
        assert!(tokens.bytes(&forced).starts_with(br#"{"zeta"#), "{:?}", tokens.bytes(&forced));
    }

    #[test]
    fn a_schema_that_is_none_is_refused() {
        let grammar = Grammar::new(&fixture::tokens()).unwrap();
        assert!(grammar.constraint(&Form::Json("[]".into())).is_err());
        assert!(grammar.constraint(&Form::Json(r#"{"type":"nonsense"}"#.into())).is_err());
    }

    #[test]
    fn words_are_all_text_and_the_end_of_a_turn() {
        let tokens = fixture::tokens();
        let mut words = Grammar::new(&tokens).unwrap().constraint(&Form::Text).unwrap();
        let allowed = words.allowed().unwrap();
        assert!(tokens.stops().iter().all(|&stop| allowed.is_allowed(stop)));
        assert!(!allowed.is_allowed(4) && !allowed.is_allowed(511) && !words.is_complete());
        assert!(words.holds("anything").is_ok());
    }
}
