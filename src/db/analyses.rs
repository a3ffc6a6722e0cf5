//! Analyses and what they lead to, write side: each edge one guarded update.

use super::{Batch, Db, DbError, Row, Statement, reports};
use crate::clock::Timestamp;
use crate::dicom::uid::StudyUid;

/// A decision about a study, kept with its reason.
pub struct Decision<'a> {
    pub verdict: &'static str,
    pub rule: &'a str,
    pub pipeline: Option<&'a str>,
    pub reason: &'a str,
}

pub fn decide(study: &StudyUid, decision: &Decision<'_>, now: Timestamp) -> Statement {
    Statement::named(
        "insert_decision",
        "insert into decision (study_uid, at, verdict, rule, pipeline, reason) values ($1, $2, $3, $4, $5, $6)",
    )
    .bind(study)
    .bind(now)
    .bind(decision.verdict)
    .bind(decision.rule)
    .bind(decision.pipeline)
    .bind(decision.reason)
}

pub struct NewAnalysis<'a> {
    pub id: &'a str,
    pub study: &'a StudyUid,
    pub pipeline: &'a str,
    pub content_sha256: &'a str,
    pub trigger: &'static str,
}

/// Fails on its unique key when this content was given to this pipeline before. An older analysis
/// that has not begun gives way; the newest of those that have is superseded.
pub fn insert(new: &NewAnalysis<'_>, now: Timestamp) -> Batch {
    let insert = Statement::named(
        "insert_analysis",
        "insert into analysis (id, study_uid, pipeline, content_sha256, state, trigger_kind, queued_at, supersedes)
         values ($1, $2, $3, $4, 'queued', $5, $6,
            (select old.id from analysis old where old.study_uid = $2 and old.pipeline = $3
                and old.deletion is null and old.state in ('running', 'done') order by old.queued_at desc, old.id desc limit 1))",
    )
    .bind(new.id)
    .bind(new.study)
    .bind(new.pipeline)
    .bind(new.content_sha256)
    .bind(new.trigger)
    .bind(now);
    let told = Statement::named(
        super::events::APPEND,
        "insert into event (at, kind, study_uid, subject)
         select $1, 'analysis-cancelled', study_uid, id from analysis
         where study_uid = $2 and pipeline = $3 and id <> $4 and state in ('queued', 'waiting')",
    )
    .bind(now)
    .bind(new.study)
    .bind(new.pipeline)
    .bind(new.id);
    let give_way = Statement::named(
        "give_way",
        "update analysis set state = 'cancelled', superseded_by = $1, finished_at = $2,
            reason = 'more of the study arrived before it began'
         where study_uid = $3 and pipeline = $4 and id <> $1 and state in ('queued', 'waiting')",
    )
    .bind(new.id)
    .bind(now)
    .bind(new.study)
    .bind(new.pipeline);
    Batch::new().then(insert).then(told).then(give_way)
}

/// An analysis as its job needs it.
#[derive(Debug, Clone)]
pub struct Pending {
    pub id: String,
    pub study: StudyUid,
    pub pipeline: String,
    pub content_sha256: String,
    pub state: String,
    pub supersedes: Option<String>,
    pub queued_at: Timestamp,
    pub started_at: Option<Timestamp>,
    /// Of an earlier attempt that got this far.
    pub answered: Option<Kept>,
}

/// An answer as it is kept.
#[derive(Debug, Clone)]
pub struct Kept {
    pub answer: String,
    pub words: Option<String>,
    /// JSON.
    pub provenance: Vec<u8>,
    pub at: Timestamp,
}

const PENDING: &str =
    "select id, study_uid, pipeline, content_sha256, state, supersedes, queued_at, started_at,
    answer, finished_at, provenance, words from analysis";

pub async fn pending(db: &Db, id: &str) -> Result<Option<Pending>, DbError> {
    let statement = Statement::named("pending_analysis", format!("{PENDING} where id = $1")).bind(id);
    db.read_one(statement).await?.as_ref().map(read_pending).transpose()
}

pub async fn with_content(
    db: &Db,
    study: &StudyUid,
    pipeline: &str,
    content_sha256: &str,
) -> Result<Option<Pending>, DbError> {
    let sql = format!("{PENDING} where study_uid = $1 and pipeline = $2 and content_sha256 = $3");
    let statement =
        Statement::named("analysis_with_content", sql).bind(study).bind(pipeline).bind(content_sha256);
    db.read_one(statement).await?.as_ref().map(read_pending).transpose()
}

