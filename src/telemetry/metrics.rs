//! The names of all metrics, and the recorder that renders them.

use std::time::Instant;

use ::metrics::{Histogram, Unit, describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use super::limits;

/// Counter by `limit`, one of [`super::limits::LIMITS`].
pub const LIMIT_HITS: &str = "limit_hits_total";

/// This process, as Prometheus names such things.
pub mod process {
    /// Gauge: always 1, by `version`, `revision` and `features`.
    pub const BUILD: &str = "radiant_build_info";
    /// Gauge: always 1, by `role` (all, serve, worker).
    pub const ROLE: &str = "radiant_role_info";
    /// Gauge: memory that is in use.
    pub const RESIDENT_BYTES: &str = "process_resident_memory_bytes";
    /// Gauge: open file descriptors …
    pub const OPEN_FDS: &str = "process_open_fds";
    /// Gauge: … and how many there may be.
    pub const MAX_FDS: &str = "process_max_fds";
    /// Gauge: threads.
    pub const THREADS: &str = "process_threads";
    /// Gauge: when it began, in seconds since 1970.
    pub const STARTED: &str = "process_start_time_seconds";
}

/// Spans on their way to a collector.
pub mod traces {
    /// Counter: spans that it took.
    pub const SENT: &str = "trace_spans_sent_total";
    /// Counter by `why` (queue, collector): spans that were dropped.
    pub const DROPPED: &str = "trace_spans_dropped_total";
}

/// The index.
pub mod db {
    /// Histogram by `operation` (run, read, search, look-up) and `statement`, a batch by its first.
    pub const SECONDS: &str = "db_statement_seconds";
    /// Counter by `outcome` (asked, behind, away): searches that a replica could have answered.
    pub const REPLICA: &str = "db_replica_searches_total";
}

/// The bytes of instances.
pub mod storage {
    /// Histogram by `operation` (keep, read, open, delete): time of it; a stream until it begins.
    pub const SECONDS: &str = "storage_operation_seconds";
    /// Counter by `direction`, one of the two below.
    pub const BYTES: &str = "storage_bytes_total";
    pub const IN: &str = "in";
    pub const OUT: &str = "out";
}

/// Work that is queued.
pub mod jobs {
    /// Gauge by `kind` and `state` (queued, leased, dead).
    pub const JOBS: &str = "jobs";
    /// Gauge by `kind`: how long the oldest job that could run has waited.
    pub const OLDEST: &str = "jobs_oldest_seconds";
    /// Histogram by `kind` and `ending`: time of one attempt.
    pub const SECONDS: &str = "job_seconds";
}

/// Associations and what they bring.
pub mod dimse {
    /// Gauge: associations that stand.
    pub const ASSOCIATIONS: &str = "dimse_associations";
    /// Counter by `reason`: requests answered with A-ASSOCIATE-RJ.
    pub const REJECTED: &str = "dimse_associations_rejected_total";
    /// Counter by `how`: associations that ended.
    pub const ENDED: &str = "dimse_associations_ended_total";
    /// Counter: TLS handshakes of callers that came to nothing.
    pub const TLS_FAILED: &str = "dimse_tls_handshakes_failed_total";
    /// Counter by `what`: associations whose peer departed from the standard without harm.
    pub const TOLERATED: &str = "dimse_tolerated_total";
    /// Counter by `type`: user identities that came with association requests.
    pub const USER_IDENTITIES: &str = "dimse_user_identities_total";
    /// Counter by `status`, hexadecimal: C-STORE responses.
    pub const STORES: &str = "dimse_stores_total";
    /// Counter by `operation` and `status`, hexadecimal: last responses of C-MOVE and C-GET.
    pub const RETRIEVALS: &str = "dimse_retrievals_total";
    /// Counter by `status`, hexadecimal: N-ACTION responses.
    pub const ACTIONS: &str = "dimse_actions_total";
    /// Counter by `status`, hexadecimal: the last responses to C-FIND.
    pub const FINDS: &str = "dimse_finds_total";
    /// Counter: data set bytes received.
    pub const RECEIVED_BYTES: &str = "dimse_received_bytes_total";
}

/// Objects to other nodes.
pub mod scu {
    /// Counter by `status` of the peer, hexadecimal or a range of it, or "other" or "none": C-STORE requests for stored instances.
    pub const STORES: &str = "scu_stores_total";
}

/// Storage commitment.
pub mod commitment {
    /// Counter by `direction`: given by us, or asked of nodes.
    pub const REQUESTS: &str = "commitment_requests_total";
    /// Counter by `how`: reported, undelivered, received.
    pub const REPORTS: &str = "commitment_reports_total";
    /// Counter: stored objects whose bytes are no longer what was stored.
    pub const DAMAGED: &str = "commitment_damaged_objects_total";
}

/// Requests.
pub mod http {
    /// Counter by `endpoint` and `status`.
    pub const REQUESTS: &str = "http_requests_total";
    /// Histogram by `endpoint`: from the arrival of a request to the beginning of its answer.
    pub const SECONDS: &str = "http_request_seconds";
    /// Gauge: requests whose answer has not begun.
    pub const UNDER_WAY: &str = "http_requests_under_way";
    /// Counter by `endpoint` and `status`: requests refused with 401, 403 or 429.
    pub const DENIALS: &str = "http_denials_total";
    /// Counter: TLS handshakes of clients that came to nothing.
    pub const TLS_FAILED: &str = "http_tls_handshakes_failed_total";
}

/// Who comes in, and who does not.
pub mod auth {
    /// Counter by `means` and `outcome`: log-ins, keys and passwords that were looked at.
    pub const ATTEMPTS: &str = "auth_attempts_total";
    /// Counter: refresh tokens that came a second time.
    pub const REUSED: &str = "auth_refresh_tokens_reused_total";
}

/// Objects through the one way in.
pub mod ingest {
    /// Counter by `source` and `outcome`: new, same, refused.
    pub const OBJECTS: &str = "ingest_objects_total";
    /// Counter by `reason`; the limits of the configuration are among them.
    pub const REFUSALS: &str = "ingest_refusals_total";
}

/// Objects in a bucket.
pub mod bucket {
    /// Counter by `operation` and `outcome` (ok, missing, failed, refused): requests to the object store, each
    /// with the attempts that it took; those that were refused were not made.
    pub const REQUESTS: &str = "bucket_requests_total";
    /// Histogram by `operation`: from the first attempt to the answer.
    pub const SECONDS: &str = "bucket_request_seconds";
    /// Counter by `outcome` (hit, miss, damaged, unwritten): blocks that were looked for in the cache.
    pub const CACHE: &str = "bucket_cache_blocks_total";
    /// Counter: blocks that made room for others.
    pub const CACHE_EVICTED: &str = "bucket_cache_evicted_total";
    /// Gauge: bytes of the cache.
    pub const CACHE_BYTES: &str = "bucket_cache_bytes";
    /// Gauge: 0 it is asked, 1 one request asks whether it is back, 2 it is left alone.
    pub const BREAKER: &str = "bucket_breaker";
    /// Counter: retrievals whose client was sent to the bucket.
    pub const REDIRECTS: &str = "bucket_redirects_total";
}

/// Pictures that were drawn.
pub mod pictures {
    /// Counter by `outcome` (hit, miss, damaged, unwritten): pictures that were looked for on the local disk.
    pub const CACHE: &str = "pictures_cache_lookups_total";
    /// Counter: pictures that made room for others.
    pub const CACHE_EVICTED: &str = "pictures_cache_evicted_total";
    /// Gauge: bytes of them on the local disk.
    pub const CACHE_BYTES: &str = "pictures_cache_bytes";
}

/// Deletions.
pub mod deletion {
    /// Counter: requests that took something out of the index.
    pub const DELETIONS: &str = "deletions_total";
    /// Counter: instances whose retention was over.
    pub const SWEPT: &str = "deletions_swept_instances_total";
}

/// Rules about how long studies are kept.
pub mod retention {
    /// Counter by `rule`: studies that it deleted.
    pub const DELETED: &str = "retention_studies_deleted_total";
    /// Counter by `outcome`: done, failed.
    pub const RUNS: &str = "retention_runs_total";
}

/// Analyses.
pub mod analysis {
    /// Counter by `ending`: done, failed, cancelled.
    pub const ENDED: &str = "analyses_ended_total";
    /// Histogram by `stage` (gather, ask, publish): time of an analysis in it.
    pub const STAGE_SECONDS: &str = "analysis_stage_seconds";
}

/// The model in this process.
pub mod model {
    /// Histogram by `stage` (queue, image, prefill, decode): time of a request in it, of each image.
    pub const STAGE_SECONDS: &str = "model_stage_seconds";
    /// Counter by `stage`, or "whole": requests that took too long.
    pub const TIMED_OUT: &str = "model_timeouts_total";
    /// Counter by `kind`: prompt (image and kept among them), image, kept, answer (forced among
    /// them), forced.
    pub const TOKENS: &str = "model_tokens_total";
    /// Histogram: conversations that wrote a token in one step.
    pub const BATCH: &str = "model_batch_size";
    /// Counter: steps of several conversations that failed, after which each was tried alone.
    pub const BATCH_FAILED: &str = "model_batch_failures_total";
    /// Counter by `cache` (features, beginnings, answers) and `outcome` (hit, miss, damaged).
    pub const CACHE: &str = "model_cache_lookups_total";
    /// Gauge by `cache`: features are on disk, beginnings and conversations in memory.
    pub const CACHE_BYTES: &str = "model_cache_bytes";
    /// Gauge: requests that wait.
    pub const QUEUE: &str = "model_queue";
    /// Gauge: how long the oldest of them has waited.
    pub const QUEUE_OLDEST: &str = "model_queue_oldest_seconds";
    /// Counter: requests that found the queue full.
    pub const QUEUE_FULL: &str = "model_queue_full_total";
    /// Gauge: conversations that have the model.
    pub const ACTIVE: &str = "model_conversations";
}

/// A model that is asked over HTTP.
pub mod remote_model {
    /// Counter by `outcome`: answered, away, failed, refused, abandoned.
    pub const REQUESTS: &str = "model_service_requests_total";
    /// Counter by `why`: connection, busy, server, answer.
    pub const RETRIES: &str = "model_service_retries_total";
    /// Counter: answers that broke their schema and were sent back.
    pub const REPAIRS: &str = "model_service_repairs_total";
    /// Counter by `kind`: prompt, answer.
    pub const TOKENS: &str = "model_service_tokens_total";
    /// Counter: bytes of requests.
    pub const BYTES_SENT: &str = "model_service_bytes_sent_total";
    /// Counter by `currency`, in millionths of it: counted tokens by the prices of the configuration.
    pub const COST: &str = "model_service_estimated_cost_millionths_total";
    /// Gauge: requests that wait for their turn.
    pub const WAITING: &str = "model_service_requests_waiting";
    /// Counter: access tokens that were fetched.
    pub const ACCESS_TOKENS: &str = "model_service_access_tokens_total";
    /// Gauge: 0 asks it, 1 asks whether it is back, 2 leaves it alone.
    pub const BREAKER: &str = "model_service_breaker";
    /// Gauge: requests under way.
    pub const UNDER_WAY: &str = "model_service_requests_under_way";
}

/// The audit trail.
pub mod audit {
    /// Counter: requests that found the queue full and waited.
    pub const QUEUE_FULL: &str = "audit_queue_full_total";
    /// Counter: requests that were refused because they could not be recorded.
    pub const UNRECORDED: &str = "audit_unrecorded_requests_total";
    /// Counter: commits of the trail that failed, and are tried again.
    pub const WRITE_FAILURES: &str = "audit_write_failures_total";
    /// Gauge: rows that the collector has not taken yet.
    pub const BACKLOG: &str = "audit_backlog_rows";
    /// Counter by `outcome`, sent or failed: messages to the collector.
    pub const MESSAGES: &str = "audit_messages_total";
}

/// What is sent to destinations and webhooks, each by `destination`.
pub mod export {
    /// Counter by `outcome`: sent, failed, dead.
    pub const EXPORTS: &str = "exports_total";
    /// Counter: bytes of objects and events that were taken.
    pub const BYTES: &str = "export_bytes_total";
    /// Gauge: what waits or is under way.
    pub const QUEUE: &str = "export_queue";
    /// Gauge: age of the oldest of it.
    pub const OLDEST: &str = "export_oldest_seconds";
    /// Gauge: what was given up and nobody has looked after.
    pub const DEAD: &str = "export_dead";
    /// Gauge: 0 closed, 1 half-open, 2 open.
    pub const BREAKER: &str = "export_breaker";
}

/// The disk with the data folder and the objects.
pub mod disk {
    /// Gauge: of the fullest file system among them.
    pub const FREE_BYTES: &str = "disk_free_bytes";
    /// Gauge: 0 plenty, 1 below the mark of the warning, 2 new objects are refused.
    pub const SPACE: &str = "disk_space_state";
}

/// The sweep after the start.
pub mod sweep {
    /// Counter: objects without a row that were deleted.
    pub const DELETED: &str = "sweep_objects_deleted_total";
    /// Counter: their bytes.
    pub const DELETED_BYTES: &str = "sweep_bytes_deleted_total";
}

#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error("the metrics recorder is set up already")]
    Twice,
    #[error("a histogram has no buckets")]
    Buckets(#[source] BuildError),
}

/// From a cached image to a long prompt on few cores.
const SECONDS: [f64; 14] =
    [0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0];
/// From what lies in memory to what a person gives up on.
const REQUEST_SECONDS: [f64; 8] = [0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 30.0, 120.0];
/// Few, since there are some hundred statements.
const SHORT_SECONDS: [f64; 6] = [0.000_5, 0.005, 0.025, 0.1, 1.0, 10.0];
/// From a small object nearby to one that was tried again and again.
const BUCKET_SECONDS: [f64; 10] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 20.0, 60.0];
const BATCHES: [f64; 6] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0];

