//! The sections of the configuration, one for each part of the server.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::{
    ContextKind, DimseTls, HttpTls, Hub, ImagesMax, Language, Network, Node, Pipeline, RemoteModel, Service,
    UserIdentity,
};
use crate::dicom::temporal::Offset;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    pub role: Role,
    pub data_dir: PathBuf,
    drain_s: u64,
    stop_timeout_s: u64,
    probe_every_s: u64,
}

/// What an instance does of all that a server does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    All,
    Serve,
    Worker,
}

impl Role {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Serve => "serve",
            Self::Worker => "worker",
        }
    }

    /// Answers HTTP and DIMSE.
    pub fn serves(self) -> bool {
        self != Self::Worker
    }

    /// Does what is queued, and sweeps.
    pub fn works(self) -> bool {
        self != Self::Serve
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    pub filter: String,
    pub format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Http {
    pub listen: SocketAddr,
    pub plain_ok: bool,
    pub public_base: String,
    pub urls: UrlForm,
    pub trusted_proxies: Vec<Network>,
    pub cors_origins: Vec<String>,
    pub cors_max_age_s: u64,
    pub cors_credentials: bool,
    pub connections_max: usize,
    pub header_bytes_max: usize,
    pub uri_bytes_max: usize,
    pub streams_max: u32,
    pub parts_max: usize,
    pub parts_in_flight: usize,
    pub metadata_bytes_max: usize,
    pub json_bytes_max: usize,
    pub accept_required: bool,
    pub cache_control: String,
    pub retired_as_stored: bool,
    pub decompress_bytes_max: u64,
    body_idle_timeout_s: u64,
    pub body_rate_min: u64,
    response_stall_timeout_s: u64,
    answer_timeout_s: u64,
    header_timeout_s: u64,
    pub search_limit_default: u64,
    pub search_limit_max: u64,
    pub search_scan_max: usize,
    pub search_empty_204: bool,
    pub search_timezone: Offset,
    pub answers_bytes_max: usize,
    idempotency_retention_h: u64,
    pub idempotency_keys_max: u32,
    pub tls: HttpTls,
    pub rate_limits: RateLimits,
}

impl Http {
    /// Whether the plain listener may be one that others reach.
    pub(super) fn may_be_plain(&self) -> bool {
        self.plain_ok || self.tls.listen == Some(self.listen) || !self.trusted_proxies.is_empty()
    }
}

/// Requests of one address and of one user; 0 is no limit.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimits {
    pub address_burst: u32,
    pub address_per_s: u32,
    pub user_burst: u32,
    pub user_per_s: u32,
    pub log_in_burst: u32,
    pub log_in_per_min: u32,
    pub recorded_refusals_burst: u32,
    pub recorded_refusals_per_min: u32,
    pub exempt: Vec<Network>,
    pub keys_max: usize,
    pub told_parts: u32,
}

/// How answers name resources of this server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UrlForm {
    #[default]
    Absolute,
    /// To the URL of the request.
    Relative,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dimse {
    pub listen: SocketAddr,
    pub ae_title: String,
    pub called_aet_strict: bool,
    pub sop_classes_extra: Vec<String>,
    pub associations_max: usize,
    pub operations_max: u16,
    pub pdu_bytes_max: u32,
    idle_timeout_s: u64,
    pub data_rate_min: u64,
    artim_timeout_s: u64,
    connect_timeout_s: u64,
    response_timeout_s: u64,
    pub identifier_bytes_max: u64,
    pub find_results_max: usize,
    pub find_always_relational: bool,
    pub unknown_callers_may: BTreeSet<Service>,
    pub user_identity: UserIdentity,
    pub passcode_plain_ok: bool,
    rejections_recorded_every_s: u64,
    pub rejections_remembered_max: usize,
    pub nodes: Vec<Node>,
    pub tls: DimseTls,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Commitment {
    pub references_max: usize,
    pub open_max: u64,
    pub checks: usize,
    pub workers: usize,
    same_association_s: u64,
    pub attempts_max: u32,
    retention_days: u64,
    report_timeout_h: u64,
}

impl Commitment {
    pub fn retention(&self) -> Duration {
        Duration::from_secs(self.retention_days.saturating_mul(24 * 3600))
    }

    pub fn report_timeout(&self) -> Duration {
        Duration::from_secs(self.report_timeout_h.saturating_mul(3600))
    }
}

/// The reader of JSON stops at a depth of 128, and a sequence takes three levels of it: metadata
/// below that would be stored and never read.
pub(super) const SEQUENCE_DEPTH_MAX: usize = 40;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ingest {
    pub instance_bytes_max: u64,
    pub inline_bytes_max: u32,
    pub header_bytes_max: u64,
    pub sequence_depth_max: usize,
    pub elements_max: usize,
    pub fragments_max: usize,
    pub concurrency: usize,
    pub on_duplicate: OnDuplicate,
    pub preamble: Preamble,
    pub picture_bytes_max: u64,
}

/// What becomes of the 128 bytes in front of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preamble {
    Keep,
    Clear,
}

