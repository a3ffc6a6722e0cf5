//! Where results and studies are sent to, what is sent there, and who is told what happened.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

pub use super::access::Access;
use super::access::check_url;
use super::nodes::{self, Node};
pub use super::secret::Secret;
use crate::dicom::uid::TransferSyntaxUid;

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Export {
    pub enabled: bool,
    pub results_to_source: bool,
    pub attempts_max: u32,
    keep_trying_h: u64,
    retry_first_s: u64,
    retry_max_s: u64,
    pub failures_max: u32,
    delivered_events_h: u64,
    pub destinations: Vec<Destination>,
    pub rules: Vec<ExportRule>,
    pub webhooks: Vec<Webhook>,
}

/// Where objects are sent to.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Destination {
    pub name: String,
    /// The AE title of one of `dimse.nodes` …
    #[serde(default)]
    pub node: Option<String>,
    /// … or the root of a DICOMweb service.
    #[serde(default)]
    pub url: Option<String>,
    /// Most wanted first; empty: those of the node, else as stored where that is taken.
    #[serde(default)]
    pub transfer_syntaxes: Vec<TransferSyntaxUid>,
    /// Ask a node for storage commitment.
    #[serde(default)]
    pub commitment: bool,
    #[serde(default = "two")]
    pub concurrency: usize,
    /// Instances per second; 0 is without a limit.
    #[serde(default)]
    pub rate_max: u32,
    #[serde(default = "a_minute")]
    timeout_s: u64,
    /// AE titles that this destination calls us by beside that of its node.
    #[serde(default)]
    pub also_known_as: Vec<String>,
    /// Instances and bytes of one STOW-RS request.
    #[serde(default = "twenty")]
    pub instances_max: usize,
    #[serde(default = "a_quarter_gigabyte")]
    pub bytes_max: u64,
    #[serde(default)]
    pub access: Access,
}

/// What goes where; every condition that is given must hold.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExportRule {
    #[serde(default)]
    pub name: String,
    pub what: What,
    #[serde(default)]
    pub modality: Vec<String>,
    #[serde(default)]
    pub sop_class: Vec<String>,
    #[serde(default)]
    pub body_part: Vec<String>,
    #[serde(default)]
    pub calling_aet: Vec<String>,
    #[serde(default)]
    pub description: Option<String>,
    pub destinations: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// SR and PDF of an analysis, when it is done.
    Results,
    /// The objects of a study, when it is complete.
    Studies,
}

/// Who is told of what happens.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    pub name: String,
    pub url: String,
    /// Empty: of all.
    #[serde(default)]
    pub events: Vec<EventKind>,
    #[serde(default)]
    pub secrets: Vec<Secret>,
    /// One secret per line.
    #[serde(default)]
    pub secrets_file: Option<PathBuf>,
    #[serde(default = "one")]
    pub concurrency: usize,
    #[serde(default = "ten")]
    timeout_s: u64,
    #[serde(default)]
    pub access: Access,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    StudyComplete,
    AnalysisDone,
    ReportSigned,
}

impl EventKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::StudyComplete => "study-complete",
            Self::AnalysisDone => "analysis-done",
            Self::ReportSigned => "report-signed",
        }
    }
}

fn one() -> usize {
    1
}

fn two() -> usize {
    2
}

fn ten() -> u64 {
    10
}

fn twenty() -> usize {
    20
}

fn a_minute() -> u64 {
    60
}

fn a_quarter_gigabyte() -> u64 {
    256 << 20
}

impl Destination {
    /// A node that no destination of the configuration names, as one.
    pub fn of_node(node: &Node) -> Self {
        let name = node.ae_title.trim().to_owned();
        Self {
            node: Some(name.clone()),
            name,
            url: None,
            transfer_syntaxes: Vec::new(),
            commitment: false,
            concurrency: two(),
            rate_max: 0,
            timeout_s: a_minute(),
            also_known_as: Vec::new(),
            instances_max: twenty(),
            bytes_max: a_quarter_gigabyte(),
            access: Access::default(),
        }
    }

    pub fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_s)
    }
}

impl Webhook {
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_s)
    }

    pub fn wants(&self, event: EventKind) -> bool {
        self.events.is_empty() || self.events.contains(&event)
    }
}

