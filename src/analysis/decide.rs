//! Decisions: is the study complete, and what of it is analysed. Each is stored with its reason.

use std::collections::BTreeSet;

use super::trigger::{Content, Sorted, Trigger, is_off};
use super::{Analyses, Event, RequestError, Ticket, retry};
use crate::ai::prompt::Pipeline;
use crate::db::audit::{self, Action, Actor, Entry, ObjectKind};
use crate::db::events::{self, EventKind};
use crate::db::studies::Member;
use crate::db::{Batch, DbError, analyses, jobs as job_rows, retrieve, studies};
use crate::dicom::uid::StudyUid;
use crate::export::{event, plan};
use crate::ids;
use crate::jobs::{Ending, Task};
use crate::query::Scope;

const VERDICT_ANALYSE: &str = "analyse";
const VERDICT_SKIP: &str = "skip";

impl Analyses {
    pub(super) async fn complete_study(&self, study: &StudyUid) -> Ending {
        match self.try_complete(study).await {
            Ok(ending) => ending,
            Err(error) => retry(&error),
        }
    }

    async fn try_complete(&self, study: &StudyUid) -> Result<Ending, DbError> {
        let open = self.parts.deliveries.open(study).await?;
        if open > 0 {
            let pause = self.parts.settings.quiet_time();
            return Ok(Ending::Later(pause, format!("{open} associations are still delivering the study")));
        }
        let members = studies::members(&self.parts.db, study).await?;
        self.export(study, &members).await?;
        if !self.parts.settings.enabled {
            return Ok(Ending::Done("complete; analysis is turned off".to_owned()));
        }
        let sorted = self.trigger(study, &members).await?.sort(members);
        self.record_skips(study, &sorted).await?;
        for content in &sorted.contents {
            self.start(study, content, "rule").await?;
        }
        Ok(Ending::Done(format!("complete; {} pipelines chosen", sorted.contents.len())))
    }

    /// Queues what is sent of a complete study, and tells who wants to know. The job comes to its
    /// end behind this: nothing of it is lost, and twice is harmless.
    async fn export(&self, study: &StudyUid, members: &[Member]) -> Result<(), DbError> {
        let (db, plan) = (&self.parts.db, &self.parts.exports);
        let Some(held) = retrieve::held(db, &Scope::Study(study.clone())).await? else { return Ok(()) };
        let returned = match plan.sends_studies() {
            true => plan::returned(db, study, members).await?,
            false => BTreeSet::new(),
        };
        let now = self.parts.clock.now();
        let version = ids::hex(&held.version);
        let event = event::Event::StudyComplete { study, version: &version, instances: members.len() };
        let detail = serde_json::json!({ "instances": members.len() });
        let complete = events::Event {
            kind: EventKind::StudyComplete,
            study: Some(study),
            subject: None,
            owner: None,
            detail: Some(&detail),
        };
        let news = plan.event(&event, now).then(events::append(&complete, now));
        for batch in plan.study(members, &returned, now).into_iter().chain([news]) {
            self.run_batch(batch).await?;
        }
        self.parts.bell.ring();
        Ok(())
    }

    async fn record_skips(&self, study: &StudyUid, sorted: &Sorted) -> Result<(), DbError> {
        let now = self.parts.clock.now();
        let mut batch = Batch::new();
        for (skip, objects) in &sorted.skipped {
            let reason = skip.reason(*objects);
            let decision = analyses::Decision {
                verdict: VERDICT_SKIP,
                rule: skip.rule(),
                pipeline: None,
                reason: &reason,
            };
            batch.push(analyses::decide(study, &decision, now));
            let (system, detail) = (Actor::system(), format!("skipped: {reason}"));
            let entry = Entry::new(&system, Action::DecideAnalysis).study(study);
            let entry = entry.object(ObjectKind::Rule, skip.rule()).detail(&detail);
            batch.push(audit::append(&entry, now));
        }
        self.run_batch(batch).await?;
        for (skip, objects) in &sorted.skipped {
            let reason = skip.reason(*objects);
            self.tell(Event::Decided { study: study.clone(), verdict: VERDICT_SKIP, reason });
        }
        Ok(())
    }

