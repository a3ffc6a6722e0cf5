//! Associations in the audit trail: how they come and go, and what is asked on them.

use super::association::{Association, Counts, Shared};
use super::turned_away::Row;
use super::{Server, StoreSink};
use crate::audit::{Action, Actor, Begun, Deed, ObjectKind, Outcome, Unrecorded};
use crate::dicom::attributes::{AttributeId, Level};
use crate::query::request::Key;
use crate::query::retrieve::{Selection, Wanted};
use crate::ul::command::{field, status};
use crate::ul::connection::Transport;

/// Why an association or an operation does not go on.
pub(super) const UNRECORDED: u16 = status::RESOURCE_LIMITATION;

/// Requests that were turned away. They are turned away even when that cannot be told.
pub(super) async fn rejected<K>(server: &Server<K>, row: Row) {
    let Row { address, ae_title, reason, more } = row;
    let mut actor = Actor::node(&ae_title, address);
    if ae_title.is_empty() {
        actor.ae_title = None;
    }
    let mut deed = Deed::new(actor, Action::RejectAssociation);
    deed.detail = Some(match more {
        0 => reason.as_str().to_owned(),
        more => format!("{}, {more} more", reason.as_str()),
    });
    if server.audit.note(deed, Outcome::Denied).await.is_err() {
        tracing::error!(reason = reason.as_str(), more, "rejected associations are not in the audit trail");
    }
}

/// What was only counted so far.
pub(super) async fn rejections<K>(shared: &Shared<K>) {
    for row in shared.turned_away.take() {
        rejected(&shared.server, row).await;
    }
}

impl<S: Transport, K: StoreSink> Association<'_, S, K> {
    fn deed(&self, action: Action) -> Deed {
        let actor = self.origin.actor.clone();
        Deed::new(actor.unwrap_or_else(|| self.origin.actor().into_owned().into()), action)
    }

    pub(super) async fn record_opened(&self) -> Result<(), Unrecorded> {
        let mut deed = self.deed(Action::OpenAssociation);
        deed.object = self.origin.delivery.clone().map(|id| (ObjectKind::Association, id));
        self.shared.server.audit.note(deed, Outcome::Success).await
    }

    /// However it ended: objects that it brought have entries of their own.
    pub(super) async fn record_end(&self, how: &str, is_orderly: bool) {
        let Counts { stored, refused } = self.counts;
        let mut deed = self.deed(Action::EndAssociation);
        deed.object = self.origin.delivery.clone().map(|id| (ObjectKind::Association, id));
        deed.detail = Some(format!("{how}; {stored} stored, {refused} refused"));
        let outcome = if is_orderly { Outcome::Success } else { Outcome::MinorFailure };
        if self.shared.server.audit.note(deed, outcome).await.is_err() {
            tracing::error!("the end of an association is not in the audit trail");
        }
    }

    /// The entry of an operation that gives something out; others are told of by what they change.
    pub(super) async fn record_begin(&self, command_field: u16) -> Result<Option<Begun>, Unrecorded> {
        let action = match command_field {
            field::C_FIND => Action::Query,
            field::C_MOVE => Action::MoveInstances,
            field::C_GET => Action::GetInstances,
            _ => return Ok(None),
        };
        self.shared.server.audit.begin(self.deed(action)).await.map(Some)
    }

    /// Returns when a row tells of the operation under way: before anything of it is given out.
    pub(super) async fn record_stands(&self) -> Result<(), Unrecorded> {
        match &self.doing {
            Some(begun) => begun.durable().await,
            None => Ok(()),
        }
    }

    /// An object that was not kept.
    pub(super) async fn record_refused(&self, status: u16, sop_instance: Option<&str>) {
        let mut deed = self.deed(Action::RefuseInstance);
        deed.object = sop_instance.map(|uid| (ObjectKind::Instance, uid.to_owned()));
        deed.detail = Some(format!("status {status:04X}"));
        if self.shared.server.audit.note(deed, Outcome::MinorFailure).await.is_err() {
            tracing::error!("a refused object is not in the audit trail");
        }
    }

    /// How the operation under way ended; `what` has no value of a key.
    pub(super) fn record_outcome(&mut self, status: u16, what: &str) {
        if let Some(begun) = self.doing.take() {
            let asked = begun.detail().map(|asked| format!("{asked}; ")).unwrap_or_default();
            begun.end_as(outcome(status), Some(format!("{asked}status {status:04X}, {what}")));
        }
    }

    /// By which keys the query under way asks.
    pub(super) fn record_keys(&mut self, level: Level, keys: &[Key]) {
        let Some(begun) = &mut self.doing else { return };
        let tags = keys.iter().take(NAMED_MAX).map(|key| AttributeId(key.tag).to_string());
        let tags: Vec<String> = tags.collect();
        begun.describe(format!(
            "{level:?} by {}",
            if tags.is_empty() { "no key".into() } else { tags.join(" ") }
        ));
    }

    /// What the retrieval under way is about.
    pub(super) fn record_selection(&mut self, selection: &Selection) {
        let Some(begun) = &mut self.doing else { return };
        let studies = match &selection.wanted {
            Wanted::Studies(studies) => studies.as_slice(),
            _ => selection.study.as_slice(),
        };
        if let [study] = studies {
            begun.in_study(study.clone());
        }
        begun.describe(match &selection.wanted {
            Wanted::Patient => "everything of a patient".to_owned(),
            Wanted::Studies(studies) => named("studies", studies),
            Wanted::Series(series) => named("series", series),
            Wanted::Instances(instances) => named("instances", instances),
        });
    }
}

/// UIDs that are told of one operation.
const NAMED_MAX: usize = 20;

fn named<T: std::fmt::Display>(what: &str, uids: &[T]) -> String {
    let some: Vec<String> = uids.iter().take(NAMED_MAX).map(T::to_string).collect();
    let more = if uids.len() > NAMED_MAX { " …" } else { "" };
    format!("{} {what}: {}{more}", uids.len(), some.join(" "))
}

/// PS3.7 annex C: warnings are successes, a cancel is what the peer wanted.
fn outcome(status: u16) -> Outcome {
    match status {
        status::SUCCESS | status::CANCEL | 0x0001 | 0xB000..=0xBFFF => Outcome::Success,
        status::NOT_AUTHORIZED => Outcome::Denied,
        status::PROCESSING_FAILURE | 0xC000..=0xCFFF => Outcome::Error,
        _ => Outcome::MinorFailure,
    }
}
