//! Studies as people work on them: what state each is in, how urgent it is and who has it.

use http::StatusCode;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use super::analyses::{self, AnalysisSummary};
use super::etag::{self, Etag};
use super::holds::{self, Hold};
use super::page::{List, Page, PageParameters};
use super::routes::{Route, routes};
use super::series::{self, SeriesSummary};
use super::study_filter::{self, StudyParameters};
use super::time::Time;
use crate::audit::Action;
use crate::auth::{Permission, Reach, Subject, may};
use crate::db::worklist::{self, Filter, Item};
use crate::db::{self, DbError, results};
use crate::dicom::uid::StudyUid;
use crate::http::State;
use crate::http::body::Inbound;
use crate::http::error::HttpError;
use crate::http::service::{Answer, Asked};
use crate::http::urls::Urls;

pub(super) const ROUTES: &[Route] = routes! {
    GET "studies", "api-studies", may(Permission::ViewStudies), |call| list(&call.state, &call.asked).await;
    GET "studies/{study}", "api-study", may(Permission::ViewStudies),
        |call| one(&call.state, &call.path.study()?, &call.asked).await;
    PATCH "studies/{study}", "api-change-study", may(Permission::ManageWorklist),
        |call| change(&call.state, &call.path.study()?, &call.asked, call.body).await;
    GET "studies/{study}/priors", "api-study-priors", may(Permission::ViewStudies),
        |call| priors(&call.state, &call.path.study()?, &call.asked).await;
    GET "studies/{study}/thumbnail", "api-study-thumbnail", may(Permission::ViewStudies),
        |call| thumbnail(&call.state, &call.path.study()?, &call.asked).await;
};

#[derive(utoipa::OpenApi)]
#[openapi(paths(list, one, change, priors, thumbnail))]
pub(super) struct Doc;

pub(super) const SORTS: &[(&str, &str)] = &[
    ("arrived_at", "worklist.arrived_at"),
    ("age", "-worklist.arrived_at"),
    ("study_date", "worklist.study_date"),
    ("priority", "worklist.priority"),
];

const LIST: List = List {
    name: "studies",
    filters: study_filter::NAMES,
    sorts: SORTS,
    default: "-arrived_at",
    key: "worklist.study",
};

const PRIORS: List = List { name: "priors", filters: &["modality"], default: "-study_date", ..LIST };

/// How far the work on a study is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum StudyStatus {
    Received,
    Analysing,
    /// There is a report that nobody has looked at.
    Draft,
    Edited,
    Signed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Priority {
    Routine,
    Urgent,
    Stat,
}

#[derive(Serialize, ToSchema)]
pub(super) struct StudySummary {
    study_uid: StudyUid,
    status: StudyStatus,
    priority: Priority,
    /// Whom it was given to.
    assignee: Option<String>,
    /// When its first instance came: its age counts from here.
    arrived_at: Time,
    patient: StudyPatient,
    /// As DICOM writes it.
    study_date: String,
    study_time: String,
    description: String,
    accession_number: String,
    modalities: Vec<String>,
    series_count: i64,
    instance_count: i64,
    last_instance_at: Time,
    /// Nobody deletes it.
    held: bool,
    analysis: StudyAnalysis,
    /// The newest one.
    report: Option<String>,
    links: StudyLinks,
}

#[derive(Serialize, ToSchema)]
struct StudyPatient {
    /// Of `/patients/{patient}`.
    key: i64,
    /// Patient ID.
    id: String,
    /// As DICOM writes it.
    name: String,
    birth_date: String,
    sex: String,
}

/// The newest analysis.
#[derive(Serialize, ToSchema)]
struct StudyAnalysis {
    id: Option<String>,
    state: Option<String>,
    reason: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct StudyLinks {
    #[serde(rename = "self")]
    own: String,
    patient: String,
    priors: String,
    dicomweb: String,
    /// A small picture, by DICOMweb.
    thumbnail: String,
    report: Option<String>,
    report_pdf: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct Study {
    #[serde(flatten)]
    summary: StudySummary,
    series: Vec<SeriesSummary>,
    analyses: Vec<AnalysisSummary>,
    decisions: Vec<AnalysisDecision>,
    /// Why nobody deletes it, for those who may delete.
    hold: Option<Hold>,
}

/// Whether the study is to be analysed, and why.
#[derive(Serialize, ToSchema)]
struct AnalysisDecision {
    at: Time,
    /// `analyse`, `skip` or `wait`.
    verdict: String,
    rule: String,
    pipeline: Option<String>,
    reason: String,
}

/// The studies
///
/// As a list to work from, the last that came first.
#[utoipa::path(
    get, path = "/studies", operation_id = "listStudies", tag = "studies",
    params(PageParameters, StudyParameters),
    responses((status = 200, description = "A page of studies", body = Page<StudySummary>))
)]
async fn list(state: &State, asked: &Asked) -> Answer {
    listed(state, asked, &LIST, "", Filter::default()).await
}