impl Export {
    pub fn keep_trying(&self) -> Duration {
        Duration::from_secs(self.keep_trying_h.saturating_mul(3600))
    }

    pub fn delivered_events(&self) -> Duration {
        Duration::from_secs(self.delivered_events_h.saturating_mul(3600))
    }

    pub fn retry_first(&self) -> Duration {
        Duration::from_secs(self.retry_first_s.max(1))
    }

    pub fn retry_max(&self) -> Duration {
        Duration::from_secs(self.retry_max_s.max(self.retry_first_s).max(1))
    }

    /// The destinations of the configuration, and every node that can be called and that none of
    /// them names, under its AE title.
    pub fn all_destinations(&self, nodes: &[Node]) -> Vec<Destination> {
        let named = |node: &Node| {
            let own = |d: &Destination| d.name == node.ae_title.trim() || d.is_node(&node.ae_title);
            self.destinations.iter().any(own)
        };
        let implied = nodes.iter().filter(|node| node.host.is_some() && !named(node));
        self.destinations.iter().cloned().chain(implied.map(Destination::of_node)).collect()
    }

    /// What no type holds.
    pub(super) fn check(&self, nodes: &[Node]) -> Result<(), String> {
        let mut names: Vec<&str> = Vec::new();
        let all = self.all_destinations(nodes);
        let webhooks = self.webhooks.iter().map(|webhook| webhook.name.as_str());
        for name in all.iter().map(|destination| destination.name.as_str()).chain(webhooks) {
            if names.contains(&name) {
                return Err(format!("export: {name:?} names two destinations or webhooks"));
            }
            names.push(name);
        }
        self.destinations.iter().try_for_each(|destination| destination.check(nodes))?;
        self.webhooks.iter().try_for_each(Webhook::check)?;
        self.rules.iter().try_for_each(|rule| rule.check(&all))
    }
}

impl Destination {
    fn is_node(&self, ae_title: &str) -> bool {
        self.node.as_ref().is_some_and(|node| node.trim() == ae_title.trim())
    }

    /// Whether what came from this AE title came from here.
    pub fn is_source(&self, ae_title: &str) -> bool {
        self.is_node(ae_title) || self.also_known_as.iter().any(|known| known.trim() == ae_title.trim())
    }

    fn check(&self, nodes: &[Node]) -> Result<(), String> {
        let name = check_name("export.destinations", &self.name)?;
        match (&self.node, &self.url) {
            (Some(node), None) => {
                let node = nodes::named(nodes, node)
                    .ok_or_else(|| format!("{name}: dimse.nodes has no node {node:?}"))?;
                node.host.as_ref().ok_or_else(|| format!("{name}: the node has no host"))?;
            }
            (None, Some(url)) if self.commitment => {
                return Err(format!("{name}: {url} cannot be asked for storage commitment; a node can"));
            }
            (None, Some(url)) => check_url(&name, url)?,
            _ => return Err(format!("{name}: give a node or a url, one of them")),
        }
        self.access.check(&name)
    }
}

impl Webhook {
    fn check(&self) -> Result<(), String> {
        let name = check_name("export.webhooks", &self.name)?;
        check_url(&name, &self.url)?;
        if self.secrets.is_empty() && self.secrets_file.is_none() {
            return Err(format!("{name}: give secrets or a secrets_file: what is told is signed"));
        }
        if self.secrets.iter().any(|secret| secret.reveal().is_empty()) {
            return Err(format!("{name}: one of the secrets is empty: anybody could sign with it"));
        }
        self.access.check(&name)
    }
}

impl ExportRule {
    fn check(&self, known: &[Destination]) -> Result<(), String> {
        let unknown = self.destinations.iter().find(|name| !known.iter().any(|one| one.name == **name));
        match unknown {
            Some(name) => Err(format!("export.rules {:?}: there is no destination {name:?}", self.name)),
            None => Ok(()),
        }
    }
}

fn check_name(key: &str, name: &str) -> Result<String, String> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-_. ".contains(&b);
    match (1..=64).contains(&name.len()) && name.bytes().all(fits) {
        true => Ok(format!("{key} {name:?}")),
        false => Err(format!("{key}: the name {name:?} must be 1 to 64 of A-Z a-z 0-9 - _ . and space")),
    }
}
