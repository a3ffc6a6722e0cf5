//! What people ask of exports: how they stand, to stop and to go on, to send and to send again.

use crate::db::audit::{Action, Actor, Entry, ObjectKind};
use crate::db::exports::{self, Summary};
use crate::db::{Batch, DbError, audit, studies};
use crate::dicom::uid::{SopInstanceUid, StudyUid};

use super::destination::{Condition, Destination};
use super::{Exports, plan};
use crate::clock::Timestamp;

/// How a destination stands.
#[derive(Debug)]
pub struct State {
    pub name: String,
    pub kind: &'static str,
    pub condition: Condition,
    /// Since when a person has stopped it.
    pub paused: Option<Timestamp>,
    pub summary: Summary,
}

/// What was queued for a destination by request.
#[derive(Debug, PartialEq, Eq)]
pub struct Queued {
    pub destination: String,
    pub queued: usize,
    /// They came from there.
    pub skipped: usize,
}

#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    #[error("there is no destination {0:?}")]
    UnknownDestination(String),
    #[error("there is no such study")]
    UnknownStudy,
    #[error("there is no such export")]
    UnknownExport,
    #[error("the export is {0}: only what is dead or failed is sent again so")]
    NotRequeueable(String),
    #[error("the index failed")]
    Index(#[from] DbError),
}

impl Exports {
    pub async fn states(&self) -> Result<Vec<State>, DbError> {
        let mut states = Vec::with_capacity(self.destinations.len());
        for destination in &self.destinations {
            states.push(self.state_of(destination).await?);
        }
        Ok(states)
    }

    pub async fn state(&self, name: &str) -> Result<State, ControlError> {
        Ok(self.state_of(self.known(name)?).await?)
    }

    async fn state_of(&self, destination: &Destination) -> Result<State, DbError> {
        Ok(State {
            name: destination.name.clone(),
            kind: destination.kind_name(),
            condition: destination.condition(),
            paused: exports::paused(&self.parts.db, &destination.name).await?,
            summary: exports::summary(&self.parts.db, &destination.name).await?,
        })
    }

    fn known(&self, name: &str) -> Result<&Destination, ControlError> {
        let found = self.named(name).ok_or_else(|| ControlError::UnknownDestination(name.to_owned()))?;
        Ok(found)
    }

    /// Nothing is sent there until somebody says so; what is under way comes to its end.
    pub async fn pause(&self, name: &str, actor: &Actor) -> Result<State, ControlError> {
        self.known(name)?;
        self.act(
            exports::pause(name, &actor.name, self.now()),
            (Action::PauseDestination, ObjectKind::Destination, name),
            actor,
        )
        .await?;
        tracing::info!(destination = name, "a person has stopped a destination");
        self.state(name).await
    }

    /// It goes on at once, whatever the destination did before.
    pub async fn resume(&self, name: &str, actor: &Actor) -> Result<State, ControlError> {
        self.known(name)?.reset();
        let mut batch = exports::resume(name, self.now());
        batch.append(exports::hasten(name, self.now()));
        self.act(batch, (Action::ResumeDestination, ObjectKind::Destination, name), actor).await?;
        tracing::info!(destination = name, "a person lets a destination go on");
        self.state(name).await
    }

    /// Sends what is dead again; how many that are.
    pub async fn requeue_dead(&self, name: &str, actor: &Actor) -> Result<usize, ControlError> {
        self.known(name)?;
        let batch = exports::requeue_dead(name, self.now());
        let requeued =
            self.act(batch, (Action::RequeueDeadExports, ObjectKind::Destination, name), actor).await?;
        tracing::info!(destination = name, exports = requeued, "dead exports are sent again");
        Ok(requeued)
    }

    pub async fn requeue(&self, id: i64, actor: &Actor) -> Result<exports::Export, ControlError> {
        let export = exports::one(&self.parts.db, id).await?.ok_or(ControlError::UnknownExport)?;
        self.known(&export.destination)?;
        let batch = exports::requeue(id, &export.destination, self.now());
        match self.act(batch, (Action::RequeueExport, ObjectKind::Export, &id.to_string()), actor).await {
            Ok(_) => exports::one(&self.parts.db, id).await?.ok_or(ControlError::UnknownExport),
            Err(DbError::Affected { .. }) => Err(ControlError::NotRequeueable(export.state)),
            Err(error) => Err(error.into()),
        }
    }

    /// Sends a study, results and all, whatever was sent before. What came from a destination goes
    /// back to it only when that is asked for.
    pub async fn send(
        &self,
        study: &StudyUid,
        destinations: &[String],
        also_own: bool,
        actor: &Actor,
    ) -> Result<Vec<Queued>, ControlError> {
        let members = studies::members(&self.parts.db, study).await?;
        if members.is_empty() {
            return Err(ControlError::UnknownStudy);
        }
        let unknown = |name: &String| ControlError::UnknownDestination(name.clone());
        let repeated = |at: usize, name: &String| destinations[..at].contains(name);
        let once = destinations.iter().enumerate().filter(|(at, name)| !repeated(*at, name));
        let targets = once.map(|(_, name)| self.of_objects(name).ok_or_else(|| unknown(name)));
        let mut queued = Vec::new();
        for target in targets.collect::<Result<Vec<_>, _>>()? {
            let came_from_there = |aet: &str| {
                let settings = target.settings.as_ref();
                !aet.is_empty() && settings.is_some_and(|settings| settings.is_source(aet))
            };
            let wanted: Vec<&SopInstanceUid> = members
                .iter()
                .filter(|member| also_own || !came_from_there(&member.calling_aet))
                .map(|member| &member.sop_instance)
                .collect();
            for batch in plan::requested(&target.name, &wanted, self.now()) {
                self.parts.db.run(batch).await?;
            }
            let skipped = members.len() - wanted.len();
            queued.push(Queued { destination: target.name.clone(), queued: wanted.len(), skipped });
        }
        self.record_send(study, &destinations.join(", "), actor).await?;
        self.parts.bell.ring();
        Ok(queued)
    }

    /// Rows that the first step of the batch changed.
    async fn act(
        &self,
        batch: Batch,
        what: (Action, ObjectKind, &str),
        actor: &Actor,
    ) -> Result<usize, DbError> {
        let (action, kind, id) = what;
        let entry = Entry::new(actor, action).object(kind, id);
        let effects = self.parts.db.run(batch.then(audit::append(&entry, self.now()))).await?;
        self.parts.bell.ring();
        Ok(effects.first().map_or(0, |effect| effect.affected))
    }

    async fn record_send(&self, study: &StudyUid, names: &str, actor: &Actor) -> Result<(), DbError> {
        let entry = Entry::new(actor, Action::SendStudy).study(study).object(ObjectKind::Destination, names);
        self.parts.db.run(Batch::new().then(audit::append(&entry, self.now()))).await.map(drop)
    }

    fn now(&self) -> Timestamp {
        self.parts.clock.now()
    }
}
