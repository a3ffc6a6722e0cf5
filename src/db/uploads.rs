//! Uploads and what became of their files.

use std::ops::Range;

use super::page::{self, Conditions, Found, List, Page};
use super::{Batch, Db, DbError, Row, Statement};
use crate::blobs::BlobKey;
use crate::clock::Timestamp;

/// An upload as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    pub id: String,
    pub owner: String,
    /// As `uploads::sight` writes it.
    pub reach: String,
    pub kind: String,
    pub state: String,
    pub name: Option<String>,
    pub metadata: Option<String>,
    pub bytes_total: Option<u64>,
    pub bytes_received: u64,
    pub reason: Option<String>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
}

pub struct New<'a> {
    pub id: &'a str,
    pub owner: &'a str,
    pub reach: &'a str,
    pub kind: &'static str,
    pub name: Option<&'a str>,
    pub metadata: Option<&'a str>,
    pub bytes_total: Option<u64>,
    pub expires_at: Option<Timestamp>,
    /// The installation that receives a form.
    pub server: Option<&'a str>,
}

/// Fails on its unique key when there is an upload of that id.
pub fn insert(new: &New<'_>, now: Timestamp) -> Statement {
    Statement::named(
        "insert_upload",
        "insert into upload (id, owner, reach, kind, state, name, metadata, bytes_total, bytes_received, created_at,
            updated_at, expires_at, server)
         values ($1, $2, $3, $4, 'receiving', $5, $6, $7, 0, $8, $8, $9, $10)",
    )
    .bind(new.id)
    .bind(new.owner)
    .bind(new.reach)
    .bind(new.kind)
    .bind(new.name)
    .bind(new.metadata)
    .bind(new.bytes_total.map(signed))
    .bind(now)
    .bind(new.expires_at)
    .bind(new.server)
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

const COLUMNS: &str =
    "id, owner, kind, state, name, metadata, bytes_total, bytes_received, reason, created_at,
    updated_at, expires_at, finished_at, reach";

const LIST: List = List {
    names: ["uploads_of_owner", "count_uploads_of_owner"],
    columns: COLUMNS,
    from: "upload",
    counted_from: "upload",
};

pub async fn one(db: &Db, id: &str) -> Result<Option<Upload>, DbError> {
    let statement =
        Statement::named("upload", format!("select {COLUMNS} from upload where id = $1")).bind(id);
    db.look_up_one(statement).await?.as_ref().map(upload).transpose()
}

/// Newest first.
pub async fn of_owner(
    db: &Db,
    owner: &str,
    state: Option<&str>,
    page: &Page,
) -> Result<Found<Upload>, DbError> {
    let mut conditions = Conditions::default();
    conditions.and_value("owner = {}", owner);
    state.iter().for_each(|state| conditions.and_value("state = {}", *state));
    page::read(db, &LIST, conditions, page, upload).await
}

fn upload(row: &Row) -> Result<Upload, DbError> {
    let text = |column| Ok::<_, DbError>(row.opt_text(column)?.map(str::to_owned));
    let time = |column| Ok::<_, DbError>(row.opt_int(column)?.map(Timestamp));
    Ok(Upload {
        id: row.text(0)?.to_owned(),
        owner: row.text(1)?.to_owned(),
        reach: row.text(13)?.to_owned(),
        kind: row.text(2)?.to_owned(),
        state: row.text(3)?.to_owned(),
        name: text(4)?,
        metadata: text(5)?,
        bytes_total: row.opt_int(6)?.map(i64::unsigned_abs),
        bytes_received: row.int(7)?.unsigned_abs(),
        reason: text(8)?,
        created_at: Timestamp(row.int(9)?),
        updated_at: Timestamp(row.int(10)?),
        expires_at: time(11)?,
        finished_at: time(12)?,
    })
}

/// Resumable uploads of an owner that wait for their rest: how many, and the bytes they will have.
pub async fn unfinished(db: &Db, owner: &str) -> Result<(u64, u64), DbError> {
    let statement = Statement::named(
        "unfinished_uploads",
        "select count(*), cast(coalesce(sum(bytes_total), 0) as bigint) from upload
         where owner = $1 and kind = 'resumable' and state in ('receiving', 'queued', 'storing')",
    );
    let row = db.read_one(statement.bind(owner)).await?;
    row.map_or(Ok((0, 0)), |row| Ok((row.int(0)?.unsigned_abs(), row.int(1)?.unsigned_abs())))
}

