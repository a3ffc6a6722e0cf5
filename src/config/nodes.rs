//! The DICOM nodes that this server knows, each by its AE title.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::Network;
use crate::dicom::uid::TransferSyntaxUid;

/// An application entity: who may call, and whom we can call.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    pub ae_title: String,
    /// Where it listens; without a host it cannot be called.
    #[serde(default)]
    pub host: Option<String>,
    #[serde(default = "dicom_port")]
    pub port: u16,
    /// Call it over TLS.
    #[serde(default)]
    pub tls: bool,
    /// What it may do here.
    #[serde(default)]
    pub may: BTreeSet<Service>,
    /// What it is sent, most wanted first; empty: as stored, then what it takes.
    #[serde(default)]
    pub transfer_syntaxes: Vec<TransferSyntaxUid>,
    /// Where it may call from; empty: anywhere.
    #[serde(default)]
    pub addresses: Vec<Network>,
    /// Owner groups whose studies it sees where it says nothing of its user; empty: all studies.
    #[serde(default)]
    pub groups: Vec<String>,
    /// Its associations at a time; without one, as many as there are places.
    #[serde(default)]
    pub associations_max: Option<usize>,
}

/// What a caller may ask for; everybody who is admitted may ask for C-ECHO.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Service {
    /// C-STORE and Storage Commitment.
    Store,
    /// C-FIND.
    Query,
    /// C-MOVE and C-GET.
    Retrieve,
}

impl Service {
    pub const ALL: [Self; 3] = [Self::Store, Self::Query, Self::Retrieve];

    /// As the configuration has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::Query => "query",
            Self::Retrieve => "retrieve",
        }
    }
}

fn dicom_port() -> u16 {
    104
}

impl Node {
    /// Host and port, where it can be called.
    pub fn address(&self) -> Option<String> {
        self.host.as_ref().map(|host| match host.contains(':') {
            true => format!("[{host}]:{}", self.port),
            false => format!("{host}:{}", self.port),
        })
    }
}

/// Of several nodes, the one of this AE title; leading and trailing spaces do not count
/// (PS3.5 6.2). Without one, the one whose title differs in upper and lower case alone.
pub fn named<'a>(nodes: &'a [Node], ae_title: &str) -> Option<&'a Node> {
    let title = ae_title.trim();
    let same = nodes.iter().find(|node| node.ae_title.trim() == title);
    same.or_else(|| nodes.iter().find(|node| node.ae_title.trim().eq_ignore_ascii_case(title)))
}

/// What is wrong with them as a whole.
pub(super) fn check(nodes: &[Node]) -> Result<(), String> {
    let mut titles = BTreeSet::new();
    for node in nodes {
        if !super::is_ae_title(&node.ae_title) {
            return Err(format!("dimse.nodes: {:?} is not an AE title of 1 to 16 characters", node.ae_title));
        }
        if !titles.insert(node.ae_title.trim()) {
            return Err(format!("dimse.nodes: {:?} is there twice", node.ae_title));
        }
    }
    Ok(())
}
