//! Studies with the state of their analysis.

use http::StatusCode;
use serde_json::{Value, json};

use super::analyses;
use crate::db::results::{self, Decision, SeriesSummary, StudySummary};
use crate::dicom::uid::StudyUid;
use crate::http::State;
use crate::http::error::HttpError;
use crate::http::service::{Answer, Asked};
use crate::http::urls::Urls;

/// The studies that changed last, first.
pub(super) async fn list(state: &State, asked: &Asked) -> Answer {
    let limit = super::limit(&asked.query)?;
    let offset = super::number(&asked.query, "offset")?.unwrap_or(0);
    let studies = results::studies(&state.db, limit, offset).await?;
    let studies: Vec<Value> = studies.iter().map(|study| summary(study, &asked.urls)).collect();
    super::json(StatusCode::OK, &json!({ "studies": studies }))
}

/// One study with its series, its analyses and every decision about it.
pub(super) async fn one(state: &State, study: &StudyUid, asked: &Asked) -> Answer {
    let found = results::study(&state.db, study).await?.ok_or(HttpError::NotFound("study"))?;
    let mut answer = summary(&found, &asked.urls);
    let series = results::series(&state.db, study).await?;
    let analyses = results::analyses(&state.db, study).await?;
    let decisions = results::decisions(&state.db, study).await?;
    answer["series"] = series.iter().map(series_json).collect();
    answer["analyses"] = analyses.iter().map(|analysis| analyses::summary(analysis, &asked.urls)).collect();
    answer["decisions"] = decisions.iter().map(decision).collect();
    super::json(StatusCode::OK, &answer)
}

fn summary(study: &StudySummary, urls: &Urls) -> Value {
    json!({
        "study_uid": study.study,
        "patient": { "id": study.patient_id, "name": study.patient_name },
        "study_date": study.study_date,
        "description": study.description,
        "accession_number": study.accession_number,
        "series_count": study.series_count,
        "instance_count": study.instance_count,
        "last_instance_at": study.last_instance_at.rfc3339(),
        "analysis": { "state": study.analysis_state, "reason": study.analysis_reason },
        "report": study.report,
        "links": {
            "self": urls.rest(&format!("studies/{}", study.study)),
            "dicomweb": urls.study(&study.study),
            "report": study.report.as_ref().map(|id| urls.rest(&format!("reports/{id}"))),
            "report_pdf": study.report.as_ref().map(|id| urls.rest(&format!("reports/{id}/pdf"))),
        },
    })
}

fn series_json(series: &SeriesSummary) -> Value {
    json!({
        "series_uid": series.series_uid,
        "modality": series.modality,
        "series_number": series.series_number,
        "description": series.description,
        "instance_count": series.instance_count,
    })
}

fn decision(decision: &Decision) -> Value {
    json!({
        "at": decision.at.rfc3339(),
        "verdict": decision.verdict,
        "rule": decision.rule,
        "pipeline": decision.pipeline,
        "reason": decision.reason,
    })
}