const HISTOGRAMS: &[(&str, &[f64])] = &[
    (model::STAGE_SECONDS, &SECONDS),
    (model::BATCH, &BATCHES),
    (analysis::STAGE_SECONDS, &SECONDS),
    (jobs::SECONDS, &SECONDS),
    (http::SECONDS, &REQUEST_SECONDS),
    (db::SECONDS, &SHORT_SECONDS),
    (storage::SECONDS, &SHORT_SECONDS),
    (bucket::SECONDS, &BUCKET_SECONDS),
];

/// What seldom happens is told as never from the start, or a rate misses its first time.
const SELDOM: &[&str] = &[
    commitment::DAMAGED,
    audit::QUEUE_FULL,
    audit::UNRECORDED,
    audit::WRITE_FAILURES,
    http::TLS_FAILED,
    dimse::TLS_FAILED,
];

/// Records the metrics of this process from now on. What histograms are given is held until
/// [`PrometheusHandle::run_upkeep`], which somebody has to call now and then.
pub fn install() -> Result<PrometheusHandle, SetupError> {
    let mut builder = PrometheusBuilder::new();
    for (name, buckets) in HISTOGRAMS {
        let one = Matcher::Full((*name).to_owned());
        builder = builder.set_buckets_for_metric(one, buckets).map_err(SetupError::Buckets)?;
    }
    let handle = builder.install_recorder().map_err(|_| SetupError::Twice)?;
    describe();
    SELDOM.iter().for_each(|name| ::metrics::counter!(*name).increment(0));
    limits::begin();
    super::process::begin();
    Ok(handle)
}

