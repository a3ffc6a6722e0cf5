//! The HTTP face: DICOMweb (PS3.18), the REST API and the probes, on one listener.
//!
//! A request is parsed into an [`endpoint::Endpoint`] once, answered by the handler of that
//! endpoint, and every failure leaves as problem+json ([`error`]).

mod access;
mod answers;
mod body;
mod capabilities;
mod charset;
mod coding;
mod console;
mod cors;
mod cross_site;
mod deadline;
mod denials;
mod dicomweb;
mod docs;
pub mod endpoint;
mod error;
mod forwarded;
#[doc(hidden)]
pub mod fuzzing;
mod live;
mod multipart;
mod negotiation;
mod opening;
mod query_string;
mod rate_limit;
mod recorded;
mod rest;
mod security_headers;
mod server;
mod service;
mod stall;
mod surface;
mod tls;
mod urls;
mod visible;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use crate::audit::Recorder;
use crate::auth::Access;
use crate::blobs::Blobs;
use crate::clock::Clock;
use crate::config::{AuthMode, Role};
use crate::db::{Db, worklist};
use crate::dicom::temporal::Offset;
use crate::export::Exports;
use crate::export::commitment::Commitments;
use crate::export::content::Downloads;
use crate::ingest::Ingest;
use crate::query::decoding::Decodes;
use crate::reporting::Reporting;
use crate::telemetry::limits::hit as limit_hit;

pub use answers::Answers;
pub use capabilities::{Described, described_resources};
pub use cors::Cors;
pub use live::Live;
pub use rate_limit::RateLimits;
pub use rest::api_document;
pub use rest::hooks::{
    AnalysisRefused, AnalysisRequests, AnalysisTicket, HookFuture, ProbeOutcome, Readiness,
};
pub use server::{Listeners, serve};
pub use surface::{Door, doors};
pub use tls::Https;
pub use urls::Naming;

/// Renders all metrics in the text format of Prometheus.
pub type RenderMetrics = Arc<dyn Fn() -> String + Send + Sync>;

/// What the handlers share.
pub struct State {
    pub access: Arc<Access>,
    pub db: Db,
    pub blobs: Blobs,
    pub ingest: Ingest,
    pub audit: Recorder,
    pub settings: Settings,
    pub analyses: Arc<dyn AnalysisRequests>,
    pub readiness: Arc<dyn Readiness>,
    pub commitments: Arc<Commitments>,
    pub exports: Arc<Exports>,
    pub reporting: Arc<Reporting>,
    pub downloads: Arc<Downloads>,
    pub decodes: Decodes,
    pub answers: Answers,
    pub rate_limits: RateLimits,
    pub metrics: RenderMetrics,
    pub clock: Clock,
    pub live: Live,
    pub totals: worklist::Totals,
}

/// Limits of the listener and of single requests.
#[derive(Debug, Clone)]
pub struct Settings {
    /// A worker answers probes and metrics alone.
    pub role: Role,
    pub auth_mode: AuthMode,
    /// Names and passwords are taken with every request, where nobody reads along.
    pub basic: bool,
    pub naming: Naming,
    pub cors: Cors,
    pub connections_max: usize,
    /// TLS handshakes under way.
    pub handshakes_max: usize,
    /// Strict-Transport-Security; 0: none.
    pub hsts_max_age_s: u64,
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
    /// JSON of one request to the REST API.
    pub json_bytes_max: usize,
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
    /// From the arrival of a request, or the last piece of its body, to the beginning of the answer.
    pub answer_timeout: Duration,
    /// A client that takes nothing of its answer for this long is cut off.
    pub response_stall_timeout: Duration,
    /// One request, for STOW-RS all its parts together.
    pub body_bytes_max: u64,
    /// How long open requests may go on after the stop.
    pub drain_timeout: Duration,
    /// Every request has a row of its own in the audit trail.
    pub audit_each_request: bool,
    /// Entries of one export of the audit trail.
    pub audit_rows_max: u64,
    /// Studies that one request for a patient has rows for.
    pub audit_studies_max: u32,
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
    /// How long the first answer to an Idempotency-Key is kept.
    pub idempotency_retention: Duration,
    /// Keys of one caller that are kept.
    pub idempotency_keys_max: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            role: Role::All,
            auth_mode: AuthMode::Off,
            basic: false,
            naming: Naming::default(),
            cors: Cors::default(),
            connections_max: 1024,
            handshakes_max: 128,
            hsts_max_age_s: 0,
            header_bytes_max: 64 << 10,
            parts_max: 10_000,
            parts_in_flight: 8,
            metadata_bytes_max: 16 << 20,
            json_bytes_max: 16 << 10,
            accept_required: false,
            cache_control: "private, no-cache".to_owned(),
            retired_as_stored: false,
            decompress_bytes_max: 256 << 20,
            header_timeout: Duration::from_secs(20),
            uri_bytes_max: 16 << 10,
            streams_max: 100,
            body_idle_timeout: Duration::from_secs(60),
            body_rate_min: 512,
            answer_timeout: Duration::from_secs(120),
            response_stall_timeout: Duration::from_secs(60),
            body_bytes_max: 64 << 30,
            drain_timeout: Duration::from_secs(20),
            audit_each_request: false,
            audit_rows_max: 1_000_000,
            audit_studies_max: 100,
            deletion_enabled: false,
            search_limit_default: 1000,
            search_limit_max: 10_000,
            search_scan_max: 20_000,
            search_empty_204: false,
            search_timezone: Offset::UTC,
            idempotency_retention: Duration::from_secs(24 * 3600),
            idempotency_keys_max: 1000,
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
            cors: Cors {
                origins: http.cors_origins.clone(),
                max_age_s: http.cors_max_age_s,
                credentials: http.cors_credentials,
            },
            connections_max: http.connections_max,
            handshakes_max: http.tls.handshakes_max,
            hsts_max_age_s: http.tls.hsts_max_age_s,
            header_bytes_max: http.header_bytes_max,
            parts_max: http.parts_max,
            parts_in_flight: http.parts_in_flight,
            metadata_bytes_max: http.metadata_bytes_max,
            json_bytes_max: http.json_bytes_max,
            accept_required: http.accept_required,
            cache_control: http.cache_control.clone(),
            retired_as_stored: http.retired_as_stored,
            decompress_bytes_max: http.decompress_bytes_max,
            header_timeout: http.header_timeout(),
            uri_bytes_max: http.uri_bytes_max,
            streams_max: http.streams_max,
            body_idle_timeout: http.body_idle_timeout(),
            body_rate_min: http.body_rate_min,
            answer_timeout: http.answer_timeout(),
            response_stall_timeout: http.response_stall_timeout(),
            search_limit_default: narrowed(http.search_limit_default),
            search_limit_max: narrowed(http.search_limit_max),
            search_scan_max: http.search_scan_max,
            search_empty_204: http.search_empty_204,
            search_timezone: http.search_timezone,
            idempotency_retention: http.idempotency_retention(),
            idempotency_keys_max: http.idempotency_keys_max,
            ..Self::default()
        }
    }
}