/// Bytes that are durable now, in place of those that were; the upload lives on until `expires_at`. The
/// batch fails when somebody else went on with it.
pub fn received(id: &str, bytes: Range<u64>, expires_at: Option<Timestamp>, now: Timestamp) -> Batch {
    let statement = Statement::named(
        "upload_received",
        "update upload set bytes_received = $1, updated_at = $2, expires_at = $3
         where id = $4 and state = 'receiving' and bytes_received = $5",
    );
    let statement = statement.bind(signed(bytes.end)).bind(now).bind(expires_at).bind(id);
    Batch::new().then_exactly(1, statement.bind(signed(bytes.start)))
}

/// From one state to the next; the batch fails when it was in none of them.
pub fn step(id: &str, to: &'static str, now: Timestamp) -> Batch {
    let statement = Statement::named(
        "step_upload",
        "update upload set state = $1, updated_at = $2, expires_at = null
         where id = $3 and state in ('receiving', 'queued', 'storing')",
    );
    Batch::new().then_exactly(1, statement.bind(to).bind(now).bind(id))
}

/// Its end, once.
pub fn finish(id: &str, state: &'static str, reason: Option<&str>, now: Timestamp) -> Batch {
    let statement = Statement::named(
        "finish_upload",
        "update upload set state = $1, reason = $2, updated_at = $3, finished_at = $3, expires_at = null
         where id = $4 and state in ('receiving', 'queued', 'storing')",
    );
    Batch::new().then_exactly(1, statement.bind(state).bind(reason).bind(now).bind(id))
}

/// What became of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRow {
    pub ordinal: i64,
    pub name: String,
    pub outcome: String,
    pub reason: Option<String>,
    pub study: Option<String>,
    pub sop_instance: Option<String>,
}

/// A second look at the same file changes nothing: what was stored first stays told so.
pub fn insert_file(upload: &str, file: &FileRow) -> Statement {
    Statement::named(
        "insert_upload_file",
        "insert into upload_file (upload, ordinal, name, outcome, reason, study_uid, sop_instance_uid)
         values ($1, $2, $3, $4, $5, $6, $7) on conflict (upload, ordinal) do nothing",
    )
    .bind(upload)
    .bind(file.ordinal)
    .bind(file.name.as_str())
    .bind(file.outcome.as_str())
    .bind(file.reason.clone())
    .bind(file.study.clone())
    .bind(file.sop_instance.clone())
}

/// Behind an ordinal, in their order.
pub async fn files(db: &Db, upload: &str, after: i64, limit: u32) -> Result<Vec<FileRow>, DbError> {
    let statement = Statement::named(
        "upload_files",
        "select ordinal, name, outcome, reason, study_uid, sop_instance_uid from upload_file
         where upload = $1 and ordinal > $2 order by ordinal limit $3",
    );
    let rows = db.read(statement.bind(upload).bind(after).bind(i64::from(limit))).await?;
    let text = |row: &Row, column| Ok::<_, DbError>(row.opt_text(column)?.map(str::to_owned));
    let file = |row: &Row| {
        Ok(FileRow {
            ordinal: row.int(0)?,
            name: row.text(1)?.to_owned(),
            outcome: row.text(2)?.to_owned(),
            reason: text(row, 3)?,
            study: text(row, 4)?,
            sop_instance: text(row, 5)?,
        })
    };
    rows.iter().map(file).collect()
}

/// Files by outcome.
pub async fn counts(db: &Db, upload: &str) -> Result<Vec<(String, u64)>, DbError> {
    let sql = "select outcome, count(*) from upload_file where upload = $1 group by outcome";
    let rows = db.read(Statement::named("upload_counts", sql).bind(upload)).await?;
    rows.iter().map(|row| Ok((row.text(0)?.to_owned(), row.int(1)?.unsigned_abs()))).collect()
}

/// Forms that an installation was receiving before its process began will never come to their end.
pub fn abort_own_forms(server: &str, begun: Timestamp, now: Timestamp) -> Batch {
    let statement = Statement::named(
        "abort_own_forms",
        "update upload set state = 'aborted', reason = 'the server stopped', updated_at = $1, finished_at = $1
         where kind = 'form' and state in ('receiving', 'storing') and created_at < $2
            and (server is null or server = $3)",
    );
    Batch::new().then(statement.bind(now).bind(begun).bind(server))
}