/// Something that takes time: told to a histogram when it is dropped, however it ended.
pub struct Timed {
    began: Instant,
    histogram: Histogram,
}

impl Timed {
    pub fn by(histogram: Histogram) -> Self {
        Self { began: Instant::now(), histogram }
    }
}

impl Drop for Timed {
    fn drop(&mut self) {
        self.histogram.record(self.began.elapsed());
    }
}

/// A gauge of things under way: one more until it is dropped.
pub struct UnderWay(&'static str);

impl UnderWay {
    pub fn of(gauge: &'static str) -> Self {
        ::metrics::gauge!(gauge).increment(1.0);
        Self(gauge)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        ::metrics::gauge!(self.0).decrement(1.0);
    }
}

fn describe_audit() {
    describe_counter!(audit::QUEUE_FULL, "requests that waited for room in the audit queue");
    describe_counter!(audit::UNRECORDED, "requests refused because they could not be recorded");
    describe_counter!(audit::WRITE_FAILURES, "commits of the audit trail that failed");
    describe_gauge!(audit::BACKLOG, "rows that the audit collector has not taken yet");
    describe_counter!(audit::MESSAGES, "audit messages to the collector, by outcome");
}

fn describe_model() {
    describe_histogram!(model::STAGE_SECONDS, Unit::Seconds, "time of a request in a stage, of each image");
    describe_counter!(model::TIMED_OUT, "requests that took too long, by stage");
    describe_counter!(model::TOKENS, "tokens read and written, by kind");
    describe_histogram!(model::BATCH, "conversations that wrote a token in one step");
    describe_counter!(model::CACHE, "what was looked for in a cache, by what came of it");
    describe_gauge!(model::CACHE_BYTES, Unit::Bytes, "bytes of the caches");
    describe_gauge!(model::QUEUE, "requests that wait for the model");
    describe_gauge!(model::QUEUE_OLDEST, Unit::Seconds, "age of the oldest request that waits");
    describe_counter!(model::QUEUE_FULL, "requests that found the queue full");
    describe_gauge!(model::ACTIVE, "conversations that have the model");
}

fn describe_server() {
    describe_gauge!(process::BUILD, "1, by what was built");
    describe_gauge!(process::ROLE, "1, by what this instance does");
    describe_gauge!(process::RESIDENT_BYTES, Unit::Bytes, "resident memory of this process");
    describe_gauge!(process::OPEN_FDS, "open file descriptors");
    describe_gauge!(process::MAX_FDS, "file descriptors that may be open");
    describe_gauge!(process::THREADS, "threads of this process");
    describe_gauge!(process::STARTED, Unit::Seconds, "when this process began, since 1970");
    describe_counter!(traces::SENT, "spans that the collector took");
    describe_counter!(traces::DROPPED, "spans that were dropped, by why");
    describe_histogram!(db::SECONDS, Unit::Seconds, "time of statements and batches, by their first");
    describe_counter!(db::REPLICA, "searches for a replica, by what came of it");
    describe_histogram!(storage::SECONDS, Unit::Seconds, "time of operations on stored objects");
    describe_counter!(storage::BYTES, Unit::Bytes, "bytes of objects that were kept or read");
    describe_gauge!(jobs::JOBS, "jobs that are not done, of all servers on the index, by state");
    describe_gauge!(jobs::OLDEST, Unit::Seconds, "how long the oldest job that is due has waited");
    describe_histogram!(jobs::SECONDS, Unit::Seconds, "time of attempts at jobs, by how they ended");
    describe_histogram!(http::SECONDS, Unit::Seconds, "from request to the beginning of its answer");
    describe_gauge!(http::UNDER_WAY, "requests whose answer has not begun");
    describe_histogram!(analysis::STAGE_SECONDS, Unit::Seconds, "time of analyses in a stage");
}

fn describe() {
    describe_audit();
    describe_model();
    describe_server();
    describe_counter!(LIMIT_HITS, "limits that were hit, by the key of the configuration that sets them");
    describe_gauge!(dimse::ASSOCIATIONS, "associations that stand");
    describe_counter!(dimse::REJECTED, "association requests rejected, by reason");
    describe_counter!(dimse::ENDED, "associations that ended, by how");
    describe_counter!(dimse::TLS_FAILED, "TLS handshakes of callers that failed");
    describe_counter!(dimse::TOLERATED, "associations with departures from the standard, by what");
    describe_counter!(dimse::USER_IDENTITIES, "user identities of association requests, by type");
    describe_counter!(dimse::STORES, "C-STORE responses, by status");
    describe_counter!(dimse::RETRIEVALS, "C-MOVE and C-GET operations, by how they ended");
    describe_counter!(dimse::ACTIONS, "N-ACTION responses, by status");
    describe_counter!(dimse::FINDS, "C-FIND requests answered, by status of the last response");
    describe_counter!(dimse::RECEIVED_BYTES, Unit::Bytes, "data set bytes received by C-STORE");
    describe_counter!(scu::STORES, "stored instances sent by C-STORE, by the peer's status");
    describe_counter!(commitment::REQUESTS, "requests for storage commitment, by direction");
    describe_counter!(commitment::REPORTS, "reports of storage commitment, by how they went");
    describe_counter!(commitment::DAMAGED, "stored objects that are not what was stored");
    describe_counter!(http::REQUESTS, "requests answered, by endpoint and status");
    describe_counter!(http::DENIALS, "requests refused with 401, 403 or 429, by endpoint");
    describe_counter!(http::TLS_FAILED, "TLS handshakes of clients that failed");
    describe_counter!(auth::ATTEMPTS, "secrets that were looked at, by means and outcome");
    describe_counter!(auth::REUSED, "refresh tokens that came a second time and ended their session");
    describe_counter!(ingest::OBJECTS, "objects stored or refused, by source and outcome");
    describe_counter!(ingest::REFUSALS, "objects refused, by reason");
    describe_counter!(bucket::REQUESTS, "requests to the object store, by operation and outcome");
    describe_counter!(bucket::CACHE, "blocks looked for in the cache of the object store, by outcome");
    describe_counter!(bucket::CACHE_EVICTED, "blocks that left the cache to make room");
    describe_gauge!(bucket::BREAKER, "0 asks, 1 asks whether it is back, 2 leaves the object store alone");
    describe_counter!(bucket::REDIRECTS, "retrievals whose client was sent to the bucket");
    describe_counter!(pictures::CACHE, "pictures looked for on the local disk, by outcome");
    describe_counter!(pictures::CACHE_EVICTED, "pictures that made room for others");
    describe_gauge!(pictures::CACHE_BYTES, Unit::Bytes, "bytes of pictures on the local disk");
    describe_gauge!(bucket::CACHE_BYTES, Unit::Bytes, "bytes of the cache of the object store");
    describe_histogram!(bucket::SECONDS, Unit::Seconds, "time of requests to the object store");
    describe_counter!(deletion::DELETIONS, "deletions of studies, series and instances");
    describe_counter!(retention::DELETED, "studies that rules of the retention deleted, by rule");
    describe_counter!(retention::RUNS, "runs of the retention, by outcome");
    describe_counter!(deletion::SWEPT, "deleted instances whose retention was over");
    describe_counter!(analysis::ENDED, "analyses that ended, by how");
    describe_counter!(remote_model::REQUESTS, "requests to the model service, by what came of them");
    describe_counter!(remote_model::RETRIES, "requests to the model service that were tried again");
    describe_counter!(remote_model::REPAIRS, "answers that broke their schema and were sent back");
    describe_counter!(remote_model::TOKENS, "tokens that the model service counted");
    describe_counter!(remote_model::BYTES_SENT, Unit::Bytes, "bytes of requests to the model service");
    describe_counter!(remote_model::ACCESS_TOKENS, "access tokens fetched for the model service");
    describe_gauge!(
        remote_model::BREAKER,
        "0 asks the model service, 1 asks if it is back, 2 leaves it alone"
    );
    describe_gauge!(remote_model::UNDER_WAY, "requests to the model service that are under way");
    describe_gauge!(remote_model::WAITING, "requests to the model service that wait for their turn");
    describe_counter!(
        remote_model::COST,
        "estimated cost of the model service, in millionths of its currency"
    );
    describe_counter!(export::EXPORTS, "exports that came to an end of an attempt, by outcome");
    describe_counter!(export::BYTES, Unit::Bytes, "bytes that destinations took");
    describe_gauge!(export::QUEUE, "exports that wait or are under way");
    describe_gauge!(export::OLDEST, Unit::Seconds, "age of the oldest export that waits");
    describe_gauge!(export::DEAD, "exports that were given up");
    describe_gauge!(export::BREAKER, "0 sends, 1 asks, 2 leaves the destination alone");
    describe_gauge!(
        disk::FREE_BYTES,
        Unit::Bytes,
        "free bytes of the disk with the data folder or the objects"
    );
    describe_gauge!(disk::SPACE, "0 plenty, 1 below the mark of the warning, 2 new objects are refused");
    describe_counter!(sweep::DELETED_BYTES, Unit::Bytes, "bytes of objects without a row that were deleted");
    describe_counter!(sweep::DELETED, "objects without a row that the sweep deleted");
}
