//! Deletion in SQL: rows leave the index in one batch, and what is needed to take that back stays.

use super::audit::{Action, Actor, Entry, ObjectKind};
use super::holds::IS_FREE;
use super::instances::OF_SERIES;
use super::page::{self, Conditions, Found, List, Page};
use super::retention::IS_IDLE;
use super::{Batch, Db, DbError, Row, Statement, Value, audit, groups};
use crate::auth::Reach;
use crate::blobs::BlobKey;
use crate::clock::Timestamp;
use crate::dicom::uid::{SeriesUid, SopInstanceUid, StudyUid};
use crate::query::Scope;

/// One act of deletion.
pub struct Act<'a> {
    pub id: &'a str,
    pub scope: &'a Scope,
    pub actor: &'a Actor,
    pub reason: Option<&'a str>,
    pub unless: Unless,
}

/// What keeps a study from being deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unless {
    Held,
    /// By a rule, which waits for whatever is under way.
    HeldOrBusy,
}

/// The name of the guard that fails when the scope holds nothing, or what it is of is kept.
pub const INSERT_DELETION: &str = "insert_deletion";

/// Moves the instances of a scope into the tombstones, corrects the counts, takes parents along
/// that are empty now, and puts the analyses of a study that is gone out of sight. A worker that
/// is still at one of them finds it cancelled at its next step.
pub fn delete(act: &Act<'_>, now: Timestamp) -> Batch {
    let study = act.scope.study();
    Batch::new()
        .then_exactly(1, insert_deletion(act, now))
        .then(bury(act, now))
        .then(note_instances(act.id, now))
        .then(delete_instances(act.id))
        .then(count_in_series(act.id, now))
        .then(note_series(study, now))
        .then(delete_series(study))
        .then(count_in_study(study, now))
        .then(note_study(study, now))
        .then(hide_analyses(act.id, study, now))
        .then(end_jobs(act.id, study, now))
        .then(delete_study(study))
        .then(delete_patient(act.id))
        .then(audit::append(&entry(act), now))
}

fn entry<'a>(act: &Act<'a>) -> Entry<'a> {
    let entry = |action| Entry::new(act.actor, action).study(act.scope.study()).detail(act.id);
    match act.scope {
        Scope::Study(_) | Scope::Released(_) => entry(Action::DeleteStudy),
        Scope::Series(_, series) => entry(Action::DeleteSeries).object(ObjectKind::Series, series.as_str()),
        Scope::Instance(_, _, instance) => {
            entry(Action::DeleteInstance).object(ObjectKind::Instance, instance.as_str())
        }
    }
}

/// The instances of a scope, its UIDs appended to the values.
fn members(scope: &Scope, values: &mut Vec<Value>) -> String {
    values.push(scope.study().into());
    let mut from = format!(
        "from instance join series on series.id = instance.series join study on study.id = instance.study
         where study.study_uid = ${}",
        values.len()
    );
    if let Some(series) = scope.series() {
        values.push(series.into());
        from.push_str(&format!(" and series.series_uid = ${}", values.len()));
    }
    if let Some(instance) = scope.instance() {
        values.push(instance.into());
        from.push_str(&format!(" and instance.sop_instance_uid = ${}", values.len()));
    }
    from
}

fn bound(name: &'static str, sql: String, values: Vec<Value>) -> Statement {
    values.into_iter().fold(Statement::named(name, sql), Statement::bind)
}

fn insert_deletion(act: &Act<'_>, now: Timestamp) -> Statement {
    let text = |value: Option<&str>| value.map(str::to_owned).into();
    let series = act.scope.series().map(SeriesUid::as_str);
    let instance = act.scope.instance().map(SopInstanceUid::as_str);
    let mut values: Vec<Value> = vec![act.id.into(), now.into(), act.actor.name.as_str().into()];
    values.extend([text(act.reason), act.scope.study().into(), text(series), text(instance)]);
    let from = members(act.scope, &mut values);
    let kept = match act.unless {
        Unless::Held => IS_FREE.to_owned(),
        Unless::HeldOrBusy => format!("{IS_FREE} and {IS_IDLE}"),
    };
    let sql = format!(
        "insert into deletion (id, at, actor, reason, study_uid, series_uid, sop_instance_uid, patient)
         select $1, $2, $3, $4, $5, $6, $7, study.patient {from} and {kept} limit 1"
    );
    bound(INSERT_DELETION, sql, values)
}

