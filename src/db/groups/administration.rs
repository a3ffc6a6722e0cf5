//! Making groups, and what is put into them. Every change names the version that was read.

use super::MemberKind;
use crate::clock::Timestamp;
use crate::db::page::{self, Conditions, Found, List, Page};
use crate::db::{Batch, Db, DbError, Row, Statement};
use crate::dicom::uid::StudyUid;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    pub id: i64,
    pub name: String,
    pub version: i64,
    pub members: i64,
    pub studies: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub kind: String,
    pub id: String,
    pub added_at: Timestamp,
}

/// The names of the guards that fail when a version is no longer the one that was read.
pub const TOUCH_GROUP: &str = "touch_group";
pub const UNCHANGED_GROUPS: &str = "unchanged_groups_of_study";
/// … and when a group that is to go has studies yet.
pub const DELETE_GROUP: &str = "delete_group";

const GROUPS: List = List {
    names: ["groups", "count_groups"],
    columns: COLUMNS,
    from: "owner_group",
    counted_from: "owner_group",
};

const COLUMNS: &str = "owner_group.id, owner_group.name, owner_group.version,
    (select count(*) from group_member where group_member.owner_group = owner_group.id),
    (select count(*) from study_group where study_group.owner_group = owner_group.id),
    owner_group.created_at, owner_group.updated_at";

pub async fn list(db: &Db, page: &Page) -> Result<Found<Group>, DbError> {
    page::read(db, &GROUPS, Conditions::default(), page, group).await
}

pub async fn one(db: &Db, id: i64) -> Result<Option<Group>, DbError> {
    let sql = format!("select {COLUMNS} from owner_group where id = $1");
    db.read_one(Statement::named("group", sql).bind(id)).await?.as_ref().map(group).transpose()
}

pub async fn named(db: &Db, name: &str) -> Result<Option<Group>, DbError> {
    let sql = format!("select {COLUMNS} from owner_group where name = $1");
    db.read_one(Statement::named("group_named", sql).bind(name)).await?.as_ref().map(group).transpose()
}

fn group(row: &Row) -> Result<Group, DbError> {
    Ok(Group {
        id: row.int(0)?,
        name: row.text(1)?.to_owned(),
        version: row.int(2)?,
        members: row.int(3)?,
        studies: row.int(4)?,
        created_at: Timestamp(row.int(5)?),
        updated_at: Timestamp(row.int(6)?),
    })
}

pub async fn members(db: &Db, id: i64) -> Result<Vec<Member>, DbError> {
    let sql = "select kind, member, added_at from group_member where owner_group = $1 order by kind, member";
    let member = |row: &Row| {
        Ok(Member {
            kind: row.text(0)?.to_owned(),
            id: row.text(1)?.to_owned(),
            added_at: Timestamp(row.int(2)?),
        })
    };
    db.read(Statement::named("group_members", sql).bind(id)).await?.iter().map(member).collect()
}

/// Fails on the unique key where there is one of that name.
pub fn create(name: &str, now: Timestamp) -> Batch {
    let sql = "insert into owner_group (name, created_at, updated_at) values ($1, $2, $2)";
    Batch::new().then(Statement::named("create_group", sql).bind(name).bind(now))
}

pub fn rename(group: &Group, name: &str, now: Timestamp) -> Batch {
    let sql = "update owner_group set name = $1 where id = $2";
    touch(group, now).then(Statement::named("rename_group", sql).bind(name).bind(group.id))
}

/// Only without studies: they would be seen by everybody at once, or by nobody.
pub fn delete(group: &Group, now: Timestamp) -> Batch {
    let sql = "delete from owner_group where id = $1
               and not exists (select 1 from study_group where study_group.owner_group = owner_group.id)";
    touch(group, now).then_exactly(1, Statement::named(DELETE_GROUP, sql).bind(group.id))
}

pub fn add_member(group: &Group, kind: MemberKind, member: &str, now: Timestamp) -> Batch {
    let sql = "insert into group_member (owner_group, kind, member, added_at) values ($1, $2, $3, $4)
               on conflict (kind, member, owner_group) do nothing";
    let statement = Statement::named("add_group_member", sql).bind(group.id).bind(kind.as_str());
    touch(group, now).then(statement.bind(member).bind(now))
}

pub fn remove_member(group: &Group, kind: MemberKind, member: &str, now: Timestamp) -> Batch {
    let sql = "delete from group_member where owner_group = $1 and kind = $2 and member = $3";
    let statement = Statement::named("remove_group_member", sql).bind(group.id).bind(kind.as_str());
    touch(group, now).then(statement.bind(member))
}

fn touch(group: &Group, now: Timestamp) -> Batch {
    let sql = "update owner_group set version = version + 1, updated_at = $1 where id = $2 and version = $3";
    let statement = Statement::named(TOUCH_GROUP, sql).bind(now).bind(group.id).bind(group.version);
    Batch::new().then_exactly(1, statement)
}

/// The groups of a study, by number: id and name.
pub async fn of_study(db: &Db, study: &StudyUid) -> Result<Vec<(i64, String)>, DbError> {
    let sql = "select owner_group.id, owner_group.name from study_group
               join owner_group on owner_group.id = study_group.owner_group
               where study_group.study_uid = $1 order by owner_group.id";
    let pair = |row: &Row| Ok((row.int(0)?, row.text(1)?.to_owned()));
    db.read(Statement::named("groups_of_study", sql).bind(study)).await?.iter().map(pair).collect()
}

/// Stands in front of a change of the groups of a study: they are still those that were read.
fn unchanged(study: &StudyUid, read: &[i64]) -> Batch {
    let read: Vec<String> = read.iter().map(i64::to_string).collect();
    let sql = "update study set updated_at = updated_at where study_uid = $1 and $2 = coalesce(
        (select string_agg(cast(granted.owner_group as text), ',' order by granted.owner_group)
         from study_group granted where granted.study_uid = $1), '')";
    Batch::new().then_exactly(1, Statement::named(UNCHANGED_GROUPS, sql).bind(study).bind(read.join(",")))
}

pub fn add_study(study: &StudyUid, read: &[i64], group: i64, now: Timestamp) -> Batch {
    let sql = "insert into study_group (study_uid, owner_group, added_at) values ($1, $2, $3)
               on conflict (study_uid, owner_group) do nothing";
    unchanged(study, read).then(Statement::named("add_study_group", sql).bind(study).bind(group).bind(now))
}

pub fn remove_study(study: &StudyUid, read: &[i64], group: i64) -> Batch {
    let sql = "delete from study_group where study_uid = $1 and owner_group = $2";
    unchanged(study, read).then(Statement::named("remove_study_group", sql).bind(study).bind(group))
}
