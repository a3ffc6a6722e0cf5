//! A conversation as messages of chat completions, and the body of a request about it. Pure.

use serde::Serialize;
use serde_json::{Value, json};

use super::places::Standing;
use crate::ai::{Part, Settings};

#[derive(Debug, Clone, Serialize)]
#[serde(tag = "role", rename_all = "lowercase")]
enum Message {
    System { content: Content },
    User { content: Content },
    Assistant { content: Content },
}

#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Pieces(Vec<Piece>),
}

#[derive(Debug, Clone, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Piece {
    Text { text: String },
    ImageUrl { image_url: Url },
}

#[derive(Debug, Clone, Serialize)]
struct Url {
    url: String,
}

/// What has been said so far.
#[derive(Debug, Default)]
pub(super) struct Talk(Vec<Message>);

impl Talk {
    /// Templates of models that see images take the content of the system as parts.
    pub(super) fn new(system: Option<&str>) -> Self {
        let system = system.map(|text| Message::System { content: Content::Pieces(vec![piece(text)]) });
        Self(system.into_iter().collect())
    }

    /// `urls` are of the images, in their order.
    pub(super) fn user(&mut self, parts: &[Part], urls: &mut impl Iterator<Item = String>) {
        let pieces = parts.iter().filter_map(|part| match part {
            Part::Text(text) => Some(piece(text)),
            Part::Image(_) => urls.next().map(|url| Piece::ImageUrl { image_url: Url { url } }),
        });
        self.0.push(Message::User { content: Content::Pieces(pieces.collect()) });
    }

    pub(super) fn said(&mut self, text: &str) {
        self.0.push(Message::Assistant { content: Content::Text(text.to_owned()) });
    }

    /// Adds a sentence to what the user said last.
    pub(super) fn add(&mut self, text: &str) {
        match self.0.last_mut() {
            Some(Message::User { content: Content::Pieces(pieces) }) => pieces.push(piece(text)),
            _ => self.0.push(Message::User { content: Content::Pieces(vec![piece(text)]) }),
        }
    }

    pub(super) fn length(&self) -> usize {
        self.0.len()
    }

    /// Takes back what was said behind a length.
    pub(super) fn shorten(&mut self, length: usize) {
        self.0.truncate(length);
    }
}

fn piece(text: &str) -> Piece {
    Piece::Text { text: text.to_owned() }
}

/// How a service is asked for one answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asking<'a> {
    pub(super) talk: &'a Talk,
    pub(super) model: &'a str,
    pub(super) tokens_max: usize,
    pub(super) settings: &'a Settings,
    pub(super) stream: bool,
    /// The schema that the service is to hold the answer to.
    pub(super) schema: Option<&'a str>,
    pub(super) standing: Standing,
}

#[derive(Serialize)]
struct Body<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'a str>,
    #[serde(rename = "@requestFormat", skip_serializing_if = "Option::is_none")]
    request_format: Option<&'static str>,
    messages: &'a [Message],
    max_tokens: usize,
    temperature: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    seed: u64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_options: Option<Value>,
}

impl<'a> Asking<'a> {
    pub(super) fn chat(&self) -> Result<Vec<u8>, serde_json::Error> {
        self.written(&Body { model: Some(self.model), ..self.body() })
    }

    /// In the envelope of `:predict`, which cannot stream.
    pub(super) fn predict(&self) -> Result<Vec<u8>, serde_json::Error> {
        let body = Asking { stream: false, ..*self }.body();
        let instance = self.written(&Body { request_format: Some("chatCompletions"), ..body })?;
        Ok([br#"{"instances":["#.as_slice(), &instance, b"]}"].concat())
    }

    /// The schema goes along as it was written: a service that decodes under it has keys written in
    /// its order, and `serde_json` sorts them.
    fn written(&self, body: &Body<'_>) -> Result<Vec<u8>, serde_json::Error> {
        let mut text = serde_json::to_vec(body)?;
        if let Some(schema) = self.schema {
            text.pop();
            text.extend_from_slice(
                br#","response_format":{"type":"json_schema","json_schema":{"name":"answer","strict":true,"schema":"#,
            );
            text.extend_from_slice(schema.as_bytes());
            text.extend_from_slice(b"}}}");
        }
        Ok(text)
    }

    fn body(&self) -> Body<'a> {
        Body {
            model: None,
            request_format: None,
            messages: &self.talk.0,
            max_tokens: self.tokens_max,
            temperature: self.settings.temperature,
            top_p: self.settings.top_p,
            seed: self.settings.seed,
            stream: self.stream,
            stream_options: self.stream.then(|| json!({ "include_usage": true })),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::ai::{Priority, RgbImage};
    use crate::clock::Timestamp;

    fn talk() -> Talk {
        let mut talk = Talk::new(Some("You are a radiologist."));
        let image = Part::Image(Arc::new(RgbImage { width: 1, height: 1, data: vec![0; 3] }));
        let parts = [image, Part::Text("SLICE 1".into()), Part::Text("Report.".into())];
        talk.user(&parts, &mut ["data:image/png;base64,AA".to_owned()].into_iter());
        talk
    }

    fn asking<'a>(talk: &'a Talk, settings: &'a Settings, schema: Option<&'a str>) -> Asking<'a> {
        let standing = Standing { priority: Priority::default(), since: Timestamp(0) };
        Asking { talk, model: "medgemma", tokens_max: 1024, settings, stream: true, schema, standing }
    }

    #[test]
    fn a_conversation_becomes_messages() {
        let mut talk = talk();
        talk.said("No effusion.");
        talk.user(&[Part::Text("As JSON.".into())], &mut std::iter::empty());
        let (settings, schema) = (Settings::default(), r#"{ "type": "object", "a": 1 }"#);
        let text = asking(&talk, &settings, Some(schema)).chat().unwrap();
        assert!(text.windows(schema.len()).any(|part| part == schema.as_bytes()), "in its own order");
        let body: Value = serde_json::from_slice(&text).unwrap();
        let expected = json!({
            "model": "medgemma",
            "messages": [
                { "role": "system", "content": [{ "type": "text", "text": "You are a radiologist." }] },
                { "role": "user", "content": [
                    { "type": "image_url", "image_url": { "url": "data:image/png;base64,AA" } },
                    { "type": "text", "text": "SLICE 1" },
                    { "type": "text", "text": "Report." },
                ] },
                { "role": "assistant", "content": "No effusion." },
                { "role": "user", "content": [{ "type": "text", "text": "As JSON." }] },
            ],
            "max_tokens": 1024, "temperature": 0.0, "seed": 0,
            "stream": true, "stream_options": { "include_usage": true },
            "response_format": { "type": "json_schema", "json_schema": {
                "name": "answer", "strict": true, "schema": { "type": "object", "a": 1 } } },
        });
        assert_eq!(body, expected);
    }

    #[test]
    fn predict_wraps_the_same_without_a_stream() {
        let (talk, settings) = (talk(), Settings::default());
        let body: Value = serde_json::from_slice(&asking(&talk, &settings, None).predict().unwrap()).unwrap();
        let instance = &body["instances"][0];
        assert_eq!(instance["@requestFormat"], "chatCompletions");
        assert_eq!(instance["messages"].as_array().unwrap().len(), 2);
        assert!(instance.get("stream").is_none() && instance.get("model").is_none());
    }
}