fn bury(act: &Act<'_>, now: Timestamp) -> Statement {
    let mut values: Vec<Value> = vec![act.id.into(), now.into()];
    let from = members(act.scope, &mut values);
    let sql = format!(
        "insert into deleted_instance (deletion, deleted_at, study_uid, series_uid, sop_instance_uid,
            sop_class_uid, state, blob_key, size_bytes, sha256, dataset_sha256, source, source_aet, created_at)
         select $1, $2, study.study_uid, series.series_uid, instance.sop_instance_uid,
            instance.sop_class_uid, 'kept', instance.blob_key, instance.size_bytes, instance.sha256,
            instance.dataset_sha256, instance.source, instance.source_aet, instance.created_at
         {from} order by instance.id"
    );
    bound("bury_instances", sql, values)
}

fn note_instances(id: &str, now: Timestamp) -> Statement {
    Statement::named(
        "note_deleted_instances",
        "insert into change (at, kind, study_uid, series_uid, sop_instance_uid, subject)
         select $1, 'instance-deleted', study_uid, series_uid, sop_instance_uid, deletion
         from deleted_instance where deletion = $2 order by id",
    )
    .bind(now)
    .bind(id)
}

fn delete_instances(id: &str) -> Statement {
    Statement::named(
        "delete_instances",
        "delete from instance where sop_instance_uid in
            (select sop_instance_uid from deleted_instance where deletion = $1)",
    )
    .bind(id)
}

fn count_in_series(id: &str, now: Timestamp) -> Statement {
    Statement::named(
        "recount_series",
        "update series set updated_at = $1,
            instance_count = (select count(*) from instance where instance.series = series.id)
         where series_uid in (select series_uid from deleted_instance where deletion = $2)",
    )
    .bind(now)
    .bind(id)
}

const EMPTY_SERIES: &str =
    "from series where instance_count = 0 and study = (select id from study where study_uid";

fn note_series(study: &StudyUid, now: Timestamp) -> Statement {
    let sql = format!(
        "insert into change (at, kind, study_uid, series_uid)
         select $1, 'series-deleted', $2, series_uid {EMPTY_SERIES} = $2) order by id"
    );
    Statement::named("note_deleted_series", sql).bind(now).bind(study)
}

fn delete_series(study: &StudyUid) -> Statement {
    Statement::named("delete_series", format!("delete {EMPTY_SERIES} = $1)")).bind(study)
}

fn count_in_study(study: &StudyUid, now: Timestamp) -> Statement {
    let sql = format!(
        "update study set updated_at = $1, {OF_SERIES},
            instance_count = (select count(*) from instance where instance.study = study.id)
         where study_uid = $2"
    );
    Statement::named("recount_study", sql).bind(now).bind(study)
}

fn note_study(study: &StudyUid, now: Timestamp) -> Statement {
    Statement::named(
        "note_deleted_study",
        "insert into change (at, kind, study_uid)
         select $1, 'study-deleted', study_uid from study where study_uid = $2 and instance_count = 0",
    )
    .bind(now)
    .bind(study)
}

fn hide_analyses(id: &str, study: &StudyUid, now: Timestamp) -> Statement {
    Statement::named(
        "hide_analyses",
        "update analysis set deletion = $1, content_sha256 = content_sha256 || '@' || $1,
            reason = case when state in ('queued', 'waiting', 'running') then 'the study was deleted'
                else reason end,
            finished_at = case when state in ('queued', 'waiting', 'running') then $2 else finished_at end,
            state = case when state in ('queued', 'waiting', 'running') then 'cancelled' else state end
         where study_uid = $3 and deletion is null
            and exists (select 1 from study where study_uid = $3 and instance_count = 0)",
    )
    .bind(id)
    .bind(now)
    .bind(study)
}