/// A page of the studies that `filter` and the request leave.
pub(super) async fn listed(state: &State, asked: &Asked, list: &List, scope: &str, filter: Filter) -> Answer {
    let wanted = list.wanted::<StudySummary>(&asked.query, scope)?;
    let filter = study_filter::read(&asked.query, &asked.caller, filter)?;
    let reach = &asked.caller.reach;
    let found = worklist::list(&state.db, &state.totals, reach, &filter, &wanted.page).await?;
    wanted.answer(found.map(|entry| summary(released(entry, reach), &asked.urls)))
}

/// One study
///
/// With its series, its analyses and every decision about it.
#[utoipa::path(
    get, path = "/studies/{study}", operation_id = "getStudy", tag = "studies",
    params(("study" = StudyUid, Path)),
    responses((status = 200, description = "The study", body = Study), (status = 304, description = "Known"),
        (status = 410, description = "It was deleted"))
)]
async fn one(state: &State, study: &StudyUid, asked: &Asked) -> Answer {
    let (study, _) = whole(state, study, asked).await?;
    etag::answer(&asked.headers, &asked.query, &study)
}

/// With the version that a change counts on.
async fn whole(state: &State, study: &StudyUid, asked: &Asked) -> Result<(Study, i64), HttpError> {
    let (reach, urls) = (&asked.caller.reach, &asked.urls);
    let entry = worklist::one(&state.db, reach, study).await?.ok_or(HttpError::NotFound("study"))?;
    let series = results::series(&state.db, reach, study).await?;
    let (analyses, decisions) = match reach.has_drafts() {
        true => (results::analyses_of(&state.db, study).await?, results::decisions(&state.db, study).await?),
        false => (Vec::new(), Vec::new()),
    };
    let hold = match entry.held && asked.caller.may(Permission::DeleteStudies) {
        true => db::holds::of(&state.db, study).await?,
        false => None,
    };
    let version = entry.version;
    let whole = Study {
        series: series.into_iter().map(|one| series::summary(study, one, urls)).collect(),
        analyses: analyses.iter().map(|analysis| analyses::summary(analysis, urls)).collect(),
        decisions: decisions.into_iter().map(decision).collect(),
        summary: summary(released(entry, reach), urls),
        hold: hold.map(|hold| holds::shown(hold, urls)),
    };
    Ok((whole, version))
}

/// What is left out stays as it is.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct StudyChange {
    #[schema(nullable = false)]
    priority: Option<Priority>,
    /// The id of a user; null takes the study from whoever has it.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 64)]
    assignee: Option<Option<String>>,
}

/// Tells null from nothing.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::<String>::deserialize(deserializer).map(Some)
}

/// Change priority or assignee
#[utoipa::path(
    patch, path = "/studies/{study}", operation_id = "changeStudy", tag = "studies",
    params(("study" = StudyUid, Path), ("If-Match" = String, Header, description = "Its entity tag")),
    request_body = StudyChange,
    responses((status = 200, description = "The study, changed", body = Study),
        (status = 412, description = "It has changed since it was read"),
        (status = 428, description = "Without If-Match"))
)]
async fn change(state: &State, study: &StudyUid, asked: &Asked, body: Inbound) -> Answer {
    const FORM: &str = "{\"priority\": \"routine\", \"urgent\" or \"stat\", \"assignee\": ID or null}";
    let wish: StudyChange = super::wish(body, FORM).await?;
    let (before, version) = whole(state, study, asked).await?;
    Etag::of_content(&before)?.required(&asked.headers, "study")?;
    let held = before.summary.assignee.unwrap_or_default();
    let assignee = wish.assignee.map_or_else(|| held.clone(), Option::unwrap_or_default);
    if assignee.len() > ASSIGNEE_BYTES_MAX {
        return Err(HttpError::Unprocessable(format!("an assignee has at most {ASSIGNEE_BYTES_MAX} bytes")));
    }
    let priority = wish.priority.unwrap_or(before.summary.priority) as i64;
    let actions = actions(priority != before.summary.priority as i64, assignee != held);
    let actor = asked.who();
    let change =
        worklist::Change { study, version, priority, assignee: &assignee, actor: &actor, actions: &actions };
    match state.db.run(worklist::change(&change, state.clock.now())).await {
        Err(DbError::Affected { statement: worklist::CHANGE, .. }) => {
            return Err(HttpError::PreconditionFailed("study"));
        }
        other => other?,
    };
    let (after, _) = whole(state, study, asked).await?;
    let mut response = super::json(StatusCode::OK, &after)?;
    Etag::of_content(&after)?.mark(&mut response);
    Ok(response)
}

