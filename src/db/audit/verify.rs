//! Whether the trail is what was written: every hash is computed again.

use super::chain::{self, COLUMNS, HASH_BYTES, Hash, Head, ORIGIN};
use crate::audit::Action;
use crate::db::{Db, DbError, Row, Statement};

/// Where these stand in [`COLUMNS`].
const ACTION: usize = 10;
const OBJECT_ID: usize = 13;

/// Rows that are read at once.
const PAGE: i64 = 2000;

/// One place where the trail is not what was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    #[error("row {sequence} was changed, or stands in the place of another")]
    Changed { sequence: i64 },
    #[error("rows {from} to {to} are missing")]
    Missing { from: i64, to: i64 },
    #[error("row {sequence} was the end of the trail once, with another hash: rows up to it were rewritten")]
    Rewritten { sequence: i64 },
    #[error("no row of the trail tells of the removal of everything up to row {sequence}")]
    UntoldAnchor { sequence: i64 },
    #[error("the trail ends at row {end}, and had a row {sequence}: its end was cut off")]
    Truncated { end: i64, sequence: i64 },
}

/// What a look at the whole trail found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    pub rows: u64,
    /// What retention has removed ends here.
    pub anchor: Head,
    pub end: Head,
    /// In their order, up to a limit.
    pub flaws: Vec<Flaw>,
}

/// Flaws that are told one by one.
const FLAWS_MAX: usize = 1000;

/// Looks at every row. `heads` are ends that the trail had earlier, kept elsewhere.
pub async fn verify(db: &Db, heads: &[Head]) -> Result<Verified, DbError> {
    let anchor = anchor(db).await?;
    let mut walk = Walk::from(anchor, heads);
    let mut after = i64::MIN;
    loop {
        let page = db.search(page_after(after)).await?;
        let Some(last) = page.last() else { break };
        after = last.int(0)?;
        for row in &page {
            walk.see(row);
        }
        if walk.flaws.len() >= FLAWS_MAX {
            break;
        }
    }
    Ok(walk.end())
}

/// Where the trail begins now.
pub(super) async fn anchor(db: &Db) -> Result<Head, DbError> {
    let sql = "select through_sequence, hash from audit_anchor order by through_sequence desc limit 1";
    let row = db.read_one(Statement::named("audit_anchor", sql)).await?;
    Ok(row.as_ref().and_then(head).unwrap_or(ORIGIN))
}

pub(super) fn head(row: &Row) -> Option<Head> {
    Some(Head { sequence: row.int(0).ok()?, hash: row.bytes(1).ok()?.try_into().ok()? })
}

fn page_after(sequence: i64) -> Statement {
    let sql = format!("select {COLUMNS}, hash from audit where sequence > $1 order by sequence limit $2");
    Statement::named("audit_page", sql).bind(sequence).bind(PAGE)
}

/// From row to row, with what is expected of the next.
struct Walk<'a> {
    rows: u64,
    anchor: Head,
    last: Head,
    heads: &'a [Head],
    flaws: Vec<Flaw>,
    /// A row tells of the anchor.
    is_anchor_told: bool,
}

impl<'a> Walk<'a> {
    fn from(anchor: Head, heads: &'a [Head]) -> Self {
        let is_anchor_told = anchor == ORIGIN;
        Self { rows: 0, anchor, last: anchor, heads, flaws: Vec::new(), is_anchor_told }
    }

    fn see(&mut self, row: &Row) {
        let Ok(sequence) = row.int(0) else { return };
        // Retention has not yet come to remove it.
        if sequence <= self.anchor.sequence {
            return;
        }
        self.rows += 1;
        let expected = self.last.sequence + 1;
        let follows = sequence == expected;
        if !follows {
            self.flaws.push(Flaw::Missing { from: expected, to: sequence - 1 });
        }
        let stored: Option<Hash> = row.bytes(row.values.len() - 1).ok().and_then(|hash| hash.try_into().ok());
        let computed = chain::hash(&self.last.hash, &row.values[..row.values.len() - 1]);
        // Behind a gap nothing says what the row was chained to; the next one shows whether it is whole.
        if stored.is_none() || (follows && stored != Some(computed)) {
            self.flaws.push(Flaw::Changed { sequence });
        }
        self.is_anchor_told |= tells_of(row, self.anchor.sequence);
        self.last = Head { sequence, hash: stored.unwrap_or([0; HASH_BYTES]) };
        if self.heads.iter().any(|head| head.sequence == sequence && Some(head.hash) != stored) {
            self.flaws.push(Flaw::Rewritten { sequence });
        }
    }

    fn end(mut self) -> Verified {
        let end = self.last.sequence;
        if !self.is_anchor_told {
            self.flaws.insert(0, Flaw::UntoldAnchor { sequence: self.anchor.sequence });
        }
        let beyond = self.heads.iter().map(|head| head.sequence).filter(|sequence| *sequence > end).max();
        if let Some(sequence) = beyond {
            self.flaws.push(Flaw::Truncated { end, sequence });
        }
        Verified { rows: self.rows, anchor: self.anchor, end: self.last, flaws: self.flaws }
    }
}

/// Whether the row says that everything up to `sequence` was removed.
fn tells_of(row: &Row, sequence: i64) -> bool {
    let pruned = row.text(ACTION).is_ok_and(|action| action == Action::PruneAudit.as_str());
    pruned && row.text(OBJECT_ID).is_ok_and(|id| id == sequence.to_string())
}
