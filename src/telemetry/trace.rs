//! Traces: what leads to what, across jobs, servers and requests, as W3C Trace Context has it. Without
//! a collector there are none, and nothing here costs more than a look.

use std::collections::HashMap;

use opentelemetry::Context;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::TraceContextExt;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// The header, and what a job or an export keeps.
pub const TRACEPARENT: &str = "traceparent";

/// The `traceparent` of what is being done here and now.
pub fn current() -> Option<String> {
    let context = Span::current().context();
    if !context.span().span_context().is_valid() {
        return None;
    }
    let mut carrier = HashMap::new();
    TraceContextPropagator::new().inject_context(&context, &mut carrier);
    carrier.remove(TRACEPARENT)
}

/// Makes a new span go on with a trace, where one is given and well-formed. A span that has a field
/// `trace_id` says in it which trace it belongs to.
pub fn follow(span: Span, traceparent: Option<&str>) -> Span {
    if let Some(parent) = traceparent.and_then(parsed) {
        // Without a collector there is nobody to keep it.
        let _ = span.set_parent(parent);
    }
    let context = span.context();
    let own = context.span().span_context().clone();
    if own.is_valid() {
        span.record("trace_id", tracing::field::display(own.trace_id()));
    }
    span
}

fn parsed(traceparent: &str) -> Option<Context> {
    let carrier = HashMap::from([(TRACEPARENT.to_owned(), traceparent.to_owned())]);
    let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &carrier);
    let is_valid = context.span().span_context().is_valid();
    is_valid.then_some(context)
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::TracerProvider;
    use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn traced<T>(sampler: Sampler, work: impl FnOnce() -> T) -> T {
        let provider = SdkTracerProvider::builder().with_sampler(sampler).build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), work)
    }

    fn span() -> Span {
        tracing::info_span!("work", trace_id = tracing::field::Empty)
    }

    #[test]
    fn a_span_goes_on_with_the_trace_that_it_is_given() {
        let own = traced(Sampler::AlwaysOn, || follow(span(), Some(PARENT)).in_scope(current)).unwrap();
        assert!(own.starts_with(&PARENT[..36]) && own != PARENT, "{own}");
    }

    #[test]
    fn what_is_no_traceparent_begins_a_trace_of_its_own() {
        for bad in ["", "00-0-0-01", "zz", "00-00000000000000000000000000000000-b7ad6b7169203331-01"] {
            let own = traced(Sampler::AlwaysOn, || follow(span(), Some(bad)).in_scope(current)).unwrap();
            assert!(!own.contains("0af7651916cd43dd8448eb211c80319c") && own.len() == 55, "{own}");
        }
    }

    #[test]
    fn without_a_collector_there_are_no_traces() {
        assert_eq!(follow(span(), Some(PARENT)).in_scope(current), None);
    }
}