/// What becomes of an object when another data set with its SOP Instance UID is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnDuplicate {
    Reject,
    KeepFirst,
    Replace,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deletion {
    pub enabled: bool,
    retention_h: u64,
    sweep_every_s: u64,
}

impl Deletion {
    pub fn retention(&self) -> Duration {
        Duration::from_secs(self.retention_h.saturating_mul(3600))
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Index {
    pub readers: usize,
    pub group_max: usize,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Analysis {
    pub enabled: bool,
    quiet_time_s: f64,
    release_delay_s: f64,
    delivery_timeout_s: u64,
    pub workers: usize,
    pub stat_workers: usize,
    priority_lead_s: u64,
    lease_s: u64,
    pub attempts_max: u32,
    time_limit_s: u64,
    pub tokens_max: usize,
    pub text_tokens_max: usize,
    pub repairs_max: u32,
    pub temperature: f64,
    pub seed: u64,
    pub language: Language,
    pub context: Vec<ContextKind>,
    pub context_characters_max: usize,
    pub prior_days_max: u32,
    pub experimental: Vec<Pipeline>,
    pub images_max: ImagesMax,
    pub volume_bytes_max: u64,
    pub cache: AnswerCache,
    cache_days_max: u32,
    pub guard_words: Vec<String>,
    pub rules: Vec<Rule>,
}

/// Which studies go to which pipeline; every condition that is given must hold.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rule {
    pub name: String,
    pub modality: Vec<String>,
    pub sop_class: Vec<String>,
    pub body_part: Vec<String>,
    pub calling_aet: Vec<String>,
    pub description: Option<String>,
    pub pipeline: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    pub engine: ModelEngine,
    pub dir: PathBuf,
    pub demo: bool,
    pub precision: ModelPrecision,
    pub threads: usize,
    pub vision_precision: VisionPrecision,
    pub kernels: KernelChoice,
    pub queue_max: usize,
    pub batch_max: usize,
    pub cache_bytes_max: usize,
    pub features_bytes_max: u64,
    pub timeouts: ModelTimeouts,
    pub remote: RemoteModel,
    pub hub: Hub,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelTimeouts {
    pub queue_s: u64,
    pub image_s: u64,
    pub prefill_s: u64,
    pub decode_s: u64,
}

impl Model {
    pub(super) fn check(&self) -> Result<(), String> {
        if self.demo && self.engine == ModelEngine::Remote {
            return Err("model.demo is a model of this process: it needs model.engine = \"local\"".to_owned());
        }
        self.remote.check(self.engine)
    }
}

/// Where the model runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ModelEngine {
    /// In this process.
    Local,
    /// Elsewhere, asked over HTTP.
    Remote,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ModelPrecision {
    Exact,
    EightBit,
}

/// What the large products of the vision tower are computed in. Sums are f32 in either case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VisionPrecision {
    /// bf16 where the processor multiplies it in tiles and the tower is large, else f32.
    #[default]
    Auto,
    /// What parity with the reference is proven for.
    F32,
    /// What the published models were trained in. Refused where the processor has no tiles.
    Bf16,
}

/// Which of the program's own kernels may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KernelChoice {
    /// The best that the processor has instructions for.
    #[default]
    Auto,
    /// Those of the oldest processor of the architecture.
    Baseline,
}

macro_rules! durations {
    ($($section:ident { $($name:ident <- $field:ident,)+ })+) => {$(
        impl $section {$(
            pub fn $name(&self) -> Duration {
                Duration::from_secs(self.$field)
            }
        )+}
    )+};
}

durations! {
    Server { drain <- drain_s, stop_timeout <- stop_timeout_s, probe_every <- probe_every_s, }
    Http {
        body_idle_timeout <- body_idle_timeout_s,
        header_timeout <- header_timeout_s,
        response_stall_timeout <- response_stall_timeout_s,
        answer_timeout <- answer_timeout_s,
    }
    Deletion { sweep_every <- sweep_every_s, }
    Commitment { same_association <- same_association_s, }
    Dimse { rejections_recorded_every <- rejections_recorded_every_s, idle_timeout <- idle_timeout_s, artim_timeout <- artim_timeout_s,
        connect_timeout <- connect_timeout_s, response_timeout <- response_timeout_s, }
    Analysis { delivery_timeout <- delivery_timeout_s, lease <- lease_s, time_limit <- time_limit_s,
        priority_lead <- priority_lead_s, }
    ModelTimeouts { queue <- queue_s, image <- image_s, prefill <- prefill_s, decode <- decode_s, }
}

impl Http {
    pub fn idempotency_retention(&self) -> Duration {
        Duration::from_secs(self.idempotency_retention_h.saturating_mul(3600))
    }
}

impl Analysis {
    pub fn quiet_time(&self) -> Duration {
        seconds(self.quiet_time_s)
    }

    pub fn release_delay(&self) -> Duration {
        seconds(self.release_delay_s)
    }

    /// How long an answer stands for another.
    pub fn cache_time(&self) -> Duration {
        Duration::from_secs(u64::from(self.cache_days_max) * 86_400)
    }
}

/// Whether an answer stands for the next one to the same question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AnswerCache {
    On,
    Off,
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}
