//! Every limit of the configuration is counted when it is hit, or stands here with the reason why not.

use std::collections::BTreeSet;

use radiant::telemetry::limits::LIMITS;
use toml::{Table, Value};

use super::{none, production, root};

/// How the name of a key ends that bounds something.
const ENDINGS: &[&str] = &[
    "_max",
    "timeout_s",
    "_rate_min",
    "_burst",
    "at_a_time",
    "quota_bytes",
    "time_limit_s",
    "timeouts.queue_s",
    "timeouts.image_s",
    "timeouts.prefill_s",
    "timeouts.decode_s",
    "keep_trying_h",
    "audit.wait_s",
];

/// Keys that end so and are not counted, or are counted by another metric.
const NOT_COUNTED: &[(&str, &str)] = &[
    ("server.stop_timeout_s", "the log says what was cut off"),
    ("database.statement_timeout_s", "the request or job fails with the reason"),
    ("database.replica_timeout_s", "the primary is asked: db_replica_searches_total has it as away"),
    ("telemetry.traces.batch_max", "the next spans go with the next request"),
    ("telemetry.traces.timeout_s", "trace_spans_dropped_total has what came of it"),
    ("auth.sessions_max", "the oldest session ends, which the audit trail has"),
    ("auth.tokens_remembered_max", "a cache: what is over is asked again"),
    ("auth.verifications_max", "who comes later waits, up to verifications_waiting_max"),
    ("auth.name_slowed_max_s", "bounds the pause that failures_of_name_free counts"),
    ("auth.backoff_max_s", "bounds the pause that failures_free counts"),
    ("auth.failures_of_address_free", "counted with failures_free"),
    ("auth.oidc.timeout_s", "auth_attempts_total has the failure"),
    ("audit.syslog.timeout_s", "audit_messages_total has the failure"),
    ("audit.syslog.retry_max_s", "bounds a pause"),
    ("http.streams_max", "announced to the peer, which waits"),
    ("http.decompress_bytes_max", "what is larger goes out as it is stored"),
    ("http.answers_bytes_max", "a cache: what is over is made again"),
    ("http.idempotency_keys_max", "the oldest kept answer goes"),
    ("dimse.operations_max", "negotiated with the peer, which waits"),
    ("dimse.connect_timeout_s", "scu_stores_total and exports_total have the failure"),
    ("dimse.response_timeout_s", "scu_stores_total and exports_total have the failure"),
    ("commitment.report_timeout_h", "the state of the request says so"),
    ("ingest.inline_bytes_max", "longer values are served from the file"),
    ("ingest.fragments_max", "counted with elements_max"),
    ("storage.connect_timeout_s", "bucket_requests_total has the failure"),
    ("storage.silence_timeout_s", "bucket_requests_total has the failure"),
    ("storage.retries_max", "bucket_requests_total has the failure"),
    ("storage.retry_max_s", "bounds a pause"),
    ("storage.pause_max_s", "bounds a pause"),
    ("storage.upload_bytes_max", "who comes later waits"),
    ("storage.cache.bytes_max", "a cache: what is over is fetched again"),
    ("storage.pictures.bytes_max", "a cache: what is over is drawn again"),
    ("storage.requests_max", "who comes later waits"),
    ("index.group_max", "the next batch is in the next group"),
    ("volumes.at_a_time", "who comes later waits, up to waiting_max"),
    ("volumes.kept_bytes_max", "a cache: what is over is read again"),
    ("analysis.delivery_timeout_s", "a silent association no longer holds its study open"),
    ("analysis.text_tokens_max", "the words end there, and the report says so"),
    ("analysis.repairs_max", "what remains is flagged in the report"),
    ("analysis.prior_days_max", "an older study is no prior"),
    ("analysis.cache_days_max", "an older answer is asked for anew: model_cache_lookups_total has the miss"),
    ("analysis.images_max.chest_radiograph", "how many images are chosen"),
    ("report.text_characters_max", "a fault in what a person wrote: 422 with its place"),
    ("report.findings_max", "a fault in what a person wrote: 422 with its place"),
    ("report.images_max", "a fault in what a person wrote: 422 with its place"),
    ("export.retry_max_s", "bounds a pause"),
    ("model.batch_max", "who comes later waits in the queue"),
    ("model.features_bytes_max", "a cache: what is over is encoded again"),
    ("model.remote.repairs_max", "model_service_repairs_total, and the analysis fails"),
    ("model.remote.png_bytes_max", "pictures go out as JPEG instead"),
    ("model.remote.request_bytes_max", "the analysis fails with the reason"),
    ("model.remote.answer_bytes_max", "the analysis fails with the reason"),
    ("model.remote.connect_timeout_s", "model_service_retries_total has it"),
    ("model.remote.silence_timeout_s", "model_service_retries_total has it"),
    ("model.remote.request_timeout_s", "model_service_retries_total has it"),
    ("model.remote.retry_max_s", "bounds a pause"),
    ("model.remote.pause_max_s", "bounds a pause"),
    ("model.hub.attempts_max", "a program of its own, which says so"),
    ("model.hub.retry_max_s", "a program of its own, which says so"),
    ("model.hub.timeout_s", "a program of its own, which says so"),
];

