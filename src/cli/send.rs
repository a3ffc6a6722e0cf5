//! `radiant send`: files, folders and zips to a node, as they are.

mod files;
mod outcome;

use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use self::files::Files;
use self::outcome::{Outcome, Summary};
use super::CliError;
use super::peer::{Place, TermFlags};
use crate::export::scu::association::Peer;
use crate::export::scu::send_files;

#[derive(Debug, Args)]
pub(super) struct SendArgs {
    /// Files, folders, zips, and DICOMDIRs for the files that they list.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// A node of the configuration, by its AE title.
    #[arg(long, value_name = "AE", required_unless_present = "to", conflicts_with = "to")]
    node: Option<String>,
    /// Host and port of the peer, with its AE title behind a slash or in --called.
    #[arg(long, value_name = "HOST:PORT[/AE]")]
    to: Option<Address>,
    #[command(flatten)]
    terms: TermFlags,
    /// One line of JSON for each file in place of the summary.
    #[arg(long)]
    json: bool,
}

/// Where a peer listens, and what it is called.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Address {
    host: String,
    port: u16,
    ae_title: Option<String>,
}

impl FromStr for Address {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (place, ae_title) = match text.split_once('/') {
            Some((place, title)) => (place, Some(title.trim().to_owned())),
            None => (text, None),
        };
        let (host, port) = place.rsplit_once(':').ok_or("a host and a port are needed, as in pacs:104")?;
        let port = port.parse().map_err(|_| "the port is a number up to 65535")?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self { host, port, ae_title: ae_title.filter(|title| !title.is_empty()) })
    }
}

pub(super) async fn run(args: &SendArgs) -> Result<(), CliError> {
    let peer = args.peer()?;
    let limit = args.terms.load()?.ingest.instance_bytes_max;
    let paths = args.paths.clone();
    let files = tokio::task::spawn_blocking(move || Files::find(&paths, limit)).await;
    let files = files.map_err(|panic| CliError::Peer(panic.to_string()))?;
    let mut summary = Summary::new(args.json);
    for told in files.told() {
        summary.add(told)?;
    }
    send(&peer, files, &mut summary).await?;
    summary.finish()
}

async fn send(peer: &Peer, files: Files, summary: &mut Summary) -> Result<(), CliError> {
    let bar = progress_bar(files.paths().len() as u64);
    let mut written = Ok(());
    let outcomes = send_files(peer, files.paths(), |sent| {
        bar.inc(1);
        let outcome = Outcome::of(files.name(&sent.path), sent, peer);
        let told = bar.suspend(|| summary.add(outcome));
        if written.is_ok() {
            written = told;
        }
    });
    drop(outcomes.await);
    bar.finish_and_clear();
    Ok(written?)
}

impl SendArgs {
    fn peer(&self) -> Result<Peer, CliError> {
        match (&self.node, &self.to) {
            (Some(node), _) => self.terms.peer(Place::Node(node)),
            (None, Some(Address { host, port, ae_title })) => {
                let peer = self.terms.peer(Place::At { host, port: *port })?;
                Ok(match ae_title {
                    Some(title) => Peer { called_aet: title.clone(), ..peer },
                    None => peer,
                })
            }
            (None, None) => Err(CliError::Peer("--node or --to says where to send".to_owned())),
        }
    }
}

/// Hidden by itself when stderr is no terminal.
fn progress_bar(files: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} files, {eta}");
    ProgressBar::new(files).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_name_the_ae_title() {
        let address = |host: &str, port, title: Option<&str>| Address {
            host: host.to_owned(),
            port,
            ae_title: title.map(str::to_owned),
        };
        assert_eq!("pacs:104/PACS".parse(), Ok(address("pacs", 104, Some("PACS"))));
        assert_eq!("10.1.2.3:11112".parse(), Ok(address("10.1.2.3", 11112, None)));
        assert_eq!("[::1]:104/".parse(), Ok(address("::1", 104, None)));
        assert!("pacs".parse::<Address>().is_err() && "pacs:x".parse::<Address>().is_err());
    }
}
