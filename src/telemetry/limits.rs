//! The limits that can be hit, each by the key of the configuration that sets it, and the one counter
//! of them all.

use super::metrics::LIMIT_HITS;

/// Beside keys of the configuration those that the program itself sets, as `fixed.…`. A test holds this
/// list against the configuration and against the places that count.
pub const LIMITS: &[&str] = &[
    "analysis.attempts_max",
    "analysis.context_characters_max",
    "analysis.time_limit_s",
    "analysis.tokens_max",
    "analysis.volume_bytes_max",
    "audit.export_rows_max",
    "audit.queue_max",
    "audit.wait_s",
    "auth.failures_free",
    "auth.failures_of_name_free",
    "auth.password_bytes_max",
    "auth.verifications_waiting_max",
    "commitment.attempts_max",
    "commitment.open_max",
    "commitment.references_max",
    "dimse.artim_timeout_s",
    "dimse.associations_max",
    "dimse.data_rate_min",
    "dimse.find_results_max",
    "dimse.identifier_bytes_max",
    "dimse.idle_timeout_s",
    "dimse.nodes.associations_max",
    "dimse.pdu_bytes_max",
    "disk.refuse_below_mb",
    "downloads.attempts_max",
    "downloads.bytes_max",
    "downloads.instances_max",
    "downloads.per_owner_max",
    "downloads.streams_max",
    "downloads.studies_max",
    "events.streams_max",
    "export.attempts_max",
    "export.failures_max",
    "export.keep_trying_h",
    "fixed.body_bytes",
    "fixed.bulk_data_bytes",
    "fixed.dimse_connections",
    "fixed.idempotency_answer_bytes",
    "fixed.provider_logins",
    "fixed.value_bytes",
    "http.answer_timeout_s",
    "http.body_idle_timeout_s",
    "http.body_rate_min",
    "http.connections_max",
    "http.header_bytes_max",
    "http.header_timeout_s",
    "http.metadata_bytes_max",
    "http.parts_max",
    "http.rate_limits.address_burst",
    "http.rate_limits.keys_max",
    "http.rate_limits.log_in_burst",
    "http.rate_limits.recorded_refusals_burst",
    "http.rate_limits.user_burst",
    "http.response_stall_timeout_s",
    "http.search_limit_max",
    "http.search_scan_max",
    "http.tls.handshake_timeout_s",
    "http.tls.handshakes_max",
    "http.uri_bytes_max",
    "ingest.elements_max",
    "ingest.header_bytes_max",
    "ingest.instance_bytes_max",
    "ingest.picture_bytes_max",
    "ingest.sequence_depth_max",
    "model.cache_bytes_max",
    "model.queue_max",
    "model.remote.failures_max",
    "model.remote.images_max",
    "model.remote.retries_max",
    "model.timeouts.decode_s",
    "model.timeouts.image_s",
    "model.timeouts.prefill_s",
    "model.timeouts.queue_s",
    "report.attempts_max",
    "report.versions_max",
    "storage.failures_max",
    "telemetry.traces.queue_max",
    "uploads.at_a_time",
    "uploads.bytes_max",
    "uploads.files_max",
    "uploads.parts_max",
    "uploads.path_bytes_max",
    "uploads.quota_bytes",
    "uploads.unfinished_max",
    "uploads.zip_ratio_max",
    "volumes.plane_pixels_max",
    "volumes.slices_max",
    "volumes.waiting_max",
];

/// Counts a limit that was hit, one of [`LIMITS`].
pub fn hit(limit: &'static str) {
    metrics::counter!(LIMIT_HITS, "limit" => limit).increment(1);
}

/// What was never hit is told as such: a counter that begins with its first hit hides it from rates.
pub(super) fn begin() {
    for limit in LIMITS {
        metrics::counter!(LIMIT_HITS, "limit" => *limit).increment(0);
    }
}
