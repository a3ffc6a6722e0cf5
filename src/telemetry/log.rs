//! Log lines on stderr, as text or as one JSON object each.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("log.filter = {filter:?} is not a filter such as \"info,radiant=debug\"")]
    Filter { filter: String, source: tracing_subscriber::filter::ParseError },
    #[error("the log is set up already")]
    Twice,
}

/// Sets up the log of this process, once.
pub fn init(settings: &Log) -> Result<(), LogError> {
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter(&settings.filter)?)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let set = match settings.format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().try_init(),
    };
    set.map_err(|_| LogError::Twice)
}

fn filter(text: &str) -> Result<EnvFilter, LogError> {
    let parsed = EnvFilter::builder().parse(text);
    parsed.map_err(|source| LogError::Filter { filter: text.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_cannot_be_read_is_named_with_its_key() {
        let error = filter("radiant=loud").unwrap_err().to_string();
        assert!(error.starts_with("log.filter = \"radiant=loud\""), "{error}");
        assert!(filter("info,radiant=debug").is_ok());
    }
}
