//! What can go wrong with one exchange, and what follows from it.

use std::time::Duration;

use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::Value;

use crate::ai::EngineError;
use crate::causes::chain;
use crate::outbound::access::SendError;

/// Of what a service says of itself.
const SAID_CHARS_MAX: usize = 300;

#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("the credentials cannot be read")]
    Secrets(#[source] std::io::Error),
    #[error(transparent)]
    Exchange(#[from] SendError),
    #[error("the answer took longer than {} s", .0.as_secs())]
    Slow(Duration),
    #[error("the stream ended before the answer did")]
    CutOff,
    #[error("what came is no answer: {0}")]
    Garbage(String),
    #[error("what came is longer than {0} bytes (model.remote.answer_bytes_max)")]
    TooLarge(u64),
    #[error("{status}{}{said}", if said.is_empty() { "" } else { ": " })]
    Status { status: StatusCode, said: String, retry_after: Option<Duration> },
    #[error("the prompt needs {needed} tokens and the context holds {limit}")]
    TooLong { needed: usize, limit: usize },
    #[error("the request has {length} bytes, and model.remote.request_bytes_max is {most}")]
    Oversized { length: u64, most: u64 },
    #[error("the request cannot be written")]
    Body(#[source] serde_json::Error),
    #[error("the token endpoint")]
    Token(#[source] Box<Failure>),
    #[error("the key of the service account: {0}")]
    Key(String),
}

/// What follows from a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing was done: it is away, or busy for so long.
    Away { after: Option<Duration> },
    /// Something went wrong that may go well the next time.
    Again,
    /// The credentials may be old.
    Unauthorized,
    /// The same would happen again.
    Never,
}

impl Failure {
    pub(super) fn verdict(&self) -> Verdict {
        match self {
            Self::Exchange(error) if error.was_not_reached() => Verdict::Away { after: None },
            Self::Exchange(_) | Self::Slow(_) | Self::CutOff | Self::Garbage(_) => Verdict::Again,
            Self::Secrets(_) | Self::Key(_) | Self::TooLarge(_) | Self::TooLong { .. } => Verdict::Never,
            Self::Oversized { .. } | Self::Body(_) => Verdict::Never,
            Self::Token(failure) => match failure.verdict() {
                Verdict::Unauthorized => Verdict::Never,
                other => other,
            },
            Self::Status { said, .. } if is_no_image_input(said) => Verdict::Never,
            Self::Status { status, retry_after, .. } => match *status {
                StatusCode::UNAUTHORIZED => Verdict::Unauthorized,
                StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                    Verdict::Away { after: *retry_after }
                }
                StatusCode::NOT_IMPLEMENTED => Verdict::Never,
                StatusCode::REQUEST_TIMEOUT => Verdict::Again,
                status if status.is_server_error() => Verdict::Again,
                _ => Verdict::Never,
            },
        }
    }

    /// What came of the request, for metrics.
    pub(super) fn outcome(&self) -> &'static str {
        match self.verdict() {
            Verdict::Away { .. } => "away",
            Verdict::Again => "failed",
            Verdict::Unauthorized | Verdict::Never => "refused",
        }
    }

    /// A kind of failure for metrics.
    pub(super) fn why(&self) -> &'static str {
        match self {
            Self::Exchange(_) | Self::Slow(_) => "connection",
            Self::Status { status, .. } if *status == StatusCode::TOO_MANY_REQUESTS => "busy",
            Self::Status { .. } | Self::Token(_) => "server",
            _ => "answer",
        }
    }

    /// Whether the service does not know how to hold an answer to a schema.
    pub(super) fn is_about_schema(&self) -> bool {
        let Self::Status { status, said, .. } = self else { return false };
        let said = said.to_lowercase();
        let words =
            ["response_format", "json_schema", "response format", "guided", "grammar", "structured output"];
        matches!(status.as_u16(), 400 | 404 | 422 | 500 | 501) && words.iter().any(|word| said.contains(word))
    }

    /// From the status and the body of an answer that is none.
    pub(super) fn of(status: StatusCode, retry_after: Option<Duration>, body: &[u8]) -> Self {
        let error = serde_json::from_slice(body).ok().and_then(|body: Value| said_error(&body));
        match error {
            Some(error) => error.failure(Some(status), retry_after),
            None => Self::Status { status, said: printable(&String::from_utf8_lossy(body)), retry_after },
        }
    }

    /// An error that comes where an answer should be, in a stream or with status 200.
    pub(super) fn within(body: &Value) -> Option<Self> {
        Some(said_error(body)?.failure(None, None))
    }
}

