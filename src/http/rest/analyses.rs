//! Analyses: asking for one, and what became of it.

use http::StatusCode;
use http::header::{HeaderValue, LOCATION};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::etag;
use super::hooks::AnalysisRefused;
use super::page::{List, Page, PageParameters};
use super::routes::{Route, routes};
use super::study_filter::{self, OfStudyParameters};
use super::time::Time;
use crate::auth::{Permission, may};
use crate::db::results::{self, Analysis as Stored, AnalysisFilter, Finding as StoredFinding};
use crate::dicom::uid::StudyUid;
use crate::http::State;
use crate::http::body::Inbound;
use crate::http::error::HttpError;
use crate::http::service::{Answer, Asked};
use crate::http::urls::Urls;

pub(super) const ROUTES: &[Route] = routes! {
    GET "analyses", "api-analyses", may(Permission::ReadDrafts), |call| list(&call.state, &call.asked).await;
    GET "studies/{study}/analyses", "api-study-analyses", may(Permission::ReadDrafts),
        |call| of_study(&call.state, &call.path.study()?, &call.asked).await;
    POST "studies/{study}/analyses", "api-request-analysis", may(Permission::RequestAnalyses),
        |call| request(&call.state, call.path.study()?, &call.asked, call.body).await;
    GET "analyses/{analysis}", "api-analysis", may(Permission::ReadDrafts),
        |call| one(&call.state, call.path.text("analysis"), &call.asked).await;
    POST "analyses/{analysis}/cancel", "api-cancel-analysis", may(Permission::RequestAnalyses),
        |call| cancel(&call.state, call.path.text("analysis"), &call.asked).await;
    POST "analyses/{analysis}/retry", "api-retry-analysis", may(Permission::RequestAnalyses),
        |call| retry(&call.state, call.path.text("analysis"), &call.asked).await;
};

#[derive(utoipa::OpenApi)]
#[openapi(paths(list, of_study, request, one, cancel, retry))]
pub(super) struct Doc;

const WISH: &str = "{\"pipeline\": NAME} or empty";
const STATES: [&str; 6] = ["queued", "running", "waiting", "done", "failed", "cancelled"];

const LIST: List = List {
    name: "analyses",
    filters: &["study", "state", "pipeline", "modality", "date_from", "date_to", "text"],
    // What is on its way has no end yet: it comes before all that has.
    sorts: &[("queued_at", "analysis.queued_at"), ("finished_at", "coalesce(analysis.finished_at, 0)")],
    default: "-queued_at",
    key: "analysis.id",
};

#[derive(Serialize, ToSchema)]
pub(super) struct AnalysisSummary {
    id: String,
    study_uid: StudyUid,
    pipeline: String,
    /// `queued`, `running`, `waiting`, `done`, `failed` or `cancelled`.
    state: String,
    /// What it waits for, or why it failed.
    reason: Option<String>,
    /// `rule` or `request`.
    trigger: String,
    /// The analysis whose results this one replaces.
    supersedes: Option<String>,
    superseded_by: Option<String>,
    queued_at: Time,
    started_at: Option<Time>,
    finished_at: Option<Time>,
    /// The report that came of it.
    report: Option<String>,
    links: AnalysisLinks,
}