fn keys(prefix: &str, table: &Table, found: &mut BTreeSet<String>) {
    for (name, value) in table {
        let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        match value {
            Value::Table(inner) => keys(&key, inner, found),
            _ => drop(found.insert(key)),
        }
    }
}

fn configured() -> BTreeSet<String> {
    let text = std::fs::read_to_string(root().join("src/config/default.toml")).unwrap();
    let mut found = BTreeSet::new();
    keys("", &text.parse().unwrap(), &mut found);
    found
}

#[test]
fn every_limit_of_the_configuration_is_counted_when_it_is_hit() {
    let bounds = |key: &String| ENDINGS.iter().any(|ending| key.ends_with(ending));
    let is_told = |key: &String| {
        LIMITS.contains(&key.as_str()) || NOT_COUNTED.iter().any(|(name, why)| name == key && !why.is_empty())
    };
    let silent = configured().into_iter().filter(bounds).filter(|key| !is_told(key));
    none(silent.map(|key| format!("{key} is hit in silence: see telemetry::limits")).collect());
}

#[test]
fn what_counts_as_a_limit_is_one_and_somebody_counts_it() {
    let (configured, sources) = (configured(), production());
    let counted = |limit: &str| {
        let elsewhere = sources.iter().filter(|source| source.path != "src/telemetry/limits.rs");
        elsewhere.flat_map(|source| &source.literals).any(|literal| literal.text == limit)
    };
    let exists = |limit: &str| {
        let of_nodes = limit.starts_with("dimse.nodes.");
        limit.starts_with("fixed.") || of_nodes || configured.contains(limit)
    };
    let wrong = LIMITS.iter().filter(|limit| !counted(limit) || !exists(limit));
    none(wrong.map(|limit| format!("{limit}: no key of the configuration, or nobody counts it")).collect());
}

#[test]
fn whoever_counts_a_limit_names_one_that_is_known() {
    let hits = |line: &str| line.contains("limits::hit(\"") || line.contains("limit_hit(\"");
    let mut wrong = Vec::new();
    for source in production() {
        for (number, line) in (1..).zip(source.text.lines()).filter(|(_, line)| hits(line)) {
            let name = line.split("hit(\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or("");
            if !LIMITS.contains(&name) {
                wrong.push(format!("{}:{number}: {name} is not in telemetry::limits", source.path));
            }
        }
    }
    none(wrong);
}

#[test]
fn no_reason_stands_for_a_key_that_is_gone() {
    let configured = configured();
    let gone = NOT_COUNTED.iter().filter(|(key, _)| !configured.contains(*key) || LIMITS.contains(key));
    none(gone.map(|(key, _)| format!("{key} needs no reason")).collect());
}
