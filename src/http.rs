//! The HTTP face: DICOMweb (PS3.18), the REST API and the probes, on one listener.
//!
//! A request is parsed into an [`endpoint::Endpoint`] once, answered by the handler of that
//! endpoint, and every failure leaves as problem+json ([`error`]).

mod answers;
mod body;
mod capabilities;
mod charset;
mod coding;
mod console;
mod cors;
mod dicomweb;
pub mod endpoint;
mod error;
mod forwarded;
#[doc(hidden)]
pub mod fuzzing;
mod multipart;
mod negotiation;
mod query_string;
mod rest;
mod server;
mod service;
mod stall;
mod urls;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use crate::blobs::Blobs;
use crate::db::Db;
use crate::dicom::temporal::Offset;
use crate::export::Exports;
use crate::export::commitment::Commitments;
use crate::ingest::Ingest;
use crate::query::decoding::Decodes;
use crate::telemetry::metrics::http as metric;

pub use answers::Answers;
pub use capabilities::{Described, described_resources};
pub use cors::Cors;
pub use rest::hooks::{
    AnalysisRefused, AnalysisRequests, AnalysisTicket, HookFuture, ProbeOutcome, Readiness,
};
pub use server::serve;
pub use urls::Naming;

/// Renders all metrics in the text format of Prometheus.
pub type RenderMetrics = Arc<dyn Fn() -> String + Send + Sync>;

/// What the handlers share.
pub struct State {
    pub db: Db,
    pub blobs: Blobs,
    pub ingest: Ingest,
    pub settings: Settings,
    pub analyses: Arc<dyn AnalysisRequests>,
    pub readiness: Arc<dyn Readiness>,
    pub commitments: Arc<Commitments>,
    pub exports: Arc<Exports>,
    pub decodes: Decodes,
    pub answers: Answers,
    pub metrics: RenderMetrics,
}

/// Limits of the listener and of single requests.
#[derive(Debug, Clone)]
pub struct Settings {
    pub naming: Naming,
    pub cors: Cors,
    pub connections_max: usize,
    /// Of one request.
    pub header_bytes_max: usize,
    /// Objects in one STOW-RS request.
    pub parts_max: usize,
    /// Objects of one STOW-RS request that may wait for their commit while the next arrives.
    pub parts_in_flight: usize,
    /// Path and query.
    pub uri_bytes_max: usize,
    /// At the same time on one HTTP/2 connection.
    pub streams_max: u32,
    /// JSON or XML of one STOW-RS request.
    pub metadata_bytes_max: usize,
    /// A GET without Accept is refused (PS3.18 8.7.5).
    pub accept_required: bool,
    /// Of everything that has an entity tag.
    pub cache_control: String,
    /// `transfer-syntax=*` gives the stored bytes of retired syntaxes too.
    pub retired_as_stored: bool,
    /// Larger stored objects are decompressed only for who asks for it.
    pub decompress_bytes_max: u64,
    /// From accepting a connection, or the end of a request, to the end of the next header.
    pub header_timeout: Duration,
    /// Silence in the middle of a body.
    pub body_idle_timeout: Duration,
    /// Bytes per second that a body must bring on the average, once it has been waited for as long
    /// as the idle timeout.
    pub body_rate_min: u64,
    /// A client that takes nothing of its answer for this long is cut off.
    pub response_stall_timeout: Duration,
    /// One request, for STOW-RS all its parts together.
    pub body_bytes_max: u64,
    /// How long open requests may go on after the stop.
    pub drain_timeout: Duration,
    /// Whether anything can be deleted by request.
    pub deletion_enabled: bool,
    /// Answers of a search that names no limit.
    pub search_limit_default: u32,
    pub search_limit_max: u32,
    /// Entities that one search may compare attribute by attribute.
    pub search_scan_max: usize,
    /// 204 instead of an empty list.
    pub search_empty_204: bool,
    /// Of stored dates and times that do not say theirs.
    pub search_timezone: Offset,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            naming: Naming::default(),
            cors: Cors::default(),
            connections_max: 1024,
            header_bytes_max: 64 << 10,
            parts_max: 10_000,
            parts_in_flight: 8,
            metadata_bytes_max: 16 << 20,
            accept_required: false,
            cache_control: "private, no-cache".to_owned(),
            retired_as_stored: false,
            decompress_bytes_max: 256 << 20,
            header_timeout: Duration::from_secs(20),
            uri_bytes_max: 16 << 10,
            streams_max: 100,
            body_idle_timeout: Duration::from_secs(60),
            body_rate_min: 512,
            response_stall_timeout: Duration::from_secs(60),
            body_bytes_max: 64 << 30,
            drain_timeout: Duration::from_secs(20),
            deletion_enabled: false,
            search_limit_default: 1000,
            search_limit_max: 10_000,
            search_scan_max: 20_000,
            search_empty_204: false,
            search_timezone: Offset::UTC,
        }
    }
}

impl Settings {
    /// The section of the configuration; what it leaves out keeps its default.
    pub fn from_config(http: &crate::config::Http) -> Self {
        let narrowed = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        Self {
            naming: Naming {
                public_base: Some(http.public_base.clone()).filter(|base| !base.is_empty()),
                form: http.urls,
                trusted_proxies: http.trusted_proxies.clone(),
            },
            cors: Cors { origins: http.cors_origins.clone(), max_age_s: http.cors_max_age_s },
            connections_max: http.connections_max,
            header_bytes_max: http.header_bytes_max,
            parts_max: http.parts_max,
            parts_in_flight: http.parts_in_flight,
            metadata_bytes_max: http.metadata_bytes_max,
            accept_required: http.accept_required,
            cache_control: http.cache_control.clone(),
            retired_as_stored: http.retired_as_stored,
            decompress_bytes_max: http.decompress_bytes_max,
            header_timeout: http.header_timeout(),
            uri_bytes_max: http.uri_bytes_max,
            streams_max: http.streams_max,
            body_idle_timeout: http.body_idle_timeout(),
            body_rate_min: http.body_rate_min,
            response_stall_timeout: http.response_stall_timeout(),
            search_limit_default: narrowed(http.search_limit_default),
            search_limit_max: narrowed(http.search_limit_max),
            search_scan_max: http.search_scan_max,
            search_empty_204: http.search_empty_204,
            search_timezone: http.search_timezone,
            ..Self::default()
        }
    }
}

/// Counts a limit of the section `http` that was hit.
fn limit_hit(limit: &'static str) {
    metrics::counter!(metric::LIMIT_HITS, "limit" => limit).increment(1);
}
