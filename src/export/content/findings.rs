//! The findings of studies as one table, study after study.

use bytes::Bytes;
use futures::stream::{self, StreamExt};

use super::stated::{Said, stated};
use crate::auth::Reach;
use crate::db::Db;
use crate::db::page::Page;
use crate::db::results::{self, Report, ReportFilter};

use crate::dicom::uid::StudyUid;
use crate::media::zip::{BoxError, Content};
use crate::report::table::{self, Estimate, Row};

/// More reports of one study are not looked at.
const REPORTS_MAX: u32 = 100;

/// How a table is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Encoding {
    /// Begins with a byte order mark.
    pub bom: bool,
}

pub(super) fn table(db: Db, studies: Vec<StudyUid>, encoding: Encoding) -> Content {
    let head = stream::once(async move { head(encoding) });
    let rest = stream::iter(studies).then(move |study| {
        let db = db.clone();
        async move { of_study(&db, &study).await }
    });
    head.chain(rest).boxed()
}

pub fn head(encoding: Encoding) -> Result<Bytes, BoxError> {
    let bom: &[u8] = if encoding.bom { "\u{feff}".as_bytes() } else { &[] };
    Ok([bom, &table::head()?].concat().into())
}

/// Of every report, newest first.
async fn of_study(db: &Db, study: &StudyUid) -> Result<Bytes, BoxError> {
    let mut bytes = Vec::new();
    let filter = ReportFilter { study: Some(study.clone()), ..ReportFilter::default() };
    let page = Page::first("report.created_at", true, REPORTS_MAX);
    for report in results::reports(db, &Reach::Everything, filter, &page).await?.items {
        bytes.extend(of_report(db, &report).await?);
    }
    Ok(bytes.into())
}

/// The rows of one report.
pub async fn of_report(db: &Db, report: &Report) -> Result<Bytes, BoxError> {
    let stated = stated(db, report).await?;
    let rows = stated.findings.iter().flat_map(|said| rows(report, said));
    Ok(table::rows(rows)?.into())
}

/// One for each measurement, or one.
fn rows<'a>(report: &'a Report, said: &'a Said) -> Vec<Row<'a>> {
    let row = |estimate| Row {
        study: report.study.as_str(),
        report: &report.id,
        status: &report.status,
        version: report.version,
        finding: &said.id,
        words: &said.words,
        code: said.code.as_deref(),
        location: &said.location,
        laterality: &said.laterality,
        certainty: &said.certainty,
        severity: said.severity.as_deref(),
        sop_instance: said.sop_instance.as_deref(),
        frame: said.frame,
        region: said.region.as_deref(),
        source: if said.by_model { "model" } else { "person" },
        estimate,
    };
    let estimates = said.numbers.iter();
    let estimates = estimates.map(|one| Estimate {
        quantity: &one.name,
        value: one.value,
        unit: &one.unit,
        method: &one.method,
        spacing: one.spacing.as_deref(),
    });
    let rows: Vec<Row<'_>> = estimates.map(|estimate| row(Some(estimate))).collect();
    if rows.is_empty() { vec![row(None)] } else { rows }
}