/// What a finished analysis was answered to the same question, the latest of those since a time.
pub async fn answer_to(db: &Db, question_sha256: &str, since: Timestamp) -> Result<Option<Kept>, DbError> {
    let sql = format!(
        "{PENDING} where question_sha256 = $1 and finished_at >= $2 and state = 'done' and deletion is null
         order by finished_at desc limit 1"
    );
    let statement = Statement::named("answer_to_question", sql).bind(question_sha256).bind(since);
    let row = db.read_one(statement).await?;
    row.as_ref().map(read_kept).transpose().map(Option::flatten)
}

fn read_pending(row: &Row) -> Result<Pending, DbError> {
    Ok(Pending {
        id: row.text(0)?.to_owned(),
        study: row.parse(1, "a Study Instance UID")?,
        pipeline: row.text(2)?.to_owned(),
        content_sha256: row.text(3)?.to_owned(),
        state: row.text(4)?.to_owned(),
        supersedes: row.opt_text(5)?.map(str::to_owned),
        queued_at: Timestamp(row.int(6)?),
        started_at: row.opt_int(7)?.map(Timestamp),
        answered: read_kept(row)?,
    })
}

fn read_kept(row: &Row) -> Result<Option<Kept>, DbError> {
    let (answer, at, provenance) = (row.opt_text(8)?, row.opt_int(9)?, row.opt_bytes(10)?);
    let (Some(answer), Some(at), Some(provenance)) = (answer, at, provenance) else { return Ok(None) };
    Ok(Some(Kept {
        answer: answer.to_owned(),
        words: row.opt_text(11)?.map(str::to_owned),
        provenance: provenance.to_vec(),
        at: Timestamp(at),
    }))
}

/// queued, waiting or running → running; the first start is kept.
pub fn start(id: &str, now: Timestamp) -> Batch {
    let statement = Statement::named(
        "start_analysis",
        "update analysis set state = 'running', reason = null, started_at = coalesce(started_at, $1)
         where id = $2 and state in ('queued', 'waiting', 'running')",
    );
    Batch::new().then_exactly(1, statement.bind(now).bind(id))
}

/// queued or running → waiting, for something a person has to provide.
pub fn wait(id: &str, reason: &str) -> Batch {
    let statement = Statement::named(
        "wait_analysis",
        "update analysis set state = 'waiting', reason = $1 where id = $2 and state in ('queued', 'running', 'waiting')",
    );
    Batch::new().then_exactly(1, statement.bind(reason).bind(id))
}

pub fn fail(id: &str, reason: &str, now: Timestamp) -> Batch {
    let statement = Statement::named(
        "fail_analysis",
        "update analysis set state = 'failed', reason = $1,
            finished_at = case when answer is null then $2 else finished_at end
         where id = $3 and state in ('queued', 'running', 'waiting')",
    );
    Batch::new().then(statement.bind(reason).bind(now).bind(id))
}

/// failed, cancelled or waiting → queued, because somebody asked again or a model has come;
/// the batch fails when it is no longer in the state it was `seen` in. An answer that was kept stays, with
/// its time: objects made of it may have been stored.
pub fn requeue(id: &str, seen: &str) -> Batch {
    let statement = Statement::named(
        "requeue_analysis",
        "update analysis set state = 'queued', reason = null, superseded_by = null,
            finished_at = case when answer is null then null else finished_at end
         where id = $1 and state = $2 and deletion is null and state in ('failed', 'cancelled', 'waiting')",
    );
    Batch::new().then_exactly(1, statement.bind(id).bind(seen))
}

/// queued, waiting or running → cancelled, as long as the model has not answered: what has an
/// answer is being published.
pub fn cancel(id: &str, now: Timestamp) -> Batch {
    let statement = Statement::named(
        "cancel_analysis",
        "update analysis set state = 'cancelled', reason = 'cancelled by request',
            finished_at = case when answer is null then $1 else finished_at end
         where id = $2 and deletion is null
            and (state in ('queued', 'waiting') or (state = 'running' and answer is null))",
    );
    Batch::new().then_exactly(1, statement.bind(now).bind(id))
}

