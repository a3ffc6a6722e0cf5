//! The tokenizer from the metadata of a GGUF file.
//!
//! The file has SentencePiece's form of it: pieces with scores. Joining the pair whose piece has
//! the best score is byte-pair encoding once every way to cut a piece in two is a rule, ranked by
//! the score of the piece; this is also how the published `tokenizer.json` was made.

use std::collections::{BTreeMap, HashMap};

use tokenizers::decoders::DecoderWrapper;
use tokenizers::decoders::byte_fallback::ByteFallback;
use tokenizers::decoders::fuse::Fuse;
use tokenizers::decoders::sequence::Sequence;
use tokenizers::models::bpe::BPE;
use tokenizers::normalizers::Replace;
use tokenizers::{AddedToken, Tokenizer};

use super::Gguf;
use super::metadata::Metadata;
use crate::ai::local::error::LoadError;
use crate::ai::local::tokens::SPACE;

const TOKENS: &str = "tokenizer.ggml.tokens";
const SCORES: &str = "tokenizer.ggml.scores";
const TYPES: &str = "tokenizer.ggml.token_type";
const IMAGE_TOKEN: &str = "<image_soft_token>";
/// Control tokens that converters mark as words of the user.
const CONTROL: [&str; 3] = ["<start_of_image>", "<end_of_image>", IMAGE_TOKEN];

/// What SentencePiece uses an entry for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    Word,
    Control,
    /// Found in a text before anything is joined.
    Whole,
    Byte,
    Nothing,
}

struct Piece {
    text: String,
    score: f64,
    usage: Use,
}

pub(in crate::ai::local) fn tokenizer(gguf: &Gguf) -> Result<Tokenizer, LoadError> {
    let pieces = pieces(&gguf.metadata)?;
    build(&pieces).map_err(|error| gguf.metadata.refusal(TOKENS, &error.to_string()))
}

fn pieces(metadata: &Metadata) -> Result<Vec<Piece>, LoadError> {
    let key = "tokenizer.ggml.model";
    if metadata.text(key)? != Some("llama") {
        return Err(metadata.refusal(key, "is not llama: put a tokenizer.json beside the file"));
    }
    let need = |key: &str| metadata.refusal(key, "is missing");
    let tokens = metadata.texts(TOKENS)?.ok_or_else(|| need(TOKENS))?;
    let scores = metadata.numbers(SCORES)?.ok_or_else(|| need(SCORES))?;
    let types = metadata.numbers(TYPES)?.ok_or_else(|| need(TYPES))?;
    for (key, length) in [(SCORES, scores.len()), (TYPES, types.len())] {
        if length != tokens.len() {
            return Err(metadata.refusal(key, "has not as many entries as there are tokens"));
        }
    }
    Ok(tokens
        .into_iter()
        .zip(scores.into_iter().zip(types))
        .map(|(text, (score, kind))| Piece::new(text, score, kind as u32))
        .collect())
}

impl Piece {
    fn new(text: String, score: f64, kind: u32) -> Self {
        let usage = match kind {
            _ if CONTROL.contains(&text.as_str()) => Use::Control,
            2 | 3 => Use::Control,
            4 => Use::Whole,
            5 => Use::Nothing,
            6 => Use::Byte,
            _ => Use::Word,
        };
        match usage {
            // runs of spaces are the one thing that converters write out, and joined before all words
            Use::Whole => Self { text: text.replace(' ', SPACE), score: 0.0, usage },
            _ => Self { text, score, usage },
        }
    }
}

fn build(pieces: &[Piece]) -> tokenizers::Result<Tokenizer> {
    let vocabulary: HashMap<&str, u32> =
        (0..).zip(pieces).map(|(id, piece)| (piece.text.as_str(), id)).collect();
    let entries = vocabulary.iter().map(|(text, id)| ((*text).to_owned(), *id)).collect();
    let mut model = BPE::new(entries, merges(pieces, &vocabulary));
    (model.unk_token, model.fuse_unk, model.byte_fallback) = (Some("<unk>".to_owned()), true, true);
    let mut tokenizer = Tokenizer::new(model);
    tokenizer.with_normalizer(Some(Replace::new(" ", SPACE)?))?;
    let decoders: Vec<DecoderWrapper> =
        vec![Replace::new(SPACE, " ")?.into(), ByteFallback::new().into(), Fuse::new().into()];
    tokenizer.with_decoder(Some(Sequence::new(decoders)));
    tokenizer.add_tokens(added(pieces))?;
    Ok(tokenizer)
}