fn actions(priority: bool, assignee: bool) -> Vec<Action> {
    let changed = [(priority, Action::ChangePriority), (assignee, Action::AssignStudy)];
    changed.into_iter().filter(|(changed, _)| *changed).map(|(_, action)| action).collect()
}

const ASSIGNEE_BYTES_MAX: usize = 64;

/// Earlier studies of the patient
///
/// The last one first.
#[utoipa::path(
    get, path = "/studies/{study}/priors", operation_id = "listPriors", tag = "studies",
    params(("study" = StudyUid, Path), PageParameters,
        ("modality" = Option<String>, Query, description = "Any of these, separated by commas")),
    responses((status = 200, description = "A page of studies", body = Page<StudySummary>))
)]
async fn priors(state: &State, study: &StudyUid, asked: &Asked) -> Answer {
    worklist::one(&state.db, &asked.caller.reach, study).await?.ok_or(HttpError::NotFound("study"))?;
    let filter = Filter { before: Some(study.clone()), ..Filter::default() };
    listed(state, asked, &PRIORS, study.as_str(), filter).await
}

/// A small picture of a study
///
/// Leads to the thumbnail of DICOMweb.
#[utoipa::path(
    get, path = "/studies/{study}/thumbnail", operation_id = "getStudyThumbnail", tag = "studies",
    params(("study" = StudyUid, Path)),
    responses((status = 307, description = "Where the picture is", headers(("Location" = String))))
)]
async fn thumbnail(state: &State, study: &StudyUid, asked: &Asked) -> Answer {
    worklist::one(&state.db, &asked.caller.reach, study).await?.ok_or(HttpError::NotFound("study"))?;
    super::elsewhere(&format!("{}/thumbnail", asked.urls.study(study)))
}

/// How far a study is, everybody who sees it may know; what a model has made of it not.
fn released(entry: Item, reach: &Reach) -> Item {
    if reach.has_drafts() {
        return entry;
    }
    Item { analysis: None, analysis_state: None, analysis_reason: None, ..entry }
}

pub(super) fn summary(entry: Item, urls: &Urls) -> StudySummary {
    let own = urls.rest(&format!("studies/{}", entry.study));
    let dicomweb = urls.study(&entry.study);
    StudySummary {
        links: StudyLinks {
            patient: urls.rest(&format!("patients/{}", entry.patient)),
            priors: format!("{own}/priors"),
            own,
            thumbnail: format!("{dicomweb}/thumbnail"),
            dicomweb,
            report: entry.report.as_ref().map(|id| urls.rest(&format!("reports/{id}"))),
            report_pdf: entry.report.as_ref().map(|id| urls.rest(&format!("reports/{id}/pdf"))),
        },
        study_uid: entry.study,
        status: status(&entry.status),
        priority: priority(entry.priority),
        assignee: Some(entry.assignee).filter(|assignee| !assignee.is_empty()),
        arrived_at: entry.arrived_at.into(),
        patient: StudyPatient {
            key: entry.patient,
            id: entry.patient_id,
            name: entry.patient_name,
            birth_date: entry.birth_date,
            sex: entry.sex,
        },
        study_date: entry.study_date,
        study_time: entry.study_time,
        description: entry.description,
        accession_number: entry.accession_number,
        modalities: listed_modalities(&entry.modalities),
        series_count: entry.series_count,
        instance_count: entry.instance_count,
        last_instance_at: entry.last_instance_at.into(),
        held: entry.held,
        analysis: StudyAnalysis {
            id: entry.analysis,
            state: entry.analysis_state,
            reason: entry.analysis_reason,
        },
        report: entry.report,
    }
}

fn listed_modalities(text: &str) -> Vec<String> {
    text.split('\\').filter(|one| !one.is_empty()).map(str::to_owned).collect()
}

/// The index knows these words alone.
fn status(text: &str) -> StudyStatus {
    match text {
        "analysing" => StudyStatus::Analysing,
        "draft" => StudyStatus::Draft,
        "edited" => StudyStatus::Edited,
        "signed" => StudyStatus::Signed,
        _ => StudyStatus::Received,
    }
}

fn priority(number: i64) -> Priority {
    match number {
        0 => Priority::Routine,
        1 => Priority::Urgent,
        _ => Priority::Stat,
    }
}

fn decision(decision: results::Decision) -> AnalysisDecision {
    AnalysisDecision {
        at: decision.at.into(),
        verdict: decision.verdict,
        rule: decision.rule,
        pipeline: decision.pipeline,
        reason: decision.reason,
    }
}

/// The id under which studies are assigned to a caller.
pub(super) fn assignee_of(subject: &Subject) -> Option<&str> {
    match subject {
        Subject::User { id, .. } | Subject::ApiKey { id, .. } => Some(id),
        Subject::Anonymous => None,
    }
}
