//! What nodes ask us to commit to: accepted, looked at, reported.

use std::collections::{BTreeMap, BTreeSet};

use futures::stream::{self, StreamExt, TryStreamExt};
use tokio::time::timeout;

use super::standing::ReturnPath;
use super::{CallError, Commitments, metric};
use crate::auth::Reach;
use crate::causes::chain;
use crate::clock::Timestamp;
use crate::db::audit::{Action, Actor, Entry, ObjectKind};
use crate::db::commitments::{self, Commitment, Direction, Outcome, Referenced, State};
use crate::db::groups::{self, Belonging};
use crate::db::{Batch, DbError, Statement, audit, jobs};
use crate::dicom::commitment::{Failed, FailureReason, Reference, Report, Request};
use crate::dicom::sop_class::is_stored;
use crate::dicom::uid::StudyUid;
use crate::export::scu::ScuError;
use crate::export::scu::association::{Association, Peer};
use crate::export::scu::commitment as wire;
use crate::ids;
use crate::jobs::{Ending, Task};
use crate::query::integrity::Verdict;
use crate::telemetry::limits;
use crate::ul::command::status;

/// Why a request for commitment is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    #[error("too many requests for storage commitment are open")]
    TooManyOpen,
    #[error("the index failed")]
    Index(#[from] DbError),
}

const DUPLICATE: Outcome = Outcome::Failed(FailureReason::DuplicateTransaction.code());

/// What is known of the Transaction UID of a request.
enum Earlier {
    Nothing,
    /// The same node asked the same: it asks again.
    Same(Commitment),
    /// It stands for something else.
    Other,
}

impl Commitments {
    /// Takes a request in; when this returns its id, it survives a power cut and will be reported.
    /// A node that asks again for the same is told again, after another look. What is beyond the
    /// reach of the requester is not stored, as far as he is told.
    pub async fn accept(
        &self,
        requester: &str,
        reach: &Reach,
        request: &Request,
        path: Option<ReturnPath>,
    ) -> Result<String, AcceptError> {
        if commitments::open(&self.db).await? >= self.settings.limits.open_max {
            limits::hit("commitment.open_max");
            return Err(AcceptError::TooManyOpen);
        }
        let hidden = self.hidden(reach, request).await?;
        let (id, batch) = match self.earlier(requester, request).await? {
            Earlier::Nothing => self.begin(requester, request, State::Accepted, &hidden),
            Earlier::Same(known) => self.begin_again(known, &hidden),
            Earlier::Other => self.begin(requester, request, State::Checked, &hidden),
        };
        // Before the job can run.
        if let Some(path) = path {
            self.standing.add(&id, path);
        }
        if let Err(error) = self.db.run(batch).await {
            self.standing.remove(&id);
            return Err(error.into());
        }
        metrics::counter!(metric::REQUESTS, "direction" => Direction::Given.as_str()).increment(1);
        self.bell.ring();
        Ok(id)
    }

    /// The references to what is not there for the requester, or not at all.
    async fn hidden(&self, reach: &Reach, request: &Request) -> Result<Vec<(usize, Outcome)>, DbError> {
        let mut hidden = Vec::new();
        if reach.is_everything() {
            return Ok(hidden);
        }
        for (at, reference) in request.references.iter().enumerate() {
            let instance = reference.sop_instance.as_str();
            if !groups::reaches(&self.db, reach, Belonging::Instance, instance).await? {
                hidden.push((at, Outcome::Failed(FailureReason::NoSuchInstance.code())));
            }
        }
        Ok(hidden)
    }

    async fn earlier(&self, requester: &str, request: &Request) -> Result<Earlier, DbError> {
        let known = commitments::of_transaction(&self.db, Direction::Given, &request.transaction).await?;
        let mut earlier = Earlier::Nothing;
        for one in known {
            let referenced = commitments::references(&self.db, &one.id).await?;
            let same = referenced.iter().map(|one| &one.reference).eq(&request.references);
            let was_refused = referenced.iter().all(|one| one.outcome == DUPLICATE);
            if same && one.peer_aet == requester && !was_refused {
                return Ok(Earlier::Same(one));
            }
            earlier = Earlier::Other;
        }
        Ok(earlier)
    }

    /// One that is checked already has a Transaction UID that is in use: nothing of it is committed.
    fn begin(
        &self,
        requester: &str,
        request: &Request,
        state: State,
        hidden: &[(usize, Outcome)],
    ) -> (String, Batch) {
        let (id, now) = (ids::row_id(), self.clock.now());
        let commitment = Commitment {
            id: id.clone(),
            direction: Direction::Given,
            transaction: request.transaction.clone(),
            peer_aet: requester.to_owned(),
            state,
            reason: None,
            asked_at: now,
        };
        let mut batch = commitments::insert(&commitment, &request.references);
        if state == State::Checked {
            batch = commitments::and_outcomes(batch, &id, DUPLICATE, &[]);
        } else if !hidden.is_empty() {
            batch = commitments::and_outcomes(batch, &id, Outcome::Unknown, hidden);
        }
        let count = format!("{} references", request.references.len());
        batch.push(told(&commitment, audit::Outcome::Begun, &count, now));
        batch.push(commitments::forget(now.minus(self.settings.limits.retention())));
        batch.push(jobs::enqueue(&task(&id), now, now));
        (id, batch)
    }

