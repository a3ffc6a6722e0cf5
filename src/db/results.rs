//! Results for people: analyses, findings, measurements, reports and decisions, read only.

use crate::auth::Reach;
use crate::clock::Timestamp;
use crate::db::page::{self, Conditions, Found, List, Page};
use crate::db::worklist::OfStudy;
use crate::db::{Db, DbError, Row, Statement, groups};
use crate::dicom::uid::StudyUid;

/// A study with the state of its newest analysis.
#[derive(Debug)]
pub struct StudySummary {
    pub study: StudyUid,
    pub study_date: String,
    pub description: String,
    pub accession_number: String,
    pub patient_id: String,
    pub patient_name: String,
    pub series_count: i64,
    pub instance_count: i64,
    pub last_instance_at: Timestamp,
    pub analysis_state: Option<String>,
    pub analysis_reason: Option<String>,
    pub report: Option<String>,
}

#[derive(Debug)]
pub struct SeriesSummary {
    pub series_uid: String,
    pub modality: String,
    pub series_number: Option<i64>,
    pub description: String,
    pub instance_count: i64,
}

#[derive(Debug)]
pub struct Decision {
    pub at: Timestamp,
    pub verdict: String,
    pub rule: String,
    pub pipeline: Option<String>,
    pub reason: String,
}

#[derive(Debug)]
pub struct Analysis {
    pub id: String,
    pub study: StudyUid,
    pub pipeline: String,
    pub state: String,
    pub reason: Option<String>,
    pub trigger: String,
    pub supersedes: Option<String>,
    pub superseded_by: Option<String>,
    /// JSON.
    pub provenance: Option<Vec<u8>>,
    pub impression: Option<String>,
    pub queued_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    pub report: Option<String>,
}

#[derive(Debug)]
pub struct Finding {
    pub id: String,
    pub finding: String,
    pub location: String,
    pub laterality: String,
    pub certainty: String,
    pub severity: Option<String>,
    /// `scheme|value|meaning`.
    pub code: Option<String>,
    pub sop_instance_uid: Option<String>,
    pub frame: Option<i64>,
    /// JSON `{x0,y0,x1,y1}` in pixels of the frame.
    pub region: Option<String>,
    /// JSON list of sentences.
    pub remarks: Option<String>,
}

#[derive(Debug)]
pub struct Measurement {
    pub finding: String,
    pub name: String,
    pub value: f64,
    /// UCUM.
    pub unit: String,
    /// `model-estimate`, `region-size` or `region-values`.
    pub method: String,
    /// What a length or area taken on a region rests on.
    pub spacing: Option<String>,
}

#[derive(Debug)]
pub struct Report {
    pub id: String,
    pub study: StudyUid,
    /// `None` for a report that a person began.
    pub analysis: Option<String>,
    pub status: String,
    pub version: i64,
    /// JSON.
    pub narrative: Vec<u8>,
    pub series_uid_sr: String,
    pub sr_instance_uid: String,
    pub series_uid_pdf: String,
    pub pdf_instance_uid: String,
    pub created_at: Timestamp,
}

const STUDY_FROM: &str = "study join patient on patient.id = study.patient";

pub async fn study(db: &Db, study: &StudyUid) -> Result<Option<StudySummary>, DbError> {
    let statement = Statement::named(
        "study",
        format!("select {STUDY_COLUMNS} from {STUDY_FROM} where study.study_uid = $1"),
    )
    .bind(study);
    db.read_one(statement).await?.as_ref().map(study_summary).transpose()
}

const STUDY_COLUMNS: &str = "study.study_uid, study.study_date, study.description, study.accession_number, \
     patient.patient_id, patient.name, study.series_count, study.instance_count, study.last_instance_at, \
     (select analysis.state from analysis where analysis.study_uid = study.study_uid and analysis.deletion is null \
      order by analysis.queued_at desc limit 1), \
     (select analysis.reason from analysis where analysis.study_uid = study.study_uid and analysis.deletion is null \
      order by analysis.queued_at desc limit 1), \
     (select report.id from report join analysis on analysis.id = report.analysis \
      where report.study_uid = study.study_uid and analysis.deletion is null \
      order by report.created_at desc limit 1)";

fn study_summary(row: &Row) -> Result<StudySummary, DbError> {
    Ok(StudySummary {
        study: row.parse(0, "a Study Instance UID")?,
        study_date: row.text(1)?.to_owned(),
        description: row.text(2)?.to_owned(),
        accession_number: row.text(3)?.to_owned(),
        patient_id: row.text(4)?.to_owned(),
        patient_name: row.text(5)?.to_owned(),
        series_count: row.int(6)?,
        instance_count: row.int(7)?,
        last_instance_at: Timestamp(row.int(8)?),
        analysis_state: optional(row, 9)?,
        analysis_reason: optional(row, 10)?,
        report: optional(row, 11)?,
    })
}

