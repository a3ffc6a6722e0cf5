//! The list that people work from: studies with status, priority and assignee.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::audit::{self, Action, Actor, Entry};
use super::page::{self, Conditions, Found, List, Page};
use super::{Batch, Db, DbError, Row, Statement, groups};
use crate::auth::Reach;
use crate::clock::Timestamp;
use crate::dicom::person_name;
use crate::dicom::uid::StudyUid;

/// A study as it stands in the list.
#[derive(Debug)]
pub struct Item {
    pub study: StudyUid,
    pub status: String,
    pub priority: i64,
    /// '' for nobody.
    pub assignee: String,
    /// Changes of priority and assignee.
    pub version: i64,
    pub arrived_at: Timestamp,
    pub patient: i64,
    pub patient_id: String,
    pub patient_name: String,
    pub birth_date: String,
    pub sex: String,
    pub study_date: String,
    pub study_time: String,
    pub description: String,
    pub accession_number: String,
    /// `\CT\SR\`.
    pub modalities: String,
    pub series_count: i64,
    pub instance_count: i64,
    pub last_instance_at: Timestamp,
    pub analysis: Option<String>,
    pub analysis_state: Option<String>,
    pub analysis_reason: Option<String>,
    pub report: Option<String>,
    pub held: bool,
}

/// What narrows the list; each that is given.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub patient: Option<i64>,
    /// Any of these; none: all.
    pub statuses: Vec<String>,
    pub priorities: Vec<i64>,
    pub modalities: Vec<String>,
    /// '' for studies that nobody has.
    pub assignee: Option<String>,
    /// As DICOM writes dates, both included.
    pub date_from: Option<String>,
    pub date_to: Option<String>,
    pub arrived_from: Option<Timestamp>,
    pub arrived_to: Option<Timestamp>,
    pub finding: Option<Code>,
    pub held: Option<bool>,
    /// Beginnings of words of name, patient ID, accession number, study ID and description.
    pub text: Option<String>,
    /// Of the same patient and not later than this one.
    pub before: Option<StudyUid>,
}

/// A code of a finding, of any scheme where none is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Code {
    pub scheme: Option<String>,
    pub value: String,
}

const NAMES: [&str; 2] = ["worklist", "count_worklist"];

const FROM: &str =
    "worklist join study on study.id = worklist.study join patient on patient.id = study.patient";

fn columns(reach: &Reach) -> String {
    let [modalities, series, instances] = ["modalities", "series_count", "instance_count"]
        .map(|column| groups::of_contents(reach, "study", column));
    let report = newest_report(reach);
    format!("{OWN}, {modalities}, {series}, {instances}, {NEWEST}, {report}, {HOLDS}")
}

/// Beside one that was signed there may be a draft of what came to the study later.
fn newest_report(reach: &Reach) -> String {
    let signed =
        groups::signed(reach, "report.id").map(|signed| format!(" and {signed}")).unwrap_or_default();
    format!(
        "(select report.id from report left join analysis on analysis.id = report.analysis
          where report.study_uid = worklist.study_uid and (analysis.deletion is null or report.versions > 1)
             and report.status <> 'superseded'{signed}
          order by report.created_at desc limit 1)"
    )
}

const OWN: &str =
    "worklist.study_uid, worklist.status, worklist.priority, worklist.assignee, worklist.version,
    worklist.arrived_at, patient.id, patient.patient_id, patient.name, patient.birth_date, patient.sex,
    study.study_date, study.study_time, study.description, study.accession_number";

const NEWEST: &str = "study.last_instance_at,
    (select analysis.id from analysis where analysis.study_uid = worklist.study_uid and analysis.deletion is null
     order by analysis.queued_at desc limit 1),
    (select analysis.state from analysis where analysis.study_uid = worklist.study_uid and analysis.deletion is null
     order by analysis.queued_at desc limit 1),
    (select analysis.reason from analysis where analysis.study_uid = worklist.study_uid and analysis.deletion is null
     order by analysis.queued_at desc limit 1)";

const HOLDS: &str =
    "(select count(*) from hold where hold.study_uid = worklist.study_uid and hold.released_at is null)";

/// Totals that hold until the list or its visibility changes.
#[derive(Debug, Clone, Default)]
pub struct Totals(Arc<Mutex<HashMap<String, Total>>>);

#[derive(Debug, Clone, Copy)]
struct Total {
    clock: i64,
    total: i64,
}

/// Filters whose totals are known at the same time.
const TOTALS_MAX: usize = 256;

impl Totals {
    fn known(&self, of: &str, clock: i64) -> Option<i64> {
        let totals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        totals.get(of).filter(|known| known.clock == clock).map(|known| known.total)
    }

