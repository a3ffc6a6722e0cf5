//! `radiant echo`: whether a node answers, by C-ECHO.

use std::io::Write;

use clap::Args;
use tokio::time::Instant;

use super::peer::{PeerFlags, failure};
use super::{CliError, statuses};
use crate::export::scu::association;

#[derive(Debug, Args)]
pub(super) struct EchoArgs {
    #[command(flatten)]
    peer: PeerFlags,
}

pub(super) async fn run(args: &EchoArgs) -> Result<(), CliError> {
    let (peer, begin) = (args.peer.peer()?, Instant::now());
    let status = association::echo(&peer).await.map_err(|error| failure(&peer, &error))?;
    if status != 0 {
        let meaning = statuses::general(status);
        return Err(CliError::Peer(format!("C-ECHO was answered with {status:04X}: {meaning}")));
    }
    let (aet, took) = (&peer.called_aet, begin.elapsed().as_millis());
    writeln!(std::io::stdout(), "{aet} at {} answers, after {took} ms", peer.address)?;
    Ok(())
}
