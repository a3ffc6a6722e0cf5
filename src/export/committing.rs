//! What a node was sent it is asked to commit to, and what it says of it.

use std::time::Duration;

use super::commitment::{Commitments, Status};
use super::worker::Work;
use crate::causes::chain;
use crate::clock::Timestamp;
use crate::db::commitments::{Outcome, Referenced};
use crate::db::exports::committing::{self, Said, Uncommitted};
use crate::db::{Batch, DbError};
use crate::dicom::commitment::Reference;

/// Instances of one request.
const REQUEST_MAX: usize = 500;
/// How often it is looked whether a report has come.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// A request that was not accepted is made again after this long.
const ASK_AGAIN: Duration = Duration::from_secs(60);

impl Work<'_> {
    /// Asks, and takes what was answered; how soon to look again, when anything is open.
    pub(super) async fn commitment(&self) -> Result<Option<Duration>, DbError> {
        let Some(node) = self.destination.asked_for_commitment() else { return Ok(None) };
        let commitments = self.parts.commitments.as_ref();
        self.ask_for_commitment(commitments, node).await?;
        let awaited = committing::awaited(&self.parts.db, &self.destination.name).await?;
        for request in &awaited {
            self.take_commitment(commitments, request).await?;
        }
        let open = !committing::awaited(&self.parts.db, &self.destination.name).await?.is_empty();
        let later = !self.uncommitted(self.now().plus(ASK_AGAIN), 1).await?.is_empty();
        Ok(open.then_some(LOOK_EVERY).or(later.then_some(ASK_AGAIN)))
    }

    /// A node that does not accept is not pressed: what else there is to ask waits until later, so
    /// that what is to be sent does not wait for many askings in vain.
    async fn ask_for_commitment(&self, commitments: &Commitments, node: &str) -> Result<(), DbError> {
        loop {
            let rows = self.uncommitted(self.now(), REQUEST_MAX.min(commitments.references_max())).await?;
            if rows.is_empty() {
                return Ok(());
            }
            match commitments.request(node, rows.iter().map(reference).collect()).await {
                Ok(request) => self.parts.db.run(committing::asked(&rows, &request, self.now())).await?,
                Err(error) => {
                    let reason = format!("storage commitment could not be asked for: {}", chain(&error));
                    tracing::warn!(destination = self.destination.name, instances = rows.len(), reason);
                    let batch = committing::not_asked(&rows, &reason, self.now().plus(ASK_AGAIN));
                    return self.parts.db.run(batch).await.map(drop);
                }
            };
        }
    }

    async fn uncommitted(&self, until: Timestamp, most: usize) -> Result<Vec<Uncommitted>, DbError> {
        committing::uncommitted(&self.parts.db, &self.destination.name, until, most).await
    }

    async fn take_commitment(&self, commitments: &Commitments, request: &str) -> Result<(), DbError> {
        let again = self.now().plus(ASK_AGAIN);
        let batch = match commitments.status(request).await? {
            Some(Status::Awaited) => return Ok(()),
            Some(Status::Reported(said)) => self.settled(request, &said),
            Some(Status::Refused(reason)) => committing::ask_anew(request, &reason, again),
            Some(Status::Overdue) => committing::ask_anew(request, "the node never reported", again),
            None => committing::ask_anew(request, "the request was forgotten", again),
        };
        self.parts.db.run(batch).await.map(drop)
    }

    /// An instance that the report does not mention is asked about anew.
    fn settled(&self, request: &str, said: &[Referenced]) -> Batch {
        let (now, mut batch) = (self.now(), Batch::new());
        let mut count = [0, 0];
        for one in said {
            let said = match one.outcome {
                Outcome::Committed => Said::Committed,
                Outcome::Failed(code) => self.lost(code),
                Outcome::Unknown => continue,
            };
            count[usize::from(said != Said::Committed)] += 1;
            batch.push(committing::settle(request, &one.reference.sop_instance, &said, now));
        }
        let [committed, lost] = count;
        self.count("committed", committed);
        self.count("failed", lost);
        if lost > 0 {
            tracing::warn!(
                destination = self.destination.name,
                lost,
                "a node does not have what it took: it is sent again"
            );
        }
        let silent = "the report does not mention it";
        batch.append(committing::ask_anew(request, silent, now.plus(ASK_AGAIN)));
        batch
    }

    fn lost(&self, code: u16) -> Said {
        Said::Lost {
            reason: format!("the node does not commit to it ({code:04X})"),
            again: self.now().plus(self.exports.settings.retry_first()),
            attempts_max: self.exports.settings.attempts_max,
        }
    }

    fn now(&self) -> Timestamp {
        self.parts.clock.now()
    }
}

fn reference(row: &Uncommitted) -> Reference {
    Reference { sop_class: row.sop_class.clone(), sop_instance: row.instance.clone() }
}
