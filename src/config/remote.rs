//! A model that runs elsewhere and is asked over HTTP.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::access::{Access, check_url, header};
use super::tls::path_or_none;
use super::{ContextKind, ModelEngine, Secret};

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoteModel {
    pub kind: RemoteKind,
    pub url: String,
    plain_ok: bool,
    pub model: String,
    pub version: String,
    bearer: Secret,
    #[serde(deserialize_with = "path_or_none")]
    bearer_file: Option<PathBuf>,
    headers: Vec<Secret>,
    #[serde(deserialize_with = "path_or_none")]
    ca_file: Option<PathBuf>,
    #[serde(deserialize_with = "path_or_none")]
    certificate_file: Option<PathBuf>,
    #[serde(deserialize_with = "path_or_none")]
    key_file: Option<PathBuf>,
    pub schema: SchemaUse,
    pub repairs_max: u32,
    pub stream: bool,
    pub image_side: u32,
    pub images_max: usize,
    pub png_bytes_max: u64,
    pub jpeg_quality: u8,
    pub request_bytes_max: u64,
    pub answer_bytes_max: u64,
    connect_timeout_s: u64,
    silence_timeout_s: u64,
    request_timeout_s: u64,
    pub retries_max: u32,
    retry_first_s: f64,
    retry_max_s: f64,
    pub concurrency: usize,
    pub stat_requests: usize,
    pub failures_max: u32,
    pause_first_s: u64,
    pause_max_s: u64,
    pub price_prompt: f64,
    pub price_answer: f64,
    pub currency: String,
    pub prompts: RemotePrompts,
    pub context: Vec<ContextKind>,
    pub service_name: String,
    pub show_host: bool,
    pub pixels: RemotePixels,
    pub vertex: Vertex,
}

/// What the service speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RemoteKind {
    /// Chat completions in the form of OpenAI.
    ChatCompletions,
    /// An endpoint of Vertex AI.
    Vertex,
}

/// Whether the service is asked to hold answers to a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SchemaUse {
    /// Until it refuses that.
    Auto,
    ResponseFormat,
    None,
}

/// The wording that the model was trained on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RemotePrompts {
    Medgemma,
    Demonstration,
}

/// Which pixels never leave this machine.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemotePixels {
    pub ultrasound: bool,
    pub secondary_captures: bool,
    pub refused_modalities: Vec<String>,
    pub vouched_modalities: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vertex {
    pub project: String,
    pub location: String,
    pub endpoint: String,
    pub form: VertexForm,
    #[serde(deserialize_with = "path_or_none")]
    pub credentials_file: Option<PathBuf>,
    pub metadata_url: String,
}

/// By which method an endpoint is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VertexForm {
    ChatCompletions,
    Predict,
}

impl RemoteModel {
    /// How the service is reached, as other servers are.
    pub fn access(&self) -> Access {
        Access {
            bearer_file: self.bearer_file.clone(),
            ca_file: self.ca_file.clone(),
            certificate_file: self.certificate_file.clone(),
            key_file: self.key_file.clone(),
            ..Access::asking_with(&self.headers, &self.bearer)
        }
    }

    pub fn connect_timeout(&self) -> Duration {
        Duration::from_secs(self.connect_timeout_s)
    }

    pub fn silence_timeout(&self) -> Duration {
        Duration::from_secs(self.silence_timeout_s)
    }

    pub fn request_timeout(&self) -> Duration {
        Duration::from_secs(self.request_timeout_s)
    }

    pub fn retry_first(&self) -> Duration {
        Duration::try_from_secs_f64(self.retry_first_s).unwrap_or_default()
    }

    pub fn retry_max(&self) -> Duration {
        Duration::try_from_secs_f64(self.retry_max_s).unwrap_or_default()
    }

    pub fn pause_first(&self) -> Duration {
        Duration::from_secs(self.pause_first_s.max(1))
    }

    pub fn pause_max(&self) -> Duration {
        Duration::from_secs(self.pause_max_s.max(self.pause_first_s).max(1))
    }

    /// What no type holds; of a service that nobody asks nothing has to be right.
    pub(super) fn check(&self, engine: ModelEngine) -> Result<(), String> {
        if engine == ModelEngine::Local {
            return Ok(());
        }
        let said = |ok: bool, reason: &str| if ok { Ok(()) } else { Err(format!("model.remote.{reason}")) };
        match self.kind {
            RemoteKind::ChatCompletions => said(!self.url.is_empty(), "url is needed")?,
            RemoteKind::Vertex => self.check_vertex()?,
        }
        self.check_plain(&self.url, "url")?;
        said(self.headers.iter().all(|line| header(line).is_some()), "headers: each is \"Name: value\"")?;
        said((16..=4096).contains(&self.image_side), "image_side is 16 to 4096")?;
        said((1..=100).contains(&self.jpeg_quality), "jpeg_quality is 1 to 100")?;
        said(self.concurrency > 0 && self.images_max > 0, "concurrency and images_max are 1 at least")?;
        said(
            self.retry_first_s >= 0.0 && self.retry_max_s >= self.retry_first_s,
            "retry_max_s is not less than retry_first_s",
        )?;
        let times = [self.connect_timeout_s, self.silence_timeout_s, self.request_timeout_s];
        said(
            !times.contains(&0),
            "connect_timeout_s, silence_timeout_s and request_timeout_s are 1 at least",
        )?;
        let prices = [self.price_prompt, self.price_answer];
        said(
            prices.iter().all(|price| price.is_finite() && *price >= 0.0),
            "price_prompt and price_answer are not negative",
        )?;
        self.access().check("model.remote")
    }

    fn check_vertex(&self) -> Result<(), String> {
        let Vertex { project, location, endpoint, .. } = &self.vertex;
        let is_name = |text: &str| {
            !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b))
        };
        if ![project, location, endpoint].into_iter().all(|text| is_name(text)) {
            return Err(
                "model.remote.vertex needs project, location and endpoint, as the console shows them"
                    .to_owned(),
            );
        }
        if self.model.is_empty() || self.version.is_empty() {
            return Err(
                "model.remote.model and version have to be given for vertex: the endpoint does not tell them"
                    .to_owned(),
            );
        }
        self.check_plain(&self.vertex.metadata_url, "vertex.metadata_url").or_else(|reason| {
            // Within a virtual machine of the cloud this address leads to its host alone.
            let is_link_local = self.vertex.metadata_url.starts_with("http://metadata.google.internal");
            if is_link_local { Ok(()) } else { Err(reason) }
        })
    }

    /// Images and tokens travel in the clear only where somebody said so, or to this machine.
    fn check_plain(&self, url: &str, key: &str) -> Result<(), String> {
        if url.is_empty() {
            return Ok(());
        }
        check_url(&format!("model.remote.{key}"), url)?;
        match url.starts_with("https://") || self.plain_ok || is_near(url) {
            true => Ok(()),
            false => Err(format!(
                "model.remote.{key} = {url} would take images and tokens in the clear: use https://, or say model.remote.plain_ok = true"
            )),
        }
    }
}

/// Whether a URL leads to this machine.
pub fn is_near(url: &str) -> bool {
    let host = url.strip_prefix("http://").unwrap_or_default();
    let host = host.split('/').next().unwrap_or_default();
    let is_host =
        |name: &str| host.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with(':'));
    ["127.0.0.1", "localhost", "[::1]"].into_iter().any(is_host)
}
