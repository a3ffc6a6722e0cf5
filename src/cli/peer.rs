//! Whom a tool calls: a node of the configuration, or a host and a port.

use std::io::ErrorKind;
use std::path::PathBuf;

use clap::Args;

use super::{CliError, sentence};
use crate::config::{Config, Overrides};
use crate::export::scu::association::{Patience, Peer};
use crate::export::scu::{Directory, ScuError};
use crate::ul::tls::Tls;

/// Of a peer that is not configured.
const ANY: &str = "ANY-SCP";

#[derive(Debug, Clone, Args)]
pub(super) struct PeerFlags {
    /// Host of the peer.
    #[arg(value_name = "HOST", required_unless_present = "node")]
    host: Option<String>,
    /// Port of the peer.
    #[arg(value_name = "PORT", required_unless_present = "node")]
    port: Option<u16>,
    /// A node of the configuration in place of host and port, by its AE title.
    #[arg(long, value_name = "AE", conflicts_with_all = ["host", "port", "tls"])]
    node: Option<String>,
    #[command(flatten)]
    terms: TermFlags,
}

/// How a peer is called, wherever it is.
#[derive(Debug, Clone, Args)]
pub(super) struct TermFlags {
    /// AE title that is called; of a node its own, otherwise ANY-SCP.
    #[arg(long, value_name = "AE")]
    called: Option<String>,
    /// AE title that calls; dimse.ae_title without it.
    #[arg(long, value_name = "AE")]
    calling: Option<String>,
    /// Call over TLS, with the certificates of dimse.tls.
    #[arg(long)]
    tls: bool,
    /// Configuration file with the nodes and certificates.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Where a peer is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place<'a> {
    Node(&'a str),
    At { host: &'a str, port: u16 },
}

impl PeerFlags {
    pub(super) fn peer(&self) -> Result<Peer, CliError> {
        let (host, port) = (self.host.as_deref().unwrap_or_default(), self.port.unwrap_or_default());
        self.terms.peer(self.node.as_deref().map_or(Place::At { host, port }, Place::Node))
    }
}

impl TermFlags {
    pub(super) fn load(&self) -> Result<Config, CliError> {
        Ok(Config::load(&Overrides { file: self.config.clone(), keys: Vec::new() })?)
    }

    pub(super) fn peer(&self, place: Place<'_>) -> Result<Peer, CliError> {
        let config = self.load()?;
        let tls = Tls::load(&config.dimse.tls)?;
        let peer = match place {
            Place::Node(name) => {
                let directory = Directory::from_config(&config.dimse, tls);
                directory.destination(name).ok_or_else(|| CliError::Node(name.to_owned()))?.peer
            }
            Place::At { host, port } => self.unconfigured(&config, host, port, tls),
        };
        let called_aet = self.called.clone().unwrap_or(peer.called_aet);
        let calling_aet = self.calling.clone().unwrap_or(peer.calling_aet);
        Ok(Peer { called_aet, calling_aet, ..peer })
    }

    fn unconfigured(&self, config: &Config, host: &str, port: u16, tls: Tls) -> Peer {
        let address = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        let section = &config.dimse;
        Peer {
            patience: Patience { connect: section.connect_timeout(), response: section.response_timeout() },
            tls: self.tls.then_some(tls),
            ..Peer::new(address, ANY, section.ae_title.trim())
        }
    }
}

/// In one sentence, with what an operator can do about it.
pub(super) fn failure(peer: &Peer, error: &ScuError) -> CliError {
    let text = sentence(error);
    let place = if text.contains(&peer.address) { String::new() } else { format!("{}: ", peer.address) };
    CliError::Peer(format!("{place}{text}{}", advice(peer, error)))
}

/// What to look at, for errors whose reason is in somebody's configuration.
pub(super) fn advice(peer: &Peer, error: &ScuError) -> String {
    let kind = match error {
        ScuError::Connect { source, .. } => Some(source.kind()),
        _ => None,
    };
    match error {
        ScuError::Rejected { reason, .. } if reason.contains("called AE") => {
            format!("; it was called {} (--called)", peer.called_aet)
        }
        ScuError::Rejected { reason, .. } if reason.contains("calling AE") => {
            format!("; it must know {}, as which we called (--calling)", peer.calling_aet)
        }
        ScuError::Rejected { is_transient: true, .. } => "; try again in a while".to_owned(),
        _ if kind == Some(ErrorKind::ConnectionRefused) => "; nothing listens there".to_owned(),
        _ if kind == Some(ErrorKind::TimedOut) => "; nothing answers there, or not in time".to_owned(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        peer: PeerFlags,
    }

    fn peer(arguments: &[&str]) -> Result<Peer, CliError> {
        Line::try_parse_from([&["tool"], arguments].concat()).unwrap().peer.peer()
    }

    #[test]
    fn a_host_and_a_port_are_called_as_any_scp() {
        let called = peer(&["::1", "11112", "--calling", "DESK"]).unwrap();
        assert_eq!((called.address.as_str(), called.called_aet.as_str()), ("[::1]:11112", ANY));
        assert_eq!((called.calling_aet.as_str(), called.tls.is_some()), ("DESK", false));
        assert!(peer(&["pacs", "104", "--tls"]).unwrap().tls.is_some());
    }

    #[test]
    fn a_node_is_called_as_the_configuration_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("radiant.toml");
        std::fs::write(&file, "[[dimse.nodes]]\nae_title = \"PACS\"\nhost = \"10.0.0.1\"\nport = 104\n")
            .unwrap();
        let file = file.to_str().unwrap();
        let called = peer(&["--node", "PACS", "--config", file]).unwrap();
        assert_eq!((called.address.as_str(), called.called_aet.as_str()), ("10.0.0.1:104", "PACS"));
        let error = peer(&["--node", "OTHER", "--config", file]).unwrap_err().to_string();
        assert_eq!(error, "the node OTHER is not in dimse.nodes, or has no host there");
    }

    #[test]
    fn a_rejection_says_what_to_look_at() {
        let called = peer(&["pacs", "104", "--called", "PACS"]).unwrap();
        let reason = "called AE title not recognized".to_owned();
        let error = failure(&called, &ScuError::Rejected { reason, is_transient: false });
        let expected = "pacs:104: the association was rejected: called AE title not recognized; it was called PACS \
                        (--called)";
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn somebody_must_be_called() {
        assert!(Line::try_parse_from(["tool"]).is_err());
        assert!(Line::try_parse_from(["tool", "host"]).is_err());
        assert!(Line::try_parse_from(["tool", "host", "104", "--node", "PACS"]).is_err());
    }
}