    fn begin_again(&self, known: Commitment, hidden: &[(usize, Outcome)]) -> (String, Batch) {
        const ANY: [State; 4] = [State::Accepted, State::Checked, State::Reported, State::Undelivered];
        let now = self.clock.now();
        let batch = commitments::advance(&known.id, &ANY, State::Accepted, None, now);
        let mut batch = commitments::and_outcomes(batch, &known.id, Outcome::Unknown, hidden);
        batch.push(jobs::enqueue(&task(&known.id), now, now));
        (known.id, batch)
    }

    /// The job: goes on where the transaction stands.
    pub(super) async fn report(&self, id: &str) -> Result<Ending, DbError> {
        let Some(commitment) = commitments::one(&self.db, id).await? else {
            return Ok(Ending::Done("the transaction has been forgotten".to_owned()));
        };
        if commitment.state == State::Accepted {
            self.look(&commitment).await?;
        } else if commitment.state != State::Checked {
            return Ok(Ending::Done(format!("it is {} already", commitment.state.as_str())));
        }
        let referenced = commitments::references(&self.db, id).await?;
        let report = self.report_of(&commitment, referenced);
        let ending = self.deliver(&commitment, report).await;
        if let Ok(Ending::Done(_)) = &ending {
            self.standing.remove(id);
        }
        ending
    }

    /// Reads every object that is referenced again.
    async fn look(&self, commitment: &Commitment) -> Result<(), DbError> {
        let referenced = commitments::references(&self.db, &commitment.id).await?;
        let open = referenced.iter().filter(|one| one.outcome == Outcome::Unknown);
        let distinct: BTreeSet<Reference> = open.map(|one| one.reference.clone()).collect();
        let looks = distinct.into_iter().map(|reference| async {
            let outcome = self.outcome(commitment, &reference).await?;
            Ok::<_, DbError>((reference, outcome))
        });
        let looks = stream::iter(looks).buffer_unordered(self.settings.limits.checks.max(1));
        let outcomes: BTreeMap<Reference, Outcome> = looks.try_collect().await?;
        let outcome = |one: &Referenced| outcomes.get(&one.reference).copied().unwrap_or(one.outcome);
        let outcomes = referenced.iter().map(outcome).enumerate();
        let failed: Vec<_> = outcomes.filter(|(_, outcome)| *outcome != Outcome::Committed).collect();
        let now = self.clock.now();
        let batch = commitments::advance(&commitment.id, &[State::Accepted], State::Checked, None, now);
        let batch = commitments::and_outcomes(batch, &commitment.id, Outcome::Committed, &failed);
        self.db.run(batch).await.map(drop)
    }

    async fn outcome(&self, commitment: &Commitment, reference: &Reference) -> Result<Outcome, DbError> {
        let stored = || is_stored(reference.sop_class.as_str(), &self.settings.sop_classes_extra);
        let failed = |reason: FailureReason| Ok(Outcome::Failed(reason.code()));
        match self.integrity.check(reference).await? {
            Verdict::Intact => Ok(Outcome::Committed),
            Verdict::NotStored if !stored() => failed(FailureReason::SopClassNotSupported),
            Verdict::NotStored => failed(FailureReason::NoSuchInstance),
            Verdict::OtherClass => failed(FailureReason::ClassInstanceConflict),
            Verdict::Damaged { study, cause, .. } => {
                self.tell_damage(commitment, reference, &study, &cause).await?;
                failed(FailureReason::ProcessingFailure)
            }
            Verdict::NotRead { cause } => {
                let sop_instance = &reference.sop_instance;
                tracing::warn!(%sop_instance, cause, "a stored object could not be looked at");
                failed(FailureReason::ResourceLimitation)
            }
        }
    }

    /// Nothing worse can be said of an archive: it is told wherever somebody may look.
    async fn tell_damage(
        &self,
        commitment: &Commitment,
        reference: &Reference,
        study: &StudyUid,
        cause: &str,
    ) -> Result<(), DbError> {
        let sop_instance = &reference.sop_instance;
        tracing::error!(%study, %sop_instance, cause, "a stored object is not what was stored");
        metrics::counter!(metric::DAMAGED).increment(1);
        let peer = Actor::node(&commitment.peer_aet, None);
        let entry = Entry::new(&peer, Action::VerifyInstance).study(study).outcome(audit::Outcome::Error);
        let entry = entry.object(ObjectKind::Instance, sop_instance.as_str()).detail(cause);
        self.db.run(Batch::new().then(audit::append(&entry, self.clock.now()))).await.map(drop)
    }

