//! What comes back: chat completions, whole or piece by piece. Pure.

use serde::Deserialize;
use serde_json::Value;

use super::failure::Failure;

/// What a service wrote, and its account of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) text: String,
    pub(super) finish: Option<Finish>,
    pub(super) tokens: Option<Tokens>,
    /// Pieces that the text came in: tokens, more or less.
    pub(super) pieces: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finish {
    Stop,
    /// The answer is cut.
    Length,
    /// Something else than the end of the answer ended it.
    Other,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Tokens {
    #[serde(default)]
    pub(super) prompt_tokens: usize,
    #[serde(default)]
    pub(super) completion_tokens: usize,
}

#[derive(Deserialize)]
struct Completion {
    choices: Vec<Choice>,
    #[serde(default)]
    usage: Option<Tokens>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(default, alias = "delta")]
    message: Option<Message>,
    #[serde(default)]
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    content: Option<String>,
}

impl Finish {
    fn named(name: &str) -> Self {
        match name {
            "stop" | "eos" | "STOP" => Self::Stop,
            "length" | "MAX_TOKENS" => Self::Length,
            _ => Self::Other,
        }
    }
}

impl Answer {
    /// From the body of an answer that came whole.
    pub(super) fn whole(body: &[u8]) -> Result<Self, Failure> {
        let body: Value = json(body)?;
        Self::of_value(&body)
    }

    /// From the envelope of `:predict`, whose predictions are the completion, or a list of one.
    pub(super) fn predicted(body: &[u8]) -> Result<Self, Failure> {
        let body: Value = json(body)?;
        let predictions = body.get("predictions");
        let Some(predictions) = predictions else {
            return Err(Failure::within(&body)
                .unwrap_or_else(|| Failure::Garbage("there are no predictions".to_owned())));
        };
        let mut inner = predictions;
        while let Some(first) = inner.as_array().and_then(|all| all.first()) {
            inner = first;
        }
        match inner {
            // Deployments that know no roles give the text alone.
            Value::String(text) => {
                Ok(Self { text: text.clone(), finish: Some(Finish::Stop), ..Self::default() })
            }
            inner => Self::of_value(inner),
        }
    }

    fn of_value(body: &Value) -> Result<Self, Failure> {
        let mut answer = Self::default();
        answer.add_value(body)?;
        match answer.finish {
            Some(_) => Ok(answer),
            None => Err(Failure::CutOff),
        }
    }

    /// Adds an event of a stream. Whether it was the last.
    pub(super) fn add(&mut self, event: &[u8]) -> Result<bool, Failure> {
        if event.trim_ascii() == b"[DONE]" {
            return Ok(true);
        }
        self.add_value(&json(event)?)?;
        Ok(false)
    }

    fn add_value(&mut self, body: &Value) -> Result<(), Failure> {
        if let Some(failure) = Failure::within(body) {
            return Err(failure);
        }
        let completion = Completion::deserialize(body);
        let completion = completion.map_err(|error| Failure::Garbage(error.to_string()))?;
        self.tokens = completion.usage.or(self.tokens);
        let Some(choice) = completion.choices.into_iter().next() else { return Ok(()) };
        let content = choice.message.and_then(|message| message.content).unwrap_or_default();
        self.pieces += usize::from(!content.is_empty());
        self.text.push_str(&content);
        self.finish = choice.finish_reason.as_deref().map(Finish::named).or(self.finish);
        Ok(())
    }
}

fn json(bytes: &[u8]) -> Result<Value, Failure> {
    serde_json::from_slice(bytes).map_err(|error| Failure::Garbage(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_make_an_answer() {
        let mut answer = Answer::default();
        for event in [
            r#"{"choices":[{"delta":{"role":"assistant","content":null},"finish_reason":null}]}"#,
            r#"{"choices":[{"delta":{"content":"No "}}]}"#,
            r#"{"choices":[{"delta":{"content":"effusion."}}]}"#,
            r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#,
            r#"{"choices":[],"usage":{"prompt_tokens":34,"completion_tokens":5,"total_tokens":39}}"#,
        ] {
            assert!(!answer.add(event.as_bytes()).unwrap());
        }
        assert!(answer.add(b"[DONE]").unwrap());
        let tokens = Some(Tokens { prompt_tokens: 34, completion_tokens: 5 });
        let expected = Answer { text: "No effusion.".into(), finish: Some(Finish::Stop), tokens, pieces: 2 };
        assert_eq!(answer, expected);
    }

    #[test]
    fn an_error_in_the_stream_is_one() {
        let event = br#"{"error":{"code":503,"message":"gone","type":"unavailable_error"}}"#;
        assert!(matches!(Answer::default().add(event), Err(Failure::Status { status, .. }) if status == 503));
        assert!(matches!(Answer::default().add(b"{\"choi"), Err(Failure::Garbage(_))));
        assert!(matches!(Answer::whole(b"[1, 2]"), Err(Failure::Garbage(_))));
    }

    #[test]
    fn the_envelopes_of_predict_are_opened() {
        let choice = r#"{"choices":[{"message":{"content":"a"},"finish_reason":"length"}]}"#;
        for body in [
            format!(r#"{{"predictions":{choice},"deployedModelId":"7"}}"#),
            format!(r#"{{"predictions":[{choice}]}}"#),
            format!(r#"{{"predictions":[[{choice}]]}}"#),
        ] {
            let answer = Answer::predicted(body.as_bytes()).unwrap();
            assert_eq!((answer.text.as_str(), answer.finish), ("a", Some(Finish::Length)));
        }
        assert_eq!(Answer::predicted(br#"{"predictions":["b"]}"#).unwrap().text, "b");
        assert!(Answer::predicted(br#"{"predictions":[]}"#).is_err());
        assert!(matches!(
            Answer::predicted(br#"{"error":{"code":400,"message":"m","status":"FAILED_PRECONDITION"}}"#),
            Err(Failure::Status { .. })
        ));
    }
}
