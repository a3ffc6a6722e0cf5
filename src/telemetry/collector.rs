//! Spans on their way to a collector, by OTLP over HTTP. They wait in a bounded queue; what finds it full,
//! or a collector that does not take it, is dropped and counted. Nobody ever waits for either.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use opentelemetry::trace::TracerProvider;
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{ExporterBuildError, Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::SpanExporter as _;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider, Span, SpanData, SpanProcessor};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::limits;
use super::metrics::traces as metric;
use crate::config::Traces;
use crate::outbound::AccessError;
use crate::outbound::access::{Access, CONNECT_TIMEOUT};

const NAME: &str = "telemetry.traces";

#[derive(Debug, thiserror::Error)]
pub enum CollectorError {
    #[error(transparent)]
    Access(#[from] AccessError),
    #[error("{NAME}: its credentials cannot be read")]
    Credentials(#[source] io::Error),
    #[error("{NAME}: its client cannot be made")]
    Client(#[source] reqwest::Error),
    #[error("{NAME}: spans cannot be sent")]
    Exporter(#[source] ExporterBuildError),
}

/// Where spans begin, and what takes them away.
pub struct Collector {
    provider: SdkTracerProvider,
    waiting: mpsc::Receiver<SpanData>,
    exporter: SpanExporter,
    settings: Traces,
}

impl Collector {
    /// None where no endpoint is configured.
    pub fn of(settings: &Traces) -> Result<Option<Self>, CollectorError> {
        if settings.endpoint.is_empty() {
            return Ok(None);
        }
        let (sender, waiting) = mpsc::channel(settings.queue_max.max(1));
        let resource = resource(settings);
        let mut exporter = exporter(settings)?;
        exporter.set_resource(&resource);
        let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(settings.sampling)));
        let provider = SdkTracerProvider::builder()
            .with_resource(resource)
            .with_sampler(sampler)
            .with_span_processor(Queue(sender))
            .build();
        Ok(Some(Self { provider, waiting, exporter, settings: settings.clone() }))
    }

    pub fn tracer(&self) -> SdkTracer {
        self.provider.tracer("radiant")
    }

    /// Sends until `stop`, then what waits, for as long as that may take.
    pub async fn run(mut self, stop: CancellationToken) {
        while let Some(batch) = stop.run_until_cancelled(self.batch()).await {
            self.send(batch).await;
        }
        let flush = self.settings.flush();
        let rest = async {
            loop {
                let mut batch = Vec::new();
                self.fill(&mut batch);
                match batch.is_empty() {
                    true => return,
                    false => self.send(batch).await,
                }
            }
        };
        if timeout(flush, rest).await.is_err() {
            tracing::warn!("the last spans did not come to the collector in time");
        }
    }

    /// The first span waits for others, so that few requests carry many.
    async fn batch(&mut self) -> Vec<SpanData> {
        let mut batch = Vec::new();
        if self.waiting.len() < self.settings.batch_max {
            tokio::time::sleep(self.settings.batch_every()).await;
        }
        self.waiting.recv_many(&mut batch, self.settings.batch_max.max(1)).await;
        batch
    }

    fn fill(&mut self, batch: &mut Vec<SpanData>) {
        while batch.len() < self.settings.batch_max.max(1)
            && let Ok(span) = self.waiting.try_recv()
        {
            batch.push(span);
        }
    }

    async fn send(&self, batch: Vec<SpanData>) {
        let spans = batch.len() as u64;
        match timeout(self.settings.timeout(), self.exporter.export(batch)).await {
            Ok(Ok(())) => metrics::counter!(metric::SENT).increment(spans),
            failed => {
                metrics::counter!(metric::DROPPED, "why" => "collector").increment(spans);
                let reason = failed.map_or("no answer".to_owned(), |result| format!("{result:?}"));
                tracing::debug!(reason, spans, "the collector did not take spans");
            }
        }
    }
}

fn resource(settings: &Traces) -> Resource {
    Resource::builder()
        .with_service_name(settings.service_name.clone())
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build()
}

fn exporter(settings: &Traces) -> Result<SpanExporter, CollectorError> {
    let access = Access::new(NAME, &settings.access(), CONNECT_TIMEOUT)?;
    let request = access.request(reqwest::Method::POST, &settings.endpoint);
    let request = request.map_err(CollectorError::Credentials)?.build().map_err(CollectorError::Client)?;
    let headers = request.headers().iter();
    let headers: HashMap<String, String> = headers
        .filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())))
        .collect();
    SpanExporter::builder()
        .with_http()
        .with_http_client(access.client())
        .with_endpoint(&settings.endpoint)
        .with_protocol(Protocol::HttpBinary)
        .with_timeout(settings.timeout())
        .with_headers(headers)
        .build()
        .map_err(CollectorError::Exporter)
}

/// Takes spans that end, on whatever thread, and never waits.
#[derive(Debug)]
struct Queue(mpsc::Sender<SpanData>);

impl SpanProcessor for Queue {
    fn on_start(&self, _span: &mut Span, _context: &Context) {}

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() && self.0.try_send(span).is_err() {
            metrics::counter!(metric::DROPPED, "why" => "queue").increment(1);
            limits::hit("telemetry.traces.queue_max");
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    /// What waits is sent by [`Collector::run`].
    fn shutdown_with_timeout(&self, _limit: Duration) -> OTelSdkResult {
        Ok(())
    }
}
