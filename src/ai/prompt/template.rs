//! One file of prompts: what is asked of the images of one pipeline.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::config::Language;
use crate::ids::hex;

/// How values become the 8-bit RGB the model sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WindowKind {
    /// The object's first window, or its full range.
    First,
    /// Three Hounsfield windows, one in each of red, green and blue.
    CtThreeWindows,
    /// From the least to the greatest value of the whole acquisition.
    VolumeRange,
    /// As the object is displayed.
    None,
}

/// Prompts and what they expect of the images.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Template {
    pub name: String,
    pub version: String,
    pub title: String,
    /// As many as such models were trained on; the configuration may allow fewer.
    pub images_max: usize,
    pub window: WindowKind,
    pub pad_to_square: bool,
    pub(super) system: String,
    before: String,
    /// Follows each image; `{i}` is the image's number, from 1. Empty for no label.
    image_label: String,
    /// Begins the question where there is something to tell; without it nothing is told.
    context: Option<String>,
    after: String,
    /// Ends the question of a report in another language than English.
    language: Option<String>,
    /// The second question, for JSON after words; without it the first asks for JSON.
    findings: Option<String>,
    findings_language: Option<String>,
    /// What is asked when the JSON contradicts itself; without it nothing is.
    repair: Option<String>,
    #[serde(default)]
    focus: Vec<Focus>,
    /// SHA-256 of the file, lower-case hexadecimal.
    #[serde(skip)]
    pub sha256: String,
}

/// A part of the body that a prompt is about.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Focus {
    pub name: String,
    /// In capitals.
    words: Vec<String>,
    block: String,
    organs: String,
}

impl Template {
    pub(super) fn parse(source: &str) -> Result<Self, toml::de::Error> {
        let mut template: Self = toml::from_str(source)?;
        template.sha256 = hex(&Sha256::digest(source.as_bytes()));
        Ok(template)
    }

    /// By the body part and the descriptions of what is shown, whose earlier words weigh more; the
    /// one without words stands for all others.
    pub fn focus_of(&self, descriptions: &[&str]) -> Option<&Focus> {
        let named = descriptions.iter().find_map(|text| self.focus.iter().find(|focus| focus.is_in(text)));
        named.or_else(|| self.focus.iter().find(|focus| focus.words.is_empty()))
    }

    /// Whether words are asked for before JSON.
    pub fn asks_for_words(&self) -> bool {
        self.findings.is_some()
    }

    /// Whether it has a place for what is known beside the images.
    pub fn takes_context(&self) -> bool {
        self.context.is_some()
    }

    pub(super) fn opening(&self, focus: Option<&Focus>) -> String {
        about(&self.before, focus)
    }

    pub(super) fn label(&self, number: usize) -> String {
        self.image_label.replace("{i}", &number.to_string())
    }

    pub(super) fn question(&self, focus: Option<&Focus>, known: &str, language: Language) -> String {
        let context = self.context.as_ref().filter(|_| !known.is_empty());
        let context = context.map(|context| context.trim().replace("{context}", known));
        let language = in_language(self.language.as_ref(), language);
        let parts = [context, Some(about(&self.after, focus)), language];
        parts.into_iter().flatten().collect::<Vec<_>>().join("\n\n")
    }

    pub(super) fn findings_question(&self, language: Language) -> Option<String> {
        let question = self.findings.as_ref()?.trim().to_owned();
        let language = in_language(self.findings_language.as_ref(), language);
        Some([Some(question), language].into_iter().flatten().collect::<Vec<_>>().join("\n"))
    }

    pub(super) fn repair_question(&self, contradictions: &[String]) -> Option<String> {
        let listed: Vec<String> = contradictions.iter().map(|sentence| format!("- {sentence}")).collect();
        Some(self.repair.as_ref()?.trim().replace("{contradictions}", &listed.join("\n")))
    }
}

impl Focus {
    fn is_in(&self, text: &str) -> bool {
        let text = text.to_uppercase();
        let mut words = text.split(|c: char| !c.is_alphanumeric());
        words.any(|word| self.words.iter().any(|own| own == word))
    }
}

fn about(text: &str, focus: Option<&Focus>) -> String {
    focus.map_or_else(
        || text.to_owned(),
        |focus| text.replace("{block}", &focus.block).replace("{organs}", &focus.organs),
    )
}

/// English is what a prompt in English is answered in.
fn in_language(wish: Option<&String>, language: Language) -> Option<String> {
    let wish = wish.filter(|_| language != Language::ENGLISH)?;
    Some(wish.replace("{language}", language.name))
}
