//! The studies as files, sent by C-STORE over TCP to the server's own listener.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::DemoError;
use super::board::Board;
use super::cases::DemoStudy;
use crate::config::Config;
use crate::export::scu::association::Peer;
use crate::export::scu::{SendOutcome, send_files};

const CALLING_AET: &str = "RADIANT_DEMO";
const OUTBOX: &str = "demo-outbox";

pub(super) async fn send(
    studies: &[DemoStudy],
    config: &Config,
    address: SocketAddr,
    board: &Board,
) -> Result<(), DemoError> {
    let peer = Peer::new(address.to_string(), config.dimse.ae_title.trim(), CALLING_AET);
    let outbox = config.server.data_dir.join(OUTBOX);
    for (index, study) in studies.iter().enumerate() {
        let files = write(study, &outbox)?;
        let (of, mut sent) = (files.len(), 0);
        let outcomes = send_files(&peer, files, |_| {
            sent += 1;
            board.pass(index, &format!("C-STORE {sent}/{of}"));
        });
        check(&outcomes.await)?;
        board.say(index, &format!("{of} sent by C-STORE"));
    }
    fs::remove_dir_all(&outbox).map_err(|source| DemoError::Write { path: outbox, source })
}

fn write(study: &DemoStudy, outbox: &Path) -> Result<Vec<PathBuf>, DemoError> {
    let folder = outbox.join(study.uid.as_str());
    fs::create_dir_all(&folder).map_err(|source| DemoError::Write { path: folder.clone(), source })?;
    let files = (1..).zip(&study.phantom.objects).map(|(number, object)| {
        let path = folder.join(format!("{number:03}.dcm"));
        let written = object.write_to_file(&path).map_err(std::io::Error::other);
        written.map_err(|source| DemoError::Write { path: path.clone(), source })?;
        Ok(path)
    });
    files.collect()
}

fn check(outcomes: &[SendOutcome]) -> Result<(), DemoError> {
    match outcomes.iter().find(|outcome| !outcome.is_stored()) {
        None => Ok(()),
        Some(refused) => Err(DemoError::Send(match &refused.result {
            Ok(reply) => {
                let comment = reply.comment.as_deref().unwrap_or("no comment");
                format!("status {:04X}, {comment}", reply.status)
            }
            Err(error) => super::super::sentence(error),
        })),
    }
}
