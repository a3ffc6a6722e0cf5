//! Where the trail ended, noted outside of it: a chain alone does not show that its end is missing.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::db::Db;
use crate::db::audit::{self, Head};
use crate::ids::hex;

/// A file that lines are appended to.
#[derive(Debug, Clone)]
pub struct Heads {
    path: PathBuf,
}

#[derive(Debug, Serialize, Deserialize)]
struct Line {
    at: String,
    sequence: i64,
    sha256: String,
}

#[derive(Debug, thiserror::Error)]
pub enum HeadsError {
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("line {line} of {} is not the end of a trail", path.display())]
    Line { path: PathBuf, line: usize },
}

impl Heads {
    pub fn in_file(path: PathBuf) -> Self {
        Self { path }
    }

    /// Notes where the trail ends now, in the file and in the log; once for each end.
    pub async fn note(&self, db: &Db, now: Timestamp) {
        let head = match audit::end(db).await {
            Ok(head) => head,
            Err(error) => return tracing::warn!(%error, "the end of the audit trail cannot be read"),
        };
        if head.sequence == 0 {
            return;
        }
        let (sequence, sha256) = (head.sequence, hex(&head.hash));
        tracing::info!(sequence, sha256, "the audit trail ends here");
        let path = self.path.clone();
        let line = Line { at: now.rfc3339(), sequence, sha256 };
        let written = tokio::task::spawn_blocking(move || append(&path, &line)).await;
        if let Err(error) = written.unwrap_or_else(|panic| Err(io::Error::other(panic))) {
            tracing::error!(%error, file = %self.path.display(), "the end of the audit trail could not be noted");
        }
    }

    /// Every end that was noted; none where there is no file. Blocking.
    pub fn read(&self) -> Result<Vec<Head>, HeadsError> {
        let text = match std::fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(HeadsError::Read { path: self.path.clone(), source }),
        };
        let parse = |(at, line): (usize, &str)| {
            head(line).ok_or_else(|| HeadsError::Line { path: self.path.clone(), line: at + 1 })
        };
        text.lines().enumerate().map(parse).collect()
    }
}

fn append(path: &Path, line: &Line) -> io::Result<()> {
    let mut text = serde_json::to_string(line)?;
    text.push('\n');
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_data()
}

fn head(line: &str) -> Option<Head> {
    let line: Line = serde_json::from_str(line).ok()?;
    let digits = line.sha256.as_bytes().chunks(2);
    let bytes = digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
    let hash = bytes.collect::<Option<Vec<u8>>>()?.try_into().ok()?;
    Some(Head { sequence: line.sequence, hash })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_noted_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let heads = Heads::in_file(dir.path().join("heads"));
        assert_eq!(heads.read().unwrap(), []);
        let head = Head { sequence: 7, hash: [0xAB; 32] };
        let line = Line { at: "2026-01-01T00:00:00Z".into(), sequence: 7, sha256: hex(&head.hash) };
        append(&heads.path, &line).unwrap();
        append(&heads.path, &line).unwrap();
        assert_eq!(heads.read().unwrap(), [head, head]);
        std::fs::write(&heads.path, "{}\n").unwrap();
        assert!(matches!(heads.read(), Err(HeadsError::Line { line: 1, .. })));
    }
}
