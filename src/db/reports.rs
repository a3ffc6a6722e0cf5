//! Reports and their versions. Every change is one guarded update of the report, by its revision,
//! and one new row of its versions: of two editors one finds that the other was first.

use super::events::{self, Event, EventKind};
use super::{Batch, Db, DbError, Row, Statement, page};
use crate::auth::Reach;
use crate::clock::Timestamp;
use crate::dicom::uid::StudyUid;

/// A report as it stands.
#[derive(Debug, Clone)]
pub struct Head {
    pub id: String,
    pub study: StudyUid,
    pub analysis: Option<String>,
    pub status: String,
    /// In force; the highest number given may lie beyond.
    pub version: i64,
    pub versions: i64,
    /// Counts every change.
    pub revision: i64,
    /// JSON.
    pub narrative: Vec<u8>,
    /// JSON; `None` in rows of earlier servers.
    pub basis: Option<Vec<u8>>,
    /// Of the newest documents.
    pub objects: Option<Objects>,
    pub newer_draft: Option<String>,
    pub superseded_by: Option<String>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// The UIDs of the documents of a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Objects {
    pub series_uid_sr: String,
    pub sr_instance_uid: String,
    pub series_uid_pdf: String,
    pub pdf_instance_uid: String,
}

#[derive(Debug, Clone)]
pub struct Signature {
    /// As documents name him.
    pub signer_name: String,
    pub organization: String,
    pub proof: String,
}

#[derive(Debug, Clone)]
pub struct Version {
    pub number: i64,
    pub status: String,
    pub act: String,
    /// JSON.
    pub content: Vec<u8>,
    pub author: String,
    pub author_name: String,
    pub at: Timestamp,
    pub reason: Option<String>,
    pub follows: Option<i64>,
    pub signature: Option<Signature>,
    pub objects: Option<Objects>,
    pub published_at: Option<Timestamp>,
    pub publish_error: Option<String>,
    pub superseded_by: Option<i64>,
}

/// Reports of deleted studies are in no list; what only a model wrote goes with its analysis.
const HEAD: &str =
    "select report.id, report.study_uid, report.analysis, report.status, report.version, report.versions,
        report.revision, report.narrative, report.basis, report.series_uid_sr, report.sr_instance_uid,
        report.series_uid_pdf, report.pdf_instance_uid, report.newer_draft, report.superseded_by,
        report.created_at, report.updated_at
     from report left join analysis on analysis.id = report.analysis
     where exists (select 1 from study where study.study_uid = report.study_uid)
        and (analysis.deletion is null or report.versions > 1)";

pub async fn head(db: &Db, id: &str) -> Result<Option<Head>, DbError> {
    let statement = Statement::named("report_head", format!("{HEAD} and report.id = $1")).bind(id);
    db.read_one(statement).await?.as_ref().map(read_head).transpose()
}

fn read_head(row: &Row) -> Result<Head, DbError> {
    let optional = |column| Ok::<_, DbError>(row.opt_text(column)?.map(str::to_owned));
    Ok(Head {
        id: row.text(0)?.to_owned(),
        study: row.parse(1, "a Study Instance UID")?,
        analysis: optional(2)?,
        status: row.text(3)?.to_owned(),
        version: row.int(4)?,
        versions: row.int(5)?,
        revision: row.int(6)?,
        narrative: row.bytes(7)?.to_vec(),
        basis: row.opt_bytes(8)?.map(<[u8]>::to_vec),
        objects: objects(row, 9)?.filter(|objects| !objects.sr_instance_uid.is_empty()),
        newer_draft: optional(13)?,
        superseded_by: optional(14)?,
        created_at: Timestamp(row.int(15)?),
        updated_at: Timestamp(row.int(16)?),
    })
}

/// Four columns from `first` on.
fn objects(row: &Row, first: usize) -> Result<Option<Objects>, DbError> {
    if row.opt_text(first)?.is_none() {
        return Ok(None);
    }
    Ok(Some(Objects {
        series_uid_sr: row.text(first)?.to_owned(),
        sr_instance_uid: row.text(first + 1)?.to_owned(),
        series_uid_pdf: row.text(first + 2)?.to_owned(),
        pdf_instance_uid: row.text(first + 3)?.to_owned(),
    }))
}

