//! What became of each file, for people and for programs.

use std::io::{self, Write};

use serde_json::{Value, json};

use crate::cli::peer::advice;
use crate::cli::{CliError, statuses};
use crate::export::scu::association::Peer;
use crate::export::scu::{ScuError, SendOutcome};

/// Of one file or zip entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    Stored {
        name: String,
        status: u16,
        comment: Option<String>,
    },
    /// The sentence says why.
    Failed {
        name: String,
        status: Option<u16>,
        reason: String,
    },
    /// It was not an object; the sentence says what.
    Skipped {
        name: String,
        reason: String,
    },
}

impl Outcome {
    pub(super) fn of(name: String, sent: &SendOutcome, peer: &Peer) -> Self {
        match &sent.result {
            Ok(reply) if reply.is_stored() => {
                Self::Stored { name, status: reply.status, comment: reply.comment.clone() }
            }
            Ok(reply) => {
                let comment = reply.comment.as_ref().map(|comment| format!(" ({comment})"));
                let reason = format!(
                    "refused with {}{}",
                    statuses::of_store(reply.status),
                    comment.unwrap_or_default()
                );
                Self::Failed { name, status: Some(reply.status), reason }
            }
            Err(error) => Self::Failed { name, status: None, reason: sentence(peer, error) },
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::Stored { name, status, comment } => {
                json!({"file": name, "stored": true, "status": format!("{status:04X}"), "comment": comment})
            }
            Self::Failed { name, status, reason } => {
                let status = status.map(|status| format!("{status:04X}"));
                json!({"file": name, "stored": false, "status": status, "reason": reason})
            }
            Self::Skipped { name, reason } => json!({"file": name, "skipped": reason}),
        }
    }
}

fn sentence(peer: &Peer, error: &ScuError) -> String {
    format!("{}{}", crate::cli::sentence(error), advice(peer, error))
}

/// Counts, and tells at once what went wrong.
pub(super) struct Summary {
    is_json: bool,
    stored: usize,
    warnings: usize,
    failed: usize,
    skipped: usize,
}

impl Summary {
    pub(super) fn new(is_json: bool) -> Self {
        Self { is_json, stored: 0, warnings: 0, failed: 0, skipped: 0 }
    }

    pub(super) fn add(&mut self, outcome: Outcome) -> io::Result<()> {
        match &outcome {
            Outcome::Stored { status: 0, .. } => self.stored += 1,
            Outcome::Stored { .. } => {
                self.stored += 1;
                self.warnings += 1;
            }
            Outcome::Failed { .. } => self.failed += 1,
            Outcome::Skipped { .. } => self.skipped += 1,
        }
        match self.is_json {
            true => writeln!(io::stdout(), "{}", outcome.json()),
            false => self.tell(&outcome),
        }
    }

    fn tell(&self, outcome: &Outcome) -> io::Result<()> {
        match outcome {
            Outcome::Stored { status: 0, .. } => Ok(()),
            Outcome::Stored { name, status, .. } => {
                writeln!(io::stderr(), "{name}: {}", statuses::of_store(*status))
            }
            Outcome::Failed { name, reason, .. } => writeln!(io::stderr(), "{name}: {reason}"),
            Outcome::Skipped { name, reason } => writeln!(io::stderr(), "{name}: skipped, {reason}"),
        }
    }

    /// # Errors
    /// Not every object is there now.
    pub(super) fn finish(self) -> Result<(), CliError> {
        let Self { stored, warnings, failed, skipped, is_json } = self;
        if !is_json {
            let line = format!(
                "{stored} stored, {warnings} of them with a warning, {failed} failed, {skipped} skipped"
            );
            writeln!(io::stdout(), "{line}")?;
        }
        match (stored, failed) {
            (0, 0) => Err(CliError::Peer("there was nothing to send".to_owned())),
            (_, 0) => Ok(()),
            _ => Err(CliError::Peer(format!("{failed} of {} objects were not stored", stored + failed))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::scu::association::StoreReply;

    fn outcome(status: u16) -> Outcome {
        let peer = Peer::new("pacs:104", "PACS", "US");
        let reply = StoreReply { status, comment: Some("because".to_owned()) };
        Outcome::of("a.dcm".to_owned(), &SendOutcome { path: "x".into(), result: Ok(reply) }, &peer)
    }

    #[test]
    fn a_refusal_says_the_status_in_words() {
        let Outcome::Failed { reason, .. } = outcome(0xA700) else { panic!("not failed") };
        assert_eq!(reason, "refused with A700, it is out of resources, of disk as a rule (because)");
        assert_eq!(outcome(0xB000).json()["stored"], true);
    }

    #[test]
    fn only_when_all_are_stored_it_succeeds() {
        let ended = |statuses: &[u16]| {
            let mut summary = Summary::new(true);
            statuses.iter().for_each(|status| summary.add(outcome(*status)).unwrap());
            summary.finish()
        };
        assert!(ended(&[0, 0xB000]).is_ok());
        assert!(ended(&[0, 0xA700]).is_err() && ended(&[]).is_err());
    }
}