fn optional(row: &Row, column: usize) -> Result<Option<String>, DbError> {
    Ok(row.opt_text(column)?.map(str::to_owned))
}

pub async fn series(db: &Db, reach: &Reach, study: &StudyUid) -> Result<Vec<SeriesSummary>, DbError> {
    const SQL: &str = "select series.series_uid, series.modality, series.series_number, series.description, \
                       series.instance_count from series join study on study.id = series.study \
                       where study.study_uid = $1";
    let released = groups::released(reach, "series.series_uid");
    let released = released.map(|released| format!(" and {released}")).unwrap_or_default();
    let sql = format!("{SQL}{released} order by series.series_number, series.id");
    let rows = db.read(Statement::named("study_series", sql).bind(study)).await?;
    let summary = |row: &Row| {
        Ok(SeriesSummary {
            series_uid: row.text(0)?.to_owned(),
            modality: row.text(1)?.to_owned(),
            series_number: row.opt_int(2)?,
            description: row.text(3)?.to_owned(),
            instance_count: row.int(4)?,
        })
    };
    rows.iter().map(summary).collect()
}

/// Oldest first.
pub async fn decisions(db: &Db, study: &StudyUid) -> Result<Vec<Decision>, DbError> {
    const SQL: &str =
        "select at, verdict, rule, pipeline, reason from decision where study_uid = $1 order by id";
    let rows = db.read(Statement::named("study_decisions", SQL).bind(study)).await?;
    let decision = |row: &Row| {
        Ok(Decision {
            at: Timestamp(row.int(0)?),
            verdict: row.text(1)?.to_owned(),
            rule: row.text(2)?.to_owned(),
            pipeline: optional(row, 3)?,
            reason: row.text(4)?.to_owned(),
        })
    };
    rows.iter().map(decision).collect()
}

/// Which analyses are listed; each that is given narrows.
#[derive(Debug, Default)]
pub struct AnalysisFilter {
    pub study: Option<StudyUid>,
    pub state: Option<String>,
    pub pipeline: Option<String>,
    pub of_study: OfStudy,
}

const ANALYSES: List<'_> = List {
    names: ["analyses", "count_analyses"],
    columns: ANALYSIS_COLUMNS,
    from: ANALYSIS_FROM,
    counted_from: "analysis",
};

const ANALYSIS_COLUMNS: &str = "analysis.id, analysis.study_uid, analysis.pipeline, analysis.state, analysis.reason, \
     analysis.trigger_kind, analysis.supersedes, analysis.superseded_by, analysis.provenance, analysis.impression, \
     analysis.queued_at, analysis.started_at, analysis.finished_at, report.id";
const ANALYSIS_FROM: &str = "analysis left join report on report.analysis = analysis.id";

pub async fn analyses(
    db: &Db,
    reach: &Reach,
    filter: AnalysisFilter,
    page: &Page,
) -> Result<Found<Analysis>, DbError> {
    let mut conditions = Conditions::default();
    conditions.and_reach(reach, "analysis.study_uid");
    conditions.and("analysis.deletion is null");
    filter.study.iter().for_each(|study| conditions.and_value("analysis.study_uid = {}", study));
    filter.state.into_iter().for_each(|state| conditions.and_value("analysis.state = {}", state));
    filter.pipeline.into_iter().for_each(|name| conditions.and_value("analysis.pipeline = {}", name));
    filter.of_study.condition(&mut conditions, "analysis.study_uid");
    page::read(db, &ANALYSES, conditions, page, analysis_row).await
}

/// Newest first.
pub async fn analyses_of(db: &Db, study: &StudyUid) -> Result<Vec<Analysis>, DbError> {
    let sql = format!(
        "select {ANALYSIS_COLUMNS} from {ANALYSIS_FROM} where analysis.deletion is null and analysis.study_uid = $1 \
         order by analysis.queued_at desc, analysis.id desc"
    );
    let rows = db.read(Statement::named("study_analyses", sql).bind(study)).await?;
    rows.iter().map(analysis_row).collect()
}

pub async fn analysis(db: &Db, id: &str) -> Result<Option<Analysis>, DbError> {
    let sql = format!(
        "select {ANALYSIS_COLUMNS} from {ANALYSIS_FROM} where analysis.deletion is null and analysis.id = $1"
    );
    let statement = Statement::named("analysis", sql).bind(id);
    db.read_one(statement).await?.as_ref().map(analysis_row).transpose()
}

/// What the model wrote beside the findings, verbatim.
#[derive(Debug, Default)]
pub struct Said {
    pub words: Option<String>,
    /// JSON list.
    pub unused_answers: Option<Vec<u8>>,
}