const VERSION: &str =
    "select version, status, act, content, author, author_name, at, reason, follows, signer_name,
        organization, proof, series_uid_sr, sr_instance_uid, series_uid_pdf, pdf_instance_uid, published_at,
        publish_error, superseded_by
     from report_version where report = $1";

/// As [`VERSION`], without what it says.
const LISTED: page::List = page::List {
    names: ["list_report_versions", "count_report_versions"],
    columns: "version, status, act, null, author, author_name, at, reason, follows, signer_name, organization, proof,
        series_uid_sr, sr_instance_uid, series_uid_pdf, pdf_instance_uid, published_at, publish_error, superseded_by",
    from: "report_version",
    counted_from: "report_version",
};

/// Every version with an empty content.
pub async fn list(
    db: &Db,
    reach: &Reach,
    report: &str,
    page: &page::Page,
) -> Result<page::Found<Version>, DbError> {
    let mut conditions = page::Conditions::default();
    conditions.and_value("report = {}", report);
    if !reach.has_drafts() {
        conditions.and("signer_name is not null");
    }
    page::read(db, &LISTED, conditions, page, read_version).await
}

/// Oldest first, behind `after`.
pub async fn versions(db: &Db, report: &str, after: i64, limit: u32) -> Result<Vec<Version>, DbError> {
    let sql = format!("{VERSION} and version > $2 order by version limit $3");
    let statement = Statement::named("report_versions", sql).bind(report).bind(after).bind(i64::from(limit));
    db.read(statement).await?.iter().map(read_version).collect()
}

pub async fn version(db: &Db, report: &str, number: i64) -> Result<Option<Version>, DbError> {
    let sql = format!("{VERSION} and version = $2");
    let statement = Statement::named("report_version", sql).bind(report).bind(number);
    db.read_one(statement).await?.as_ref().map(read_version).transpose()
}

/// Those with documents, oldest first: the draft of a model and what was signed.
pub async fn documents(db: &Db, report: &str) -> Result<Vec<Version>, DbError> {
    let sql = format!("{VERSION} and sr_instance_uid is not null order by version");
    let statement = Statement::named("report_documents", sql).bind(report);
    db.read(statement).await?.iter().map(read_version).collect()
}

fn read_version(row: &Row) -> Result<Version, DbError> {
    let optional = |column| Ok::<_, DbError>(row.opt_text(column)?.map(str::to_owned));
    let signature = match row.opt_text(9)? {
        None => None,
        Some(name) => Some(Signature {
            signer_name: name.to_owned(),
            organization: row.text(10)?.to_owned(),
            proof: row.text(11)?.to_owned(),
        }),
    };
    Ok(Version {
        number: row.int(0)?,
        status: row.text(1)?.to_owned(),
        act: row.text(2)?.to_owned(),
        content: row.opt_bytes(3)?.unwrap_or_default().to_vec(),
        author: row.text(4)?.to_owned(),
        author_name: row.text(5)?.to_owned(),
        at: Timestamp(row.int(6)?),
        reason: optional(7)?,
        follows: row.opt_int(8)?,
        signature,
        objects: objects(row, 12)?,
        published_at: row.opt_int(16)?.map(Timestamp),
        publish_error: optional(17)?,
        superseded_by: row.opt_int(18)?,
    })
}

/// A version to be added.
pub struct NewVersion<'a> {
    pub report: &'a str,
    pub number: i64,
    pub status: &'static str,
    pub act: &'static str,
    pub content: Vec<u8>,
    pub author: &'a str,
    pub author_name: &'a str,
    pub reason: Option<&'a str>,
    pub follows: Option<i64>,
    pub signature: Option<&'a Signature>,
    pub objects: Option<&'a Objects>,
    pub published_at: Option<Timestamp>,
}

