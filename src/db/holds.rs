//! Holds in SQL: what keeps a study from being deleted, and from being replaced, by anybody.

use super::audit::{Action, Actor, Entry, ObjectKind};
use super::page::{self, Conditions, Found, List, Page};
use super::{Batch, Db, DbError, Row, Statement, audit};
use crate::auth::Reach;
use crate::clock::Timestamp;
use crate::dicom::uid::StudyUid;
use crate::ids;

/// Why a study is not to be deleted, and who said so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    pub id: String,
    pub study: StudyUid,
    pub reason: String,
    pub actor: String,
    pub at: Timestamp,
    /// When and by whom; none while it stands.
    pub released: Option<(Timestamp, String)>,
}

/// The names of the guards that fail when there is nothing to hold, nothing to release, and when
/// something of a held study was to be replaced.
pub const PLACE: &str = "place_hold";
pub const RELEASE: &str = "release_hold";
pub const REQUIRE_FREE: &str = "require_free";

/// For statements that delete, with a row of `study`.
pub(super) const IS_FREE: &str = "not exists (select 1 from hold
    where hold.study_uid = study.study_uid and hold.released_at is null)";

const COLUMNS: &str =
    "hold.id, hold.study_uid, hold.reason, hold.actor, hold.at, hold.released_at, hold.released_by";

/// The hold that stands on a study.
pub async fn of(db: &Db, study: &StudyUid) -> Result<Option<Hold>, DbError> {
    let sql = format!("select {COLUMNS} from hold where study_uid = $1 and released_at is null");
    let row = db.look_up_one(Statement::named("hold_of_study", sql).bind(study)).await?;
    row.as_ref().map(hold).transpose()
}

const LIST: List<'_> =
    List { names: ["holds", "count_holds"], columns: COLUMNS, from: "hold", counted_from: "hold" };

/// Those that stand or those that were released, or all.
pub async fn list(
    db: &Db,
    reach: &Reach,
    released: Option<bool>,
    page: &Page,
) -> Result<Found<Hold>, DbError> {
    let mut conditions = Conditions::default();
    conditions.and_reach(reach, "hold.study_uid");
    released.into_iter().for_each(|released| {
        conditions.and(if released { "hold.released_at is not null" } else { "hold.released_at is null" });
    });
    page::read(db, &LIST, conditions, page, hold).await
}

fn hold(row: &Row) -> Result<Hold, DbError> {
    let released = row.opt_int(5)?.map(Timestamp).zip(row.opt_text(6)?.map(str::to_owned));
    Ok(Hold {
        id: row.text(0)?.to_owned(),
        study: row.parse(1, "a Study Instance UID")?,
        reason: row.text(2)?.to_owned(),
        actor: row.text(3)?.to_owned(),
        at: Timestamp(row.int(4)?),
        released,
    })
}

/// A study that is held already is held for this reason from now on.
pub fn place(study: &StudyUid, reason: &str, actor: &Actor, now: Timestamp) -> Batch {
    let id = ids::row_id();
    let place = Statement::named(
        PLACE,
        "insert into hold (id, study_uid, reason, actor, at)
         select $1, study_uid, $2, $3, $4 from study where study_uid = $5",
    );
    let place = place.bind(id.as_str()).bind(reason).bind(actor.name.as_str()).bind(now).bind(study);
    let entry = Entry::new(actor, Action::HoldStudy).study(study).object(ObjectKind::Hold, &id);
    Batch::new()
        .then(end("end_hold", study, actor, now))
        .then_exactly(1, place)
        .then(audit::append(&entry, now))
}

pub fn release(study: &StudyUid, actor: &Actor, now: Timestamp) -> Batch {
    let entry = Entry::new(actor, Action::ReleaseStudy).study(study);
    Batch::new().then_exactly(1, end(RELEASE, study, actor, now)).then(audit::append(&entry, now))
}

fn end(name: &'static str, study: &StudyUid, actor: &Actor, now: Timestamp) -> Statement {
    let sql =
        "update hold set released_at = $1, released_by = $2 where study_uid = $3 and released_at is null";
    Statement::named(name, sql).bind(now).bind(actor.name.as_str()).bind(study)
}

/// Nothing of a held study is replaced, and nothing of another one comes to it by a replacement: what
/// the study says of itself would be overwritten. `from` is there.
pub(super) fn require_free(from: &StudyUid, to: &StudyUid) -> Statement {
    let sql = "update study set updated_at = updated_at where study_uid = $1 and not exists
        (select 1 from hold where hold.study_uid in ($1, $2) and hold.released_at is null)";
    Statement::named(REQUIRE_FREE, sql).bind(from).bind(to)
}

#[cfg(test)]
mod tests;
