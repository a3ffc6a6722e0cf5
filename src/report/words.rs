//! The report that a model wrote in its own words, as far as it can be used.
//!
//! What it wrote is kept as it came; here stands what people are shown of it.

use super::parse::without_thought;
use crate::ai::Cut;

/// A report has a few thousand characters; what has more than these has lost its way.
const CHARACTERS_MAX: usize = 20_000;

/// A loop is the same stretch of words this many times in a row …
const TIMES: usize = 4;
/// … and this many words altogether, so that "no. no. no. no." is none.
const SPAN: usize = 24;
/// The longest stretch looked for: a few sentences.
const STRETCH_MAX: usize = 80;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words {
    pub text: String,
    pub doubts: Vec<WordsDoubt>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WordsDoubt {
    /// It was not ended by the model.
    Unfinished,
    /// From here on the model repeated itself; what came behind the first time is not shown.
    Repetition,
    TooLong,
    /// Nothing is left, or nothing was written.
    Nothing,
}

impl WordsDoubt {
    /// One sentence for the reader of the report.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Unfinished => {
                "The model's report in its own words was longer than allowed; its end is missing."
            }
            Self::Repetition => {
                "The model's report in its own words fell into repetition and was ended there: read it with doubt."
            }
            Self::TooLong => "The model's report in its own words is too long; its end is not shown.",
            Self::Nothing => "The model wrote no report in its own words.",
        }
    }
}

impl Words {
    /// From what the model wrote; `cut` says why it had to stop.
    pub fn of(written: &str, cut: Option<Cut>) -> Self {
        let mut doubts = Vec::new();
        let text: String = without_thought(written).chars().filter(|c| is_text(*c)).collect();
        let mut text = text.trim();
        if let Some(end) = end_before_loop(text) {
            text = &text[..end];
            doubts.push(WordsDoubt::Repetition);
        } else if cut == Some(Cut::Repetition) {
            doubts.push(WordsDoubt::Repetition);
        }
        if cut == Some(Cut::Tokens) {
            doubts.push(WordsDoubt::Unfinished);
        }
        if let Some((end, _)) = text.char_indices().nth(CHARACTERS_MAX) {
            text = text[..end].trim_end();
            doubts.push(WordsDoubt::TooLong);
        }
        if text.is_empty() {
            doubts.push(WordsDoubt::Nothing);
        }
        Self { text: text.to_owned(), doubts }
    }
}

/// Neither DICOM text nor PDF holds other control characters.
fn is_text(c: char) -> bool {
    !c.is_control() || c == '\n' || c == '\t'
}

/// The byte behind the first copy of what is repeated.
fn end_before_loop(text: &str) -> Option<usize> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let longest = STRETCH_MAX.min(words.len() / TIMES);
    let (start, stretch) =
        (1..=longest).filter_map(|stretch| Some((loop_of(&words, stretch)?, stretch))).min()?;
    let last = words.get(start + stretch - 1)?;
    Some(last.as_ptr() as usize - text.as_ptr() as usize + last.len())
}

/// Where the first loop of stretches of so many words begins.
fn loop_of(words: &[&str], stretch: usize) -> Option<usize> {
    let enough = (TIMES * stretch).max(SPAN) - stretch;
    let mut run = 0;
    for at in 0..words.len() - stretch {
        run = if words[at] == words[at + stretch] { run + 1 } else { 0 };
        if run >= enough {
            return Some(at + 1 - run);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(written: &str, cut: Option<Cut>, text: &str, doubts: &[WordsDoubt]) {
        let words = Words::of(written, cut);
        assert_eq!((words.text.as_str(), words.doubts.as_slice()), (text, doubts));
    }

    #[test]
    fn a_report_stays_as_it_is_and_a_thought_goes() {
        check(" Clear lungs.\nNo effusion. ", None, "Clear lungs.\nNo effusion.", &[]);
        check("<unused94>thought\nhm\u{0}<unused95>Clear\u{7} lungs.", None, "Clear lungs.", &[]);
    }

    #[test]
    fn a_thought_that_never_ends_leaves_nothing() {
        let doubts = [WordsDoubt::Unfinished, WordsDoubt::Nothing];
        check("<unused94>thought\nhm hm", Some(Cut::Tokens), "", &doubts);
    }

    #[test]
    fn what_is_repeated_is_shown_once() {
        let looping = format!("Clear lungs. {}", "The heart is normal in size. ".repeat(5));
        let text = "Clear lungs. The heart is normal in size.";
        check(&looping, Some(Cut::Repetition), text, &[WordsDoubt::Repetition]);
        check(&looping, None, text, &[WordsDoubt::Repetition]);
    }

    #[test]
    fn a_list_of_slices_is_no_repetition() {
        let list: String =
            (1..40).map(|n| format!("SLICE {n}: no hypodense lesion of the liver.\n")).collect();
        assert_eq!(Words::of(&list, None).doubts, []);
        assert_eq!(Words::of(&"no ".repeat(8), None).doubts, []);
    }

    #[test]
    fn a_report_without_end_is_cut_at_a_character() {
        let words = Words::of(&(0..9000).map(|n| format!("é{n} ")).collect::<String>(), None);
        assert_eq!(words.doubts, [WordsDoubt::TooLong]);
        assert!((CHARACTERS_MAX - 1..=CHARACTERS_MAX).contains(&words.text.chars().count()));
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[ab é\\n]{0,300}") {
            let words = Words::of(&text, None);
            proptest::prop_assert!(text.contains(words.text.as_str()));
        }
    }
}