#[derive(Serialize, ToSchema)]
struct AnalysisLinks {
    #[serde(rename = "self")]
    own: String,
    report: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct Analysis {
    #[serde(flatten)]
    summary: AnalysisSummary,
    impression: Option<String>,
    /// Model, prompt, settings and usage.
    #[schema(value_type = Option<Object>)]
    provenance: Option<Value>,
    /// The report that the model wrote in its own words, as it wrote it: a draft that nobody has verified.
    words: Option<String>,
    /// Findings as JSON that the model gave beside those that are used: it was asked again where they
    /// contradicted themselves.
    #[schema(value_type = Option<Vec<String>>)]
    unused_answers: Option<Value>,
    findings: Vec<Finding>,
}

/// What the model says that it sees.
#[derive(Serialize, ToSchema)]
pub(super) struct Finding {
    id: String,
    finding: String,
    location: String,
    laterality: String,
    certainty: String,
    severity: Option<String>,
    /// Null where there is no code for it.
    code: Option<Code>,
    /// Where it was seen.
    sop_instance_uid: Option<String>,
    frame: Option<i64>,
    /// In pixels of that frame.
    #[schema(value_type = Option<Object>)]
    region: Option<Value>,
    /// Sentences.
    #[schema(value_type = Option<Vec<String>>)]
    remarks: Option<Value>,
    measurements: Vec<Measurement>,
}

/// A coded concept (PS3.3 8.8).
#[derive(Debug, PartialEq, Serialize, ToSchema)]
pub(super) struct Code {
    scheme: String,
    value: String,
    meaning: String,
}

#[derive(Serialize, ToSchema)]
struct Measurement {
    name: String,
    value: f64,
    /// UCUM.
    unit: String,
    /// `model-estimate`: the model wrote it; `region-size`: the edges of the region by the size of a pixel;
    /// `region-values`: the values of the pixels in the region.
    method: String,
    /// Of a length or an area taken on a region: what the size of a pixel rests on.
    spacing: Option<String>,
}

/// The analyses of a study
///
/// Newest first.
#[utoipa::path(
    get, path = "/studies/{study}/analyses", operation_id = "listStudyAnalyses", tag = "analyses",
    params(("study" = StudyUid, Path), PageParameters, OfStudyParameters,
        ("state" = Option<String>, Query, description = "Only in this state"),
        ("pipeline" = Option<String>, Query, description = "Only by this pipeline")),
    responses((status = 200, description = "A page of analyses", body = Page<AnalysisSummary>))
)]
async fn of_study(state: &State, study: &StudyUid, asked: &Asked) -> Answer {
    results::study(&state.db, study).await?.ok_or(HttpError::NotFound("study"))?;
    listed(state, Some(study), asked).await
}

/// All analyses
///
/// Newest first.
#[utoipa::path(
    get, path = "/analyses", operation_id = "listAnalyses", tag = "analyses",
    params(PageParameters, OfStudyParameters, ("study" = Option<StudyUid>, Query, description = "Only of this study"),
        ("state" = Option<String>, Query, description = "Only in this state"),
        ("pipeline" = Option<String>, Query, description = "Only by this pipeline")),
    responses((status = 200, description = "A page of analyses", body = Page<AnalysisSummary>))
)]
async fn list(state: &State, asked: &Asked) -> Answer {
    listed(state, None, asked).await
}

async fn listed(state: &State, study: Option<&StudyUid>, asked: &Asked) -> Answer {
    let scope = study.map_or("", StudyUid::as_str);
    let wanted = LIST.wanted::<AnalysisSummary>(&asked.query, scope)?;
    let found =
        results::analyses(&state.db, &asked.caller.reach, filter(study, asked)?, &wanted.page).await?;
    wanted.answer(found.map(|analysis| summary(&analysis, &asked.urls)))
}

fn filter(study: Option<&StudyUid>, asked: &Asked) -> Result<AnalysisFilter, HttpError> {
    let named = asked.query.get("study").map(str::parse).transpose().map_err(HttpError::bad_request)?;
    let state = asked.query.get("state");
    if state.is_some_and(|state| !STATES.contains(&state)) {
        return Err(HttpError::bad_request(format!("state is one of {}", STATES.join(", "))));
    }
    Ok(AnalysisFilter {
        study: study.cloned().or(named),
        state: state.map(str::to_owned),
        pipeline: asked.query.get("pipeline").map(str::to_owned),
        of_study: study_filter::of_study(&asked.query)?,
    })
}

