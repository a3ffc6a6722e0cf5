//! The names of all metrics, and the recorder that renders them.

use ::metrics::{Unit, describe_counter, describe_gauge};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

/// Associations and what they bring.
pub mod dimse {
    /// Gauge: associations that stand.
    pub const ASSOCIATIONS: &str = "dimse_associations";
    /// Counter by `reason`: requests answered with A-ASSOCIATE-RJ.
    pub const REJECTED: &str = "dimse_associations_rejected_total";
    /// Counter by `how`: associations that ended.
    pub const ENDED: &str = "dimse_associations_ended_total";
    /// Counter by `limit`: connections, associations, node_associations, pdu_bytes,
    /// identifier_bytes, time, data_rate.
    pub const LIMIT_HITS: &str = "dimse_limit_hits_total";
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
    /// Counter by `limit`: references, open.
    pub const LIMIT_HITS: &str = "commitment_limit_hits_total";
}

/// Requests.
pub mod http {
    /// Counter by `endpoint` and `status`.
    pub const REQUESTS: &str = "http_requests_total";
    /// Counter by `limit`, a key of the configuration.
    pub const LIMIT_HITS: &str = "http_limit_hits_total";
}

/// Objects through the one way in.
pub mod ingest {
    /// Counter by `source` and `outcome`: new, same, refused.
    pub const OBJECTS: &str = "ingest_objects_total";
    /// Counter by `reason`; the limits of the configuration are among them.
    pub const REFUSALS: &str = "ingest_refusals_total";
}

/// Deletions.
pub mod deletion {
    /// Counter: requests that took something out of the index.
    pub const DELETIONS: &str = "deletions_total";
    /// Counter: instances whose retention was over.
    pub const SWEPT: &str = "deletions_swept_instances_total";
}

/// Analyses.
pub mod analysis {
    /// Counter by `ending`: done, failed.
    pub const ENDED: &str = "analyses_ended_total";
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

/// The sweep after the start.
pub mod sweep {
    /// Counter: objects without a row that were deleted.
    pub const DELETED: &str = "sweep_objects_deleted_total";
}

#[derive(Debug, thiserror::Error)]
#[error("the metrics recorder is set up already")]
pub struct Twice;

/// Records the metrics of this process from now on.
pub fn install() -> Result<PrometheusHandle, Twice> {
    let handle = PrometheusBuilder::new().install_recorder().map_err(|_| Twice)?;
    describe();
    Ok(handle)
}

fn describe() {
    describe_gauge!(dimse::ASSOCIATIONS, "associations that stand");
    describe_counter!(dimse::REJECTED, "association requests rejected, by reason");
    describe_counter!(dimse::ENDED, "associations that ended, by how");
    describe_counter!(dimse::LIMIT_HITS, "limits of the configuration that were hit");
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
    describe_counter!(commitment::LIMIT_HITS, "limits of the configuration that were hit");
    describe_counter!(http::REQUESTS, "requests answered, by endpoint and status");
    describe_counter!(http::LIMIT_HITS, "limits of the configuration that were hit");
    describe_counter!(ingest::OBJECTS, "objects stored or refused, by source and outcome");
    describe_counter!(ingest::REFUSALS, "objects refused, by reason");
    describe_counter!(deletion::DELETIONS, "deletions of studies, series and instances");
    describe_counter!(deletion::SWEPT, "deleted instances whose retention was over");
    describe_counter!(analysis::ENDED, "analyses that ended, by how");
    describe_counter!(export::EXPORTS, "exports that came to an end of an attempt, by outcome");
    describe_counter!(export::BYTES, Unit::Bytes, "bytes that destinations took");
    describe_gauge!(export::QUEUE, "exports that wait or are under way");
    describe_gauge!(export::OLDEST, Unit::Seconds, "age of the oldest export that waits");
    describe_gauge!(export::DEAD, "exports that were given up");
    describe_gauge!(export::BREAKER, "0 sends, 1 asks, 2 leaves the destination alone");
    describe_counter!(sweep::DELETED, "objects without a row that the sweep deleted");
}