    fn report_of(&self, commitment: &Commitment, referenced: Vec<Referenced>) -> Report {
        let (mut committed, mut failed) = (Vec::new(), Vec::new());
        for Referenced { reference, outcome } in referenced {
            match outcome {
                Outcome::Committed => committed.push(reference),
                Outcome::Failed(reason) => failed.push(Failed { reference, reason }),
                Outcome::Unknown => {
                    failed.push(Failed { reference, reason: FailureReason::ProcessingFailure.code() });
                }
            }
        }
        let retrieve_aet = Some(self.settings.ae_title.clone());
        Report { transaction: commitment.transaction.clone(), committed, failed, retrieve_aet }
    }

    async fn deliver(&self, commitment: &Commitment, report: Report) -> Result<Ending, DbError> {
        let counts = format!("{} committed, {} failed", report.committed.len(), report.failed.len());
        if self.deliver_on_same(commitment, &report).await {
            return self.reported(commitment, "on the association that asked", &counts).await;
        }
        let Some(peer) = self.peer(&commitment.peer_aet) else {
            let reason = "its association has ended, and it is no node that can be called";
            self.keep_undelivered(&commitment.id, reason).await?;
            return Ok(Ending::Done(reason.to_owned()));
        };
        match self.call(&peer, &report).await {
            Ok(()) => self.reported(commitment, "on an association of its own", &counts).await,
            Err(error) => {
                let reason = chain(&error);
                tracing::warn!(node = commitment.peer_aet, "a commitment could not be reported: {reason}");
                self.db.run(commitments::explain(&commitment.id, &reason, self.clock.now())).await?;
                Ok(Ending::Retry(reason))
            }
        }
    }

    async fn deliver_on_same(&self, commitment: &Commitment, report: &Report) -> bool {
        let (Some(path), Some(wait)) = (self.standing.of(&commitment.id), self.same_association()) else {
            return false;
        };
        matches!(timeout(wait, path.deliver(report.clone())).await, Ok(Some(status::SUCCESS)))
    }

    async fn call(&self, peer: &Peer, report: &Report) -> Result<(), CallError> {
        if self.is_left_alone(&peer.called_aet) {
            return Err(CallError::LeftAlone(peer.called_aet.clone()));
        }
        let associated = Association::connect_with(peer, &wire::contexts()?, wire::as_provider()).await;
        if let Err(ScuError::Connect { .. }) = &associated {
            self.leave_alone(&peer.called_aet);
        }
        let mut association = associated?;
        let answered = association.report_commitment(report).await;
        match &answered {
            // Confirmed it is, whatever becomes of the release.
            Ok(_) => drop(association.release().await),
            Err(_) => association.abort().await,
        }
        match answered? {
            status::SUCCESS => Ok(()),
            refused => Err(CallError::Status("N-EVENT-REPORT", refused)),
        }
    }

    async fn reported(&self, commitment: &Commitment, how: &str, counts: &str) -> Result<Ending, DbError> {
        let now = self.clock.now();
        let from = [State::Checked];
        let mut batch = commitments::advance(&commitment.id, &from, State::Reported, Some(how), now);
        batch.push(told(commitment, audit::Outcome::Success, counts, now));
        self.db.run(batch).await?;
        metrics::counter!(metric::REPORTS, "how" => "reported").increment(1);
        tracing::info!(node = commitment.peer_aet, "storage commitment reported {how}: {counts}");
        Ok(Ending::Done(format!("reported {how}")))
    }

    /// It can be told when the node asks again.
    pub(super) async fn keep_undelivered(&self, id: &str, reason: &str) -> Result<(), DbError> {
        let Some(commitment) = commitments::one(&self.db, id).await? else { return Ok(()) };
        let (now, from) = (self.clock.now(), [State::Accepted, State::Checked]);
        let mut batch = commitments::advance(id, &from, State::Undelivered, Some(reason), now);
        batch.push(told(&commitment, audit::Outcome::MinorFailure, reason, now));
        self.db.run(batch).await?;
        metrics::counter!(metric::REPORTS, "how" => "undelivered").increment(1);
        let node = &commitment.peer_aet;
        tracing::error!(node, "storage commitment is kept until the node asks again: {reason}");
        Ok(())
    }
}

fn told(commitment: &Commitment, outcome: audit::Outcome, detail: &str, now: Timestamp) -> Statement {
    let peer = Actor::node(&commitment.peer_aet, None);
    let entry = Entry::new(&peer, Action::CommitStorage).outcome(outcome).detail(detail);
    audit::append(&entry.object(ObjectKind::Transaction, commitment.transaction.as_str()), now)
}

fn task(id: &str) -> Task {
    Task::ReportCommitment { commitment: id.to_owned() }
}
