//! The prompts, one per pipeline, and the requests made from them.
//!
//! A prompt is data (`prompts/*.toml`), compiled in. Models are sensitive to the exact wording, so
//! the digest of the file goes into every result that it led to.

use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Part, Request, RgbImage, Settings};
use crate::ids::hex;
use crate::report::findings::SCHEMA;

/// One kind of analysis. Rules of the configuration name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pipeline {
    ChestRadiograph,
    Ct,
}

/// How grey levels become the 8-bit RGB the model sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WindowKind {
    /// The object's first window, or its full range.
    First,
    /// Three Hounsfield windows, one in each of red, green and blue.
    CtThreeWindows,
}

/// A prompt and what it expects of the images.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Template {
    pub name: String,
    pub version: String,
    pub title: String,
    system: String,
    before: String,
    /// Follows each image; `{i}` is the image's number, from 1. Empty for no label.
    image_label: String,
    after: String,
    pub images_max: usize,
    pub window: WindowKind,
    pub pad_to_square: bool,
    /// SHA-256 of the file, lower-case hexadecimal.
    #[serde(skip)]
    pub sha256: String,
}

const CHEST_RADIOGRAPH: &str = include_str!("prompts/chest-radiograph.toml");
const CT: &str = include_str!("prompts/ct.toml");

static TEMPLATES: LazyLock<[Template; 2]> = LazyLock::new(|| [CHEST_RADIOGRAPH, CT].map(compiled_in));

impl Pipeline {
    pub const ALL: [Self; 2] = [Self::ChestRadiograph, Self::Ct];

    /// The name in the configuration and in results; also that of the template.
    pub fn name(self) -> &'static str {
        match self {
            Self::ChestRadiograph => "chest-radiograph",
            Self::Ct => "ct",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|pipeline| pipeline.name() == name)
    }

    pub fn template(self) -> &'static Template {
        match self {
            Self::ChestRadiograph => &TEMPLATES[0],
            Self::Ct => &TEMPLATES[1],
        }
    }
}

/// The request for `images`, which the caller has chosen (at most `images_max`) and rendered.
///
/// Images come before the question, and a label after its image: so the models were trained.
pub fn build(pipeline: Pipeline, images: Vec<Arc<RgbImage>>) -> Request {
    let template = pipeline.template();
    let mut parts = Vec::with_capacity(2 * images.len() + 2);
    parts.extend(text(&template.before));
    for (index, image) in images.into_iter().enumerate() {
        parts.push(Part::Image(image));
        parts.extend(text(&template.image_label.replace("{i}", &(index + 1).to_string())));
    }
    parts.extend(text(&template.after));
    Request {
        system: (!template.system.is_empty()).then(|| template.system.clone()),
        parts,
        schema: SCHEMA.into(),
        settings: Settings::default(),
    }
}

fn text(words: &str) -> Option<Part> {
    (!words.is_empty()).then(|| Part::Text(words.to_owned()))
}

/// The files are part of the program and a test reads each: one that does not parse never ships.
fn compiled_in(toml: &str) -> Template {
    parse(toml).expect("a compiled-in prompt is valid TOML of a template")
}

fn parse(source: &str) -> Result<Template, toml::de::Error> {
    let mut template: Template = toml::from_str(source)?;
    template.sha256 = hex(&Sha256::digest(source.as_bytes()));
    Ok(template)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(pipeline: Pipeline, images: usize) -> Vec<String> {
        let image = Arc::new(RgbImage { width: 1, height: 1, data: vec![0; 3] });
        let request = build(pipeline, vec![image; images]);
        let part = |part: &Part| match part {
            Part::Image(_) => "image".to_owned(),
            Part::Text(text) => text.split_whitespace().take(2).collect::<Vec<_>>().join(" "),
        };
        request.parts.iter().map(part).collect()
    }

    #[test]
    fn every_template_carries_its_pipelines_name_and_a_digest() {
        for pipeline in Pipeline::ALL {
            assert_eq!(pipeline.template().name, pipeline.name());
            assert_eq!(pipeline.template().sha256.len(), 64);
            assert_eq!(Pipeline::from_name(pipeline.name()), Some(pipeline));
        }
    }

    #[test]
    fn slices_are_labelled_after_their_image() {
        assert_eq!(
            shape(Pipeline::Ct, 2),
            ["These are", "image", "SLICE 1", "image", "SLICE 2", "Report the"]
        );
    }

    #[test]
    fn radiographs_have_no_label() {
        assert_eq!(shape(Pipeline::ChestRadiograph, 2), ["image", "image", "Report the"]);
        assert!(build(Pipeline::ChestRadiograph, vec![]).system.is_some());
    }

    #[test]
    fn an_unknown_key_is_refused() {
        assert!(parse(&format!("{CT}\nsurprise = 1\n")).is_err());
    }
}
