//! What an object store says when it does not do what it is asked to, as people can read it.

use std::error::Error;
use std::io;

/// What is asked of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Write,
    WritePart,
    GiveUp,
    Look,
    Read,
    List,
    Delete,
    Sign,
}

impl Operation {
    /// For metrics.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::WritePart => "write-part",
            Self::GiveUp => "give-up",
            Self::Look => "look",
            Self::Read => "read",
            Self::List => "list",
            Self::Delete => "delete",
            Self::Sign => "sign",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Write => "take an object",
            Self::WritePart => "take a part of an object",
            Self::GiveUp => "give up an upload",
            Self::Look => "tell of an object",
            Self::Read => "give an object",
            Self::List => "list its objects",
            Self::Delete => "delete an object",
            Self::Sign => "let an address be signed",
        }
    }
}

/// A request that came to nothing although it was tried again: nothing is known about the object.
#[derive(Debug, thiserror::Error)]
#[error("the object store did not {}: {reason}", operation.words())]
struct Away {
    operation: Operation,
    reason: String,
}

/// Whether a store that is not there, is overloaded or refuses us is among the causes: what failed may
/// work later, and nothing is known about the object.
pub fn is_away(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.is::<Away>() {
            return true;
        }
        // An error of input and output gives the cause of its content, not its content.
        let content = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        cause = content.map(|content| content as &(dyn Error + 'static)).or_else(|| error.source());
    }
    false
}

pub(super) fn not_there(operation: Operation, limit: std::time::Duration) -> io::Error {
    let reason = format!("no answer within {} s", limit.as_secs_f64());
    io::Error::other(Away { operation, reason })
}

/// It was not asked: what it said last, or did not say.
pub(super) fn left_alone(operation: Operation, said: &str) -> io::Error {
    let reason = format!("it is left alone for a while ({said})");
    io::Error::other(Away { operation, reason })
}

pub(super) fn told(operation: Operation, error: &object_store::Error) -> io::Error {
    let text = deepest(error);
    match error {
        object_store::Error::NotFound { .. } if !lacks_bucket(&text) => {
            io::Error::new(io::ErrorKind::NotFound, "there is no such object")
        }
        // RFC 9110 15.5.17, and what the client says by itself: the range begins behind the object.
        _ if text.contains("416 ") || text.starts_with("Wanted range") => io::ErrorKind::UnexpectedEof.into(),
        _ => io::Error::other(Away { operation, reason: reason(&text) }),
    }
}

/// A store without its bucket says "not found", too.
fn lacks_bucket(text: &str) -> bool {
    ["NoSuchBucket", "ContainerNotFound"].iter().any(|code| text.contains(code))
}

/// The first cause says most: those around it tell by what request and how often.
fn deepest(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

/// The code and the sentence of an answer, which are all that people need of its XML.
fn reason(text: &str) -> String {
    match (element(text, "Code"), element(text, "Message")) {
        (Some(code), Some(message)) => {
            format!("{code}: {}", message.lines().next().unwrap_or_default().trim())
        }
        (Some(code), None) => code.to_owned(),
        _ => text.split_whitespace().collect::<Vec<_>>().join(" ").trim_end_matches(": ").to_owned(),
    }
}

fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    rest.split_once('<').map(|(content, _)| content)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSED: &str = "Server returned non-2xx status code: 403 Forbidden: <Error><Code>InvalidAccessKeyId</Code>\
                           <Message>There is no such key.\nRequestId:1</Message></Error>";

    fn generic(text: &str) -> object_store::Error {
        object_store::Error::Generic { store: "S3", source: text.into() }
    }

    fn not_found(text: &str) -> object_store::Error {
        object_store::Error::NotFound { path: "a".to_owned(), source: text.into() }
    }

    #[test]
    fn a_refusal_is_told_by_its_code_and_sentence() {
        let error = told(Operation::Read, &generic(REFUSED));
        let expected = "the object store did not give an object: InvalidAccessKeyId: There is no such key.";
        assert_eq!(error.to_string(), expected);
        assert!(is_away(&error));
        assert!(is_away(&io::Error::other(error)), "however often it was wrapped");
    }

    #[test]
    fn a_missing_object_is_not_a_missing_store() {
        let missing = told(Operation::Read, &not_found("404 Not Found"));
        assert!(!is_away(&missing) && missing.kind() == io::ErrorKind::NotFound);
        assert!(is_away(&told(Operation::Read, &not_found("<Code>NoSuchBucket</Code>"))));
    }

    #[test]
    fn a_range_behind_the_object_is_its_end() {
        let error = told(Operation::Read, &generic("status code: 416 Range Not Satisfiable: "));
        assert!(error.kind() == io::ErrorKind::UnexpectedEof && !is_away(&error));
    }
}
