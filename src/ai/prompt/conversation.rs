//! A template, images and what is known of them, as a request.

use std::sync::Arc;

use super::{Context, Focus, Template};
use crate::ai::{Form, Part, Priority, Request, RgbImage, Settings, Turn};
use crate::config::Language;
use crate::report::findings::SCHEMA;

/// Everything that is asked about one study.
#[derive(Debug, Clone)]
pub struct Question {
    pub template: &'static Template,
    /// Chosen (no more than the template's `images_max`) and rendered by the caller.
    pub images: Vec<Arc<RgbImage>>,
    pub focus: Option<&'static Focus>,
    pub language: Language,
    pub context: Context,
    pub settings: Settings,
    pub priority: Priority,
}

impl Question {
    /// Words first, then JSON, where the model was trained to write words.
    pub fn request(&self) -> Request {
        let mut turns = vec![Turn::User(self.images_and_question())];
        if let Some(question) = self.template.findings_question(self.language) {
            turns.extend([Turn::Open(Form::Text), user(question)]);
        }
        turns.push(json());
        self.of_turns(turns)
    }

    /// The same conversation, in which `answer` contradicts itself and is asked for once more.
    /// `None` where the prompts know no such question.
    pub fn again(&self, words: Option<&str>, answer: &str, contradictions: &[String]) -> Option<Request> {
        let repair = self.template.repair_question(contradictions)?;
        let mut turns = vec![Turn::User(self.images_and_question())];
        if let Some(question) = self.template.findings_question(self.language) {
            turns.extend([Turn::Said(words.unwrap_or_default().to_owned()), user(question)]);
        }
        turns.extend([Turn::Said(answer.to_owned()), user(repair), json()]);
        Some(self.of_turns(turns))
    }

    fn of_turns(&self, turns: Vec<Turn>) -> Request {
        let system = &self.template.system;
        Request {
            system: (!system.is_empty()).then(|| system.clone()),
            turns,
            settings: self.settings.clone(),
            priority: self.priority,
        }
    }

    /// Images come before the question, and a label after its image: so the models were trained.
    fn images_and_question(&self) -> Vec<Part> {
        let mut parts = Vec::with_capacity(2 * self.images.len() + 2);
        parts.extend(text(self.template.opening(self.focus)));
        for (number, image) in (1..).zip(&self.images) {
            parts.push(Part::Image(Arc::clone(image)));
            parts.extend(text(self.template.label(number)));
        }
        parts.extend(text(self.template.question(self.focus, &self.context.lines(), self.language)));
        parts
    }
}

fn user(question: String) -> Turn {
    Turn::User(vec![Part::Text(question)])
}

fn json() -> Turn {
    Turn::Open(Form::Json(SCHEMA.into()))
}

fn text(words: String) -> Option<Part> {
    (!words.is_empty()).then_some(Part::Text(words))
}