pub async fn waiting(db: &Db) -> Result<Vec<String>, DbError> {
    let statement = Statement::named(
        "waiting_analyses",
        "select id from analysis where state = 'waiting' order by queued_at",
    );
    db.read(statement).await?.iter().map(|row| row.text(0).map(str::to_owned)).collect()
}

pub fn note_progress(id: &str, progress: &str) -> Statement {
    let sql = "update analysis set reason = $1 where id = $2 and state = 'running'";
    Statement::named("note_progress", sql).bind(progress).bind(id)
}

/// What a model said about a study, and what it was asked.
pub struct NewAnswer<'a> {
    pub answer: &'a str,
    pub words: Option<&'a str>,
    /// JSON list.
    pub unused: Option<Vec<u8>>,
    /// JSON.
    pub provenance: Vec<u8>,
    /// JSON.
    pub inputs: Vec<u8>,
    /// What was asked of which model, where the answer follows from that alone.
    pub question_sha256: Option<&'a str>,
}

/// The model's answer, before anything is made of it: a rerun makes the same objects. From now on
/// it is settled which results these replace: the newest that came to an end.
pub fn keep_answer(id: &str, new: NewAnswer<'_>, now: Timestamp) -> Batch {
    let statement = Statement::named(
        "keep_answer",
        "update analysis set answer = $1, words = $2, unused_answers = $3, provenance = $4, inputs = $5, finished_at = $6,
            question_sha256 = $7,
            supersedes = (select old.id from analysis old where old.study_uid = analysis.study_uid
                and old.pipeline = analysis.pipeline and old.deletion is null and old.state = 'done' and old.queued_at < analysis.queued_at
                order by old.queued_at desc, old.id desc limit 1)
         where id = $8 and state = 'running' and answer is null",
    )
    .bind(new.answer)
    .bind(new.words.map(str::to_owned))
    .bind(new.unused)
    .bind(new.provenance)
    .bind(new.inputs)
    .bind(now)
    .bind(new.question_sha256.map(str::to_owned));
    Batch::new().then_exactly(1, statement.bind(id))
}

pub struct FindingRow {
    pub finding: String,
    pub location: String,
    pub laterality: String,
    pub certainty: String,
    pub severity: Option<String>,
    pub code: Option<String>,
    pub sop_instance: Option<String>,
    pub frame: Option<u32>,
    pub region: Option<String>,
    pub remarks: Option<String>,
    pub measurements: Vec<MeasurementRow>,
}

pub struct MeasurementRow {
    pub name: String,
    pub value: f64,
    pub unit: String,
    pub method: String,
    /// Of what was taken on a region.
    pub spacing: Option<String>,
}

pub struct ReportRow {
    pub narrative: Vec<u8>,
    /// Of the first version, JSON.
    pub content: Vec<u8>,
    /// Patient, study and model as later documents name them, JSON.
    pub basis: Vec<u8>,
    pub objects: reports::Objects,
}

pub struct VolumeRow {
    pub series_uid: String,
    pub description: Vec<u8>,
}

/// Everything that a finished analysis leaves behind.
pub struct Results<'a> {
    pub analysis: &'a Pending,
    pub impression: &'a str,
    pub findings: Vec<FindingRow>,
    pub report: ReportRow,
    pub volume: Option<VolumeRow>,
}

/// running → done, with findings, report and volume, and the mark on every analysis it replaces.
pub fn complete(results: &Results<'_>, now: Timestamp) -> Batch {
    let analysis = results.analysis;
    let done = Statement::named(
        "complete_analysis",
        "update analysis set state = 'done', reason = null, impression = $1 where id = $2 and state = 'running'",
    );
    let mut batch = Batch::new().then_exactly(1, done.bind(results.impression).bind(analysis.id.as_str()));
    for (ordinal, finding) in results.findings.iter().enumerate() {
        push_finding(&mut batch, &analysis.id, ordinal, finding);
    }
    batch.append(insert_report(analysis, &results.report, now));
    if let Some(volume) = &results.volume {
        batch.push(insert_volume(analysis, volume, now));
    }
    batch.push(supersede(analysis));
    for (kind, subject) in [("analysis-done", &analysis.id), ("report-created", &analysis.id)] {
        batch.push(
            Statement::named(
                "insert_result_change",
                "insert into change (at, kind, study_uid, subject) values ($1, $2, $3, $4)",
            )
            .bind(now)
            .bind(kind)
            .bind(&analysis.study)
            .bind(subject.as_str()),
        );
    }
    batch
}