    fn keep(&self, of: String, total: Total) {
        let mut totals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if totals.len() >= TOTALS_MAX {
            totals.clear();
        }
        totals.insert(of, total);
    }
}

pub async fn list(
    db: &Db,
    totals: &Totals,
    reach: &Reach,
    filter: &Filter,
    page: &Page,
) -> Result<Found<Item>, DbError> {
    let columns = columns(reach);
    let list = List { names: NAMES, columns: &columns, from: FROM, counted_from: "worklist" };
    let conditions = conditions(reach, filter);
    let of = format!("{conditions:?}");
    // Read first: what changes behind it makes the total old, never the other way round.
    let clock = clock(db).await?;
    let total = match totals.known(&of, clock) {
        Some(total) => total,
        None => {
            let total = page::count(db, &list, conditions.clone()).await?;
            totals.keep(of, Total { clock, total });
            total
        }
    };
    page::rows(db, &list, conditions, page, entry, (total, Some("worklist.study"))).await
}

async fn clock(db: &Db) -> Result<i64, DbError> {
    let statement =
        Statement::named("worklist_clock", "select cast(sum(version) as bigint) from worklist_clock");
    db.look_up_one(statement).await?.map_or(Ok(0), |row| row.int(0))
}

fn conditions(reach: &Reach, filter: &Filter) -> Conditions {
    let mut all = Conditions::default();
    all.and_reach(reach, "worklist.study_uid");
    if !filter.statuses.is_empty() {
        all.and_any("worklist.status", filter.statuses.iter().map(String::as_str));
    }
    if !filter.priorities.is_empty() {
        all.and_any("worklist.priority", filter.priorities.iter().copied());
    }
    if let Some(assignee) = &filter.assignee {
        all.and_value("worklist.assignee = {}", assignee.as_str());
    }
    let of_patient = "worklist.study in (select id from study where patient = {})";
    filter.patient.iter().for_each(|patient| all.and_value(of_patient, *patient));
    of_study(&mut all, &filter.modalities, &filter.date_from, &filter.date_to);
    released_modalities(&mut all, reach, &filter.modalities);
    filter.arrived_from.iter().for_each(|at| all.and_value("worklist.arrived_at >= {}", *at));
    filter.arrived_to.iter().for_each(|at| all.and_value("worklist.arrived_at <= {}", *at));
    filter.finding.iter().for_each(|code| finding(&mut all, code));
    filter.held.into_iter().for_each(|held| all.and(if held { HELD } else { NOT_HELD }));
    words(&mut all, filter.text.as_deref());
    filter.before.iter().for_each(|study| before(&mut all, study));
    all
}

const HELD: &str = "worklist.study_uid in (select study_uid from hold where released_at is null)";
const NOT_HELD: &str = "worklist.study_uid not in (select study_uid from hold where released_at is null)";

/// What the study of something else is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OfStudy {
    pub modalities: Vec<String>,
    pub date_from: Option<String>,
    pub date_to: Option<String>,
    /// Beginnings of words, as those of [`Filter`].
    pub text: Option<String>,
}

impl OfStudy {
    /// `study` is the expression of a Study Instance UID.
    pub(super) fn condition(&self, all: &mut Conditions, study: &str) {
        if *self == Self::default() {
            return;
        }
        let mut within = Conditions::default();
        // Words that say nothing narrow nothing.
        within.and("1 = 1");
        of_study(&mut within, &self.modalities, &self.date_from, &self.date_to);
        words(&mut within, self.text.as_deref());
        let begin = format!("{study} in (select worklist.study_uid from worklist where ");
        all.and_where(&begin, within);
    }
}

fn words(all: &mut Conditions, text: Option<&str>) {
    for word in text.into_iter().flat_map(person_name::words).take(WORDS_MAX) {
        all.and_value("worklist.words like {} escape '!'", format!("% {word}%"));
    }
}

/// Of one text; the others would hardly narrow further.
const WORDS_MAX: usize = 8;

fn modalities(all: &mut Conditions, modalities: &[String]) {
    let any: Vec<String> = modalities
        .iter()
        .map(|modality| {
            let place = all.place(format!("%\\{modality}\\%").into());
            format!("worklist.modalities like {place} escape '!'")
        })
        .collect();
    if !any.is_empty() {
        all.and(format!("({})", any.join(" or ")));
    }
}

/// What lists of modalities say, they say of drafts too.
fn released_modalities(all: &mut Conditions, reach: &Reach, modalities: &[String]) {
    let Some(released) = groups::released(reach, "held.series_uid").filter(|_| !modalities.is_empty()) else {
        return;
    };
    let mut any = Conditions::default();
    any.and(released);
    any.and_any("held.modality", modalities.iter().map(String::as_str));
    all.and_where("exists (select 1 from series held where held.study = worklist.study and ", any);
}

