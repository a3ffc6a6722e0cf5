//! The audit trail: rows that are only appended, each of which holds a hash over itself and the one
//! before.

pub mod chain;

mod delivery;
mod reading;
mod retention;
mod verify;

use super::instances::InstanceRow;
use super::{Db, DbError, Statement};
pub use crate::audit::{Action, Actor, Entry, ObjectKind, Outcome};
use crate::clock::Timestamp;
pub use chain::Head;
pub use delivery::{deliver, delivered};
pub use reading::{Filter, Record, after, count, list};
pub use retention::prune;
pub use verify::{Flaw, Verified, verify};

/// The writer adds sequence and hash, in the order in which it commits.
pub fn append(entry: &Entry<'_>, now: Timestamp) -> Statement {
    let actor = entry.actor;
    Statement::chained("append_audit", chain::INSERT)
        .bind(now)
        .bind(entry.began_at)
        .bind(actor.kind.as_str())
        .bind(actor.id.as_deref())
        .bind(actor.name.as_str())
        .bind(actor.roles.as_str())
        .bind(actor.means)
        .bind(actor.address.map(|address| address.to_string()))
        .bind(actor.ae_title.as_deref())
        .bind(entry.action.as_str())
        .bind(entry.study)
        .bind(entry.object.map(|object| object.kind.as_str()))
        .bind(entry.object.map(|object| object.id))
        .bind(entry.outcome.as_str())
        .bind(actor.request_id.as_deref())
        .bind(entry.detail)
}

/// Where the trail ends; the anchor or its origin where nothing is in it.
pub async fn end(db: &Db) -> Result<Head, DbError> {
    match db.read_one(Statement::named("audit_end", chain::HEAD)).await?.as_ref().and_then(verify::head) {
        Some(end) => Ok(end),
        None => verify::anchor(db).await,
    }
}

pub(super) fn stored(row: &InstanceRow, now: Timestamp) -> Statement {
    of_instance(row, Action::StoreInstance, row.note, now)
}

pub(super) fn replaced(row: &InstanceRow, now: Timestamp) -> Statement {
    of_instance(row, Action::ReplaceInstance, None, now)
}

fn of_instance(row: &InstanceRow, action: Action, note: Option<&str>, now: Timestamp) -> Statement {
    let actor = row.origin.actor();
    let entry = Entry::new(&actor, action)
        .study(&row.identity.study)
        .object(ObjectKind::Instance, row.identity.sop_instance.as_str());
    append(&Entry { detail: note, ..entry }, now)
}

#[cfg(test)]
mod tests;