/// One analysis
///
/// With its findings.
#[utoipa::path(
    get, path = "/analyses/{analysis}", operation_id = "getAnalysis", tag = "analyses",
    params(("analysis" = String, Path)),
    responses((status = 200, description = "The analysis", body = Analysis), (status = 304, description = "Known"))
)]
async fn one(state: &State, id: &str, asked: &Asked) -> Answer {
    let analysis = results::analysis(&state.db, id).await?.ok_or(HttpError::NotFound("analysis"))?;
    let findings = results::findings(&state.db, id).await?;
    let measurements = results::measurements(&state.db, id).await?;
    let said = results::said(&state.db, id).await?;
    let answer = Analysis {
        summary: summary(&analysis, &asked.urls),
        impression: analysis.impression,
        provenance: analysis.provenance.as_deref().map(super::stored_json),
        words: said.words,
        unused_answers: said.unused_answers.as_deref().map(super::stored_json),
        findings: findings.into_iter().map(|finding| finding_of(finding, &measurements)).collect(),
    };
    etag::answer(&asked.headers, &asked.query, &answer)
}

pub(super) fn summary(analysis: &Stored, urls: &Urls) -> AnalysisSummary {
    AnalysisSummary {
        id: analysis.id.clone(),
        study_uid: analysis.study.clone(),
        pipeline: analysis.pipeline.clone(),
        state: analysis.state.clone(),
        reason: analysis.reason.clone(),
        trigger: analysis.trigger.clone(),
        supersedes: analysis.supersedes.clone(),
        superseded_by: analysis.superseded_by.clone(),
        queued_at: analysis.queued_at.into(),
        started_at: analysis.started_at.map(Time::from),
        finished_at: analysis.finished_at.map(Time::from),
        report: analysis.report.clone(),
        links: AnalysisLinks {
            own: urls.rest(&format!("analyses/{}", analysis.id)),
            report: analysis.report.as_ref().map(|id| urls.rest(&format!("reports/{id}"))),
        },
    }
}

fn finding_of(finding: StoredFinding, measurements: &[results::Measurement]) -> Finding {
    let own = measurements.iter().filter(|measurement| measurement.finding == finding.id);
    let parsed = |text: Option<String>| text.map(|text| super::stored_json(text.as_bytes()));
    Finding {
        measurements: own.map(measurement).collect(),
        id: finding.id,
        finding: finding.finding,
        location: finding.location,
        laterality: finding.laterality,
        certainty: finding.certainty,
        severity: finding.severity,
        code: finding.code.as_deref().map(code),
        sop_instance_uid: finding.sop_instance_uid,
        frame: finding.frame,
        region: parsed(finding.region),
        remarks: parsed(finding.remarks),
    }
}

/// `scheme|value|meaning` as an object.
pub(super) fn code(text: &str) -> Code {
    let mut parts = text.splitn(3, '|').map(str::to_owned);
    let mut part = || parts.next().unwrap_or_default();
    Code { scheme: part(), value: part(), meaning: part() }
}

fn measurement(measurement: &results::Measurement) -> Measurement {
    Measurement {
        name: measurement.name.clone(),
        value: measurement.value,
        unit: measurement.unit.clone(),
        method: measurement.method.clone(),
        spacing: measurement.spacing.clone(),
    }
}

#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AnalysisWish {
    /// Of the configuration; without it, the one that the rules choose.
    pipeline: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct AnalysisAsked {
    id: String,
    state: String,
}

/// Ask for an analysis
///
/// 202 with the place where it can be watched. Asking twice for the same content and pipeline gives the same
/// analysis.
#[utoipa::path(
    post, path = "/studies/{study}/analyses", operation_id = "requestAnalysis", tag = "analyses",
    params(("study" = StudyUid, Path)), request_body = AnalysisWish,
    responses((status = 202, description = "It will run", body = AnalysisAsked),
        (status = 409, description = "Nothing in the study may be analysed"))
)]
async fn request(state: &State, study: StudyUid, asked: &Asked, body: Inbound) -> Answer {
    let wish: AnalysisWish = super::wish(body, WISH).await?;
    let ticket = state.analyses.request_analysis(study, wish.pipeline).await.map_err(refused)?;
    let url = asked.urls.rest(&format!("analyses/{}", ticket.analysis));
    let mut response =
        super::json(StatusCode::ACCEPTED, &AnalysisAsked { id: ticket.analysis, state: ticket.state })?;
    let location = HeaderValue::from_str(&url).map_err(HttpError::internal("naming the analysis"))?;
    response.headers_mut().insert(LOCATION, location);
    Ok(response)
}

