//! The prompts, one per pipeline and family of models, and the requests made from them.
//!
//! A prompt is data (`prompts/FAMILY/*.toml`), compiled in. Models are sensitive to the exact
//! wording, so the digest of the file goes into every result that it led to.

mod context;
mod conversation;
mod template;

use std::sync::LazyLock;

pub use context::{Context, Identifying};
pub use conversation::Question;
pub use template::{Focus, Template, WindowKind};

use super::PromptSet;
pub use crate::config::Pipeline;

impl PromptSet {
    /// `None` where these models know no such pipeline.
    pub fn template(self, pipeline: Pipeline) -> Option<&'static Template> {
        let name = pipeline.name();
        self.templates().iter().find(|template| template.name == name)
    }

    fn templates(self) -> &'static [Template] {
        match self {
            Self::Medgemma => &*MEDGEMMA,
            Self::Demonstration => &*DEMONSTRATION,
        }
    }
}

static MEDGEMMA: LazyLock<[Template; 5]> = LazyLock::new(|| {
    [
        include_str!("prompts/medgemma/chest-radiograph.toml"),
        include_str!("prompts/medgemma/longitudinal-chest.toml"),
        include_str!("prompts/medgemma/ct.toml"),
        include_str!("prompts/medgemma/mr.toml"),
        include_str!("prompts/medgemma/photograph.toml"),
    ]
    .map(compiled_in)
});

/// The wording is the one that the model was trained on: a change of it needs a new model.
static DEMONSTRATION: LazyLock<[Template; 2]> = LazyLock::new(|| {
    [
        include_str!("prompts/demonstration/chest-radiograph.toml"),
        include_str!("prompts/demonstration/ct.toml"),
    ]
    .map(compiled_in)
});

/// The files are part of the program and a test reads each: one that does not parse never ships.
fn compiled_in(toml: &str) -> Template {
    Template::parse(toml).expect("a compiled-in prompt is valid TOML of a template")
}

#[cfg(test)]
mod tests;