/// Conditions on what the study of anything is.
pub(super) fn of_study(
    all: &mut Conditions,
    listed: &[String],
    date_from: &Option<String>,
    date_to: &Option<String>,
) {
    modalities(all, listed);
    date_from.iter().for_each(|date| all.and_value("worklist.study_date >= {}", date.as_str()));
    date_to.iter().for_each(|date| {
        all.and_value("worklist.study_date <= {}", date.as_str());
        all.and("worklist.study_date <> ''");
    });
}

impl Code {
    /// On `finding.code`, which is `scheme|value|meaning`; an index serves where a scheme is named.
    pub(super) fn condition(&self, all: &mut Conditions) {
        match &self.scheme {
            Some(scheme) => {
                all.and_value("finding.code >= {}", format!("{scheme}|{}|", self.value));
                all.and_value("finding.code < {}", format!("{scheme}|{}}}", self.value));
            }
            None => all.and_value(
                "finding.code like {} escape '!'",
                format!("%|{}|%", self.value.replace('!', "!!")),
            ),
        }
    }
}

fn finding(all: &mut Conditions, code: &Code) {
    let mut of_code = Conditions::default();
    code.condition(&mut of_code);
    all.and_where(
        "worklist.study_uid in (select analysis.study_uid from finding join analysis on analysis.id = finding.analysis
            where analysis.deletion is null and analysis.superseded_by is null and ",
        of_code,
    );
}

fn before(all: &mut Conditions, study: &StudyUid) {
    all.and_value(
        "worklist.study in (select prior.id from study own join study prior on prior.patient = own.patient
            where own.study_uid = {} and prior.id <> own.id
                and (prior.study_date, prior.study_time) <= (own.study_date, own.study_time))",
        study,
    );
}

pub async fn one(db: &Db, reach: &Reach, study: &StudyUid) -> Result<Option<Item>, DbError> {
    let sql = format!("select {} from {FROM} where worklist.study_uid = $1", columns(reach));
    db.read_one(Statement::named("worklist_entry", sql).bind(study)).await?.as_ref().map(entry).transpose()
}

fn entry(row: &Row) -> Result<Item, DbError> {
    let text = |column| row.text(column).map(str::to_owned);
    let optional = |column| row.opt_text(column).map(|text| text.map(str::to_owned));
    Ok(Item {
        study: row.parse(0, "a Study Instance UID")?,
        status: text(1)?,
        priority: row.int(2)?,
        assignee: text(3)?,
        version: row.int(4)?,
        arrived_at: Timestamp(row.int(5)?),
        patient: row.int(6)?,
        patient_id: text(7)?,
        patient_name: text(8)?,
        birth_date: text(9)?,
        sex: text(10)?,
        study_date: text(11)?,
        study_time: text(12)?,
        description: text(13)?,
        accession_number: text(14)?,
        modalities: text(15)?,
        series_count: row.int(16)?,
        instance_count: row.int(17)?,
        last_instance_at: Timestamp(row.int(18)?),
        analysis: optional(19)?,
        analysis_state: optional(20)?,
        analysis_reason: optional(21)?,
        report: optional(22)?,
        held: row.int(23)? > 0,
    })
}

/// Of a study: 0 routine, 1 urgent, 2 stat; one that is not in the list is routine.
pub async fn priority(db: &Db, study: &StudyUid) -> Result<i64, DbError> {
    let statement = Statement::named("study_priority", "select priority from worklist where study_uid = $1");
    let row = db.read_one(statement.bind(study)).await?;
    row.map_or(Ok(0), |row| row.int(0))
}

/// What a person changes of an entry.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    pub study: &'a StudyUid,
    /// What was read: another one has nothing changed.
    pub version: i64,
    pub priority: i64,
    pub assignee: &'a str,
    pub actor: &'a Actor,
    /// What the audit calls it.
    pub actions: &'a [Action],
}

pub fn change(change: &Change<'_>, now: Timestamp) -> Batch {
    let update = Statement::named(
        CHANGE,
        "update worklist set priority = $1, assignee = $2, version = version + 1
         where study_uid = $3 and version = $4",
    )
    .bind(change.priority)
    .bind(change.assignee)
    .bind(change.study)
    .bind(change.version);
    let told = |action: &Action| audit::append(&Entry::new(change.actor, *action).study(change.study), now);
    change.actions.iter().map(told).fold(Batch::new().then_exactly(1, update), Batch::then)
}

/// What fails when the entry was changed meanwhile.
pub const CHANGE: &str = "change_worklist";

#[cfg(test)]
mod tests;
