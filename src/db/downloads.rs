//! Downloads: asked for, under way, waiting to be fetched, gone.

use crate::blobs::BlobKey;
use crate::clock::Timestamp;
use crate::db::page::{self, Conditions, Found, List, Page};
use crate::db::{Batch, Db, DbError, Row, Statement};
use crate::dicom::uid::StudyUid;

/// How far a download is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Queued,
    Running,
    Done,
    Failed,
    Cancelled,
    Expired,
}

const STATES: [(State, &str); 6] = [
    (State::Queued, "queued"),
    (State::Running, "running"),
    (State::Done, "done"),
    (State::Failed, "failed"),
    (State::Cancelled, "cancelled"),
    (State::Expired, "expired"),
];

impl State {
    pub fn as_str(self) -> &'static str {
        STATES.iter().find(|(state, _)| *state == self).map_or("failed", |(_, name)| name)
    }

    fn from_column(text: &str) -> Option<Self> {
        STATES.iter().find(|(_, name)| *name == text).map(|(state, _)| *state)
    }
}

#[derive(Debug, Clone)]
pub struct Download {
    pub id: String,
    pub owner: String,
    pub form: String,
    /// JSON.
    pub options: Vec<u8>,
    pub secret: Option<Vec<u8>>,
    pub state: State,
    pub reason: Option<String>,
    pub studies: i64,
    pub instances_total: i64,
    pub instances_done: i64,
    pub size_bytes: u64,
    /// JSON.
    pub left_out: Option<Vec<u8>>,
    pub left_out_count: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub expires_at: Timestamp,
    /// Where its file lies, once it is made, if that is not the data folder.
    pub key: Option<BlobKey>,
}

/// What is asked for.
pub struct New<'a> {
    pub id: &'a str,
    pub owner: &'a str,
    pub form: &'a str,
    pub options: Vec<u8>,
    pub secret: Option<Vec<u8>>,
    pub studies: &'a [StudyUid],
    pub expires_at: Timestamp,
}

/// Of a stored study: how many instances, and their bytes.
pub async fn size(db: &Db, study: &StudyUid) -> Result<Option<(i64, u64)>, DbError> {
    let statement = Statement::named(
        "size_of_study",
        "select count(*), cast(coalesce(sum(instance.size_bytes), 0) as bigint)
         from instance join study on study.id = instance.study where study.study_uid = $1",
    );
    let row = db.read_one(statement.bind(study)).await?;
    let size = row.map(|row| Ok::<_, DbError>((row.int(0)?, row.int(1)?.unsigned_abs()))).transpose()?;
    Ok(size.filter(|(instances, _)| *instances > 0))
}

pub fn create(new: New<'_>, instances: i64, now: Timestamp) -> Batch {
    let insert = Statement::named(
        "create_download",
        "insert into download (id, owner, form, options, secret, state, studies, instances_total,
            created_at, updated_at, expires_at)
         values ($1, $2, $3, $4, $5, 'queued', $6, $7, $8, $8, $9)",
    )
    .bind(new.id)
    .bind(new.owner)
    .bind(new.form)
    .bind(new.options)
    .bind(new.secret)
    .bind(new.studies.len() as i64)
    .bind(instances)
    .bind(now)
    .bind(new.expires_at);
    let studies = new.studies.iter().enumerate().map(|(ordinal, study)| {
        let sql = "insert into download_study (download, ordinal, study_uid) values ($1, $2, $3)";
        Statement::named("create_download_study", sql).bind(new.id).bind(ordinal as i64).bind(study)
    });
    studies.fold(Batch::new().then(insert), Batch::then)
}

const COLUMNS: &str = "id, owner, form, options, secret, state, reason, studies, instances_total, \
    instances_done, size_bytes, left_out, left_out_count, created_at, updated_at, expires_at, blob_key";

pub async fn one(db: &Db, id: &str) -> Result<Option<Download>, DbError> {
    let statement =
        Statement::named("download", format!("select {COLUMNS} from download where id = $1")).bind(id);
    db.read_one(statement).await?.as_ref().map(read).transpose()
}

const LIST: List = List {
    names: ["downloads", "count_downloads"],
    columns: COLUMNS,
    from: "download",
    counted_from: "download",
};

pub async fn of_owner(
    db: &Db,
    owner: &str,
    state: Option<&str>,
    page: &Page,
) -> Result<Found<Download>, DbError> {
    let mut conditions = Conditions::default();
    conditions.and_value("owner = {}", owner);
    state.into_iter().for_each(|state| conditions.and_value("state = {}", state));
    page::read(db, &LIST, conditions, page, read).await
}

