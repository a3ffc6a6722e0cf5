//! Log lines on stderr, as text or as one JSON object each, and spans to a collector.

use std::io::IsTerminal;

use opentelemetry_sdk::trace::SdkTracer;
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt, registry};

use crate::config::{Log, LogFormat};

#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("log.filter = {filter:?} is not a filter such as \"info,radiant=debug\"")]
    Filter { filter: String, source: tracing_subscriber::filter::ParseError },
    #[error("the log is set up already")]
    Twice,
}

/// Sets up the log of this process, once; spans go to the tracer, where there is one, whatever the
/// filter of the lines.
pub fn init(settings: &Log, tracer: Option<SdkTracer>) -> Result<(), LogError> {
    let filter = filter(&settings.filter)?;
    let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    let set = match settings.format {
        LogFormat::Text => registry().with(lines.with_filter(filter)).with(tracer.map(spans)).try_init(),
        LogFormat::Json => {
            registry().with(lines.json().with_filter(filter)).with(tracer.map(spans)).try_init()
        }
    };
    set.map_err(|_| LogError::Twice)
}

/// Our own spans: those of libraries, and the words of log lines, stay here.
fn spans<S>(tracer: SdkTracer) -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let layer = tracing_opentelemetry::layer()
        .with_tracer(tracer)
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_level(false)
        .with_tracked_inactivity(false);
    layer.with_filter(filter_fn(is_ours))
}

fn is_ours(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && *metadata.level() <= Level::INFO && metadata.target().starts_with("radiant")
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
