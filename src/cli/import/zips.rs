//! Entries of a zip, streamed into the way in.

use std::path::Path;

use indicatif::ProgressBar;

use super::store::{Importer, skip_entry, unreadable};
use super::summary::{Report, Verdict};
use crate::ingest::zips::{Entries, Entry, Limits};

const ENTRIES_MAX: usize = 1_000_000;
/// Deflate makes no more than about a thousand bytes of one.
const RATIO_MAX: u64 = 1100;

/// What became of each entry.
pub(super) async fn import(importer: &Importer<'_>, path: &Path, bar: &ProgressBar) -> Vec<Report> {
    let file = match tokio::fs::File::open(path).await {
        Ok(file) => file.into_std().await,
        Err(error) => return vec![Report::new(path.display(), unreadable(&error))],
    };
    let limits = Limits {
        entries_max: ENTRIES_MAX,
        entry_bytes_max: importer.entry_bytes_max,
        bytes_max: u64::MAX,
        ratio_max: RATIO_MAX,
    };
    let mut entries = Entries::of(file, limits);
    let mut reports = Vec::new();
    let named = |name: &str| format!("{}: {name}", path.display());
    while let Some(entry) = entries.next().await {
        reports.push(match entry {
            Entry::Object { name, content } => {
                Report::new(named(&name), importer.store(content.into_reader()).await)
            }
            Entry::Other { name, kind } => Report::new(named(&name), skip_entry(kind)),
            Entry::Refused { name, reason } => Report::new(named(&name), Verdict::Refused(reason)),
        });
        bar.set_message(format!("{} entries", reports.len()));
    }
    let refused = entries.ended().await.err().map(|refused| Verdict::Refused(refused.to_string()));
    reports.extend(refused.map(|verdict| Report::new(path.display(), verdict)));
    reports
}