/// Every way to cut a piece into two others; the best piece first, of one piece or of equal ones
/// the longer left part.
fn merges(pieces: &[Piece], vocabulary: &HashMap<&str, u32>) -> Vec<(String, String)> {
    let mut rules = Vec::new();
    for piece in pieces.iter().filter(|piece| matches!(piece.usage, Use::Word | Use::Whole)) {
        let mut cuts: Vec<_> = cuts(&piece.text, vocabulary).collect();
        cuts.sort_unstable();
        // minus zero, which the best of all pieces has, is zero
        rules.extend(cuts.into_iter().map(|(_, _, widths, texts)| (piece.score + 0.0, widths, texts)));
    }
    rules.sort_by(|(score, widths, _), (other, other_widths, _)| {
        other.total_cmp(score).then(other_widths.cmp(widths))
    });
    rules.into_iter().map(|(_, _, (left, right))| (left.to_owned(), right.to_owned())).collect()
}

/// Ids, widths in letters, and texts of two pieces that make one.
type Cut<'a> = (u32, u32, (usize, usize), (&'a str, &'a str));

fn cuts<'a>(text: &'a str, vocabulary: &HashMap<&str, u32>) -> impl Iterator<Item = Cut<'a>> {
    let letters = text.chars().count();
    text.char_indices().enumerate().skip(1).filter_map(move |(width, (at, _))| {
        let (left, right) = text.split_at(at);
        let ids = (*vocabulary.get(left)?, *vocabulary.get(right)?);
        Some((ids.0, ids.1, (width, letters - width), (left, right)))
    })
}

/// In the order of their ids, as a token that is not an entry gets the next free id.
fn added(pieces: &[Piece]) -> Vec<AddedToken> {
    let whole = pieces.iter().filter(|piece| matches!(piece.usage, Use::Control | Use::Whole));
    let mut texts: BTreeMap<usize, (&str, bool)> =
        whole.map(|piece| (piece.text.as_str(), piece.usage == Use::Control)).enumerate().collect();
    if !pieces.iter().any(|piece| piece.text == IMAGE_TOKEN) {
        texts.insert(pieces.len(), (IMAGE_TOKEN, true));
    }
    texts.into_values().map(|(text, special)| AddedToken::from(text, special).normalized(false)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(text: &str, score: f64, kind: u32) -> Piece {
        Piece::new(text.to_owned(), score, kind)
    }

    /// Bytes, letters, and a few words with scores.
    fn pieces() -> Vec<Piece> {
        let mut pieces =
            vec![piece("<unk>", -1000.0, 2), piece("<bos>", -1000.0, 3), piece("\n\n", -1000.0, 4)];
        pieces.extend((0..=255).map(|byte| piece(&format!("<0x{byte:02X}>"), 0.0, 6)));
        for (n, text) in ["ab", "bc", "\u{2581}a", "abc"].iter().enumerate() {
            pieces.push(piece(text, -(n as f64), 1));
        }
        pieces.push(piece("  ", -1000.0, 4));
        pieces.extend(["\u{2581}", "a", "b", "c", "\n"].map(|letter| piece(letter, -100.0, 1)));
        pieces
    }

    fn tokens(text: &str) -> Vec<String> {
        build(&pieces()).unwrap().encode(text, false).unwrap().get_tokens().to_vec()
    }

    #[test]
    fn the_best_piece_is_joined_first() {
        assert_eq!(tokens("abc"), ["abc"]);
        assert_eq!(tokens(" ab"), ["\u{2581}", "ab"]);
        assert_eq!(tokens("bca"), ["bc", "a"]);
    }

    #[test]
    fn whole_pieces_and_control_tokens_are_found_before_words() {
        assert_eq!(tokens("a\n\n<bos>"), ["a", "\n\n", "<bos>"]);
        assert_eq!(tokens("a  b"), ["a", "\u{2581}\u{2581}", "b"]);
    }

    #[test]
    fn letters_without_an_entry_become_bytes() {
        assert_eq!(tokens("é"), ["<0xC3>", "<0xA9>"]);
    }

    #[test]
    fn the_image_token_is_the_next_entry_where_it_is_missing() {
        let tokenizer = build(&pieces()).unwrap();
        assert_eq!(tokenizer.token_to_id(IMAGE_TOKEN), Some(pieces().len() as u32));
    }
}
