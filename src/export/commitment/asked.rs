//! What we ask of nodes: a request goes out, a report comes back, now or later.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{CallError, Commitments, metric};
use crate::causes::chain;
use crate::clock::Timestamp;
use crate::db::audit::{Action, Actor, Entry, ObjectKind};
use crate::db::commitments::{self, Commitment, Direction, Outcome, Referenced, State};
use crate::db::{DbError, audit};
use crate::dicom::commitment::{Reference, Report, Request};
use crate::dicom::uid::{SopInstanceUid, TransactionUid};
use crate::export::scu::ScuError;
use crate::export::scu::association::{Association, Peer, Stream};
use crate::export::scu::commitment as wire;
use crate::ids;
use crate::ul::command::status;

/// Why a node was not asked, or did not accept.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    #[error("{0:?} is no node that can be called")]
    UnknownNode(String),
    #[error("there is nothing to commit to")]
    Nothing,
    #[error("one request names {0} instances at most")]
    TooMany(usize),
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("the index failed")]
    Index(#[from] DbError),
}

impl From<ScuError> for RequestError {
    fn from(error: ScuError) -> Self {
        Self::Call(error.into())
    }
}

/// Why a report is not taken.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    #[error("no such transaction was asked of this node")]
    UnknownTransaction,
    #[error("the index failed")]
    Index(#[from] DbError),
}

impl RecordError {
    /// As N-EVENT-REPORT-RSP has it, PS3.7 10.1.1.1.8.
    pub fn status(&self) -> u16 {
        match self {
            Self::UnknownTransaction => status::INVALID_ARGUMENT_VALUE,
            Self::Index(_) => status::PROCESSING_FAILURE,
        }
    }
}

/// How far a request is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// The node will report.
    Awaited,
    /// The node should have reported by now (`commitment.report_timeout_h`), and may still.
    Overdue,
    /// The node has reported; an instance that it did not mention is [`Outcome::Unknown`].
    Reported(Vec<Referenced>),
    /// The node did not accept, for this reason: ask anew.
    Refused(String),
}

impl Commitments {
    /// Asks the node to commit to what was stored there. When this returns the id of the request, the
    /// node has accepted it, and its report may be there already. On an error nothing is awaited:
    /// asking again is a new request. `node` is its AE title.
    pub async fn request(&self, node: &str, references: Vec<Reference>) -> Result<String, RequestError> {
        let peer = self.peer(node).ok_or_else(|| RequestError::UnknownNode(node.to_owned()))?;
        match references.len() {
            0 => return Err(RequestError::Nothing),
            many if many > self.references_max() => {
                return Err(RequestError::TooMany(self.references_max()));
            }
            _ => {}
        }
        let request = Request { transaction: new_transaction(), references };
        let id = self.begin_asking(&peer, &request).await?;
        metrics::counter!(metric::REQUESTS, "direction" => Direction::Asked.as_str()).increment(1);
        let asked = self.ask(&id, &peer, &request).await;
        if let Err(error) = &asked {
            let (reason, now) = (chain(error), self.clock.now());
            let from = [State::Asking];
            self.db.run(commitments::advance(&id, &from, State::Refused, Some(&reason), now)).await?;
        }
        asked.map(|()| id)
    }

    async fn begin_asking(&self, peer: &Peer, request: &Request) -> Result<String, DbError> {
        let (id, now) = (ids::row_id(), self.clock.now());
        let commitment = Commitment {
            id: id.clone(),
            direction: Direction::Asked,
            transaction: request.transaction.clone(),
            peer_aet: peer.called_aet.clone(),
            state: State::Asking,
            reason: None,
            asked_at: now,
        };
        let mut batch = commitments::insert(&commitment, &request.references);
        batch.push(commitments::forget(now.minus(self.settings.limits.retention())));
        self.db.run(batch).await?;
        Ok(id)
    }