    /// One analysis per study, pipeline and content, however often it is asked for.
    async fn start(
        &self,
        study: &StudyUid,
        content: &Content,
        trigger: &'static str,
    ) -> Result<Ticket, DbError> {
        let content_sha256 = content.sha256();
        let pipeline = content.pipeline.name();
        if let Some(known) = analyses::with_content(&self.parts.db, study, pipeline, &content_sha256).await? {
            return Ok(Ticket { analysis: known.id, state: known.state });
        }
        let id = ids::row_id();
        let new =
            analyses::NewAnalysis { id: &id, study, pipeline, content_sha256: &content_sha256, trigger };
        match self.run_batch(self.start_batch(&new, content)).await {
            Ok(()) => {
                self.parts.bell.ring();
                self.tell(Event::Queued { study: study.clone(), analysis: id.clone() });
                Ok(Ticket { analysis: id, state: "queued".to_owned() })
            }
            // Somebody else was first with the same content.
            Err(DbError::Unique { .. }) => {
                let known = analyses::with_content(&self.parts.db, study, pipeline, &content_sha256).await?;
                Ok(known.map_or(Ticket { analysis: id, state: "queued".to_owned() }, |known| Ticket {
                    analysis: known.id,
                    state: known.state,
                }))
            }
            Err(error) => Err(error),
        }
    }

    fn start_batch(&self, new: &analyses::NewAnalysis<'_>, content: &Content) -> Batch {
        let now = self.parts.clock.now();
        let reason = format!("{} objects by the rule \"{}\"", content.members.len(), content.rule);
        let decision = analyses::Decision {
            verdict: VERDICT_ANALYSE,
            rule: &content.rule,
            pipeline: Some(new.pipeline),
            reason: &reason,
        };
        let task = Task::AnalyseStudy { analysis: new.id.to_owned() };
        let (system, detail) = (Actor::system(), format!("queued: {reason}"));
        let entry = Entry::new(&system, Action::DecideAnalysis).study(new.study);
        let entry = entry.object(ObjectKind::Analysis, new.id).detail(&detail);
        analyses::insert(new, now)
            .then(analyses::decide(new.study, &decision, now))
            .then(audit::append(&entry, now))
            .then(events::append(&events::Event::about(EventKind::AnalysisQueued, new.study, new.id), now))
            .then(job_rows::enqueue(&task, now, now))
    }

    /// An analysis because somebody asks: of what the rules name, or of everything no guard
    /// holds by the pipeline that is named. What failed or gave way is tried again.
    pub async fn request(&self, study: &StudyUid, pipeline: Option<&str>) -> Result<Ticket, RequestError> {
        let members = studies::members(&self.parts.db, study).await?;
        if members.is_empty() {
            return Err(RequestError::UnknownStudy);
        }
        let trigger = self.trigger(study, &members).await?;
        let content = match pipeline {
            Some(name) => {
                let pipeline = Pipeline::from_name(name)
                    .ok_or_else(|| RequestError::UnknownPipeline(name.to_owned()))?;
                if !trigger.is_on(pipeline) {
                    return Err(RequestError::NotAnalysable(is_off(pipeline)));
                }
                trigger.allowed(members, pipeline)
            }
            None => chosen_by_rules(&trigger, members)?,
        };
        if content.members.is_empty() {
            return Err(RequestError::NotAnalysable(never_analysed(&trigger)));
        }
        let ticket = self.start(study, &content, "request").await?;
        if matches!(ticket.state.as_str(), "failed" | "cancelled") {
            self.queue_again(&ticket.analysis).await?;
            self.parts.bell.ring();
            return Ok(Ticket { state: "queued".to_owned(), ..ticket });
        }
        Ok(ticket)
    }
}

fn chosen_by_rules(trigger: &Trigger<'_>, members: Vec<studies::Member>) -> Result<Content, RequestError> {
    let sorted = trigger.sort(members);
    let reasons = sorted.skipped.iter().map(|(skip, objects)| skip.reason(*objects));
    let reasons = reasons.collect::<Vec<_>>().join("; ");
    sorted.contents.into_iter().next().ok_or(RequestError::NotAnalysable(reasons))
}

/// Why nothing of a study may be analysed by any pipeline.
fn never_analysed(trigger: &Trigger<'_>) -> String {
    let stays: BTreeSet<&str> = trigger.stays.values().map(|why| why.reason()).collect();
    let reasons = stays.into_iter().collect::<Vec<_>>().join("; ");
    let never = "every object of the study is one that is never analysed";
    if reasons.is_empty() { never.to_owned() } else { format!("{never}: {reasons}") }
}
