//! The nodes of the configuration as those who can be called.

use std::sync::Arc;

use super::Destination;
use super::association::{Patience, Peer};
use crate::config::nodes;
use crate::config::{Dimse, Node};
use crate::ul::tls::Tls;

/// Whom we call by which AE title, and as whom.
#[derive(Debug, Clone)]
pub struct Directory {
    nodes: Arc<[Node]>,
    calling_aet: String,
    patience: Patience,
    tls: Tls,
}

impl Directory {
    pub fn new(nodes: &[Node], calling_aet: &str, patience: Patience, tls: Tls) -> Self {
        Self { nodes: nodes.into(), calling_aet: calling_aet.trim().to_owned(), patience, tls }
    }

    pub fn from_config(section: &Dimse, tls: Tls) -> Self {
        let (connect, response) = (section.connect_timeout(), section.response_timeout());
        Self::new(&section.nodes, &section.ae_title, Patience { connect, response }, tls)
    }

    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// As whom we call.
    pub fn calling_aet(&self) -> &str {
        &self.calling_aet
    }

    /// None for a node that is not known or listens nowhere.
    pub fn destination(&self, ae_title: &str) -> Option<Destination> {
        let node = nodes::named(&self.nodes, ae_title)?;
        let peer = Peer {
            patience: self.patience,
            tls: node.tls.then(|| self.tls.clone()),
            ..Peer::new(node.address()?, node.ae_title.trim(), self.calling_aet.as_str())
        };
        let transfer_syntaxes = node.transfer_syntaxes.clone();
        Some(Destination { peer, transfer_syntaxes, originator: None })
    }
}