/// Jobs under lease come to their end by themselves: they find nothing left to do.
fn end_jobs(id: &str, study: &StudyUid, now: Timestamp) -> Statement {
    Statement::named(
        "end_jobs_of_deleted",
        "update job set state = 'done', reason = 'the study was deleted', updated_at = $1
         where state = 'queued'
            and (dedupe_key in (select 'analyse-study:' || analysis.id from analysis where deletion = $2)
                or dedupe_key in (select 'complete-study:' || study_uid from study
                    where study_uid = $3 and instance_count = 0))",
    )
    .bind(now)
    .bind(id)
    .bind(study)
}

fn delete_study(study: &StudyUid) -> Statement {
    Statement::named("delete_study", "delete from study where study_uid = $1 and instance_count = 0")
        .bind(study)
}

fn delete_patient(id: &str) -> Statement {
    Statement::named(
        "delete_patient",
        "delete from patient where id = (select patient from deletion where deletion.id = $1)
            and not exists (select 1 from study where study.patient = patient.id)",
    )
    .bind(id)
}

/// Whether something of the scope was there once. Asked when nothing is there now.
pub async fn is_known(db: &Db, scope: &Scope) -> Result<bool, DbError> {
    let mut sql = "select 1 from deleted_instance where study_uid = $1".to_owned();
    let mut values: Vec<Value> = vec![scope.study().into()];
    if let Some(series) = scope.series() {
        sql.push_str(" and series_uid = $2");
        values.push(series.into());
    }
    if let Some(instance) = scope.instance() {
        sql.push_str(" and sop_instance_uid = $3");
        values.push(instance.into());
    }
    Ok(db.read_one(bound("is_known_deleted", sql + " limit 1", values)).await?.is_some())
}

/// An act of deletion with what is left of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deletion {
    pub id: String,
    pub at: Timestamp,
    pub actor: String,
    pub reason: Option<String>,
    pub study: StudyUid,
    pub series: Option<String>,
    pub sop_instance: Option<String>,
    pub instances: i64,
    /// Those that can be restored.
    pub kept: i64,
}

const LIST: List<'_> = List {
    names: ["deletions", "count_deletions"],
    columns: COLUMNS,
    from: "deletion",
    counted_from: "deletion",
};

pub async fn list(db: &Db, reach: &Reach, page: &Page) -> Result<Found<Deletion>, DbError> {
    let mut conditions = Conditions::default();
    conditions.and_reach(reach, "deletion.study_uid");
    groups::released(reach, "deletion.series_uid").into_iter().for_each(|released| conditions.and(released));
    page::read(db, &LIST, conditions, page, deletion).await
}

pub async fn one(db: &Db, id: &str) -> Result<Option<Deletion>, DbError> {
    let statement =
        Statement::named("deletion", format!("select {COLUMNS} from deletion where deletion.id = $1"))
            .bind(id);
    db.read_one(statement).await?.as_ref().map(deletion).transpose()
}

const COLUMNS: &str = "id, at, actor, reason, study_uid, series_uid, sop_instance_uid,
    (select count(*) from deleted_instance where deleted_instance.deletion = deletion.id),
    (select count(*) from deleted_instance where deleted_instance.deletion = deletion.id
        and deleted_instance.state = 'kept')";

fn deletion(row: &Row) -> Result<Deletion, DbError> {
    let optional = |column| Ok::<_, DbError>(row.opt_text(column)?.map(str::to_owned));
    Ok(Deletion {
        id: row.text(0)?.to_owned(),
        at: Timestamp(row.int(1)?),
        actor: row.text(2)?.to_owned(),
        reason: optional(3)?,
        study: row.parse(4, "a Study Instance UID")?,
        series: optional(5)?,
        sop_instance: optional(6)?,
        instances: row.int(7)?,
        kept: row.int(8)?,
    })
}

/// An object that outlives its row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    pub row: i64,
    pub blob_key: BlobKey,
    pub source: String,
    pub source_aet: String,
}

/// Rows of one page; a deletion of any size takes this much memory.
const PAGE: i64 = 100;

