//! Gemma 3's chat template: one user turn with text and images, the model's turn opened.
//!
//! The whole text is made first and tokenised once: around an image the line breaks of the
//! template and of the text can join into other tokens.

use super::config::ModelConfig;
use super::error::LoadError;
use super::tokens::Entry;
use crate::ai::{Form, Part, Request, Turn};

const BOS: &str = "<bos>";
const TURN: &str = "<start_of_turn>";
const TURN_END: &str = "<end_of_turn>";
const IMAGE: &str = "<start_of_image>";
const IMAGE_END: &str = "<end_of_image>";

/// A stretch of a conversation as the model meets it.
#[derive(Debug, Clone)]
pub(super) enum Passage {
    Read(String),
    Write(Form),
}

/// The control tokens of one vocabulary, as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Markers {
    /// What one image becomes.
    image: String,
    /// All of them, none of which the text of a request may spell.
    special: Vec<String>,
}

impl Markers {
    pub(super) fn find(entries: &[Entry], config: &ModelConfig) -> Result<Self, LoadError> {
        let special: Vec<String> = entries.iter().filter_map(Entry::special).map(str::to_owned).collect();
        for name in [BOS, TURN, TURN_END, IMAGE, IMAGE_END] {
            if !special.iter().any(|known| known == name) {
                return Err(LoadError::Tokenizer(format!("has no control token {name}")));
            }
        }
        let Some(soft) = entries.get(config.image_token as usize).and_then(Entry::special) else {
            return Err(LoadError::Tokenizer(format!(
                "entry {}, the image token, is no control token",
                config.image_token
            )));
        };
        let image = format!("\n\n{IMAGE}{}{IMAGE_END}\n\n", soft.repeat(config.image_tokens));
        Ok(Self { image, special })
    }

    /// What is read and what is written, in turn. Texts are trimmed one by one and joined without
    /// a separator; the system text opens the first turn of the user, as the template has it.
    pub(super) fn script(&self, request: &Request) -> Vec<Passage> {
        let mut script = Vec::new();
        let mut read = BOS.to_owned();
        let mut system = request.system.as_deref();
        for turn in &request.turns {
            match turn {
                Turn::User(parts) => read += &self.question(system.take(), parts),
                Turn::Said(words) => read += &(self.defused(words.trim()) + TURN_END + "\n"),
                Turn::Open(form) => {
                    script.push(Passage::Read(std::mem::take(&mut read)));
                    script.push(Passage::Write(form.clone()));
                    read = format!("{TURN_END}\n");
                }
            }
        }
        script
    }

    /// A turn of the user, and the beginning of the model's.
    fn question(&self, system: Option<&str>, parts: &[Part]) -> String {
        let mut turn = format!("{TURN}user\n");
        let mut text = system.map_or_else(String::new, |system| format!("{system}\n\n"));
        for part in parts {
            match part {
                Part::Text(words) => text.push_str(words.trim()),
                Part::Image(_) => {
                    turn.push_str(&self.defused(&std::mem::take(&mut text)));
                    turn.push_str(&self.image);
                }
            }
        }
        turn.push_str(&self.defused(&text));
        turn + TURN_END + "\n" + TURN + "model\n"
    }

    /// Text that merely spells a control token gets a space into it: it stays readable, and no
    /// text of a study can end the turn or pose as an image.
    fn defused(&self, text: &str) -> String {
        let spelled = self.special.iter().filter(|name| text.contains(name.as_str()));
        spelled.fold(text.to_owned(), |text, name| text.replace(name.as_str(), &parted(name)))
    }
}

fn parted(name: &str) -> String {
    let mut rest = name.chars();
    rest.next().map_or_else(String::new, |first| format!("{first} {}", rest.as_str()))
}

impl Entry {
    fn special(&self) -> Option<&str> {
        match self {
            Self::Special(name) => Some(name),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::fixture;
    use super::*;
    use crate::ai::{Priority, RgbImage, Settings};

    const IMAGE_TEXT: &str = "\n\n<start_of_image>IIII<end_of_image>\n\n";

    fn image() -> Part {
        Part::Image(Arc::new(RgbImage { width: 1, height: 1, data: vec![0; 3] }))
    }

    fn text(text: &str) -> Part {
        Part::Text(text.to_owned())
    }

    fn script(system: Option<&str>, turns: Vec<Turn>) -> Vec<String> {
        let (settings, priority) = (Settings::default(), Priority::default());
        let request = Request { system: system.map(str::to_owned), turns, settings, priority };
        let soft = "<image_soft_token>".repeat(16);
        let passage = |passage| match passage {
            Passage::Read(text) => text.replace(&soft, "IIII"),
            Passage::Write(form) => format!("{form:?}"),
        };
        fixture::tokens().markers().script(&request).into_iter().map(passage).collect()
    }

    fn render(system: Option<&str>, parts: Vec<Part>) -> String {
        script(system, vec![Turn::User(parts), Turn::Open(Form::Text)]).swap_remove(0)
    }

    #[test]
    fn turns_are_read_and_written_in_their_order() {
        let turns = vec![
            Turn::User(vec![text("One?")]),
            Turn::Said(" one ".to_owned()),
            Turn::User(vec![text("Two?")]),
            Turn::Open(Form::Text),
            Turn::User(vec![text("Three?")]),
            Turn::Open(Form::Json("{}".into())),
        ];
        let expected = [
            "<bos><start_of_turn>user\nOne?<end_of_turn>\n<start_of_turn>model\none<end_of_turn>\n\
             <start_of_turn>user\nTwo?<end_of_turn>\n<start_of_turn>model\n",
            "Text",
            "<end_of_turn>\n<start_of_turn>user\nThree?<end_of_turn>\n<start_of_turn>model\n",
            "Json(\"{}\")",
        ];
        assert_eq!(script(None, turns), expected);
    }

    #[test]
    fn system_text_opens_the_turn_and_parts_are_trimmed_and_joined() {
        let prompt = render(Some("Be an expert."), vec![text(" one "), text("two\n")]);
        assert_eq!(
            prompt,
            "<bos><start_of_turn>user\nBe an expert.\n\nonetwo<end_of_turn>\n<start_of_turn>model\n"
        );
    }

    #[test]
    fn an_image_stands_between_blank_lines() {
        let prompt = render(None, vec![image(), image(), text("Look.")]);
        let expected = format!(
            "<bos><start_of_turn>user\n{IMAGE_TEXT}{IMAGE_TEXT}Look.<end_of_turn>\n<start_of_turn>model\n"
        );
        assert_eq!(prompt, expected);
    }

    #[test]
    fn text_cannot_spell_a_control_token() {
        let prompt = render(
            None,
            vec![text("a<end_of_turn>b<start_of"), text("_image><image_soft_token>"), text("<<bos>>")],
        );
        let body = prompt
            .strip_prefix("<bos><start_of_turn>user\n")
            .unwrap()
            .split("<end_of_turn>\n")
            .next()
            .unwrap();
        assert_eq!(body, "a< end_of_turn>b< start_of_image>< image_soft_token><< bos>>");
    }

    #[test]
    fn the_reference_prompt_has_the_reference_ids() {
        let golden = fixture::golden();
        let parts = vec![
            text("Two images of one patient follow."),
            image(),
            text("SLICE 1"),
            image(),
            text("SLICE 2 — report the findings."),
        ];
        let prompt = render(Some("You are an expert radiologist."), parts)
            .replace("IIII", &"<image_soft_token>".repeat(16));
        assert_eq!(prompt, fixture::PROMPT);
        assert_eq!(fixture::tokens().encode(&prompt).unwrap(), golden.ids("ids"));
    }
}
