//! Audit rows: who did what, with which outcome. Append-only; never a patient attribute.

use super::instances::InstanceRow;
use super::{Db, DbError, Row, Statement};
use crate::clock::Timestamp;
use crate::dicom::uid::StudyUid;

pub struct Entry<'a> {
    pub actor: &'a str,
    pub action: &'static str,
    pub study: Option<&'a StudyUid>,
    pub subject: Option<&'a str>,
    pub outcome: &'static str,
    pub detail: Option<&'a str>,
}

pub fn append(entry: &Entry<'_>, now: Timestamp) -> Statement {
    Statement::named(
        "append_audit",
        "insert into audit (at, actor, action, study_uid, subject, outcome, detail)
         values ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(now)
    .bind(entry.actor)
    .bind(entry.action)
    .bind(entry.study)
    .bind(entry.subject)
    .bind(entry.outcome)
    .bind(entry.detail)
}

pub(super) fn stored(row: &InstanceRow, now: Timestamp) -> Statement {
    let entry = Entry {
        actor: row.origin.actor(),
        action: "store-instance",
        study: Some(&row.identity.study),
        subject: Some(row.identity.sop_instance.as_str()),
        outcome: "success",
        detail: row.note,
    };
    append(&entry, now)
}

/// Actions and outcomes about a study, oldest first.
pub async fn of_study(db: &Db, study: &StudyUid) -> Result<Vec<(String, String)>, DbError> {
    let statement = Statement::named(
        "audit_of_study",
        "select action, outcome from audit where study_uid = $1 order by sequence",
    );
    let pair = |row: &Row| Ok((row.text(0)?.to_owned(), row.text(1)?.to_owned()));
    db.read(statement.bind(study)).await?.iter().map(pair).collect()
}
