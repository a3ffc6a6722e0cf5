//! Reports as JSON and as the PDF that lies in the study.

use dicom_dictionary_std::tags;
use http::StatusCode;
use serde_json::{Value, json};

use crate::db::results::{self, Report};
use crate::dicom::attributes::AttributeId;
use crate::dicom::uid::{SeriesUid, SopInstanceUid, StudyUid};
use crate::http::State;
use crate::http::dicomweb;
use crate::http::error::HttpError;
use crate::http::service::{Answer, Asked};
use crate::http::urls::Urls;
use crate::query::Scope;

/// Newest first; `?study=` narrows to one study.
pub(super) async fn list(state: &State, asked: &Asked) -> Answer {
    let study =
        asked.query.get("study").map(str::parse::<StudyUid>).transpose().map_err(HttpError::bad_request)?;
    let reports = results::reports(&state.db, study.as_ref(), super::limit(&asked.query)?).await?;
    let reports: Vec<Value> = reports.iter().map(|report| summary(report, &asked.urls)).collect();
    super::json(StatusCode::OK, &json!({ "reports": reports }))
}

pub(super) async fn one(state: &State, id: &str, asked: &Asked) -> Answer {
    let report = find(state, id).await?;
    let mut answer = summary(&report, &asked.urls);
    answer["narrative"] = super::stored_json(&report.narrative);
    super::json(StatusCode::OK, &answer)
}

/// The document of the stored Encapsulated PDF, with ranges.
pub(super) async fn pdf(state: &State, id: &str, asked: &Asked) -> Answer {
    let report = find(state, id).await?;
    let scope = Scope::Instance(
        report.study,
        uid::<SeriesUid>(&report.series_uid_pdf)?,
        uid::<SopInstanceUid>(&report.pdf_instance_uid)?,
    );
    let path = AttributeId(tags::ENCAPSULATED_DOCUMENT).to_string();
    dicomweb::document(state, &scope, &path, &asked.headers).await
}

async fn find(state: &State, id: &str) -> Result<Report, HttpError> {
    results::report(&state.db, id).await?.ok_or(HttpError::NotFound("report"))
}

fn uid<T: std::str::FromStr<Err = crate::dicom::uid::UidError>>(text: &str) -> Result<T, HttpError> {
    text.parse().map_err(HttpError::internal("reading a report"))
}

fn summary(report: &Report, urls: &Urls) -> Value {
    let instance = |series: &str, instance: &str| {
        format!("{}/series/{series}/instances/{instance}", urls.study(&report.study))
    };
    json!({
        "id": report.id,
        "study_uid": report.study,
        "analysis": report.analysis,
        "status": report.status,
        "version": report.version,
        "created_at": report.created_at.rfc3339(),
        "links": {
            "self": urls.rest(&format!("reports/{}", report.id)),
            "pdf": urls.rest(&format!("reports/{}/pdf", report.id)),
            "sr": instance(&report.series_uid_sr, &report.sr_instance_uid),
            "encapsulated_pdf": instance(&report.series_uid_pdf, &report.pdf_instance_uid),
        },
    })
}
