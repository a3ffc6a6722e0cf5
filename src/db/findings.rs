//! Findings of all studies.

use super::page::{self, Conditions, Found, List, Page};
use super::worklist::Code;
use super::{Db, DbError, Row};
use crate::auth::Reach;
use crate::clock::Timestamp;
use crate::dicom::uid::StudyUid;

/// A finding with where it belongs.
#[derive(Debug)]
pub struct Located {
    pub id: String,
    pub study: StudyUid,
    pub analysis: String,
    pub finding: String,
    pub location: String,
    pub laterality: String,
    pub certainty: String,
    pub severity: Option<String>,
    /// `scheme|value|meaning`.
    pub code: Option<String>,
    pub sop_instance_uid: Option<String>,
    pub study_date: String,
    pub modalities: String,
    pub found_at: Timestamp,
}

/// What narrows the search; each that is given.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub study: Option<StudyUid>,
    pub code: Option<Code>,
    pub text: Option<String>,
    pub certainty: Option<String>,
    pub modalities: Vec<String>,
    pub date_from: Option<String>,
    pub date_to: Option<String>,
}

const LIST: List<'_> = List {
    names: ["findings", "count_findings"],
    columns: "finding.id, analysis.study_uid, finding.analysis, finding.finding, finding.location,
        finding.laterality, finding.certainty, finding.severity, finding.code, finding.sop_instance_uid,
        worklist.study_date, worklist.modalities, analysis.queued_at",
    from: FROM,
    counted_from: FROM,
};

const FROM: &str = "finding join analysis on analysis.id = finding.analysis
    join worklist on worklist.study_uid = analysis.study_uid";

/// Of analyses that stand: neither replaced by a later one nor of a deleted study.
pub async fn list(db: &Db, reach: &Reach, filter: &Filter, page: &Page) -> Result<Found<Located>, DbError> {
    let mut all = Conditions::default();
    all.and("analysis.deletion is null");
    all.and("analysis.superseded_by is null");
    all.and_reach(reach, "analysis.study_uid");
    filter.study.iter().for_each(|study| all.and_value("analysis.study_uid = {}", study));
    filter.certainty.iter().for_each(|one| all.and_value("finding.certainty = {}", one.as_str()));
    filter.code.iter().for_each(|code| code.condition(&mut all));
    for word in filter.text.iter().flat_map(|text| text.split_whitespace()).take(8) {
        let text = "(lower(finding.finding) like {} escape '!' or lower(finding.location) like {} escape '!'
            or lower(coalesce(finding.code, '')) like {} escape '!'
            or lower(coalesce(finding.remarks, '')) like {} escape '!')";
        all.and_value(text, format!("%{}%", word.to_lowercase().replace(['%', '_', '!'], " ")));
    }
    super::worklist::of_study(&mut all, &filter.modalities, &filter.date_from, &filter.date_to);
    page::read(db, &LIST, all, page, located).await
}

fn located(row: &Row) -> Result<Located, DbError> {
    let optional = |column| row.opt_text(column).map(|text| text.map(str::to_owned));
    Ok(Located {
        id: row.text(0)?.to_owned(),
        study: row.parse(1, "a Study Instance UID")?,
        analysis: row.text(2)?.to_owned(),
        finding: row.text(3)?.to_owned(),
        location: row.text(4)?.to_owned(),
        laterality: row.text(5)?.to_owned(),
        certainty: row.text(6)?.to_owned(),
        severity: optional(7)?,
        code: optional(8)?,
        sop_instance_uid: optional(9)?,
        study_date: row.text(10)?.to_owned(),
        modalities: row.text(11)?.to_owned(),
        found_at: Timestamp(row.int(12)?),
    })
}
