//! Digests that tell pictures and requests apart.

use sha2::{Digest, Sha256};

use super::{Form, ModelIdentity, Part, Request, RgbImage, Settings, Turn};

/// SHA-256 over size and pixels of a picture.
pub type PictureDigest = [u8; 32];

impl RgbImage {
    pub fn digest(&self) -> PictureDigest {
        let size =
            Sha256::new().chain_update(self.width.to_le_bytes()).chain_update(self.height.to_le_bytes());
        size.chain_update(&self.data).finalize().into()
    }
}

/// SHA-256 over fields, each with its length: no two lists of fields look alike.
pub struct Fields(Sha256);

impl Fields {
    /// Of one form, which says what the fields are.
    pub fn of(form: &str) -> Self {
        Self(Sha256::new()).with(form.as_bytes())
    }

    pub fn with(mut self, field: &[u8]) -> Self {
        self.0.update((field.len() as u64).to_le_bytes());
        self.0.update(field);
        self
    }

    pub fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

impl Request {
    /// Of all that an answer to it follows from, the model left aside; when it is answered, by its
    /// priority, is no part of that. Looks at every pixel.
    pub fn digest(&self) -> [u8; 32] {
        let Self { system, turns, settings, priority: _ } = self;
        let system = system.as_ref().map_or(Fields::of("request 1"), |system| {
            Fields::of("request 1").with(b"system").with(system.as_bytes())
        });
        settings.add_to(turns.iter().fold(system, |fields, turn| turn.add_to(fields))).finish()
    }
}

impl Turn {
    fn add_to(&self, fields: Fields) -> Fields {
        match self {
            Self::User(parts) => parts.iter().fold(fields.with(b"user"), |fields, part| match part {
                Part::Text(text) => fields.with(b"text").with(text.as_bytes()),
                Part::Image(image) => fields.with(b"image").with(&image.digest()),
            }),
            Self::Said(text) => fields.with(b"said").with(text.as_bytes()),
            Self::Open(Form::Text) => fields.with(b"words"),
            Self::Open(Form::Json(schema)) => fields.with(b"json").with(schema.as_bytes()),
        }
    }
}

impl Settings {
    fn add_to(&self, fields: Fields) -> Fields {
        let Self { tokens_max, text_tokens_max, temperature, top_p, seed } = self;
        let top_p = top_p.map_or(u64::MAX, f64::to_bits);
        let numbers = [*tokens_max as u64, *text_tokens_max as u64, temperature.to_bits(), top_p, *seed];
        numbers.iter().fold(fields.with(b"settings"), |fields, number| fields.with(&number.to_le_bytes()))
    }
}

impl ModelIdentity {
    /// Of the weights and of how they are used, which the version says; of a service, of its address
    /// and what it says of its model.
    pub fn digest(&self) -> [u8; 32] {
        let Self { name, version, weights_sha256, notice: _, prompts: _, runs } = self;
        let told = [name.as_bytes(), version.as_bytes(), weights_sha256.as_bytes()];
        let model = told.into_iter().fold(Fields::of("model 1"), Fields::with);
        model.with(&[u8::from(*runs == super::Runs::Elsewhere)]).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::ai::{Priority, PromptSet, Runs};

    fn request(level: u8, words: &[&str]) -> Request {
        let picture = RgbImage { width: 1, height: 1, data: vec![level; 3] };
        let mut parts = vec![Part::Image(Arc::new(picture))];
        parts.extend(words.iter().map(|words| Part::Text((*words).to_owned())));
        let turns = vec![Turn::User(parts), Turn::Open(Form::Text)];
        Request { system: None, turns, settings: Settings::default(), priority: Priority::default() }
    }

    #[test]
    fn what_an_answer_follows_from_changes_the_digest_of_its_request() {
        let one = request(1, &["ab"]);
        let mut others = vec![request(2, &["ab"]), request(1, &["a", "b"]), request(1, &["ab", ""])];
        others.push(Request { system: Some(String::new()), ..one.clone() });
        others.push(Request { settings: Settings { seed: 1, ..Settings::default() }, ..one.clone() });
        others.push(Request {
            turns: vec![one.turns[0].clone(), Turn::Open(Form::Json("".into()))],
            ..one.clone()
        });
        others.push(Request { turns: vec![one.turns[0].clone(), Turn::Said("words".into())], ..one.clone() });
        assert!(others.iter().all(|other| other.digest() != one.digest()));
        assert_eq!(Request { priority: Priority::Stat, ..one.clone() }.digest(), one.digest());
    }

    #[test]
    fn a_model_is_its_weights_and_how_they_are_used() {
        let model = ModelIdentity {
            name: "m".into(),
            version: "1".into(),
            weights_sha256: "00".into(),
            notice: None,
            prompts: PromptSet::Medgemma,
            runs: Runs::Here,
        };
        let packed = ModelIdentity { version: "1 (8 bit)".into(), ..model.clone() };
        let elsewhere = ModelIdentity { runs: Runs::Elsewhere, ..model.clone() };
        let told = ModelIdentity { notice: Some("Synthetic.".into()), ..model.clone() };
        assert!(packed.digest() != model.digest() && elsewhere.digest() != model.digest());
        assert_eq!(told.digest(), model.digest());
    }
}