pub fn insert_version(new: &NewVersion<'_>, now: Timestamp) -> Statement {
    let statement = Statement::named(
        "insert_report_version",
        "insert into report_version (report, version, status, act, content, author, author_name, at, reason, follows,
            signer_name, organization, proof, series_uid_sr, sr_instance_uid, series_uid_pdf, pdf_instance_uid,
            published_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)",
    )
    .bind(new.report)
    .bind(new.number)
    .bind(new.status)
    .bind(new.act)
    .bind(new.content.clone())
    .bind(new.author)
    .bind(new.author_name)
    .bind(now)
    .bind(new.reason)
    .bind(new.follows);
    let signature = |part: fn(&Signature) -> &str| new.signature.map(part);
    let objects = |part: fn(&Objects) -> &str| new.objects.map(part);
    statement
        .bind(signature(|s| &s.signer_name))
        .bind(signature(|s| &s.organization))
        .bind(signature(|s| &s.proof))
        .bind(objects(|o| &o.series_uid_sr))
        .bind(objects(|o| &o.sr_instance_uid))
        .bind(objects(|o| &o.series_uid_pdf))
        .bind(objects(|o| &o.pdf_instance_uid))
        .bind(new.published_at)
}

/// A report that a person begins, with its first version.
pub struct Begun<'a> {
    pub study: &'a StudyUid,
    pub narrative: Vec<u8>,
    pub basis: Vec<u8>,
    pub first: NewVersion<'a>,
}

/// The name of the guard that fails when there is no such study.
pub const INSERT_BEGUN: &str = "insert_begun_report";

pub fn begin(begun: &Begun<'_>, now: Timestamp) -> Batch {
    let insert = Statement::named(
        INSERT_BEGUN,
        "insert into report (id, study_uid, status, version, versions, revision, narrative, basis, series_uid_sr,
            sr_instance_uid, series_uid_pdf, pdf_instance_uid, created_at, updated_at)
         select $1, study.study_uid, $2, 1, 1, 1, $3, $4, '', '', '', '', $5, $5 from study where study.study_uid = $6",
    )
    .bind(begun.first.report)
    .bind(begun.first.status)
    .bind(begun.narrative.clone())
    .bind(begun.basis.clone())
    .bind(now)
    .bind(begun.study);
    Batch::new()
        .then_exactly(1, insert)
        .then(insert_version(&begun.first, now))
        .then(change("report-created", begun.study, begun.first.report, now))
        .then(events::append(&Event::about(EventKind::ReportDrafted, begun.study, begun.first.report), now))
}

/// From one revision to the next.
pub struct Advance<'a> {
    pub study: &'a StudyUid,
    /// The revision that the change was made on.
    pub revision: i64,
    pub narrative: Vec<u8>,
    pub version: NewVersion<'a>,
}

/// The name of the guard that fails when somebody else was first.
pub const ADVANCE: &str = "advance_report";

pub fn advance(advance: &Advance<'_>, now: Timestamp) -> Batch {
    let update = Statement::named(
        ADVANCE,
        "update report set status = $1, version = $2, versions = $2, revision = revision + 1, narrative = $3,
            updated_at = $4
         where id = $5 and revision = $6
            and exists (select 1 from study where study.study_uid = report.study_uid)",
    )
    .bind(advance.version.status)
    .bind(advance.version.number)
    .bind(advance.narrative.clone())
    .bind(now)
    .bind(advance.version.report)
    .bind(advance.revision);
    let (kind, told) = match advance.version.signature {
        Some(_) => ("report-signed", EventKind::ReportSigned),
        None => ("report-edited", EventKind::ReportEdited),
    };
    Batch::new()
        .then_exactly(1, update)
        .then(insert_version(&advance.version, now))
        .then(change(kind, advance.study, advance.version.report, now))
        .then(events::append(&Event::about(told, advance.study, advance.version.report), now))
}

/// Back to a signed version: what came behind it stays on record and out of force.
pub struct Return<'a> {
    pub study: &'a StudyUid,
    pub report: &'a str,
    pub revision: i64,
    pub status: &'static str,
    pub version: i64,
    pub narrative: Vec<u8>,
}

pub fn go_back(back: &Return<'_>, now: Timestamp) -> Batch {
    let update = Statement::named(
        ADVANCE,
        "update report set status = $1, version = $2, revision = revision + 1, narrative = $3, updated_at = $4
         where id = $5 and revision = $6",
    )
    .bind(back.status)
    .bind(back.version)
    .bind(back.narrative.clone())
    .bind(now)
    .bind(back.report)
    .bind(back.revision);
    Batch::new()
        .then_exactly(1, update)
        .then(change("report-edited", back.study, back.report, now))
        .then(events::append(&Event::about(EventKind::ReportEdited, back.study, back.report), now))
}

