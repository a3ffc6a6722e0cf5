//! Analyses: asking for one, and what became of it.

use http::StatusCode;
use http::header::{HeaderValue, LOCATION};
use serde::Deserialize;
use serde_json::{Value, json};

use super::hooks::AnalysisRefused;
use crate::clock::Timestamp;
use crate::db::results::{self, Analysis, Finding, Measurement};
use crate::dicom::uid::StudyUid;
use crate::http::State;
use crate::http::body::Inbound;
use crate::http::error::HttpError;
use crate::http::service::{Answer, Asked};
use crate::http::urls::Urls;

const WISH: &str = "{\"pipeline\": NAME} or empty";

pub(super) async fn of_study(state: &State, study: &StudyUid, asked: &Asked) -> Answer {
    results::study(&state.db, study).await?.ok_or(HttpError::NotFound("study"))?;
    let analyses = results::analyses(&state.db, study).await?;
    let analyses: Vec<Value> = analyses.iter().map(|analysis| summary(analysis, &asked.urls)).collect();
    super::json(StatusCode::OK, &json!({ "analyses": analyses }))
}

pub(super) async fn one(state: &State, id: &str, asked: &Asked) -> Answer {
    let analysis = results::analysis(&state.db, id).await?.ok_or(HttpError::NotFound("analysis"))?;
    let findings = results::findings(&state.db, id).await?;
    let measurements = results::measurements(&state.db, id).await?;
    let mut answer = summary(&analysis, &asked.urls);
    answer["impression"] = json!(analysis.impression);
    answer["provenance"] = analysis.provenance.as_deref().map(super::stored_json).into();
    answer["findings"] = findings.iter().map(|finding| finding_json(finding, &measurements)).collect();
    super::json(StatusCode::OK, &answer)
}

pub(super) fn summary(analysis: &Analysis, urls: &Urls) -> Value {
    json!({
        "id": analysis.id,
        "study_uid": analysis.study,
        "pipeline": analysis.pipeline,
        "state": analysis.state,
        "reason": analysis.reason,
        "trigger": analysis.trigger,
        "supersedes": analysis.supersedes,
        "superseded_by": analysis.superseded_by,
        "queued_at": analysis.queued_at.rfc3339(),
        "started_at": analysis.started_at.map(Timestamp::rfc3339),
        "finished_at": analysis.finished_at.map(Timestamp::rfc3339),
        "report": analysis.report,
        "links": {
            "self": urls.rest(&format!("analyses/{}", analysis.id)),
            "report": analysis.report.as_ref().map(|id| urls.rest(&format!("reports/{id}"))),
        },
    })
}

fn finding_json(finding: &Finding, measurements: &[Measurement]) -> Value {
    let own = measurements.iter().filter(|measurement| measurement.finding == finding.id);
    let parsed = |text: &Option<String>| text.as_deref().map(|text| super::stored_json(text.as_bytes()));
    json!({
        "id": finding.id,
        "finding": finding.finding,
        "location": finding.location,
        "laterality": finding.laterality,
        "certainty": finding.certainty,
        "severity": finding.severity,
        "code": finding.code.as_deref().map(code),
        "sop_instance_uid": finding.sop_instance_uid,
        "frame": finding.frame,
        "region": parsed(&finding.region),
        "remarks": parsed(&finding.remarks),
        "measurements": own.map(measurement).collect::<Vec<_>>(),
    })
}

/// `scheme|value|meaning` as an object.
fn code(text: &str) -> Value {
    let mut parts = text.splitn(3, '|');
    json!({ "scheme": parts.next(), "value": parts.next(), "meaning": parts.next() })
}

fn measurement(measurement: &Measurement) -> Value {
    json!({
        "name": measurement.name,
        "value": measurement.value,
        "unit": measurement.unit,
        "method": measurement.method,
    })
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
    pipeline: Option<String>,
}

/// 202 with the place where the analysis can be watched.
pub(super) async fn request(state: &State, study: StudyUid, asked: &Asked, body: Inbound) -> Answer {
    let wish: Wish = super::wish(body, WISH).await?;
    let ticket = state.analyses.request_analysis(study, wish.pipeline).await.map_err(refused)?;
    let url = asked.urls.rest(&format!("analyses/{}", ticket.analysis));
    let mut response =
        super::json(StatusCode::ACCEPTED, &json!({ "id": ticket.analysis, "state": ticket.state }))?;
    let location = HeaderValue::from_str(&url).map_err(HttpError::internal("naming the analysis"))?;
    response.headers_mut().insert(LOCATION, location);
    Ok(response)
}

fn refused(refused: AnalysisRefused) -> HttpError {
    match refused {
        AnalysisRefused::UnknownStudy => HttpError::NotFound("study"),
        AnalysisRefused::UnknownPipeline(_) => HttpError::bad_request(&refused),
        AnalysisRefused::NotAnalysable(reason) => HttpError::Conflict(reason),
        AnalysisRefused::Failed(source) => HttpError::Internal { step: "requesting an analysis", source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::stream::{self, StreamExt};

    fn body(text: &'static str) -> Inbound {
        stream::iter([Ok(bytes::Bytes::from_static(text.as_bytes()))]).boxed()
    }

    #[tokio::test]
    async fn a_wish_is_a_pipeline_or_nothing() {
        let wish = async |text| super::super::wish::<Wish>(body(text), WISH).await;
        assert_eq!(wish("").await.unwrap().pipeline, None);
        assert_eq!(wish(r#"{"pipeline":"ct"}"#).await.unwrap().pipeline.as_deref(), Some("ct"));
        assert!(matches!(wish(r#"{"pipelin":"ct"}"#).await, Err(HttpError::BadRequest(_))));
    }

    #[test]
    fn codes_are_written_as_objects() {
        assert_eq!(code("SCT|60046008|Pleural effusion")["meaning"], "Pleural effusion");
    }
}