/// How many of an owner are there or to be made, and the bytes of all.
pub async fn held(db: &Db, owner: &str) -> Result<(i64, u64), DbError> {
    let statement = Statement::named(
        "held_downloads",
        "select coalesce(sum(case when owner = $1 then 1 else 0 end), 0), cast(coalesce(sum(size_bytes), 0) as bigint)
         from download where state in ('queued', 'running', 'done')",
    );
    let row = db.read_one(statement.bind(owner)).await?;
    row.map_or(Ok((0, 0)), |row| Ok((row.int(0)?, row.int(1)?.unsigned_abs())))
}

pub async fn studies(db: &Db, id: &str) -> Result<Vec<StudyUid>, DbError> {
    let sql = "select study_uid from download_study where download = $1 order by ordinal";
    let rows = db.read(Statement::named("studies_of_download", sql).bind(id)).await?;
    rows.iter().map(|row| row.parse(0, "a Study Instance UID")).collect()
}

/// queued or running → running; nothing happens to one that was cancelled.
pub fn start(id: &str, now: Timestamp) -> Statement {
    Statement::named(
        "start_download",
        "update download set state = 'running', instances_done = 0, updated_at = $1
         where id = $2 and state in ('queued', 'running')",
    )
    .bind(now)
    .bind(id)
}

/// Changes no row when the download is not running any more.
pub fn progress(id: &str, instances: i64, bytes: u64, now: Timestamp) -> Statement {
    Statement::named(
        "progress_of_download",
        "update download set instances_done = $1, size_bytes = $2, updated_at = $3
         where id = $4 and state = 'running'",
    )
    .bind(instances)
    .bind(i64::try_from(bytes).unwrap_or(i64::MAX))
    .bind(now)
    .bind(id)
}

/// How a download ended well.
pub struct Made {
    pub instances: i64,
    pub bytes: u64,
    pub left_out: Vec<u8>,
    pub left_out_count: i64,
    pub expires_at: Timestamp,
    pub key: Option<BlobKey>,
}

pub fn finish(id: &str, made: Made, now: Timestamp) -> Statement {
    Statement::named(
        "finish_download",
        "update download set state = 'done', secret = null, instances_done = $1, size_bytes = $2, left_out = $3,
            left_out_count = $4, expires_at = $5, updated_at = $6, blob_key = $7
         where id = $8 and state = 'running'",
    )
    .bind(made.instances)
    .bind(i64::try_from(made.bytes).unwrap_or(i64::MAX))
    .bind(made.left_out)
    .bind(made.left_out_count)
    .bind(made.expires_at)
    .bind(now)
    .bind(made.key.as_ref().map(BlobKey::as_str))
    .bind(id)
}

/// An end without a file: only of what is there or to be made.
pub fn end(id: &str, state: State, reason: &str, now: Timestamp) -> Statement {
    Statement::named(
        "end_download",
        "update download set state = $1, reason = $2, secret = null, size_bytes = 0, blob_key = null, updated_at = $3
         where id = $4 and state in ('queued', 'running', 'done')",
    )
    .bind(state.as_str())
    .bind(reason)
    .bind(now)
    .bind(id)
}

/// Whose time is over, some at a time.
pub async fn overdue(db: &Db, now: Timestamp) -> Result<Vec<Download>, DbError> {
    let sql = format!(
        "select {COLUMNS} from download where state = 'done' and expires_at <= $1 order by expires_at limit 100"
    );
    let rows = db.read(Statement::named("overdue_downloads", sql).bind(now)).await?;
    rows.iter().map(read).collect()
}

pub(super) fn select_kept(key: &BlobKey) -> Statement {
    let sql = "select 1 from download where blob_key = $1 limit 1";
    Statement::named("is_download", sql).bind(key.as_str())
}

fn read(row: &Row) -> Result<Download, DbError> {
    let text = |column| row.text(column).map(str::to_owned);
    let bad = DbError::Column { statement: "download", column: 5, wanted: "a state" };
    Ok(Download {
        id: text(0)?,
        owner: text(1)?,
        form: text(2)?,
        options: row.bytes(3)?.to_vec(),
        secret: row.opt_bytes(4)?.map(<[u8]>::to_vec),
        state: State::from_column(row.text(5)?).ok_or(bad)?,
        reason: row.opt_text(6)?.map(str::to_owned),
        studies: row.int(7)?,
        instances_total: row.int(8)?,
        instances_done: row.int(9)?,
        size_bytes: row.int(10)?.unsigned_abs(),
        left_out: row.opt_bytes(11)?.map(<[u8]>::to_vec),
        left_out_count: row.int(12)?,
        created_at: Timestamp(row.int(13)?),
        updated_at: Timestamp(row.int(14)?),
        expires_at: Timestamp(row.int(15)?),
        key: row.opt_text(16)?.map(BlobKey::from_index),
    })
}