impl From<Failure> for EngineError {
    fn from(failure: Failure) -> Self {
        let reason = chain(&failure);
        match (&failure, failure.verdict()) {
            (Failure::TooLong { needed, limit }, _) => Self::PromptTooLong { needed: *needed, limit: *limit },
            (_, Verdict::Away { after }) => Self::Away { reason, again_in: after.unwrap_or_default() },
            (_, Verdict::Again) => Self::Service(reason),
            (_, Verdict::Unauthorized | Verdict::Never) => Self::Refused(reason),
        }
    }
}

/// llama.cpp's server says so with 500.
fn is_no_image_input(said: &str) -> bool {
    said.contains("image input is not supported")
}

/// `error` of OpenAI, of llama.cpp, of Google, and the plain text of Ollama.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct SaidError {
    message: String,
    code: Value,
    #[serde(rename = "type")]
    kind: Value,
    status: Value,
    n_prompt_tokens: Option<usize>,
    n_ctx: Option<usize>,
}

fn said_error(body: &Value) -> Option<SaidError> {
    let body = body.as_array().and_then(|all| all.first()).unwrap_or(body);
    match body.get("error") {
        Some(Value::String(text)) => Some(SaidError { message: text.clone(), ..SaidError::default() }),
        Some(error @ Value::Object(_)) => SaidError::deserialize(error).ok(),
        // vLLM before 0.9 says the same on the first level.
        _ if body.get("object") == Some(&"error".into()) => SaidError::deserialize(body).ok(),
        _ => None,
    }
}

impl SaidError {
    fn failure(self, status: Option<StatusCode>, retry_after: Option<Duration>) -> Failure {
        if let (Some(needed), Some(limit)) = (self.n_prompt_tokens, self.n_ctx) {
            return Failure::TooLong { needed, limit };
        }
        let code = self.code.as_u64().and_then(|code| StatusCode::from_u16(u16::try_from(code).ok()?).ok());
        let status = status.or(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let names = [&self.status, &self.kind].into_iter().find_map(|name| name.as_str());
        let said = match names {
            Some(name) if !name.is_empty() => format!("{name}: {}", self.message),
            _ => self.message,
        };
        Failure::Status { status, said: printable(&said), retry_after }
    }
}

/// One line that a log can show.
fn printable(text: &str) -> String {
    let line: String =
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SAID_CHARS_MAX).collect();
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(status: u16, body: &str) -> Failure {
        Failure::of(StatusCode::from_u16(status).unwrap(), None, body.as_bytes())
    }

    #[test]
    fn every_service_says_errors_in_its_own_form() {
        for (body, said) in [
            (
                r#"{"error":{"message":"Invalid API Key","type":"authentication_error","code":401}}"#,
                "authentication_error: Invalid API Key",
            ),
            (
                r#"{"error":{"code":429,"message":"quota","status":"RESOURCE_EXHAUSTED","details":[{}]}}"#,
                "RESOURCE_EXHAUSTED: quota",
            ),
            (r#"[{"error":{"code":404,"message":"none","status":"NOT_FOUND"}}]"#, "NOT_FOUND: none"),
            (
                r#"{"object":"error","message":"no","type":"BadRequestError","code":400}"#,
                "BadRequestError: no",
            ),
            (r#"{"error":"model not found"}"#, "model not found"),
            ("<html>\n<b>Bad Gateway", "<html> <b>Bad Gateway"),
        ] {
            let Failure::Status { said: heard, .. } = failure(502, body) else { panic!("{body}") };
            assert_eq!(heard, said);
        }
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let verdicts = [408, 429, 500, 502, 503, 504].map(|status| failure(status, "").verdict());
        assert!(!verdicts.contains(&Verdict::Never) && !verdicts.contains(&Verdict::Unauthorized));
        for status in [301, 400, 403, 404, 413, 422, 501] {
            assert_eq!(failure(status, "").verdict(), Verdict::Never, "{status}");
        }
        assert_eq!(failure(401, "").verdict(), Verdict::Unauthorized);
        let blind = r#"{"error":{"code":500,"message":"image input is not supported - hint: mmproj","type":"server_error"}}"#;
        assert_eq!(failure(500, blind).verdict(), Verdict::Never);
    }

    #[test]
    fn a_prompt_that_is_too_long_says_by_how_much() {
        let body = r#"{"error":{"code":400,"message":"m","type":"exceed_context_size_error","n_prompt_tokens":3009,"n_ctx":1024}}"#;
        let error = EngineError::from(failure(400, body));
        assert!(matches!(error, EngineError::PromptTooLong { needed: 3009, limit: 1024 }), "{error}");
    }

    #[test]
    fn what_a_service_says_is_one_short_line() {
        let Failure::Status { said, .. } = failure(500, &format!("a\r\n\u{1b}[31m{}", "x".repeat(5000)))
        else {
            panic!("a status")
        };
        assert!(said.len() <= SAID_CHARS_MAX && !said.contains(char::is_control), "{said}");
    }
}
