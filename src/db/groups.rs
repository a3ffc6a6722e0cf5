//! Owner groups, their members and their studies; and what a reach means in SQL.

pub mod administration;

use super::{Batch, Db, DbError, Statement, Value};
use crate::auth::Reach;
use crate::clock::Timestamp;
use crate::dicom::uid::{SeriesUid, StudyUid};

/// Who can be in a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberKind {
    User,
    ApiKey,
}

impl MemberKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::ApiKey => "api-key",
        }
    }
}

/// The groups of a user or key.
pub async fn of_member(db: &Db, kind: MemberKind, member: &str) -> Result<Vec<i64>, DbError> {
    let sql = "select owner_group from group_member where kind = $1 and member = $2 order by owner_group";
    let statement = Statement::named("groups_of_member", sql).bind(kind.as_str()).bind(member);
    db.look_up(statement).await?.iter().map(|row| row.int(0)).collect()
}

/// The groups of these names, as far as they are there.
pub async fn numbers(db: &Db, names: &[String]) -> Result<Vec<i64>, DbError> {
    let places: Vec<String> = (1..=names.len()).map(|place| format!("${place}")).collect();
    let sql = format!("select id from owner_group where name in ({}) order by id", places.join(", "));
    let statement = names
        .iter()
        .fold(Statement::named("group_numbers", sql), |statement, name| statement.bind(name.as_str()));
    db.look_up(statement).await?.iter().map(|row| row.int(0)).collect()
}

/// The condition that a study is in reach, `study` the expression of its UID; none where every study
/// is. The numbers of groups are ours, so that they can stand in the text: no statement has to
/// count its parameters anew.
pub fn condition(reach: &Reach, study: &str) -> Option<String> {
    let Reach::Groups { ids, ungrouped, .. } = reach else { return None };
    let some = |which: &str| {
        format!("exists (select 1 from study_group granted where granted.study_uid = {study}{which})")
    };
    let ids: Vec<String> = ids.iter().map(i64::to_string).collect();
    let own = some(&format!(" and granted.owner_group in ({})", ids.join(", ")));
    let none = format!("not {}", some(""));
    Some(match (ids.is_empty(), ungrouped) {
        (false, true) => format!("({own} or {none})"),
        (false, false) => own,
        (true, true) => none,
        (true, false) => "1 = 0".to_owned(),
    })
}

/// As [`condition`], to be put behind others: ` and …`, or nothing.
pub fn and_condition(reach: &Reach, study: &str) -> String {
    condition(reach, study).map(|condition| format!(" and {condition}")).unwrap_or_default()
}

/// The condition that a series is none of the documents that nobody has signed, `series` the expression
/// of its UID; none for whoever sees drafts. A draft and what is signed never share a series.
pub fn released(reach: &Reach, series: &str) -> Option<String> {
    (!reach.has_drafts()).then(|| is_released(series))
}

pub(super) fn is_released(series: &str) -> String {
    format!(
        "not exists (select 1 from report_version drafted where drafted.signer_name is null
            and (drafted.series_uid_sr = {series} or drafted.series_uid_pdf = {series}))"
    )
}

/// A column of a study that counts or lists what it holds, as far as the caller sees it; `study` names the
/// table. A study without a report has no drafts, and is not looked into.
pub fn of_contents(reach: &Reach, study: &str, column: &str) -> String {
    let stored = format!("{study}.{column}");
    if reach.has_drafts() {
        return stored;
    }
    let of_study =
        format!("from series held where held.study = {study}.id and {}", is_released("held.series_uid"));
    let counted = |what: &str| format!("(select {what} {of_study})");
    let seen = match column {
        "series_count" => counted("count(*)"),
        "instance_count" => counted("cast(coalesce(sum(held.instance_count), 0) as bigint)"),
        "modalities" => {
            listed(&format!("select distinct held.modality as item {of_study} and held.modality <> ''"))
        }
        _ => return stored,
    };
    format!(
        "case when exists (select 1 from report where report.study_uid = {study}.study_uid) then {seen} else {stored} end"
    )
}