/// Cancel an analysis
///
/// The model stops before its next token. What it has answered already is published: 409. Asking twice is the
/// same.
#[utoipa::path(
    post, path = "/analyses/{analysis}/cancel", operation_id = "cancelAnalysis", tag = "analyses",
    params(("analysis" = String, Path)),
    responses((status = 200, description = "It is cancelled", body = AnalysisAsked),
        (status = 409, description = "It has come to its end, or its report is being made"))
)]
async fn cancel(state: &State, id: &str, asked: &Asked) -> Answer {
    let analysis = results::analysis(&state.db, id).await?.ok_or(HttpError::NotFound("analysis"))?;
    let ticket = state.analyses.cancel_analysis(analysis.id, asked.who()).await.map_err(refused)?;
    super::json(StatusCode::OK, &AnalysisAsked { id: ticket.analysis, state: ticket.state })
}

/// Try an analysis again
///
/// One that failed or was cancelled; one that is on its way stays as it is.
#[utoipa::path(
    post, path = "/analyses/{analysis}/retry", operation_id = "retryAnalysis", tag = "analyses",
    params(("analysis" = String, Path)),
    responses((status = 202, description = "It will run", body = AnalysisAsked),
        (status = 409, description = "It is done"))
)]
async fn retry(state: &State, id: &str, asked: &Asked) -> Answer {
    let analysis = results::analysis(&state.db, id).await?.ok_or(HttpError::NotFound("analysis"))?;
    let ticket = state.analyses.retry_analysis(analysis.id, asked.who()).await.map_err(refused)?;
    super::json(StatusCode::ACCEPTED, &AnalysisAsked { id: ticket.analysis, state: ticket.state })
}

fn refused(refused: AnalysisRefused) -> HttpError {
    match refused {
        AnalysisRefused::UnknownAnalysis => HttpError::NotFound("analysis"),
        AnalysisRefused::State(reason) => HttpError::Conflict(reason),
        AnalysisRefused::UnknownStudy => HttpError::NotFound("study"),
        AnalysisRefused::UnknownPipeline(_) => HttpError::bad_request(&refused),
        AnalysisRefused::NotAnalysable(reason) => HttpError::Conflict(reason),
        AnalysisRefused::Failed(source) => HttpError::Internal { step: "requesting an analysis", source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::stream;

    fn body(text: &'static str) -> Inbound {
        Inbound::of(stream::iter([Ok(bytes::Bytes::from_static(text.as_bytes()))]), 64)
    }

    #[tokio::test]
    async fn a_wish_is_a_pipeline_or_nothing() {
        let wish = async |text| super::super::wish::<AnalysisWish>(body(text), WISH).await;
        assert_eq!(wish("").await.unwrap().pipeline, None);
        assert_eq!(wish(r#"{"pipeline":"ct"}"#).await.unwrap().pipeline.as_deref(), Some("ct"));
        assert!(matches!(wish(r#"{"pipelin":"ct"}"#).await, Err(HttpError::BadRequest(_))));
        let long = r#"{"pipeline":"ctctctctctctctctctctctctctctctctctctctctctctctctctctctctct"}"#;
        assert!(matches!(wish(long).await, Err(HttpError::TooLarge { bytes_max: 64 })));
    }

    #[test]
    fn codes_are_written_as_objects() {
        assert_eq!(code("SCT|60046008|Pleural effusion").meaning, "Pleural effusion");
    }
}