fn supersede(analysis: &Pending) -> Statement {
    Statement::named(
        "supersede_analyses",
        "update analysis set superseded_by = $1 where study_uid = $2 and pipeline = $3 and queued_at < $4
            and deletion is null and state in ('running', 'done') and superseded_by is null",
    )
    .bind(analysis.id.as_str())
    .bind(&analysis.study)
    .bind(analysis.pipeline.as_str())
    .bind(analysis.queued_at)
}

fn push_finding(batch: &mut Batch, analysis: &str, ordinal: usize, finding: &FindingRow) {
    let id = format!("{analysis}.{}", ordinal + 1);
    batch.push(
        Statement::named(
            "insert_finding",
            "insert into finding (id, analysis, ordinal, finding, location, laterality, certainty, severity, code,
                sop_instance_uid, frame, region, remarks)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
        )
        .bind(id.as_str())
        .bind(analysis)
        .bind(ordinal as i64)
        .bind(finding.finding.as_str())
        .bind(finding.location.as_str())
        .bind(finding.laterality.as_str())
        .bind(finding.certainty.as_str())
        .bind(finding.severity.clone())
        .bind(finding.code.clone())
        .bind(finding.sop_instance.clone())
        .bind(finding.frame)
        .bind(finding.region.clone())
        .bind(finding.remarks.clone()),
    );
    for (number, measurement) in finding.measurements.iter().enumerate() {
        batch.push(
            Statement::named(
                "insert_measurement",
                "insert into measurement (id, analysis, finding, name, value, unit, method, spacing)
                 values ($1, $2, $3, $4, $5, $6, $7, $8)",
            )
            .bind(format!("{id}.{}", number + 1))
            .bind(analysis)
            .bind(id.as_str())
            .bind(measurement.name.as_str())
            .bind(measurement.value)
            .bind(measurement.unit.as_str())
            .bind(measurement.method.as_str())
            .bind(measurement.spacing.clone()),
        );
    }
}

/// One report per analysis, so they share an id.
fn insert_report(analysis: &Pending, report: &ReportRow, now: Timestamp) -> Batch {
    let insert = Statement::named(
        "insert_report",
        "insert into report (id, study_uid, analysis, status, version, versions, revision, narrative, basis,
            series_uid_sr, sr_instance_uid, series_uid_pdf, pdf_instance_uid, created_at, updated_at)
         values ($1, $2, $1, 'draft', 1, 1, 1, $3, $4, $5, $6, $7, $8, $9, $9)",
    )
    .bind(analysis.id.as_str())
    .bind(&analysis.study)
    .bind(report.narrative.clone())
    .bind(report.basis.clone())
    .bind(report.objects.series_uid_sr.as_str())
    .bind(report.objects.sr_instance_uid.as_str())
    .bind(report.objects.series_uid_pdf.as_str())
    .bind(report.objects.pdf_instance_uid.as_str())
    .bind(now);
    let first = reports::NewVersion {
        report: &analysis.id,
        number: 1,
        status: "draft",
        act: "draft",
        content: report.content.clone(),
        author: "system",
        author_name: "",
        reason: None,
        follows: None,
        signature: None,
        objects: Some(&report.objects),
        published_at: Some(now),
    };
    let mut batch = Batch::new().then(insert).then(reports::insert_version(&first, now));
    batch.append(reports::outgrow(analysis, now));
    batch
}

fn insert_volume(analysis: &Pending, volume: &VolumeRow, now: Timestamp) -> Statement {
    Statement::named(
        "insert_volume",
        "insert into volume (id, study_uid, series_uid, analysis, description, created_at)
         values ($1, $2, $3, $4, $5, $6)",
    )
    .bind(crate::ids::row_id())
    .bind(&analysis.study)
    .bind(volume.series_uid.as_str())
    .bind(analysis.id.as_str())
    .bind(volume.description.clone())
    .bind(now)
}

/// The SR of an analysis that is being replaced: series and instance.
pub async fn predecessor(db: &Db, analysis: &str) -> Result<Option<(String, String)>, DbError> {
    let statement = Statement::named(
        "predecessor_report",
        "select series_uid_sr, sr_instance_uid from report where analysis = $1",
    );
    let row = db.read_one(statement.bind(analysis)).await?;
    row.map(|row| Ok((row.text(0)?.to_owned(), row.text(1)?.to_owned()))).transpose()
}