/// The items of a statement as lists are stored, `\CT\SR\`.
pub(super) fn listed(items: &str) -> String {
    format!(
        "coalesce((select '\\' || string_agg(one.item, '\\' order by one.item) || '\\' from ({items}) one), '')"
    )
}

/// Whether a series is a document that nobody has signed, whoever asks.
pub async fn holds_draft(db: &Db, series: &SeriesUid) -> Result<bool, DbError> {
    let sql = format!("select 1 from (select cast($1 as text) as uid) own where {}", is_released("own.uid"));
    Ok(db.look_up_one(Statement::named("holds_draft", sql).bind(series)).await?.is_none())
}

/// Whether a series is one that the caller may see within its study, be it there or not.
pub async fn is_series_released(db: &Db, reach: &Reach, series: &SeriesUid) -> Result<bool, DbError> {
    let Some(condition) = released(reach, "own.uid") else { return Ok(true) };
    let sql = format!("select 1 from (select cast($1 as text) as uid) own where {condition}");
    Ok(db.look_up_one(Statement::named("is_series_released", sql).bind(series)).await?.is_some())
}

/// The condition that a report has been signed; none for whoever sees drafts.
pub fn signed(reach: &Reach, report: &str) -> Option<String> {
    (!reach.has_drafts()).then(|| {
        format!(
            "exists (select 1 from report_version signed
                where signed.report = {report} and signed.signer_name is not null)"
        )
    })
}

/// Whether a study is in reach, be it there or not.
pub async fn sees(db: &Db, reach: &Reach, study: &StudyUid) -> Result<bool, DbError> {
    let Some(condition) = condition(reach, "own.uid") else { return Ok(true) };
    let sql = format!("select 1 from (select cast($1 as text) as uid) own where {condition}");
    Ok(db.look_up_one(Statement::named("sees_study", sql).bind(study)).await?.is_some())
}

/// What has an id and belongs to a study.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Belonging {
    /// The study itself, there or deleted.
    Study,
    Patient,
    Series,
    Instance,
    Analysis,
    Finding,
    Report,
    Export,
}

impl Belonging {
    /// The UIDs of the studies of an id.
    fn studies(self) -> &'static str {
        match self {
            Self::Study => {
                "select study_uid from study where study_uid = $1
                 union all select study_uid from deletion where study_uid = $1"
            }
            Self::Patient => "select study_uid from study where patient = $1",
            Self::Series => {
                "select study.study_uid from series join study on study.id = series.study
                 where series.series_uid = $1"
            }
            Self::Instance => {
                "select study.study_uid from instance join study on study.id = instance.study
                 where instance.sop_instance_uid = $1"
            }
            Self::Analysis => "select study_uid from analysis where id = $1",
            Self::Finding => {
                "select analysis.study_uid from finding join analysis on analysis.id = finding.analysis
                 where finding.id = $1"
            }
            Self::Report => "select study_uid from report where id = $1",
            Self::Export => "select study_uid from export where id = $1",
        }
    }

    /// What else has to hold for whoever does not see drafts.
    fn released(self, reach: &Reach) -> Option<String> {
        match self {
            Self::Study | Self::Patient => None,
            Self::Export => released(reach, "(select export.series_uid from export where export.id = $1)"),
            Self::Series => released(reach, "$1"),
            Self::Instance => released(
                reach,
                "(select series.series_uid from instance join series on series.id = instance.series
                  where instance.sop_instance_uid = $1)",
            ),
            Self::Report => signed(reach, "$1"),
            Self::Analysis | Self::Finding => (!reach.has_drafts()).then(|| "1 = 0".to_owned()),
        }
    }

    /// Rows have numbers, everything else has a text.
    fn key(self, id: &str) -> Option<Value> {
        match self {
            Self::Patient | Self::Export => id.parse().ok().map(Value::Int),
            _ => Some(id.into()),
        }
    }
}