pub async fn said(db: &Db, analysis: &str) -> Result<Said, DbError> {
    const SQL: &str = "select words, unused_answers from analysis where id = $1";
    let row = db.read_one(Statement::named("said_by_model", SQL).bind(analysis)).await?;
    let read = |row: &Row| {
        let unused_answers = row.opt_bytes(1)?.map(<[u8]>::to_vec);
        Ok(Said { words: optional(row, 0)?, unused_answers })
    };
    row.as_ref().map(read).transpose().map(Option::unwrap_or_default)
}

fn analysis_row(row: &Row) -> Result<Analysis, DbError> {
    Ok(Analysis {
        id: row.text(0)?.to_owned(),
        study: row.parse(1, "a Study Instance UID")?,
        pipeline: row.text(2)?.to_owned(),
        state: row.text(3)?.to_owned(),
        reason: optional(row, 4)?,
        trigger: row.text(5)?.to_owned(),
        supersedes: optional(row, 6)?,
        superseded_by: optional(row, 7)?,
        provenance: row.opt_bytes(8)?.map(<[u8]>::to_vec),
        impression: optional(row, 9)?,
        queued_at: Timestamp(row.int(10)?),
        started_at: row.opt_int(11)?.map(Timestamp),
        finished_at: row.opt_int(12)?.map(Timestamp),
        report: optional(row, 13)?,
    })
}

/// In the order of the model's answer.
pub async fn findings(db: &Db, analysis: &str) -> Result<Vec<Finding>, DbError> {
    const SQL: &str = "select id, finding, location, laterality, certainty, severity, code, sop_instance_uid, \
                       frame, region, remarks from finding where analysis = $1 order by ordinal";
    let rows = db.read(Statement::named("analysis_findings", SQL).bind(analysis)).await?;
    let finding = |row: &Row| {
        Ok(Finding {
            id: row.text(0)?.to_owned(),
            finding: row.text(1)?.to_owned(),
            location: row.text(2)?.to_owned(),
            laterality: row.text(3)?.to_owned(),
            certainty: row.text(4)?.to_owned(),
            severity: optional(row, 5)?,
            code: optional(row, 6)?,
            sop_instance_uid: optional(row, 7)?,
            frame: row.opt_int(8)?,
            region: optional(row, 9)?,
            remarks: optional(row, 10)?,
        })
    };
    rows.iter().map(finding).collect()
}

pub async fn measurements(db: &Db, analysis: &str) -> Result<Vec<Measurement>, DbError> {
    const SQL: &str = "select finding, name, value, unit, method, spacing from measurement where analysis = $1 order by length(id), id";
    let rows = db.read(Statement::named("analysis_measurements", SQL).bind(analysis)).await?;
    let measurement = |row: &Row| {
        Ok(Measurement {
            finding: row.text(0)?.to_owned(),
            name: row.text(1)?.to_owned(),
            value: row.real(2)?,
            unit: row.text(3)?.to_owned(),
            method: row.text(4)?.to_owned(),
            spacing: optional(row, 5)?,
        })
    };
    rows.iter().map(measurement).collect()
}

/// Which reports are listed; each that is given narrows.
#[derive(Debug, Default)]
pub struct ReportFilter {
    pub study: Option<StudyUid>,
    pub status: Option<String>,
    pub of_study: OfStudy,
}

const REPORTS: List<'_> = List {
    names: ["reports", "count_reports"],
    columns: REPORT_COLUMNS,
    from: REPORT_FROM,
    counted_from: REPORT_FROM,
};

const REPORT_COLUMNS: &str = "report.id, report.study_uid, report.analysis, report.status, report.version, \
     report.narrative, report.series_uid_sr, report.sr_instance_uid, report.series_uid_pdf, \
     report.pdf_instance_uid, report.created_at";
const REPORT_FROM: &str = "report left join analysis on analysis.id = report.analysis";
/// What only a model wrote goes with its analysis; what a person wrote comes back with its study.
const REPORT_THERE: &str = "exists (select 1 from study where study.study_uid = report.study_uid)
    and (analysis.deletion is null or report.versions > 1)";

/// Results of deleted studies are in no list.
pub async fn reports(
    db: &Db,
    reach: &Reach,
    filter: ReportFilter,
    page: &Page,
) -> Result<Found<Report>, DbError> {
    let mut conditions = Conditions::default();
    conditions.and_reach(reach, "report.study_uid");
    conditions.and(REPORT_THERE);
    groups::signed(reach, "report.id").into_iter().for_each(|signed| conditions.and(signed));
    filter.study.iter().for_each(|study| conditions.and_value("report.study_uid = {}", study));
    filter.status.into_iter().for_each(|status| conditions.and_value("report.status = {}", status));
    filter.of_study.condition(&mut conditions, "report.study_uid");
    page::read(db, &REPORTS, conditions, page, report_row).await
}

