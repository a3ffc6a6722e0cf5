//! Uploads and what became of their files.

use super::{Batch, Db, DbError, Row, Statement};
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
}

/// Fails on its unique key when there is an upload of that id.
pub fn insert(new: &New<'_>, now: Timestamp) -> Statement {
    Statement::named(
        "insert_upload",
        "insert into upload (id, owner, reach, kind, state, name, metadata, bytes_total, bytes_received, created_at,
            updated_at, expires_at)
         values ($1, $2, $3, $4, 'receiving', $5, $6, $7, 0, $8, $8, $9)",
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
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

const UPLOAD: &str =
    "select id, owner, kind, state, name, metadata, bytes_total, bytes_received, reason, created_at,
    updated_at, expires_at, finished_at, reach from upload";

pub async fn one(db: &Db, id: &str) -> Result<Option<Upload>, DbError> {
    let statement = Statement::named("upload", format!("{UPLOAD} where id = $1")).bind(id);
    db.look_up_one(statement).await?.as_ref().map(upload).transpose()
}

/// Newest first.
pub async fn of_owner(db: &Db, owner: &str, limit: u32) -> Result<Vec<Upload>, DbError> {
    let sql = format!("{UPLOAD} where owner = $1 order by created_at desc, id desc limit $2");
    let statement = Statement::named("uploads_of_owner", sql).bind(owner).bind(i64::from(limit));
    db.read(statement).await?.iter().map(upload).collect()
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

/// So many bytes are durable; the upload lives on until `expires_at`.
pub fn received(id: &str, bytes: u64, expires_at: Option<Timestamp>, now: Timestamp) -> Batch {
    let statement = Statement::named(
        "upload_received",
        "update upload set bytes_received = $1, updated_at = $2, expires_at = $3
         where id = $4 and state = 'receiving'",
    );
    Batch::new().then_exactly(1, statement.bind(signed(bytes)).bind(now).bind(expires_at).bind(id))
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

/// Forms that were being received when the process died will never come to their end.
pub fn abort_forms(now: Timestamp) -> Batch {
    Batch::new().then(
        Statement::named(
            "abort_forms",
            "update upload set state = 'aborted', reason = 'the server stopped', updated_at = $1, finished_at = $1
             where kind = 'form' and state in ('receiving', 'storing')",
        )
        .bind(now),
    )
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