/// What can be restored of an act, behind the row `after`, in the order of arrival: images come
/// before the results about them.
pub async fn kept(db: &Db, id: &str, after: i64) -> Result<Vec<Kept>, DbError> {
    let statement = Statement::named(
        "kept_of_deletion",
        "select id, blob_key, source, source_aet from deleted_instance
         where deletion = $1 and id > $2 and state = 'kept' order by id limit $3",
    );
    read_kept(db, statement.bind(id).bind(after).bind(PAGE)).await
}

/// What has been kept since before a time, other than of studies that are held.
pub async fn expired(db: &Db, before: Timestamp) -> Result<Vec<Kept>, DbError> {
    let statement = Statement::named(
        "expired_deletions",
        "select id, blob_key, source, source_aet from deleted_instance
         where state = 'kept' and deleted_at < $1 and not exists (select 1 from hold
            where hold.study_uid = deleted_instance.study_uid and hold.released_at is null)
         order by deleted_at, id limit $2",
    );
    read_kept(db, statement.bind(before).bind(PAGE)).await
}

async fn read_kept(db: &Db, statement: Statement) -> Result<Vec<Kept>, DbError> {
    let kept = |row: &Row| {
        Ok(Kept {
            row: row.int(0)?,
            blob_key: BlobKey::from_index(row.text(1)?),
            source: row.text(2)?.to_owned(),
            source_aet: row.text(3)?.to_owned(),
        })
    };
    db.read(statement).await?.iter().map(kept).collect()
}

/// An object that a deletion keeps, and its size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptObject {
    pub row: i64,
    pub key: BlobKey,
    pub size_bytes: u64,
}

/// What all deletions keep, behind the row `after`.
pub async fn kept_objects(db: &Db, after: i64) -> Result<Vec<KeptObject>, DbError> {
    as_kept_objects(&db.search(select_kept_objects(after)).await?)
}

pub(super) fn select_kept_objects(after: i64) -> Statement {
    Statement::named(
        "kept_objects",
        "select id, blob_key, size_bytes from deleted_instance
         where id > $1 and state = 'kept' order by id limit $2",
    )
    .bind(after)
    .bind(PAGE)
}

pub(super) fn as_kept_objects(rows: &[Row]) -> Result<Vec<KeptObject>, DbError> {
    let one = |row: &Row| {
        let (row, key, size_bytes) =
            (row.int(0)?, BlobKey::from_index(row.text(1)?), row.int(2)?.unsigned_abs());
        Ok(KeptObject { row, key, size_bytes })
    };
    rows.iter().map(one).collect()
}

/// kept → swept: the object belongs to nobody from now on.
pub fn sweep(kept: &[Kept]) -> Batch {
    kept.iter().fold(Batch::new(), |batch, one| batch.then(let_go("swept", one.row)))
}

/// kept → restored.
pub fn restored(kept: &Kept) -> Batch {
    Batch::new().then(let_go("restored", kept.row))
}

fn let_go(state: &'static str, row: i64) -> Statement {
    Statement::named(
        "let_deleted_go",
        "update deleted_instance set state = $1, blob_key = null where id = $2 and state = 'kept'",
    )
    .bind(state)
    .bind(row)
}

/// The analyses that an act hid are seen again, unless their content has been analysed anew; those
/// that it cancelled stay cancelled.
pub fn reveal_analyses(deletion: &Deletion, actor: &Actor, now: Timestamp) -> Batch {
    let reveal = Statement::named(
        "reveal_analyses",
        "update analysis set deletion = null, content_sha256 = substr(content_sha256, 1, 64)
         where deletion = $1 and state in ('done', 'failed')
            and exists (select 1 from study where study.study_uid = analysis.study_uid)
            and not exists (select 1 from analysis other where other.study_uid = analysis.study_uid
                and other.pipeline = analysis.pipeline and other.deletion is null
                and other.content_sha256 = substr(analysis.content_sha256, 1, 64))",
    );
    let entry = Entry::new(actor, Action::Restore).study(&deletion.study);
    let entry = entry.object(ObjectKind::Deletion, &deletion.id);
    Batch::new().then(reveal.bind(deletion.id.as_str())).then(audit::append(&entry, now))
}
