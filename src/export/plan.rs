//! What is sent where, by the rules of the configuration. Everything it decides is rows for the
//! batch of whatever caused it.
//!
//! Loops cannot be: nothing goes to a destination that it came from, and results are sent by the
//! server that made them alone, when it has made them.

use std::collections::BTreeSet;

use super::event::Event;
use crate::clock::Timestamp;
use crate::config::Config;
use crate::config::exports::{Destination, ExportRule, Webhook, What};
use crate::db::exports::{self, Again, EventRow};
use crate::db::studies::Member;
use crate::db::{Batch, Db, DbError, Statement, retrieve};
use crate::dicom::packed;
use crate::dicom::uid::{SopInstanceUid, StudyUid};
use crate::ingest::Source;
use crate::jobs::conditions::Conditions;
use crate::query::Scope;
use crate::report;

/// The rule that sends results back to where the study came from.
const TO_SOURCE: &str = "source";
/// Objects queued in one batch at most: others that write need not wait for thousands.
const BATCH_MAX: usize = 256;

/// The rules with all that they name.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    destinations: Vec<Destination>,
    rules: Vec<ExportRule>,
    webhooks: Vec<Webhook>,
    results_to_source: bool,
}

impl Plan {
    pub fn new(config: &Config) -> Self {
        Self {
            destinations: config.export.all_destinations(&config.dimse.nodes),
            rules: config.export.rules.clone(),
            webhooks: config.export.webhooks.clone(),
            results_to_source: config.export.results_to_source,
        }
    }

    /// Whether objects are sent anywhere just because their study is complete.
    pub fn sends_studies(&self) -> bool {
        self.rules.iter().any(|rule| rule.what == What::Studies)
    }

    /// The objects of a complete study. `returned` are results that another server of this kind
    /// made: they are where they belong.
    pub fn study(
        &self,
        members: &[Member],
        returned: &BTreeSet<SopInstanceUid>,
        now: Timestamp,
    ) -> Vec<Batch> {
        let objects = self.objects(members, returned);
        let woken = objects.iter().map(|object| object.destination).collect();
        let row = |object: Object<'_>| queue(object.destination, object.instance, object.rule, now);
        batches(objects.into_iter().map(row).collect(), &woken, now)
    }

    fn objects<'a>(&'a self, members: &'a [Member], returned: &BTreeSet<SopInstanceUid>) -> Vec<Object<'a>> {
        let received = members.iter().filter(|member| !is_result(member));
        let ours_to_send = received.filter(|member| !returned.contains(&member.sop_instance));
        let objects = ours_to_send.flat_map(|member| {
            let targets = self.targets(What::Studies, member).into_iter();
            let others = targets.filter(|(_, destination)| !destination.is_source(&member.calling_aet));
            others.map(|(rule, destination)| Object {
                instance: &member.sop_instance,
                destination: &destination.name,
                rule,
            })
        });
        objects.collect()
    }

    /// SR and PDF of an analysis, for the batch that makes them known.
    pub fn results(&self, members: &[Member], results: &[SopInstanceUid], now: Timestamp) -> Batch {
        let mut batch = Batch::new();
        for (rule, destination) in self.targets_of_results(members) {
            for result in results {
                batch.push(queue(&destination.name, result, rule, now));
            }
            batch.push(exports::wake(&destination.name, now));
        }
        batch
    }

    /// Rule and destination, each destination once.
    fn targets_of_results(&self, members: &[Member]) -> Vec<(&str, &Destination)> {
        let mut found = Vec::new();
        for member in members.iter().filter(|member| !is_result(member)) {
            let back = self.source_of(member).map(|destination| (TO_SOURCE, destination));
            add_new(&mut found, self.targets(What::Results, member).into_iter().chain(back));
        }
        found
    }

    /// An event for every webhook that wants it.
    pub fn event(&self, event: &Event<'_>, now: Timestamp) -> Batch {
        let (kind, id) = (event.kind(), event.id());
        let mut batch = Batch::new();
        for webhook in self.listeners(event) {
            let json = event.json(now);
            let row = EventRow { id: &id, kind: kind.as_str(), study: event.study(), json };
            batch.push(exports::queue_event(&webhook.name, &row, now));
            batch.push(exports::wake(&webhook.name, now));
        }
        batch
    }