/// Whether there is such a thing, and it is of a study in reach.
pub async fn reaches(db: &Db, reach: &Reach, thing: Belonging, id: &str) -> Result<bool, DbError> {
    let Some(key) = thing.key(id) else { return Ok(false) };
    let sql = format!("select 1 from {} limit 1", in_reach(reach, thing));
    Ok(db.look_up_one(Statement::named("reaches", sql).bind(key)).await?.is_some())
}

/// The studies in reach of what has this id, `limit` at most; none where there is no such thing.
pub async fn studies_of(
    db: &Db,
    reach: &Reach,
    thing: Belonging,
    id: &str,
    limit: u32,
) -> Result<Vec<StudyUid>, DbError> {
    let Some(key) = thing.key(id) else { return Ok(Vec::new()) };
    let sql = format!("select study_uid from {} limit $2", in_reach(reach, thing));
    let rows = db.look_up(Statement::named("studies_of", sql).bind(key).bind(i64::from(limit))).await?;
    rows.iter().map(|row| row.parse(0, "a Study Instance UID")).collect()
}

/// The studies of the id `$1`, as a table with its condition.
fn in_reach(reach: &Reach, thing: Belonging) -> String {
    let conditions: Vec<String> =
        condition(reach, "own.study_uid").into_iter().chain(thing.released(reach)).collect();
    let condition = if conditions.is_empty() { "1 = 1".to_owned() } else { conditions.join(" and ") };
    format!("({}) own where {condition}", thing.studies())
}

/// A group that a new study comes to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owner {
    /// Of a rule; made if it is not there.
    Named(String),
    Group(i64),
}

/// Stands between the row of a study and an instance that somebody adds. The groups that its UID has
/// already, of a study that was deleted perhaps, have to be in reach before it comes to others.
pub(super) fn receive(
    batch: Batch,
    study: &StudyUid,
    owners: &[Owner],
    reach: &Reach,
    now: Timestamp,
) -> Batch {
    let mut batch = match reach {
        Reach::Everything | Reach::Released => batch,
        Reach::Groups { ids, .. } => {
            require(batch, study, &Reach::Groups { ids: ids.clone(), ungrouped: true, drafts: true })
        }
    };
    assign(&mut batch, study, owners, now);
    require(batch, study, reach)
}

/// Gives a study that has no instance yet its groups.
fn assign(batch: &mut Batch, study: &StudyUid, owners: &[Owner], now: Timestamp) {
    for owner in owners {
        if let Owner::Named(name) = owner {
            batch.push(make(name, now));
        }
        let (column, value): (_, Value) = match owner {
            Owner::Named(name) => ("name", name.as_str().into()),
            Owner::Group(id) => ("id", (*id).into()),
        };
        let sql = format!(
            "insert into study_group (study_uid, owner_group, added_at)
             select study.study_uid, owner_group.id, $1 from study, owner_group
             where study.study_uid = $2 and study.instance_count = 0 and owner_group.{column} = $3
             on conflict (study_uid, owner_group) do nothing"
        );
        batch.push(Statement::named("assign_groups", sql).bind(now).bind(study).bind(value));
    }
}

fn make(name: &str, now: Timestamp) -> Statement {
    Statement::named(
        "make_group",
        "insert into owner_group (name, created_at, updated_at) select $1, $2, $2
         where not exists (select 1 from owner_group where name = $1)",
    )
    .bind(name)
    .bind(now)
}

/// The name of the guard that fails when a study is not in reach.
pub const REQUIRE_REACH: &str = "require_reach";

/// Nobody adds to a study that he cannot see.
fn require(batch: Batch, study: &StudyUid, reach: &Reach) -> Batch {
    let Some(condition) = condition(reach, "study.study_uid") else { return batch };
    let sql = format!("update study set updated_at = updated_at where study_uid = $1 and {condition}");
    batch.then_exactly(1, Statement::named(REQUIRE_REACH, sql).bind(study))
}
