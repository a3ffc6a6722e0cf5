//! Whole prefixes leave the trail; what stays is chained to an anchor, and a row tells of it.

use super::chain::Head;
use super::verify::{anchor, head};
use super::{Action, Actor, Entry, ObjectKind, append};
use crate::clock::Timestamp;
use crate::db::{Batch, Db, DbError, Statement};
use crate::ids::hex;

/// Rows that are removed in one batch: others write between two.
const PORTION: i64 = 5000;

/// Removes every row up to the first that is not older than `before`; how many that were. What an
/// earlier attempt left is removed first.
/// `kept` is the last row that may go: a collector has not taken the next.
pub async fn prune(db: &Db, before: Timestamp, kept: Option<i64>, now: Timestamp) -> Result<u64, DbError> {
    if let Some(through) = last_before(db, before, kept.unwrap_or(i64::MAX)).await?
        && through.sequence > anchor(db).await?.sequence
    {
        db.run(set_anchor(&through, now)).await?;
    }
    let anchored = anchor(db).await?.sequence;
    let mut removed = 0;
    loop {
        let effects = db.run(Batch::new().then(remove(anchored))).await?;
        match effects.first().map_or(0, |effect| effect.affected) {
            0 => return Ok(removed),
            some => removed += some as u64,
        }
    }
}

/// The clock may have been set back: only rows in front of every one that is to stay.
async fn last_before(db: &Db, before: Timestamp, last: i64) -> Result<Option<Head>, DbError> {
    let sql = "select sequence, hash from audit
         where sequence < coalesce((select min(sequence) from audit where at >= $1), $2)
            and sequence <= $3
         order by sequence desc limit 1";
    let statement = Statement::named("last_before", sql).bind(before).bind(i64::MAX).bind(last);
    Ok(db.read_one(statement).await?.as_ref().and_then(head))
}

fn set_anchor(through: &Head, now: Timestamp) -> Batch {
    let insert = Statement::named(
        "set_audit_anchor",
        "insert into audit_anchor (through_sequence, hash, at) values ($1, $2, $3)",
    );
    let (system, sequence) = (Actor::system(), through.sequence.to_string());
    let hash = hex(&through.hash);
    let entry = Entry::new(&system, Action::PruneAudit).object(ObjectKind::Audit, &sequence).detail(&hash);
    let insert = insert.bind(through.sequence).bind(through.hash.to_vec()).bind(now);
    Batch::new().then(insert).then(append(&entry, now))
}

fn remove(anchored: i64) -> Statement {
    let sql = "delete from audit where sequence in
        (select sequence from audit where sequence <= $1 order by sequence limit $2)";
    Statement::named("prune_audit", sql).bind(anchored).bind(PORTION)
}