    fn listeners(&self, event: &Event<'_>) -> impl Iterator<Item = &Webhook> {
        let kind = event.kind();
        self.webhooks.iter().filter(move |webhook| webhook.wants(kind))
    }

    /// Rule and destination, each destination once.
    fn targets(&self, what: What, member: &Member) -> Vec<(&str, &Destination)> {
        let rules = self.rules.iter().filter(|rule| rule.what == what && conditions(rule).hold(member));
        let mut found = Vec::new();
        for rule in rules {
            let named = self.destinations.iter().filter(|one| rule.destinations.contains(&one.name));
            add_new(&mut found, named.map(|destination| (rule.name.as_str(), destination)));
        }
        found
    }

    /// The node that delivered an object, where it can be called.
    fn source_of(&self, member: &Member) -> Option<&Destination> {
        let came_by_association = member.source == Source::Dimse.as_str() && !member.calling_aet.is_empty();
        let mut nodes = self.destinations.iter().filter(|destination| destination.node.is_some());
        nodes
            .find(|node| self.results_to_source && came_by_association && node.is_source(&member.calling_aet))
    }
}

/// An object and where it goes.
struct Object<'a> {
    instance: &'a SopInstanceUid,
    destination: &'a str,
    rule: &'a str,
}

/// Adds destinations that are not there yet.
fn add_new<'a>(
    found: &mut Vec<(&'a str, &'a Destination)>,
    more: impl IntoIterator<Item = (&'a str, &'a Destination)>,
) {
    for (rule, destination) in more {
        if !found.iter().any(|(_, known)| known.name == destination.name) {
            found.push((rule, destination));
        }
    }
}

fn is_result(member: &Member) -> bool {
    member.source == Source::Analysis.as_str()
}

fn queue(destination: &str, instance: &SopInstanceUid, rule: &str, now: Timestamp) -> Statement {
    exports::queue_instance(destination, instance, rule, Again::OnlyChanged, now)
}

/// What a person asks for, whatever became of it before.
pub(super) fn requested(destination: &str, instances: &[&SopInstanceUid], now: Timestamp) -> Vec<Batch> {
    let row = |instance: &&SopInstanceUid| {
        exports::queue_instance(destination, instance, "request", Again::Always, now)
    };
    batches(instances.iter().map(row).collect(), &BTreeSet::from([destination]), now)
}

/// Each wakes the workers: none of them is lost when the next never comes.
fn batches(rows: Vec<Statement>, woken: &BTreeSet<&str>, now: Timestamp) -> Vec<Batch> {
    let mut rows = rows.into_iter().peekable();
    let mut batches = Vec::new();
    while rows.peek().is_some() {
        let batch = rows.by_ref().take(BATCH_MAX).fold(Batch::new(), Batch::then);
        batches.push(woken.iter().fold(batch, |batch, name| batch.then(exports::wake(name, now))));
    }
    batches
}

fn conditions(rule: &ExportRule) -> Conditions<'_> {
    Conditions {
        modality: &rule.modality,
        sop_class: &rule.sop_class,
        body_part: &rule.body_part,
        calling_aet: &rule.calling_aet,
        description: rule.description.as_deref(),
    }
}

/// Which objects of a study are results that another server of this kind made.
pub async fn returned(
    db: &Db,
    study: &StudyUid,
    members: &[Member],
) -> Result<BTreeSet<SopInstanceUid>, DbError> {
    let mut returned = BTreeSet::new();
    for member in members {
        if is_result(member) || !report::is_class_of_results(member.sop_class.as_str()) {
            continue;
        }
        let scope = Scope::Instance(study.clone(), member.series.clone(), member.sop_instance.clone());
        let metadata = retrieve::metadata(db, &scope, 0).await?;
        let json = metadata.first().and_then(|metadata| packed::unpack(&metadata.json).ok());
        let json = json.and_then(|json| serde_json::from_slice(&json).ok());
        if json.is_some_and(|json| report::is_of_our_kind(&json)) {
            returned.insert(member.sop_instance.clone());
        }
    }
    Ok(returned)
}

#[cfg(test)]
mod tests;
