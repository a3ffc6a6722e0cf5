//! Whom a tool calls: a node of the configuration, or a host and a port.

use std::path::PathBuf;

use clap::Args;

use super::CliError;
use crate::config::{Config, Overrides, nodes};
use crate::export::scu::association::Peer;

#[derive(Debug, Clone, Args)]
pub(super) struct PeerFlags {
    /// Host of the peer.
    #[arg(value_name = "HOST", required_unless_present = "node")]
    host: Option<String>,
    /// Port of the peer.
    #[arg(value_name = "PORT", required_unless_present = "node")]
    port: Option<u16>,
    /// A node of the configuration in place of host and port, by its AE title.
    #[arg(long, value_name = "AE", conflicts_with_all = ["host", "port"])]
    node: Option<String>,
    /// AE title that is called; of a node its own, otherwise ANY-SCP.
    #[arg(long, value_name = "AE")]
    called: Option<String>,
    /// AE title that calls; dimse.ae_title without it.
    #[arg(long, value_name = "AE")]
    calling: Option<String>,
    /// Configuration file with the nodes.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl PeerFlags {
    pub(super) fn peer(&self) -> Result<Peer, CliError> {
        let config = Config::load(&Overrides { file: self.config.clone(), keys: Vec::new() })?;
        let (address, called) = self.place(&config)?;
        let called = self.called.clone().unwrap_or(called);
        let calling = self.calling.clone().unwrap_or_else(|| config.dimse.ae_title.clone());
        Ok(Peer::new(address, called.trim(), calling.trim()))
    }

    fn place(&self, config: &Config) -> Result<(String, String), CliError> {
        let Some(name) = &self.node else {
            let host = self.host.as_deref().unwrap_or_default();
            let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
            return Ok((format!("{host}:{}", self.port.unwrap_or_default()), "ANY-SCP".to_owned()));
        };
        let node = nodes::named(&config.dimse.nodes, name);
        let node =
            node.ok_or_else(|| CliError::Node { name: name.clone(), reason: "is not in dimse.nodes" })?;
        let address = node.address();
        let address = address.ok_or_else(|| CliError::Node { name: name.clone(), reason: "has no host" })?;
        Ok((address, node.ae_title.clone()))
    }
}
