//! Findings of the analyses, across studies.

use serde::Serialize;
use utoipa::ToSchema;

use super::analyses::{self, Code};
use super::page::{List, Page, PageParameters};
use super::routes::{Route, routes};
use super::study_filter;
use super::time::Time;
use crate::auth::{Permission, may};
use crate::db::findings::{self, Filter, Located};
use crate::dicom::uid::StudyUid;
use crate::http::State;
use crate::http::error::HttpError;
use crate::http::service::{Answer, Asked};
use crate::http::urls::Urls;

pub(super) const ROUTES: &[Route] = routes! {
    GET "findings", "api-findings", may(Permission::ReadDrafts), |call| list(&call.state, &call.asked).await;
};

#[derive(utoipa::OpenApi)]
#[openapi(paths(list))]
pub(super) struct Doc;

const LIST: List = List {
    name: "findings",
    filters: &["study", "code", "text", "certainty", "modality", "date_from", "date_to"],
    sorts: &[("found_at", "analysis.queued_at"), ("study_date", "worklist.study_date")],
    default: "-found_at",
    key: "finding.id",
};

/// A finding and where it belongs.
#[derive(Serialize, ToSchema)]
struct LocatedFinding {
    id: String,
    study_uid: StudyUid,
    analysis: String,
    finding: String,
    location: String,
    laterality: String,
    certainty: String,
    severity: Option<String>,
    /// Null where there is no code for it.
    code: Option<Code>,
    /// Where it was seen.
    sop_instance_uid: Option<String>,
    /// As DICOM writes it.
    study_date: String,
    modalities: Vec<String>,
    found_at: Time,
    links: FindingLinks,
}

#[derive(Serialize, ToSchema)]
struct FindingLinks {
    study: String,
    analysis: String,
}

/// Find findings
///
/// Of all studies, newest first. Those of analyses that were replaced are left out.
#[utoipa::path(
    get, path = "/findings", operation_id = "listFindings", tag = "findings",
    params(PageParameters, ("study" = Option<StudyUid>, Query, description = "Only of this study"),
        ("code" = Option<String>, Query, pattern = "^([A-Za-z0-9.-]{1,16}\\|)?[A-Za-z0-9.-]{1,64}$",
            description = "A code, alone or as `SCHEME|VALUE`"),
        ("text" = Option<String>, Query, max_length = 200,
            description = "Words of the finding, its place, the meaning of its code or its remarks"),
        ("certainty" = Option<String>, Query, max_length = 64, description = "Only of this certainty"),
        ("modality" = Option<String>, Query, pattern = "^[A-Z0-9]{1,16}(,[A-Z0-9]{1,16}){0,19}$",
            description = "Of studies with any of these, separated by commas"),
        ("date_from" = Option<String>, Query, format = Date, description = "First Study Date"),
        ("date_to" = Option<String>, Query, format = Date, description = "Last Study Date")),
    responses((status = 200, description = "A page of findings", body = Page<LocatedFinding>))
)]
async fn list(state: &State, asked: &Asked) -> Answer {
    let wanted = LIST.wanted::<LocatedFinding>(&asked.query, "")?;
    let found = findings::list(&state.db, &asked.caller.reach, &filter(asked)?, &wanted.page).await?;
    wanted.answer(found.map(|finding| described(finding, &asked.urls)))
}

fn filter(asked: &Asked) -> Result<Filter, HttpError> {
    let query = &asked.query;
    Ok(Filter {
        study: study_filter::study(query)?,
        code: query.get("code").map(study_filter::code).transpose()?,
        text: study_filter::text(query)?,
        certainty: study_filter::short(query, "certainty", 64)?,
        modalities: study_filter::modalities(query)?,
        date_from: study_filter::date(query, "date_from")?,
        date_to: study_filter::date(query, "date_to")?,
    })
}

fn described(finding: Located, urls: &Urls) -> LocatedFinding {
    let modalities = finding.modalities.split('\\').filter(|one| !one.is_empty());
    LocatedFinding {
        links: FindingLinks {
            study: urls.rest(&format!("studies/{}", finding.study)),
            analysis: urls.rest(&format!("analyses/{}", finding.analysis)),
        },
        modalities: modalities.map(str::to_owned).collect(),
        id: finding.id,
        study_uid: finding.study,
        analysis: finding.analysis,
        finding: finding.finding,
        location: finding.location,
        laterality: finding.laterality,
        certainty: finding.certainty,
        severity: finding.severity,
        code: finding.code.as_deref().map(analyses::code),
        sop_instance_uid: finding.sop_instance_uid,
        study_date: finding.study_date,
        found_at: finding.found_at.into(),
    }
}