    /// The report may overtake the answer of [`State::Awaited`]: a node may be quick.
    async fn ask(&self, id: &str, peer: &Peer, request: &Request) -> Result<(), RequestError> {
        let mut association = Association::connect(peer, &wire::contexts()?).await?;
        let answer = match association.request_commitment(request).await {
            Ok(answer) => answer,
            Err(error) => {
                association.abort().await;
                return Err(error.into());
            }
        };
        if answer != status::SUCCESS {
            self.goodbye(association).await;
            return Err(CallError::Status("N-ACTION", answer).into());
        }
        let now = self.clock.now();
        match self.db.run(commitments::advance(id, &[State::Asking], State::Awaited, None, now)).await {
            // The report was faster, on another association.
            Ok(_) | Err(DbError::Affected { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        self.await_here(association, &peer.called_aet).await;
        Ok(())
    }

    /// What goes wrong from here on is no failure of the request: the report comes later.
    async fn await_here(&self, mut association: Association<Stream>, node: &str) {
        let taken = match self.same_association() {
            Some(wait) => self.take_here(&mut association, node, wait).await,
            None => Ok(()),
        };
        match taken {
            Ok(()) => self.goodbye(association).await,
            Err(error) => {
                tracing::debug!(node, %error, "the association ended before the report came");
                association.abort().await;
            }
        }
    }

    async fn take_here(
        &self,
        association: &mut Association<Stream>,
        node: &str,
        wait: Duration,
    ) -> Result<(), ScuError> {
        let bytes_max = self.settings.report_bytes_max;
        let reported = association.commitment_report(wait, bytes_max, self.references_max()).await?;
        let Some((message, report)) = reported else { return Ok(()) };
        let status = match report {
            Ok(report) => {
                self.record(node, &report).await.map_or_else(|error| error.status(), |()| status::SUCCESS)
            }
            Err(refusal) => refusal.status(),
        };
        association.answer_report(&message, status).await
    }

    async fn goodbye(&self, association: Association<Stream>) {
        if let Err(error) = association.release().await {
            tracing::debug!(%error, "the peer did not confirm the release");
        }
    }

    /// Takes the report of a node, for a transaction that was asked of it. The same again is taken
    /// again, and the last one counts.
    pub async fn record(&self, node: &str, report: &Report) -> Result<(), RecordError> {
        let asked = commitments::of_transaction(&self.db, Direction::Asked, &report.transaction).await?;
        let asked = asked.into_iter().find(|one| one.peer_aet.trim() == node.trim());
        let asked = asked.ok_or(RecordError::UnknownTransaction)?;
        let referenced = commitments::references(&self.db, &asked.id).await?;
        let (now, from) = (self.clock.now(), [State::Asking, State::Awaited, State::Reported]);
        let batch = commitments::advance(&asked.id, &from, State::Reported, None, now);
        let exceptions = exceptions(&referenced, report);
        let mut batch = commitments::and_outcomes(batch, &asked.id, Outcome::Committed, &exceptions);
        let counts = format!("{} committed, {} failed", report.committed.len(), report.failed.len());
        let outcome =
            if exceptions.is_empty() { audit::Outcome::Success } else { audit::Outcome::MinorFailure };
        let peer = Actor::node(&asked.peer_aet, None);
        let entry = Entry::new(&peer, Action::StorageCommitted).outcome(outcome).detail(&counts);
        let entry = entry.object(ObjectKind::Transaction, asked.transaction.as_str());
        batch.push(audit::append(&entry, now));
        match self.db.run(batch).await {
            Err(DbError::Affected { .. }) => return Err(RecordError::UnknownTransaction),
            recorded => drop(recorded?),
        }
        metrics::counter!(metric::REPORTS, "how" => "received").increment(1);
        tracing::info!(node, "a node reported storage commitment: {counts}");
        self.bell.ring();
        Ok(())
    }

    /// None for an id that is not known (any more).
    pub async fn status(&self, id: &str) -> Result<Option<Status>, DbError> {
        let Some(commitment) = commitments::one(&self.db, id).await? else { return Ok(None) };
        Ok(Some(match commitment.state {
            State::Reported => Status::Reported(commitments::references(&self.db, id).await?),
            State::Refused => Status::Refused(commitment.reason.unwrap_or_default()),
            _ if self.is_overdue(commitment.asked_at) => Status::Overdue,
            _ => Status::Awaited,
        }))
    }

    fn is_overdue(&self, asked_at: Timestamp) -> bool {
        self.clock.now().since(asked_at) > self.settings.limits.report_timeout()
    }
}

fn new_transaction() -> TransactionUid {
    // A UUID in decimal digits is a UID, PS3.5 B.2.
    ids::new_uid().parse().expect("a UID")
}

/// Of what was asked for, everything that the report does not say to be committed.
fn exceptions(referenced: &[Referenced], report: &Report) -> Vec<(usize, Outcome)> {
    let failed = report.failed.iter().map(|one| (&one.reference.sop_instance, Outcome::Failed(one.reason)));
    let committed = report.committed.iter().map(|one| (&one.sop_instance, Outcome::Committed));
    // What is in both has failed.
    let said: BTreeMap<&SopInstanceUid, Outcome> = committed.chain(failed).collect();
    let outcome = |one: &Referenced| said.get(&one.reference.sop_instance).copied();
    let outcomes = referenced.iter().map(|one| outcome(one).unwrap_or(Outcome::Unknown)).enumerate();
    outcomes.filter(|(_, outcome)| *outcome != Outcome::Committed).collect()
}