fn change(kind: &'static str, study: &StudyUid, report: &str, now: Timestamp) -> Statement {
    Statement::named(
        "insert_report_change",
        "insert into change (at, kind, study_uid, subject) values ($1, $2, $3, $4)",
    )
    .bind(now)
    .bind(kind)
    .bind(study)
    .bind(report)
}

/// The name of the guard that fails when another worker was first.
pub const PUBLISHED: &str = "publish_report_version";

/// Both documents are in the study: they are the newest of the report, and those before are
/// superseded.
pub fn published(study: &StudyUid, report: &str, version: i64, objects: &Objects, now: Timestamp) -> Batch {
    let done = Statement::named(
        PUBLISHED,
        "update report_version set published_at = $1, publish_error = null
         where report = $2 and version = $3 and published_at is null",
    );
    let newest = Statement::named(
        "newest_documents",
        "update report set series_uid_sr = $1, sr_instance_uid = $2, series_uid_pdf = $3, pdf_instance_uid = $4
         where id = $5 and not exists (select 1 from report_version later where later.report = report.id
            and later.version > $6 and later.published_at is not null)",
    )
    .bind(objects.series_uid_sr.as_str())
    .bind(objects.sr_instance_uid.as_str())
    .bind(objects.series_uid_pdf.as_str())
    .bind(objects.pdf_instance_uid.as_str())
    .bind(report)
    .bind(version);
    Batch::new()
        .then_exactly(1, done.bind(now).bind(report).bind(version))
        .then(newest)
        .then(supersede_versions(report, version))
        .then(change("report-published", study, report, now))
}

/// With its documents in the study a signed version takes the place of those before.
fn supersede_versions(report: &str, version: i64) -> Statement {
    Statement::named(
        "supersede_report_versions",
        "update report_version set superseded_by = $1
         where report = $2 and version < $1 and sr_instance_uid is not null and superseded_by is null",
    )
    .bind(version)
    .bind(report)
}

pub fn publish_failed(report: &str, version: i64, reason: &str) -> Statement {
    Statement::named(
        "note_publish_error",
        "update report_version set publish_error = $1 where report = $2 and version = $3 and published_at is null",
    )
    .bind(reason)
    .bind(report)
    .bind(version)
}

/// Signed, and not yet in the study: report and version.
pub async fn unpublished(db: &Db) -> Result<Vec<(String, i64)>, DbError> {
    let statement = Statement::named(
        "unpublished_reports",
        "select report, version from report_version where published_at is null and signer_name is not null
         order by report, version",
    );
    let pair = |row: &Row| Ok((row.text(0)?.to_owned(), row.int(1)?));
    db.read(statement).await?.iter().map(pair).collect()
}

/// A new draft of a model takes the place of drafts that nobody touched. What a person has edited
/// or signed stays as it is, and says that there is a newer draft.
pub(super) fn outgrow(new: &super::analyses::Pending, now: Timestamp) -> Batch {
    const OLDER: &str = "id <> $2 and study_uid = $3 and superseded_by is null and analysis in
            (select old.id from analysis old where old.study_uid = $3 and old.pipeline = $4 and old.deletion is null
                and old.queued_at < $5)";
    let told = Statement::named(
        "tell_outgrown",
        format!(
            "insert into change (at, kind, study_uid, subject)
             select $1, case status when 'draft' then 'report-superseded' else 'report-outgrown' end, study_uid, id
             from report where {OLDER}"
        ),
    );
    let superseded = Statement::named(
        "supersede_drafts",
        format!(
            "update report set status = 'superseded', updated_at = $1, superseded_by = $2, revision = revision + 1\n             where {OLDER} and status = 'draft'"
        ),
    );
    let outgrown = Statement::named(
        "outgrow_reports",
        format!(
            "update report set updated_at = $1, newer_draft = $2, revision = revision + 1\n             where {OLDER} and status not in ('draft', 'superseded')"
        ),
    );
    let bound = |statement: Statement| {
        let statement = statement.bind(now).bind(new.id.as_str()).bind(&new.study);
        statement.bind(new.pipeline.as_str()).bind(new.queued_at)
    };
    Batch::new().then(bound(told)).then(bound(superseded)).then(bound(outgrown))
}