pub async fn report(db: &Db, id: &str) -> Result<Option<Report>, DbError> {
    let sql = format!("select {REPORT_COLUMNS} from {REPORT_FROM} where {REPORT_THERE} and report.id = $1");
    let statement = Statement::named("report", sql).bind(id);
    db.read_one(statement).await?.as_ref().map(report_row).transpose()
}

fn report_row(row: &Row) -> Result<Report, DbError> {
    Ok(Report {
        id: row.text(0)?.to_owned(),
        study: row.parse(1, "a Study Instance UID")?,
        analysis: optional(row, 2)?,
        status: row.text(3)?.to_owned(),
        version: row.int(4)?,
        narrative: row.bytes(5)?.to_vec(),
        series_uid_sr: row.text(6)?.to_owned(),
        sr_instance_uid: row.text(7)?.to_owned(),
        series_uid_pdf: row.text(8)?.to_owned(),
        pdf_instance_uid: row.text(9)?.to_owned(),
        created_at: Timestamp(row.int(10)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::Batch;

    #[tokio::test]
    async fn a_study_shows_its_newest_analysis_and_report() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::for_test(dir.path());
        let mut batch = Batch::new();
        for sql in [
            "insert into patient (id, issuer, patient_id, name, name_folded, birth_date, sex, created_at, updated_at) \
             values (1, '', 'P', 'N', 'N', '', '', 0, 0)",
            "insert into study (id, patient, study_uid, study_date, study_time, accession_number, study_id, \
                description, referring_physician, referring_folded, attributes, series_count, instance_count, \
                last_instance_at, created_at, updated_at) \
             values (1, 1, '1.1', '', '', '', '', '', '', '', x'00', 2, 2, 9, 0, 0)",
            "update study set search_words = ' DOUBLE ', study_date = '20251231'",
            "insert into analysis (id, study_uid, pipeline, content_sha256, state, trigger_kind, queued_at) \
             values ('a', '1.1', 'cxr', 'x', 'failed', 'rule', 1), ('b', '1.1', 'cxr', 'y', 'done', 'rule', 2)",
            "insert into finding (id, analysis, ordinal, finding, location, laterality, certainty) \
             values ('f', 'b', 0, 'effusion', 'pleura', 'left', 'definite')",
            "insert into measurement values ('m', 'b', 'f', 'diameter', 2.5, 'mm', 'model-estimate', null)",
            "insert into report (id, study_uid, analysis, status, version, versions, revision, narrative, series_uid_sr, \
                sr_instance_uid, series_uid_pdf, pdf_instance_uid, created_at, updated_at) \
             values ('r', '1.1', 'b', 'draft', 1, 1, 1, x'7B7D', '1', '2', '3', '4', 5, 5)",
        ] {
            batch.push(Statement::fixture(sql));
        }
        db.run(batch).await.unwrap();
        let found = study(&db, &"1.1".parse().unwrap()).await.unwrap().unwrap();
        assert_eq!((found.analysis_state.as_deref(), found.report.as_deref()), (Some("done"), Some("r")));
        assert_eq!(analyses_of(&db, &found.study).await.unwrap()[0].report.as_deref(), Some("r"));
        assert_eq!(findings(&db, "b").await.unwrap()[0].laterality, "left");
        assert_eq!(measurements(&db, "b").await.unwrap()[0].value, 2.5);
        let named = |text: &str| OfStudy {
            text: Some(text.to_owned()),
            date_to: Some("20260101".into()),
            ..OfStudy::default()
        };
        for (text, total) in [("dou", 1), ("roe", 0), ("", 1)] {
            let page = Page::first("coalesce(analysis.finished_at, 0)", true, 5);
            let of_study = named(text);
            let filter = AnalysisFilter { of_study: of_study.clone(), ..AnalysisFilter::default() };
            let found = analyses(&db, &Reach::Everything, filter, &page).await.unwrap();
            assert_eq!(found.total, 2 * total, "{text}");
            let filter = ReportFilter { of_study, ..ReportFilter::default() };
            let page = Page::first("report.updated_at", true, 5);
            assert_eq!(reports(&db, &Reach::Everything, filter, &page).await.unwrap().total, total, "{text}");
        }
        let of_study = ReportFilter { study: Some(found.study), ..ReportFilter::default() };
        let page = Page::first("report.id", true, 5);
        assert_eq!(reports(&db, &Reach::Everything, of_study, &page).await.unwrap().total, 1);
        assert!(report(&db, "x").await.unwrap().is_none());
    }
}
