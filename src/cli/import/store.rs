//! One file at a time through the way in.

use std::io;
use std::path::Path;

use indicatif::ProgressBar;
use tokio::fs::File;
use tokio::io::AsyncRead;

use super::summary::{Report, Verdict};
use super::walk::FoundFile;
use super::zips;
use crate::app::Archive;
use crate::audit::Actor;
use crate::ingest::sniff::{self, Kind};
use crate::ingest::{Body, Ingest, Origin, Outcome, Received, Refusal, Source};

const NOT_DICOM: &str = "not a DICOM file";
const DICOMDIR: &str = "a DICOMDIR, the index of a medium";
const NESTED_ZIP: &str = "a zip within a zip";

pub(super) struct Importer<'a> {
    ingest: &'a Ingest,
    origin: Origin,
    pub(super) entry_bytes_max: u64,
}

impl<'a> Importer<'a> {
    pub(super) fn new(archive: &'a Archive, actor: Actor, entry_bytes_max: u64) -> Self {
        let origin = Origin::by(Source::Import, actor);
        Self { ingest: &archive.ingest, origin, entry_bytes_max }
    }

    /// What became of the file, or of each entry of a zip.
    pub(super) async fn import(&self, file: FoundFile, bar: &ProgressBar) -> Vec<Report> {
        let name = file.path.display().to_string();
        let reports = match read_kind(&file.path).await {
            Ok(Kind::Zip) => zips::import(self, &file.path, bar).await,
            Ok(Kind::Dicom) => vec![Report::new(name, self.import_file(&file.path).await)],
            Ok(kind) => vec![Report::new(name, Verdict::Skipped(reason(kind)))],
            Err(error) => vec![Report::new(name, unreadable(&error))],
        };
        bar.inc(file.bytes);
        reports
    }

    async fn import_file(&self, path: &Path) -> Verdict {
        match File::open(path).await {
            Ok(file) => self.store(file).await,
            Err(error) => unreadable(&error),
        }
    }

    pub(super) async fn store(&self, reader: impl AsyncRead + Unpin + Send) -> Verdict {
        let received = Received { body: Body::Part10(reader), origin: &self.origin, only_study: None };
        match self.ingest.store(received).await {
            Ok(stored) if stored.is_new() => Verdict::Stored,
            Ok(stored) if stored.outcome == Outcome::KeptFirst => {
                Verdict::Refused(Refusal::Conflict.to_string())
            }
            Ok(_) => Verdict::AlreadyThere,
            Err(refused) => Verdict::Refused(refused.refusal.to_string()),
        }
    }
}

async fn read_kind(path: &Path) -> io::Result<Kind> {
    let path = path.to_owned();
    let read = tokio::task::spawn_blocking(move || {
        let head = sniff::head(&mut std::fs::File::open(&path)?)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        Ok(sniff::kind(&name, &head))
    });
    read.await.map_err(io::Error::other)?
}

/// Why an entry that is no object is left out.
pub(super) fn skip_entry(kind: Kind) -> Verdict {
    match kind {
        Kind::Zip => Verdict::Skipped(NESTED_ZIP),
        kind => Verdict::Skipped(reason(kind)),
    }
}

fn reason(kind: Kind) -> &'static str {
    match kind {
        Kind::Dicomdir => DICOMDIR,
        Kind::Dicom | Kind::Zip | Kind::Other => NOT_DICOM,
    }
}

pub(super) fn unreadable(error: &io::Error) -> Verdict {
    Verdict::Refused(format!("cannot be read: {error}"))
}