/// Nor will those of installations that were last heard of before `silent`.
pub fn abort_forms_of_the_dead(silent: Timestamp, now: Timestamp) -> Batch {
    let statement = Statement::named(
        "abort_forms_of_the_dead",
        "update upload set state = 'aborted', reason = 'the server stopped', updated_at = $1, finished_at = $1
         where kind = 'form' and state in ('receiving', 'storing') and created_at < $2 and server is not null
            and not exists (select 1 from heartbeat where heartbeat.server = upload.server and heartbeat.at >= $2)",
    );
    Batch::new().then(statement.bind(now).bind(silent))
}

/// A stretch of an upload among the objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    pub bytes: Range<u64>,
    pub key: BlobKey,
}

/// Fails on its key where somebody else has acknowledged a part that begins there.
pub fn insert_part(upload: &str, part: &Part) -> Statement {
    Statement::named(
        "insert_upload_part",
        "insert into upload_part (upload, start_at, length_bytes, blob_key) values ($1, $2, $3, $4)",
    )
    .bind(upload)
    .bind(signed(part.bytes.start))
    .bind(signed(part.bytes.end - part.bytes.start))
    .bind(part.key.as_str())
}

/// In their order.
pub async fn parts(db: &Db, upload: &str) -> Result<Vec<Part>, DbError> {
    let sql = "select start_at, length_bytes, blob_key from upload_part where upload = $1 order by start_at";
    let rows = db.read(Statement::named("upload_parts", sql).bind(upload)).await?;
    let part = |row: &Row| {
        let start = row.int(0)?.unsigned_abs();
        let bytes = start..start + row.int(1)?.unsigned_abs();
        Ok(Part { bytes, key: BlobKey::from_index(row.text(2)?) })
    };
    rows.iter().map(part).collect()
}

pub async fn count_parts(db: &Db, upload: &str) -> Result<u64, DbError> {
    let sql = "select count(*) from upload_part where upload = $1";
    let row = db.read_one(Statement::named("count_upload_parts", sql).bind(upload)).await?;
    row.map_or(Ok(0), |row| Ok(row.int(0)?.unsigned_abs()))
}

/// Its bytes are gone.
pub fn forget_part(key: &BlobKey) -> Statement {
    Statement::named("forget_upload_part", "delete from upload_part where blob_key = $1").bind(key.as_str())
}

/// The first upload behind another one whose bytes lie in pieces; none at the end.
pub async fn next_in_pieces(db: &Db, after: &str) -> Result<Option<String>, DbError> {
    let sql = "select min(upload) from upload_part where upload > $1";
    let row = db.read_one(Statement::named("next_upload_in_pieces", sql).bind(after)).await?;
    row.as_ref().map_or(Ok(None), |row| row.opt_text(0)).map(|id| id.map(str::to_owned))
}

/// Their bytes lie in files of the data folder; the sweep takes the pieces.
pub fn forget_all_parts() -> Statement {
    Statement::named("forget_upload_parts", "delete from upload_part")
}

pub(super) fn select_part(key: &BlobKey) -> Statement {
    let sql = "select 1 from upload_part where blob_key = $1 limit 1";
    Statement::named("is_upload_part", sql).bind(key.as_str())
}

/// Uploads that have come to their end and still have bytes, some at a time.
pub async fn left_behind(db: &Db) -> Result<Vec<String>, DbError> {
    let sql = "select distinct part.upload from upload_part part left join upload on upload.id = part.upload
         where upload.id is null or upload.finished_at is not null limit 100";
    let rows = db.read(Statement::named("uploads_left_behind", sql)).await?;
    rows.iter().map(|row| row.text(0).map(str::to_owned)).collect()
}

/// Resumable uploads whose rest never came; they are gone with this.
pub async fn expire(db: &Db, now: Timestamp) -> Result<Vec<String>, DbError> {
    let statement = Statement::named(
        "expire_uploads",
        "update upload set state = 'aborted', reason = 'its rest did not come in time', updated_at = $1,
            finished_at = $1, expires_at = null
         where state = 'receiving' and expires_at < $1 returning id",
    );
    let effects = db.run(Batch::new().then(statement.bind(now))).await?;
    let rows = effects.first().map(|effect| effect.rows.as_slice()).unwrap_or_default();
    rows.iter().map(|row| row.text(0).map(str::to_owned)).collect()
}

/// Lets go of what came to its end before `before`, with the names of its files.
pub fn forget(before: Timestamp) -> Batch {
    let files = Statement::named(
        "forget_upload_files",
        "delete from upload_file where upload in (select id from upload where finished_at < $1)",
    );
    let uploads = Statement::named("forget_uploads", "delete from upload where finished_at < $1");
    Batch::new().then(files.bind(before)).then(uploads.bind(before))
}
